internal import NBDProtocol

/// Two exports, a volume and a snapshot of it, and the contexts a pool has.
struct Exports: ExportDirectory {
    var all = [
        ExportDescription(name: "root", text: "1.0 MiB volume", size: 1 << 20, isReadOnly: false, preferredBlockSize: 4096),
        ExportDescription(name: "root@a", text: "snapshot of root", size: 4096, isReadOnly: true, preferredBlockSize: 4096),
    ]
    var opened: String?

    mutating func list() -> [ExportDescription] { all }

    mutating func describe(_ name: String) throws(OptionRefusal) -> ExportDescription {
        guard let export = all.first(where: { $0.name == name }) else { throw OptionRefusal(.unknown, "no such export") }
        return export
    }

    mutating func open(_ name: String) throws(OptionRefusal) -> ExportDescription {
        let export = try describe(name)
        opened = export.name
        return export
    }

    mutating func contexts(of name: String) -> [String] {
        ["base:allocation", "qemu:allocation-depth", "qemu:dirty-bitmap:since-a:b"]
    }
}

/// A client that says whole messages and takes the answers apart.
struct Haggler {
    var handshake: ServerHandshake
    var exports = Exports()

    struct Answer: Equatable {
        var option: UInt32
        var reply: UInt32
        var data: [UInt8]
        var text: String { String(decoding: data, as: UTF8.self) }
    }

    init(_ encryption: ServerHandshake.Encryption = .unavailable, flags: UInt32 = 3) {
        handshake = ServerHandshake(encryption: encryption)
        _ = send(network(flags))
    }

    /// What a step made of some bytes, and what it answered.
    mutating func send(_ bytes: [UInt8]) -> (step: ServerHandshake.Step, output: [UInt8]) {
        var output: [UInt8] = []
        let step = bytes.withUnsafeBytes { handshake.step($0, &exports, &output) }
        return (step, output)
    }

    mutating func option(_ code: UInt32, _ data: [UInt8] = []) -> (step: ServerHandshake.Step, answers: [Answer]) {
        let (step, output) = send(message(code, data))
        return (step, answers(output))
    }

    mutating func option(_ code: OptionCode, _ data: [UInt8] = []) -> (step: ServerHandshake.Step, answers: [Answer]) {
        option(code.rawValue, data)
    }

    func answers(_ output: [UInt8]) -> [Answer] {
        var rest = output[...], answers: [Answer] = []
        while rest.count >= 20 {
            let length = Int(number(rest.dropFirst(16).prefix(4)))
            answers.append(
                Answer(
                    option: UInt32(number(rest.dropFirst(8).prefix(4))), reply: UInt32(number(rest.dropFirst(12).prefix(4))),
                    data: Array(rest.dropFirst(20).prefix(length))))
            rest = rest.dropFirst(20 + length)
        }
        return answers
    }
}

func network<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.bigEndian) { Array($0) } }

func number(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

func message(_ code: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    Array("IHAVEOPT".utf8) + network(code) + network(UInt32(data.count)) + data
}

/// A name as options have it, behind its length.
func named(_ name: String) -> [UInt8] { network(UInt32(name.utf8.count)) + Array(name.utf8) }

/// The data of INFO and GO.
func wanting(_ name: String, _ types: [UInt16] = []) -> [UInt8] {
    named(name) + network(UInt16(types.count)) + types.flatMap { network($0) }
}

/// The data of the two options about contexts.
func asking(_ name: String, _ queries: [String]) -> [UInt8] {
    named(name) + network(UInt32(queries.count)) + queries.flatMap { named($0) }
}
