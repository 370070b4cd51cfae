internal import BlockStorage

/// Reads nodes, of any tree, and verifies that each is the one its parent names. Any thread may use it.
struct NodeReader: Sendable {
    let device: any BlockDevice
    let map: ZoneMap
    let pool: UInt64

    /// Which node was found, and at which byte of the device.
    struct Found {
        var identity: NodeLayout.Identity
        var position: UInt64
        var isCopy: Bool
    }

    /// Reads the node into `block`, from its copy if it is damaged itself. Throws what is wrong with the first if both are.
    func read(_ pointer: NodePointer, into block: UnsafeMutableRawBufferPointer) throws(PoolError) -> Found {
        do throws(PoolError) {
            return try read(pointer, at: pointer.address, into: block)
        } catch {
            guard pointer.copy != .none, let found = try? read(pointer, at: pointer.copy, into: block) else { throw error }
            return found
        }
    }

    /// The position of a damaged copy of a node whose other copy is whole. Nil if both are, if neither is, or if there is one.
    func damagedCopy(_ pointer: NodePointer, buffer: UnsafeMutableRawBufferPointer) -> UInt64? {
        guard pointer.copy != .none else { return nil }
        let bad = [pointer.address, pointer.copy].filter { (try? read(pointer, at: $0, into: buffer)) == nil }
        guard bad.count == 1, let place = bad.first else { return nil }
        return map.contains(place) ? map.offset(of: place) : place.value
    }

    /// Fills `bytes` from that block on. False where the device cannot read it; throws only `.cancelled`.
    func canRead(_ bytes: UnsafeMutableRawBufferPointer, at place: BlockAddress) throws(PoolError) -> Bool {
        do throws(PoolError) {
            try device.read(into: bytes, at: map.offset(of: place))
            return true
        } catch {
            if error == .cancelled { throw error }
            return false
        }
    }

    /// Reads one of the node's two places.
    func read(
        _ pointer: NodePointer, at place: BlockAddress, into block: UnsafeMutableRawBufferPointer
    ) throws(PoolError) -> Found {
        guard map.contains(place) else { throw .corrupt(.node, position: place.value, .mapping) }
        let position = map.offset(of: place)
        try device.read(into: block, at: position)
        let identity = try NodeLayout.open(UnsafeRawBufferPointer(block), pointer: pointer, pool: pool, position: position)
        return Found(identity: identity, position: position, isCopy: place != pointer.address)
    }
}
