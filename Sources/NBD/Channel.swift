internal import BlockStorage
internal import Glibc
internal import LinuxIO

/// What carries a connection's bytes: the socket, or TLS over it. None of these block, but a receive that is asked to wait. One thread
/// receives and one sends at a time.
protocol Channel: AnyObject, Sendable {
    /// With `waits` it waits a few milliseconds for something to come, if `prepareToWait` was called.
    func receive(into bytes: UnsafeMutableRawBufferPointer, waits: Bool) -> Socket.Outcome
    func prepareToWait()
    func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Socket.Outcome
    /// Says goodbye, as far as that goes without waiting.
    func finish()
}

extension Channel {
    /// Milliseconds that a receive waits.
    static var patience: Int { 4 }

    func receive(into bytes: UnsafeMutableRawBufferPointer) -> Socket.Outcome { receive(into: bytes, waits: false) }
}

/// The socket itself.
final class PlainChannel: Channel {
    let socket: Socket

    init(_ socket: consuming Socket) { self.socket = socket }

    func receive(into bytes: UnsafeMutableRawBufferPointer, waits: Bool) -> Socket.Outcome { socket.receive(into: bytes, waits: waits) }
    func prepareToWait() { socket.setWait(milliseconds: Self.patience) }
    func send(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Socket.Outcome { socket.send(pieces) }
    func finish() {}
}
