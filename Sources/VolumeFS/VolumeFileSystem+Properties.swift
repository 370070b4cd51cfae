public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Properties of volumes and snapshots: extended attributes of their files, and files in `.ctl/…/prop`.
///
/// `user.volfs.NAME` are ours, some of them computed; any other name of the classes user, trusted and security is kept as it
/// is. Which callers may use a class is the kernel's to decide.
extension VolumeFileSystem {
    /// Ours that can be set, and what they accept.
    enum Settable: String, CaseIterable {
        case comment, fixed, shrink, snapshotLimit = "snapshot_limit", quota, hold

        static let prefix = "user.volfs."

        func accepts(_ text: String, isSnapshot: Bool) -> Bool {
            switch self {
            case .comment: true
            case .hold: isSnapshot
            case .fixed, .shrink: !isSnapshot && ["on", "off"].contains(text)
            case .snapshotLimit, .quota: !isSnapshot && UInt64(text) != nil
            }
        }
    }

    /// What `volfs set` can set.
    package static let settableNames = Settable.allCases.map(\.rawValue)

    private static let computed = ["size", "referenced", "created", "guid", "origin", "generation", "snapshots", "open"]

    // MARK: Extended attributes

    /// Throws `.noProperty`.
    public func attribute(_ inode: Inode, _ name: String) throws(PoolError) -> [UInt8] {
        guard case .file(let id) = inode else { throw .noProperty }
        if name.hasPrefix(Settable.prefix), let text = try computedValue(String(name.dropFirst(Settable.prefix.count)), id) {
            return Array(text.utf8)
        }
        guard let value = try pool.properties(id)[name] else { throw .noProperty }
        return value
    }

    /// Names that were set; the computed ones are not listed.
    public func attributeNames(_ inode: Inode) throws(PoolError) -> [String] {
        guard case .file(let id) = inode else { return [] }
        return try pool.properties(id).keys.sorted()
    }

    /// With `mustBeNew` or `mustExist` as setxattr(2) has them. Nil removes.
    public func setAttribute(
        _ inode: Inode, _ name: String, _ value: [UInt8]?, mustBeNew: Bool = false, mustExist: Bool = false
    ) throws(PoolError) {
        guard case .file(let id) = inode else { throw .notSupported }
        if options.isReadOnly { throw .readOnly }
        let isSnapshot = try pool.size(id).isSnapshot
        if name.hasPrefix(Settable.prefix) {
            let short = String(name.dropFirst(Settable.prefix.count))
            if Self.computed.contains(short) { throw .notPermitted }
            let text = value.map { String(decoding: $0, as: UTF8.self) } ?? ""
            guard let property = Settable(rawValue: short), value == nil || property.accepts(text, isSnapshot: isSnapshot) else {
                throw .invalid(.value)
            }
        } else {
            guard ["user.", "trusted.", "security."].contains(where: { name.hasPrefix($0) }) else { throw .notSupported }
            if isSnapshot { throw .readOnly }
        }
        let isThere = try pool.properties(id)[name] != nil
        if mustBeNew && isThere { throw .exists }
        if (mustExist || value == nil) && !isThere { throw .noProperty }
        try pool.setProperty(id, name, value)
        limits.withLock { $0[id] = nil }
    }

    private func computedValue(_ name: String, _ id: UInt64) throws(PoolError) -> String? {
        let info = try pool.info(id)
        return switch name {
        case "size": "\(info.size)"
        case "referenced": "\(info.referenced)"
        case "created": Wording.time(info.created)
        case "guid": info.uuid.text
        case "origin": info.origin
        case "generation": "\(info.generation)"
        case "snapshots": info.isSnapshot ? nil : "\(info.snapshotCount)"
        case "open": "\(open.withLock { $0.files[id]?.count ?? 0 })"
        default: nil
        }
    }

    // MARK: Files

    /// Those that `.ctl/…/prop` lists: the computed ones that apply, and ours that can be set.
    func propertyNames(_ id: UInt64) throws(PoolError) -> [String] {
        let isSnapshot = try pool.info(id).isSnapshot
        var names: [String] = []
        for name in Self.computed where try computedValue(name, id) != nil { names.append(name) }
        return names + Settable.allCases.filter { isSnapshot ? [.comment, .hold].contains($0) : $0 != .hold }.map(\.rawValue)
    }

