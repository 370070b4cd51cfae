internal import BlockStorage
internal import PoolEngine
internal import Synchronization

/// What lies beyond the machine: the server that the pool is on, and the clients that it serves over NBD.
extension VolumeFileSystem {
    /// That the pool's server cannot be reached, since when and what that means, in a sentence. Nil while it can.
    var serverText: String? {
        guard let since = pool.device.absentSince else { return nil }
        return "the pool's server has not been reached since \(Wording.time(since)); what needs it waits until it is back, for as long as reconnect allows, see volfs-nbd(7)"
    }

    /// Tells whoever asks that the pool is served at these URIs too.
    public func tellServedAt(_ uris: [String]) { servedAt.withLock { $0 = uris } }

    /// With blanks between; nil where there are none.
    var servedAtText: String? { servedAt.withLock { $0.isEmpty ? nil : $0.joined(separator: " ") } }
}
