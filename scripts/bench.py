"""The logic of scripts/bench, which sets up what this needs and cleans up after it. Standard library only."""
import argparse, contextlib, io, itertools, json, mmap, os, platform, random, re, signal, statistics, subprocess, sys
import tarfile, threading, time

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
TICKS = os.sysconf("SC_CLK_TCK")


class Unsupported(Exception):
    """The target cannot do what the case wants."""


def run(*words, timeout=120, **more):
    return subprocess.run([str(word) for word in words], timeout=timeout, check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more).stdout


def say(text):
    print(text, file=sys.stderr, flush=True)


def median(values):
    return statistics.median(values) if values else None


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def wait_until(condition, what, seconds=20):
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


def mount_points():
    with open("/proc/self/mounts") as file:
        return {line.split()[1].encode().decode("unicode_escape") for line in file}


# ---------------------------------------------------------------------------------------------------------------------
# Processes

class Server:
    """A process that serves a target. Its number is noted, so that the caller of this program can end it."""

    def __init__(self, work, words):
        self.log = open(f"{work}/servers.log", "ab")
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        note_process(work, self.process.pid)

    def stop(self):
        """Asks it to end, and waits; a FUSE server unmounts as it ends."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        self.log.close()


def note_process(work, number):
    with open(f"{work}/processes", "a") as file:
        file.write(f"{number}\n")


def processor_seconds(processes):
    """User and system time, of threads that have ended too."""
    total = 0
    for number in processes:
        with open(f"/proc/{number}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def scheduled_seconds(processes):
    """The same to the nanosecond, of the threads that there are."""
    total = 0
    for number in processes:
        for thread in os.listdir(f"/proc/{number}/task"):
            with open(f"/proc/{number}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def resident_bytes(processes):
    total = 0
    for number in processes:
        with open(f"/proc/{number}/status") as file:
            total += next((int(line.split()[1]) for line in file if line.startswith("VmRSS")), 0) * KIB
    return total


def written_by(process):
    with open(f"/proc/{process}/io") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))


# ---------------------------------------------------------------------------------------------------------------------
# Targets

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


# ---------------------------------------------------------------------------------------------------------------------
# Cases

class Case:
    """What is run. `place` says on what: data, written before; fresh, all holes; snapshot, a view of the data;
    overwrite, the data right after a snapshot of it; clones, eight of one snapshot; filesystem."""

    def __init__(self, name, title, place, pattern="", temperature=None, buffered=False, whole=False):
        self.name, self.title, self.place, self.pattern = name, title, place, pattern
        self.temperature, self.buffered, self.whole = temperature, buffered, whole
        self.unit = "MB/s" if "bs=1M" in pattern else "IOPS"

    def words(self, context):
        words = self.pattern.split()
        if self.buffered:
            words += ["--direct=0", "--ioengine=psync", "--invalidate=0"]
        else:
            words += DIRECT
        # A random run ends when every block was met once: what comes after is another case.
        if not self.whole: words.append(f"--runtime={context.seconds * 1000:.0f}ms")
        return words


DIRECT = ["--direct=1", "--ioengine=libaio"]
READ, WRITE = "--rw=read --bs=1M --iodepth=4", "--rw=write --bs=1M --iodepth=4 --end_fsync=1"


def random_4k(direction, depth, more=""):
    return f"--rw={direction} --bs=4k --iodepth={depth} {more}"


CASES = [
    Case("write-1m-empty", "sequential write 1M, empty, fsync", "fresh", WRITE, whole=True),
    Case("write-1m", "sequential write 1M over data, fsync", "data", WRITE, whole=True),
    Case("read-1m-cold", "sequential read 1M, cold", "data", READ, "cold", whole=True),
    Case("read-1m-warm", "sequential read 1M, warm", "data", READ, "warm", whole=True),
    Case("read-1m-buffered", "… by a buffered client", "data", READ, "warm", buffered=True, whole=True),
    Case("snapshot-read-1m-cold", "snapshot, sequential read 1M, cold", "snapshot", READ, "cold", whole=True),
    Case("snapshot-read-1m-warm", "… warm, by a buffered client", "snapshot", READ, "warm", buffered=True, whole=True),
    Case("read-4k-cold-1", "random read 4K QD1, cold", "data", random_4k("randread", 1), "cold"),
    Case("read-4k-cold-32", "random read 4K QD32, cold", "data", random_4k("randread", 32), "cold"),
    Case("read-4k-warm-1", "random read 4K QD1, warm", "data", random_4k("randread", 1), "warm"),
    Case("read-4k-warm-32", "random read 4K QD32, warm", "data", random_4k("randread", 32), "warm"),
    Case("write-4k-1", "random write 4K QD1", "data", random_4k("randwrite", 1)),
    Case("write-4k-32", "random write 4K QD32", "data", random_4k("randwrite", 32)),
    Case("write-4k-sync", "random write 4K, fdatasync each", "data", random_4k("randwrite", 1, "--fdatasync=1")),
    Case("mix-4k-32", "70 reads to 30 writes 4K QD32", "data", random_4k("randrw", 32, "--rwmixread=70")),
    Case("first-4k-1", "first random writes 4K QD1", "fresh", random_4k("randwrite", 1)),
    Case("first-4k-32", "first random writes 4K QD32", "fresh", random_4k("randwrite", 32)),
    Case("overwrite-4k-1", "after a snapshot, 4K QD1", "overwrite", random_4k("randwrite", 1)),
    Case("overwrite-4k-32", "after a snapshot, 4K QD32", "overwrite", random_4k("randwrite", 32)),
    Case("overwrite-4k-sync", "after a snapshot, 4K, fdatasync each", "overwrite",
         random_4k("randwrite", 1, "--fdatasync=1")),
    Case("clones-4k", "8 writers to 8 clones, 4K QD4 each", "clones", random_4k("randwrite", 4)),
    Case("filesystem", "mkfs.ext4, untar, sync: files/s", "filesystem"),
]


class Fio:
    """One run, all its jobs taken together."""

    def __init__(self, words, paths, size, timeout):
        command = ["fio", "--output-format=json", "--group_reporting=1", "--randrepeat=1", "--thread=1",
                   "--percentile_list=50:99"]
        command += words + ([f"--size={size}"] if size else [])
        for index, path in enumerate(paths):
            command += [f"--name=job{index}", *([f"--filename={path}"] if path else [])]
        text = run(*command, timeout=timeout)
        job = json.loads(text[text.index("{"):])["jobs"][0]
        if job["error"]: raise OSError(job["error"], os.strerror(job["error"]))
        sides = [job[side] for side in ("read", "write") if job[side]["total_ios"]]
        self.bytes = sum(side["io_bytes"] for side in sides)
        self.written = job["write"]["io_bytes"]
        self.operations = sum(side["total_ios"] for side in sides)
        self.seconds = max(side["runtime"] for side in sides) / 1000
        # Where each write is synced, that is what the client waits for; otherwise the side that has more operations.
        synced = job.get("sync", {})
        if synced.get("total_ios", 0) > 1:
            times = synced["lat_ns"]
        else:
            times = max(sides, key=lambda side: side["total_ios"])["clat_ns"]
        self.p50, self.p99 = (times.get("percentile", {}).get(f"{part}.000000", 0) / 1000 for part in (50, 99))


class Measurement:
    """What a case costs on a target: taken before and after, so that only the run between is charged."""

    def __init__(self, target):
        self.target = target
        target.settle()
        self.allocated = target.allocated()
        self.processor = processor_seconds(target.processes())

    def result(self, operations, seconds, count, written, p50, p99):
        target = self.target
        spent = processor_seconds(target.processes()) - self.processor
        resident = resident_bytes(target.processes())
        target.settle()
        return {
            "iops": operations / seconds, "mb_per_s": count / seconds / 1e6, "p50_us": p50, "p99_us": p99,
            "cpu_s_per_gib": spent / (count / GIB) if target.processes() and count else None,
            "allocated_per_written": (target.allocated() - self.allocated) / written if written else None,
            "rss_mib": resident / MIB if target.processes() else None,
        }


class Matrix:
    """Every case on every target by turns, so that what else the machine does meets all of them."""

    def __init__(self, context, targets, cases):
        self.context, self.targets, self.cases = context, targets, cases
        self.samples, self.problems = {}, []
        self.counter = itertools.count(1)
        self.data = {}

    def run(self):
        with contextlib.ExitStack() as stack:
            for target in list(self.targets):
                say(f"starting {target.name}")
                target.start()
                stack.callback(self.stopped, target)
                self.data[target.name] = target.volume("data", self.context.size)
                fill(self.data[target.name], self.context.size)
            for number in range(self.context.rounds):
                for case in self.cases:
                    say(f"round {number + 1} of {self.context.rounds}: {case.name}")
                    # Not always the same one first.
                    for index in range(len(self.targets)):
                        self.attempt(case, self.targets[(index + number) % len(self.targets)])
            for target in self.targets: self.idle(target)

    def stopped(self, target):
        try:
            target.stop()
        except (OSError, subprocess.SubprocessError) as problem:
            self.problems.append(f"{target.name}: stopping: {problem}")

    def attempt(self, case, target):
        try:
            result = getattr(self, "on_" + case.place)(case, target)
        except Unsupported:
            return
        except (OSError, subprocess.SubprocessError, ValueError) as problem:
            detail = (getattr(problem, "stderr", None) or "").strip()[-300:]
            self.problems.append(f"{case.name} on {target.name}: {problem} {detail}")
            say(self.problems[-1])
            return
        self.samples.setdefault((case.name, target.name), []).append(result)

    def idle(self, target):
        if not target.processes(): return
        target.settle()
        time.sleep(1)
        before = scheduled_seconds(target.processes())
        time.sleep(2)
        spent = (scheduled_seconds(target.processes()) - before) / 2
        self.samples[("idle", target.name)] = [{"cpu_ms_per_s": spent * 1000}]

    def measured(self, case, target, paths):
        if case.temperature == "cold": target.cool(paths[0])
        if case.temperature == "warm": target.warm(paths[0])
        measurement = Measurement(target)
        size = self.context.size
        fio = Fio(case.words(self.context), paths, size, 120 + self.context.seconds)
        return measurement.result(fio.operations, fio.seconds, fio.bytes, fio.written, fio.p50, fio.p99)

    def fresh_name(self):
        return f"v{next(self.counter)}"

    # What follows is named by Case.place.

    def on_data(self, case, target):
        return self.measured(case, target, [self.data[target.name]])

    def on_fresh(self, case, target):
        name = self.fresh_name()
        path = target.volume(name, self.context.size)
        try:
            return self.measured(case, target, [path])
        finally:
            target.delete(name)

    def on_snapshot(self, case, target):
        # Without snapshots the file itself stands in: it is the measure.
        if target.name in ("raw", "pt", "pt-cached", "qsd-raw"): return self.measured(case, target, [self.data[target.name]])
        if isinstance(target, StorageDaemon): raise Unsupported
        name = self.fresh_name()
        path = target.snapshot("data", name)
        try:
            return self.measured(case, target, [path])
        finally:
            target.delete_snapshot("data", name)

    def on_overwrite(self, case, target):
        name = self.fresh_name()
        target.snapshot("data", name)
        try:
            return self.measured(case, target, [self.data[target.name]])
        finally:
            target.delete_snapshot("data", name)

    def on_clones(self, case, target):
        name = self.fresh_name()
        target.snapshot("data", name)
        made = []
        try:
            for index in range(8):
                path = target.clone("data", name, f"{name}-clone{index}")
                made.append((f"{name}-clone{index}", path))
            return self.measured(case, target, [path for _, path in made])
        finally:
            for clone, _ in made: target.delete(clone)
            target.delete_snapshot("data", name)

    def on_filesystem(self, case, target):
        name, mountpoint = self.fresh_name(), f"{self.context.work}/loop"
        path = target.volume(name, 2 * GIB)
        os.makedirs(mountpoint, exist_ok=True)
        try:
            measurement = Measurement(target)
            with contextlib.ExitStack() as stack:
                loop = run("losetup", "--find", "--show", *target.loop_options, path).strip()
                stack.callback(run, "losetup", "--detach", loop)
                began = time.monotonic()
                run("mkfs.ext4", "-q", "-F", loop)
                run("mount", loop, mountpoint)
                stack.callback(run, "umount", mountpoint)
                run("tar", "--extract", "--file", self.context.archive, "--directory", mountpoint)
                run("sync", "--file-system", mountpoint)
                seconds = time.monotonic() - began
                count = os.path.getsize(self.context.archive)
                return measurement.result(self.context.files, seconds, count, count, None, None)
        finally:
            # Detaching a loop device ends a little after it was asked for.
            time.sleep(0.2)
            target.delete(name)


# ---------------------------------------------------------------------------------------------------------------------
# NBD

class NBDTarget(Target):
    """Only the data written before; `uri` is what clients open."""

    def __init__(self, name, context):
        super().__init__(name, context)
        self.home += "-nbd"
        self.root = f"{self.home}/files"
        self.socket = f"{self.home}/socket"
        self.uri = f"nbd+unix:///?socket={self.socket}"

    def start(self):
        super().start()
        self.server = Server(self.context.work, self.prepare())
        wait_until(lambda: os.path.exists(self.socket), f"socket of {self.name}")

    def prepare(self):
        """Makes what is served, and gives the words of the server."""
        raise NotImplementedError

    def volume(self, name, size):
        return self.uri

    def stop(self):
        self.server.stop()

    def processes(self):
        return [self.server.process.pid]

    def host_files(self):
        return [entry.path for entry in os.scandir(self.root)]

    def cool(self, path):
        super().cool(self.host_files()[0])

    def warm(self, path):
        Fio(nbd_words(self, READ.split()), [None], None, 120)


class QemuNBD(NBDTarget):
    def prepare(self):
        image = self.path("data.qcow2")
        run("qemu-img", "create", "-q", "-f", "qcow2", image, self.context.size)
        return ["qemu-nbd", "--persistent", f"--socket={self.socket}", "--format=qcow2", "--cache=writeback",
                "--discard=unmap", image]


class Nbdkit(NBDTarget):
    def prepare(self):
        with open(self.path("data"), "xb") as file: file.truncate(self.context.size)
        return ["nbdkit", "--foreground", "--unix", self.socket, "file", self.path("data")]


class VolfsNBD(NBDTarget):
    def __init__(self, name, context):
        super().__init__(name, context)
        self.uri = f"nbd+unix:///data?socket={self.socket}"

    @staticmethod
    def exists(context):
        return subprocess.run([context.volfs, "help", "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=20).returncode == 0

    def prepare(self):
        pool = self.path("data.pool")
        run(self.context.volfs, "create", pool, "--size", max(8 * self.context.size, 8 * GIB))
        run(self.context.volfs, "new", pool, "data", self.context.size)
        return [self.context.volfs, "serve", pool, "--nbd", f"unix:{self.socket}"]


def nbd_words(target, words):
    # fio's engine knows one kind of flush, as NBD does.
    words = [word.replace("--fdatasync", "--fsync") for word in words]
    return [word for word in words if not word.startswith(("--direct", "--ioengine", "--invalidate"))] + [
        "--ioengine=nbd", f"--uri={target.uri}"]


class NBDMatrix(Matrix):
    """The cases that need no more than one device with data on it."""

    def run(self):
        self.cases = [case for case in self.cases if case.place == "data" and not case.buffered]
        with contextlib.ExitStack() as stack:
            for target in self.targets:
                say(f"starting {target.name}")
                target.start()
                stack.callback(self.stopped, target)
                Fio(nbd_words(target, WRITE.split()), [None], None, 300)
            for number in range(self.context.rounds):
                for case in self.cases:
                    say(f"round {number + 1} of {self.context.rounds}: {case.name} by NBD")
                    for index in range(len(self.targets)):
                        self.attempt(case, self.targets[(index + number) % len(self.targets)])
            for target in self.targets: self.idle(target)

    def on_data(self, case, target):
        if case.temperature == "cold": target.cool(None)
        if case.temperature == "warm": target.warm(None)
        measurement = Measurement(target)
        fio = Fio(nbd_words(target, case.words(self.context)), [None], None, 120 + self.context.seconds)
        return measurement.result(fio.operations, fio.seconds, fio.bytes, fio.written, fio.p50, fio.p99)


# ---------------------------------------------------------------------------------------------------------------------
# What fio does not measure

def fill(path, size):
    Fio(WRITE.split() + DIRECT, [path], size, 600)


def write_block(path):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, random.randbytes(4096), 0)
    finally:
        os.close(descriptor)


def timed(body):
    """Milliseconds."""
    began = time.perf_counter()
    body()
    return (time.perf_counter() - began) * 1000


ALONE, BESIDE = "writer 4K QD1 alone, p99", "writer 4K QD1 beside the reaper, p99"
RECOVERY, MAPPED = "open after kill -9 at QD32, longest", "resident, after random writes all over 4 TiB"
VERBS = ["snapshot", "clone", "delete of a clone", "delete of a snapshot"]


class Latencies:
    """Only volfs: rows of what, value, unit; and of the verbs, by place. One pool for each question, so that no answer
    depends on another."""

    def __init__(self, context):
        self.context, self.rows, self.verb_rows, self.problems = context, [], [], []

    def note(self, what, value, unit):
        say(f"{what}: {value:.3f} {unit}")
        self.rows.append({"what": what, "value": value, "unit": unit})

    def run(self):
        for question in (self.verbs, self.reaper, self.recovery, self.memory, self.metadata):
            say(f"latency: {question.__name__}")
            target = Volfs(f"latency-{question.__name__}", self.context, size=self.pool_size(question))
            target.start()
            try:
                question(target)
            except (OSError, subprocess.SubprocessError, ValueError) as problem:
                self.problems.append(f"{question.__name__}: {problem} {getattr(problem, 'stderr', None) or ''}".strip())
                say(self.problems[-1])
            finally:
                with contextlib.suppress(OSError, subprocess.SubprocessError): target.stop()
                os.unlink(target.pool)

    def pool_size(self, question):
        return 4096 * GIB if question == self.memory else 96 * GIB

    def verbs(self, target):
        """Over sizes and counts, with the host's own fdatasync beside them."""
        quick = self.context.quick
        sizes = {"1 MiB": MIB, "1 GiB": GIB}
        sizes |= {"64 MiB": 64 * MIB} if quick else {"16 GiB": 16 * GIB}
        counts = [1, 1000, 10_000] if quick else [1, 1000, 100_000]
        repeats = 40 if quick else 100
        for index, size in enumerate(sizes.values()): fill(target.volume(f"v{index}", size), size)
        # A snapshot of all volumes at one moment is the quick way to many: a hundred at a time.
        others = [f"f{index}" for index in range(100 - len(sizes))]
        for name in others: target.volume(name, MIB)
        names, made, making = [f"v{index}" for index in range(len(sizes))] + others, 0, 0.0
        for count in counts:
            while made < count and count > 1:
                # A snapshot of what has not changed would be the cheapest of all.
                for name in names: write_block(target.path(name))
                making += timed(lambda: os.mkdir(f"{target.root}/.ctl/group/all/snap/g{made}"))
                made += len(names)
            self.time_verbs(target, list(sizes), repeats, max(made, 1))
        self.note(f"snapshot of {len(names)} volumes at one moment", making / (made / len(names)), "ms")
        logical = sum(sizes.values()) * (made // len(names) + 1)
        run(self.context.volfs, "umount", target.root)
        self.note(f"open with {made} snapshots, {logical / (1 << 40):.2g} TiB mapped logically, clean",
                  timed(target.mount), "ms")
        self.note("resident then", resident_bytes(target.processes()) / MIB, "MiB")

    def time_verbs(self, target, titles, repeats, count):
        """By turns over all sizes, and after each turn one fdatasync of the host, which is most of what they cost."""
        times = [{verb: [] for verb in VERBS + ["sync"]} for _ in titles]
        with open(f"{target.home}/sync", "wb", buffering=0) as host:
            host.write(bytes(MIB))
            os.fsync(host)
            for _ in range(repeats):
                for index, row in enumerate(times):
                    name = f"v{index}"
                    write_block(target.path(name))
                    row["snapshot"].append(timed(lambda: target.snapshot(name, "measured")))
                    row["clone"].append(timed(lambda: target.clone(name, "measured", "clone")))
                    row["delete of a clone"].append(timed(lambda: target.delete("clone")))
                    row["delete of a snapshot"].append(timed(lambda: target.delete_snapshot(name, "measured")))
                    os.pwrite(host.fileno(), random.randbytes(4096), 0)
                    row["sync"].append(timed(lambda: os.fdatasync(host)))
        for title, row in zip(titles, times):
            place = {"place": f"{title}, {count} snapshots", "host_sync_ms": median(row["sync"])}
            for verb in VERBS: place[verb] = {"median_ms": median(row[verb]), "p99_ms": percentile(row[verb], 0.99)}
            say(", ".join([place["place"], *(f"{verb} {place[verb]['median_ms']:.2f} ms" for verb in VERBS)]))
            self.verb_rows.append(place)

    def reaper(self, target):
        """A snapshot that alone has a whole volume, in blocks scattered by random overwriting, is deleted under a writer."""
        size = GIB if self.context.quick else 16 * GIB
        path = target.volume("v", size)
        fill(path, size)
        target.snapshot("v", "old")
        Fio(random_4k("randwrite", 32).split() + DIRECT, [path], size, 900)
        target.settle()
        before = target.allocated()
        alone, _ = Writer(path, size).during(lambda: time.sleep(2))
        began = time.monotonic()

        def reap():
            target.delete_snapshot("v", "old")
            wait_until(target.is_reaped, "freeing a snapshot", 300)

        beside, _ = Writer(path, size).during(reap)
        seconds = time.monotonic() - began
        freed = before - target.allocated()
        self.note(f"freeing {size / GIB:g} GiB scattered, beside a writer", seconds, "s")
        self.note("freed by the reaper", freed / GIB / seconds, "GiB/s")
        self.note(ALONE, percentile(alone, 0.99), "ms")
        self.note(BESIDE, percentile(beside, 0.99), "ms")
        self.note("writer 4K QD1 beside the reaper, longest", max(beside), "ms")

    def recovery(self, target):
        """Killed in the middle of a storm of random writes, three times."""
        size = self.context.size * 4
        path, times = target.volume("v", size), []
        fill(path, size)
        for index in range(3):
            storm = subprocess.Popen(["fio", "--name=storm", f"--filename={path}", f"--size={size}", *DIRECT,
                                      *random_4k("randwrite", 32).split(), "--time_based", "--runtime=60",
                                      f"--randseed={index}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                time.sleep(1.5 + index * 0.7)
                target.kill()
            finally:
                storm.kill()
                storm.wait(20)
            times.append(timed(target.mount))
        self.note("open after kill -9 at QD32, median of 3", median(times), "ms")
        self.note(RECOVERY, max(times), "ms")
        run(self.context.volfs, "umount", target.root)
        self.note("open after that, clean", timed(target.mount), "ms")

    def memory(self, target):
        """A sparse pool of 4 TiB. What it takes for its size shows when it is opened. Then some seconds of blocks all over a volume
        as large are written, each in a leaf of its own: that fills the cache of nodes as a mapped volume would, but the map of free
        space has bits only where those blocks and their nodes lie, which is a small part of what 4 TiB in use would need."""
        self.note("resident, pool of 4 TiB, empty", resident_bytes(target.processes()) / MIB, "MiB")
        path = target.volume("v", 4096 * GIB)
        Fio(self.scattered(3), [path], 4095 * GIB, 120)
        self.note(MAPPED, resident_bytes(target.processes()) / MIB, "MiB")
        self.note("cached nodes then", int(target.status()["cached_nodes"]), "")
        run(self.context.volfs, "umount", target.root)
        self.note("open of that", timed(target.mount), "ms")
        self.note("resident, just opened", resident_bytes(target.processes()) / MIB, "MiB")

    def metadata(self, target):
        """Bytes that the daemon made dirty in the pool for each byte written, with the checkpoint that ends it."""
        for size in [1, 4, 16] if self.context.quick else [1, 16, 64]:
            path = target.volume(f"v{size}", size * GIB)
            for title in ("first", "again"):
                target.settle()
                before = written_by(target.process)
                fio = Fio(self.scattered(2) + ["--end_fsync=1"], [path], size * GIB, 120)
                target.snapshot(f"v{size}", "end")
                target.delete_snapshot(f"v{size}", "end")
                target.settle()
                self.note(f"written to the pool for a byte of random 4K over {size} GiB, {title}",
                          (written_by(target.process) - before) / fio.written, "bytes")


    def scattered(self, times):
        """Random 4K writes, so many times as long as a case, without fio's table of blocks already met."""
        return random_4k("randwrite", 32, f"--norandommap --runtime={times * 1000 * self.context.seconds:.0f}ms").split() + DIRECT


class Writer:
    """Random 4K writes one by one, with their latencies in ms, while something else goes on."""

    def __init__(self, path, size):
        self.path, self.size = path, size

    def during(self, body):
        times, stop, problems = [], threading.Event(), []

        def write():
            memory = mmap.mmap(-1, 4096)
            memory.write(random.randbytes(4096))
            descriptor = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
            try:
                while not stop.is_set():
                    offset = random.randrange(self.size // 4096) * 4096
                    times.append(timed(lambda: os.pwrite(descriptor, memory, offset)))
            except OSError as problem:
                problems.append(problem)
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            result = body()
        finally:
            stop.set()
            thread.join(60)
        if problems: raise problems[0]
        return times, result


# ---------------------------------------------------------------------------------------------------------------------
# Tables

class Report:
    def __init__(self, context):
        self.context, self.out = context, io.StringIO()

    def line(self, text=""):
        self.out.write(text + "\n")

    def table(self, heads, rows):
        self.line("| " + " | ".join(heads) + " |")
        self.line("|" + "|".join([" --- "] + [" ---: "] * (len(heads) - 1)) + "|")
        for row in rows: self.line("| " + " | ".join(row) + " |")
        self.line()

    def matrix(self, title, matrix, base, peer):
        names = [target.name for target in matrix.targets]
        cases = [case for case in matrix.cases if any((case.name, name) in matrix.samples for name in names)]
        self.line(f"### {title}\n")
        self.line(f"4K cases in IOPS, 1M cases in MB/s; ours is volfs. Medians of {self.context.rounds} rounds.\n")
        references = [name for name in (base, peer) if name in names and "volfs" in names]
        self.table(["case", *names, *[f"volfs/{name}" for name in references]], [
            [case.title, *[number(rate(matrix, case, name)) for name in names],
             *[ratio(rate(matrix, case, "volfs"), rate(matrix, case, name)) for name in references]] for case in cases])
        self.line(f"### {title}: each case\n")
        self.line("CPU is the server's, in seconds for a GiB; space is bytes allocated for each byte written, after a flush.")
        self.line()
        rows = []
        for case, name in itertools.product(cases, names):
            values = medians(matrix, case.name, name)
            if not values: continue
            own = rate(matrix, case, name)
            rows.append([case.title, name, *[number(values[key]) for key in ("iops", "mb_per_s", "p50_us", "p99_us")],
                         *[number(values[key], 2) for key in ("cpu_s_per_gib", "allocated_per_written")],
                         number(values["rss_mib"]), *[ratio(own, rate(matrix, case, other)) for other in (base, peer)]])
        self.table(["case", "target", "IOPS", "MB/s", "p50 us", "p99 us", "CPU s/GiB", "space", "RSS MiB",
                    f"× {base}", f"× {peer}"], rows)
        idle = [[name, number(values["cpu_ms_per_s"], 2)] for name in names if (values := medians(matrix, "idle", name))]
        if idle: self.table(["idle", "CPU ms/s"], idle)

    def goals(self, matrix):
        rows = []

        def goal(text, value, bound, below=False):
            if value is None: return
            met = value <= bound if below else value >= bound
            rows.append([text, f"{'≤' if below else '≥'} {bound:g}", f"{value:.2f}", "yes" if met else "**no**"])

        rates = {case.name: {target.name: rate(matrix, case, target.name) for target in matrix.targets}
                 for case in matrix.cases}

        def quotient(case, name, other="volfs"):
            ours, theirs = rates.get(case, {}).get(other), rates.get(case, {}).get(name)
            return ours / theirs if ours and theirs else None

        for case, bound in {"read-1m-cold": 1, "read-1m-warm": 1, "write-1m": 1, "write-1m-empty": 1.2,
                            "read-4k-cold-1": 1.2, "read-4k-cold-32": 1, "read-4k-warm-1": 3, "read-4k-warm-32": 1, "write-4k-1": 1.2,
                            "write-4k-32": 1, "write-4k-sync": 0.9, "first-4k-1": 1, "first-4k-32": 1}.items():
            goal(f"{case} against pt", quotient(case, "pt"), bound)
        for case in matrix.cases:
            bound = 1.2 if case.unit == "MB/s" else 1.8
            if case.pattern: goal(f"{case.name} against qcow2", quotient(case.name, "qcow2"), bound)
        for suffix in ("1", "32", "sync"):
            after, before = (rates.get(f"{kind}-4k-{suffix}", {}).get("volfs") for kind in ("overwrite", "write"))
            if after and before: goal(f"overwrite-4k-{suffix} against our own write-4k-{suffix}", after / before, 0.9)
        goal("snapshot-read-1m-warm against raw", quotient("snapshot-read-1m-warm", "raw"), 1)
        for case in ("read-4k-warm-32", "write-4k-32"):
            ours, theirs = (medians(matrix, case, name) for name in ("volfs", "pt"))
            if ours and theirs and theirs["cpu_s_per_gib"]:
                goal(f"CPU of {case} against pt", ours["cpu_s_per_gib"] / theirs["cpu_s_per_gib"], 1.2, below=True)
        if idle := medians(matrix, "idle", "volfs"): goal("CPU when idle, ms/s", idle["cpu_ms_per_s"], 0, below=True)
        if not rows: return
        self.line("### Goals\n")
        self.table(["ratio", "goal", "measured", "met"], rows)

    def latencies(self, latencies):
        rows = latencies.verb_rows
        if rows:
            self.line("### Latency of snapshot, clone and delete\n")
            self.line("Milliseconds, median and p99, with a block written before each; beside them the median of fdatasync\n"
                      "after a block written to a file of the host.\n")
            self.table(["mapped, snapshots", *VERBS, "fdatasync"], [
                [row["place"], *[f"{row[verb]['median_ms']:.2f}, {row[verb]['p99_ms']:.1f}" for verb in VERBS],
                 f"{row['host_sync_ms']:.2f}"] for row in rows])
        self.line("### Reaper, recovery, memory, metadata\n")
        self.table(["what", "measured"], [
            [row["what"], f"{number(row['value'], 0 if row['value'] >= 10 else 2)} {row['unit']}"] for row in latencies.rows])
        values = {row["what"]: row["value"] for row in latencies.rows}
        goals = []
        for verb in VERBS if rows else []:
            syncs = [row[verb]["median_ms"] / row["host_sync_ms"] for row in rows]
            goals.append((f"{verb}: slowest median by fastest, both in fdatasyncs of the same time", max(syncs) / min(syncs), 1.5))
            goals.append((f"{verb}: longest median beyond one fdatasync, ms",
                          max(row[verb]["median_ms"] - row["host_sync_ms"] for row in rows), 2))
        if ALONE in values: goals.append(("p99 beside the reaper by p99 alone", values[BESIDE] / values[ALONE], 2))
        if RECOVERY in values: goals.append((f"{RECOVERY}, s", values[RECOVERY] / 1000, 2))
        # 36 MiB for each TiB, the two caches as they are by default, and 32 MiB.
        if MAPPED in values: goals.append((f"{MAPPED}, MiB", values[MAPPED], 36 * 4 + 256 + 64 + 32))
        self.table(["goal", "at most", "measured", "met"], [
            [text, f"{bound:g}", f"{value:.2f}", "yes" if value <= bound else "**no**"] for text, value, bound in goals])

    def problems(self, problems):
        if not problems: return
        self.line("### Not measured\n")
        for problem in problems: self.line("- " + " ".join(problem.split()))


def rate(matrix, case, name):
    values = medians(matrix, case.name, name)
    return values and values["mb_per_s" if case.unit == "MB/s" else "iops"]


def medians(matrix, case, name):
    samples = matrix.samples.get((case, name))
    if not samples: return None
    return {key: median([sample[key] for sample in samples if sample[key] is not None]) for key in samples[0]}


def number(value, digits=0):
    if value is None: return "–"
    if digits == 0 and value < 10: digits = 1
    return f"{value:.{digits}f}"


def ratio(value, other):
    return f"{value / other:.2f}" if value and other else "–"


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return f"{os.cpu_count()} × {model}, {memory:.0f} GiB, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}"


def make_archive(path, count):
    """Files as a distribution has them: most are small, in directories of a hundred."""
    chance = random.Random(1)
    with tarfile.open(path, "w") as archive:
        for index in range(count):
            member = tarfile.TarInfo(f"d{index // 100}/f{index}")
            member.size = min(int(chance.expovariate(1 / 4096)), 256 * KIB)
            archive.addfile(member, io.BytesIO(chance.randbytes(member.size)))


def arguments():
    parser = argparse.ArgumentParser(description="Called by scripts/bench, which explains the options.")
    for option in ("--work", "--volfs", "--json"): parser.add_argument(option, required=True)
    for option in ("--quick", "--latency", "--nbd", "--no-matrix"): parser.add_argument(option, action="store_true")
    parser.add_argument("--targets")
    parser.add_argument("--cases", default="")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int)
    parser.add_argument("--seconds", type=float)
    context = parser.parse_args()
    context.size = (context.size or (256 if context.quick else 1024)) * MIB
    context.seconds = context.seconds or (0.6 if context.quick else 3)
    everything = ["raw", "pt", "pt-cached", "qsd-raw", "qcow2", "btrfs", "xfs", "volfs"]
    usual = ["raw", "pt", "qcow2", "volfs"] if context.quick else everything
    context.targets = context.targets.split(",") if context.targets else usual
    if unknown := set(context.targets) - set(everything): parser.error(f"no such target: {', '.join(sorted(unknown))}")
    context.files = 4000 if context.quick else 20_000
    context.archive = f"{context.work}/files.tar"
    return context


def main():
    context = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    report, problems, results = Report(context), [], {"machine": machine(), "size": context.size, "rounds": context.rounds,
                                                      "seconds": context.seconds, "quick": context.quick,
                                                      "load_before": os.getloadavg()[0]}
    report.line(f"{results['machine']}, {context.size // MIB} MiB of data, {context.rounds} rounds"
                f"{', quick' if context.quick else ''}. Load average before: {results['load_before']:.1f}.\n")
    cases = [case for case in CASES if re.search(context.cases, case.name)]
    make_archive(context.archive, context.files)

    def kept(matrix):
        return [{"case": case, "target": name, "samples": samples, "median": medians(matrix, case, name)}
                for (case, name), samples in matrix.samples.items()]

    if not context.no_matrix:
        matrix = Matrix(context, make_targets(context, context.targets), cases)
        matrix.run()
        report.matrix("Files", matrix, "pt", "qcow2")
        report.goals(matrix)
        results["matrix"] = kept(matrix)
        problems += matrix.problems
    if context.nbd:
        targets = [QemuNBD("qemu-nbd", context), Nbdkit("nbdkit", context)]
        if VolfsNBD.exists(context): targets.append(VolfsNBD("volfs", context))
        matrix = NBDMatrix(context, targets, cases)
        matrix.run()
        report.matrix("NBD", matrix, "nbdkit", "qemu-nbd")
        results["nbd"] = kept(matrix)
        problems += matrix.problems
    if context.latency:
        latencies = Latencies(context)
        latencies.run()
        report.latencies(latencies)
        results["latency"] = {"verbs": latencies.verb_rows, "others": latencies.rows}
        problems += latencies.problems
    report.problems(problems)
    results["problems"] = problems
    results["wall_seconds"] = time.monotonic() - began
    with open(context.json, "w") as file: json.dump(results, file, indent=1)
    print(report.out.getvalue(), flush=True)
    say(f"{results['wall_seconds']:.0f} s; all numbers are in {context.json}")
    return 1 if problems else 0


if __name__ == "__main__": sys.exit(main())
