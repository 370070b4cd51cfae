internal import BlockStorage

/// Options that ask about exports.
extension ServerHandshake {
    func list(
        _ data: UnsafeRawBufferPointer, _ exports: inout some ExportDirectory, _ output: inout [UInt8]
    ) throws(OptionRefusal) {
        try requireEmpty(data)
        let code = OptionCode.list.rawValue
        for export in exports.list() {
            var item: [UInt8] = []
            item.appendNetwork(UInt32(export.name.utf8.count))
            item += Array(export.name.utf8)
            item += Array(export.text.utf8)
            answer(code, .server, item, &output)
        }
        acknowledge(code, &output)
    }

    /// INFO and GO: 32 bits of length, the name, 16 bits of count, and so many numbers of 16 bits.
    func information(
        _ code: UInt32, _ data: UnsafeRawBufferPointer, isGo: Bool, _ exports: inout some ExportDirectory,
        _ output: inout [UInt8]
    ) throws(OptionRefusal) -> Session {
        var fields = FieldReader(data)
        guard let length: UInt32 = fields.integer(), let name = fields.string(length), let count: UInt16 = fields.integer(),
            fields.rest.count == 2 * Int(count)
        else { throw OptionRefusal(.invalid, "the option's data is not what belongs there") }
        var wanted: [UInt16] = []
        while let number: UInt16 = fields.integer() { wanted.append(number) }
        let export = isGo ? try exports.open(name) : try exports.describe(name)
        let session = session(of: export)

        func inform(_ type: InfoType, _ body: (inout [UInt8]) -> Void) {
            var item: [UInt8] = []
            item.appendNetwork(type.rawValue)
            body(&item)
            answer(code, .info, item, &output)
        }
        inform(.export) { item in
            item.appendNetwork(export.size)
            item.appendNetwork(session.flags.rawValue)
        }
        if wanted.contains(InfoType.name.rawValue) { inform(.name) { $0 += Array(export.name.utf8) } }
        if wanted.contains(InfoType.description.rawValue) { inform(.description) { $0 += Array(export.text.utf8) } }
        if wanted.contains(InfoType.blockSize.rawValue) {
            inform(.blockSize) { item in
                item.appendNetwork(UInt32(1))
                item.appendNetwork(export.preferredBlockSize)
                item.appendNetwork(Limits.payload)
            }
        }
        acknowledge(code, &output)
        return session
    }

    /// LIST_META_CONTEXT and SET_META_CONTEXT: the export's name, the number of queries, and each as a string.
    mutating func metaContexts(
        _ code: UInt32, _ data: UnsafeRawBufferPointer, selects: Bool, _ exports: inout some ExportDirectory,
        _ output: inout [UInt8]
    ) throws(OptionRefusal) {
        if selects {
            // Whatever comes of this one, the selection before it is gone.
            contexts = []
            contextsExport = nil
        }
        guard style != .simple else { throw OptionRefusal(.invalid, "structured replies come first") }
        var fields = FieldReader(data)
        let malformed = OptionRefusal(.invalid, "the option's data is not what belongs there")
        guard let length: UInt32 = fields.integer(), let name = fields.string(length), let count: UInt32 = fields.integer()
        else { throw malformed }
        guard count <= UInt32(Limits.contexts) else { throw OptionRefusal(.tooBig, "at most \(Limits.contexts) queries") }
        var queries: [String] = []
        for _ in 0..<count {
            guard let length: UInt32 = fields.integer(), let query = fields.string(length) else { throw malformed }
            queries.append(query)
        }
        guard fields.isAtEnd else { throw malformed }

        let export = try exports.describe(name)
        let known = exports.contexts(of: export.name)
        var found: [String] = []
        if selects {
            for query in queries where known.contains(query) && !found.contains(query) { found.append(query) }
        } else {
            found = queries.isEmpty ? known : known.filter { name in queries.contains { Self.lists($0, name) } }
        }
        var chosen: [MetaContext] = []
        for (index, name) in found.enumerated() {
            let context = MetaContext(id: selects ? UInt32(index + 1) : 0, name: name)
            var item: [UInt8] = []
            item.appendNetwork(context.id)
            item += Array(name.utf8)
            answer(code, .metaContext, item, &output)
            chosen.append(context)
        }
        acknowledge(code, &output)
        if selects {
            contexts = chosen
            contextsExport = export.name
        }
    }

    /// Whether a query of LIST means a context: by its whole name, or by all of it up to a colon.
    private static func lists(_ query: String, _ name: String) -> Bool {
        query == name || (query.hasSuffix(":") && name.hasPrefix(query))
    }
}
