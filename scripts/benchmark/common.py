"""What all parts of the benchmark need: processes and what they use, numbers, messages."""
import os, statistics, subprocess, sys, time

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
