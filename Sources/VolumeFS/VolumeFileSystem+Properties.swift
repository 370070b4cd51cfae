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
        case comment, fixed, shrink, snapshotLimit = "snapshot_limit", quota, hold, readonly, group, reservation
        case unreserveOnDiscard = "unreserve-on-discard"
        case discard, nbd

        static let prefix = "user.volfs."

        func accepts(_ text: String, isSnapshot: Bool) -> Bool {
            switch self {
            case .comment: true
            case .hold: isSnapshot
            case .fixed, .shrink, .readonly, .unreserveOnDiscard, .discard, .nbd: !isSnapshot && ["on", "off"].contains(text)
            case .snapshotLimit, .quota, .reservation: !isSnapshot && UInt64(text) != nil
            case .group: !isSnapshot && VolumeFileSystem.parseGroups(text) != nil
            }
        }

        /// Properties that similar programs have for what there is not here, and why there is not.
        static let absences = ["compression", "compress", "compressratio"]
        static let absence = "volfs does not compress: each block of 4 KiB has a place of its own, so that a request of a block is one block on disk, "
            + "also of direct I/O; use a filesystem that compresses in the volume, as btrfs does with -o compress"

        /// What a property of that name takes, as an answer to what it does not.
        static func sentence(_ name: String) -> String {
            switch Settable(rawValue: name) {
            case .comment?: "comment takes any text, in UTF-8"
            case .hold?: "hold takes any text, of a snapshot only; an empty line releases it"
            case .fixed?, .shrink?, .readonly?, .unreserveOnDiscard?, .discard?, .nbd?: "\(name) is on or off, of a volume only"
            case .snapshotLimit?: "\(name) is a number, of a volume only; an empty line removes the limit"
            case .quota?: "quota is a number of bytes, of a volume only; an empty line removes it"
            case .reservation?: "reservation is a number of bytes from the volume's start, of a volume only; 0 or an empty line releases it"
            case .group?: "group has names of groups with commas between, each once and not all, of a volume only"
            case nil where absences.contains(name): absence
            case nil: "there is no property \(name) that can be set; those there are: \(settableNames.joined(separator: ", "))"
            }
        }
    }

    /// Whether it is a property that only volumes have.
    package static func isOfVolumes(_ name: String) -> Bool { Settable(rawValue: name).map { ![.comment, .hold].contains($0) } ?? false }

    /// What a property of that name takes instead of `value`, in words. Nil if it takes it; an empty one removes it.
    package static func refusal(of name: String, _ value: String, isSnapshot: Bool) -> String? {
        if let property = Settable(rawValue: name), value.isEmpty || property.accepts(value, isSnapshot: isSnapshot) { return nil }
        return Settable.sentence(name)
    }

    /// Why there is no property of that name, where people expect one. Nil for any other.
    package static func absence(of name: String) -> String? { Settable.absences.contains(name) ? Settable.absence : nil }

    /// What `volfs set` can set.
    package static let settableNames = Settable.allCases.map(\.rawValue)

    /// What `volfs get` can print of a volume or a snapshot.
    package static let propertyNames = computed + settableNames

    /// Of the mount's top, with a size in bytes behind it: the size that making the pool as small as that would give it.
    private static let smaller = "user.volfs.smaller."

    /// Of the mount's top: the least size in bytes that the pool can have with what is in it now.
    package static let smallest = "user.volfs.smallest"

    /// For which the object's map is walked.
    private static let counted = ["used", "unique", "written"]
    private static let computed = ["size", "referenced"] + counted + ["created", "guid", "origin", "generation", "snapshots", "open", "reserved"]

    // MARK: Extended attributes

    /// Throws `.noProperty`.
    public func attribute(_ inode: Inode, _ name: String) throws(PoolError) -> [UInt8] {
        if inode == .root, name.hasPrefix(Settable.prefix), let index = Self.poolProperties.firstIndex(of: String(name.dropFirst(Settable.prefix.count))) {
            return Array(poolPropertyText(UInt64(index)).utf8)
        }
        if inode == .root, name.hasPrefix(Self.smaller), let size = UInt64(name.dropFirst(Self.smaller.count)) {
            return Array("\(try pool.smallerSize(size))".utf8)
        }
        if inode == .root, name == Self.smallest { return Array("\(try smallestSize())".utf8) }
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
        return try pool.properties(id).keys.filter { !$0.hasPrefix("volfs.") }.sorted()
    }

    /// With `mustBeNew` or `mustExist` as setxattr(2) has them. Nil removes; so does an empty value of ours, also what is not set.
    public func setAttribute(
        _ inode: Inode, _ name: String, _ value: [UInt8]?, mustBeNew: Bool = false, mustExist: Bool = false
    ) throws(PoolError) {
        if inode == .root { try refusePoolProperty(name) }
        guard case .file(let id) = inode else { throw .notSupported }
        try refuseIfReadOnly()
        let info = try pool.info(id), isSnapshot = info.isSnapshot
        try refuseIfInTrash(info)
        if name.hasPrefix(Settable.prefix) {
            let short = String(name.dropFirst(Settable.prefix.count))
            if Self.computed.contains(short) { throw .refused(.computedProperty) }
            guard let property = Settable(rawValue: short) else { throw .refused(.unknownProperty) }
            if isSnapshot && Self.isOfVolumes(short) { throw .readOnly }
            if let value, !value.isEmpty {
                guard let text = String(validating: value, as: UTF8.self), property.accepts(text, isSnapshot: isSnapshot) else { throw .invalid(.value) }
            }
        } else {
            guard ["user.", "trusted.", "security."].contains(where: { name.hasPrefix($0) }) else { throw .notSupported }
            if isSnapshot { throw .readOnly }
        }
        if name == Settable.prefix + Settable.reservation.rawValue { return try setReservation(id, value) }
        let isThere = try pool.properties(id)[name] != nil
        if mustBeNew && isThere { throw .exists }
        if (mustExist || value == nil) && !isThere { throw .noProperty }
        let isRemoval = value.map { $0.isEmpty && name.hasPrefix(Settable.prefix) } ?? true, kept = isRemoval ? nil : value
        if isRemoval && !isThere { return }
        if name == Settable.prefix + Settable.quota.rawValue, let kept { try refuseQuota(kept, below: info.referenced) }
        let before = try limits(of: id).groups
        do throws(PoolError) {
            try pool.setProperty(id, name, kept)
        } catch .tooLarge(_, let limit) {
            throw .refused(.valueTooLarge(limit: limit))
        }
        limits.withLock { $0.forget(id) }
        let text = kept.flatMap { String(validating: $0, as: UTF8.self) }
        events.publish("property-changed", info.fullName, [("property", .text(name.hasPrefix(Settable.prefix) ? String(name.dropFirst(Settable.prefix.count)) : name)), ("value", text.map { .text($0) } ?? .null)])
        if name == Self.groupProperty {
            let changed = Set(before).symmetricDifference(try limits(of: id).groups)
            times.touch([.groups] + changed.map { .groupMembers(groupNumber($0)) }, options.now())
        }
    }

    /// Bytes: the least that a shrink would take, before what is deleted and not yet freed is. Throws what `smallerSize` would of any size.
    package func smallestSize() throws(PoolError) -> UInt64 {
        var least: UInt64 = 0, most = pool.deviceSize
        while most - least > 1 << 20 {
            let middle = least + (most - least) / 2
            do throws(PoolError) {
                let size = try pool.smallerSize(middle)
                (least, most) = (min(least, size), min(middle, size))
            } catch {
                switch error {
                case .outOfSpace, .refused(.poolTooSmall): least = middle
                case .invalid(.size): most = middle
                default: throw error
                }
            }
        }
        return most
    }

    /// Those of the pool are all computed.
    private func refusePoolProperty(_ name: String) throws(PoolError) {
        guard name.hasPrefix(Settable.prefix) else { return }
        let isThere = Self.poolProperties.contains(String(name.dropFirst(Settable.prefix.count))) || name.hasPrefix(Self.smaller) || name == Self.smallest
        throw .refused(isThere ? .computedProperty : .unknownProperty)
    }

    private func refuseQuota(_ value: [UInt8], below used: UInt64) throws(PoolError) {
        if let limit = UInt64(String(decoding: value, as: UTF8.self)), limit < used { throw .refused(.quotaIsUsed(used: used)) }
    }

    /// The reservation is what the engine has: nothing else is kept of it.
    private func setReservation(_ id: UInt64, _ value: [UInt8]?) throws(PoolError) {
        let size = value.flatMap { UInt64(String(decoding: $0, as: UTF8.self)) } ?? 0
        let quota = try limits(of: id).quota
        if size > quota { throw .refused(.quota(limit: quota)) }
        if size > 0 { try pool.reserve(id, at: 0, count: size) }
        try pool.unreserve(id, at: size, count: .max - size)
    }

    private func computedValue(_ name: String, _ id: UInt64) throws(PoolError) -> String? {
        let info = try pool.info(id)
        return switch name {
        case "size": "\(info.size)"
        case "referenced": "\(info.referenced)"
        case "used": "\(try usage(of: id).used)"
        case "unique": "\(try usage(of: id).unique)"
        case "written": "\(try usage(of: id).written)"
        case "created": Wording.time(info.created)
        case "guid": info.uuid.text
        case "origin": info.origin
        case "generation": "\(info.generation)"
        case "snapshots": info.isSnapshot ? nil : "\(info.snapshotCount)"
        case "open": "\(openCount(id))"
        case "reserved", "reservation": info.isSnapshot ? nil : "\(info.reserved)"
        default: nil
        }
    }

    // MARK: Files

    /// Those that `.ctl/…/prop` lists: the computed ones that apply, and ours that can be set.
    func propertyNames(_ id: UInt64) throws(PoolError) -> [String] {
        let isSnapshot = try pool.info(id).isSnapshot
        var names: [String] = []
        // Those that take a walk every object has, and nobody wants their values yet.
        for name in Self.computed {
            if Self.counted.contains(name) { names.append(name) } else if try computedValue(name, id) != nil { names.append(name) }
        }
        return names + Self.settableNames(isSnapshot: isSnapshot)
    }

    package static func settableNames(isSnapshot: Bool) -> [String] {
        Settable.allCases.filter { isSnapshot ? [.comment, .hold].contains($0) : $0 != .hold }.map(\.rawValue)
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
        try setAttribute(.file(id), name, Array(value.utf8))
    }

    /// Those of ours that are set.
    func setProperties(_ id: UInt64) throws(PoolError) -> [(name: String, value: String)] {
        let all = try pool.properties(id)
        return Settable.allCases.compactMap { property in
            all[Settable.prefix + property.rawValue].map { (property.rawValue, String(decoding: $0, as: UTF8.self)) }
        }
    }

    /// Of a property's file that an object does not have.
    func noPropertyFile(_ id: UInt64, _ name: String) throws(PoolError) -> PoolError {
        if Self.computed.contains(name) { return .refused(.computedProperty) }
        return try pool.info(id).isSnapshot && Self.isOfVolumes(name) ? .readOnly : .refused(.unknownProperty)
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
        var isReadOnly = false
        var snapshots = UInt64.max
        var quota = UInt64.max
        var isHeld = false
        var unreservesOnDiscard = false
        var freesOnDiscard = true
        var isExported = true
        var groups: [String] = []

        init(_ text: (Settable) -> String?) {
            isFixed = text(.fixed) == "on"
            mayShrink = text(.shrink) != "off"
            isReadOnly = text(.readonly) == "on"
            snapshots = text(.snapshotLimit).flatMap { UInt64($0) } ?? .max
            quota = text(.quota).flatMap { UInt64($0) } ?? .max
            unreservesOnDiscard = text(.unreserveOnDiscard) == "on"
            freesOnDiscard = text(.discard) != "off"
            isExported = text(.nbd) != "off"
            isHeld = text(.hold)?.isEmpty == false
            groups = text(.group).flatMap { parseGroups($0) } ?? []
        }
    }

    /// Those of the volumes that were asked for.
    struct LimitsCache: ~Copyable {
        private(set) var known: [UInt64: Limits] = [:]
        /// Grows with each change: what was read before one must not be entered after it.
        private(set) var changes: UInt64 = 0

        mutating func forget(_ id: UInt64) {
            known[id] = nil
            changes += 1
        }

        mutating func enter(_ limits: Limits, of id: UInt64, readAt change: UInt64) { if change == changes { known[id] = limits } }
    }

    func limits(of id: UInt64) throws(PoolError) -> Limits {
        let (known, change) = limits.withLock { ($0.known[id], $0.changes) }
        if let known { return known }
        let properties = try pool.properties(id)
        let result = Limits { property in properties[Settable.prefix + property.rawValue].map { String(decoding: $0, as: UTF8.self) } }
        limits.withLock { $0.enter(result, of: id, readAt: change) }
        return result
    }

    /// Throws for a write that the volume's properties forbid: beyond the end of a fixed one, or into holes over its quota.
    func refuseByLimits(_ id: UInt64, at offset: UInt64, count: Int) throws(PoolError) {
        let limits = try limits(of: id)
        if limits.isReadOnly { throw .refused(.volumeIsReadOnly) }
        guard limits.isFixed || limits.quota != .max else { return }
        let info = try pool.info(id)
        let end = offset + UInt64(count)
        if limits.isFixed && end > info.size { throw .refused(.fixed(size: info.size)) }
        guard limits.quota != .max, info.referenced + UInt64(count) > limits.quota else { return }
        if let extent = try pool.extent(id, at: offset), extent.isData, extent.end >= min(end, info.size), end <= info.size { return }
        throw .refused(.quota(limit: limits.quota))
    }

    /// Throws for a change that the object's properties forbid.
    package func refuse(_ change: ObjectChange, of id: UInt64) throws(PoolError) {
        if let refusal = change.refusal(by: try limits(of: id)) { throw refusal }
    }

    package func refuseSnapshotByLimits(_ volume: UInt64) throws(PoolError) {
        let limit = try limits(of: volume).snapshots
        if limit != .max, try UInt64(pool.info(volume).snapshotCount) >= limit { throw .tooMany(limit: limit) }
    }
}
