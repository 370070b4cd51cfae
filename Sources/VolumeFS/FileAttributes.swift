/// What stat(2) says of an inode. Times in nanoseconds since 1970.
public struct FileAttributes: Equatable, Sendable {
    public var inode: UInt64
    public var kind: Inode.Kind
    /// Permission bits.
    public var mode: UInt32
    public var uid: UInt32
    public var gid: UInt32
    public var size: UInt64 = 0
    /// Bytes of the pool it refers to.
    public var allocated: UInt64 = 0
    public var modified: UInt64 = 0
    public var changed: UInt64 = 0
    /// True for a snapshot's file: none of these changes any more, but for `changed`.
    public var isImmutable = false
}

/// What setattr(2) may change; nil leaves as it is.
public struct AttributeChanges: Sendable {
    public var mode: UInt32?
    public var uid: UInt32?
    public var gid: UInt32?
    public var size: UInt64?
    public var modified: UInt64?
    public init() {}
}

/// Who asks.
public struct Caller: Sendable {
    public var process: Int32
    public var uid: UInt32
    public var gid: UInt32

    public init(process: Int32, uid: UInt32, gid: UInt32) {
        self.process = process
        self.uid = uid
        self.gid = gid
    }
}

/// One name of a directory.
public struct DirectoryEntry: Equatable, Sendable {
    public var name: String
    public var inode: Inode
}

/// How to open a file.
public struct OpenRequest: Sendable {
    public var writes: Bool
    public var truncates: Bool
    /// Changes through the handle are durable when they return.
    public var isSynchronous: Bool

    public init(writes: Bool, truncates: Bool, isSynchronous: Bool = false) {
        self.writes = writes
        self.truncates = truncates
        self.isSynchronous = isSynchronous
    }
}

/// An open file.
public struct OpenFile: Equatable, Sendable {
    public var handle: UInt64
    /// True for a snapshot, whose bytes never change: the kernel may keep them.
    public var isImmutable: Bool
    /// True for `.ctl/events`, which has no offsets.
    public var isStream = false
    /// True for a volume.
    public var isVolume = false
    /// Who opened it, if it is a volume or a snapshot.
    public var user: VolumeUser?
    /// Changes through it are durable when they return.
    public var isSynchronous = false
}
