internal import Glibc
internal import LinuxIO
internal import PoolEngine
internal import VolumeFS

/// One run of the command line.
public struct CommandLineTool {
    /// Does what the program was started for. Returns the exit status.
    public static func run() -> Int32 {
        let words = ProgramArguments.all
        return run(Array(words.dropFirst()), program: words.first ?? "volfs")
    }

    /// Does what `words`, without the program's name, say. Returns the exit status. Called as mount.volfs or umount.volfs it
    /// is the helper that mount(8) or umount(8) wants.
    public static func run(_ words: [String], program: String = "volfs") -> Int32 {
        var isJSON = words.contains("--json")
        // A write beyond what setrlimit(2) allows fails, and is said, and does not end a daemon.
        signal(SIGXFSZ, SIG_IGN)
        let helper = MountHelper(program: program)
        do throws(Failure) {
            if let helper { return helper.status(try dispatch(try helper.translated(words)[...], &isJSON)) }
            return try dispatch(words[...], &isJSON)
        } catch {
            if helper != nil {
                complain(error.text)
                return MountHelper.status(of: error)
            }
            let status = status(of: error, words)
            complain(isJSON ? error.json(code: status) : error.text)
            return status
        }
    }

    private static func status(of failure: Failure, _ words: [String]) -> Int32 {
        let command = words.first.flatMap { CommandTable.find($0) }
        // mount(8) runs us by way of mount.fuse3(8) where our own helper is not installed.
        if command == nil && MountHelper.isCalledByMount { return MountHelper.status(of: failure) }
        // check has the numbers of fsck(8), where 2 would ask for a reboot.
        let isCheck = command.map { CheckCommand.Status.commands.contains($0.name) } ?? false
        return isCheck && failure.status == .usage ? CheckCommand.Status.usage : failure.status.rawValue
    }

    private static func dispatch(_ words: ArraySlice<String>, _ isJSON: inout Bool) throws(Failure) -> Int32 {
        guard let first = words.first else {
            complain(CommandTable.help())
            return Failure.Status.usage.rawValue
        }
        switch first {
        case "-h", "--help": return HelpCommand.about(nil)
        case "-V", "--version": return Version.tell(isJSON: isJSON)
        default: break
        }
        if let command = CommandTable.find(first) {
            let rest = words.dropFirst()
            if rest.prefix(while: { $0 != "--" }).contains(where: { $0 == "--help" || $0 == "-h" }) { return HelpCommand.about(command) }
            var arguments = try Arguments(rest, for: command)
            isJSON = arguments.isJSON
            // A mount has a configuration file to look into as well.
            if command.name != "mount" && !arguments.has("config") { try supplyPool(&arguments, command) }
            return try command.run(arguments)
        }
        // The mount form: volfs POOL MOUNTPOINT.
        if let failure = Misuse.unknownCommand(first, words.dropFirst()) { throw failure }
        return try MountCommand.run(try Arguments(words, for: CommandTable.mount))
    }

    /// VOLFS_POOL stands in for a pool that is left out.
    private static func supplyPool(_ arguments: inout Arguments, _ command: Command) throws(Failure) {
        try SuppliedPool.supply(&arguments.operands, command)
        guard command.count.contains(arguments.operands.count) else {
            throw Misuse.miscounted(arguments.operands, command, isPool: SuppliedPool.isPath)
        }
        if let failure = Misuse.misordered(arguments.operands, command) { throw failure }
    }
}

/// Prints to standard output.
func say(_ text: String, end: String = "\n") { print(text, terminator: end) }

/// Prints a line to standard error.
func complain(_ text: String) {
    fflush(nil)
    var line = text
    if !line.hasSuffix("\n") { line += "\n" }
    line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}

/// The way to the pool that an operand names: a pool's file or the directory it is mounted at.
func access(toPool operand: String, writing: Bool) throws(Failure) -> any PoolAccess {
    let path = Path.absolute(operand)
    if let mount = MountTable().mount(serving: path) { return ControlledPool(mount) }
    return try DirectPool(path: path, mode: writing ? .readWrite : .readOnly)
}

/// Throws for a pool that is mounted, or a directory where one is.
func refuseIfMounted(_ path: String) throws(Failure) {
    if let mount = MountTable().mount(serving: path) { throw mountedFailure(mount.source, mount) }
}

/// Who has the pool mounted, as a failure.
func mountedFailure(_ path: String, _ mount: MountTable.Mount) -> Failure {
    // The lock's holder where the control directory is turned off.
    let served = (try? ControlledPool(mount).process()) ?? 0
    let holder = Failure.holder(served != 0 ? served : PoolDevice.holder(of: mount.source))
    return Failure(
        .busy, path, "is mounted at \(mount.mountpoint) by \(holder); first: volfs umount \(Path.quoted(mount.mountpoint))", errno: EBUSY)
}
