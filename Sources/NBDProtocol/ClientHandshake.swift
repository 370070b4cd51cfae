internal import BlockStorage

/// A client's side of newstyle negotiation: bytes in, bytes out.
///
/// The caller gives it what has arrived, one step at a time, and sends what it answers. The best that the server has is taken:
/// extended headers, structured replies or simple ones; GO, or the older EXPORT_NAME.
public struct ClientHandshake: Sendable {
    /// What comes after a step.
    public enum Step: Sendable {
        /// Nothing was taken: so many bytes are needed.
        case needs(Int)
        /// So many bytes were taken; there may be another step in what is left.
        case taken(Int)
        /// So many were taken, the last in the clear: TLS begins now, and then `didStartTLS` is called.
        case startTLS(Int)
        /// So many were taken; requests may be sent.
        case ready(Int, RemoteExport)
        /// The connection is of no use.
        case failed(Refusal)
    }

    public enum Refusal: Error, Equatable, Sendable {
        /// It is not a server of this protocol, or breaks it.
        case malformed
        /// It speaks only what there was before options.
        case oldStyle
        case unknownExport(words: String)
        case needsTLS
        case hasNoTLS
        /// For another reason, in the server's words.
        case refused(words: String)
    }

    private enum State: Sendable { case greeting, startTLS, extendedHeaders, structuredReply, go, exportName }

    /// Of one answer's data. No answer to what is asked here needs more.
    private static let longestAnswer: UInt32 = 16_384
    private static let oldMagic: UInt64 = 0x0000_4202_8186_1253

    private let export: String
    private let wantsTLS: Bool
    private let best: ReplyStyle
    private var state = State.greeting
    private var hasZeroes = true
    private var style = ReplyStyle.simple
    private var found: RemoteExport?
    private var blockSizes: (UInt32, UInt32, UInt32)?
    private var answers = 0

    /// `best` is the most that is asked for.
    public init(export: String, wantsTLS: Bool, best: ReplyStyle = .extended) {
        precondition(export.utf8.count <= Int(Limits.string), "an export's name has at most 4096 bytes")
        self.export = export
        self.wantsTLS = wantsTLS
        self.best = best
    }

    /// After TLS has begun: asks for the rest.
    public mutating func didStartTLS(_ output: inout [UInt8]) { askForStyle(&output) }

    /// Takes one message off the front of `input`, if it is there whole, and appends what is to be sent to `output`.
    public mutating func step(_ input: UnsafeRawBufferPointer, _ output: inout [UInt8]) -> Step {
        do throws(Refusal) {
            switch state {
            case .greeting: return try greeting(input, &output)
            case .exportName: return try exportNameAnswer(input)
            case .startTLS, .extendedHeaders, .structuredReply, .go: return try answer(input, &output)
            }
        } catch {
            return .failed(error)
        }
    }

    // MARK: Greeting

    private mutating func greeting(_ input: UnsafeRawBufferPointer, _ output: inout [UInt8]) throws(Refusal) -> Step {
        guard input.count >= 16 else { return .needs(16) }
        guard input.network(at: 0) == Greeting.magic else { throw .malformed }
        let style: UInt64 = input.network(at: 8)
        guard style == Greeting.option else { throw style == Self.oldMagic ? .oldStyle : .malformed }
        guard input.count >= 18 else { return .needs(18) }
        let flags: UInt16 = input.network(at: 16)
        hasZeroes = flags & Greeting.noZeroes == 0
        output.appendNetwork(UInt32(flags & (Greeting.fixedNewstyle | Greeting.noZeroes)))
        if flags & Greeting.fixedNewstyle == 0 {
            // No option but this one may be sent to it, for it could refuse none.
            if wantsTLS { throw .hasNoTLS }
            askByName(&output)
        } else if wantsTLS {
            state = .startTLS
            ask(.startTLS, [], &output)
        } else {
            askForStyle(&output)
        }
        return .taken(18)
    }

    private mutating func askForStyle(_ output: inout [UInt8]) {
        switch best {
        case .extended:
            state = .extendedHeaders
            ask(.extendedHeaders, [], &output)
        case .structured: askForStructured(&output)
        case .simple: askToGo(&output)
        }
    }

    private mutating func askForStructured(_ output: inout [UInt8]) {
        state = .structuredReply
        ask(.structuredReply, [], &output)
    }

    private mutating func askToGo(_ output: inout [UInt8]) {
        state = .go
        var data: [UInt8] = []
        data.appendNetwork(UInt32(export.utf8.count))
        data += Array(export.utf8)
        data.appendNetwork(UInt16(1))
        data.appendNetwork(InfoType.blockSize.rawValue)
        ask(.go, data, &output)
    }

