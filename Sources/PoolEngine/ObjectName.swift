public import BlockStorage

/// What a volume or snapshot may be called. ASCII only, because a name is a file's name, a word of a command line and
/// part of `VOLUME@SNAPSHOT`.
public enum ObjectName {
    public static let maximumLength = 127

    /// 1 to 127 of `A-Z a-z 0-9 . _ + -`, beginning with a letter or digit. Throws `.invalid(.name)` or `.nameTooLong`.
    public static func checkVolume(_ name: String) throws(PoolError) {
        try check(name, first: isAlphanumeric, rest: { isAlphanumeric($0) || "._+-".utf8.contains($0) })
    }

    /// As a volume's, and may contain `:` and begin with `_`.
    public static func checkSnapshot(_ name: String) throws(PoolError) {
        try check(
            name, first: { isAlphanumeric($0) || $0 == UInt8(ascii: "_") },
            rest: { isAlphanumeric($0) || "._+-:".utf8.contains($0) })
    }

    /// As `checkSnapshot`, for one that is made or renamed. Throws `.refused(.headIsTheVolume)` for `head`, which is what
    /// differences call the volume itself. A pool may have one of that name, from before the name had that meaning.
    public static func checkNewSnapshot(_ name: String) throws(PoolError) {
        try checkSnapshot(name)
        if name == "head" { throw .refused(.headIsTheVolume) }
    }

    /// As `checkVolume`, or what is set aside: beginning with a dot, up to 255 bytes of the same and `~`.
    static func checkStored(_ name: String) throws(PoolError) {
        guard isAside(name) else { return try checkVolume(name) }
        guard name.utf8.allSatisfy({ isAlphanumeric($0) || "._+-~".utf8.contains($0) }) else { throw .invalid(.name) }
        guard name.utf8.count <= 255 else { throw .invalid(.nameTooLong) }
    }

    /// No user's name begins with a dot.
    static func isAside(_ name: String) -> Bool { name.utf8.first == UInt8(ascii: ".") }

    private static func check(
        _ name: String, first: (UInt8) -> Bool, rest: (UInt8) -> Bool
    ) throws(PoolError) {
        guard let head = name.utf8.first, first(head), name.utf8.dropFirst().allSatisfy(rest) else { throw .invalid(.name) }
        guard name.utf8.count <= maximumLength else { throw .invalid(.nameTooLong) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
