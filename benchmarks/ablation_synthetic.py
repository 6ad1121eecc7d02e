"""Do the methods' parts help, and in the papers' order? Ablations on SynthADL, in some two hours on a laptop.

Every row is a method with one option changed. The rows of a seed start from the same models, as in the papers: an I3D
(one per body part), and a pose LSTM, each trained alone. Then each row is trained for the same number of epochs; the
row of I3D too, so that no row has seen more clips of the full body. Every training is a recipe, run and
evaluated by the commands a user runs, on people it has not seen. Seeds differ in weights, order and augmentation; the
clips are the same.

    python benchmarks/ablation_synthetic.py --out ablation

It can be stopped at any moment and goes on when it is started again; what has ended is not repeated. At any time

    python benchmarks/ablation_synthetic.py --out ablation --report

writes ``results.json``, ``table.md`` and ``accuracies.png`` of the trainings that have ended so far.
"""

import csv
import dataclasses
import json
import pathlib
import statistics
import subprocess
import sys

import yaml

from tfrecords.datasets.synthetic import CONFUSABLE
from zoo import registry
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

METRICS = pathlib.Path("evaluation", "cs-test", "metrics.json")
ROOT = pathlib.Path(__file__).resolve().parents[1]
CONVERSION = ("--subjects", "20", "--repetitions", "4", "--frames", "32", "--size", "72")
PARTS = ("full_body", "left_hand", "right_hand")
SMALL = {"width": 0.125, "lstm_units": 128}  # options, for the models that have them
DATA = {
    "dataset": "synthetic",
    "protocol": "cs",
    "frames": 16,
    "stride": 2,
    "size": 64,
    "pose_steps": 10,
    "augment": {"crop": True, "flip": True, "rotation": 30, "scale": 0.1, "noise": 0.02},
    "cache": True,
}


@dataclasses.dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        model: Model and options.
        epochs: Number of epochs.
        learning_rate: Of Adam, at the start of half a cosine.
        parts: Body parts that are read.
        init: Names of the :data:`STARTS` that it starts from.
    """

    model: dict
    epochs: int = 5
    learning_rate: float = 1e-3
    parts: tuple = ("full_body",)
    init: tuple = ("i3d", "pose")


def _tower(part):
    model = {"name": "pi3d", "parts": [part], "attention": False}
    return Training(model, epochs=8, learning_rate=2e-3, parts=(part,), init=())


STARTS = {
    "i3d": Training({"name": "i3d"}, epochs=14, learning_rate=2e-3, init=()),
    "left_hand": _tower("left_hand"),
    "right_hand": _tower("right_hand"),
    "pose": Training({"name": "pose_lstm"}, epochs=40, learning_rate=1e-3, init=()),
}
_HANDS = ("i3d", "left_hand", "right_hand")
POSE_LSTM = "pose LSTM"
ROWS = {
    POSE_LSTM: STARTS["pose"],
    "I3D": Training({"name": "i3d"}, init=("i3d",)),
    "Separable STA": Training({"name": "separable_sta"}),
    "VPN": Training({"name": "vpn"}, init=("i3d",)),
    "P-I3D": Training({"name": "pi3d"}, init=(*_HANDS, "pose"), parts=PARTS),
    "P-I3D, attention off": Training({"name": "pi3d", "attention": False}, init=_HANDS, parts=PARTS),
    "Separable STA, strategy sa": Training({"name": "separable_sta", "attention": "sa"}),
    "Separable STA, strategy ta": Training({"name": "separable_sta", "attention": "ta"}),
    "Separable STA, strategy joint": Training({"name": "separable_sta", "attention": "joint"}),
    "Separable STA, strategy none": Training({"name": "separable_sta", "attention": "none"}, init=("i3d",)),
    "VPN, pose backbone lstm": Training({"name": "vpn", "pose_backbone": "lstm"}),
    "VPN, coupler off": Training({"name": "vpn", "coupler": False}, init=("i3d",)),
    "VPN, attention spatial": Training({"name": "vpn", "attention": "spatial"}, init=("i3d",)),
    "VPN, embedding none": Training({"name": "vpn", "embedding": "none"}, init=("i3d",)),
}


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="ablation_synthetic.py", description="Ablations on SynthADL.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("ablation"), metavar="DIR", help="its folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="some of the rows only, by name")
    parser.add_argument("--report", action="store_true", help="train nothing, report what is there")
    arguments = parser.parse_args(argv)
    out = arguments.out.resolve()
    rows = arguments.rows or list(ROWS)
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        raise UserError(f"--rows: unknown row {unknown[0]!r}, expected some of {'; '.join(ROWS)}")
    if not arguments.report:
        _convert(out)
        for seed in arguments.seeds:
            for row in rows:
                _run_row(row, seed, out)
    report(out)
    return 0


def _convert(out):
    if (out / "data" / "manifest.json").is_file():
        return
    _command("-m", "tfrecords.convert", "synthetic", "--out", out / "data", *CONVERSION, "--parts", ",".join(PARTS))


def _command(*arguments):
    """Runs one of the project's commands; its own message is the error if it fails."""
    command = [sys.executable, *map(str, arguments)]
    print("$", *command[1:], flush=True)
    result = subprocess.run(command, cwd=ROOT)
    if result.returncode == command_line.INTERRUPTED:
        raise KeyboardInterrupt
    if result.returncode:
        raise UserError(f"{arguments[0]} ended with status {result.returncode}, see above; start again to go on")


