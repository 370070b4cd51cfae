"""What is measured: each target makes a file, its snapshots and its clones in the way of its kind."""
import json, os, signal
from .common import MIB, GIB, Unsupported, run, wait_until, mount_points, Server, note_process


class Target:
    """A directory of volumes. `volume` makes one, all holes, and gives the path that clients open."""
    # How loop devices are attached to volumes.
    loop_options = ["--direct-io=on"]

    def __init__(self, name, context):
        self.name, self.context = name, context
        self.home = f"{context.work}/{name}"
        self.root = f"{self.home}/files"

    def start(self):
        os.makedirs(self.root)

    def stop(self):
        pass

    def path(self, name):
        return f"{self.root}/{name}"

    def volume(self, name, size):
        with open(self.path(name), "xb") as file:
            file.truncate(size)
        return self.path(name)

    def delete(self, name):
        os.unlink(self.path(name))

    def snapshot(self, name, snapshot):
        """Makes it, and gives the path at which it can be read."""
        raise Unsupported

    def delete_snapshot(self, name, snapshot):
        raise Unsupported

    def clone(self, name, snapshot, clone):
        raise Unsupported

    def processes(self):
        return []

    def host_files(self):
        """Files whose cached pages a cold read must not find, beside the client's own."""
        return []

    def allocated(self):
        """Bytes taken from what the target stores in, metadata too."""
        return sum(os.stat(entry.path).st_blocks * 512 for entry in os.scandir(self.root))

    def settle(self):
        """Writes everything back, so that neither time nor space of one case is charged to the next."""
        run("sync", "--file-system", self.root)

    def cool(self, path):
        for name in [path] + self.host_files():
            descriptor = os.open(name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)

    def warm(self, path):
        """Reads all of it through the target, so that the caches hold it."""
        with open(path, "rb", buffering=0) as file:
            while file.read(MIB):
                pass


class Passthrough(Target):
    """cache=never: every request of every client reaches the server, as with volumes of volfs; with the default a
    buffered client would be served by the kernel, and nothing of FUSE be measured. To clients that open with O_DIRECT,
    as those of nearly all cases, it is the same. Threads and descriptors are as the example has them."""

    def __init__(self, name, context, program):
        super().__init__(name, context)
        self.program = f"{context.work}/passthrough/{program}"

    def start(self):
        super().start()
        self.mountpoint = f"{self.home}/mount"
        os.makedirs(self.mountpoint)
        self.server = Server(self.context.work, [self.program, "-f", "-o", f"source={self.root},cache=never",
                                                 self.mountpoint])
        wait_until(lambda: self.mountpoint in mount_points(), "mount of passthrough_ll")

    def stop(self):
        run("umount", self.mountpoint)
        self.server.stop()

    def volume(self, name, size):
        super().volume(name, size)
        return self.served(name)

    def served(self, name):
        return f"{self.mountpoint}/{name}"

    def processes(self):
        return [self.server.process.pid]

    def host_files(self):
        return [entry.path for entry in os.scandir(self.root)]


class StorageDaemon(Target):
    """A process for each export, as an image is opened by one only. The cache is the default one, the host's.
    Loop devices are attached without direct I/O: with it e2fsck finds a new ext4 on version 7.2 damaged."""
    loop_options = []

    def __init__(self, name, context, form):
        super().__init__(name, context)
        self.form, self.servers = form, {}

    def image(self, name):
        return f"{self.root}/{name}.{self.form}"

    def export(self, name):
        mountpoint = f"{self.home}/{name}"
        open(mountpoint, "w").close()
        driver = f"driver={self.form},file=file,node-name=disk,discard=unmap"
        self.servers[name] = Server(self.context.work, [
            "qemu-storage-daemon", "--blockdev", f"driver=file,filename={self.image(name)},node-name=file,discard=unmap",
            "--blockdev", driver, "--export", f"type=fuse,id=export,node-name=disk,mountpoint={mountpoint},writable=on"])
        wait_until(lambda: mountpoint in mount_points(), "export of qemu-storage-daemon")
        return mountpoint

    def retract(self, name):
        self.servers.pop(name).stop()
        os.unlink(f"{self.home}/{name}")

    def volume(self, name, size):
        run("qemu-img", "create", "-q", "-f", self.form, self.image(name), size)
        return self.export(name)

    def delete(self, name):
        self.retract(name)
        os.unlink(self.image(name))

    def snapshot(self, name, snapshot):
        """The image becomes the snapshot, and the volume an overlay of it; what that would take a running daemon is not
        measured here. Nothing can read the snapshot until the volume is gone."""
        if self.form != "qcow2": raise Unsupported
        self.retract(name)
        base = f"{self.root}/{name}-{snapshot}.qcow2"
        os.rename(self.image(name), base)
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", self.image(name))
        self.export(name)

    def delete_snapshot(self, name, snapshot):
        """Puts the volume back to it: the overlay is dropped, as to merge it would take long and is not what is measured."""
        self.retract(name)
        os.rename(f"{self.root}/{name}-{snapshot}.qcow2", self.image(name))
        self.export(name)

    def clone(self, name, snapshot, clone):
        run("qemu-img", "create", "-q", "-f", "qcow2", "-b", f"{self.root}/{name}-{snapshot}.qcow2", "-F", "qcow2",
            self.image(clone))
        return self.export(clone)

    def stop(self):
        for name in list(self.servers): self.retract(name)

    def processes(self):
        return [server.process.pid for server in self.servers.values()]

    def host_files(self):
        return [entry.path for entry in os.scandir(self.root)]


