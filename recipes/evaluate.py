"""Evaluates a trained run: ``python recipes/evaluate.py --run runs/pose_lstm_nucla``.

Every clip of the split is seen in the views the recipe's ``evaluate`` section names; nothing is drawn at random and
the last, smaller batch counts too. Results are written to ``RUN/evaluation/<protocol>-<split>/``. With ``--fuse OTHER``
the scores of several runs are multiplied clip by clip, or with ``--fusion mean`` averaged; those results are written to
``<protocol>-<split>-x-<OTHER>/`` or ``<protocol>-<split>-mean-<OTHER>/``.
``report.html`` holds everything in one page.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import storage
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    from recipes.config import Recipe
    from recipes.reports.scoring import Metrics
    from recipes.run_directory import RunDirectory
    from tfrecords.reading.pipeline import Records


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="evaluate.py", description="Evaluate a trained run.")
    parser.add_argument("--run", type=pathlib.Path, required=True, metavar="DIR", help="run directory of train.py")
    parser.add_argument(
        "--data", type=storage.location, metavar="DIR", help="converted dataset (default: the training's)"
    )
    parser.add_argument("--protocol", help="evaluation protocol (default: the training's)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="split of the protocol")
    fused = "other runs whose scores are combined with those of --run"
    parser.add_argument("--fuse", type=pathlib.Path, nargs="+", default=[], metavar="DIR", help=fused)
    parser.add_argument(
        "--fuse-data",
        type=storage.location,
        metavar="DIR",
        help="converted dataset of the runs of --fuse (default: that of their training)",
    )
    how = "how --fuse combines scores"
    parser.add_argument("--fusion", choices=("product", "mean"), default="product", help=how)
    compared = "another run, evaluated before: show how much better each class is recognised"
    parser.add_argument("--compare", type=pathlib.Path, metavar="DIR", help=compared)
    drawn = "draw the attention maps of N clips, of wrong and right predictions; reads the split once more"
    parser.add_argument("--attention", type=_count, default=0, metavar="N", help=drawn)
    parser.add_argument("--tsne", action="store_true", help="draw a t-SNE of the features; scores the split once more")
    parser.add_argument("--stages", action="store_true", help="score the models of the earlier stages too")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    evaluate(
        arguments.run,
        data=arguments.data,
        protocol=arguments.protocol,
        split=arguments.split,
        fuse=arguments.fuse,
        fuse_data=arguments.fuse_data,
        fusion=arguments.fusion,
        compare=arguments.compare,
        attention=arguments.attention,
        tsne=arguments.tsne,
        stages=arguments.stages,
    )
    return 0


def _count(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of clips, expected 0 or more")
    return int(text)


def evaluate(
    path: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    protocol: str | None = None,
    split: str = "test",
    fuse: Sequence[str | os.PathLike] = (),
    fuse_data: str | os.PathLike | None = None,
    fusion: str = "product",
    compare: str | os.PathLike | None = None,
    attention: int = 0,
    tsne: bool = False,
    stages: bool = False,
) -> Metrics:
    """Evaluates a run, or several fused, writes the results and prints them.

    Args:
        path: The run directory.
        data: Folder of the converted dataset; default: that of the training.
        protocol: Evaluation protocol; default: that of the training.
        split: ``train``, ``val`` or ``test``.
        fuse: Other run directories: the scores of all runs together are evaluated.
        fuse_data: Folder of those runs' dataset, which has the same clips; default: that of their training.
        fusion: ``product`` of the scores (late fusion, WACV20) or their ``mean`` (streams of poses, Shi et al., 2020).
        compare: Another run directory, evaluated there before: the gain of every class over it.
        attention: Number of clips whose attention is drawn, wrong and right ones in turn.
        tsne: Draw a t-SNE of the features the model classifies, one dot per clip.
        stages: Score the models of the earlier stages too: what the parts of the model reach alone.

    Returns:
        The :class:`recipes.reports.scoring.Metrics`.

    Raises:
        UserError: The run has no model, does not fit the data, or was trained on clips of the split; the run to compare
            with was not evaluated; or the model has no attention to draw.
    """
    from recipes import run_directory
    from recipes.reports import tables

    run, *others = _runs_of_the_same_classes([path, *fuse])
    protocol = protocol or run.recipe.data.protocol
    compared = None if compare is None else run_directory.RunDirectory(compare)
    compared_rows = None if compared is None else tables.stored_predictions(compared, protocol, split)
    model = _explained(run, fuse, attention, tsne) if attention or tsne else None
    of_stages = _score_stages(run, data, protocol, split, fuse) if stages else {}
    scored = _score(run, data, protocol, split)
    if others:
        scored = _fuse([scored, *(_score(other, fuse_data, protocol, split) for other in others)], fusion)
    rows = tables.predictions(scored.ids, run.labels, scored.metrics)
    summary: dict[str, Any] = {}
    pictures: dict[str, list] = {}
    if scored.cues:
        summary["cues"] = scored.cues
    if of_stages:
        summary["stages"] = {name: {"top1": metrics.top1} for name, metrics in of_stages.items()}
    gains = None if compared_rows is None else tables.gain(rows, compared_rows)
    scored.folder.mkdir(parents=True, exist_ok=True)
    if compared is not None and gains is not None:
        summary.update({"compared_with": compared.path.resolve().name, "gain": gains})
        pictures["gain"] = _gain(scored, gains, summary["compared_with"])
    if attention:
        summary["attention"], pictures["attention"] = _attention(scored, attention, rows, model)
    if tsne:
        summary["tsne"], pictures["tsne"] = _tsne(scored, rows, model)
    _write(scored, rows, summary, pictures)

    print(f"{scored.title} of {len(scored.ids)} clips; {scored.seen}")
    if tables.abstained(scored.metrics):
        print(tables.abstained(scored.metrics))
    for name, metrics in of_stages.items():
        if tables.abstained(metrics):
            print(f"stage {name} alone: {tables.abstained(metrics)}")
    print(tables.comparison(scored.recipe, protocol, split, scored.metrics, of_stages, scored.basis))
    if gains is not None and compared_rows is not None:
        other = sum(int(row["correct"]) for row in compared_rows) / len(compared_rows)
        print(f"top-1 of {summary['compared_with']}: {other:.1%}, a gain of {scored.metrics.top1 - other:+.1%}")
    print(f"written to {scored.folder}, see {scored.folder / 'report.html'}", flush=True)
    return scored.metrics


@dataclasses.dataclass(frozen=True)
class _Scored:
    """A run, or several fused, on all clips of a split."""

    run: RunDirectory  # of several runs, the first
    recipe: Recipe  # of several runs, named after all
    records: Records
    protocol: str
    split: str
    name: str  # of the folder of the results
    seen: str  # how much of each clip; of several runs, the accuracy of each
    ids: list[str]
    metrics: Metrics
    cues: dict[str, float]  # accuracies of the parts of an estimator

    @property
    def folder(self) -> pathlib.Path:
        return self.run.path / "evaluation" / self.name

    @property
    def basis(self) -> dict[str, Any]:
        """What the run is based on besides its options, which decides the papers' figures beside its own."""
        from recipes.reports import reported

        return reported.basis_of(self.recipe, self.records.manifest)

    @property
    def title(self) -> str:
        from recipes.reports import tables

        dataset = self.recipe.data.dataset
        data = f"{dataset} {self.protocol} {self.split}{tables.fold_note(dataset, self.protocol)}"
        return f"{self.recipe.name}, {data}: {self.metrics.top1:.1%}"

    @property
    def source(self) -> dict[str, Any]:
        """Where the clips come from: arguments of :mod:`recipes.reports.attention`."""
        return {"run": self.run, "records": self.records, "protocol": self.protocol, "split": self.split}


