/// What a server allows.
public struct ServerConfiguration: Sendable {
    /// Connections at a time; one more is closed at once.
    public var connections = 1000
    /// Of them, how many may be in their handshake: one more ends the oldest.
    public var handshakes = 200
    /// Nanoseconds a handshake may take, TLS included.
    public var handshakeTime: UInt64 = 15_000_000_000
    /// Nanoseconds a peer may leave a request half sent, or a reply half received.
    public var stallTime: UInt64 = 120_000_000_000
    /// The same while memory is short.
    public var stallTimeUnderPressure: UInt64 = 2_000_000_000
    /// Bytes of requests and replies that one connection may have in memory. One request always may.
    public var connectionBytes = 24 << 20
    /// Requests that one connection may have in memory.
    public var connectionRequests = 256
    /// Bytes of all connections together, beyond which the others wait.
    public var totalBytes = 384 << 20
    /// Threads that serve, and how many there may be while all are waiting for something.
    public var threads = 6
    public var mostThreads = 48
    /// Nanoseconds that clients have to leave when the server ends.
    public var stopTime: UInt64 = 1_000_000_000
    /// What every connection must be encrypted with; nil for none.
    public var security: ServerTLS?
    /// A line for the log.
    public var log: @Sendable (String) -> Void = { _ in }

    public init() {}

    /// Bytes of memory that a server of this configuration stays below, but for what is beyond `totalBytes` because each connection
    /// may have one request: buffers in use and kept, and what each connection receives into.
    public var memoryBound: UInt64 { UInt64(totalBytes + BufferPool.kept + connections * ReceiveBuffer.size) }
}
