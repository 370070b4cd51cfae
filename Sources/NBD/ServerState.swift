internal import Glibc
internal import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// What the connections of one server share. Any thread may call.
final class ServerState: Sendable {
    let configuration: ServerConfiguration
    let provider: any ExportProvider
    let buffers = BufferPool()
    let queue: EventQueue
    private let stopping = Atomic(false)
    private let waiting = Atomic(0)
    private let waitLimit = Atomic(0)
    let table = Mutex(Table())
    private let helpWanted = Mutex<[Connection]>([])

    private let heavyWork = Mutex(HeavyWork())

    private struct HeavyWork: Sendable {
        var count = 0
        var limit = 1
        var waiting: [Connection] = []
    }

    struct Table: Sendable {
        var connections: [UInt64: Connection] = [:]
        /// In their handshake, with the moment it began.
        var handshakes: [UInt64: UInt64] = [:]
        /// Ended, with threads that may be at a request of theirs.
        var leaving: [UInt64: Connection] = [:]
        /// They wait for some that have ended.
        var followers: [Connection] = []
        var next: UInt64 = ServerState.firstConnection
    }

    /// Keys below are listeners', and the bell's.
    static let bell: UInt64 = 0, firstConnection: UInt64 = 1000

    init(provider: any ExportProvider, configuration: ServerConfiguration, queue: consuming EventQueue) {
        self.provider = provider
        self.configuration = configuration
        self.queue = queue
        setThreads(configuration.threads)
    }

    /// Nanoseconds of a clock that only goes forward.
    func now() -> UInt64 { monotonicClock() }

    // The flag alone is communicated; what it announces, nobody relies on.
    var isStopping: Bool { stopping.load(ordering: .relaxed) }
    func stop() { stopping.store(true, ordering: .relaxed) }

    // MARK: Connections

    /// Takes a new connection in, and makes room for it among those that have not got through their handshake.
    func add(_ socket: consuming Socket) {
        let now = now()
        let number = table.withLock { table -> UInt64 in
            table.next += 1
            return table.next
        }
        let connection = Connection(number: number, socket: socket, host: self)
        let (isTaken, oldest) = table.withLock { table -> (Bool, Connection?) in
            guard table.connections.count < configuration.connections, !isStopping else { return (false, nil) }
            var oldest: Connection?
            if table.handshakes.count >= configuration.handshakes, let first = table.handshakes.min(by: { $0.value < $1.value }) {
                oldest = table.connections[first.key]
            }
            table.connections[number] = connection
            table.handshakes[number] = now
            return (true, oldest)
        }
        oldest?.close()
        guard isTaken else { return }
        do {
            try queue.watch(connection.haggling.plain.socket, key: number)
        } catch {
            connection.close()
        }
    }

    func connection(_ number: UInt64) -> Connection? { table.withLock { $0.connections[number] } }
    func didBegin(_ connection: Connection) { table.withLock { _ = $0.handshakes.removeValue(forKey: connection.number) } }

    func forget(_ connection: Connection) {
        table.withLock { table in
            table.handshakes[connection.number] = nil
            if table.connections.removeValue(forKey: connection.number) != nil { table.leaving[connection.number] = connection }
        }
        if connection.isDeserted { didLeave(connection) }
    }

    var connections: [Connection] { table.withLock { Array($0.connections.values) } }
    var hasConnections: Bool { table.withLock { !$0.connections.isEmpty } }

    /// No connection has anything that could take too long.
    var isAtRest: Bool {
        let all = table.withLock { table in table.handshakes.isEmpty ? Array(table.connections.values) : nil }
        return !isHeavyWorkWaiting && all?.allSatisfy(\.isAtRest) ?? false
    }

    /// Ends connections that have taken too long over something.
    func tend() {
        let now = now()
        let (late, all) = table.withLock { table in
            (table.handshakes.filter { now > $0.value + configuration.handshakeTime }.compactMap { table.connections[$0.key] },
                Array(table.connections.values))
        }
        for connection in late { connection.close() }
        callHeavyWork()
        let isShort = buffers.usedBytes > configuration.totalBytes / 2
        let time = isShort ? configuration.stallTimeUnderPressure : configuration.stallTime
        for connection in all {
            if connection.hasStalled(time, now: now) { connection.close() } else if connection.isHeldUp(now: now) { wantHelp(connection) }
        }
    }

    // MARK: Long work

    /// How many threads there are; four of them are for what is short.
    func setThreads(_ count: Int) {
        heavyWork.withLock { $0.limit = max(1, count - 4) }
        waitLimit.store(count / 2, ordering: .relaxed)
    }

    /// True if the caller may wait for what its connection asks next, and then says `endWaiting`: half of the threads may, so that
    /// the others are there for the other connections.
    // Nothing else is communicated by these numbers.
    func beginWaiting() -> Bool {
        if waiting.add(1, ordering: .relaxed).newValue <= waitLimit.load(ordering: .relaxed) { return true }
        endWaiting()
        return false
    }

    func endWaiting() { waiting.subtract(1, ordering: .relaxed) }

    /// True if the caller may do long work, and then says `endHeavy`. Else its connection is called later.
    func beginHeavy(_ connection: Connection) -> Bool {
        heavyWork.withLock { work in
            guard work.count < work.limit else {
                if !work.waiting.contains(where: { $0 === connection }) { work.waiting.append(connection) }
                return false
            }
            work.count += 1
            return true
        }
    }

    func endHeavy() {
        heavyWork.withLock { $0.count -= 1 }
        callHeavyWork()
    }

    /// Calls those for whom there is a place. One that is called may have no use for it any more, so the monitor calls too.
    func callHeavyWork() {
        while true {
            let next = heavyWork.withLock { work -> Connection? in
                work.count < work.limit && !work.waiting.isEmpty ? work.waiting.removeFirst() : nil
            }
            guard let next else { return }
            if next.isClosed { continue }
            return wantHelp(next)
        }
    }

    var isHeavyWorkWaiting: Bool { heavyWork.withLock { !$0.waiting.isEmpty } }

    // MARK: Help

    /// More requests are there than the caller is about to execute, and it may take long over that: another thread may take them.
    func wantHelp(_ connection: Connection) {
        let isNew = helpWanted.withLock { list in
            if list.contains(where: { $0 === connection }) { return false }
            list.append(connection)
            return true
        }
        if isNew { queue.ring() }
    }

    /// A connection that wants help.
    func nextToHelp() -> Connection? { helpWanted.withLock { $0.popLast() } }
}