    private mutating func askByName(_ output: inout [UInt8]) {
        state = .exportName
        ask(.exportName, Array(export.utf8), &output)
    }

    private func ask(_ option: OptionCode, _ data: [UInt8], _ output: inout [UInt8]) {
        output.appendNetwork(Greeting.option)
        output.appendNetwork(option.rawValue)
        output.appendNetwork(UInt32(data.count))
        output += data
    }

    // MARK: Answers

    private var asked: OptionCode {
        switch state {
        case .startTLS: .startTLS
        case .extendedHeaders: .extendedHeaders
        case .structuredReply: .structuredReply
        case .go: .go
        case .greeting, .exportName: preconditionFailure("nothing was asked that is answered so")
        }
    }

    private mutating func answer(_ input: UnsafeRawBufferPointer, _ output: inout [UInt8]) throws(Refusal) -> Step {
        guard input.count >= 20 else { return .needs(20) }
        let option: UInt32 = input.network(at: 8), number: UInt32 = input.network(at: 12), size: UInt32 = input.network(at: 16)
        guard input.network(at: 0) == Greeting.reply, option == asked.rawValue, size <= Self.longestAnswer else { throw .malformed }
        let whole = 20 + Int(size)
        guard input.count >= whole else { return .needs(whole) }
        answers += 1
        guard answers <= 64 else { throw .malformed }
        let data = input.part(20..<whole), reply = OptionReply(rawValue: number)
        if number & 0x8000_0000 != 0 {
            try refused(reply, data, &output)
            return .taken(whole)
        }
        switch (state, reply) {
        case (.startTLS, .acknowledged?): return .startTLS(whole)
        case (.extendedHeaders, .acknowledged?):
            style = .extended
            askToGo(&output)
        case (.structuredReply, .acknowledged?):
            style = .structured
            askToGo(&output)
        case (.go, .info?): try information(data)
        case (.go, .acknowledged?): return .ready(whole, try finished())
        default: throw .malformed
        }
        return .taken(whole)
    }

    /// What cannot be had is done without, as far as that goes.
    private mutating func refused(_ reply: OptionReply?, _ data: UnsafeRawBufferPointer, _ output: inout [UInt8]) throws(Refusal) {
        if reply == .tlsRequired { throw .needsTLS }
        switch state {
        case .startTLS: throw .hasNoTLS
        case .extendedHeaders: askForStructured(&output)
        case .structuredReply: askToGo(&output)
        case .go where reply == .unsupported && style != .extended: askByName(&output)
        case .go where reply == .unknown: throw .unknownExport(words: Self.words(data))
        default: throw .refused(words: Self.words(data))
        }
    }

    /// What a server says for a person, as far as it can be printed.
    private static func words(_ data: UnsafeRawBufferPointer) -> String {
        String(String(decoding: data.prefix(400), as: UTF8.self).unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.map(Character.init))
    }

    private mutating func information(_ data: UnsafeRawBufferPointer) throws(Refusal) {
        var fields = FieldReader(data)
        guard let number: UInt16 = fields.integer() else { throw .malformed }
        switch InfoType(rawValue: number) {
        case .export:
            guard let size: UInt64 = fields.integer(), let flags: UInt16 = fields.integer(), fields.isAtEnd else { throw .malformed }
            found = try export(size, flags)
        case .blockSize:
            guard let minimum: UInt32 = fields.integer(), let preferred: UInt32 = fields.integer(), let maximum: UInt32 = fields.integer(),
                fields.isAtEnd
            else { throw .malformed }
            blockSizes = (minimum, preferred, maximum)
        // What was not asked for may come, and what nobody knows yet.
        case .name, .description, nil: break
        }
    }

    private func export(_ size: UInt64, _ flags: UInt16) throws(Refusal) -> RemoteExport {
        let flags = TransmissionFlags(rawValue: flags)
        guard flags.contains(.hasFlags), size <= UInt64(Int64.max) else { throw .malformed }
        return RemoteExport(size: size, flags: flags)
    }

    private func finished() throws(Refusal) -> RemoteExport {
        guard var found else { throw .malformed }
        if let (minimum, preferred, maximum) = blockSizes {
            guard found.setBlockSizes(minimum: minimum, preferred: preferred, maximum: maximum) else { throw .malformed }
        }
        found.style = style
        return found
    }

    private func exportNameAnswer(_ input: UnsafeRawBufferPointer) throws(Refusal) -> Step {
        let whole = hasZeroes ? 134 : 10
        guard input.count >= whole else { return .needs(whole) }
        var found = try export(input.network(at: 0), input.network(at: 8))
        found.style = style
        return .ready(whole, found)
    }
}
