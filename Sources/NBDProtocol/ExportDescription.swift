/// An export as a client sees it.
public struct ExportDescription: Equatable, Sendable {
    /// The canonical name, also where the client gave none.
    public var name: String
    /// For a person.
    public var text: String
    /// Bytes, at the moment it was looked up.
    public var size: UInt64
    public var isReadOnly: Bool
    /// Whether a trim gives anything back.
    public var canTrim: Bool
    /// A power of two of at least 512: requests of its multiples need no read before a write.
    public var preferredBlockSize: UInt32

    public init(name: String, text: String, size: UInt64, isReadOnly: Bool, canTrim: Bool = true, preferredBlockSize: UInt32) {
        self.name = name
        self.text = text
        self.size = size
        self.isReadOnly = isReadOnly
        self.canTrim = canTrim
        self.preferredBlockSize = preferredBlockSize
    }
}

/// Why an option is not granted: its number, and words for a person.
public struct OptionRefusal: Error, Equatable, Sendable {
    public var reply: OptionReply
    public var text: String

    public init(_ reply: OptionReply, _ text: String) {
        self.reply = reply
        self.text = text
    }
}

/// Where a handshake finds what it may offer. One connection's; used by one thread at a time.
public protocol ExportDirectory {
    /// All that `NBD_OPT_LIST` shows.
    mutating func list() -> [ExportDescription]
    /// The export of that name; "" asks for the default one.
    mutating func describe(_ name: String) throws(OptionRefusal) -> ExportDescription
    /// As `describe`, and from now on the connection uses it.
    mutating func open(_ name: String) throws(OptionRefusal) -> ExportDescription
    /// Names of the metadata contexts that an export has.
    mutating func contexts(of name: String) -> [String]
}
