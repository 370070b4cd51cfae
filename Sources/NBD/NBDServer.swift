public import BlockStorage
public import LinuxIO
internal import NBDProtocol
internal import Synchronization

/// Serves exports over NBD. Any thread may call.
///
/// Few threads serve any number of connections, none of which can keep them: sockets never block, and what a client may have in
/// memory is bounded. More threads are started while all of them wait for the exports.
public final class NBDServer: Sendable {
    private let host: ServerState
    private let listeners: Mutex<[Listener]> = Mutex([])
    private let threads = Mutex(Threads())
    private let alarm: WakeEvent
    /// Nothing is watched, and the next event has to wake who watches.
    private let isAsleep = Atomic(false)
    /// Somebody waits to be accepted, and there was no descriptor for him: there is no second event for that.
    private let isExhausted = Atomic(false)

    private struct Threads: Sendable {
        var workers: [UInt64: Worker] = [:]
        var next: UInt64 = 0
        var ended: [UInt64] = []
        var busy = 0
        var served: UInt64 = 0
        var servedBefore: UInt64 = 0
        var isEnding = false
    }

    public init(provider: any ExportProvider, configuration: ServerConfiguration = ServerConfiguration()) throws(PoolError) {
        alarm = try WakeEvent()
        host = ServerState(provider: provider, configuration: configuration, queue: try EventQueue(bellKey: ServerState.bell))
        do throws(PoolError) {
            for _ in 0..<configuration.threads { try addWorker() }
            let monitor = Worker(try JoinableThread { [self] in watch() })
            threads.withLock { $0.workers[.max] = monitor }
        } catch {
            end()
            throw error
        }
    }

    /// Listens at one more address, and tells where: port 0 becomes the one that was free.
    public func listen(at address: SocketAddress) throws(PoolError) -> SocketAddress {
        let listener: Listener
        switch address {
        case .unix(let path): listener = try Listener(path: path)
        case .tcp(let host, let port): listener = try Listener(host: host, port: port)
        }
        let key = listeners.withLock { listeners in
            listeners.append(listener)
            return UInt64(listeners.count)
        }
        try listener.watch(in: host.queue, key: key)
        return listener.address
    }

    /// Where it listens.
    public var addresses: [SocketAddress] { listeners.withLock { $0.map(\.address) } }

    /// Connections there are now.
    public var connectionCount: Int { host.connections.count }

    /// Bytes of memory that requests and replies have now.
    public var memoryInUse: Int { host.buffers.usedBytes }

    /// Ends the server: no new connection; requests that were taken are answered, those that come are refused with ESHUTDOWN;
    /// after a while, or once all clients have left, the rest is cut off. Returns when no export is used any more.
    public func stop() {
        let old = listeners.withLock { listeners in
            defer { listeners = [] }
            return listeners
        }
        for listener in old { listener.close() }
        host.stop()
        let limit = host.now() + host.configuration.stopTime
        while host.hasConnections && host.now() < limit { pause(milliseconds: 10) }
        // A request that the engine is at is waited for: its reply is owed.
        for _ in 0..<3000 where host.connections.contains(where: { !$0.isIdle && !$0.hasStalled(2_000_000_000, now: host.now()) }) {
            pause(milliseconds: 10)
        }
        for connection in host.connections { connection.close() }
        end()
    }

    /// Waits for all threads.
    private func end() {
        threads.withLock { $0.isEnding = true }
        alarm.wake()
        while true {
            let worker = threads.withLock { $0.workers.popFirst()?.value }
            guard let worker else { return }
            // One bell wakes one thread, and whoever ends rings for the next.
            host.queue.ring()
            worker.join()
        }
    }

    // MARK: Threads

    private func addWorker() throws(PoolError) {
        let number = threads.withLock { threads in
            threads.next += 1
            return threads.next
        }
        let worker = Worker(try JoinableThread { [self] in work(number) })
        threads.withLock { $0.workers[number] = worker }
    }

