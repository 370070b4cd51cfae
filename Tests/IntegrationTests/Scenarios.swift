internal import TestSupport
import Testing

/// All scenarios with real tools, one after another: they mount, attach loop devices and measure.
@Suite(.serialized) struct IntegrationTests {}

/// Runs a scenario and expects it to succeed. A tool that is missing skips it, saying so; in CI it fails.
func scenario(
    _ script: String, _ arguments: [String] = [], tools: [String] = [], seconds: Int = 120,
    at location: SourceLocation = #_sourceLocation
) throws {
    let missing = Scenario.missing(tools + ["python3", "losetup"])
    if !missing.isEmpty {
        if Scenario.isCI {
            Issue.record("missing: \(missing.joined(separator: ", "))", sourceLocation: location)
        } else {
            print("skipped, missing: \(missing.joined(separator: ", "))")
        }
        return
    }
    let result = try Scenario.run(script, arguments, seconds: seconds)
    for line in result.output.split(separator: "\n") where line.hasPrefix("RESULT") { print(line) }
    if result.status != 0 {
        Issue.record("exit \(result.status) (124: ran out of time)\n\(result.output.suffix(3000))", sourceLocation: location)
    }
}
