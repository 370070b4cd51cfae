public import BlockStorage

/// What a scrub found.
public struct ScrubReport: Sendable {
    public var problems: [Problem] = []
    public var checkedNodes = 0
    /// Data blocks read, each once.
    public var checkedBlocks = 0
    /// Copies of nodes that were damaged and are whole again.
    public var healedCopies = 0

    public var isClean: Bool { problems.isEmpty }

    public struct Problem: Equatable, Sendable {
        /// `VOLUME` or `VOLUME@SNAPSHOT`.
        public var object: String
        /// Bytes of it that cannot be read.
        public var offset: UInt64
        public var count: UInt64
        public var error: PoolError
    }
}
