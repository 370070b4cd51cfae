public import BlockStorage
internal import PoolEngine
internal import Synchronization

/// Refusals in words that name the thing and what to do.
extension VolumeFileSystem {
    /// Notes a refused operation for `.ctl/errors`. Returns what it was about, and why.
    @discardableResult
    public func refused(_ request: RefusedRequest, by caller: Caller, _ error: PoolError) -> (object: String, reason: String) {
        let time = Wording.time(options.now()), subject = Self.printable(self.subject(of: request))
        let reason = Self.printable(explanation(of: error, request))
        noteShortage(error, request)
        times.touch([.errors], options.now())
        events.publish(
            "refused", subject,
            [("operation", .text(request.operation)), ("errno", .number(Int64(error.errno))), ("reason", .text(reason)), ("pid", .number(Int64(caller.process)))])
        refusals.add("\(time) pid=\(caller.process) uid=\(caller.uid) \(request.operation) \(subject) errno=\(error.errno): \(reason)")
        return (subject, reason)
    }

    /// Why something failed, for the log.
    public func sentence(for error: PoolError) -> String { reason(for: error) }

    /// Refused names can have any bytes; a line of the log has none that would end or forge it.
    private static func printable(_ name: String) -> String {
        String(name.map { $0.isASCII && ($0.asciiValue ?? 0) < 32 || $0 == "\u{7f}" ? "?" : $0 })
    }

    private func subject(of request: RefusedRequest) -> String {
        let directory = request.inode.map { self.path(of: $0) } ?? "?"
        guard let name = request.name else { return directory.isEmpty ? "." : directory }
        if request.operation.hasSuffix("xattr") { return "\(directory) \(name)" }
        let whole = directory.isEmpty ? name : "\(directory)/\(name)"
        return request.operation == "rename" ? "\(whole) to \(request.other ?? "?")" : whole
    }

    /// The property of ours that was to be set, as an attribute or as a file.
    private func propertyName(of request: RefusedRequest) -> String? {
        switch (request.operation, request.inode, request.name) {
        case ("create", .propertyDirectory?, let name?), ("create", .poolPropertyDirectory?, let name?), ("create", .aliasPropertyDirectory?, let name?): name
        case (_, _, let name?) where request.operation.hasSuffix("xattr") && name.hasPrefix(Settable.prefix): String(name.dropFirst(Settable.prefix.count))
        default: nil
        }
    }

    /// The object that a request is about, or in whose directory it was made.
    private func object(of request: RefusedRequest) -> ObjectInfo? {
        guard let inode = request.inode else { return nil }
        let isAttribute = request.operation.hasSuffix("xattr")
        if !isAttribute, let name = request.name, let found = try? lookup(inode, name), let id = found.object { return try? pool.info(id) }
        return inode.object.flatMap { try? pool.info($0) }
    }

