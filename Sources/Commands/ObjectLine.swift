package import PoolEngine
package import VolumeFS

/// A volume or a snapshot as commands show it, whether the pool is mounted or not.
package struct ObjectLine: Equatable, Sendable {
    package var isSnapshot: Bool
    /// Removed, and still to be had back.
    package var isInTrash = false
    /// `VOL` or `VOL@SNAP`.
    package var name: String
    package var id: UInt64
    package var size: UInt64
    package var referenced: UInt64
    /// Nanoseconds since 1970.
    package var created: UInt64
    /// The same of one in the trash: when it came there.
    package var removed: UInt64?
    package var uuid: String
    package var origin: String?
    package var snapshots: Int
    /// Nil unless somebody has had it counted.
    package var usage: ObjectUsage?
    /// Values of properties that can be set, by name; nil unless somebody has had them read.
    package var settings: [String: String]?

    /// A line of `.ctl/list`; nil if it is none.
    package init?(line: String) {
        let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        guard fields.count >= 9, let id = UInt64(fields[2]), let size = UInt64(fields[3]), let referenced = UInt64(fields[4]),
            let created = UInt64(fields[5]), let snapshots = Int(fields[8])
        else { return nil }
        isSnapshot = fields[0] == "snapshot"
        name = fields[1]
        self.id = id
        self.size = size
        self.referenced = referenced
        self.created = created
        uuid = fields[6]
        origin = fields[7] == "-" ? nil : fields[7]
        self.snapshots = snapshots
    }

    init(_ info: ObjectInfo) {
        isSnapshot = info.isSnapshot
        name = info.fullName
        id = info.id
        size = info.size
        referenced = info.referenced
        created = info.created
        uuid = info.uuid.text
        origin = info.origin
        snapshots = info.snapshotCount
    }

    /// A volume in the trash, where it may have another name.
    init(inTrash name: String, _ info: ObjectInfo) {
        self.init(info)
        self.name = name
        isInTrash = true
        removed = info.changed
    }

    /// The same by what its file says.
    init(inTrash name: String, id: UInt64, size: UInt64, referenced: UInt64, created: UInt64, removed: UInt64, uuid: String) {
        isSnapshot = false
        isInTrash = true
        self.name = name
        self.id = id
        self.size = size
        self.referenced = referenced
        self.created = created
        self.removed = removed
        self.uuid = uuid
        snapshots = 0
    }

    package static let columns = ["name", "type", "size", "referenced"] + counted + ["created", "origin", "snapshots", "id", "guid", "hold", "comment"]
    /// Those that can be asked for by name too: when something was removed, and every property that can be set.
    package static let moreColumns = ["removed"] + settable.filter { !columns.contains($0) }
    /// The columns that are properties.
    package static let settable = VolumeFileSystem.settableNames
    /// The columns for which the object's map is walked.
    package static let counted = ["used", "unique", "written"]

    /// What stands in a column; nil for one there is not.
    package func text(_ column: String, exact: Bool) -> String? {
        switch column {
        case "name": name
        case "type": type
        case "size": exact ? "\(size)" : Wording.size(size)
        case "referenced": exact ? "\(referenced)" : Wording.size(referenced)
        case "used": size(usage?.used, exact)
        case "unique": size(usage?.unique, exact)
        case "written": size(usage?.written, exact)
        case "created": exact ? "\(created / 1_000_000_000)" : Wording.time(created)
        case "origin": origin ?? "-"
        case "snapshots": "\(snapshots)"
        case "id": "\(id)"
        case "guid": uuid
        case "removed": removed.map { exact ? "\($0 / 1_000_000_000)" : Wording.time($0) } ?? "-"
        case _ where Self.settable.contains(column): settings?[column].map { setting(column, $0, exact) } ?? "-"
        default: nil
        }
    }

    private func setting(_ name: String, _ value: String, _ exact: Bool) -> String {
        ["quota", "reservation"].contains(name) ? size(UInt64(value), exact) : TextTable.line(value)
    }

    private var type: String { isInTrash ? "trash" : isSnapshot ? "snapshot" : "volume" }

    private func size(_ value: UInt64?, _ exact: Bool) -> String { value.map { exact ? "\($0)" : Wording.size($0) } ?? "-" }

    /// As in info.json, those that are set.
    private var properties: [(String, JSON)] {
        settings.map { settings in [("properties", .fields(settings.sorted { $0.key < $1.key }.map { ($0.key, .text($0.value)) }))] } ?? []
    }

    package var json: JSON {
        let counted: [(String, JSON)] =
            usage.map { [("used", .size($0.used)), ("unique", .size($0.unique)), ("written", .size($0.written))] } ?? []
        return .fields([
            ("schema", .text("volfs.volume/1")), ("name", .text(name)), ("guid", uuid == "-" ? .null : .text(uuid)),
            ("type", .text(type)), ("size", .size(size)), ("referenced", .size(referenced)),
        ] + counted + [
            ("created", .text(Wording.time(created))), ("origin", origin.map { .text($0) } ?? .null),
            ("snapshots", .number(Int64(snapshots))), ("id", .size(id)),
        ] + (removed.map { [("removed", .text(Wording.time($0)))] } ?? []) + properties)
    }
}
