internal import BlockStorage
internal import Glibc
internal import LinuxIO

/// `volfs umount`: unlike umount(8), returns when the daemon has stored everything and released the pool.
enum UnmountCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let path = Path.absolute(arguments.operands[0])
        let table = MountTable()
        guard let mount = table.mount(atOrOf: path) else {
            throw Failure(.notFound, path, "is not mounted, and nothing of volfs is mounted there", errno: EINVAL)
        }
        let isLazy = arguments.has("lazy")
        let seconds = try wait(arguments)
        if !isLazy, let users = stillOpen(mount), !users.isEmpty {
            throw Failure(.busy, mount.mountpoint, "is in use: \(users.joined(separator: "; ")); close them, or use --lazy", errno: EBUSY)
        }
        // Who holds the pool until everything is stored.
        let daemon = FileDevice.lockHolder(of: mount.source)
        try unmount(mount.mountpoint, isLazy)
        if isLazy { return 0 }
        for attempt in 0...seconds * 20 {
            if attempt > 0 { pause(milliseconds: 50) }
            if daemon == 0 || FileDevice.lockHolder(of: mount.source) != daemon { return 0 }
        }
        let holder = Failure.holder(daemon)
        throw Failure(.busy, mount.source, "unmounted, but \(holder) still stores changes; wait for it", errno: EBUSY)
    }

    /// Who has something open. close(2) returns before the daemon hears of it, so for two seconds that is not taken for an
    /// answer.
    private static func stillOpen(_ mount: MountTable.Mount) -> [String]? {
        for _ in 0..<40 {
            guard let users = try? ControlledPool(mountpoint: mount.mountpoint).users(), !users.isEmpty else { return nil }
            pause(milliseconds: 50)
        }
        return try? ControlledPool(mountpoint: mount.mountpoint).users()
    }

    private static func wait(_ arguments: Arguments) throws(Failure) -> Int {
        guard let text = arguments["wait"] else { return 60 }
        guard let seconds = Int(text), (0...86_400).contains(seconds) else { throw .usage("--wait \(text)", "needs seconds, 0 to 86400") }
        return seconds
    }

    private static func unmount(_ mountpoint: String, _ isLazy: Bool) throws(Failure) {
        if umount2(mountpoint, isLazy ? Int32(MNT_DETACH) : 0) == 0 { return }
        let number = errno
        if number == EPERM && Spawn.run(["fusermount3", isLazy ? "-uz" : "-u", mountpoint]) == 0 { return }
        let why = number == EBUSY ? "is in use: a shell's directory, or an open file; close it, or use --lazy" : String(cString: strerror(number))
        throw Failure(errno: number, object: mountpoint, reason: why)
    }
}
