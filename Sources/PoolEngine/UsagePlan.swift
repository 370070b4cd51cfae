/// What there is to walk for an `ObjectUsage`: follows from the version tree alone, and holds as long as that stays as it is.
struct UsagePlan: Equatable, Sendable {
    /// The object's version, and those that began as it.
    var version: UInt64
    var generation: UInt32
    var parentGeneration: UInt32
    var children: [UInt64]
    /// The versions that the reaper frees if the object is deleted and not otherwise, or for the benefit of another survivor.
    var departures: [Departure]

    /// A version that goes. What it owns is freed but for what `survivor` shares, who inherits that.
    struct Departure: Equatable, Sendable {
        var version: UInt64
        var parentGeneration: UInt32
        var survivor: UInt64?
        /// It goes anyway, in favour of this one: only what both have is freed by the deletion.
        var keeper: UInt64?
    }

    /// Changes with every version that is made, hidden or gone.
    struct Stamp: Equatable, Sendable {
        var nextID: UInt64
        var versions: Int
        var hidden: Int
    }
}

extension PoolState {
    var versionStamp: UsagePlan.Stamp { UsagePlan.Stamp(nextID: nextID, versions: versions.count, hidden: hidden.count) }

    func usagePlan(of version: Version) -> UsagePlan {
        UsagePlan(
            version: version.id, generation: version.generation, parentGeneration: version.parentGeneration,
            children: version.children.sorted(), departures: departures(deleting: [version.id: version]))
    }

    /// What the reaper frees if all of them are deleted, and not otherwise.
    func departures(deleting doomed: [UInt64: Version]) -> [UsagePlan.Departure] {
        let affected = affected(byDeleting: doomed)
        let now = survivors(of: affected, without: [:]), then = survivors(of: affected, without: doomed)
        var departures: [UsagePlan.Departure] = []
        for other in affected {
            let before = now[other.id].flatMap { $0 }, after = then[other.id].flatMap { $0 }
            if after == other.id || after == before { continue }
            let keeper = before == other.id ? nil : before
            departures.append(.init(version: other.id, parentGeneration: other.parentGeneration, survivor: after, keeper: keeper))
        }
        return departures
    }

    /// The doomed versions, and the hidden ones that hang together with them, descendants first.
    private func affected(byDeleting doomed: [UInt64: Version]) -> [Version] {
        var found = doomed
        var queue = Array(doomed.values)
        while let next = queue.popLast() {
            for id in next.children.union([next.record.parent]) {
                guard found[id] == nil, let relative = versions[id], relative.isHidden else { continue }
                found[id] = relative
                queue.append(relative)
            }
        }
        // Along any lineage generations rise.
        return found.values.sorted { $0.generation > $1.generation }
    }

    /// Who is left of each version once the reaper is through: itself, the one descendant that inherits from it, or nobody.
    private func survivors(of affected: [Version], without doomed: [UInt64: Version]) -> [UInt64: UInt64?] {
        var found: [UInt64: UInt64?] = [:]
        for version in affected {
            if !version.isHidden && doomed[version.id] == nil {
                found.updateValue(version.id, forKey: version.id)
                continue
            }
            var heirs: [UInt64] = []
            for child in version.children {
                if let heir = found[child] ?? child { heirs.append(heir) }
                if heirs.count > 1 { break }
            }
            found.updateValue(heirs.count > 1 ? version.id : heirs.first, forKey: version.id)
        }
        return found
    }
}
