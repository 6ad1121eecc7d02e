"""Metrics as rows of tables: printed, in CSV files and in the report."""

from __future__ import annotations

import collections
import csv
import dataclasses
import json
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recipes import run_directory
from recipes.reports import reported
from tfrecords import protocols
from zoo.shared import files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.reports.reported import Figure
    from recipes.reports.scoring import Metrics
    from recipes.run_directory import RunDirectory

PAIR = ("true", "taken_for", "clips", "fraction")  # columns of confused_pairs.csv


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Text in columns; numbers are formatted by the caller."""
    lines = [header, *rows]
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(str(value).ljust(width) for value, width in zip(line, widths)).rstrip() for line in lines
    )


def fold_note(dataset: str, protocol: str) -> str:
    """`` (one of 5 folds)``, a note on a protocol that is a fold: papers report means over folds. Else empty."""
    folds = protocols.folds(dataset, protocol)
    return f" (one of {len(folds)} folds)" if folds else ""


def mean_note(dataset: str, protocol: str) -> str:
    """`` (mean of 5 folds)``, a note on the figures that papers report for such a protocol. Else empty."""
    folds = protocols.folds(dataset, protocol)
    return f" (mean of {len(folds)} folds)" if folds else ""


def own_figures(figures: Sequence[Figure]) -> str:
    """The papers' figures of the run's own method and configuration: ``54.2%, 54.0% (PhD20)``; ``-`` without any."""
    return ", ".join(figure.text for figure in figures if figure.own) or "-"


def comparison(
    recipe: Recipe,
    protocol: str,
    split: str,
    metrics: Metrics,
    stages: Mapping[str, Metrics] | None = None,
    basis: Mapping[str, Any] | None = None,
) -> str:
    """A table of this run's figures and those the zoo's papers report for the same dataset and protocol.

    Args:
        recipe: The run's :class:`recipes.config.Recipe`.
        protocol: The protocol that was evaluated.
        split: The split that was evaluated; papers report on ``test``.
        metrics: The :class:`recipes.reports.scoring.Metrics`.
        stages: Earlier stage -> metrics of its own model, which stand below the run's.
        basis: What the run is based on besides its options, see :func:`recipes.reports.reported.basis_of`.

    Returns:
        Text. The papers' figures stand in a column of their own: they were not measured here. If no paper reports a
        figure for this run's model and options, a last line states this.
    """
    figures = reported.figures(recipe, protocol, split, basis)
    model = recipe.model.name
    rows = [[f"{model}, this run", *_figures(metrics), own_figures(figures)]]
    rows += [[f"its stage {name} alone", *_figures(own), ""] for name, own in (stages or {}).items()]
    rows += [[figure.name, "", "", "", figure.bare] for figure in reported.others(figures)]
    dataset = recipe.data.dataset
    tested, papers = f"{dataset}/{protocol}{fold_note(dataset, protocol)}", f"its paper{mean_note(dataset, protocol)}"
    header = [tested, "top-1", "mean per class", "top-5", f"reported by {papers}"]
    if any(figure.own for figure in figures):
        return table(header, rows)
    what = f"an accuracy of {model} on {dataset}/{protocol}"
    if any(figure.method == model for figure in figures):
        what += " with this run's options and pre-training, only those above"
    missing = (
        f"no paper reports {what}" if split == "test" else f"papers report accuracies on test clips, not on {split}"
    )
    return f"{table(header, rows)}\n{missing}"


def abstained(metrics: Metrics) -> str:
    """``3 of 40 clips without a pose count as wrong``; empty where the model answers for every clip."""
    count = int(metrics.abstained.sum())
    return f"{count} of {len(metrics.labels)} clips without a pose count as wrong" if count else ""


def _figures(metrics: Metrics) -> list[str]:
    return [f"{value:.1%}" for value in (metrics.top1, metrics.mean_class_accuracy, metrics.top5)]


def summary(
    recipe: Recipe,
    protocol: str,
    split: str,
    labels: Sequence[str],
    metrics: Metrics,
    basis: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of ``metrics.json``; accuracies are fractions, the papers' are percent.

    Arguments are those of :func:`comparison`, and ``labels``, the class names.
    """
    accuracies = zip(labels, metrics.class_accuracies)
    basis = reported.basis_of(recipe) if basis is None else basis
    figures = reported.figures(recipe, protocol, split, basis)
    return {
        "recipe": recipe.name,
        "model": recipe.model.name,
        "dataset": recipe.data.dataset,
        "protocol": protocol,
        "split": split,
        "folds": list(protocols.folds(recipe.data.dataset, protocol)),
        "clips": len(metrics.labels),
        **({"abstained": int(metrics.abstained.sum())} if metrics.abstained.any() else {}),
        "views": dataclasses.asdict(recipe.evaluate),
        "top1": metrics.top1,
        "top5": metrics.top5,
        "mean_class_accuracy": metrics.mean_class_accuracy,
        "class_accuracy": {label: None if np.isnan(accuracy) else accuracy for label, accuracy in accuracies},
        "basis": dict(basis),
        "reported_percent": {f.name: f.percent for f in sorted(figures, key=lambda f: f.percent)},
        "reported_own": [figure.name for figure in figures if figure.own],
    }


