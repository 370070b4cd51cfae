internal import VolumeFS

/// The entries, in the order of the help.
extension CommandTable {
    private static let json = Option.flag("json", "print JSON; errors too")
    private static let dryRun = Option.flag("dry-run", letter: "n", "only print what would be done, and lost")
    private static let progress = Option.taking("HOW", "progress", "always, never or json (default: on a terminal)", choices: Progress.Mode.allCases.map(\.rawValue))

    static let poolCommands: [Command] = [
        Command(
            name: "create", operands: "", help: "make a pool in a new file",
            options: [
                .taking("SIZE", "size", letter: "s", "its size, of which the file takes what is used (default: 9/10 of what is free there)"),
                .taking("SIZE", "autogrow", "by how much a full pool makes its file larger (default: never)"),
                .taking("SIZE", "block-size", "of a block: 4K, as every pool has it"),
                .flag("force", "replace an existing file, or what is on a device"), dryRun, json,
            ], count: 1...1, run: CreateCommand.run),
        Command(
            name: "mount", operands: "MOUNTPOINT", help: "mount a pool; the word `mount` may be left out",
            options: [
                .taking("OPT,…", "options", letter: "o", "mount options, see mount.volfs(8)", choices: MountOptionTable.options.filter { $0.group != .refused && $0.name != "x-*" }.map(\.name)),
                .taking("FILE", "config", "read options, pool and mountpoint from FILE"), .flag("foreground", letter: "f", "stay in the foreground"),
                .flag("background", "go to the background, also below a service manager"),
                .flag("debug", letter: "d", "foreground, and print every request"),
                .flag("dry-run", letter: "n", "only find out whether it could be mounted"), json,
            ], count: 0...2, kinds: [.directory], run: MountCommand.run),
        Command(
            name: "umount", aliases: ["unmount"], operands: "", help: "unmount, and wait until everything is stored",
            options: [
                .flag("lazy", letter: "l", "detach now; what is open is served until it is closed"),
                .taking("FILE", "config", "unmount what FILE says"),
                .taking("SEC", "wait", "how long to wait for the daemon (default: until it ends)"),
                .taking("UNIT", "service", "if systemd restarts UNIT, only end the daemon: the next one goes on with the mount"),
                .flag("force", "also if the pool's file was removed, and all in it ends with the mount"), json,
            ], count: 0...1, run: UnmountCommand.run),
        Command(
            name: "list", aliases: ["ls"], operands: "[NAME…]", help: "list volumes and snapshots",
            options: [
                .taking("TYPE,…", "type", letter: "t", "volume, snapshot, clone, trash or all (default), which is without trash", choices: ListCommand.types),
                .taking("COL,…", "columns", letter: "o", ObjectLine.columns.joined(separator: ", ") + ", or all; by name also removed and every property", choices: ["all"] + ObjectLine.columns + ObjectLine.moreColumns),
                .taking("COL", "sort", letter: "s", "sort by a column", choices: ObjectLine.columns + ObjectLine.moreColumns),
                .taking("COL", "reverse", letter: "S", "sort by a column, largest first", choices: ObjectLine.columns + ObjectLine.moreColumns),
                .flag("recursive", letter: "r", "the snapshots of each NAME too"),
                .flag("no-header", letter: "H", "no header, columns separated by tabs"), .flag("exact", letter: "p", "sizes in bytes, times in seconds"), json,
            ], count: 1...Int.max, kinds: [.object], run: ListCommand.run),
        Command(
            name: "info", aliases: ["show"], operands: "[NAME…]", help: "tell about the pool, or about volumes and snapshots",
            options: [json], count: 1...Int.max, kinds: [.object], run: InfoCommand.run),
        Command(
            name: "grow", operands: "[+]SIZE", help: "make a pool larger, mounted or not", options: [json], count: 2...2, kinds: [.none],
            run: ChangeCommands.grow),
        Command(
            name: "shrink", operands: "[-]SIZE", help: "make a pool smaller, mounted or not", options: [dryRun, progress, json], count: 2...2, kinds: [.none],
            run: ChangeCommands.shrink),
    ]