def _runs_of_the_same_classes(paths: Sequence[str | os.PathLike]) -> list[RunDirectory]:
    """The run directories; ``UserError`` if their classes differ."""
    from recipes import run_directory

    runs = [run_directory.RunDirectory(path) for path in paths]
    for other in runs[1:]:
        if other.labels != runs[0].labels:
            raise UserError(f"{other.path} has other classes than {paths[0]}, expected runs of one dataset")
    return runs


def _fuse(scored: Sequence[_Scored], fusion: str) -> _Scored:
    """Several runs on the same clips as one, in the order of the first one's."""
    from recipes import config
    from recipes.reports import scoring

    first, fuser, sign = scored[0], *{"product": (scoring.product, "x"), "mean": (scoring.mean, "mean")}[fusion]
    scores = fuser(*(_in_order(first.ids, one.ids, one.metrics.scores) for one in scored))
    recipes, between = [one.recipe for one in scored], f" {sign} "
    model = config.Model(between.join(recipe.model.name for recipe in recipes))
    return dataclasses.replace(
        first,
        recipe=dataclasses.replace(recipes[0], name=between.join(recipe.name for recipe in recipes), model=model),
        name=first.name + "".join(f"-{sign}-{one.run.path.resolve().name}" for one in scored[1:]),
        seen="; ".join(f"{one.recipe.name} alone {one.metrics.top1:.1%}" for one in scored),
        metrics=scoring.Metrics(first.metrics.labels, scores),
        cues={},
    )


