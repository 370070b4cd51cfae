"""What is done to a target: the cases, and fio, which does most of them."""
import json, os
from .common import MIB, GIB, run, processor_seconds, resident_bytes


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