    static let objectCommands: [Command] = [
        Command(
            name: "new", aliases: ["volume"], operands: "NAME SIZE", help: "make a volume",
            options: [.flag("reserve", "keep room for all of it, so that no write to it is refused for want of space"), json], count: 3...3, kinds: [.none],
            run: ChangeCommands.new),
        Command(
            name: "resize", operands: "NAME [+|-]SIZE", help: "change a volume's size",
            options: [.flag("shrink", "allow making it smaller, which cuts data off"), dryRun, json], count: 3...3, kinds: [.volume, .none],
            run: ChangeCommands.resize),
        Command(
            name: "snapshot", aliases: ["snap"], operands: "VOL@SNAP…", help: "make a snapshot, or several at one moment",
            options: [
                .taking("GROUP", "group", letter: "g", "of each member of a group; then give SNAP alone", choices: ["all"]),
                .taking("MOUNTPOINT", "freeze", "freeze the filesystem in the volume meanwhile"), json,
            ], count: 2...Int.max, kinds: [.volume], run: SnapshotCommand.run),
        Command(
            name: "clone", operands: "VOL[@SNAP] NAME…", help: "make writable clones", options: [json], count: 3...Int.max,
            kinds: [.object, .none], run: ChangeCommands.clone),
        Command(
            name: "detach", operands: "NAME…", help: "forget what clones were made from", options: [json], count: 2...Int.max, kinds: [.volume],
            run: ChangeCommands.detach),
        Command(
            name: "destroy", aliases: ["delete", "rm"], operands: "NAME…", help: "destroy volumes and snapshots; a mount with trash= keeps volumes for a while",
            options: [
                dryRun, .flag("recursive", letter: "r", "a volume's snapshots too"), .flag("verbose", letter: "v", "print what goes even if not asking"),
                .flag("yes", letter: "y", "do not ask"), json,
            ], count: 2...Int.max, kinds: [.object], run: DestroyCommand.run),
        Command(
            name: "undelete", operands: "NAME [NEW]", help: "take a volume back out of the trash of a mount with trash=", options: [json], count: 2...3,
            kinds: [.trash, .none], run: TrashCommands.undelete),
        Command(
            name: "purge", operands: "[NAME…]", help: "delete what is in the trash for good, all of it or some",
            options: [dryRun, .flag("yes", letter: "y", "do not ask"), json], count: 1...Int.max, kinds: [.trash], run: TrashCommands.purge),
        Command(
            name: "rename", operands: "OLD NEW", help: "rename a volume or a snapshot", options: [json], count: 3...3, kinds: [.object, .none],
            run: ChangeCommands.rename),
        Command(
            name: "swap", operands: "A B", help: "two volumes exchange their names", options: [json], count: 3...3, kinds: [.volume],
            run: ChangeCommands.swap),
        Command(
            name: "rollback", operands: "VOL@SNAP", help: "put a volume back to a snapshot of it",
            options: [.flag("discard", "do not keep what it holds as VOL@pre-rollback-TIME"), dryRun, json], count: 2...2, kinds: [.snapshot],
            run: ChangeCommands.rollback),
        Command(
            name: "hold", operands: "VOL@SNAP…", help: "keep snapshots from being destroyed",
            options: [.taking("TEXT", "reason", "what to say to whoever tries (default: held)"), json], count: 2...Int.max, kinds: [.snapshot],
            run: PropertyCommands.hold),
        Command(
            name: "release", operands: "VOL@SNAP…", help: "let held snapshots be destroyed again", options: [json], count: 2...Int.max,
            kinds: [.snapshot], run: PropertyCommands.release),
        Command(
            name: "get", operands: "[NAME [PROPERTY…]]", help: "print properties of a volume or a snapshot, or of the pool (.)", options: [json], count: 1...Int.max,
            kinds: [.object, .property], run: PropertyCommands.get),
        Command(
            name: "set", operands: "NAME PROPERTY=VALUE…", help: "set properties; an empty value removes one", options: [json],
            count: 3...Int.max, kinds: [.object, .setting], run: PropertyCommands.set),
    ]

    static let transferCommands: [Command] = [
        Command(
            name: "import", operands: "FILE NAME", help: "make a volume from a raw image; - is standard input",
            options: [
                .taking("SIZE", "size", "what FILE has to have: no volume of less or more is made"),
                .taking("raw", "format", "take FILE as it is, whatever it looks like", choices: ["raw"]), progress, json,
            ], count: 3...3,
            kinds: [.file, .none], run: ImportCommand.run),
        Command(
            name: "export", operands: "NAME FILE", help: "write a volume or snapshot to a sparse raw image; - is standard output",
            options: [
                .flag("force", "replace FILE, or write over what is on a device"), .taking("raw", "format", "of the image: raw, as every one is", choices: ["raw"]), progress, json,
            ], count: 3...3, kinds: [.object, .file], run: ExportCommand.run),
        Command(
            name: "copy", aliases: ["cp"], operands: "VOL[@SNAP] NAME", help: "copy a volume's or snapshot's bytes to a new volume",
            options: [.taking("POOL", "to", "in another pool"), progress, json], count: 3...3, kinds: [.object, .none], run: CopyCommand.run),
        Command(
            name: "diff", operands: "VOL@A VOL[@B]", help: "print the ranges in which two versions of a volume differ",
            options: [progress, json], count: 3...3, kinds: [.snapshot, .object], run: DiffCommand.run),
    ]

