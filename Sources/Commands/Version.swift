internal import PoolEngine
internal import VolumeFS

/// `volfs version`.
enum Version {
    static let number = "0.1.0"

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 { tell(isJSON: arguments.isJSON) }

    static func tell(isJSON: Bool) -> Int32 {
        if isJSON {
            say(JSON.object([("schema", .text("volfs.version/1")), ("version", .text(number)), ("format", .number(Int64(Superblock.version)))]))
        } else {
            say("volfs \(number), pool format \(Superblock.version)")
        }
        return 0
    }
}