def per_class(labels: Sequence[str], metrics: Metrics) -> list[dict[str, Any]]:
    """Rows of ``per_class.csv``: clips, accuracy and the class it is most often taken for.

    Args:
        labels: Class names.
        metrics: A :class:`recipes.reports.scoring.Metrics`.

    Returns:
        One dictionary per class; accuracy is empty for a class without clips. If the model abstains from any clip,
        ``abstained`` is the number of the class's clips from which it abstains.
    """
    rows: list[dict[str, Any]] = []
    for label, counts, clips, accuracy in zip(labels, metrics.confusion, metrics.clips, metrics.class_accuracies):
        true = len(rows)
        wrong = np.where(np.arange(len(counts)) == true, 0, counts)
        rows.append(
            {
                "class": label,
                "clips": int(clips),
                "correct": int(counts[true]),
                "accuracy": "" if np.isnan(accuracy) else round(float(accuracy), 4),
                "most_often_taken_for": labels[int(wrong.argmax())] if wrong.any() else "",
                "times": int(wrong.max()),
                **({"abstained": int(clips - counts.sum())} if metrics.abstained.any() else {}),
            }
        )
    return rows


def predictions(ids: Sequence[str], labels: Sequence[str], metrics: Metrics) -> list[dict[str, Any]]:
    """Rows of ``predictions.csv``: one per clip, in the order of the split; no prediction where the model abstains."""
    found = metrics.predictions
    return [
        {
            "id": clip_id,
            "label": labels[true],
            "prediction": "" if predicted < 0 else labels[predicted],
            "score": round(float(scores[max(predicted, 0)]), 6),
            "correct": int(true == predicted),
        }
        for clip_id, true, predicted, scores in zip(ids, metrics.labels, found, metrics.scores)
    ]


def confusion(labels: Sequence[str], metrics: Metrics) -> tuple[list[str], list[list]]:
    """``(columns, rows)`` of ``confusion.csv``: true class, then the number of clips by predicted class.

    If the model abstains from any clip, a last column, ``abstained``, has the numbers of these clips.
    """
    # Lists, as a class may have the name of the first column.
    rows = [[label, *map(int, counts)] for label, counts in zip(labels, metrics.confusion)]
    if not metrics.abstained.any():
        return ["true", *labels], rows
    lacking = metrics.clips - metrics.confusion.sum(axis=1)
    return ["true", *labels, "abstained"], [[*row, int(count)] for row, count in zip(rows, lacking)]


def confused_pairs(labels: Sequence[str], metrics: Metrics) -> list[dict[str, Any]]:
    """Rows of ``confused_pairs.csv``: classes taken for another, the most clips first.

    Args:
        labels: Class names.
        metrics: A :class:`recipes.reports.scoring.Metrics`.

    Returns:
        One dictionary per pair that occurs; ``fraction`` is that of the true class's clips. With equal numbers
        the larger fraction comes first, then the order of the labels.
    """
    confusion, clips = metrics.confusion, metrics.clips
    pairs = [(true, taken) for true, taken in zip(*np.nonzero(confusion)) if true != taken]
    pairs.sort(key=lambda pair: (-confusion[pair], clips[pair[0]]))
    return [
        dict(zip(PAIR, (labels[true], labels[taken], int(n), round(float(n / clips[true]), 4))))
        for true, taken in pairs
        for n in [confusion[true, taken]]
    ]