    private func work(_ number: UInt64) {
        var mayEnd = false
        while !threads.withLock({ $0.isEnding }) {
            let event = host.queue.wait(milliseconds: mayEnd ? 2000 : -1)
            guard let event else {
                if mayEnd && giveUp(number) { return host.queue.ring() }
                mayEnd = false
                continue
            }
            threads.withLock { $0.busy += 1 }
            // Who goes to sleep says so before looking at `busy` under the lock: one of the two sees the other.
            if isAsleep.load(ordering: .acquiring), isAsleep.exchange(false, ordering: .acquiringAndReleasing) { alarm.wake() }
            handle(event)
            mayEnd = threads.withLock { threads in
                threads.busy -= 1
                threads.served += 1
                return threads.workers.count > host.configuration.threads + 1
            }
        }
        host.queue.ring()
        threads.withLock { $0.ended.append(number) }
    }

    /// Whether the thread is one too many, and is to end. Decided by one at a time: together all would.
    private func giveUp(_ number: UInt64) -> Bool {
        threads.withLock { threads in
            guard threads.workers.count - threads.ended.count > host.configuration.threads + 1 else { return false }
            threads.ended.append(number)
            return true
        }
    }

    private func handle(_ event: EventQueue.Event) {
        switch event.key {
        // Bells that ring together are heard once.
        case ServerState.bell: while let connection = host.nextToHelp() { connection.serve() }
        case ..<ServerState.firstConnection: accept(event.key)
        default:
            guard let connection = host.connection(event.key) else { return }
            connection.note(event)
            connection.serve()
        }
    }

    private func accept(_ key: UInt64) {
        let listener = listeners.withLock { $0.indices.contains(Int(key) - 1) ? $0[Int(key) - 1] : nil }
        guard let listener else { return }
        while true {
            switch listener.accept() {
            case .socket(let socket): host.add(socket)
            case .none: return
            case .exhausted: return isExhausted.store(true, ordering: .relaxed)
            }
        }
    }

    /// Nothing is under way that could take too long.
    private var isAtRest: Bool {
        let isQuiet = threads.withLock { threads in
            threads.busy == 0 && threads.ended.isEmpty && threads.workers.count - 1 <= host.configuration.threads && !threads.isEnding
        }
        return isQuiet && !isExhausted.load(ordering: .relaxed) && host.isAtRest
    }

    /// Sleeps until there is something to watch, and then a tenth of a second.
    private func rest() {
        isAsleep.store(true, ordering: .sequentiallyConsistent)
        if isAtRest { alarm.sleep(milliseconds: nil) }
        isAsleep.store(false, ordering: .sequentiallyConsistent)
        if !threads.withLock({ $0.isEnding }) { alarm.sleep(milliseconds: 100) }
    }

    /// Looks after deadlines and threads.
    private func watch() {
        while !threads.withLock({ $0.isEnding }) {
            rest()
            host.tend()
            if isExhausted.exchange(false, ordering: .relaxed) {
                for key in 0..<listeners.withLock({ $0.count }) { accept(UInt64(key + 1)) }
            }
            let (ended, isStuck) = threads.withLock { threads in
                let ended = threads.ended.compactMap { threads.workers.removeValue(forKey: $0) }
                threads.ended.removeAll()
                let count = threads.workers.count - 1
                // As many as may do long work, and that goes nowhere, are too few as well.
                let isStuck = (threads.busy >= count || host.isHeavyWorkWaiting) && count < host.configuration.mostThreads && threads.served == threads.servedBefore
                threads.servedBefore = threads.served
                return (ended, isStuck && !threads.isEnding)
            }
            for worker in ended { worker.join() }
            if !ended.isEmpty { host.setThreads(threads.withLock { $0.workers.count - 1 }) }
            // Without another thread it goes on as slowly as before.
            if !isStuck { continue }
            try? addWorker()
            host.setThreads(threads.withLock { $0.workers.count - 1 })
        }
    }
}

/// Holds a thread in a dictionary.
private final class Worker: Sendable {
    private let thread: Mutex<JoinableThread?>
    init(_ thread: consuming sending JoinableThread) { self.thread = Mutex(consume thread) }
    func join() { thread.withLock { $0.take() }?.join() }
}
