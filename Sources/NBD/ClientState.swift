internal import BlockStorage
internal import NBDProtocol

/// What a client's threads share, under its lock.
struct ClientState: Sendable {
    /// The connection on which requests may be sent; nil while there is none, or what may be lost is being written again.
    var connection: ClientConnection?
    /// As the last handshake has told it.
    var export: RemoteExport
    var pending: [UInt64: ClientRequest] = [:]
    var idle: [ClientRequest] = []
    var log = UnflushedLog()
    var witness: Witness?
    var cookie: UInt64 = 0
    /// Why nothing can be changed any more.
    var changesFailure: PoolError?
    /// Why nothing can be done any more.
    var failure: PoolError?
    var isStopping = false
    /// The connection is given up only to ask the server anew.
    var isAskingAnew = false

    /// Something that is durable on the server: whoever answers later and does not have it is not the same.
    struct Witness {
        var offset: UInt64
        var bytes: [UInt8]
    }

    mutating func nextCookie() -> UInt64 {
        cookie += 1
        return cookie
    }

    /// A request has ended, and is there for another.
    mutating func keep(_ request: ClientRequest) { if idle.count < 64 { idle.append(request) } }

    /// Takes a request in. Its thread sends it.
    mutating func begin(_ request: ClientRequest) throws(PoolError) {
        // What was reserved for it is in the log from here on, or free again.
        if let change = request.change { log.release(change.size) }
        if let failure { throw failure }
        if let changesFailure, request.command != .read { throw changesFailure }
        request.cookie = nextCookie()
        pending[request.cookie] = request
        guard let change = request.change else { return }
        log.append(change)
        if let found = witness, found.offset < change.offset + change.length, change.offset < found.offset + UInt64(found.bytes.count) { witness = nil }
    }

    /// The connection that a request is to be sent on now.
    mutating func toSend(_ request: ClientRequest, at now: UInt64) -> ClientConnection? {
        guard request.outcome == nil, let connection, request.sentOn != connection.number else { return nil }
        request.sentOn = connection.number
        request.sentAt = now
        request.startOver()
        if request.command == .flush { request.covers = log.lastAnswer }
        return connection
    }

    /// A request has its answer. The caller opens its gate.
    mutating func finish(_ request: ClientRequest, error: UInt32) {
        pending[request.cookie] = nil
        request.outcome = error == 0 ? .success : .error(error)
        if let change = request.change { if error == 0 { log.didAnswer(change) } else { log.remove(change) } }
        guard request.command == .flush else { return }
        if error == 0 {
            // Another flush has failed, or a change was given up: what this one should cover may be gone.
            if let changesFailure { request.outcome = .failure(changesFailure) }
            if let last = log.didFlush(upTo: request.covers) { witness = Witness(offset: last.offset, bytes: Array(last.bytes.prefix(4096))) }
        } else {
            // What it should have made durable may be gone from the server's memory: to try again would prove nothing.
            stopChanging(.system(.fdatasync, errno: WireError.errno(error)))
        }
    }

    /// A thread waits no longer. Whether its change is made nobody knows, so that none can follow.
    mutating func abandon(_ request: ClientRequest, _ failure: PoolError) {
        pending[request.cookie] = nil
        request.outcome = .failure(failure)
        if request.command != .read { stopChanging(failure) }
    }

    /// Once nothing can be changed any more, what waits to be sent on a new connection has failed: changes must not follow one that
    /// was given up, and a flush there says nothing of what is no longer in the log. The caller opens their gates.
    mutating func failChanges() {
        guard let changesFailure else { return }
        for request in pending.values.filter({ $0.command != .read }) {
            pending[request.cookie] = nil
            request.outcome = .failure(changesFailure)
        }
    }

    private mutating func stopChanging(_ failure: PoolError) {
        changesFailure = changesFailure ?? failure
        log.removeAll()
    }

    /// Returns the requests that have failed with it.
    mutating func end(_ failure: PoolError) -> [ClientRequest] {
        self.failure = failure
        connection = nil
        log.removeAll()
        let failed = Array(pending.values)
        pending = [:]
        for request in failed { request.outcome = .failure(failure) }
        return failed
    }
}