    func explanation(of error: PoolError, _ request: RefusedRequest) -> String {
        let object: ObjectInfo? = self.object(of: request)
        let name = object?.fullName ?? request.name ?? "it"
        switch error {
        case .readOnly:
            if options.isReadOnly { return "the pool is mounted read-only; mount it again without -o ro" }
            if object?.isSnapshot == true, let property = propertyName(of: request), Self.isOfVolumes(property) {
                return "\(property) is a property of volumes, and \(name) is a snapshot, which never changes; clone it and set it of that: ln -s \(name) .ctl/clone/NEW"
            }
            if object?.isSnapshot == true { return "\(name) is a snapshot and never changes; clone it and change that: ln -s \(name) .ctl/clone/NEW" }
        case .notPermitted: return whyNotPermitted(request, object)
        case .notFound: return whyNotFound(request, object)
        case .exists: return whyTaken(request, object)
        case .invalid(.destination): return whyNotThere(request, object)
        case .invalid(.value): return whyNotThatValue(request, object)
        case .invalid(.size) where request.inode == .poolSize:
            return "the pool has \(pool.deviceSize) bytes; it grows by two segments of 2 MiB or more, and shrinks by one or more"
        case .outOfSpace:
            let trash = trashSize, promised = pool.usage().promised, full = reason(for: error) + autogrowRemark
            if let source = reservingSource(of: request, object) {
                return "\(full); \(source.name) has \(source.reserved) bytes reserved, for which a snapshot, clone or rollback needs the same again: "
                    + "echo 0 > .ctl/vol/\(source.name)/prop/reservation releases them"
            }
            if promised > 0 && trash == 0 {
                let names = pool.volumes().filter { $0.reserved > 0 }.sorted { $0.reserved > $1.reserved }.map(\.name)
                let some = names.prefix(3).joined(separator: ", ") + (names.count > 3 ? " and \(names.count - 3) more" : "")
                return "\(full); \(promised) bytes are kept for reserved ranges of \(some): echo 0 > .ctl/vol/\(names.first ?? "VOL")/prop/reservation releases a volume's"
            }
            if trash > 0 { return "\(full); the trash holds \(trash) bytes: rm .ctl/trash/*" }
            return full
        case .hasSnapshots(let count): return "\(name) has \(Wording.count(count, "snapshot")); remove them first: rmdir .ctl/snap/\(name)/*"
        case .held:
            if let object, let text = ObjectChange.sentence(error, of: object.fullName, hold: hold(of: object.id)) { return text }
        case .corrupt(.data, let position, let problem):
            guard let range = request.range, !range.isEmpty else { break }
            return "damaged data in the bytes \(range.lowerBound) to \(range.upperBound - 1) of \(name), at byte \(position) of the pool's file (\(problem)); "
                + "volfs scrub names all that have it; overwrite it, or restore it from a copy"
        case .tooMany(let limit) where request.inode == .groups: return "there are \(limit) groups without members; remove some: rmdir .ctl/group/GROUP"
        case .tooMany(let limit): return tooMany(object.map { (try? pool.info($0.volume))?.name ?? name } ?? name, limit)
        case .noProperty where propertyName(of: request).flatMap { Self.absence(of: $0) } != nil: return Settable.absence
        case .noProperty where request.inode == .root && request.operation.hasSuffix("xattr"):
            return "the pool has no property \(request.name ?? ""); see: ls .ctl/prop"
        case .noProperty where request.operation.hasSuffix("xattr"):
            return "\(name) has no property or attribute \(request.name ?? "") set; see: ls \(object.map { propertyPath($0) } ?? ".ctl/vol/VOL/prop")"
        case .notSupported where request.inode == .root && request.operation.hasSuffix("xattr"):
            return "the top of the mount keeps no attributes, but volumes do; see also: ls .ctl/prop"
        case .notSupported where request.operation == "setxattr": return "attributes called \(request.name ?? "") are not kept; use user.NAME"
        case .refused(let refusal): return explanation(of: refusal, request, name, object) ?? reason(for: error)
        default: break
        }
        return reason(for: error)
    }

