internal import Commands
import Testing

/// The table that help, completions and pages are made of or compared with.
@Suite struct CommandTableTests {
    /// Commands whose output is no JSON, and why.
    private static let withoutJSON = [
        "completion": "a script for a shell",
        "help": "text for people",
        "dump": "a text of its own, which restore reads",
        "serve": "one line with the URI, and then it serves",
    ]

    /// Every command takes --json, or is named above.
    @Test(arguments: CommandTable.commands.map(\.name)) func everyCommandTakesJSON(name: String) throws {
        let command = try #require(CommandTable.find(name))
        let takes = command.options.contains { $0.name == "json" }
        #expect(takes == (Self.withoutJSON[name] == nil), "\(name): \(Self.withoutJSON[name] ?? "has no --json")")
    }

    @Test func exceptionsAreCommands() {
        #expect(Set(Self.withoutJSON.keys).isSubset(of: CommandTable.commands.map(\.name)))
    }
}
