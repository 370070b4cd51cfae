public import BlockStorage

/// Volumes under stored names, which begin with a dot: no list, look-up or count has them but `asideVolumes`. What is in them
/// is used as before.
extension Pool {
    /// By stored name.
    public func asideVolumes() -> [ObjectInfo] { volumes(aside: true) }

    /// Gives a volume a stored name, up to 255 bytes; `rename` gives it a user's name again. It can have no
    /// snapshots, and none can be made of it. Durable on return. Throws
    /// `.hasSnapshots` for a volume that has any, `.exists`, `.notFound`.
    public func setAside(_ volume: UInt64, as name: String) throws(PoolError) {
        precondition(ObjectName.isAside(name), "a stored name begins with a dot")
        try ObjectName.checkStored(name)
        if try size(volume).isSnapshot { throw .invalid(.destination) }
        try rename(volume, isSnapshot: false, stored: name)
    }
}
