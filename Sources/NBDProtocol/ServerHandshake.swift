internal import BlockStorage

/// A server's side of fixed newstyle negotiation: bytes in, bytes out.
///
/// The caller sends `Greeting.bytes`, then gives it what has arrived, one step at a time, and sends what it answers.
public struct ServerHandshake: Sendable {
    /// Whether the connection can be, must be, or is encrypted.
    public enum Encryption: Sendable { case unavailable, required, active }

    /// What comes after a step.
    public enum Step: Sendable {
        /// Nothing was taken: so many bytes are needed.
        case needs(Int)
        /// So many bytes were taken; there may be another step in what is left.
        case taken(Int)
        /// So many were taken, the last that may come in the clear: TLS begins once the answer is sent.
        case startTLS(Int)
        /// So many were taken; what follows are requests.
        case transmission(Int, Session)
        /// The answer is sent, then the connection is closed.
        case close(Ending)
    }

    /// Why a connection is closed in its handshake.
    public enum Ending: Sendable, Equatable {
        case asked, clientFlags, optionMagic, optionSize, optionFlood, refusedExport
    }

    public private(set) var encryption: Encryption
    private var hasFlags = false
    private var sendsZeroes = true
    private var options = 0
    var style = ReplyStyle.simple
    /// What was selected last, and for which export.
    var contexts: [MetaContext] = []
    var contextsExport: String?
    /// New options are refused: the server is about to end.
    public var isStopping = false

    public init(encryption: Encryption) { self.encryption = encryption }

    /// After a finished TLS handshake: nothing that was settled in the clear counts.
    public mutating func didStartTLS() {
        encryption = .active
        style = .simple
        contexts = []
        contextsExport = nil
    }

    /// Takes one message off the front of `input`, if it is there whole, and appends the answer to `output`.
    public mutating func step(
        _ input: UnsafeRawBufferPointer, _ exports: inout some ExportDirectory, _ output: inout [UInt8]
    ) -> Step {
        if !hasFlags { return takeFlags(input) }
        guard input.count >= 16 else { return .needs(16) }
        guard input.network(at: 0) == Greeting.option else { return .close(.optionMagic) }
        let code: UInt32 = input.network(at: 8), size: UInt32 = input.network(at: 12)
        guard size <= Limits.option else {
            refuse(code, OptionRefusal(.tooBig, "an option may have \(Limits.option) bytes"), &output)
            return .close(.optionSize)
        }
        let whole = 16 + Int(size)
        guard input.count >= whole else { return .needs(whole) }
        options += 1
        guard options <= Limits.options else { return .close(.optionFlood) }
        return take(code, input.part(16..<whole), whole, &exports, &output)
    }

    private mutating func takeFlags(_ input: UnsafeRawBufferPointer) -> Step {
        guard input.count >= 4 else { return .needs(4) }
        let flags: UInt32 = input.network(at: 0)
        let known = UInt32(Greeting.fixedNewstyle | Greeting.noZeroes)
        // A client that does not speak the fixed style could not be told why anything is refused.
        guard flags & ~known == 0, flags & UInt32(Greeting.fixedNewstyle) != 0 else { return .close(.clientFlags) }
        hasFlags = true
        sendsZeroes = flags & UInt32(Greeting.noZeroes) == 0
        return .taken(4)
    }

    private mutating func take(
        _ code: UInt32, _ data: UnsafeRawBufferPointer, _ whole: Int, _ exports: inout some ExportDirectory,
        _ output: inout [UInt8]
    ) -> Step {
        let option = OptionCode(rawValue: code)
        if option == .abort {
            acknowledge(code, &output)
            return .close(.asked)
        }
        if option == .exportName { return exportName(data, whole, &exports, &output) }
        do throws(OptionRefusal) {
            if isStopping { throw OptionRefusal(.shutdown, "the server is ending") }
            if encryption == .required && option != .startTLS { throw OptionRefusal(.tlsRequired, "this server wants TLS") }
            switch option {
            case .startTLS: return try startTLS(data, whole, &output)
            case .list: try list(data, &exports, &output)
            case .info, .go:
                let session = try information(code, data, isGo: option == .go, &exports, &output)
                if option == .go { return .transmission(whole, session) }
            case .structuredReply:
                try requireEmpty(data)
                if style == .extended { throw OptionRefusal(.extendedHeadersRequired, "extended headers are in use already") }
                style = .structured
                acknowledge(code, &output)
            case .extendedHeaders:
                try requireEmpty(data)
                style = .extended
                acknowledge(code, &output)
            case .listMetaContext, .setMetaContext:
                try metaContexts(code, data, selects: option == .setMetaContext, &exports, &output)
            case nil: throw OptionRefusal(.unsupported, "no such option")
            case .abort?, .exportName?: preconditionFailure("answered above")
            }
        } catch {
            refuse(code, error, &output)
        }
        return .taken(whole)
    }

    func requireEmpty(_ data: UnsafeRawBufferPointer) throws(OptionRefusal) {
        if !data.isEmpty { throw OptionRefusal(.invalid, "this option has no data") }
    }

    private func startTLS(
        _ data: UnsafeRawBufferPointer, _ whole: Int, _ output: inout [UInt8]
    ) throws(OptionRefusal) -> Step {
        try requireEmpty(data)
        switch encryption {
        case .unavailable: throw OptionRefusal(.policy, "this server has no certificates")
        case .active: throw OptionRefusal(.invalid, "TLS is in use already")
        case .required:
            acknowledge(OptionCode.startTLS.rawValue, &output)
            return .startTLS(whole)
        }
    }

    /// The oldest way in: no error can be answered, so whatever is wrong ends the connection.
    private mutating func exportName(
        _ data: UnsafeRawBufferPointer, _ whole: Int, _ exports: inout some ExportDirectory, _ output: inout [UInt8]
    ) -> Step {
        var fields = FieldReader(data)
        guard encryption != .required, !isStopping, style != .extended, let name = fields.string(UInt32(data.count)),
            let export = try? exports.open(name)
        else { return .close(.refusedExport) }
        let session = session(of: export)
        output.appendNetwork(export.size)
        output.appendNetwork(session.flags.rawValue)
        if sendsZeroes { output.append(contentsOf: repeatElement(0, count: 124)) }
        return .transmission(whole, session)
    }

    func session(of export: ExportDescription) -> Session {
        // Contexts count only for the export they were selected for.
        Session(export: export, style: style, contexts: contextsExport == export.name ? contexts : [])
    }

    // MARK: Answers

    func acknowledge(_ code: UInt32, _ output: inout [UInt8]) { answer(code, .acknowledged, [], &output) }

    func refuse(_ code: UInt32, _ refusal: OptionRefusal, _ output: inout [UInt8]) {
        answer(code, refusal.reply, Array(refusal.text.utf8.prefix(Int(Limits.string))), &output)
    }

    func answer(_ code: UInt32, _ reply: OptionReply, _ data: [UInt8], _ output: inout [UInt8]) {
        output.appendNetwork(Greeting.reply)
        output.appendNetwork(code)
        output.appendNetwork(reply.rawValue)
        output.appendNetwork(UInt32(data.count))
        output += data
    }
}
