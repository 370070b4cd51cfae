internal import BlockStorage
internal import LinuxIO
internal import NBDProtocol

/// A request that a thread waits for. All but the gate is used under the client's lock, and `destination` by the thread that
/// receives while `isReceiving` is set.
final class ClientRequest: @unchecked Sendable {
    // Sendable: see above.
    enum Outcome { case success, error(UInt32), failure(PoolError) }

    let gate = Gate()
    var command = Command.flush
    var cookie: UInt64 = 0
    var offset: UInt64 = 0
    var length: UInt64 = 0
    /// Where a read puts what it gets.
    var destination: UnsafeMutableRawBufferPointer?
    /// What a write, a trim or zeroes change.
    var change: UnflushedChange?
    /// The connection it was sent on, by its number, and when.
    var sentOn: UInt64 = 0
    var sentAt: UInt64 = 0
    /// For a flush: the last answer before it was sent.
    var covers: UInt64 = 0
    var coverage = ReadCoverage(offset: 0, count: 0)
    /// The first error of its chunks.
    var problem: UInt32 = 0
    /// Bytes are being put into `destination`.
    var isReceiving = false
    /// Its thread leaves as soon as that has ended.
    var wantsOut = false
    var outcome: Outcome?

    func begin(_ command: Command, at offset: UInt64, _ length: UInt64, into destination: UnsafeMutableRawBufferPointer? = nil, change: UnflushedChange? = nil) {
        self.command = command
        self.offset = offset
        self.length = length
        self.destination = destination
        self.change = change
        sentOn = 0
        sentAt = 0
        startOver()
        outcome = nil
        wantsOut = false
    }

    /// What has come of a reply is of no use once its connection is gone.
    func startOver() {
        problem = 0
        coverage = ReadCoverage(offset: offset, count: command == .read ? length : 0)
    }

    var wire: Request { Request(command, cookie: cookie, offset: offset, length: length) }
}