def _write(scored: _Scored, rows: list[dict], summary: dict[str, Any], pictures: dict[str, list]) -> None:
    """Writes the tables, ``metrics.json`` and the page; ``summary`` and ``pictures`` come in addition to the usual."""
    from recipes import run_directory
    from recipes.reports import html as html_report
    from recipes.reports import plots, tables

    run, folder, metrics, labels = scored.run, scored.folder, scored.metrics, scored.run.labels
    classes, pairs = tables.per_class(labels, metrics), tables.confused_pairs(labels, metrics)
    run_directory.write_csv(folder / "per_class.csv", classes)
    columns, counts = tables.confusion(labels, metrics)
    run_directory.write_csv(folder / "confusion.csv", counts, columns)
    run_directory.write_csv(folder / "confused_pairs.csv", pairs, tables.PAIR)
    run_directory.write_csv(folder / "predictions.csv", rows)
    plots.plot_confusion(folder / "confusion.png", labels, metrics, scored.title)
    caption = "Clips by true class (rows) and predicted class (columns)."
    pictures = {**pictures, "confusion": [(folder / "confusion.png", caption)]}
    if run.history:
        plots.plot_curves(run.path / "curves.png", run.history)
        pictures["curves"] = [(run.path / "curves.png", "Loss, accuracy and learning rate of every stage.")]
    summary = {
        **tables.summary(scored.recipe, scored.protocol, scored.split, labels, metrics, scored.basis),
        "manifest_sha256": scored.records.sha256,
        "confused_pairs": pairs,
        **summary,
    }
    files.write_json(folder / "metrics.json", summary)
    page = html_report.page(
        title=scored.title,
        command=shlex.join(sys.argv),
        run=run,
        recipe=scored.recipe,
        summary=summary,
        rows=classes,
        pairs=pairs,
        pictures=pictures,
    )
    files.write_text(folder / "report.html", page)


def _explained(run: RunDirectory, fuse: Sequence, attention: int, tsne: bool) -> tf.keras.Model:
    """The model whose attention or features are drawn; ``UserError`` if that cannot be, before anything is scored."""
    from recipes import trainers
    from recipes.reports import attention as explain

    options = " and ".join(name for name, wanted in (("--attention", attention), ("--tsne", tsne)) if wanted)
    if fuse:
        raise UserError(f"{options}: of one model only, leave --fuse out")
    trainer = trainers.of_run(run)
    if not trainer.has_layers:
        raise UserError(f"{options}: {run.recipe.model.name} is no network and has no layers to show, leave it out")
    model = trainer.load(run)
    if attention:
        explain.check_attention(model)
    return model


def _gain(scored: _Scored, gains: list[dict], other: str) -> list[tuple[pathlib.Path, str]]:
    """Writes and draws the gain of every class over another run; the pictures."""
    from recipes import run_directory
    from recipes.reports import plots

    path = scored.folder / "gain.png"
    run_directory.write_csv(path.with_suffix(".csv"), gains)
    plots.plot_gain(path, gains, f"{scored.recipe.name} against {other}")
    return [(path, "Difference of the accuracies of every class that has clips.")]


def _attention(scored: _Scored, count: int, rows: list[dict], model: tf.keras.Model) -> tuple[list, list]:
    """Draws the attention of clips; ``(entry of metrics.json, pictures)``."""
    from recipes.reports import attention as explain

    clips = explain.shown_clips(scored.metrics, count)
    paths = explain.draw_attention(scored.folder, clips, model=model, **scored.source)
    drawn = [{"picture": path.name, **rows[clip]} for path, clip in zip(paths, clips)]
    captions = [f"{c['id']}: {c['label']}, taken for {c['prediction']} (score {c['score']:.2f})" for c in drawn]
    return drawn, list(zip(paths, captions))


