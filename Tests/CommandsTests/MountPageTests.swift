internal import Commands
internal import Foundation
internal import TestSupport
import Testing

/// mount.volfs(8) against the table of mount options.
@Suite struct MountPageTests {
    /// Words that the page's OPTIONS have as tags.
    private static func tags() throws -> Set<String> {
        let page = try String(contentsOf: Scenario.root.appendingPathComponent("man/mount.volfs.8"), encoding: .utf8)
        let options = page.components(separatedBy: ".Sh OPTIONS")[1].components(separatedBy: "\n.Sh ")[0]
        var tags: Set<String> = []
        for line in options.split(separator: "\n") where line.hasPrefix(".It ") {
            // `.It Cm a Ns = Ns Ar x , Cm b , c`: names follow Cm or a comma, until a value begins.
            var takesName = false
            for word in line.split(separator: " ").dropFirst() {
                switch word {
                case "Cm": takesName = true
                case "Ns", "=", "Ar", "|": takesName = false
                case ",": takesName = true
                default:
                    if takesName { tags.insert(String(word)) }
                    takesName = false
                }
            }
        }
        return tags
    }

    @Test func pageAndTableNameTheSameOptions() throws {
        let documented = try Self.tags(), known = Set(MountOptionTable.options.map(\.name))
        #expect(known.subtracting(documented).isEmpty, "not in mount.volfs(8)")
        // A value that is written out follows `Ns Cm`.
        let values = Set(MountOptionTable.options.flatMap { $0.choices ?? $0.value.map { [$0] } ?? [] })
        #expect(documented.subtracting(known).subtracting(values).isEmpty, "not in the table")
    }

    @Test func namesAreThereOnce() {
        let names = MountOptionTable.options.map(\.name)
        #expect(names.count == Set(names).count)
    }

    private static let pages = (try? FileManager.default.contentsOfDirectory(atPath: Scenario.root.appendingPathComponent("man").path)) ?? []

    @Test func pagesAreFound() { #expect(Self.pages.count >= 7) }

    /// What mandoc(1) calls a warning or worse.
    @Test(arguments: pages) func pagesAreClean(page: String) throws {
        let lint = try #require(["/usr/bin/mandoc", "/usr/local/bin/mandoc"].first { FileManager.default.isExecutableFile(atPath: $0) }, "mandoc is missing")
        let process = Process(), pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: lint)
        process.arguments = ["-T", "lint", "-W", "warning", Scenario.root.appendingPathComponent("man/\(page)").path]
        process.standardOutput = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0 && output.isEmpty, "\(output)")
    }
}
