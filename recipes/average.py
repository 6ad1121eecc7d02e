"""Averages the folds of a cross-validation: ``python recipes/average.py runs/pose_lstm_sbu_fold_1 runs/... ...``.

Each run is one recipe trained under one fold (``--recipe pose_lstm_sbu_fold_2``) and evaluated. Papers report the mean
over all folds, and so does this command, with the standard deviation between folds; the folds count equally, however
many clips they have.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import pathlib
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import protocols
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from recipes.reports import segments
    from recipes.run_directory import RunDirectory

METRICS = {"top1": "top-1", "mean_class_accuracy": "mean per class", "top5": "top-5"}
# Further keys in which runs of different folds may differ; a stage may start from another training of its own fold.
_OF_A_FOLD = ("data.protocol", "stages.*.init")
# Stored settings of the classification of whole videos -> the options of evaluate.py that set them.
_SETTINGS = {
    "window": "--window",
    "stride": "--stride",
    "smooth": "--smooth",
    "event": "--event",
    "probability": "--event-probability",
    "share_computation": "--share-computation",
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="average.py", description="Average the folds of a cross-validation.")
    parser.add_argument("runs", type=pathlib.Path, nargs="+", metavar="RUN", help="evaluated run directory of a fold")
    parser.add_argument("--split", choices=protocols.SPLITS, default="test", help="part of the protocol")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    print(average(arguments.runs, arguments.split))
    return 0


def average(paths: Sequence[str | os.PathLike], split: str = "test") -> str:
    """A table of the accuracies of every fold, their mean and their standard deviation.

    Args:
        paths: Run directories, one for each fold, evaluated under the protocol that they were trained under.
        split: The split that they were evaluated on.

    Returns:
        Text.

    Raises:
        UserError: There are fewer than two runs, two runs are of the same fold or of different recipes, the protocols
            are not folds of one cross-validation, a run was not evaluated, or the runs classified whole videos in
            different ways.
    """
    from recipes import run_directory
    from recipes.reports import reported, tables

    runs = [run_directory.RunDirectory(path) for path in paths]
    _check(runs)
    recipe = runs[0].recipe
    dataset, protocol = recipe.data.dataset, recipe.data.protocol
    measured = {run.recipe.data.protocol: tables.stored_metrics(run, run.recipe.data.protocol, split) for run in runs}
    _warn_of_other_data({fold: metrics.get("manifest_sha256") for fold, metrics in measured.items()})
    rows: list[list[Any]] = [
        [fold, metrics["clips"], *(f"{metrics[name]:.1%}" for name in METRICS)] for fold, metrics in measured.items()
    ]
    values = [[metrics[name] for metrics in measured.values()] for name in METRICS]
    rows.append(["mean", "", *(f"{statistics.mean(column):.1%}" for column in values)])
    rows.append(["standard deviation", "", *(f"{statistics.stdev(column):.1%}" for column in values)])
    folds = protocols.folds(dataset, protocol)
    lacking = [fold for fold in folds if fold not in measured]
    count = f"{len(runs)} {'folds' if folds else 'protocols'}"
    if lacking:
        count = f"{len(runs)} of {len(folds)} folds, without {', '.join(lacking)}"
    lines = [
        f"{recipe.model.name}, {dataset} {split}: mean over {count}",
        tables.table(["fold", "clips", *METRICS.values()], rows),
    ]
    unposed = sum(metrics.get("abstained", 0) for metrics in measured.values())
    if unposed:
        lines.append(f"{unposed} clips without a pose count as wrong")
    lines += _of_whole_videos({run: measured[run.recipe.data.protocol].get("untrimmed") for run in runs})
    papers = tables.own_figures(reported.figures(recipe, protocol, split)) if folds else "-"
    if papers != "-":
        lines.append(f"reported by its paper, mean over {len(folds)} folds: {papers}")
    return "\n".join(lines)


def _warn_of_other_data(of: Mapping[str, str | None]) -> None:
    """Warns if folds were evaluated on several conversions; evaluations of early versions do not state theirs."""
    stated = {fold: manifest for fold, manifest in of.items() if manifest}
    first = next(iter(stated), "")
    elsewhere = [fold for fold in stated if stated[fold] != stated[first]]
    if elsewhere:
        messages.warn(
            f"another conversion of the dataset than in {first} was evaluated in {messages.first_of(elsewhere)}: the "
            "mean says something only if both have the same clips and pictures"
        )


def _of_whole_videos(of: Mapping[RunDirectory, dict[str, Any] | None]) -> list[str]:
    """Lines on the figures of whole videos; ``UserError`` if the runs classified the videos in different ways."""
    found = {run: figures for run, figures in of.items() if figures}
    lacking = [str(run.path) for run in of if run not in found]
    if not found:
        return []
    (first, figures), *others = found.items()
    for run, other in others:
        for key, option in _SETTINGS.items():
            if other.get(key) != figures.get(key):
                raise UserError(
                    f"{run.path} classified untrimmed videos with another {option} than {first.path} "
                    f"({other.get(key)}, there {figures.get(key)}), expected the same: evaluate one of them again"
                )
    if lacking:
        return [f"untrimmed videos: no mean, {messages.first_of(lacking)} lack them, see evaluate.py --untrimmed"]
    return _untrimmed({run.recipe.data.protocol: figures for run, figures in found.items()})


def _untrimmed(of: Mapping[str, dict[str, Any]]) -> list[str]:
    """Lines with the means over the folds of the figures of whole videos; events are counted over all folds."""
    from recipes.reports import segments, untrimmed

    each = list(of.values())
    whole = {
        "videos": sum(found["videos"] for found in each),
        "seconds": sum(found["seconds"] for found in each),
        "frame_accuracy": _mean(found["frame_accuracy"] for found in each),
    }
    for key in ("segment_f1", "mean_average_precision"):
        whole[key] = {at: _mean(found[key][at] for found in each) for at in each[0][key]}
    event = each[0].get("event")
    if not event:
        return [untrimmed.text(whole)]
    counted = segments.together([_events(found["events"]) for found in each])
    lines = [untrimmed.text({**whole, "event": event, "events": dataclasses.asdict(counted)})]
    if all("thresholds" in found for found in each):
        lines += _at_thresholds_of_the_others(event, of)
    return lines


def _mean(figures: Iterable[float | None]) -> float | None:
    """The mean over the folds that have the figure; ``None`` where none has."""
    known = [figure for figure in figures if figure is not None]
    return statistics.mean(known) if known else None


def _at_thresholds_of_the_others(event: str, of: Mapping[str, dict[str, Any]]) -> list[str]:
    """The events of all folds, each fold at the threshold that is best on the other folds, not on its own videos."""
    from recipes.reports import segments, untrimmed

    points = {
        fold: {float(least): _events(one) for least, one in found["thresholds"].items()} for fold, found in of.items()
    }

    def best(folds):
        return segments.best_threshold(
            {least: segments.together([points[fold][least] for fold in folds]) for least in segments.THRESHOLDS}
        )

    chosen = {fold: best([other for other in points if other != fold]) for fold in points}
    events = segments.together([points[fold][least] for fold, least in chosen.items()])
    thresholds = ", ".join(f"{least:g}" for least in chosen.values())
    return [
        f"each fold at the threshold that is best on the others, {thresholds}:",
        untrimmed.event_text(event, events),
        f"best on all folds, for a network that is trained on all: {best(list(points)):g}",
    ]


def _events(stored: Mapping[str, Any]) -> segments.Events:
    """The events that an evaluation has stored."""
    from recipes.reports import segments

    return segments.Events(**{**stored, "delays": tuple(stored["delays"])})


def _check(runs: Sequence[RunDirectory]) -> None:
    """``UserError`` unless the runs are of one recipe, each of another fold."""
    from recipes import config

    first = runs[0]
    if len(runs) < 2:
        raise UserError(f"{first.path} is one run, expected one of each fold")
    seen: dict[str, RunDirectory] = {}
    for run in runs:
        different = [
            key
            for key in config.differences(first.recipe, run.recipe)
            if not any(fnmatch.fnmatchcase(key, pattern) for pattern in (*config.OF_A_RUN, *_OF_A_FOLD))
        ]
        if different:
            raise UserError(
                f"{run.path} differs from {first.path} in {different[0]}, expected runs of one recipe that differ in "
                "data.protocol alone"
            )
        fold, dataset = run.recipe.data.protocol, run.recipe.data.dataset
        if fold in seen:
            raise UserError(f"{run.path} and {seen[fold].path} are both of {fold}, expected one run of each fold")
        seen[fold] = run
        if protocols.folds(dataset, fold) != protocols.folds(dataset, first.recipe.data.protocol):
            raise UserError(
                f"{fold} of {run.path} and {first.recipe.data.protocol} are no folds of one cross-validation"
            )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
