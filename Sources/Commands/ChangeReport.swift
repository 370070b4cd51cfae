internal import VolumeFS

/// How commands that change something end.
enum ChangeReport {
    /// What was changed is durable on return, and told if that is wanted.
    static func finish(_ pool: any PoolAccess, _ arguments: Arguments, changed names: [String]) throws(Failure) -> Int32 {
        var lines: [ObjectLine] = []
        if arguments.isJSON { lines = try pool.list().filter { names.contains($0.name) } }
        try pool.finish()
        if arguments.isJSON {
            say(JSON.object([
                ("schema", .text("volfs.change/1")), ("command", .text(arguments.command)), ("objects", .array(lines.map(\.json))),
            ]))
        }
        return 0
    }

    /// For -n: what would be done, a sentence each, said and not done.
    static func plan(_ arguments: Arguments, _ actions: [String]) -> Int32 {
        if arguments.isJSON {
            say(JSON.object([
                ("schema", .text("volfs.plan/1")), ("command", .text(arguments.command)), ("dry_run", .bool(true)),
                ("actions", .array(actions.map { .text($0) })),
            ]))
        } else {
            for action in actions { say("would \(action)") }
        }
        return 0
    }

    /// Changes each, whatever becomes of the others. Returns those that were changed, and what was wrong with the rest.
    static func each<Subject>(_ subjects: [Subject], _ change: (Subject) throws(Failure) -> Void) -> (changed: [Subject], failures: [Failure]) {
        var changed: [Subject] = [], failures: [Failure] = []
        for subject in subjects {
            do throws(Failure) {
                try change(subject)
                changed.append(subject)
            } catch {
                failures.append(error)
            }
        }
        return (changed, failures)
    }

    /// Says the failures of `count` changes. Returns the status when some were made, throws the last when none was.
    static func conclude(_ failures: [Failure], of count: Int, _ arguments: Arguments) throws(Failure) -> Int32 {
        guard let last = failures.last else { return 0 }
        // What is wrong with all of them is said once.
        let others = failures.indices.dropLast().filter { index in failures[index] != last && !failures[..<index].contains(failures[index]) }
        for failure in others.map({ failures[$0] }) { complain(arguments.isJSON ? failure.json : failure.text) }
        if failures.count == count { throw last }
        complain(arguments.isJSON ? last.json : last.text)
        return Failure.Status.partly.rawValue
    }
}
