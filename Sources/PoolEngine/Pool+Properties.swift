public import BlockStorage

extension Pool {
    /// All that were set of an object, by name.
    public func properties(_ object: UInt64) throws(PoolError) -> [String: [UInt8]] {
        try state.withLock { state throws(PoolError) in try state.version(of: object).properties }
    }

    /// Sets a property, or removes it. Durable on return. Names and values are the caller's; a snapshot's can be set too.
    /// Throws `.tooLarge` for a value of more than 3072 bytes or properties of more than 64 KiB, `.notFound` for removing one
    /// that is not set.
    public func setProperty(_ object: UInt64, _ name: String, _ value: [UInt8]?) throws(PoolError) {
        let limit = PropertyChain.maximumValue(geometry)
        if name == PoolState.reservedProperty { throw .notPermitted }
        guard (value?.count ?? 0) <= limit, name.utf8.count <= 255 else { throw .tooLarge(size: UInt64(value?.count ?? 0), limit: UInt64(limit)) }
        let size = PropertyChain.encode(try properties(object)).count + name.utf8.count + (value?.count ?? 0) + 4
        let blocks = PropertyChain.blocks(bytes: size, geometry: geometry)
        _ = try change(value == nil ? .freeing : .administrative, versions: 1, extra: { _ in blocks }) { state, environment throws(PoolError) in
            let version = try state.version(of: object)
            if value == nil && version.properties[name] == nil { throw .notFound }
            var after = version.properties
            after[name] = value
            // What is reserved is not of the user's making.
            after[PoolState.reservedProperty] = nil
            let size = PropertyChain.encode(after).count
            guard value == nil || size <= PropertyChain.maximumSize else { throw .tooLarge(size: UInt64(size), limit: UInt64(PropertyChain.maximumSize)) }
            return (object, [.property(version: version.id, name: name, value: value, time: environment.now())])
        }
    }
}