    private func explanation(of refusal: Refusal, _ request: RefusedRequest, _ name: String, _ object: ObjectInfo?) -> String? {
        if let object, let text = ObjectChange.sentence(.refused(refusal), of: object.fullName) { return text }
        func called(_ volume: UInt64) -> String { self.called(volume) ?? "a volume" }
        let properties = object.map { propertyPath($0) } ?? ".ctl/vol/VOL/prop"
        switch refusal {
        case .quotaIsUsed(let used): return "\(name) has mapped \(used) bytes already, more than that quota; give it that or more, or first punch holes"
        case .quota(let limit): return "the quota of \(name), \(limit) bytes, is used up; raise it: echo BYTES > \(properties)/quota, or punch holes"
        case .fixed(let size):
            return "\(name) is fixed at \(size) bytes; make it larger: truncate -s SIZE \(name), or: echo off > \(properties)/fixed"
        case .isOpen(let id): return whoHasItOpen(id, besides: request.handle)
        case .computedProperty where request.inode == .root: return "that property of the pool is computed and can only be read; see: ls .ctl/prop"
        case .unknownProperty where propertyName(of: request).flatMap { Self.absence(of: $0) } != nil: return Settable.absence
        case .unknownProperty where request.inode == .root: return "the pool has no such property; see: ls .ctl/prop"
        case .headIsTwo(let volume):
            return "head is \(called(volume)), and a snapshot of it too; rename that first: mv .ctl/snap/\(called(volume))/head .ctl/snap/\(called(volume))/NEW"
        case .differenceIsTwo(let volume):
            let directory = ".ctl/snap/\(called(volume))"
            return "\(request.name ?? "that") is the difference of two pairs of snapshots, as names have two dots in them; rename one: mv \(directory)/SNAP \(directory)/NEW"
        case .differenceOfOthers(let volume):
            return "\(request.name ?? "that") is no difference of \(called(volume)): both sides are snapshots of it, or the second is head, as others have no history in common with them; see: ls .ctl/snap/\(called(volume))"
        case .computedProperty: return "that property of \(name) is computed and can only be read; those that can be set: \(Self.settableNames(isSnapshot: object?.isSnapshot == true).joined(separator: ", "))"
        case .unknownProperty: return "\(name) has no such property; see: ls \(properties)"
        case .notOwner(let volume): return "\(called(volume)) belongs to somebody else; ask its owner or root"
        case .mayNotRead: return "\(request.other ?? "it") may not be read by you, so not cloned; ask its owner for: chmod +r"
        case .linkTarget: return whyNotThatTarget(request)
        case .memberHasName(let volume): return "\(called(volume)) has a snapshot \(request.name ?? "of that name") already, so none was made; choose another name"
        case .memberIsFull(let volume, let limit): return tooMany(called(volume), limit)
        case .memberIsHeld(let id):
            return ObjectChange.held(called(id), hold(of: id), and: ", so none was removed")
        case .groupHasMembers(let count):
            return "the group \(request.name ?? "") has \(Wording.count(count, "member")); remove them first: rm .ctl/group/\(request.name ?? "GROUP")/members/*"
        case .groupIsEmpty:
            guard case .groupSnapshots(let group) = request.inode else { return nil }
            return "the group \(groupName(group)) has no members; add one: ln -s ../../../../VOL .ctl/group/\(groupName(group))/members/VOL"
        case .isInTrash: return "\(request.name ?? "it") is in the trash; restore it first: mv .ctl/trash/\(request.name ?? "NAME") NEW"
        default: return nil
        }
    }

    /// The volume with reserved ranges of which a snapshot or a clone was to be made, or that was to be rolled back.
    private func reservingSource(of request: RefusedRequest, _ object: ObjectInfo?) -> ObjectInfo? {
        var source: ObjectInfo?
        switch (request.operation, request.inode) {
        case ("symlink", .clones): source = (try? self.source(of: request.other ?? "")).flatMap { try? pool.info($0) }
        case ("mkdir", .snapshotDirectories):
            let names = (request.name ?? "").prefix { $0 != "@" }.split(separator: ",")
            source = names.compactMap { name in (try? pool.find(String(name))).flatMap { try? pool.info($0) } }.first { $0.reserved > 0 }
        case ("mkdir", .groupSnapshots(let group)): source = members(group).first { $0.reserved > 0 }
        case ("mkdir", .snapshotDirectory), ("write", .volumeRollback): source = object
        default: break
        }
        return source.flatMap { $0.isSnapshot || $0.reserved == 0 ? nil : $0 }
    }

    private func tooMany(_ volume: String, _ limit: UInt64) -> String {
        "the property snapshot_limit allows \(Wording.count(limit, "snapshot")) of \(volume); remove one, or raise it: echo N > .ctl/vol/\(volume)/prop/snapshot_limit"
    }

