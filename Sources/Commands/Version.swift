internal import FuseFrontEnd
internal import PoolEngine
internal import VolumeFS

/// `volfs version`.
enum Version {
    static let number = "0.1.0"

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 { tell(isJSON: arguments.isJSON) }

    static func tell(isJSON: Bool) -> Int32 {
        let library = FuseVersions.library, kernel = FuseVersions.kernel
        if isJSON {
            say(JSON.object([
                ("schema", .text("volfs.version/1")), ("version", .text(number)), ("format", .number(Int64(Superblock.version))),
                ("libfuse", .text(library)), ("fuse_protocol", kernel.map { .text($0) } ?? .null),
            ]))
        } else {
            say("volfs \(number), pool format \(Superblock.version)")
            say("libfuse \(library), FUSE protocol of the kernel \(kernel ?? "not known: ask as root")")
        }
        return 0
    }
}
