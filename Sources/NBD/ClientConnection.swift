internal import BlockStorage
internal import Glibc
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// A connection over which requests can be sent. Any thread sends; the one that keeps it receives.
final class ClientConnection: Sendable {
    let number: UInt64
    let export: RemoteExport
    /// Nanoseconds for which nothing need be taken before the server counts as gone.
    private let patience: UInt64
    private let plain: PlainChannel
    private let channel: any Channel
    private let input: ReceiveBuffer
    /// Held while a request is being sent, which may wait: requests must not mix, and who has nothing to send has no use for it.
    private let sending = Mutex<Void>(())
    private let alarm: WakeEvent

    enum Failure: Error { case ended, silent, malformed }

    init(number: UInt64, _ negotiation: ClientNegotiation, _ export: RemoteExport, patience: UInt64) throws(PoolError) {
        self.number = number
        self.export = export
        self.patience = patience
        plain = negotiation.plain
        channel = negotiation.channel
        input = negotiation.input
        alarm = try WakeEvent()
        // If the process is killed, what it had to send must not come behind what the next one sends.
        plain.socket.setDropsUnsent(true)
    }

    // MARK: Sending

    /// Sends a request and its data. What cannot be sent breaks the connection.
    func send(_ request: Request, _ data: UnsafeRawBufferPointer) {
        var request = request
        if export.style == .extended && request.command == .write { request.flags.insert(.payloadLength) }
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { header in
            let size = request.encode(export.style, into: header)
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { pieces in
                pieces[0] = iovec(iov_base: header.baseAddress, iov_len: size)
                pieces[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: data.baseAddress), iov_len: data.count)
                sending.withLock { _ in if !sendAll(pieces) { giveUp() } }
            }
        }
    }

    private func sendAll(_ pieces: UnsafeMutableBufferPointer<iovec>) -> Bool {
        var rest = pieces[...]
        while let first = rest.first {
            if first.iov_len == 0 {
                rest.removeFirst()
                continue
            }
            switch channel.send(UnsafeMutableBufferPointer(rebasing: rest)) {
            case .closed: return false
            case .wouldBlock: guard plain.socket.waitToSend(until: monotonicClock() + patience) else { return false }
            case .count(var count):
                for index in rest.indices where count > 0 {
                    let part = min(count, pieces[index].iov_len)
                    pieces[index].iov_base += part
                    pieces[index].iov_len -= part
                    count -= part
                }
            }
        }
        return true
    }

    /// Says that nothing more comes, as far as that goes without waiting.
    func sayGoodbye(cookie: UInt64) {
        guard sending.withLockIfAvailable({ _ in true }) == true else { return }
        send(Request(.disconnect, cookie: cookie), UnsafeRawBufferPointer(start: nil, count: 0))
        channel.finish()
    }

    /// It is of no more use: the thread that receives is told so, and settles it.
    func giveUp() { alarm.wake() }

    /// Ends it where nothing is under way. The receiving thread only.
    func leave() {
        plain.socket.setDropsUnsent(false)
        plain.socket.shutDown()
    }

    /// Ends it. Waits until `deadline` for the server to end it, too: what was under way there can then no longer come behind what
    /// is sent on another connection. After that what the server's machine has not received is dropped; what it has received the
    /// server may still do. The receiving thread only, which throws away what it gets.
    func settle(until deadline: UInt64) {
        plain.socket.endSending()
        input.drop(input.count)
        let waste = input.room()
        wait: while monotonicClock() < deadline {
            switch plain.socket.receive(into: waste) {
            case .closed: break wait
            case .count: continue
            case .wouldBlock: _ = plain.socket.waitToReceive(until: deadline)
            }
        }
        plain.socket.reset()
    }

    // MARK: Receiving: one thread

    /// The next reply or chunk, waiting for it until `deadline`. Its data is taken by `take`.
    func next(until deadline: UInt64 = .max) throws(Failure) -> ReplyPart {
        while true {
            let next: ReplyPart.Next
            do throws(ReplyPart.Malformed) { next = try ReplyPart.next(input.bytes, export.style) } catch { throw .malformed }
            switch next {
            case .part(let size, let part):
                input.drop(size)
                return part
            case .needs: input.put(try some(input.room(), deadline))
            }
        }
    }

    /// Fills `bytes` with data that follows. What is not in the buffer yet comes straight into its place.
    func take(into bytes: UnsafeMutableRawBufferPointer, until deadline: UInt64 = .max) throws(Failure) {
        var done = min(bytes.count, input.count)
        if done > 0 {
            bytes.part(0..<done).copyMemory(from: input.bytes.part(0..<done))
            input.drop(done)
        }
        while done < bytes.count { done += try some(bytes.part(done..<bytes.count), deadline) }
    }

    private func some(_ room: UnsafeMutableRawBufferPointer, _ deadline: UInt64) throws(Failure) -> Int {
        while true {
            switch channel.receive(into: room) {
            case .count(let count): return count
            case .closed: throw .ended
            case .wouldBlock: guard plain.socket.waitToReceive(until: deadline, alarm: alarm) else { throw .silent }
            }
        }
    }
}
