internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// `.ctl/events`: JSON lines of what happens, from the moment a reader opened it.
extension VolumeFileSystem {
    /// To be called before `readEvents`; what is returned names the request to `interruptEvents`.
    public func announceEventRead() -> UInt64 { events.announce() }

    /// Answers once, at once or when something happens, from whichever thread: with bytes, or none at the end of the mount. With
    /// `waits` false, that there is nothing.
    public func readEvents(
        handle: UInt64, token: UInt64, count: Int, waits: Bool, _ answer: @escaping @Sendable (EventAnswer) -> Void
    ) {
        if isInherited(handle) { resumeEvents(handle) }
        events.read(handle, token: token, count: count, waits: waits, answer)
    }

    /// The request is answered as interrupted, unless it has its answer already. Any token may be given.
    public func interruptEvents(_ token: UInt64) { events.interrupt(token) }

    /// Brings every reader to its end. To be called when the mount is gone, and before its session is.
    public func endEvents() { events.end() }

    public var hasEventReaders: Bool { events.hasReaders }

    func openEvents(_ request: OpenRequest) throws(PoolError) -> OpenFile {
        if request.writes || request.truncates { throw .notPermitted }
        let handle = open.withLock { table in
            defer { table.next += 1 }
            return table.next
        }
        try events.add(handle)
        options.attention()
        return OpenFile(handle: handle, isImmutable: false, isStream: true)
    }

    /// Notes what changed by itself: the pool's state, and the freeing of what was deleted.
    func observe() {
        guard events.hasReaders else { return }
        let state = stateName
        let isNew = lastState.withLock { last in
            defer { last = state }
            return last != nil && last != state
        }
        // That it is stopping says who stops it.
        if isNew && state != Self.stopping { events.publish("state", options.source, [("state", .text(state))] + ((serverText ?? fullText).map { [("reason", .text($0))] } ?? [])) }
        jobs.observeFreeing()
    }
}
