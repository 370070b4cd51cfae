internal import BlockStorage
internal import PoolEngine

/// Whether what is asked for once more has been done: by another daemon, whose answer was lost.
extension VolumeFileSystem {
    /// What `name` is in a directory, if that was made at or after a moment in nanoseconds since 1970.
    public func made(_ parent: Inode, _ name: String, since start: UInt64) -> Inode? {
        var name = name
        // Snapshots of several volumes are made together, so one stands for all.
        if parent == .snapshotDirectories, let comma = name.firstIndex(of: ","), let at = name.firstIndex(of: "@"), comma < at {
            name = String(name[..<comma] + name[at...])
        }
        guard let inode = try? lookup(parent, name) else { return nil }
        switch inode {
        case .file, .snapshot, .snapshotAlias, .clone, .groupSnapshot:
            guard let object = inode.object, let info = try? pool.info(object), info.created >= start else { return nil }
            // The other daemon may have ended between the two.
            if parent == .root, options.makesFixed, (try? pool.properties(object)["user.volfs.fixed"]) == .some(nil) {
                try? pool.setProperty(object, "user.volfs.fixed", Array("on".utf8))
            }
            return inode
        default: return nil
        }
    }

    /// Whether `name` is not any more what it was, by that inode's number.
    public func isRemoved(_ parent: Inode, _ name: String, _ number: UInt64) -> Bool {
        if number == 0 { return false }
        return self.number(parent, name) != number
    }

    /// Whether `name` has become what another name was, by that inode's number.
    public func isRenamed(_ parent: Inode, _ name: String, _ number: UInt64) -> Bool { number != 0 && self.number(parent, name) == number }

    /// The number of the inode that `name` is, or 0.
    public func number(_ parent: Inode, _ name: String) -> UInt64 { (try? lookup(parent, name))?.number ?? 0 }
}
