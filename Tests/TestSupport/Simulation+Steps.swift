internal import BlockStorage
internal import PoolEngine

/// Steps, done to the pool and to the model.
extension Simulation {
    var sizes: (blockSize: Int, groupBlocks: Int) { (options.geometry.blockSize, 4 * options.geometry.fanout) }

    func perform(_ scheduled: ScheduledStep) throws {
        script.append(scheduled)
        let step = scheduled.step
        let bytes = bytes(of: step)
        guard let states = model.states(of: step, bytes: bytes, geometry: sizes) else { return }
        stepKind = step.kind
        setMark()
        let reached = history.count - 1
        beginNesting(states.count <= 1 ? scheduled.nested : [])
        defer { disk.setHook(nil) }
        do {
            try execute(step, bytes)
        } catch let error as PoolError {
            // A full pool may refuse; what it refuses it has not begun. A step in the middle may have taken what it needs.
            if let nestedFailure { throw nestedFailure }
            if case .outOfSpace = error, case .share = step { return try enterPart(step) }
            if case .outOfSpace = error {
                if scheduled.nested.isEmpty, isReserved(step) { throw fail("\(step.text): refused, though reserved: \(error)") }
                return
            }
            if step.isSizeChange, [.invalid(.size), .notSupported].contains(error) { return }
            if step.isSizeChange, case .refused(.poolTooSmall) = error { return }
            if hasNested, [.notFound, .exists, .inUse].contains(error) || error.errno == 22 || error.errno == 39 { return }
            throw fail("\(step.text): \(error)")
        }
        if let nestedFailure { throw nestedFailure }
        if case .scatter(let name, let offset, _, _) = step { return enterScattered(name, offset, bytes) }
        if case .share(_, _, _, _, let count) = step, shared < UInt64(count) { return try enterPart(step) }
        enter(hasNested ? model.states(of: step, bytes: bytes, geometry: sizes) ?? [] : states)
        switch step {
        case .flush, .checkpoint, .shrink, .extend: durable = max(durable, reached)
        case .reopen: durable = history.count - 1
        default: if step.isDurable { durable = history.count - 1 }
        }
    }

    /// Of a scattered write those blocks that were written: on a full pool each may be refused by itself.
    private func enterScattered(_ name: String, _ offset: Int, _ bytes: [UInt8]) {
        let unit = options.geometry.blockSize
        var next = model
        enter(zip(Step.scattered(bytes.count / unit), scattered).compactMap { block, isWritten in
            guard isWritten else { return nil }
            next.volumes[name]?.write(at: offset + block * unit, bytes[block * unit..<(block + 1) * unit])
            return next
        })
    }

    /// A share on a full pool may end early: what there is now must be one of the states on its way.
    private func enterPart(_ step: Step) throws {
        disk.setHook(nil)
        let states = model.states(of: step, bytes: [], geometry: sizes) ?? []
        let found = try read(pool)
        guard let reached = ([model] + states).lastIndex(of: found) else { throw fail("\(step.text): \(found.difference(from: model))") }
        enter(Array(states.prefix(reached)))
    }

    /// True for a write that may not be refused: of up to four leaves into what is reserved.
    private func isReserved(_ step: Step) -> Bool {
        guard case .write(let name, let offset, let count, _, _) = step, let volume = model.volumes[name] else { return false }
        let unit = options.geometry.blockSize, blocks = offset / unit..<(offset + count + unit - 1) / unit
        return blocks.count <= 4 * options.geometry.fanout && blocks.allSatisfy { volume.reserved.contains($0) }
    }

    func enter(_ states: [ModelPool]) {
        history += states
        model = states.last ?? model
    }

    func setMark() {
        var mark = CrashPoint.Mark()
        mark.durable = durable
        mark.acknowledged = history.count - 1
        disk.setMark(mark)
    }

