internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// The state `full`: what the last writer wanted did not find room, in the pool or on the host, and would not now.
extension VolumeFileSystem {
    /// Lone numbers, both: whoever refuses next stores others.
    func noteShortage(_ error: PoolError, _ request: RefusedRequest) {
        if Self.isPromise(request) { return }
        if case .outOfSpace(let needed, _) = error {
            shortage.store(needed, ordering: .relaxed)
            hostShortage.store(0, ordering: .relaxed)
        }
        if error.isHostFull {
            shortage.store(pool.usage().available + 1, ordering: .relaxed)
            hostShortage.store(hostRoom + 1, ordering: .relaxed)
        }
    }

    /// Whether what was refused only asked that room be kept, or made: of that a pool with plenty may have too little.
    private static func isPromise(_ request: RefusedRequest) -> Bool {
        switch (request.operation, request.inode) {
        case ("setxattr", _), ("setattr", _), ("fallocate", _), (_, .property?), (_, .poolProperty?), (_, .poolSize?): true
        default: false
        }
    }

    var isFull: Bool {
        let available = pool.usage().available
        if available == 0 { return true }
        let host = hostShortage.load(ordering: .relaxed)
        // What comes and goes there by a few blocks is not it.
        if available < shortage.load(ordering: .relaxed), host == 0 || hostRoom < host + UInt64(pool.geometry.segmentSize) { return true }
        shortage.store(0, ordering: .relaxed)
        hostShortage.store(0, ordering: .relaxed)
        return false
    }

    /// Which of the two has no room, and what helps, in a sentence. Nil in any other state.
    var fullText: String? {
        guard stateName == Self.full else { return nil }
        let available = pool.usage().available
        if available > 0 && hostShortage.load(ordering: .relaxed) > 0 {
            return "the filesystem that the pool's file is on has \(Wording.size(hostRoom)) left, while the pool itself has \(Wording.size(pool.usage().free)) free; "
                + "make room there, or delete snapshots or volumes here"
        }
        return "the pool has \(Wording.size(available)) available, which is less than was wanted last; delete snapshots or volumes, or make it larger: "
            + "echo BYTES > .ctl/size\(autogrowRemark)"
    }

    /// That a full pool would make itself larger, and why it does not; empty where that is not so.
    var autogrowRemark: String {
        let step = pool.autogrow
        guard step > 0, let room = try? pool.device.room, room < 2 * UInt64(pool.geometry.segmentSize) else { return "" }
        return "; it does not grow by its autogrow of \(Wording.size(step)), as the filesystem that its file is on has only \(Wording.size(room)) for that"
    }

    /// Bytes that the filesystem of the pool's file has free.
    private var hostRoom: UInt64 { pool.device.storage?.free ?? 0 }
}
