"""Writes model cards: ``python recipes/model_card.py --run runs/pose_lstm_nucla_seed0 --to docs/models``.

A card describes a method, the figures of its papers, and what was reproduced: by which recipe and commands, from which
seeds and data, on which hardware. Figures of runs are kept in ``results.json`` beside the cards, so that they stay when
the runs are gone; the cards are rendered from that file and the zoo's registry alone. A run that is added again
replaces its earlier figures. Paths of the machine are left out.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from zoo.shared import command_line, files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.run_directory import RunDirectory

RESULTS = "results.json"
SPLIT = "test"  # papers report on it
_PLACES = {"--output": "runs", "--data": "data"}
_INIT = re.compile(r"stages\.\w+\.init=")  # an override that names other runs
# The folders of an absolute path or an address, without its last name; the lookbehind has what may precede a path. A
# folder's name may have spaces, but no word after them begins like an option.
_FOLDERS = re.compile(r"(?:(?<=^)|(?<=[\s=\[,'\":]))(?:[a-z0-9]+://|~?/)(?:[^/\s,'\"\]]+(?: +(?!-)[^/\s,'\"\]]+)*/)*")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="model_card.py", description="Write model cards.")
    added = "evaluated run directories whose figures are added (default: none, render again)"
    parser.add_argument("--run", type=pathlib.Path, nargs="+", default=[], metavar="DIR", help=added)
    parser.add_argument("--to", type=pathlib.Path, required=True, metavar="DIR", help="folder of the cards")
    parser.add_argument("--hardware", metavar="TEXT", help="what the runs were trained on, in words")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    write(arguments.to, runs=arguments.run, hardware=arguments.hardware)
    return 0


def write(folder: str | os.PathLike, runs: Sequence[str | os.PathLike] = (), hardware: str | None = None) -> None:
    """Adds runs to the results and renders all cards.

    Args:
        folder: Folder of the cards and of ``results.json``.
        runs: Run directories that were evaluated on their test split.
        hardware: What they were trained on, in words; default: from their ``environment.json``.

    Raises:
        UserError: A folder is no run, or was not evaluated.
    """
    from recipes import run_directory
    from recipes.reports import cards

    results = read(folder)
    for run in runs:
        for figures in figures_of(run_directory.RunDirectory(run), hardware):
            results["runs"] = [known for known in results["runs"] if _identity(known) != _identity(figures)]
            results["runs"].append(figures)
    results["runs"].sort(key=_identity)
    results["parameters"] = cards.parameters(results["parameters"])
    pages = cards.pages(results)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    files.write_json(pathlib.Path(folder) / RESULTS, results)
    for name, text in pages.items():
        files.write_text(pathlib.Path(folder) / name, text)
    print(f"{len(pages)} pages with the figures of {len(results['runs'])} runs written to {folder}", flush=True)


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """The content of ``results.json``; empty if there is none yet."""
    path = pathlib.Path(folder) / RESULTS
    if not path.is_file():
        return {"parameters": {}, "runs": []}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(results["runs"], list):
            return results
    except (ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{path} is not what this command wrote, restore it or move it away")


def evaluations(run: RunDirectory) -> list[dict[str, Any]]:
    """The content of ``metrics.json`` of a run's evaluations on test splits; evaluations of fused runs are left out."""
    from recipes.reports import tables

    paths = sorted((run.path / "evaluation").glob(f"*-{SPLIT}/metrics.json"))
    found = {path.parent.name: tables.read_metrics(path) for path in paths}
    # The folder of fused runs is named after all of them, and a run may be called anything.
    own = [metrics for name, metrics in found.items() if name == f"{metrics.get('protocol')}-{SPLIT}"]
    trained_on = run.environment["data"]["manifest_sha256"]
    for metrics in own:
        tables.check_current(run, metrics)
        if metrics.get("manifest_sha256", trained_on) != trained_on:
            raise UserError(
                f"{run.path}: evaluation/{metrics['protocol']}-{SPLIT} is of other data than the training's: "
                "evaluate it on those again"
            )
    return own