    /// What a property of that name and length has.
    static func value(_ name: String, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: $0 &+ name.utf8.count &* 31 &+ count) }
    }

    func execute(_ step: Step, _ bytes: [UInt8]) throws {
        func id(_ name: String) throws(PoolError) -> UInt64 {
            let parts = name.split(separator: "@").map(String.init)
            return try pool.find(parts[0], snapshot: parts.count == 2 ? parts[1] : nil)
        }
        switch step {
        case .create(let name, let size): try pool.createVolume(name, size: UInt64(size), attributes: .plain)
        case .write(let name, let offset, _, _, let isGrowing):
            try pool.write(id(name), at: UInt64(offset), bytes, growing: isGrowing)
        case .scatter(let name, let offset, let count, _): try scatter(id(name), offset, count, bytes)
        case .discard(let name, let offset, let count): try pool.discard(id(name), at: UInt64(offset), count: UInt64(count))
        case .share(let source, let offset, let name, let target, let count):
            shared = try pool.share(from: id(source), at: UInt64(offset), to: id(name), at: UInt64(target), count: UInt64(count))
        case .reserve(let name, let offset, let count): try pool.reserve(id(name), at: UInt64(offset), count: UInt64(count))
        case .resize(let name, let size): try pool.resize(id(name), to: UInt64(size))
        case .snapshot(let volume, let name): try pool.createSnapshot(name, of: id(volume))
        case .clone(let source, let name): try pool.createClone(name, of: id(source), attributes: .plain)
        case .delete(let name): try pool.delete(id(name))
        case .rollback(let volume, let name): try pool.rollback(id(volume), to: id("\(volume)@\(name)"))
        case .rename(let volume, let name): try pool.rename(id(volume), to: name)
        case .swap(let first, let second): try pool.swap(id(first), id(second))
        case .forget(let volume): try pool.forgetOrigin(of: id(volume))
        case .snapshotAll(let name): try pool.createSnapshots(name, of: pool.volumes().map(\.id))
        case .property(let volume, let name, let count):
            try pool.setProperty(id(volume), "user.\(name)", count == 0 ? nil : Self.value(name, count))
        case .flush: try pool.flush()
        case .checkpoint: try pool.checkpoint()
        case .reap(let budget): _ = try pool.reap(budget: budget)
        case .shrink(let size): try pool.shrink(to: UInt64(size))
        case .extend(let size):
            if try UInt64(size) > disk.size { disk.grow(to: size) }
            try pool.grow()
        case .maintain: for _ in 0..<8 where try !pool.maintain() { break }
        case .reopen:
            try pool.close()
            pool = try Self.open(options.way?(disk) ?? disk, seed: seed &+ 5 &+ stamp, options)
        }
    }

    private func scatter(_ volume: UInt64, _ offset: Int, _ count: Int, _ bytes: [UInt8]) throws {
        let unit = options.geometry.blockSize
        let outcomes = bytes.withUnsafeBytes { bytes in
            pool.write(volume, Step.scattered(count / unit).map { WritePiece(of: bytes.part($0 * unit..<($0 + 1) * unit), at: UInt64(offset + $0 * unit)) })
        }
        for case let problem? in outcomes { if case .outOfSpace = problem { continue } else { throw problem } }
        scattered = outcomes.map { $0 == nil }
        try pool.settleWrites()
    }

    /// Bytes that tell which write they are of.
    func bytes(of step: Step) -> [UInt8] {
        let (count, fill): (Int, Step.Fill)
        switch step {
        case .write(_, _, let bytes, let kind, _), .scatter(_, _, let bytes, let kind): (count, fill) = (bytes, kind)
        default: return []
        }
        stamp += 1
        if fill == .zeros { return [UInt8](repeating: 0, count: count) }
        var filler = SeededRandom(seed: seed &+ stamp)
        let mark = filler.next()
        var bytes = (0..<count).map { UInt8(truncatingIfNeeded: (mark &+ UInt64($0) &* 31) >> 3 | 1) }
        if fill == .mixed {
            let start = filler.below(count), end = min(count, start + filler.below(5000))
            for index in start..<end { bytes[index] = 0 }
        }
        return bytes
    }
}

extension Step {
    /// It may have nothing to change.
    var isSizeChange: Bool {
        switch self {
        case .shrink, .extend: true
        default: false
        }
    }

    /// What it changes is durable when it has returned.
    var isDurable: Bool {
        switch self {
        case .create, .snapshot, .clone, .delete, .rollback, .rename, .swap, .snapshotAll, .property, .resize, .reserve: true
        default: false
        }
    }
}
