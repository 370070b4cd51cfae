internal import BlockStorage
internal import NBDProtocol

/// The memory of one request: its data, aligned, with room before it for the headers of the reply, so that a reply is one
/// piece of memory wherever it can be.
///
/// It belongs to one thread at a time: the one that fills it, then the one that executes the request, then the one that
/// sends the reply; it is handed on under the connection's lock.
final class IOBuffer: @unchecked Sendable {
    // Sendable: see above.
    static let headroom = 4096
    let bytes: UnsafeMutableRawBufferPointer
    /// Which of the pool's sizes it has.
    let sizeClass: Int
    /// Bytes it takes of the server's budget.
    let size: Int
    var request = Request(.flush, cookie: 0)
    /// Why the request is refused without being looked at further.
    var refusal: WireError?
    /// It has one of the places for long work.
    var isHeavy = false
    /// A write that is done, and not settled yet.
    var isUnsettled = false
    /// Bytes of the payload, and how many of them have come.
    var payload = 0
    var filled = 0
    /// The parts of the memory that make up the reply, in order.
    var pieces: [Range<Int>] = []

    init(capacity: Int, sizeClass: Int) {
        // Not zeroed: of a reply only what was laid out is sent.
        bytes = .allocate(byteCount: Self.headroom + capacity, alignment: AlignedBuffer.alignment)
        self.sizeClass = sizeClass
        size = Self.headroom + capacity
        pieces.reserveCapacity(4)
    }

    deinit { bytes.deallocate() }

    /// The first `count` bytes of the data.
    func data(_ count: Int) -> UnsafeMutableRawBufferPointer { bytes.part(Self.headroom..<Self.headroom + count) }
    var replySize: Int { pieces.reduce(0) { $0 + $1.count } }

    func begin(_ request: Request) {
        self.request = request
        refusal = nil
        isHeavy = false
        isUnsettled = false
        payload = 0
        filled = 0
        pieces.removeAll(keepingCapacity: true)
    }
}
