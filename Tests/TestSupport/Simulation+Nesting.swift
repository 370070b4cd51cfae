internal import BlockStorage
internal import PoolEngine

/// Steps in the middle of steps.
extension Simulation {
    func beginNesting(_ nested: [ScheduledStep.Nested]) {
        (pending, calls, hasNested, nestedFailure) = (nested, 0, false, nil)
        guard !nested.isEmpty else { return }
        let start = options.geometry.dataOffset
        disk.setHook { [unowned self] offset in if offset >= start { runNested() } }
    }

    /// Runs what is due before this call of the device, as another thread would, unless it would have to wait for this one.
    private func runNested() {
        guard !isInside else { return }
        calls += 1
        while let index = pending.firstIndex(where: { $0.call == calls }) {
            let step = pending.remove(at: index).step
            guard mayNest(step) else { continue }
            isInside = true
            defer { isInside = false }
            let bytes = bytes(of: step)
            guard let states = model.states(of: step, bytes: bytes, geometry: sizes) else { continue }
            do {
                try execute(step, bytes)
                hasNested = true
                let reached = history.count - 1
                enter(states)
                if step == .flush { durable = max(durable, reached) } else if step.isDurable { durable = history.count - 1 }
                setMark()
            } catch PoolError.outOfSpace, PoolError.inUse {
            } catch {
                nestedFailure = fail("\(step.text), in the middle: \(error)")
            }
        }
    }

    private func mayNest(_ step: Step) -> Bool {
        let statistics = pool.statistics(), usage = pool.usage()
        switch step {
        case .rename, .swap, .snapshotAll, .reopen, .maintain, .reserve, .shrink, .extend: return false
        // What they are promised may take a checkpoint.
        case .snapshot(let volume, _), .clone(of: let volume, _), .rollback(let volume, to: _):
            if model.volumes[volume]?.reserved.isEmpty == false { return false }
            return hasRoom(statistics, usage)
        case .checkpoint: return !statistics.isStoring
        default: return hasRoom(statistics, usage)
        }
    }

    private func hasRoom(_ statistics: PoolStatistics, _ usage: PoolUsage) -> Bool {
        statistics.journalUsedFrames + 12 <= statistics.journalFrames && statistics.dirtyBlocks < 60
            && usage.available > usage.quarantined + 128 * 1024
    }
}
