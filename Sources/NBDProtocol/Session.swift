/// What a handshake has settled.
public struct Session: Sendable {
    /// The export as it was at that moment: a request beyond its size is refused, however large it has become.
    public var export: ExportDescription
    public var style: ReplyStyle
    public var contexts: [MetaContext]

    public init(export: ExportDescription, style: ReplyStyle, contexts: [MetaContext] = []) {
        self.export = export
        self.style = style
        self.contexts = contexts
    }

    /// Several connections may be used at once: the engine has one truth and one journal, so that a flush on any of them
    /// covers what all have written.
    public var flags: TransmissionFlags { Self.flags(of: export, style) }

    static func flags(of export: ExportDescription, _ style: ReplyStyle) -> TransmissionFlags {
        var flags: TransmissionFlags = [.hasFlags, .flush, .fua, .multiConnection, .cache]
        if export.isReadOnly { flags.insert(.readOnly) } else { flags.formUnion([.writeZeroes, .fastZero]) }
        if !export.isReadOnly && export.canTrim { flags.insert(.trim) }
        if style != .simple { flags.insert(.dontFragment) }
        return flags
    }

    /// Why a request is refused before anything is done, or nil.
    public func refusal(of request: Request) -> WireError? {
        guard let command = request.command else { return .invalid }
        guard request.flags.isSubset(of: allowedFlags(command)) else { return .invalid }
        if style == .extended && command == .write && !request.flags.contains(.payloadLength) { return .invalid }
        if export.isReadOnly && command.writes { return .notPermitted }
        // What was not offered is not done.
        if command == .trim && !export.canTrim { return .invalid }
        switch command {
        case .disconnect: return nil
        case .flush: return request.offset == 0 && request.length == 0 ? nil : .invalid
        case .read where request.length > UInt64(Limits.payload):
            return request.flags.contains(.dontFragment) ? .overflow : .invalid
        case .write where request.length > UInt64(Limits.payload): return .invalid
        case .blockStatus where contexts.isEmpty || request.length == 0: return .invalid
        default: break
        }
        let (end, overflow) = request.offset.addingReportingOverflow(request.length)
        guard !overflow, end <= export.size else { return command == .write || command == .writeZeroes ? .noSpace : .invalid }
        return nil
    }

    private func allowedFlags(_ command: Command) -> CommandFlags {
        switch command {
        case .read: style == .simple ? [.fua] : [.fua, .dontFragment]
        case .write: style == .extended ? [.fua, .payloadLength] : [.fua]
        case .writeZeroes: [.fua, .noHole, .fastZero]
        case .blockStatus: [.fua, .requestOne]
        case .disconnect, .flush, .trim, .cache: [.fua]
        }
    }
}

/// A metadata context that a connection has selected.
public struct MetaContext: Equatable, Sendable {
    /// What chunks call it on this connection.
    public var id: UInt32
    public var name: String

    public init(id: UInt32, name: String) {
        self.id = id
        self.name = name
    }
}