class KernelFilesystem(Target):
    """On a loop device that reads and writes its file without the host's cache, as a disk would be."""
    def __init__(self, name, context, make):
        super().__init__(name, context)
        self.make = make

    def start(self):
        super().start()
        backing = f"{self.home}/disk"
        with open(backing, "xb") as file: file.truncate(max(24 * self.context.size, 8 * GIB))
        self.loop = run("losetup", "--find", "--show", "--direct-io=on", backing).strip()
        run(*self.make, self.loop)
        run("mount", "-o", "discard", self.loop, self.root)

    def stop(self):
        run("umount", self.root)
        run("losetup", "--detach", self.loop)

    def snapshot(self, name, snapshot):
        run("cp", "--reflink=always", self.path(name), self.path(f"{name}@{snapshot}"))
        return self.path(f"{name}@{snapshot}")

    def delete_snapshot(self, name, snapshot):
        self.delete(f"{name}@{snapshot}")

    def clone(self, name, snapshot, clone):
        run("cp", "--reflink=always", self.path(f"{name}@{snapshot}"), self.path(clone))
        return self.path(clone)

    def allocated(self):
        status = os.statvfs(self.root)
        return (status.f_blocks - status.f_bfree) * status.f_frsize


class Volfs(Target):
    def __init__(self, name, context, options=(), size=None):
        super().__init__(name, context)
        self.pool, self.options, self.size = f"{self.home}/data.pool", options, size

    def start(self):
        os.makedirs(self.root)
        run(self.context.volfs, "create", self.pool, "--size", self.size or max(24 * self.context.size, 8 * GIB))
        self.mount()

    def mount(self):
        run(self.context.volfs, self.pool, self.root, *self.options)
        self.process = int(self.status()["pid"])
        note_process(self.context.work, self.process)

    def stop(self):
        run(self.context.volfs, "umount", self.root)

    def kill(self):
        os.kill(self.process, signal.SIGKILL)
        run("umount", "--lazy", self.root)

    def status(self):
        with open(f"{self.root}/.ctl/stats.json") as file: return json.load(file)

    def snapshot(self, name, snapshot):
        os.mkdir(f"{self.root}/.ctl/snap/{name}/{snapshot}")
        return self.path(f"{name}@{snapshot}")

    def delete_snapshot(self, name, snapshot):
        os.rmdir(f"{self.root}/.ctl/snap/{name}/{snapshot}")

    def clone(self, name, snapshot, clone):
        os.symlink(f"{name}@{snapshot}", f"{self.root}/.ctl/clone/{clone}")
        return self.path(clone)

    def processes(self):
        return [self.process]

    def host_files(self):
        return [self.pool]

    def allocated(self):
        return int(self.status()["allocated"])

    def is_reaped(self):
        status = self.status()
        return int(status["hidden"]) == int(status["waiting"])

    def settle(self):
        wait_until(self.is_reaped, "freeing what was deleted", 60)
        descriptor = os.open(self.pool, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_targets(context, names):
    known = {
        "raw": lambda: Target("raw", context),
        "pt": lambda: Passthrough("pt", context, "direct"),
        "pt-cached": lambda: Passthrough("pt-cached", context, "cached"),
        "qsd-raw": lambda: StorageDaemon("qsd-raw", context, "raw"),
        "qcow2": lambda: StorageDaemon("qcow2", context, "qcow2"),
        "btrfs": lambda: KernelFilesystem("btrfs", context, ["mkfs.btrfs", "--quiet"]),
        "xfs": lambda: KernelFilesystem("xfs", context, ["mkfs.xfs", "-q", "-m", "reflink=1"]),
        "volfs": lambda: Volfs("volfs", context),
    }
    return [known[name]() for name in known if name in names]
