internal import BlockStorage
internal import PoolEngine
internal import VolumeFS

/// Names as a command line gives them, checked before they become part of a path below a mount.
package enum NameRule {
    private static let volumeCharacters = "._+-", snapshotCharacters = "._+-:"

    /// Throws a usage failure that says which rule the name of a new volume breaks.
    package static func checkVolume(_ name: String) throws(Failure) {
        do throws(PoolError) {
            try ObjectName.checkVolume(name)
        } catch {
            if name.contains("@") { throw .usage(name, "'@' is for snapshots; make one with: volfs snapshot POOL VOL@SNAP") }
            throw .usage(name, broken(name, error, allowed: volumeCharacters, begin: "a letter or digit"))
        }
    }

    /// The same for a new snapshot, `name` being what follows the `@` of `object`.
    package static func checkSnapshot(_ name: String, in object: String) throws(Failure) {
        do throws(PoolError) {
            try ObjectName.checkNewSnapshot(name)
        } catch .refused(let refusal) {
            throw .usage(object, reason(for: .refused(refusal)))
        } catch {
            throw .usage(object, broken(name, error, allowed: snapshotCharacters, begin: "a letter, digit or _"))
        }
    }

    /// Throws `.notFound` for `VOL` or `VOL@SNAP` that nothing can be called.
    package static func checkReference(_ object: String, in pool: String = "POOL") throws(Failure) {
        let (volume, snapshot) = split(object)
        do throws(PoolError) {
            try ObjectName.checkVolume(volume)
            if let snapshot { try ObjectName.checkSnapshot(snapshot) }
        } catch {
            throw Failure(.notFound, object, "no such volume or snapshot; see: volfs list \(Path.quoted(pool))", errno: PoolError.notFound.errno)
        }
    }

    private static func broken(_ name: String, _ error: PoolError, allowed: String, begin: String) -> String {
        let remedy = "use letters, digits and \(allowed.map(String.init).joined(separator: " "))"
        if error == .invalid(.nameTooLong) { return "longer than \(ObjectName.maximumLength) bytes; choose a shorter name" }
        guard let first = name.first else { return "the name is empty; \(remedy)" }
        if let wrong = name.first(where: { !isAlphanumeric($0) && !allowed.contains($0) }) {
            return "a name may not contain '\(wrong)'; \(remedy)"
        }
        return "a name begins with \(begin), not with '\(first)'; \(remedy)"
    }

    private static func isAlphanumeric(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber)
    }
}
