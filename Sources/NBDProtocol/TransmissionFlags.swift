/// What a server says of an export when transmission begins.
public struct TransmissionFlags: OptionSet, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let hasFlags = TransmissionFlags(rawValue: 1 << 0)
    public static let readOnly = TransmissionFlags(rawValue: 1 << 1)
    public static let flush = TransmissionFlags(rawValue: 1 << 2)
    public static let fua = TransmissionFlags(rawValue: 1 << 3)
    public static let rotational = TransmissionFlags(rawValue: 1 << 4)
    public static let trim = TransmissionFlags(rawValue: 1 << 5)
    public static let writeZeroes = TransmissionFlags(rawValue: 1 << 6)
    public static let dontFragment = TransmissionFlags(rawValue: 1 << 7)
    public static let multiConnection = TransmissionFlags(rawValue: 1 << 8)
    public static let cache = TransmissionFlags(rawValue: 1 << 10)
    public static let fastZero = TransmissionFlags(rawValue: 1 << 11)
}
