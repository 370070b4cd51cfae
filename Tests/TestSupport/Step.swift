/// One thing that a workload does, as a line of text: what failing histories are printed and replayed as.
///
/// Volumes are named by a word, snapshots `volume@snapshot`. A step that is not possible where it stands does nothing, so
/// that any subset of a history is a history.
package enum Step: Equatable, Sendable {
    case create(String, size: Int)
    case write(String, offset: Int, count: Int, Fill, isGrowing: Bool)
    /// The blocks of a range, each as a write of its own, all asked for at once: those at odd places first.
    case scatter(String, offset: Int, count: Int, Fill)
    case discard(String, offset: Int, count: Int)
    case resize(String, size: Int)
    /// Writes into the range are never refused from now on.
    case reserve(String, offset: Int, count: Int)
    /// So many bytes of a volume or a snapshot, made the same in a volume by sharing blocks.
    case share(String, offset: Int, to: String, target: Int, count: Int)
    case snapshot(String, String)
    case clone(of: String, String)
    case delete(String)
    case rollback(String, to: String)
    case rename(String, String)
    case swap(String, String)
    /// Of all volumes, at one moment.
    case snapshotAll(String)
    /// Of a volume: so many bytes under a name of a few; 0 removes it.
    case property(String, name: String, count: Int)
    /// Where a volume was cloned from is remembered no more.
    case forget(String)
    case flush
    case checkpoint
    case reap(budget: Int)
    case maintain
    case reopen
    /// The pool and its disk.
    case shrink(size: Int)
    case extend(size: Int)

    /// What a write writes: bytes that tell which write they are of, zeros, or the one with stretches of the other.
    package enum Fill: String, CaseIterable, Sendable { case data, zeros, mixed }

    package var text: String {
        switch self {
        case .create(let volume, let size): "create \(volume) \(size)"
        case .write(let volume, let offset, let count, let fill, let isGrowing):
            "\(isGrowing ? "grow" : "write") \(volume) \(offset) \(count) \(fill.rawValue)"
        case .scatter(let volume, let offset, let count, let fill): "scatter \(volume) \(offset) \(count) \(fill.rawValue)"
        case .discard(let volume, let offset, let count): "discard \(volume) \(offset) \(count)"
        case .share(let source, let offset, let volume, let target, let count): "share \(source) \(offset) \(volume) \(target) \(count)"
        case .reserve(let volume, let offset, let count): "reserve \(volume) \(offset) \(count)"
        case .resize(let volume, let size): "resize \(volume) \(size)"
        case .snapshot(let volume, let name): "snapshot \(volume)@\(name)"
        case .clone(let source, let name): "clone \(source) \(name)"
        case .delete(let name): "delete \(name)"
        case .rollback(let volume, let name): "rollback \(volume)@\(name)"
        case .rename(let volume, let name): "rename \(volume) \(name)"
        case .swap(let first, let second): "swap \(first) \(second)"
        case .snapshotAll(let name): "snapshot-all \(name)"
        case .property(let volume, let name, let count): "property \(volume) \(name) \(count)"
        case .forget(let volume): "forget \(volume)"
        case .flush: "flush"
        case .checkpoint: "checkpoint"
        case .reap(let budget): "reap \(budget)"
        case .maintain: "maintain"
        case .reopen: "reopen"
        case .shrink(let size): "shrink \(size)"
        case .extend(let size): "extend \(size)"
        }
    }

    /// Nil if `text` is no step.
    package init?(text: String) {
        let words = text.split(separator: " ").map(String.init)
        func number(_ index: Int) -> Int? { words.count > index ? Int(words[index]) : nil }
        func pair() -> (String, String)? {
            let parts = (words.count > 1 ? words[1] : "").split(separator: "@").map(String.init)
            return parts.count == 2 ? (parts[0], parts[1]) : nil
        }
        switch (words.first, words.count) {
        case ("create", 3): guard let size = number(2) else { return nil }; self = .create(words[1], size: size)
        case ("write", 5), ("grow", 5):
            guard let offset = number(2), let count = number(3), let fill = Fill(rawValue: words[4]) else { return nil }
            self = .write(words[1], offset: offset, count: count, fill, isGrowing: words[0] == "grow")
        case ("scatter", 5):
            guard let offset = number(2), let count = number(3), let fill = Fill(rawValue: words[4]) else { return nil }
            self = .scatter(words[1], offset: offset, count: count, fill)
        case ("discard", 4):
            guard let offset = number(2), let count = number(3) else { return nil }
            self = .discard(words[1], offset: offset, count: count)
        case ("resize", 3): guard let size = number(2) else { return nil }; self = .resize(words[1], size: size)
        case ("reserve", 4):
            guard let offset = number(2), let count = number(3) else { return nil }
            self = .reserve(words[1], offset: offset, count: count)
        case ("share", 6):
            guard let offset = number(2), let target = number(4), let count = number(5) else { return nil }
            self = .share(words[1], offset: offset, to: words[3], target: target, count: count)
        case ("snapshot", 2): guard let (volume, name) = pair() else { return nil }; self = .snapshot(volume, name)
        case ("clone", 3): self = .clone(of: words[1], words[2])
        case ("delete", 2): self = .delete(words[1])
        case ("rollback", 2): guard let (volume, name) = pair() else { return nil }; self = .rollback(volume, to: name)
        case ("rename", 3): self = .rename(words[1], words[2])
        case ("swap", 3): self = .swap(words[1], words[2])
        case ("snapshot-all", 2): self = .snapshotAll(words[1])
        case ("property", 4): guard let count = number(3) else { return nil }; self = .property(words[1], name: words[2], count: count)
        case ("forget", 2): self = .forget(words[1])
        case ("flush", 1): self = .flush
        case ("checkpoint", 1): self = .checkpoint
        case ("reap", 2): guard let budget = number(1) else { return nil }; self = .reap(budget: budget)
        case ("maintain", 1): self = .maintain
        case ("reopen", 1): self = .reopen
        case ("shrink", 2): guard let size = number(1) else { return nil }; self = .shrink(size: size)
        case ("extend", 2): guard let size = number(1) else { return nil }; self = .extend(size: size)
        default: return nil
        }
    }

    /// The order in which a scattered write's blocks are written.
    package static func scattered(_ count: Int) -> [Int] { Array(stride(from: 1, to: count, by: 2)) + Array(stride(from: 0, to: count, by: 2)) }

    /// The first word of its text.
    package var kind: String { String(text.prefix { $0 != " " }) }
}

