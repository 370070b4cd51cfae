internal import Commands
internal import Foundation
internal import TestSupport
import Testing

/// Help, manual page and completions of the shells name the same commands with the same options, in both directions.
@Suite struct CompletionTests {
    /// What one of them says of a command: its options as they are typed.
    private typealias Said = [String: Set<String>]

    private static func spelled(_ option: Option) -> [String] { ["--\(option.name)"] + (option.letter.map { ["-\($0)"] } ?? []) }

    private static let table: Said = Dictionary(uniqueKeysWithValues: CommandTable.commands.map { ($0.name, Set($0.options.flatMap(spelled))) })

    private func expectSame(_ said: Said, _ where: String) {
        #expect(Set(said.keys) == Set(Self.table.keys), "\(`where`)")
        for (name, options) in Self.table { #expect(said[name] == options, "\(`where`): \(name)") }
    }

    private static func matches(_ pattern: String, in text: String) throws -> [[String]] {
        let expression = try NSRegularExpression(pattern: pattern, options: [.anchorsMatchLines])
        return expression.matches(in: text, range: NSRange(text.startIndex..., in: text)).map { match in
            (0..<match.numberOfRanges).map { Range(match.range(at: $0), in: text).map { String(text[$0]) } ?? "" }
        }
    }

    @Test func help() throws {
        var said: Said = [:]
        let commands = try #require(CommandTable.help().split(separator: "Commands:\n").last)
        for line in commands.split(separator: "\n") where line.hasPrefix("  ") {
            let name = String(line.split(separator: " ")[0])
            let help = CommandTable.help(CommandTable.find(name))
            said[name] = Set(try Self.matches(#"^  (-\w)?,? +(--[a-z-]+)"#, in: help).flatMap { [$0[1], $0[2]] }.filter { !$0.isEmpty })
        }
        expectSame(said, "help")
    }

    @Test func manualPage() throws {
        let page = try String(contentsOf: Scenario.root.appendingPathComponent("man/volfs.1"), encoding: .utf8)
        let section = try #require(page.split(separator: ".Sh COMMANDS\n").last?.split(separator: "\n.Ss ").first)
        var said: Said = [:], name = ""
        for line in section.split(separator: "\n") where line.hasPrefix(".It ") {
            let words = line.split(separator: " ").map(String.init)
            if words[1] == "Ic" {
                name = words[2]
                said[name] = []
                #expect(CommandTable.find(name)?.options.isEmpty == !line.contains("Ar option"), "\(name)")
            }
            for (index, word) in words.enumerated() where word == "Fl" && words[index + 1] != "Fl" {
                said[name]?.insert((words[index - 1] == "Fl" ? "--" : "-") + words[index + 1])
            }
        }
        expectSame(said, "volfs.1")
        for command in CommandTable.commands {
            for alias in command.aliases { #expect(section.contains(".Ic \(alias)"), "\(alias)") }
        }
    }

    @Test func bash() throws {
        let script = try CompletionCommand.script(for: "bash")
        var said: Said = [:]
        for line in try Self.matches(#"^ +([a-z|]+)\) options='([^']*)' values=' ([^']*) ' kinds="#, in: script) {
            let names = line[1].split(separator: "|").map(String.init)
            let command = try #require(CommandTable.find(names[0]))
            #expect(names == [command.name] + command.aliases)
            #expect(Set(line[3].split(separator: " ").map(String.init)) == Set(command.options.filter { $0.value != nil }.flatMap(Self.spelled)))
            said[names[0]] = Set(line[2].split(separator: " ").map(String.init))
        }
        expectSame(said, "bash")
    }

    @Test func zsh() throws {
        let script = try CompletionCommand.script(for: "zsh")
        var said: Said = [:]
        for line in try Self.matches(#"^ +([a-z|]+)\) _arguments -s -S (.*) ;;$"#, in: script) {
            let name = String(line[1].split(separator: "|")[0])
            said[name] = Set(try Self.matches(#"'(--?[A-Za-z-]+)[=+]?\["#, in: line[2]).map { $0[1] })
        }
        expectSame(said, "zsh")
    }

    @Test func fish() throws {
        let script = try CompletionCommand.script(for: "fish")
        var said: Said = [:]
        for line in try Self.matches(#"-n __volfs_first -a (\S+)"#, in: script) { said[line[1]] = [] }
        for line in try Self.matches(#"-n '__volfs_is (\S+)[^']*' -l (\S+)(?: -s (\w))?"#, in: script) {
            said[line[1]]?.formUnion(["--\(line[2])"] + (line[3].isEmpty ? [] : ["-\(line[3])"]))
        }
        expectSame(said, "fish")
    }

    @Test func noOtherShell() {
        let failure = #expect(throws: Failure.self) { try CompletionCommand.script(for: "tcsh") }
        #expect(failure?.status == .usage)
    }
}
