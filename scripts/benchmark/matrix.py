"""Every case on every target, in turns."""
import contextlib, itertools, os, subprocess, time
from .common import GIB, Unsupported, run, say, scheduled_seconds
from .targets import StorageDaemon
from .cases import Fio, Measurement
from .latency import fill


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
