package import BlockStorage
internal import PoolEngine

/// One seeded history of a tiny pool, beside the model, with crash images taken on the way. One seed is one run.
///
/// `history` holds the model's state after every step that is atomic on disk. A crash image must open to one of them:
/// after the end of the process the last acknowledged one or the one in progress, after loss of power any from the last
/// durable one on.
package final class Simulation {
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    package struct Options: Sendable {
        package var operations = 40
        package var diskSize = 640 * 1024
        package var captureEvery = 5
        /// Largest volume in bytes.
        package var volumeSize = 300 * 1024
        package init() {}
    }

    package private(set) var imagesChecked = 0
    private let seed: UInt64
    private let options: Options
    private var random: SeededRandom
    private let disk: SimulatedDisk
    private var pool: Pool
    private var model = ModelPool()
    private var history: [ModelPool] = []
    private var durable = 0
    private var story: [String] = []
    private var stamp: UInt64 = 0
    private var nextName = 0

    package init(seed: UInt64, options: Options = Options()) throws(PoolError) {
        self.seed = seed
        self.options = options
        random = SeededRandom(seed: seed)
        disk = SimulatedDisk(size: options.diskSize)
        pool = try Pool.makeTiny(on: disk, seed: seed)
        history = [model]
        disk.capture(every: options.captureEvery, seed: seed ^ 0x5eed)
    }

    /// Runs the whole history and judges every image. Throws a `Failure` that tells the story.
    package func run() throws {
        for _ in 0..<options.operations {
            try step()
            for image in disk.takeCaptures() { try judge(image) }
        }
        try compare(pool, with: model, "at the end")
        try emptyPool(pool, "at the end")
    }

    // MARK: Steps

    private func step() throws {
        disk.setMark(.init(durable: durable, acknowledged: history.count - 1))
        do {
            try perform()
        } catch let error as PoolError {
            // A full pool may refuse; what it refuses it has not begun.
            guard case .outOfSpace = error else { throw fail("\(error)") }
            story.append("  refused: no space")
            history = Array(history[...settled])
            model = history[settled]
        }
    }

    /// Index of the model state that the pool is known to have reached.
    private var settled = 0

    private func perform() throws {
        settled = history.count - 1
        let volume = model.volumes.keys.sorted().randomElement(using: &random)
        guard let volume else { return try create() }
        switch random.below(34) {
        case 0: try create()
        case 1...3: try snapshot(volume)
        case 4, 5: try clone(volume)
        case 6, 7: try deleteSnapshot(volume)
        case 8: try deleteVolume(volume)
        case 9: try rollback(volume)
        case 10: try rename(volume)
        case 11, 12: try resize(volume)
        case 13...15: try discard(volume)
        case 16...18: try flush(volume)
        case 19, 20: try note("checkpoint") { try pool.checkpoint() }
        case 21...23: try note("reap") { _ = try pool.reap(budget: 1 + random.below(24)) }
        case 24: try note("maintain") { _ = try pool.maintain() }
        default: try write(volume)
        }
    }

    private func note(_ text: String, _ body: () throws -> Void) throws {
        story.append(text)
        try body()
    }

    /// Enters the model's state as one that the disk may hold from now on.
    private func advance() { history.append(model) }

    /// As `advance`, for a change that is durable when the call has returned.
    private func settle() {
        durable = history.count - 1
        settled = durable
    }

    private func freshName() -> String {
        nextName += 1
        return "v\(nextName)"
    }

    private func id(_ volume: String) throws -> UInt64 { try pool.find(volume) }

    private func create() throws {
        let name = freshName()
        let size = random.below(options.volumeSize)
        model.volumes[name] = [UInt8](repeating: 0, count: size)
        advance()
        try note("create \(name) \(size)") { try pool.createVolume(name, size: UInt64(size), attributes: .plain) }
        settle()
    }

    private func snapshot(_ volume: String) throws {
        let name = freshName()
        model.snapshots[volume, default: [:]][name] = model.volumes[volume]
        advance()
        try note("snapshot \(volume)@\(name)") { try pool.createSnapshot(name, of: id(volume)) }
        settle()
    }

    private func clone(_ volume: String) throws {
        let name = freshName()
        let snapshot = random.oneIn(3) ? nil : model.snapshots[volume]?.keys.sorted().randomElement(using: &random)
        model.volumes[name] = snapshot.map { model.snapshots[volume]?[$0] ?? [] } ?? model.volumes[volume]
        advance()
        try note("clone \(volume)@\(snapshot ?? "-") \(name)") {
            try pool.createClone(name, of: pool.find(volume, snapshot: snapshot), attributes: .plain)
        }
        settle()
    }

    private func deleteSnapshot(_ volume: String) throws {
        guard let name = model.snapshots[volume]?.keys.sorted().randomElement(using: &random) else { return }
        model.snapshots[volume]?[name] = nil
        if model.snapshots[volume]?.isEmpty == true { model.snapshots[volume] = nil }
        advance()
        try note("delete \(volume)@\(name)") { try pool.delete(pool.find(volume, snapshot: name)) }
        settle()
    }

    private func deleteVolume(_ volume: String) throws {
        guard model.snapshots[volume] == nil else { return }
        model.volumes[volume] = nil
        advance()
        try note("delete \(volume)") { try pool.delete(id(volume)) }
        settle()
    }

    private func rollback(_ volume: String) throws {
        guard let name = model.snapshots[volume]?.keys.sorted().randomElement(using: &random) else { return }
        model.volumes[volume] = model.snapshots[volume]?[name]
        advance()
        try note("rollback \(volume)@\(name)") { try pool.rollback(id(volume), to: pool.find(volume, snapshot: name)) }
        settle()
    }

    private func rename(_ volume: String) throws {
        let name = freshName()
        model.rename(volume, to: name)
        advance()
        try note("rename \(volume) \(name)") { try pool.rename(id(volume), to: name) }
        settle()
    }

    private func resize(_ volume: String) throws {
        let size = random.below(options.volumeSize)
        let old = model.volumes[volume]?.count ?? 0
        if size < old { zeroInSteps(volume, size..<old, isCut: true) }
        model.resize(volume, to: size)
        advance()
        try note("resize \(volume) \(old) -> \(size)") { try pool.resize(id(volume), to: UInt64(size)) }
        settle()
    }

    private func discard(_ volume: String) throws {
        let size = model.volumes[volume]?.count ?? 0
        let start = random.below(size), count = 1 + random.below(random.oneIn(2) ? size : 5000)
        zeroInSteps(volume, start..<min(start + count, size), isCut: false)
        try note("discard \(volume) \(start)+\(count)") {
            try pool.discard(id(volume), at: UInt64(start), count: UInt64(count))
        }
    }

    /// A discard's parts, each atomic: the edges within a block, then the blocks between.
    private func zeroInSteps(_ volume: String, _ range: Range<Int>, isCut: Bool) {
        let block = Geometry.tiny.blockSize
        let size = model.volumes[volume]?.count ?? 0
        guard !range.isEmpty else { return }
        let first = (range.lowerBound + block - 1) / block * block
        if range.lowerBound % block != 0 {
            model.zero(volume, range.lowerBound..<min(first, range.upperBound))
            advance()
        }
        if range.upperBound % block != 0 && range.upperBound != size && range.upperBound > first {
            model.zero(volume, max(range.lowerBound, range.upperBound / block * block)..<range.upperBound)
            advance()
        }
        model.zero(volume, range)
        advance()
    }

    private func flush(_ volume: String) throws {
        let reached = history.count - 1
        try note("flush") { try pool.flush(id(volume)) }
        // A barrier covers the volume it was asked for; with one log everything before that volume's last record too.
        if random.oneIn(2) {
            try note("flush all") { try pool.flush() }
            durable = reached
        }
    }

    private func write(_ volume: String) throws {
        let size = model.volumes[volume]?.count ?? 0
        let offset = random.below(size + 1)
        var count = 1 + random.below(random.oneIn(4) ? 40_000 : 3000)
        let isGrowing = random.oneIn(4)
        if !isGrowing { count = min(count, size - offset) }
        guard count > 0, offset + count <= options.volumeSize else { return }
        let bytes = random.oneIn(6) ? [UInt8](repeating: 0, count: count) : stamped(count)
        // Groups of four leaves are atomic.
        let group = 4 * Geometry.tiny.fanout * Geometry.tiny.blockSize
        var at = offset
        while at < offset + count {
            let end = min(offset + count, at / group * group + group)
            model.write(volume, at: at, Array(bytes[at - offset..<end - offset]))
            advance()
            at = end
        }
        try note("write \(volume) \(offset)+\(count) growing \(isGrowing)") {
            try pool.write(id(volume), at: UInt64(offset), bytes, growing: isGrowing)
        }
    }

    /// Bytes that say which write they are of, with stretches of zeros.
    private func stamped(_ count: Int) -> [UInt8] {
        stamp += 1
        var filler = SeededRandom(seed: seed &+ stamp)
        var bytes = (0..<count).map { UInt8(truncatingIfNeeded: UInt64($0) &* 31 &+ stamp | 1) }
        if random.oneIn(3) {
            let start = filler.below(count), end = min(count, start + filler.below(5000))
            for index in start..<end { bytes[index] = 0 }
        }
        return bytes
    }

    // MARK: Judging

    private func judge(_ image: SimulatedDisk.CrashImage) throws {
        imagesChecked += 1
        let what = "image at operation \(image.operation), \(image.isPowerLoss ? "power loss" : "process end")"
        let copy = SimulatedDisk(image: image.bytes)
        if imagesChecked % 5 == 0 { copy.capture(every: 5, seed: seed &+ UInt64(imagesChecked)) }
        let from = image.isPowerLoss ? image.mark.durable : image.mark.acknowledged
        let found = try open(copy, what, from: from)
        for nested in copy.takeCaptures() {
            _ = try open(SimulatedDisk(image: nested.bytes), "\(what), again during recovery", from: from)
        }
        if imagesChecked % 4 == 0 { try useAndEmpty(copy, found, what) }
    }

    /// Opens an image and returns the state it has, which must be one of the history's from `from` on.
    private func open(_ copy: SimulatedDisk, _ what: String, from: Int) throws -> ModelPool {
        do {
            let pool = try Pool.openTiny(copy, seed: seed &+ 77)
            let state = try read(pool)
            guard history[from...].contains(state) else {
                let differences = history.indices.suffix(6).map { "  state \($0): \(difference(state, history[$0]))" }
                throw fail("\(what): no state from \(from) on is what opened\n" + differences.joined(separator: "\n"))
            }
            let report = try pool.check(readingData: true)
            guard report.isClean else { throw fail("\(what): check found \(report)") }
            return state
        } catch let error as PoolError {
            throw fail("\(what): \(error)")
        }
    }

    /// The reopened pool must be as good as new: writable, and empty when everything is deleted.
    private func useAndEmpty(_ copy: SimulatedDisk, _ found: ModelPool, _ what: String) throws {
        do {
            let pool = try Pool.openTiny(copy, seed: seed &+ 78)
            try compare(pool, with: found, "\(what), opened twice")
            let id = try pool.createVolume("new", size: 5000, attributes: .plain)
            try pool.write(id, at: 100, [UInt8](repeating: 7, count: 3000))
            try pool.createSnapshot("s", of: id)
            try pool.write(id, at: 100, [UInt8](repeating: 8, count: 3000))
            try emptyPool(pool, what)
        } catch PoolError.outOfSpace {
        } catch let error as PoolError {
            throw fail("\(what), used again: \(error)")
        }
    }

    private func emptyPool(_ pool: Pool, _ what: String) throws {
        for volume in pool.volumes() {
            for snapshot in pool.snapshots(of: volume.id) { try pool.delete(snapshot.id) }
            try pool.delete(volume.id)
        }
        try pool.finishReaping()
        let report = try pool.check()
        guard report.isClean else { throw fail("\(what), emptied: check found \(report)") }
        let left = pool.usage().allocated
        guard left == 0 else { throw fail("\(what), emptied: \(left) bytes are still allocated") }
    }

    private func compare(_ pool: Pool, with model: ModelPool, _ what: String) throws {
        guard try read(pool) == model else { throw fail("\(what): contents differ") }
        let report = try pool.check(readingData: true)
        guard report.isClean else { throw fail("\(what): check found \(report)") }
    }

    private func read(_ pool: Pool) throws -> ModelPool {
        var state = ModelPool()
        for volume in pool.volumes() {
            state.volumes[volume.name] = try pool.contents(volume.id)
            for snapshot in pool.snapshots(of: volume.id) {
                state.snapshots[volume.name, default: [:]][snapshot.name] = try pool.contents(snapshot.id)
            }
        }
        return state
    }

    /// The first thing in which two states differ.
    private func difference(_ found: ModelPool, _ expected: ModelPool) -> String {
        let names = (found.volumes.keys.sorted(), expected.volumes.keys.sorted())
        if names.0 != names.1 { return "volumes \(names.0), expected \(names.1)" }
        for (name, bytes) in expected.volumes {
            if let text = difference(found.volumes[name] ?? [], bytes) { return "\(name): \(text)" }
            let snapshots = expected.snapshots[name] ?? [:]
            if Set((found.snapshots[name] ?? [:]).keys) != Set(snapshots.keys) { return "\(name): snapshots" }
            for (snapshot, bytes) in snapshots {
                if let text = difference(found.snapshots[name]?[snapshot] ?? [], bytes) {
                    return "\(name)@\(snapshot): \(text)"
                }
            }
        }
        return "nothing"
    }

    private func difference(_ found: [UInt8], _ expected: [UInt8]) -> String? {
        if found.count != expected.count { return "\(found.count) bytes, expected \(expected.count)" }
        guard let at = found.indices.first(where: { found[$0] != expected[$0] }) else { return nil }
        let count = found.indices.count { found[$0] != expected[$0] }
        return "\(count) bytes from \(at) (block \(at / Geometry.tiny.blockSize)): \(found[at]), expected \(expected[at])"
    }

    private func fail(_ text: String) -> Failure {
        Failure(description: "seed \(seed): \(text)\nstory:\n" + story.suffix(40).joined(separator: "\n"))
    }
}
