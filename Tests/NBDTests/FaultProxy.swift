internal import Foundation
internal import Glibc
internal import LinuxIO
internal import Synchronization

/// Between a client and a server: ends connections in the middle of what the server says, and is pointed to another server.
final class FaultProxy: Sendable {
    private struct State {
        var target: String
        /// After so many bytes more for the client everything is cut off, once.
        var rest: Int?
        /// What `rest` is for new connections, or a power of two of it: one reply may be longer.
        var each: Int?
        var open: Set<Int32> = []
        var connections = 0
        var passed = 0
        /// Nothing goes through, and nobody is told.
        var isSilent = false
    }

    let path: String
    private let state: Mutex<State>
    private let listener: Int32

    init(to target: String) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-proxy-\(UUID().uuidString.prefix(8))").path
        state = Mutex(State(target: target))
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard Self.withAddress(path, { bind(listener, $0, $1) }) == 0, listen(listener, 16) == 0 else { throw WireClient.Failure.ended }
        let incoming = listener
        try JoinableThread { [weak self] in
            while true {
                let client = accept(incoming, nil, nil)
                guard client >= 0, let self else {
                    if client >= 0 { close(client) }
                    break
                }
                self.begin(client)
            }
            close(incoming)
        }.detach()
    }

    deinit {
        cut()
        // Its thread wakes from that, and closes it.
        shutdown(listener, Int32(SHUT_RDWR))
        unlink(path)
    }

    var connections: Int { state.withLock { $0.connections } }
    /// Bytes that the client was sent, over all connections.
    var passed: Int { state.withLock { $0.passed } }

    func point(to target: String) { state.withLock { $0.target = target } }
    func cut(after bytes: Int) { state.withLock { $0.rest = bytes } }
    /// Every connection from now on.
    func cutEach(after bytes: Int) { state.withLock { $0.each = bytes } }
    func setSilent(_ isSilent: Bool) { state.withLock { $0.isSilent = isSilent } }

    func cut() {
        state.withLock { state in
            for descriptor in state.open { shutdown(descriptor, Int32(SHUT_RDWR)) }
            state.rest = nil
        }
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    private func begin(_ client: Int32) {
        let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let target = state.withLock { $0.target }
        let isThere = Self.withAddress(target) { connect(server, $0, $1) } == 0
        let isWanted = state.withLock { state in
            // Whoever is pointed elsewhere meanwhile must not stay here.
            guard isThere && target == state.target else { return false }
            state.open.formUnion([client, server])
            state.connections += 1
            if let each = state.each { state.rest = each << (state.connections % 12) }
            return true
        }
        guard isWanted else {
            close(client)
            close(server)
            return
        }
        do {
            try JoinableThread { [self] in
                let back = try? JoinableThread { self.pump(server, client, isForClient: true) }
                pump(client, server, isForClient: false)
                back?.join()
                state.withLock { $0.open.subtract([client, server]) }
                close(client)
                close(server)
            }.detach()
        } catch {
            preconditionFailure("no thread could be started: \(error)")
        }
    }

    private func pump(_ from: Int32, _ to: Int32, isForClient: Bool) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var isOver = false
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            if isOver || state.withLock({ $0.isSilent }) { continue }
            let (allowed, isLast) = isForClient ? allow(count) : (count, false)
            isOver = !pass(buffer[..<allowed], to) || isLast
            // As when a connection breaks: the server finds its end, does what it had received, and only then does the client hear of it.
            // Told at once it would send everything again while the server is still at it, and nobody could say which came last.
            if isOver && isForClient { shutdown(from, Int32(SHUT_WR)) }
        }
        guard isForClient else {
            shutdown(to, Int32(SHUT_WR))
            return
        }
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
    }

    /// How much of `count` bytes for the client go through, and whether they are the last.
    private func allow(_ count: Int) -> (Int, isLast: Bool) {
        state.withLock { state in
            let allowed = min(count, state.rest ?? count)
            let isLast = state.rest.map { $0 <= count } ?? false
            state.rest = isLast ? nil : state.rest.map { $0 - count }
            state.passed += allowed
            return (allowed, isLast)
        }
    }

    private func pass(_ bytes: ArraySlice<UInt8>, _ to: Int32) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }
}
