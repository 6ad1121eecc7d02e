"""Runs all benchmarks that need nothing but the project, one after another, and writes their figures into one table.

Those that need research data or hours are started by hand: ``nucla_poses.py``, ``nucla_views.py`` and
``ablation_synthetic.py``.

    make bench
    python benchmarks/all.py --out runs/benchmarks --only training_step clip_to_label
    python benchmarks/all.py --out runs/benchmarks --table     # of the existing results
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from zoo.shared import command_line
from zoo.shared.errors import UserError

HERE = pathlib.Path(__file__).resolve().parent
# Script -> its arguments besides --json; {data} is a converted SynthADL, {out} the folder of results. Several take
# twice as long with their defaults, and all scripts together must take less than 35 minutes.
SCRIPTS = {
    "inference": ["--batches", "1"],
    "training_step": ["--cases", "16x112x2"],
    "runtimes": [],
    "cost_against_size": ["--axes", "frames", "size", "batch"],
    "clip_to_label": [],
    "shared_computation": ["--frames", "32", "--blocks", "Mixed_5c"],
    "full_size": [],
    "step_time": ["--data", "{data}"],
    "serving": [],
    "onednn": ["--rounds", "1"],
    "pose_inference": [],
    "reader": ["--out", "{out}/clips", "--rounds", "3", "--epochs", "2"],
    "convert": [],
    "render_synthetic": [],
    "dense_trajectories": [],
}
CONVERT = ["-m", "tfrecords.convert", "synthetic", "--subjects", "4", "--repetitions", "1", "--workers", "2"]
TABLE = "benchmarks.md"


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status: 1 if a script failed."""
    parser = command_line.ArgumentParser(prog="all.py", description="All benchmarks that need nothing but the project.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"), metavar="DIR")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS), help="default: all")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table of the existing results")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = [] if arguments.table else run(arguments.only, arguments.out)
    text = table(arguments.out)
    (arguments.out / TABLE).write_text(text, encoding="utf-8")
    print(f"{text}\nwritten to {arguments.out / TABLE}")
    if failed:
        print(f"error: failed, see above: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(scripts: list[str], out: pathlib.Path) -> list[str]:
    """Runs scripts one after another and returns the names of those that failed."""
    data = out / "synthetic"
    missing = "step_time" in scripts and not (data / "manifest.json").exists()
    if missing and subprocess.run([sys.executable, *CONVERT, "--out", str(data)]).returncode:
        raise UserError(f"{data}: SynthADL could not be converted, see above")
    failed = []
    for name in scripts:
        arguments = [argument.format(data=data, out=out) for argument in SCRIPTS[name]]
        print(f"--- {name}", flush=True)
        begin = time.monotonic()
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments, "--json", str(out / f"{name}.json")]
        if subprocess.run(command).returncode:
            failed.append(name)
        print(f"--- {name}: {time.monotonic() - begin:.0f} s", flush=True)
    return failed


def table(out: pathlib.Path) -> str:
    """The results in a folder as a Markdown table: one row per number, named by its dotted keys."""
    lines = ["| benchmark | figure | value |", "|---|---|---|"]
    for name in SCRIPTS:
        path = out / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text(encoding="utf-8"))
            result = {key: value for key, value in result.items() if key not in ("machine", "versions")}
            lines += [f"| {name} | {key} | {value:.4g} |" for key, value in numbers(result)]
    return "\n".join(lines) + "\n"


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Yields ``(dotted keys, number)`` for all numbers in JSON values.

    Example:
        >>> list(numbers({"i3d": {"seconds": 0.5, "way": "a"}, "rounds": [3, 4]}))
        [('i3d.seconds', 0.5), ('rounds.0', 3), ('rounds.1', 4)]
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from numbers(item, f"{path}.{number}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


if __name__ == "__main__":
    sys.exit(command_line.run(main))