/// A step, and others that run in the middle of it: `write v 0 900 data | 2 snapshot v@s` makes the snapshot right before the
/// second call that the write makes to the device's data area.
package struct ScheduledStep: Equatable, Sendable {
    package var step: Step
    package var nested: [Nested] = []

    package struct Nested: Equatable, Sendable {
        package var call: Int
        package var step: Step
    }

    package init(_ step: Step, nested: [Nested] = []) {
        self.step = step
        self.nested = nested
    }

    package var text: String { ([step.text] + nested.map { "\($0.call) \($0.step.text)" }).joined(separator: " | ") }

    package init?(text: String) {
        let parts = text.split(separator: "|").map { $0.trimmingPrefix { $0 == " " } }
        guard let first = parts.first, let step = Step(text: String(first)) else { return nil }
        self.step = step
        for part in parts.dropFirst() {
            let words = part.split(separator: " ", maxSplits: 1)
            guard words.count == 2, let call = Int(words[0]), let step = Step(text: String(words[1])) else { return nil }
            nested.append(Nested(call: call, step: step))
        }
    }
}

extension ModelPool {
    /// The states that the pool goes through in making the step, each atomic on disk, the last one the result. Empty if
    /// nothing changes; nil if the step is not possible here. `bytes` is what a write writes.
    package func states(of step: Step, bytes: [UInt8], geometry: (blockSize: Int, groupBlocks: Int)) -> [ModelPool]? {
        var model = self
        func known(_ name: String) -> Contents? {
            let parts = name.split(separator: "@").map(String.init)
            return parts.count == 2 ? snapshots[parts[0]]?[parts[1]] : volumes[name]
        }
        switch step {
        case .create(let name, let size):
            guard volumes[name] == nil else { return nil }
            model.volumes[name] = Contents(size: size)
        case .write(let name, let offset, let count, _, let isGrowing):
            guard let volume = volumes[name], count > 0, isGrowing || offset + count <= volume.size else { return nil }
            let group = geometry.groupBlocks * geometry.blockSize
            var states: [ModelPool] = []
            var at = offset
            while at < offset + count {
                let end = min(offset + count, at / group * group + group)
                model.volumes[name]?.write(at: at, bytes[at - offset..<end - offset])
                states.append(model)
                at = end
            }
            return states
        case .scatter(let name, let offset, let count, _):
            let unit = geometry.blockSize
            guard let volume = volumes[name], count > 0, offset % unit == 0, count % unit == 0, offset + count <= volume.size else { return nil }
            return Step.scattered(count / unit).map { block in
                model.volumes[name]?.write(at: offset + block * unit, bytes[block * unit..<(block + 1) * unit])
                return model
            }
        case .discard(let name, let offset, let count):
            guard let volume = volumes[name], offset < volume.size, count > 0 else { return nil }
            return zeroing(name, offset..<min(offset + count, volume.size), blockSize: geometry.blockSize)
        case .resize(let name, let size):
            guard let volume = volumes[name] else { return nil }
            var states = size < volume.size ? zeroing(name, size..<volume.size, blockSize: geometry.blockSize) : []
            model = states.last ?? self
            model.volumes[name]?.resize(to: size)
            states.append(model)
            return states
        case .reserve(let name, let offset, let count):
            guard volumes[name] != nil, count > 0 else { return nil }
            model.volumes[name]?.reserve(offset..<offset + count)
        case .share(let source, let offset, let name, let target, let count):
            guard let from = known(source), let to = volumes[name], count > 0, offset + count <= from.size else { return nil }
            if source == name, offset < target + count + 1024, target < offset + count + 1024 { return nil }
            return sharing(from, offset, name, target, count, isWhole: offset + count == from.size && target + count >= to.size)
        case .snapshot(let volume, let name):
            guard var contents = volumes[volume], snapshots[volume]?[name] == nil else { return nil }
            contents.reserved = []
            model.snapshots[volume, default: [:]][name] = contents
        case .clone(let source, let name):
            guard var contents = known(source), volumes[name] == nil else { return nil }
            contents.reserved = []
            model.volumes[name] = contents
        case .delete(let name):
            guard known(name) != nil else { return nil }
            let parts = name.split(separator: "@").map(String.init)
            if parts.count == 2 {
                model.deleteSnapshot(parts[0], parts[1])
            } else {
                guard snapshots[name] == nil else { return nil }
                model.volumes[name] = nil
            }
        case .rollback(let volume, let name):
            guard var contents = snapshots[volume]?[name] else { return nil }
            contents.properties = volumes[volume]?.properties ?? [:]
            contents.reserved = volumes[volume]?.reserved ?? []
            model.volumes[volume] = contents
        case .rename(let volume, let name):
            guard volumes[volume] != nil, volumes[name] == nil else { return nil }
            model.rename(volume, to: name)
        case .swap(let first, let second):
            guard first != second, volumes[first] != nil, volumes[second] != nil else { return nil }
            model.rename(first, to: "")
            model.rename(second, to: first)
            model.rename("", to: second)
        case .snapshotAll(let name):
            guard !volumes.isEmpty, volumes.keys.allSatisfy({ snapshots[$0]?[name] == nil }) else { return nil }
            for (volume, contents) in volumes {
                model.snapshots[volume, default: [:]][name] = contents
                model.snapshots[volume]?[name]?.reserved = []
            }
        case .property(let volume, let name, let count):
            guard volumes[volume] != nil, count > 0 || volumes[volume]?.properties["user.\(name)"] != nil else { return nil }
            model.volumes[volume]?.properties["user.\(name)"] = count == 0 ? nil : count
        case .forget(let volume): return volumes[volume] == nil ? nil : []
        case .flush, .checkpoint, .reap, .maintain, .reopen, .shrink, .extend: return []
        }
        return [model]
    }