    static let watchCommands: [Command] = [
        Command(
            name: "status", operands: "", help: "tell a pool's health, who has it mounted, and what runs", options: [json], count: 1...1,
            run: StatusCommand.run),
        Command(name: "stats", operands: "", help: "print space and counters, as .ctl/stats", options: [json], count: 1...1, run: StatsCommand.run),
        Command(
            name: "iostat", operands: "[INTERVAL [COUNT]]", help: "print reads, writes and flushes, each INTERVAL seconds",
            options: [.flag("no-header", letter: "H", "no header, exact numbers, columns separated by tabs"), json], count: 1...3, kinds: [.none],
            run: IostatCommand.run),
        Command(
            name: "top", operands: "", help: "show who uses which volume",
            options: [
                .taking("N", "count", letter: "n", "end after N times"), .taking("SEC", "delay", letter: "d", "time between two (default 2)"), json,
            ], count: 1...1, run: TopCommand.run),
        Command(
            name: "events", operands: "", help: "print what happens to a mounted pool, as it happens",
            options: [.taking("N", "count", letter: "n", "end after N events"), json], count: 1...1, run: EventsCommand.run),
        Command(
            name: "wait", operands: "[freed|JOB]", help: "wait until space is freed, or a job is done",
            options: [.taking("SEC", "timeout", "give up after so long"), json], count: 1...2,
            kinds: [.words(["freed"] + Jobs.Kind.allCases.map(\.rawValue))], run: WaitCommand.run),
    ]

    static let careCommands: [Command] = [
        Command(
            name: "check", operands: "", help: "verify a pool, mounted or not; changes nothing",
            options: [.flag("data", "verify every block's contents too"), progress, json], count: 1...1, run: CheckCommand.run),
        Command(
            name: "scrub", operands: "", help: "read and verify everything in a pool, and mend damaged copies",
            options: [
                .flag("start", "of a mounted pool: start it and return"), .flag("stop", "cancel it"), .flag("status", "tell how far it is"),
                .flag("wait", "wait for its end and print what it found"), progress, json,
            ], count: 1...1, run: ScrubCommand.run),
        Command(
            name: "repair", operands: "", help: "make a damaged, unmounted pool whole again as far as possible",
            options: [
                .flag("dry-run", letter: "n", "only print what is wrong and what would be lost"),
                .flag("force", "also where whole volumes are given up"), json,
            ], count: 1...1, run: RepairCommand.run),
        Command(name: "dump", operands: "", help: "print an unmounted pool's metadata as text", count: 1...1, run: DumpCommands.dump),
        Command(
            name: "restore", operands: "FILE", help: "give a pool the metadata of a dump; its data must be where it was",
            options: [.flag("force", "replace the metadata it has"), dryRun, json], count: 2...2, kinds: [.file], run: DumpCommands.restore),
    ]

    static let otherCommands: [Command] = [
        Command(
            name: "serve", operands: "", help: "serve a pool over NBD without a mount; ends at SIGTERM",
            options: [
                .taking("ADDRESS", "nbd", "unix:PATH, HOST:PORT or a URI (default: unix:/run/volfs/NAME/nbd.sock)"),
                .taking("DIR", "tls", "encrypt, with the certificates or keys in DIR"),
                .flag("insecure", "allow an address that other machines reach without TLS"),
                .flag("read-only", letter: "r", "write nothing"),
            ], count: 1...1, run: ServeCommand.run),
        Command(
            name: "completion", operands: "SHELL", help: "print completions for bash, zsh or fish", count: 1...1, takesPool: false,
            kinds: [.words(["bash", "zsh", "fish"])], run: CompletionCommand.run),
        Command(name: "version", operands: "", help: "print versions", options: [json], count: 0...0, takesPool: false, run: Version.run),
        Command(
            name: "help", operands: "[COMMAND]", help: "print this, or about one command", count: 0...1, takesPool: false,
            kinds: [.command], run: HelpCommand.run),
    ]
}
