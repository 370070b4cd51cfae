internal import BlockStorage
internal import LinuxIO
internal import VolumeFS

/// What must not be done twice although the kernel may send it twice: once to a daemon that is killed before its answer is there,
/// and once more to the next. Without a mount that outlives its daemon nothing is noted.
struct OnceOnly {
    private let requests: RequestTable?
    private let number: UInt64
    private var slot: Int?
    private var begun: BegunRequest?

    /// For the request `number`.
    init(_ kept: KeptMount?, number: UInt64) {
        requests = kept?.requests
        self.number = number
        if let inherited = requests?.inherited(number) { (slot, begun) = (inherited.slot, inherited.request) }
    }

    /// Does `body` and returns the inode that it makes, or 0. `about` is what tells later whether it was done; `found` tells that,
    /// by what is there now, of a request that another daemon had begun: the inode it made, or 0, or nil if it was not done.
    mutating func run(
        about: () -> UInt64, found: (BegunRequest) throws(PoolError) -> UInt64?, _ body: () throws(PoolError) -> UInt64
    ) throws(PoolError) -> UInt64 {
        guard let requests else { return try body() }
        if let result = begun?.result {
            if result.errno != 0 { throw .system(.pread, errno: result.errno) }
            return result.made
        }
        if let begun, let made = try found(begun) { return made }
        if slot == nil { slot = requests.begin(BegunRequest(request: number, object: about(), started: wallClock())) }
        do throws(PoolError) {
            let made = try body()
            if let slot { requests.finish(slot, .init(made: made)) }
            return made
        } catch {
            if let slot { requests.finish(slot, .init(errno: error.errno)) }
            throw error
        }
    }

    /// As `run`, of a verb that makes `name` in a directory.
    mutating func make(
        _ files: VolumeFileSystem, _ parent: Inode, _ name: String, _ body: () throws(PoolError) -> Inode
    ) throws(PoolError) -> Inode {
        let number = try run(about: { 0 }, found: { begun in files.made(parent, name, since: begun.started)?.number }) { () throws(PoolError) in
            try body().number
        }
        // It is one that was just made, or is there.
        guard let made = Inode(number: number) else { throw .notFound }
        return made
    }

    /// As `run`, of a verb that removes `name` from a directory.
    mutating func remove(_ files: VolumeFileSystem, _ parent: Inode, _ name: String, _ body: () throws(PoolError) -> Void) throws(PoolError) {
        _ = try run(
            about: { files.number(parent, name) }, found: { begun in files.isRemoved(parent, name, begun.object) ? 0 : nil }
        ) { () throws(PoolError) in
            try body()
            return 0
        }
    }

    /// To be called once the answer is sent, or nothing was changed.
    func end() { if let slot { requests?.end(slot) } }
}
