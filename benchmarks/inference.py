"""How fast are I3D and VPN, compared with the same networks in PyTorch, ONNX Runtime and OpenVINO, and the machine?

Every framework has a process of its own, which stays alive and sleeps between turns. Contenders are timed in turn, in
another order every round, and their medians compared. First every contender's probabilities are compared with those of
the Keras model. I3D's GFLOP/s are compared with those of a plain product of two matrices in the same precision, the
fastest of NumPy, TensorFlow and PyTorch.

    python benchmarks/inference.py                        # 10 minutes on 2 cores
    python benchmarks/inference.py --models i3d --sizes 64x224 --batches 1 --precisions float32 --repetitions 9
    python benchmarks/inference.py --quick                # small clips one by one, to check that all works

PyTorch, ONNX Runtime and OpenVINO come with `pip install -e '.[bench]'`; what is not installed is skipped.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import pathlib
import platform
import random
import re
import statistics
import sys
import tempfile
import time

if not __package__:  # run as a script: the repository's packages are beside its folder
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from benchmarks.alternatives import runtimes
from benchmarks.alternatives.cases import Case
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

RESULTS = pathlib.Path(__file__).parent / "results" / "inference.json"
MODELS = ("i3d", "vpn")
PRECISIONS = ("float32", "bfloat16")
SIZES = ("64x224", "16x112")
BATCHES = (1, 4)
# Largest allowed differences of probabilities; bfloat16 has a mantissa of 8 bits.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
PAUSE = 0.05  # seconds between turns, until thread pools sleep
OWN = ("tensorflow", "tensorflow_inter_op_1")


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(
        prog="inference.py", description="Speed of inference compared with other frameworks."
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--sizes", nargs="+", type=_size, default=[_size(text) for text in SIZES], metavar="TxS")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, metavar="B")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--repetitions", type=int, default=5, help="rounds that are timed (default: 5)")
    parser.add_argument("--quick", action="store_true", help="clips of 16x112x112 one by one")
    parser.add_argument("--all", action="store_true", help="VPN in batches too, and settings known to gain nothing")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help=f"default: {RESULTS.name} in results")
    arguments = parser.parse_args(argv)
    if min(arguments.repetitions, *arguments.batches) < 1:
        raise UserError("--repetitions and --batches must be whole numbers from 1")
    sizes, batches = ([_size("16x112")], [1]) if arguments.quick else (arguments.sizes, arguments.batches)
    start = time.perf_counter()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        processes, missing, versions = _started(stack)
        peaks = {precision: _peak(processes, precision) for precision in arguments.precisions}
        found = {
            "machine": {"processor": _processor(), "cores": runtimes.CORES},
            "versions": {"python": platform.python_version(), **versions},
            "not_installed": missing,
            "repetitions": arguments.repetitions,
            "cases": [],
        }
        path = arguments.json or (None if arguments.quick else RESULTS)
        for model, (frames, size), batch in itertools.product(arguments.models, sizes, batches):
            if model == "vpn" and batch != batches[0] and not arguments.all:
                continue  # nearly all of VPN's time is I3D's
            for precision in arguments.precisions:
                case = Case(model, frames, size, batch, precision, scratch)
                found["cases"].append(compare(case, processes, arguments.repetitions, arguments.all, peaks[precision]))
                _print(found["cases"][-1])
                if path:  # after every case, so that none is lost
                    path.parent.mkdir(parents=True, exist_ok=True)
                    files.write_json(path, _with_earlier(found, path))
    print(f"\n{time.perf_counter() - start:.0f} seconds")
    return 0


def _with_earlier(found, path):
    """The results, and those of other cases in a file of the same machine, versions and repetitions."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if any(earlier.get(key) != value for key, value in found.items() if key != "cases"):
        return found

    def key(case):
        return [case[field.name] for field in dataclasses.fields(Case) if field.name != "folder"]

    new = [key(case) for case in found["cases"]]
    kept = [case for case in earlier["cases"] if key(case) not in new]
    return {**found, "cases": [*kept, *found["cases"]]}


