/// What one message may have, in bytes or pieces. What goes beyond is refused, never stored.
public enum Limits {
    /// Any string: a name, a context, a message.
    public static let string: UInt32 = 4096
    /// The data of one option: a name and a good many contexts.
    public static let option: UInt32 = 65_536
    /// Options of one handshake; who haggles longer than that does not mean to use an export.
    public static let options = 512
    /// Metadata contexts that one connection may select, and queries of one option.
    public static let contexts = 64
    /// Data of one read or write; advertised as the maximum payload.
    public static let payload: UInt32 = 32 << 20
    /// Extents in one block status chunk.
    public static let extents = 4096
}
