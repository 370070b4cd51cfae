"""The logic of scripts/bench, which sets up what this needs and cleans up after it. Standard library only."""
import argparse, io, json, os, random, re, signal, sys, tarfile, time
from .common import KIB, MIB, say
from .targets import make_targets
from .cases import CASES
from .matrix import Matrix
from .nbd import QemuNBD, Nbdkit, VolfsNBD, NBDMatrix
from .latency import Latencies
from .report import Report, medians, machine


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
