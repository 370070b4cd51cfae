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
    package var uuid: String
    package var origin: String?
    package var snapshots: Int
    /// Nil unless somebody has had it counted.
    package var usage: ObjectUsage?

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
    }

    /// The same by what stat(2) says of its file.
    init(inTrash name: String, id: UInt64, size: UInt64, referenced: UInt64, created: UInt64) {
        isSnapshot = false
        isInTrash = true
        self.name = name
        self.id = id
        self.size = size
        self.referenced = referenced
        self.created = created
        uuid = "-"
        snapshots = 0
    }

    package static let columns = ["name", "type", "size", "referenced"] + counted + ["created", "origin", "snapshots", "id", "guid"]
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
        default: nil
        }
    }

    private var type: String { isInTrash ? "trash" : isSnapshot ? "snapshot" : "volume" }

    private func size(_ value: UInt64?, _ exact: Bool) -> String { value.map { exact ? "\($0)" : Wording.size($0) } ?? "-" }

    package var json: JSON {
        let counted: [(String, JSON)] =
            usage.map { [("used", .size($0.used)), ("unique", .size($0.unique)), ("written", .size($0.written))] } ?? []
        return .fields([
            ("schema", .text("volfs.volume/1")), ("name", .text(name)), ("guid", uuid == "-" ? .null : .text(uuid)),
            ("type", .text(type)), ("size", .size(size)), ("referenced", .size(referenced)),
        ] + counted + [
            ("created", .text(Wording.time(created))), ("origin", origin.map { .text($0) } ?? .null),
            ("snapshots", .number(Int64(snapshots))), ("id", .size(id)),
        ])
    }
}
