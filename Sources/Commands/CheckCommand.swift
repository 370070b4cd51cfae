internal import BlockStorage
internal import PoolEngine
internal import VolumeFS

/// `volfs check`, with the exit statuses of fsck(8).
package enum CheckCommand {
    package enum Status { package static let clean: Int32 = 0, uncorrected: Int32 = 4, operational: Int32 = 8, usage: Int32 = 16 }

    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let table = MountTable()
        do throws(Failure) {
            if let mount = table.mount(ofPool: path) ?? table.mount(at: path) { throw mountedFailure(mount.source, mount) }
            let pool = try DirectPool.opened(path, mode: .readOnly)
            let report = try checked(pool, readingData: arguments.has("data"), path)
            say(arguments.isJSON ? json(report) : text(report))
            return report.isClean ? Status.clean : Status.uncorrected
        } catch {
            complain(arguments.isJSON ? error.json : error.text)
            return error.status == .corrupt ? Status.uncorrected : Status.operational
        }
    }

    private static func checked(_ pool: Pool, readingData: Bool, _ path: String) throws(Failure) -> CheckReport {
        do throws(PoolError) {
            return try pool.check(readingData: readingData)
        } catch {
            throw Failure(error, object: path, pool: path)
        }
    }

    private static func text(_ report: CheckReport) -> String {
        let counted = "\(report.checkedNodes) nodes, \(report.checkedBlocks) blocks"
        if report.isClean { return "clean: \(counted)" }
        let problems = report.problems.map { "error: \($0)\n" }.joined()
        return "\(problems)\(report.problems.count) errors, \(report.leakedBlocks) leaked blocks, in \(counted)"
    }

    private static func json(_ report: CheckReport) -> String {
        JSON.object([
            ("schema", .text("volfs.check/1")), ("clean", .bool(report.isClean)),
            ("errors", .array(report.problems.map { .text("\($0)") })), ("leaked_blocks", .number(Int64(report.leakedBlocks))),
            ("nodes", .number(Int64(report.checkedNodes))), ("blocks", .number(Int64(report.checkedBlocks))),
        ])
    }
}
