"""The same over NBD."""
import contextlib, os, subprocess
from .common import GIB, run, say, wait_until, Server
from .targets import Target
from .cases import READ, WRITE, Fio, Measurement
from .matrix import Matrix


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
