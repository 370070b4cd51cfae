internal import BlockStorage
internal import LinuxIO
import Testing

@Suite struct SocketTests {
    /// What a peer has not received when a connection is reset never reaches it; without that the kernel goes on sending.
    @Test(arguments: [true, false]) func resetDropsWhatIsUnsent(isReset: Bool) throws {
        let listener = try Listener(host: "127.0.0.1", port: 0)
        let socket = try Socket.connected(to: listener.address, deadline: monotonicClock() + 20_000_000_000)
        guard case .socket(let peer) = listener.accept() else {
            Issue.record("nobody has connected")
            return
        }
        // More than the peer's buffer takes: the rest is in ours.
        let bytes = [UInt8](repeating: 1, count: 1 << 20)
        var sent = 0
        while case .count(let count) = bytes.withUnsafeBytes({ socket.send($0) }) { sent += count }
        if isReset { socket.reset() } else { socket.shutDown() }
        #expect(bytes.withUnsafeBytes { socket.send($0) } == .closed)
        var room = [UInt8](repeating: 0, count: 1 << 20), received = 0
        receiving: while true {
            switch room.withUnsafeMutableBytes({ peer.receive(into: $0) }) {
            case .count(let count): received += count
            case .wouldBlock: if !peer.waitToReceive(until: monotonicClock() + 20_000_000_000) { break receiving }
            case .closed: break receiving
            }
        }
        #expect(isReset ? received < sent : received == sent)
    }
}
