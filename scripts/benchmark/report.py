"""Tables of medians, in Markdown."""
import io, itertools, os, platform, time
from .common import GIB, median
from .latency import ALONE, BESIDE, RECOVERY, MAPPED, VERBS


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
