internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// Who comes after a client that has left.
///
/// A client whose connection broke sends what was not answered again on another one, and goes on from there. A write of the first
/// connection that is executed only now would put old data over new, so a connection begins when those to its export that are gone
/// have no request under way. Who only says that he sends no more is not gone: he is served to his end.
extension ServerState {
    /// Whether a connection may begin to use an export. If not, it is called again.
    func mayBegin(_ connection: Connection, with export: String) -> Bool {
        // Those before it call it from here on, also while they are looked at.
        let others = table.withLock { table in
            if !table.followers.contains(where: { $0 === connection }) { table.followers.append(connection) }
            return Array(table.connections.values) + Array(table.leaving.values)
        }
        for other in others where other !== connection && other.uses(export) {
            // It may not have noticed yet.
            if other.endIfGone() { wantHelp(other) }
        }
        let isFirst = !others.contains { $0 !== connection && $0.isLeaving(export) }
        if isFirst { table.withLock { table in table.followers.removeAll { $0 === connection } } }
        return isFirst
    }

    /// No thread is at a connection any more that has ended.
    func didLeave(_ connection: Connection) {
        // The last reference may go here, and with it the descriptor and the export: not under the lock.
        let (gone, followers) = table.withLock { table -> (Connection?, [Connection]) in
            guard let gone = table.leaving.removeValue(forKey: connection.number) else { return (nil, []) }
            defer { table.followers = [] }
            return (gone, table.followers)
        }
        for follower in followers where !follower.isClosed { wantHelp(follower) }
        _ = consume gone
    }
}

extension Connection {
    /// No thread is at it.
    var isDeserted: Bool { state.withLock { $0.threads == 0 } }

    func uses(_ export: String) -> Bool { state.withLock { $0.transmission?.session.export.name == export } }

    /// It has ended, and requests of it to the export may be under way.
    func isLeaving(_ export: String) -> Bool {
        state.withLock { $0.phase == .closed && $0.threads > 0 && $0.transmission?.session.export.name == export }
    }

    /// Ends it if its client is gone: what was not begun is not done. False if it had ended, or goes on.
    func endIfGone() -> Bool {
        guard haggling.plain.socket.isGone else { return false }
        return state.withLock { state in
            defer { state.phase = .closed }
            return state.phase != .closed
        }
    }
}