    private func hold(of id: UInt64) -> String {
        (try? pool.properties(id)[Settable.prefix + Settable.hold.rawValue]).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private func propertyPath(_ info: ObjectInfo) -> String { ObjectChange.propertyPath(info.fullName) }

    /// As it is called where it is shown.
    private func called(_ id: UInt64) -> String? {
        guard let info = try? pool.info(id) else { return nil }
        return info.name.hasPrefix(".") ? trash.first { $0.info.id == id }?.name : info.fullName
    }

    private func whoHasItOpen(_ id: UInt64, besides handle: UInt64?) -> String {
        let name = called(id) ?? "it", users = users(of: id, besides: handle)
        guard !users.isEmpty else { return "\(name) was open until just now; try again" }
        let some = users.prefix(3).map { "\($0.text) \($0.writes ? "to write" : "to read") since \(Wording.time($0.since))" }
        let rest = users.count > 3 ? ", and \(users.count - 3) more" : ""
        return "\(name) is open: \(some.joined(separator: ", "))\(rest); close, unmount or detach it first"
    }
}

// MARK: Which sentence, by what was asked for

extension VolumeFileSystem {
    private func whyNotPermitted(_ request: RefusedRequest, _ object: ObjectInfo?) -> String {
        let parent = request.inode ?? .root, name = request.name ?? "it"
        let place = path(of: parent)
        switch (request.operation, parent) {
        case ("unlink", .root): return "\(name) is a snapshot; remove it with: rmdir .ctl/snap/\(name.replacing("@", with: "/"))"
        case ("create", .root): return "\(name) would be a snapshot, and those are made with: mkdir .ctl/snap/\(name.replacing("@", with: "/"))"
        case ("mkdir", .root):
            // As a snapshot is written everywhere else.
            if name.contains("@") { return "directories are not made here; that snapshot is made with: mkdir .ctl/snap/\(name.replacing("@", with: "/"))" }
            return "directories are not made here; a volume is made with: truncate -s SIZE \(name), a snapshot with: mkdir .ctl/snap/VOL/\(name)"
        case ("symlink", .root): return "links are not made here; a clone is made with: ln -s \(request.other ?? "VOL@SNAP") .ctl/clone/\(name)"
        case ("rename", .clones): return "a clone is called as its volume, which is renamed with: mv \(name) \(request.other ?? "NEW")"
        case ("link", _): return "a volume has one name; a copy of it is made at once with: ln -s VOL .ctl/clone/\(name)"
        case ("mknod", _): return "only volumes are made here, with: truncate -s SIZE \(name)"
        case ("unlink", .snapshot(let id)):
            return "what a snapshot shows is not removed one by one; remove the snapshot: rmdir \(path(of: .snapshot(id)))"
        case ("unlink", .groupSnapshot):
            return "what a group's snapshot shows is not removed one by one; remove that snapshot of each member: rmdir \(place)"
        case ("unlink", .clones):
            return "a clone does not forget what it was made from because all in \(place) is removed; if that is wanted: rm \(place)/\(name)"
        case ("unlink", .trash):
            return "nothing is deleted for good because all in \(place) is removed; if that is wanted: rm \(place)/\(name)"
        case ("unlink", .groupMembers):
            return "a volume does not leave its group because all in \(place) is removed; if that is wanted: rm \(place)/\(name)"
        case ("rmdir", .snapshotDirectories), ("rmdir", .volumeDirectories), ("rmdir", .diffs):
            return "\(place)/\(name) is there as long as the volume is; remove that: rm \(name)"
        case ("rmdir", _), ("unlink", _): return "\(place.isEmpty ? name : "\(place)/\(name)") is always there; see .ctl/README for what can be removed"
        case ("open", .volumeRollback): return "\(place) cannot be read; it takes the name of a snapshot: echo SNAP > \(place)"
        case ("open", _), ("write", _): return "\(place) can only be read; see .ctl/README for what is written to"
        case ("setattr", _): return "mode, owner and times of \(place.isEmpty ? "the top" : place) follow from the volume's or the mount's; chmod and chown VOL instead"
        default: return "nothing is made in \(place.isEmpty ? "the top" : place) like that; see .ctl/README for what is made where"
        }
    }

