/// A line of /proc/self/mountinfo (proc(5)).
public struct MountInfo: Equatable, Sendable {
    public var mountpoint: String
    /// `MAJOR:MINOR` of the mounted filesystem: tells two mounts of one place apart.
    public var device: String
    public var kind: String
    public var source: String
    /// Of the filesystem, with commas between.
    public var options: String

    /// The number that an option has.
    public func number(_ name: String) -> UInt32? {
        options.split(separator: ",").first { $0.hasPrefix("\(name)=") }.flatMap { UInt32($0.dropFirst(name.utf8.count + 1)) }
    }

    /// All mounts that this process sees, oldest first.
    public static func all() -> [MountInfo] { parse(readText("/proc/self/mountinfo") ?? "") }

    /// What is mounted at a directory now: of several, the last, which covers the others.
    public static func top(at mountpoint: String) -> MountInfo? { all().last { $0.mountpoint == mountpoint } }

    public static func parse(_ text: String) -> [MountInfo] {
        text.split(separator: "\n").compactMap { line in
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { return nil }
            let left = halves[0].split(separator: " "), right = halves[1].split(separator: " ")
            guard left.count >= 5, right.count >= 2 else { return nil }
            return MountInfo(
                mountpoint: unescaped(left[4]), device: String(left[2]), kind: String(right[0]), source: unescaped(right[1]),
                options: right.count > 2 ? String(right[2]) : "")
        }
    }

    /// The kernel writes blanks and the like as three octal digits.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3, let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) {
                bytes.append(value)
                rest.removeFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