def _tsne(scored: _Scored, rows: list[dict], model: tf.keras.Model) -> tuple[dict, list]:
    """Draws the t-SNE of features, those of a clip's views averaged; ``(entry of metrics.json, pictures)``."""
    from recipes import run_directory
    from recipes.reports import attention as explain
    from recipes.reports import plots
    from recipes.trainers import keras

    run, (_, names) = scored.run, explain.penultimate(model)
    # The mean over a clip's views, which pools features as it does scores. The model is read again for the strategy.
    pooled: dict[str, Any] = {"pool": "mean_softmax", "change": lambda model: explain.penultimate(model)[0]}
    _, features = keras.outputs(**scored.source, **pooled)
    points = explain.tsne(features, run.recipe.seed)
    coordinates = [{"x": round(float(x), 4), "y": round(float(y), 4)} for x, y in points]
    dots = [{"id": row["id"], "label": row["label"], **xy} for row, xy in zip(rows, coordinates)]
    run_directory.write_csv(scored.folder / "tsne.csv", dots)
    layer = f"the input of {' and '.join(names)} ({features.shape[1]} values)"
    title = f"{run.recipe.name}: t-SNE of {layer}"
    plots.plot_map(scored.folder / "tsne.png", points, scored.metrics.labels, run.labels, title)
    caption = f"Every dot is a clip, coloured by its true class; features: {layer}, mean over the clip's views."
    return {"features": layer, "clips": len(dots)}, [(scored.folder / "tsne.png", caption)]


def _score(run: RunDirectory, data: str | os.PathLike | None, protocol: str, split: str) -> _Scored:
    """A run on all clips of a split."""
    from recipes import trainers
    from tfrecords.reading import pipeline

    records = pipeline.Records(data or run.environment["data"]["path"])
    _check(run, records, protocol, split)
    trainer = trainers.of_run(run)
    scored = trainer.score(run, records, protocol, split)
    ids, name, seen = pipeline.clip_ids(records, protocol, split), f"{protocol}-{split}", trainer.views(run.recipe)
    return _Scored(run, run.recipe, records, protocol, split, name, seen, ids, scored.metrics, scored.parts)


def _score_stages(
    run: RunDirectory, data: str | os.PathLike | None, protocol: str, split: str, fuse: Sequence
) -> dict[str, Metrics]:
    """Stage -> metrics of its own model, for the stages before the last; ``UserError`` if there is none."""
    from recipes.trainers import keras
    from tfrecords.reading import pipeline

    if fuse:
        raise UserError("--stages: of one run only, leave --fuse out")
    if len(run.recipe.stages) < 2:
        raise UserError(f"--stages: {run.path} was not trained in several stages, leave it out")
    records = pipeline.Records(data or run.environment["data"]["path"])
    _check(run, records, protocol, split)
    return keras.KerasTrainer().score_stages(run, records, protocol, split)


def _in_order(ids: Sequence[str], other_ids: Sequence[str], scores: np.ndarray) -> np.ndarray:
    """The scores of another run in the order of the first one's clips."""
    if sorted(ids) != sorted(other_ids):
        only = sorted(set(ids) ^ set(other_ids))
        raise UserError(f"the runs' data differ in {len(only)} clips, such as {only[0]}: expected the same clips")
    row = {clip: number for number, clip in enumerate(other_ids)}
    return scores[[row[clip] for clip in ids]]


def _check(run: RunDirectory, records: Records, protocol: str, split: str) -> None:
    """A run is tested on its own splits, or on data of its dataset that neither trained nor selected it."""
    from tfrecords.reading import pipeline

    if records.dataset != run.recipe.data.dataset:
        trained = run.recipe.data.dataset
        raise UserError(f"{records.directory} holds {records.dataset}, but {run.path} was trained on {trained}")
    if records.labels_of(protocol) != run.labels:
        classes = f"has other classes under {protocol} than {run.path}"
        raise UserError(f"{records.directory} {classes}, expected the {len(run.labels)} of its labels.txt")
    records.check(run.inputs, protocol, split)
    own = run.recipe.data.protocol
    groups = records.manifest["protocols"]  # protocol -> split -> its split groups
    if (protocol, split, run.recipe.data.train_on) == (own, "val", pipeline.TRAIN_AND_VAL):
        raise UserError(
            f"--split val: {run.path} was trained on its validation clips too (data.train_on: "
            f"{pipeline.TRAIN_AND_VAL}), expected a run trained with --set data.train_on=train"
        )
    if protocol == own or own not in groups:  # other data, made for another protocol
        return
    seen = set(groups[own]["train"]) | set(groups[own]["val"])
    if seen & set(groups[protocol][split]):
        raise UserError(
            f"--protocol {protocol}: {run.path} was trained, or chosen, on some of its {split} clips under {own}: "
            f"train a run under {protocol}"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