def _size(text):
    """``(frames, size)`` of a clip, for ``argparse``."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected FRAMESxPIXELS, such as 64x224")
    return int(match[1]), int(match[2])


def _processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _started(stack):
    """``(processes, what is not installed, versions)`` of all frameworks; the processes end with the stack."""
    processes, missing, versions = {}, {}, {}
    for name in runtimes.RUNTIMES:
        process = runtimes.Process(name)
        stack.callback(process.end)
        if process.missing:
            missing[name] = process.missing
            print(f"{name}: not installed ({process.missing})")
        else:
            processes[name] = process
            versions.update(process.call("versions"))
    return processes, missing, versions


def _peak(processes, precision):
    """GFLOP/s of a product of matrices, by framework; ``best`` is the machine's."""
    found = {
        name: process.call("product", precision=precision, repetitions=5)
        for name, process in processes.items() if name != "tensorflow_inter_op_1"
    }  # fmt: skip
    found = {name: rate for name, rate in found.items() if rate}
    print(f"matrix product in {precision}: " + ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in found.items()))
    return {**found, "best": max(found.values())}


def compare(case, processes, repetitions, tune, peak):
    """Times of all contenders for a case.

    Args:
        case: The case.
        processes: Name of the framework -> :class:`runtimes.Process`.
        repetitions: Rounds that are timed.
        tune: Whether settings that are known to gain nothing are timed too.
        peak: What :func:`_peak` returned for the precision.

    Returns:
        The case, and figures of every contender, named ``framework.variant``.

    Raises:
        UserError: A contender's probabilities differ from the Keras model's.
    """
    described = dataclasses.asdict(case)
    made = processes["tensorflow"].call("make", case=described)
    contenders = {}
    for name, process in processes.items():
        for variant in process.call("variants", case=described, tuning=tune):
            ready = process.call("prepare", case=described, variant=variant)
            if not ready["difference"] <= TOLERANCES[case.precision]:
                raise UserError(f"{name}, {variant}: probabilities differ by {ready['difference']:.2g}, see {case}")
            contenders[name, variant] = ready
    times = {key: [] for key in contenders}
    order = random.Random(0)
    for _ in range(repetitions):
        for name, variant in order.sample(sorted(times), len(times)):
            time.sleep(PAUSE)
            times[name, variant].append(processes[name].call("time", variant=variant))
    for process in processes.values():
        process.call("release")
    flop = 2 * made["macs"] * case.batch
    figures = {}
    for (name, variant), seconds in times.items():
        median = statistics.median(seconds)
        figures[f"{name}.{variant}"] = {
            "median_s": median,
            "least_s": min(seconds),
            "most_s": max(seconds),
            "gflops": flop / median / 1e9,
            "share_of_peak": flop / median / 1e9 / peak["best"],
            **contenders[name, variant],
        }
    own, others = ([key for key in figures if (key.partition(".")[0] in OWN) == ours] for ours in (True, False))

    def fastest(names):
        return min(names, key=lambda name: figures[name]["median_s"], default=None)

    found = {key: value for key, value in described.items() if key != "folder"}
    found.update(
        made,
        matrix_product_gflops=peak,
        contenders=figures,
        fastest_own=fastest(own),
        fastest_alternative=fastest(others),
    )
    if others:
        found["speed_ratio"] = figures[fastest(others)]["median_s"] / figures[fastest(own)]["median_s"]
    return found


def _print(case):
    clip = f"{case['frames']}x{case['size']}x{case['size']}"
    print(f"\n{case['model']}, {case['batch']} x {clip}, {case['precision']}, {case['macs'] / 1e9:.1f} GMACs a clip")
    for name, row in sorted(case["contenders"].items(), key=lambda item: item[1]["median_s"]):
        print(
            f"  {name:32} {1000 * row['median_s']:8.1f} ms ({1000 * row['least_s']:.1f} - {1000 * row['most_s']:.1f}) "
            f"{row['gflops']:6.0f} GFLOP/s {row['share_of_peak']:4.0%} of peak, difference {row['difference']:.1g}"
        )
    if "speed_ratio" in case:
        print(f"  {case['fastest_own']} is {case['speed_ratio']:.2f} x as fast as {case['fastest_alternative']}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(command_line.run(main))
