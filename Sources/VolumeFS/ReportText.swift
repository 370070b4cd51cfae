internal import BlockStorage
package import PoolEngine

/// Reports as text and as JSON, the same from a mount and from a command.
package enum ReportText {
    package static func text(_ report: CheckReport) -> String {
        let lost = report.lostBlocks == 0 ? "" : ", \(report.lostBlocks) blocks lost earlier"
        let counted = "\(report.checkedNodes) nodes, \(report.checkedBlocks) blocks\(lost)"
        if report.isClean { return "clean: \(counted)" }
        let sentences = sentences(report)
        return "\(sentences.map { "error: \($0)\n" }.joined())\(Wording.count(sentences.count, "error")), \(report.leakedBlocks) leaked blocks, in \(counted)"
    }

    package static func json(_ report: CheckReport) -> String {
        JSON.object([
            ("schema", .text("volfs.check/1")), ("clean", .bool(report.isClean)),
            ("errors", .array(sentences(report).map { .text($0) })), ("leaked_blocks", .number(Int64(report.leakedBlocks))),
            ("lost_blocks", .number(Int64(report.lostBlocks))), ("nodes", .number(Int64(report.checkedNodes))),
            ("blocks", .number(Int64(report.checkedBlocks))),
        ])
    }

    /// One each, but for damaged blocks that lie behind each other, which are one range.
    private static func sentences(_ report: CheckReport) -> [String] {
        var sentences: [String] = []
        var range: (version: UInt64, blocks: Range<UInt64>)?
        func endRange() {
            guard let (version, blocks) = range else { return }
            let name = report.names[version] ?? "version \(version)", unit = UInt64(report.blockSize)
            sentences.append(
                "\(name): \(UInt64(blocks.count) * unit) bytes at \(blocks.lowerBound * unit) do not match their checksum; overwrite them, or restore them from a copy")
            range = nil
        }
        // A deleted version is named only if it alone has a block.
        let named = Set(report.problems.compactMap { problem -> UInt64? in
            guard case .data(let version, let block) = problem, report.names[version] != nil else { return nil }
            return block
        })
        for problem in report.problems {
            if case .data(let version, let block) = problem, report.names[version] == nil, named.contains(block) { continue }
            guard case .data(let version, let block) = problem else {
                endRange()
                sentences.append(sentence(problem, report.names))
                continue
            }
            if let (known, blocks) = range, known == version, blocks.upperBound == block {
                range = (version, blocks.lowerBound..<block + 1)
            } else {
                endRange()
                range = (version, block..<block + 1)
            }
        }
        endRange()
        return sentences
    }

    package static func text(_ report: ScrubReport) -> String {
        let counted = "\(report.checkedNodes) nodes, \(report.checkedBlocks) blocks, \(report.healedCopies) copies made whole"
        if report.isClean { return "clean: \(counted)" }
        let problems = report.problems.map { "lost: \($0.object): \($0.count) bytes at \($0.offset): \(cause($0.error))\n" }
        return "\(problems.joined())\(report.problems.count) ranges cannot be read, in \(counted); overwrite them, or restore them from a copy"
    }

    /// Without what to do, which is said once.
    private static func cause(_ error: PoolError) -> String { String(reason(for: error).split(separator: ";")[0]) }

    package static func json(_ report: ScrubReport) -> String {
        JSON.object([
            ("schema", .text("volfs.scrub/1")), ("clean", .bool(report.isClean)),
            ("healed_copies", .number(Int64(report.healedCopies))), ("nodes", .number(Int64(report.checkedNodes))),
            ("blocks", .number(Int64(report.checkedBlocks))),
            (
                "lost",
                .array(report.problems.map {
                    .fields([("object", .text($0.object)), ("offset", .size($0.offset)), ("count", .size($0.count)), ("reason", .text(reason(for: $0.error)))])
                })
            ),
        ])
    }

    package static func text(_ report: RepairReport, isDryRun: Bool) -> String {
        // Of data there is one copy: what is damaged can only be found, and restored from elsewhere.
        let unread = "the contents of data blocks were not read: volfs check --data finds damaged ones"
        if report.isClean { return "clean: \(report.checkedNodes) nodes; nothing to repair; \(unread)" }
        var lines = report.findings.map { "found: \(sentence($0))" }
        lines += report.losses.map { "lost: \($0.object): \($0.count) bytes at \($0.offset)" }
        lines.append(unread)
        lines.append(
            report.isRepaired ? "repaired; the state before is still in older checkpoints until they are overwritten"
                : isDryRun && !report.losesVolumes ? "nothing was changed: without -n this would be repaired"
                : "nothing was changed: whole volumes would be lost, and are given up only with --force")
        return lines.joined(separator: "\n")
    }

    package static func json(_ report: RepairReport, isDryRun: Bool) -> String {
        JSON.object([
            ("schema", .text("volfs.repair/1")), ("clean", .bool(report.isClean)), ("dry_run", .bool(isDryRun)),
            ("repaired", .bool(report.isRepaired)), ("found", .array(report.findings.map { .text(sentence($0)) })),
            (
                "lost",
                .array(report.losses.map { .fields([("object", .text($0.object)), ("offset", .size($0.offset)), ("count", .size($0.count))]) })
            ),
        ])
    }

    private static func sentence(_ problem: CheckProblem, _ names: [UInt64: String]) -> String {
        func name(_ version: UInt64) -> String { names[version] ?? "version \(version)" }
        return switch problem {
        case .node(let version, let first, let error): "\(name(version)): the node above block \(first) cannot be read: \(reason(for: error))"
        case .generation(let version, let first): "\(name(version)): the entry at block \(first) is younger than what refers to it"
        case .free(let address): "block \(address) of the pool is in use but counted as free; unmount, and run volfs repair before anything is written"
        case .shared(let address, let version, let block): "block \(address) of the pool holds two things, one of them block \(block) of \(name(version))"
        case .references(let address, let stored, let found): "block \(address) of the pool is counted as shared \(stored) times, and is \(found) times; volfs repair counts anew"
        case .counter(let version, let stored, let found): "\(name(version)): \(stored) mapped blocks are counted, \(found) are there"
        case .data(let version, let block): "\(name(version)): the contents of block \(block) do not match their checksum"
        case .copy(let version, let first, let position):
            "\(name(version)): the node above block \(first) has one damaged copy, at byte \(position) of the pool's file; nothing is lost, volfs scrub mends it"
        case .superblockCopy(let position):
            "one copy of a superblock is damaged, at byte \(position) of the pool's file; nothing is lost: volfs scrub mends it, and so does volfs repair"
        case .zoneHeader(let position):
            "the zone header at byte \(position) of the pool's file is damaged; run volfs scrub before it is unmounted, else volfs repair after"
        }
    }

    private static func sentence(_ finding: RepairReport.Finding) -> String {
        switch finding {
        case .superblockCopy(let position): "one copy of a superblock is damaged, at byte \(position)"
        case .noSuperblock(let epoch): "no superblock is left; the state of checkpoint \(epoch) was found by a search, and what was written after it is lost"
        case .olderSuperblock(let epoch, let lost): "superblock \(lost) is lost; \(epoch) was taken, and the journal replayed on it"
        case .zoneHeader(let position): "the zone header at byte \(position) is damaged; it follows from the pool's geometry"
        case .nodeCopy(let position): "one copy of a node is damaged, at byte \(position); it is written anew from the other"
        case .lostNode(let error): "a node is lost: \(reason(for: error))"
        case .lostCatalogNode(let error): "a node of the catalog is lost, and the volumes in it: \(reason(for: error))"
        case .lostVolume(let name): "a volume's record is lost; it is there as its youngest snapshot was, called \(name)"
        case .lostProperties(let version): "the properties of version \(version) are lost"
        case .badRecord(let version): "the record of version \(version) contradicts others and is left out"
        case .space(let error?, _, _): "the blocks in use cannot be read and are counted anew: \(reason(for: error))"
        case .space(nil, let leaked, let missing):
            "the count of blocks is wrong: \(leaked) in use that nothing has, \(missing) free that something has; counted anew"
        case .references(let blocks): "\(blocks) blocks have another number of references than was counted; counted anew"
        case .journal(let error): "the journal is damaged, and what was written after that is lost: \(reason(for: error))"
        case .foundNodes(let count): "\(count) nodes below a lost one were found by searching the pool"
        case .counter(let version, let stored, let found): "version \(version) has \(found) mapped blocks, not \(stored)"
        }
    }
}
