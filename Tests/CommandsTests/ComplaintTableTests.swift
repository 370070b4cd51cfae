internal import Foundation
internal import TestSupport
import Testing

/// The list of complaints and their tests in ComplaintTests cannot rot.
@Suite struct ComplaintTableTests {
    /// Rows of complaints about local pools: all but those about object stores.
    private static let rows = Set(1...50).subtracting([32, 35, 36, 39, 40])

    private func sources() throws -> [String: String] {
        let directory = Scenario.root.appendingPathComponent("Tests")
        let paths = try FileManager.default.subpathsOfDirectory(atPath: directory.path).filter { $0.hasSuffix(".swift") }
        return try Dictionary(uniqueKeysWithValues: paths.map { path in
            (path, try String(contentsOf: directory.appendingPathComponent(path), encoding: .utf8))
        })
    }

    /// Row by row the names of its tests, as the comment at the head of ComplaintTests has them.
    private func table(_ text: String) -> [Int: [String]] {
        var table: [Int: [String]] = [:]
        for line in text.split(separator: "\n") {
            guard let match = line.wholeMatch(of: #/// +([0-9]+)  .*: ([A-Za-z, ]+)/#), let row = Int(match.1) else { continue }
            table[row, default: []] += match.2.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
        }
        return table
    }

    @Test func everyRowHasATestThatIsThere() throws {
        let sources = try sources()
        let table = table(try #require(sources["IntegrationTests/ComplaintTests.swift"]))
        #expect(Set(table.keys) == Self.rows)
        let functions = Set(sources.values.flatMap { $0.matches(of: #/@Test[^\n]*func ([A-Za-z0-9]+)\(|@Test\([^\n]*\)\n *func ([A-Za-z0-9]+)\(/#).map { String($0.1 ?? $0.2 ?? "") } })
        for (row, tests) in table {
            for test in tests { #expect(functions.contains(test), "row \(row): no test is called \(test)") }
        }
    }

    @Test func everyTestOfARowIsInTheTable() throws {
        let sources = try sources()
        let table = table(try #require(sources["IntegrationTests/ComplaintTests.swift"]))
        var found = 0
        for (path, text) in sources where path.hasPrefix("IntegrationTests/") {
            for match in text.matches(of: #//// Row ([0-9]+)\.[\s\S]*?func ([A-Za-z0-9]+)\(/#) {
                found += 1
                let tests = Int(match.1).flatMap { table[$0] } ?? []
                #expect(tests.contains(String(match.2)), "\(match.2) is about row \(match.1), which does not name it")
            }
        }
        #expect(found > 10)
    }
}
