package import PoolEngine

/// How much memory a mounted pool can take, part by part, in bytes. Everything that grows with load is in here, and each part
/// has a limit in the code that it names.
package struct MemoryBound {
    package var configuration: Pool.Configuration
    /// Blocks that the pool has.
    package var blocks: UInt64
    /// Volumes, snapshots, and deleted ones that are not freed yet.
    package var objects: UInt64
    package var threads: UInt64
    package var transfer: UInt64
    /// For what serves the pool beside the mount.
    package var beside: UInt64

    package init(configuration: Pool.Configuration, blocks: UInt64, objects: UInt64, threads: UInt64, transfer: UInt64, beside: UInt64) {
        self.configuration = configuration
        self.blocks = blocks
        self.objects = objects
        self.threads = threads
        self.transfer = transfer
        self.beside = beside
    }

    /// The program, its libraries, stacks that are used, and what malloc(3) cannot give back.
    package static let program: UInt64 = 48 << 20
    /// Changes of free space that no checkpoint has stored, and blocks in quarantine.
    package static let space: UInt64 = 64 << 20
    /// Control files that are open: their contents, as of when they were opened.
    package static let texts = 32 << 20
    /// Names of directories that are open.
    package static let directories = 32 << 20
    /// Open handles, some 150 bytes each, which are part of `program`.
    package static let handles = 1 << 16
    /// The table of blocks that ranges share, whole, and once more while a checkpoint stores it.
    private var shares: UInt64 { 2 * min(64 << 20, 4 * blocks) }
    /// What malloc(3) takes beside what is asked for, in eighths.
    private static let overhead: UInt64 = 1

    package var bytes: UInt64 {
        let nodes = UInt64(configuration.cacheSize) + 4 * UInt64(configuration.dirtySize)
        // A request, and its reply or the blocks that are made of it.
        let requests = threads * 3 * transfer
        // Two bits a block, and one more while a checkpoint stores them.
        let maps = blocks * 3 / 8
        return nodes + nodes * Self.overhead / 8 + requests + maps + shares + objects * 2048 + Self.program + Self.space + UInt64(Self.texts + Self.directories) + beside
    }
}