def _run_row(name, seed, out):
    """Trains and evaluates a row; before that, trains the models that it starts from."""
    for start in ROWS[name].init:
        _train(f"start-{start}", STARTS[start], seed, out)
    run = _train(name, ROWS[name], seed, out)
    if not (run / METRICS).is_file():
        _command("recipes/evaluate.py", "--run", run)


def _train(name, training, seed, out):
    """Trains, unless it was done before; returns the run directory."""
    run = _run(name, seed, out)
    if (run / "model.keras").is_file():
        return run
    recipe = out / "recipes" / f"{run.name}.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(yaml.safe_dump(_recipe(training, seed, out), sort_keys=False), encoding="utf-8")
    _command("recipes/train.py", "--recipe", recipe, "--data", out / "data", "--output", run, "--resume")
    return run


def _run(name, seed, out):
    name = "start-pose" if name == POSE_LSTM else name  # the same training
    return out / "runs" / f"{name.lower().replace(', ', '-').replace(' ', '_')}-seed{seed}"


def _recipe(training, seed, out):
    """YAML values of a training's recipe."""
    name = training.model["name"]
    small = {option: value for option, value in SMALL.items() if option in registry.options(name)}
    stage = {
        "name": "training",
        "init": [str(_run(f"start-{start}", seed, out) / "model.keras") for start in training.init],
        "epochs": training.epochs,
        "optimizer": {"name": "adam", "learning_rate": training.learning_rate, "clipnorm": 1.0},
        "schedule": {"name": "cosine"},
    }
    return {
        "model": {**training.model, **small},
        "data": {**DATA, "parts": list(training.parts)},
        "stages": [stage],
        "batch": 32,
        "seed": seed,
    }


# ------------------------------------------------------------------------------------------------------- the report


def report(out):
    """Writes and prints the results so far: accuracies of the seeds, their mean and spread, per kind of twins.

    Results of earlier runs in ``results.json`` stay, so that seeds can be added after earlier trainings were removed.
    """
    path = out / "results.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    results = {name: known[name] for name in ROWS if name in known}
    for name in ROWS:
        for seed_run in sorted((out / "runs").glob(f"{_run(name, '*', out).name}")):
            if (seed_run / METRICS).is_file():
                seed = seed_run.name.rpartition("seed")[2]
                results.setdefault(name, {})[seed] = _accuracies(seed_run)
    if not results:
        raise UserError(f"{out}: no row has ended yet, run without --report first")
    results = {name: results[name] for name in ROWS if name in results}
    table = _table(results)
    files.write_text(path, json.dumps(results, indent=1) + "\n")
    files.write_text(out / "table.md", table)
    _plot(results, out / "accuracies.png")
    print(table, end="")


def _accuracies(run):
    """Accuracy of a run on all test clips, and on those of each kind of twins."""
    with open(run / METRICS.with_name("per_class.csv"), encoding="utf-8", newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    kinds = {"all": list(rows)}
    kinds.update({kind: [name for pair in pairs for name in pair] for kind, pairs in CONFUSABLE.items()})
    return {
        kind: sum(int(rows[name]["correct"]) for name in names) / sum(int(rows[name]["clips"]) for name in names)
        for kind, names in kinds.items()
    }


def _mean_and_spread(values):
    """Mean, and standard deviation of the sample where there are two or more values, in percent."""
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def _table(results):
    kinds = ["all", *CONFUSABLE]
    lines = [
        "| method | seeds | all classes | " + " | ".join(f"{kind} twins" for kind in CONFUSABLE) + " |",
        "|---|---|" + "---|" * len(kinds),
    ]
    for name, seeds in results.items():
        cells = [_mean_and_spread([accuracies[kind] for accuracies in seeds.values()]) for kind in kinds]
        lines.append(f"| {name} | {len(seeds)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _plot(results, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((8, 1 + 0.35 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, seeds in enumerate(results.values()):
        values = [100 * accuracies["all"] for accuracies in seeds.values()]
        axes.barh(row, statistics.mean(values), color="tab:blue", alpha=0.4)
        axes.plot(values, [row] * len(values), "o", color="tab:blue", markersize=4)
    axes.set_yticks(range(len(results)), results)
    axes.invert_yaxis()
    axes.set_xlabel("top-1 accuracy on SynthADL, unseen people, %: bars are means, dots seeds")
    axes.grid(axis="x", alpha=0.3)
    with files.whole_file(path) as partial:
        figure.savefig(partial, dpi=110)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