def stored_predictions(run: RunDirectory, protocol: str, split: str) -> list[dict[str, str]]:
    """Rows of the ``predictions.csv`` of a run that was evaluated before.

    Args:
        run: The :class:`recipes.run_directory.RunDirectory`.
        protocol: The protocol.
        split: The split.

    Raises:
        UserError: It was not evaluated on that split.
    """
    with open(_stored(run, protocol, split, "predictions.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stored_metrics(run: RunDirectory, protocol: str, split: str) -> dict[str, Any]:
    """The ``metrics.json`` of a run that was evaluated before; arguments and errors as :func:`stored_predictions`."""
    return read_metrics(_stored(run, protocol, split, "metrics.json"))


def read_metrics(path: pathlib.Path) -> dict[str, Any]:
    """What a ``metrics.json`` holds; ``UserError`` if it is damaged."""
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise run_directory.damaged(path, error, "write it again with recipes/evaluate.py") from None


def check_current(run: RunDirectory, metrics: Mapping[str, Any]) -> None:
    """``UserError`` if a run was trained further since figures of ``metrics.json`` were written."""
    from recipes import trainers

    model = trainers.of_run(run).model_file(run)
    if "model_sha256" in metrics and model.is_file() and metrics["model_sha256"] != files.sha256_of(model):
        protocol, split = metrics["protocol"], metrics["split"]
        raise UserError(f"{run.path} was trained further since its evaluation: {_command(run, protocol, split)}")


def _stored(run, protocol, split, name):
    """Path of a file that an evaluation wrote; if it is missing, ``UserError`` names the command that writes it."""
    path = run.path / "evaluation" / f"{protocol}-{split}" / name
    if not path.is_file():
        command = _command(run, protocol, split)
        raise UserError(f"{run.path} was not evaluated on {protocol} {split}: make {path.name} with {command}")
    if (metrics := path.with_name("metrics.json")).is_file():
        check_current(run, read_metrics(metrics))
    return path


def _command(run, protocol, split):
    """The command that evaluates a run."""
    options = ["--run", str(run.path), "--protocol", protocol, "--split", split]
    return f"python recipes/evaluate.py {shlex.join(options)}"


def gain(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of ``gain.csv``: accuracy of each class minus that of another run, the largest gain first.

    Args:
        rows: Rows of :func:`predictions`.
        others: The other run's rows, for the same clips, of the same classes, in any order.

    Returns:
        One dictionary per class that has clips; accuracies are fractions, and the gain is their difference.

    Example:
        >>> this = [{"id": "a", "label": "sit", "correct": 1}, {"id": "b", "label": "walk", "correct": 1}]
        >>> other = [{"id": "a", "label": "sit", "correct": 1}, {"id": "b", "label": "walk", "correct": 0}]
        >>> [(row["class"], row["gain"]) for row in gain(this, other)]
        [('walk', 1.0), ('sit', 0.0)]
    """
    found, clips_of = [], collections.Counter(row["label"] for row in rows)
    for label, clips in clips_of.items():
        own, other = (
            np.mean([int(row["correct"]) for row in part if row["label"] == label]) for part in (rows, others)
        )
        values = {"accuracy": own, "compared_with": other, "gain": own - other}
        found.append({"class": label, "clips": clips, **{key: round(float(v), 4) for key, v in values.items()}})
    return sorted(found, key=lambda row: (-row["gain"], row["class"]))


def mcnemar(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """McNemar's exact test of whether two models are right equally often, on the same clips.

    Only the clips that one model has right and the other wrong count. If the models were equally good, either model
    would be the right one with probability 1/2: a binomial distribution.

    Args:
        rows: Rows of :func:`predictions`.
        others: The other run's rows, for the same clips in any order, see :func:`gain`.

    Returns:
        ``only_this_right`` and ``only_other_right``, numbers of clips, and the two-sided ``p_value``.

    Example:
        >>> this = [{"id": str(clip), "correct": 1} for clip in range(6)]
        >>> other = [{"id": str(clip), "correct": 0} for clip in range(6)]
        >>> mcnemar(this, other)
        {'only_this_right': 6, 'only_other_right': 0, 'p_value': 0.03125}
    """
    from scipy.stats import binomtest

    other = {row["id"]: int(row["correct"]) for row in others}
    differences = [int(row["correct"]) - other[row["id"]] for row in rows]
    this_right, other_right = differences.count(1), differences.count(-1)
    test = binomtest(this_right, this_right + other_right) if this_right + other_right else None
    p_value = float(test.pvalue) if test else 1.0
    return {"only_this_right": this_right, "only_other_right": other_right, "p_value": p_value}


def confusion_of(labels: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """``[C, C]`` clips by true class (row) and predicted class (column), from rows of :func:`predictions`.

    Clips from which the model abstains are not in the matrix.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    found = np.zeros((len(labels), len(labels)), np.int64)
    for row in rows:
        if row["prediction"]:
            found[numbers[row["label"]], numbers[row["prediction"]]] += 1
    return found


def mutual_confusions(
    labels: Sequence[str], runs: Mapping[str, Sequence[Mapping[str, Any]]], count: int
) -> list[dict[str, Any]]:
    """Pairs of classes that runs confuse, those with the most confused clips first.

    Args:
        labels: Class names.
        runs: Run's name -> rows of :func:`predictions`, of the same clips.
        count: Number of pairs; fewer are returned if fewer are confused.

    Returns:
        Dictionaries of ``first`` and ``second`` class, then of each run the fraction of both classes' clips that it
        takes for the other class.
    """
    confusions = {name: confusion_of(labels, rows) for name, rows in runs.items()}
    clips = collections.Counter(row["label"] for row in next(iter(runs.values())))
    pairs = [(a, b) for a in range(len(labels)) for b in range(a + 1, len(labels))]
    clips_of = {pair: clips[labels[pair[0]]] + clips[labels[pair[1]]] for pair in pairs}
    wrong = {(a, b): [found[a, b] + found[b, a] for found in confusions.values()] for a, b in pairs}
    worst = sorted((pair for pair in pairs if any(wrong[pair])), key=lambda pair: -sum(wrong[pair]))[:count]
    return [
        {
            "first": labels[pair[0]],
            "second": labels[pair[1]],
            **{name: round(float(n / clips_of[pair]), 4) for name, n in zip(runs, wrong[pair])},
        }
        for pair in worst
    ]
