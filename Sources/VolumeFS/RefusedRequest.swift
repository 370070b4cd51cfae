/// What was asked for when something was refused, as far as a sentence needs it.
public struct RefusedRequest: Sendable {
    public var operation: String
    /// The directory in which `name` was looked for, or without a name the file itself.
    public var inode: Inode?
    public var name: String?
    /// What else was given: a link's target, or a new name.
    public var other: String?
    /// Bytes of the file that were to be read or written.
    public var range: Range<UInt64>?
    /// Of the open file that it was asked of.
    public var handle: UInt64?

    public init(
        _ operation: StaticString, _ inode: Inode?, _ name: String? = nil, other: String? = nil, range: Range<UInt64>? = nil, handle: UInt64? = nil
    ) {
        self.operation = "\(operation)"
        self.inode = inode
        self.name = name
        self.other = other
        self.range = range
        self.handle = handle
    }
}
