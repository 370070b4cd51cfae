internal import BlockStorage
internal import Synchronization
internal import VolumeFS

/// Open directories, by numbers that no other daemon of the mount has given. Any thread may call.
final class DirectoryTable: Sendable {
    private struct State {
        var open: [UInt64: OpenDirectory] = [:]
        var next: UInt64
        /// Of memory, that all names take.
        var bytes = 0
    }
    private let state: Mutex<State>

    /// `generation` daemons were before this one.
    init(generation: UInt64) { state = Mutex(State(next: VolumeFileSystem.firstHandle(generation))) }

    /// A directory to be read until `close`; `known` is the number that another daemon has given it. Throws `.outOfMemory` if too
    /// much is open.
    func open(_ entries: [DirectoryEntry], as known: UInt64? = nil) throws(PoolError) -> UInt64 {
        let directory = OpenDirectory(entries: entries)
        return try state.withLock { state throws(PoolError) in
            guard state.bytes + directory.size <= VolumeFileSystem.directoryLimit else {
                throw .outOfMemory(limit: UInt64(VolumeFileSystem.directoryLimit))
            }
            if let known, state.open[known] != nil { return known }
            state.bytes += directory.size
            let number = known ?? state.next
            if known == nil { state.next += 1 }
            state.open[number] = directory
            return number
        }
    }

    /// Nil for one that another daemon has opened and nobody has read since.
    subscript(_ number: UInt64) -> OpenDirectory? { state.withLock { $0.open[number] } }

    func close(_ number: UInt64) {
        state.withLock { state in
            guard let directory = state.open.removeValue(forKey: number) else { return }
            state.bytes -= directory.size
        }
    }
}
