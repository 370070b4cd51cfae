internal import BlockStorage
internal import Synchronization

/// The last hundred refused operations, for `.ctl/errors`: a shell's user sees an errno only, the reason is here.
final class RefusalLog: Sendable {
    private let lines = Mutex<[String]>([])
    static let limit = 100

    func add(_ line: String) {
        lines.withLock { lines in
            lines.append(line)
            if lines.count > Self.limit { lines.removeFirst() }
        }
    }

    var text: String { lines.withLock { $0.map { $0 + "\n" }.joined() } }
}

/// Why something was refused, in a sentence that says what to do.
func reason(for error: PoolError) -> String {
    switch error {
    case .outOfSpace(let needed, let free):
        "the pool is full: \(needed) bytes are needed, \(free) are free; delete snapshots or volumes, or punch holes"
    case .outOfRange(let offset, let count, let size): "\(count) bytes at \(offset) reach beyond \(size) bytes"
    case .tooLarge(let size, let limit): "\(size) bytes are more than the largest volume, \(limit)"
    case .invalid(.name):
        "names are made of letters, digits and . _ + - (a snapshot's also of :), and begin with a letter or digit"
    case .invalid(.nameTooLong): "names have at most 127 bytes"
    case .invalid(.destination): "it can be renamed only where it is, and volumes stay volumes"
    case .invalid(.size): "a pool grows to a larger number of bytes, by two segments of 2 MiB or more"
    case .invalid(.job): "there is scrub, check and check-data to do"
    case .invalid: "that value is not allowed here"
    case .notFound: "there is no volume or snapshot of that name"
    case .exists: "that name is taken; remove or rename what has it first"
    case .hasSnapshots(let count): "the volume has \(count) snapshots; remove them first: rmdir .ctl/snap/VOLUME/*"
    case .inUse: "it is open; close, unmount or detach it first"
    case .readOnly: "snapshots, and pools mounted read-only, cannot be changed; clone it: ln -s VOL@SNAP .ctl/clone/NAME"
    case .notPermitted: "not here: volumes are files at the top, snapshots are made by mkdir and removed by rmdir in .ctl/snap/VOLUME"
    case .notSupported: "this kind of request is not supported"
    case .suspended: "an earlier write to the pool's file failed; unmount and mount again to recover"
    case .malformed(let line): "line \(line) of the text is wrong"
    case .noProperty: "no such property is set"
    case .tooMany(let limit): "snapshot_limit allows \(limit) snapshots; remove one or raise it"
    case .held: "it is held; first: echo > .ctl/snap/VOL/SNAP/prop/hold"
    case .cancelled: "it was cancelled"
    case .corrupt(let structure, let position, let problem):
        "damaged \(structure) at byte \(position) of the pool's file (\(problem)); run volfs check"
    case .locked, .notAPool, .unsupportedFormat, .truncated: "the pool cannot be used"
    case .system(let call, let errno): "\(call) on the pool's file failed with errno \(errno)"
    }
}
