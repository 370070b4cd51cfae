internal import NBDProtocol

/// Requests that a thread has taken off a connection and not answered yet. Short writes among them wait for one another, to be made
/// together.
struct Answers {
    /// Executed, but for `settle`.
    private(set) var buffers: [IOBuffer] = []
    /// Can be answered, and is not among the connection's answers yet.
    private var finished: IOBuffer?
    /// Answers that nobody has begun to send, as far as this thread knows.
    private var queued = 0
    private var writes: [IOBuffer] = []
    private var transmission: Transmission?
    private var wasSlow: Bool?

    var isEmpty: Bool { count == 0 }
    /// So many that to make a client wait for more of them gains nothing.
    var isFull: Bool { count >= 16 }
    private var count: Int { buffers.count + writes.count + queued }

    /// Whether what was executed last took longer than in memory; nil if nothing was since the last call, as each counts once.
    mutating func takeSlowness() -> Bool? {
        defer { wasSlow = nil }
        return wasSlow
    }

    mutating func execute(_ buffer: IOBuffer, of transmission: Transmission, _ host: ServerState) {
        self.transmission = transmission
        wasSlow = isSlow(1, buffer.request.length, host) { transmission.execute(buffer) }
        if buffer.isUnsettled { return buffers.append(buffer) }
        precondition(finished == nil, "an answer is taken before there is another")
        finished = buffer
        queued += 1
    }

    /// What goes among the connection's answers now: whoever comes to it can send that, should this thread be held up.
    mutating func takeFinished() -> IOBuffer? {
        defer { finished = nil }
        return finished
    }

    /// Takes a short write, to be made by `finish`.
    mutating func postpone(_ buffer: IOBuffer, of transmission: Transmission) {
        self.transmission = transmission
        writes.append(buffer)
    }

    /// Forgets what waits.
    mutating func drop() {
        buffers += writes
        writes.removeAll()
    }

    /// They are among the connection's answers.
    mutating func clear() {
        buffers.removeAll(keepingCapacity: true)
        queued = 0
    }

    /// Makes what waits; then all may be answered.
    mutating func finish(_ host: ServerState) {
        guard let transmission else { return }
        if !writes.isEmpty {
            wasSlow = isSlow(writes.count, writes.reduce(0) { $0 + $1.request.length }, host) { transmission.write(writes) }
            buffers += writes
            writes.removeAll(keepingCapacity: true)
        }
        if !buffers.isEmpty { transmission.settle(buffers) }
    }

    /// Executes so many requests of so many bytes. True if it waited for storage.
    private func isSlow(_ count: Int, _ length: UInt64, _ host: ServerState, _ body: () -> Void) -> Bool {
        let start = host.now()
        body()
        return host.now() - start > UInt64(count) * Self.quickTime + length / 2
    }

    /// Nanoseconds that a small request takes which waits for no storage, with half a nanosecond for each byte.
    private static let quickTime: UInt64 = 50_000
}