def figures_of(run: RunDirectory, hardware: str | None = None) -> list[dict[str, Any]]:
    """What is kept of a run: one dictionary for every protocol whose test split it was evaluated on.

    Args:
        run: The :class:`recipes.run_directory.RunDirectory`.
        hardware: In words; default: from ``environment.json``.

    Raises:
        UserError: It was not evaluated on a test split.
    """
    from recipes import config

    found = evaluations(run)
    if not found:
        command = f"python recipes/evaluate.py --run {shlex.quote(str(run.path))}"
        raise UserError(f"{run.path} was not evaluated on its test split: do so with {command}")
    environment, recipe = run.environment, run.recipe
    resolved = {key: value for key, value in recipe.to_dict().items() if key not in config.OF_A_RUN}
    common = {
        "method": recipe.model.name,
        "recipe": recipe.name,
        "dataset": recipe.data.dataset,
        "seed": recipe.seed,
        "run": run.path.resolve().name,
        "train": _train_command(environment["command"], environment.get("changed", {})),
        "resolved": without_folders(resolved),
        "versions": environment["versions"],
        "hardware": hardware or _hardware(environment),
        "manifest_sha256": environment["data"]["manifest_sha256"],
        "log": _log(run.history, recipe),
    }
    kept = ("protocol", "clips", "top1", "mean_class_accuracy", "top5", "abstained", "basis")
    return [{**common, **{key: values[key] for key in kept if key in values}} for values in found]


def without_folders(value: Any, instead: str = "") -> Any:
    """A value of JSON in which absolute paths and addresses are reduced to their last name.

    Args:
        value: The value.
        instead: Prefix of these names; for the runs that ``init`` names, the prefix is ``runs/``.

    Example:
        >>> without_folders({"init": ["/home/ada/i3d", "backbone"], "data": "s3://ours/nucla"})
        {'init': ['runs/i3d', 'backbone'], 'data': 'nucla'}
        >>> without_folders("--data=/data/ada/nucla --output runs/a")
        '--data=nucla --output runs/a'
    """
    if isinstance(value, dict):
        return {key: without_folders(item, "runs/" if key == "init" else instead) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_folders(item, instead) for item in value]
    return _FOLDERS.sub(instead, value) if isinstance(value, str) else value


def _train_command(command: str, changed: Mapping[str, Any]) -> str:
    """The command as one types it in the project's folder, which has runs in runs/ and datasets in data/.

    Args:
        command: The command that began the training; ``adl train ...`` is possible too.
        changed: What later commands changed: key of the recipe -> value.
    """
    _, *arguments = shlex.split(command)
    if arguments[:1] == ["train"]:
        del arguments[0]
    if changed:
        arguments += ["--set", *(f"{key}={json.dumps(value)}" for key, value in changed.items())]
    shown = [without_folders(argument, "runs/" if _INIT.match(argument) else "") for argument in arguments]
    for number, option in enumerate(arguments[:-1], 1):
        if option in _PLACES and shown[number] != arguments[number]:
            shown[number] = f"{_PLACES[option]}/{shown[number]}"
    return shlex.join(["python", "recipes/train.py", *shown])


def _hardware(environment: dict[str, Any]) -> str:
    """Operating system, processor and devices, without the kernel's or the machine's name."""
    system = environment["platform"].partition("-")[0]
    processor = next((name for name in ("x86_64", "aarch64", "arm64") if name in environment["platform"]), "processor")
    kinds = [device.rpartition("device:")[2].partition(":")[0] for device in environment["devices"]]
    devices = " and ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
    return f"{system}, {processor}, {environment['processor_cores']} cores; trained on {devices}"


def _log(rows: list[dict[str, Any]], recipe: Recipe) -> list[dict[str, Any]]:
    """The extract of a training's log: the best epoch of every stage, by what the stage monitors."""
    from recipes.trainers import history

    log = []
    for stage in recipe.stages:
        epochs = [row for row in rows if row["stage"] == stage.name]
        if not epochs:
            continue
        best = epochs[history.best_epoch(epochs, stage.monitor) - 1]
        kept = ("loss", "accuracy", "val_loss", "val_accuracy")
        log.append(
            {
                "stage": stage.name,
                "epochs": len(epochs),
                "best_epoch": int(best["epoch"]),
                **{key: round(best[key], 4) for key in kept},
                "seconds": round(sum(row["seconds"] for row in epochs)),
            }
        )
    return log


def _identity(figures: dict[str, Any]) -> tuple:
    """Figures with the same identity are of one training, whatever its folder; the later replace the earlier."""
    keys = ("method", "dataset", "protocol", "recipe", "seed", "manifest_sha256")
    return (*(figures[key] for key in keys), json.dumps(figures["resolved"], sort_keys=True))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