    private func whyNotFound(_ request: RefusedRequest, _ object: ObjectInfo?) -> String {
        let name = request.name ?? "it"
        switch (request.operation, request.inode) {
        case ("mkdir", .snapshotDirectories):
            let names = name.prefix { $0 != "@" }.split(separator: ",").map(String.init)
            let volume = names.first { (try? pool.find($0)) == nil } ?? String(name.prefix { $0 != "@" })
            return "there is no volume \(volume); \(trashHint(volume) ?? "make it first: truncate -s SIZE \(volume)")"
        case ("symlink", _):
            let target = request.other ?? ""
            if let hint = trashHint(String(target.prefix { $0 != "@" })) { return "there is no volume or snapshot \(target); \(hint)" }
            return "there is no volume or snapshot \(target); see: ls, and: ls .ctl/snap/\(target.prefix { $0 != "@" })"
        case ("write", .volumeRollback(let id)):
            let volume = (try? pool.info(id))?.name ?? "VOL"
            return "\(volume) has no snapshot of that name; see: ls .ctl/snap/\(volume)"
        default: return "\(reason(for: .notFound)): \(subject(of: request))"
        }
    }

    /// What to do if a volume of that name was removed and can be had back.
    private func trashHint(_ volume: String) -> String? {
        guard (try? pool.find(volume)) == nil, let entry = TrashName.newest(of: volume, in: trash.map { ($0.name, removed: $0.info.changed) }) else {
            return nil
        }
        return "it is in the trash; take it back: mv .ctl/trash/\(entry) \(volume)"
    }

    private func whyTaken(_ request: RefusedRequest, _ object: ObjectInfo?) -> String {
        switch request.operation {
        case "rename": "the name \(request.other ?? "") is taken, and nothing is ever replaced; remove or rename what has it first"
        case "symlink": "the name \(request.name ?? "") is taken by a volume; choose another, or remove it first: rm \(request.name ?? "")"
        case "setxattr": "that attribute is set already"
        default: "the name \(request.name ?? "") is taken; choose another, or remove what has it first"
        }
    }

    private func whyNotThere(_ request: RefusedRequest, _ object: ObjectInfo?) -> String {
        guard let object, request.operation == "rename" else { return reason(for: .invalid(.destination)) }
        if object.isSnapshot {
            return "\(object.fullName) stays a snapshot of \(object.volumeName); rename it with: mv .ctl/snap/\(object.volumeName)/\(object.name) "
                + ".ctl/snap/\(object.volumeName)/NEW, copy it with: ln -s \(object.fullName) .ctl/clone/NEW"
        }
        if request.other?.contains("@") == true { return "\(object.name) stays a volume; a snapshot of it is made with: mkdir .ctl/snap/\(object.name)/SNAP" }
        let trash = options.trashSeconds > 0 ? "moved to the trash with: rm \(object.name)" : "removed for good with: rm \(object.name); a mount with -o trash=TIME would keep it"
        return "\(object.name) stays at the top; it is renamed with: mv \(object.name) NEW, and \(trash)"
    }

    private func whyNotThatValue(_ request: RefusedRequest, _ object: ObjectInfo?) -> String {
        if case .property(let pair) = request.inode { return Settable.sentence(Self.propertyName(pair & 255)) }
        if case .volumeRollback = request.inode {
            return "write the name of a snapshot, and discard behind it if what the volume holds is not to be kept: echo 'SNAP discard' > rollback"
        }
        if request.operation == "setxattr", let name = request.name, name.hasPrefix(Settable.prefix) {
            return Settable.sentence(String(name.dropFirst(Settable.prefix.count)))
        }
        return reason(for: .invalid(.value))
    }

    private func whyNotThatTarget(_ request: RefusedRequest) -> String {
        let target = request.other ?? "", name = request.name ?? "VOL"
        if case .groupMembers = request.inode {
            return "a member is a volume, and the link is called as it: ln -s ../../../../\(name) \(path(of: request.inode ?? .root))/\(name)"
        }
        return "\(target) is no volume or snapshot of this pool; write it as VOL or VOL@SNAP: ln -s VOL@SNAP .ctl/clone/\(name)"
    }
}
