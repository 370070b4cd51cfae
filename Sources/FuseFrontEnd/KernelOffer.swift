internal import BlockStorage
internal import CFuse

/// What the kernel's first request says that it can do (FUSE_INIT).
///
///     offset  size  field
///          4     4  opcode
///          8     8  unique    the request's number
///         40     4  major
///         44     4  minor
///         52     4  flags     in bits 0 to 31
///         56     4  flags2    in bits 32 to 63, if flags has bit 30
package struct KernelOffer {
    /// The highest bit of the number of a request that is sent again.
    static let resentBit: UInt64 = 1 << 63
    private static let extended: UInt64 = 1 << 30, hasResend: UInt64 = 1 << 39
    static let opcode = 4, unique = 8
    private static let flags = 52, moreFlags = 56
    /// FUSE_NOTIFY_RESEND and FUSE_COPY_FILE_RANGE_64, which older headers do not have.
    static let resendNotice: Int32 = 7
    private static let wideCopy: UInt32 = 53

    private let bytes: [UInt8]

    package init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// Whether it is such a request at all.
    package var isInitial: Bool { bytes.withUnsafeBytes { $0.count >= 56 && $0.integer(at: Self.opcode, as: UInt32.self) == FUSE_INIT.rawValue } }

    /// Whether what is not answered can be had again.
    package var resends: Bool {
        bytes.withUnsafeBytes { bytes in
            guard bytes.count >= Self.moreFlags + 4 else { return false }
            let low = UInt64(bytes.integer(at: Self.flags, as: UInt32.self)), high = UInt64(bytes.integer(at: Self.moreFlags, as: UInt32.self))
            return low & Self.extended != 0 && (high << 32 | low) & Self.hasResend != 0
        }
    }

    /// What a request is for whoever waits for those that are sent again.
    static func kind(_ request: UnsafeRawBufferPointer) -> ResentRequests.Kind {
        let code = request.integer(at: opcode, as: UInt32.self)
        if [FUSE_INTERRUPT, FUSE_FORGET, FUSE_BATCH_FORGET].contains(where: { $0.rawValue == code }) { return .aside }
        return request.integer(at: unique, as: UInt64.self) & resentBit != 0 ? .resent : .other
    }

    /// Makes of a copy with a count of 64 bits in its answer, which libfuse does not know, the older one, whose answer has as many bytes
    /// and the same ones. Told that there is none, Linux 6.18 asks for the older one instead, but where several were told so at once it
    /// takes that for an answer to the older one too, and from then on copies by reading and writing whatever could be shared.
    package static func adapt(_ request: UnsafeMutableRawBufferPointer) {
        guard UnsafeRawBufferPointer(request).integer(at: opcode, as: UInt32.self) == wideCopy else { return }
        request.store(FUSE_COPY_FILE_RANGE.rawValue, at: opcode)
    }

    /// The same under a number that no request has, so that the kernel takes no notice of its answer.
    package var repeated: [UInt8] {
        var copy = bytes
        copy.withUnsafeMutableBytes { $0.store(UInt64(1) << 62, at: Self.unique) }
        return copy
    }
}
