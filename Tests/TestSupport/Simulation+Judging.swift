internal import BlockStorage
internal import PoolEngine

/// What crashes leave, judged.
extension Simulation {
    func judgePoints() throws {
        for point in disk.takePoints() {
            let choices = options.imagesPerPoint == 0
                ? point.allChoices(&random) : point.sampledChoices(options.imagesPerPoint, &random)
            for choice in choices { try judge(point, choice) }
        }
    }

    private func judge(_ point: CrashPoint, _ choice: CrashPoint.Choice) throws {
        let bytes = point.bytes(choice)
        let from = choice.kind == .processEnd ? point.mark.acknowledged : point.mark.durable
        let hash = imageHash(bytes)
        if let found = judged[hash], found >= from { return }
        let isNew = judged[hash] == nil
        if isNew { coverage.add(step: stepKind, kind: choice.kind.rawValue) }
        let what = "crash before operation \(point.operation), in \(stepKind), \(choice.kind.rawValue)"
        let copy = point.disk(choice)
        if isNew && random.oneIn(5) { copy.keepPoints(every: 3, seed: random.next()) }
        let (pool, found) = try open(copy, what, from: from)
        judged[hash] = found
        for nested in copy.takePoints() {
            guard let choice = nested.sampledChoices(1, &random).first else { continue }
            coverage.add(step: "recovery", kind: choice.kind.rawValue)
            // Recovery's first operation is the flush of what the process before it left in the cache.
            let isFlushed = nested.operation > 1 || choice.kind == .processEnd
            let again = "\(what), again before operation \(nested.operation) of recovery, \(choice.kind.rawValue)"
            _ = try open(nested.disk(choice), again, from: isFlushed ? from : point.mark.durable)
        }
        copy.keepPoints(every: 0, seed: 0)
        if isNew && random.oneIn(6) { try reopen(copy, found, what) }
        if isNew && options.lives > 0 && random.oneIn(options.lifeEvery) { try live(on: copy, pool, history[found], what) }
    }

    /// Opens an image and returns the number of the newest state that it is, which must not be older than `from`.
    private func open(_ copy: SimulatedDisk, _ what: String, from: Int) throws -> (Pool, Int) {
        try orFail(what) {
            let pool = try Self.open(copy, seed: random.next(), options)
            let state = try read(pool)
            guard let found = history[from...].lastIndex(of: state) else {
                let lines = history.indices.suffix(5).map { "  state \($0): \(state.difference(from: history[$0]))" }
                throw fail("\(what): what opened is no state from \(from) on\n" + lines.joined(separator: "\n"))
            }
            try check(pool, what, readingData: true)
            return (pool, found)
        }
    }

    /// Recovering again changes nothing.
    private func reopen(_ copy: SimulatedDisk, _ found: Int, _ what: String) throws {
        try orFail("\(what), opened again") {
            let state = try read(try Self.open(SimulatedDisk(image: copy.image), seed: random.next(), options))
            guard state == history[found] else { throw fail("\(what), opened again: \(state.difference(from: history[found]))") }
        }
    }

    /// Another life, with the same tests.
    private func live(on copy: SimulatedDisk, _ pool: Pool, _ state: ModelPool, _ what: String) throws {
        var next = options
        next.way = nil
        next.lives -= 1
        next.steps = 6
        if options.lifeScript.isEmpty { next.imagesPerPoint = 1 }
        let life = Simulation(seed: random.next() >> 16, options: next, disk: copy, pool: pool, model: state, script: [])
        do {
            try options.lifeScript.isEmpty ? life.run() : life.run(options.lifeScript)
        } catch let error as Failure {
            throw fail("\(what); then in the next life: \(error.description)\n" + error.script.map { "  " + $0.text }.joined(separator: "\n"))
        }
        coverage.addLater(life.coverage)
    }
}

/// 64 bits by which images are told apart.
private func imageHash(_ bytes: [UInt8]) -> UInt64 {
    bytes.withUnsafeBytes { all in
        let half = all.count / 2
        return UInt64(crc32c(all.part(0..<half))) << 32 | UInt64(crc32c(all.part(half..<all.count), seed: 77))
    }
}
