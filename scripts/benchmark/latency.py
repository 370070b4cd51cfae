"""How long snapshots, clones, deletes, opening and recovery take, and what they cost others."""
import contextlib, mmap, os, random, subprocess, threading, time
from .common import MIB, GIB, run, say, median, percentile, wait_until, resident_bytes, written_by
from .targets import Volfs
from .cases import DIRECT, WRITE, random_4k, Fio


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
