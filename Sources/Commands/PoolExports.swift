internal import BlockStorage
internal import LinuxIO
internal import NBD
internal import NBDProtocol
internal import PoolEngine
internal import VolumeFS

/// The volumes and snapshots of a pool as NBD exports.
final class PoolExports: ExportProvider {
    private let files: VolumeFileSystem
    private let isReadOnly: Bool

    init(_ files: VolumeFileSystem, isReadOnly: Bool) {
        self.files = files
        self.isReadOnly = isReadOnly
    }

    func list() -> [ExportDescription] { files.exports().map(description) }

    func describe(_ name: String) throws(OptionRefusal) -> ExportDescription { description(try find(name)) }

    /// What is allocated, where it came from, what of a volume is shared, and what has changed since each snapshot of the volume.
    func contexts(of name: String) -> [String] {
        guard let info = try? find(name) else { return [] }
        return [ExtentSource.allocation, ExtentSource.depth] + (info.isSnapshot ? [] : [ExtentSource.shared])
            + files.pool.snapshots(of: info.volume).filter { $0.id != info.id }.map { ExtentSource.changes + $0.name }
    }

    func open(_ name: String, by peer: Peer) throws(OptionRefusal) -> (description: ExportDescription, export: any Export) {
        let info = try find(name)
        let description = description(info)
        do throws(PoolError) {
            let handle = try files.enter(
                info.id, process: peer.process, command: Self.name(of: peer), writes: !description.isReadOnly, kind: .nbd)
            return (description, PoolExport(files, info.id, handle: handle))
        } catch .refused(.isStopping) {
            throw OptionRefusal(.shutdown, "the pool is being unmounted")
        } catch {
            throw OptionRefusal(.unknown, "\(info.fullName): \(files.sentence(for: error))")
        }
    }

    /// As `.ctl/vol/VOL/users` calls it.
    private static func name(of peer: Peer) -> String {
        guard peer.process > 0, let text = readText("/proc/\(peer.process)/comm") else { return peer.address }
        return String(text.prefix { $0 != "\n" })
    }

    private func find(_ name: String) throws(OptionRefusal) -> ObjectInfo {
        if name.isEmpty { return try onlyVolume() }
        // What begins with a dot is aside, as in the trash.
        if name.hasPrefix(".") { throw OptionRefusal(.unknown, "no such volume or snapshot") }
        let parts = split(name)
        var found: ObjectInfo
        do throws(PoolError) {
            found = try files.pool.info(files.pool.find(parts.volume, snapshot: parts.snapshot))
        } catch {
            throw OptionRefusal(.unknown, "no such volume or snapshot")
        }
        guard files.isExported(found.volume) else {
            throw OptionRefusal(.policy, "the property nbd of \(found.volumeName) is off")
        }
        return found
    }

    /// There is no default among several: a guess would be a wrong disk for somebody.
    private func onlyVolume() throws(OptionRefusal) -> ObjectInfo {
        let volumes = files.exports().filter { !$0.isSnapshot }
        guard volumes.count == 1 else {
            throw OptionRefusal(.unknown, "there are \(volumes.count) volumes; name one")
        }
        return volumes[0]
    }

    private func description(_ info: ObjectInfo) -> ExportDescription {
        let text = info.isSnapshot ? "snapshot of \(info.volumeName), \(Wording.size(info.size))" : "\(Wording.size(info.size)) volume"
        return ExportDescription(
            name: info.fullName, text: text, size: info.size, isReadOnly: isReadOnly || !files.isWritable(info),
            canTrim: files.freesOnDiscard(info.volume),
            preferredBlockSize: UInt32(files.pool.geometry.blockSize))
    }
}
