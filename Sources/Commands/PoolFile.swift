internal import BlockStorage
internal import Glibc

/// What a file is, by its first bytes.
enum PoolFile {
    /// True for a pool, also one whose first superblocks are damaged. Throws if it cannot be read.
    static func isPool(_ path: String) throws(Failure) -> Bool {
        if PoolDevice.isRemote(path) { return try isPool(on: PoolDevice.open(path, writing: false), path) }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(errno: errno, object: path, reason: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var magic: [UInt8] = [0, 0, 0, 0]
        return stride(from: 0, to: 2 << 20, by: 65_536).contains { pread(descriptor, &magic, 4, off_t($0)) == 4 && magic == Array("VFSB".utf8) }
    }

    /// An end of a device.
    enum End: CaseIterable { case first, last }

    /// Whether there are zeros only where filesystems, partition tables and pools begin and end.
    static func isEmpty(_ device: any BlockDevice, at ends: [End] = End.allCases) throws(PoolError) -> Bool {
        let size = try device.size, part = min(size, 1 << 20)
        if part == 0 { return true }
        let buffer = AlignedBuffer(count: Int(part))
        for end in ends {
            try device.read(into: buffer.bytes, at: end == .first ? 0 : size - part)
            if !isZero(UnsafeRawBufferPointer(buffer.bytes)) { return false }
        }
        return true
    }

    private static func isPool(on device: any BlockDevice, _ path: String) throws(Failure) -> Bool {
        let block = AlignedBuffer(count: 4096)
        do throws(PoolError) {
            let size = try device.size
            for offset in stride(from: 0 as UInt64, to: min(2 << 20, size & ~4095), by: 65_536) {
                try device.read(into: block.bytes, at: offset)
                if block.bytes.prefix(4).elementsEqual("VFSB".utf8) { return true }
            }
            return false
        } catch {
            throw Failure(error, object: path, pool: path)
        }
    }
}
