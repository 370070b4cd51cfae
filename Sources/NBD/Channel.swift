internal import BlockStorage
internal import Glibc
internal import LinuxIO

/// What carries a connection's bytes: the socket, or TLS over it. None of these block. One thread receives and one sends at a
/// time.
protocol Channel: AnyObject, Sendable {
    func receive(into bytes: UnsafeMutableRawBufferPointer) -> Socket.Outcome
    func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Socket.Outcome
    /// Whether a receive that filled less than it could means that nothing is left.
    var receivesAllThereIs: Bool { get }
    /// Says goodbye, as far as that goes without waiting.
    func finish()
}

/// The socket itself.
final class PlainChannel: Channel {
    let socket: Socket

    init(_ socket: consuming Socket) { self.socket = socket }

    var receivesAllThereIs: Bool { true }
    func receive(into bytes: UnsafeMutableRawBufferPointer) -> Socket.Outcome { socket.receive(into: bytes) }
    func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Socket.Outcome { socket.send(pieces) }
    func finish() {}
}
