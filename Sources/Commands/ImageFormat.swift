internal import Glibc

/// What an image begins with, or ends with, that is not the bytes of a disk.
enum ImageFormat: String, CaseIterable {
    case qcow, vmdk, vdi, vhd, vhdx, qed
    case gz, xz, zst, bz2

    /// Bytes, from the beginning, or of a fixed VHD from the last 512.
    private var magic: [UInt8] {
        switch self {
        case .qcow: [0x51, 0x46, 0x49, 0xfb]
        case .vmdk: Array("KDMV".utf8)
        case .vdi: Array("<<< ".utf8)
        case .vhd: Array("conectix".utf8)
        case .vhdx: Array("vhdxfile".utf8)
        case .qed: Array("QED\0".utf8)
        case .gz: [0x1f, 0x8b, 0x08]
        case .xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
        case .zst: [0x28, 0xb5, 0x2f, 0xfd]
        case .bz2: Array("BZh".utf8)
        }
    }

    /// VMDK's other beginning: a text that names the files with the data.
    private static let descriptor = Array("# Disk Desc".utf8)
    /// Behind the digit in the beginning of bzip2's: its first block.
    private static let bzipBlock: [UInt8] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59]

    /// Nil of what may be raw. What was looked at stays to be read.
    init?(of input: any ByteStream) throws(Failure) {
        let head = try Self.head(of: input)
        if head.starts(with: Self.descriptor) {
            self = .vmdk
        } else if let found = Self.allCases.first(where: { head.starts(with: $0.magic) }), found != .bz2 || head.dropFirst(4).starts(with: Self.bzipBlock) {
            self = found
        } else if let size = try input.size, size >= 512, try Self.read(input, at: size - 512, 8) == Self.vhd.magic {
            self = .vhd
        } else {
            return nil
        }
    }

    /// With its article.
    var text: String {
        switch self {
        case .qcow: "a qcow2 image"
        case .vmdk, .vdi, .vhd, .vhdx, .qed: "a \(rawValue.uppercased()) image"
        case .gz, .xz, .zst, .bz2: "compressed"
        }
    }

    /// A command that makes a raw one of it.
    func remedy(_ source: String, pool: String, name: String) -> String {
        let program = [Self.gz: "gzip", .xz: "xz", .zst: "zstd", .bz2: "bzip2"][self]
        guard let program else { return "convert it: qemu-img convert -O raw" }
        return source == "-" ? "put before it: \(program) -dc |" : "decompress it: \(program) -dc \(source) | volfs import \(pool) - \(name)"
    }

    /// The format that a file of that name would be taken for; nil for one that says nothing.
    static func named(_ path: String) -> String? {
        let names = ["qcow2", "bzip2", "zstd"] + allCases.map(\.rawValue)
        guard let dot = path.lastIndex(of: "."), !path[dot...].contains("/") else { return nil }
        let suffix = path[dot...].dropFirst().lowercased()
        return names.contains(suffix) ? suffix : nil
    }

    /// Its first bytes, which stay to be read. Of a pipe no more are waited for than may be needed.
    private static func head(of input: any ByteStream) throws(Failure) -> [UInt8] {
        guard let pipe = input as? PipeStream else { return try read(input, at: 0, 16) }
        let start = try pipe.peek(4)
        let isKnown = (allCases.map(\.magic) + [descriptor]).contains { start.starts(with: $0.prefix(4)) }
        return isKnown ? try pipe.peek(16) : start
    }

    private static func read(_ input: any ByteStream, at offset: UInt64, _ count: Int) throws(Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count), failure: Failure?
        var found = 0
        bytes.withUnsafeMutableBytes { buffer in
            do throws(Failure) { found = try input.read(at: offset, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        return Array(bytes[..<found])
    }
}
