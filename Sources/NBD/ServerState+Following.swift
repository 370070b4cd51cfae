internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// Who comes after a client that has left.
///
/// A client whose connection broke sends what was not answered again on another one, and goes on from there. A write of the first
/// connection that is executed only now would put old data over new, so a connection begins when those to its export that have ended
/// have no request under way.
extension ServerState {
    /// Whether a connection may begin to use an export. If not, it is called again.
    func mayBegin(_ connection: Connection, with export: String) -> Bool {
        // Those before it call it from here on, also while they are looked at.
        let others = table.withLock { table in
            if !table.followers.contains(where: { $0 === connection }) { table.followers.append(connection) }
            return Array(table.connections.values) + Array(table.leaving.values)
        }
        var isFirst = true
        for other in others where other !== connection && other.hasLeft(export) {
            isFirst = false
            // It may not have noticed yet.
            wantHelp(other)
        }
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

    /// Whether it has ended, or its client has ended it, and requests to the export may be under way.
    func hasLeft(_ export: String) -> Bool {
        let isUsed = state.withLock { state in
            guard state.transmission?.session.export.name == export else { return false }
            // Who takes no replies stays as he is, whether he has said that he sends no more or not.
            return state.threads > 0 || (state.phase != .closed && !state.isPaused && !state.isBlocked)
        }
        if !isUsed { return false }
        let ending = haggling.plain.socket.ending
        if ending == .both { state.withLock { $0.phase = .closed } }
        return ending != .none || isClosed
    }
}