    func propertyText(_ id: UInt64, _ index: UInt64) throws(PoolError) -> String {
        let name = Self.propertyName(index)
        if let text = try computedValue(name, id) { return text + "\n" }
        guard let value = try pool.properties(id)[Settable.prefix + name] else { return "" }
        return String(decoding: value, as: UTF8.self) + "\n"
    }

    /// A line written to a property's file; an empty one removes it.
    func setProperty(_ id: UInt64, _ index: UInt64, _ text: String) throws(PoolError) {
        let name = Settable.prefix + Self.propertyName(index)
        let value = text.hasSuffix("\n") ? String(text.dropLast()) : text
        if value.isEmpty, try pool.properties(id)[name] == nil { return }
        try setAttribute(.file(id), name, value.isEmpty ? nil : Array(value.utf8))
    }

    static func propertyName(_ index: UInt64) -> String {
        let names = computed + Settable.allCases.map(\.rawValue)
        return index < UInt64(names.count) ? names[Int(index)] : ""
    }

    static func propertyIndex(_ name: String) -> UInt64? {
        (computed + Settable.allCases.map(\.rawValue)).firstIndex(of: name).map { UInt64($0) }
    }

    /// Name and value of all that an object has: computed, and set.
    package func allProperties(_ id: UInt64) throws(PoolError) -> [(name: String, value: String)] {
        var all: [(name: String, value: String)] = []
        for name in try propertyNames(id) {
            let text = try propertyText(id, Self.propertyIndex(name) ?? 0)
            if !text.isEmpty { all.append((name, String(text.dropLast()))) }
        }
        return all
    }

    // MARK: What they forbid

    /// What properties say about a volume, looked up once.
    struct Limits: Sendable {
        var isFixed = false
        var mayShrink = true
        var snapshots = UInt64.max
        var quota = UInt64.max
        var isHeld = false
    }

    func limits(of id: UInt64) throws(PoolError) -> Limits {
        if let known = limits.withLock({ $0[id] }) { return known }
        let properties = try pool.properties(id)
        func text(_ property: Settable) -> String? { properties[Settable.prefix + property.rawValue].map { String(decoding: $0, as: UTF8.self) } }
        var found = Limits()
        found.isFixed = text(.fixed) == "on"
        found.mayShrink = text(.shrink) != "off"
        found.snapshots = text(.snapshotLimit).flatMap { UInt64($0) } ?? .max
        found.quota = text(.quota).flatMap { UInt64($0) } ?? .max
        found.isHeld = text(.hold)?.isEmpty == false
        let result = found
        limits.withLock { $0[id] = result }
        return result
    }

    /// Throws for a write that the volume's properties forbid: beyond the end of a fixed one, or into holes over its quota.
    func refuseByLimits(_ id: UInt64, at offset: UInt64, count: Int) throws(PoolError) {
        let limits = try limits(of: id)
        guard limits.isFixed || limits.quota != .max else { return }
        let info = try pool.info(id)
        let end = offset + UInt64(count)
        if limits.isFixed && end > info.size { throw .outOfSpace(needed: end - info.size, free: 0) }
        guard limits.quota != .max, info.referenced + UInt64(count) > limits.quota else { return }
        if let extent = try pool.extent(id, at: offset), extent.isData, extent.end >= min(end, info.size), end <= info.size { return }
        throw .outOfSpace(needed: UInt64(count), free: limits.quota > info.referenced ? limits.quota - info.referenced : 0)
    }

    package func refuseDeletionByLimits(_ id: UInt64) throws(PoolError) { if try limits(of: id).isHeld { throw .held } }

    package func refuseSnapshotByLimits(_ volume: UInt64) throws(PoolError) {
        let limit = try limits(of: volume).snapshots
        if limit != .max, try UInt64(pool.info(volume).snapshotCount) >= limit { throw .tooMany(limit: limit) }
    }
}