    /// A share's states: block by block, as finely as they can be seen. Nothing but whole blocks is shared.
    private func sharing(_ from: Contents, _ offset: Int, _ name: String, _ target: Int, _ count: Int, isWhole: Bool) -> [ModelPool] {
        let unit = Contents.blockSize
        guard offset % unit == 0, target % unit == 0 else { return [] }
        let blocks = isWhole ? (count + unit - 1) / unit : count / unit
        let end = min(target + count, target + blocks * unit)
        var model = self
        var states: [ModelPool] = []
        for block in 0..<blocks {
            let at = target + block * unit, size = min(end, at + unit)
            model.volumes[name]?.zero(at..<at + unit)
            states.append(model)
            if let bytes = from.blocks[offset / unit + block] { model.volumes[name]?.store(bytes, at / unit) }
            if size > model.volumes[name]?.size ?? 0 { model.volumes[name]?.resize(to: size) }
            states.append(model)
        }
        return states
    }

    /// A discard's states: the edges within a block, then the blocks between.
    private func zeroing(_ name: String, _ range: Range<Int>, blockSize: Int) -> [ModelPool] {
        var model = self
        var states: [ModelPool] = []
        func zero(_ part: Range<Int>) {
            model.volumes[name]?.zero(part)
            states.append(model)
        }
        guard let size = volumes[name]?.size, !range.isEmpty else { return [] }
        let first = (range.lowerBound + blockSize - 1) / blockSize * blockSize
        if range.lowerBound % blockSize != 0 { zero(range.lowerBound..<min(first, range.upperBound)) }
        if range.upperBound % blockSize != 0 && range.upperBound != size && range.upperBound > first {
            zero(max(range.lowerBound, range.upperBound / blockSize * blockSize)..<range.upperBound)
        }
        zero(range)
        return states
    }
}
