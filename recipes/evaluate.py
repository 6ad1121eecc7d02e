"""Evaluates a trained run: ``python recipes/evaluate.py --run runs/pose_lstm_nucla``.

Every clip of the split is seen in the views the recipe's ``evaluate`` section names; nothing is drawn at random and
the last, smaller batch counts too. Results are written to ``RUN/evaluation/<protocol>-<split>/``. With ``--fuse OTHER``
the scores of several runs are multiplied clip by clip, or with ``--fusion mean`` averaged; those results are written to
``<protocol>-<split>-x-<OTHER>/`` or ``<protocol>-<split>-mean-<OTHER>/``.
``report.html`` holds everything in one page.
"""

import argparse
import dataclasses
import pathlib
import shlex
import sys

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import storage
from zoo import registry
from zoo.shared import command_line
from zoo.shared.errors import UserError


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="evaluate.py", description="Evaluate a trained run.")
    parser.add_argument("--run", type=pathlib.Path, required=True, metavar="DIR", help="run directory of train.py")
    parser.add_argument(
        "--data", type=storage.location, metavar="DIR", help="converted dataset (default: the training's)"
    )
    parser.add_argument("--protocol", help="evaluation protocol (default: the training's)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="part of the protocol")
    fused = "other runs, whose scores are fused with this one's"
    parser.add_argument("--fuse", type=pathlib.Path, nargs="+", default=[], metavar="DIR", help=fused)
    parser.add_argument(
        "--fuse-data", type=storage.location, metavar="DIR", help="their dataset (default: that of their training)"
    )
    how = "how scores are fused: their product (default), or their mean"
    parser.add_argument("--fusion", choices=("product", "mean"), default="product", help=how)
    compared = "another run, evaluated before: the gain of every class over it"
    parser.add_argument("--compare", type=pathlib.Path, metavar="DIR", help=compared)
    drawn = "draw the attention of N clips, wrong and right ones; reads the split once more"
    parser.add_argument("--attention", type=_count, default=0, metavar="N", help=drawn)
    parser.add_argument("--tsne", action="store_true", help="draw a t-SNE of the features; scores the split once more")
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
    )
    return 0


def _count(text):
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of clips, expected 0 or more")
    return int(text)


def evaluate(
    path,
    *,
    data=None,
    protocol=None,
    split="test",
    fuse=(),
    fuse_data=None,
    fusion="product",
    compare=None,
    attention=0,
    tsne=False,
):
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
        tsne: Draw a t-SNE of what the model classifies, one dot per clip.

    Returns:
        The :class:`recipes.reports.scoring.Metrics`.

    Raises:
        UserError: The run has no model, does not fit the data, or was trained on clips of the split; the run to compare
            with was not evaluated; or the model has no attention to draw.
    """
    from recipes import run_directory
    from recipes.reports import tables as report

    run, *others = _runs_of_the_same_classes([path, *fuse])
    protocol = protocol or run.recipe.data.protocol
    compared = None if compare is None else run_directory.RunDirectory(compare)
    compared_rows = compared and report.stored_predictions(compared, protocol, split)
    model = _explained(run, fuse, attention, tsne) if attention or tsne else None
    scored = _score(run, data, protocol, split)
    if others:
        scored = _fuse([scored, *(_score(other, fuse_data, protocol, split) for other in others)], fusion)
    rows = report.predictions(scored.ids, run.labels, scored.metrics)
    summary, pictures = {}, {}
    if scored.cues:
        summary["cues"] = scored.cues
    gains = None if compared_rows is None else report.gain(rows, compared_rows)
    scored.folder.mkdir(parents=True, exist_ok=True)
    if gains is not None:
        summary.update({"compared_with": compared.path.resolve().name, "gain": gains})
        pictures["gain"] = _gain(scored, gains, summary["compared_with"])
    if attention:
        summary["attention"], pictures["attention"] = _attention(scored, attention, rows, model)
    if tsne:
        summary["tsne"], pictures["tsne"] = _tsne(scored, rows, model)
    _write(scored, rows, summary, pictures)

    print(f"{scored.title} of {len(scored.ids)} clips; {scored.seen}")
    print(report.comparison(scored.recipe, protocol, split, scored.metrics))
    print(f"written to {scored.folder}, see {scored.folder / 'report.html'}", flush=True)
    return scored.metrics


@dataclasses.dataclass(frozen=True)
class _Scored:
    """A run, or several fused, on all clips of a split."""

    run: object  # the RunDirectory; of several runs, the first
    recipe: object  # its config.Recipe; of several runs, named after all
    records: object  # the pipeline.Records
    protocol: str
    split: str
    name: str  # of the folder of the results
    seen: str  # how much of each clip; of several runs, what they have alone
    ids: list
    metrics: object  # the scoring.Metrics
    cues: dict  # an estimator's figures of its parts

    @property
    def folder(self):
        return self.run.path / "evaluation" / self.name

    @property
    def title(self):
        data = f"{self.recipe.data.dataset} {self.protocol} {self.split}"
        return f"{self.recipe.name}, {data}: {self.metrics.top1:.1%}"

    @property
    def place(self):
        """Where the clips are, as :mod:`recipes.reports.attention` is told."""
        return {"run": self.run, "records": self.records, "protocol": self.protocol, "split": self.split}


def _runs_of_the_same_classes(paths):
    """The run directories; ``UserError`` if their classes differ."""
    from recipes import run_directory

    runs = [run_directory.RunDirectory(path) for path in paths]
    for other in runs[1:]:
        if other.labels != runs[0].labels:
            raise UserError(f"{other.path} has other classes than {paths[0]}, expected runs of one dataset")
    return runs


def _fuse(scored, fusion):
    """Several runs on the same clips as one, in the order of the first one's."""
    from recipes.config import sections as config
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


def _write(scored, rows, summary, pictures):
    """Writes the tables, ``metrics.json`` and the page that shows all; ``summary``, ``pictures``: what is there yet."""
    from recipes import run_directory
    from recipes.reports import html as html_report
    from recipes.reports import plots
    from recipes.reports import tables as report
    from tfrecords import manifest

    run, folder, metrics, labels = scored.run, scored.folder, scored.metrics, scored.run.labels
    classes, pairs = report.per_class(labels, metrics), report.confused_pairs(labels, metrics)
    run_directory.write_csv(folder / "per_class.csv", classes)
    columns, counts = report.confusion(labels, metrics)
    run_directory.write_csv(folder / "confusion.csv", counts, columns)
    run_directory.write_csv(folder / "confused_pairs.csv", pairs, report.PAIR)
    run_directory.write_csv(folder / "predictions.csv", rows)
    plots.plot_confusion(folder / "confusion.png", labels, metrics, scored.title)
    caption = "Clips by true class (rows) and predicted class (columns)."
    pictures = {**pictures, "confusion": [(folder / "confusion.png", caption)]}
    if run.history:
        plots.plot_curves(run.path / "curves.png", run.history)
        pictures["curves"] = [(run.path / "curves.png", "Loss, accuracy and learning rate of every stage.")]
    summary = {
        **report.summary(scored.recipe, scored.protocol, scored.split, labels, metrics),
        "manifest_sha256": scored.records.sha256,
        "confused_pairs": pairs,
        **summary,
    }
    manifest.write_json(folder / "metrics.json", summary)
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
    run_directory.write_text(folder / "report.html", page)


def _explained(run, fuse, attention, tsne):
    """The model whose attention or features are drawn; ``UserError`` if that cannot be, before anything is scored."""
    from recipes.reports import attention as explain

    options = " and ".join(name for name, wanted in (("--attention", attention), ("--tsne", tsne)) if wanted)
    if fuse:
        raise UserError(f"{options}: of one model only, leave --fuse out")
    if run.recipe.model.name in registry.ESTIMATORS:
        raise UserError(f"{options}: {run.recipe.model.name} is no network and has no layers to show, leave it out")
    model = run.model()
    if attention:
        explain.check_attention(model)
    return model


def _gain(scored, gains, other):
    """Writes and draws the gain of every class over another run; the pictures."""
    from recipes import run_directory
    from recipes.reports import plots

    path = scored.folder / "gain.png"
    run_directory.write_csv(path.with_suffix(".csv"), gains)
    plots.plot_gain(path, gains, f"{scored.recipe.name} against {other}")
    return [(path, "Difference of the accuracies of every class that has clips.")]


def _attention(scored, count, rows, model):
    """Draws the attention of clips; ``(what metrics.json says of it, pictures)``."""
    from recipes.reports import attention as explain

    clips = explain.shown_clips(scored.metrics, count)
    paths = explain.draw_attention(scored.folder, clips, model=model, **scored.place)
    drawn = [{"picture": path.name, **rows[clip]} for path, clip in zip(paths, clips)]
    captions = [f"{c['id']}: {c['label']}, taken for {c['prediction']} (score {c['score']:.2f})" for c in drawn]
    return drawn, list(zip(paths, captions))


def _tsne(scored, rows, model):
    """Draws the t-SNE of features, those of a clip's views averaged; ``(what metrics.json says of it, pictures)``."""
    from recipes import run_directory
    from recipes.reports import attention as explain
    from recipes.reports import plots

    run, (_, names) = scored.run, explain.penultimate(model)
    # The mean over a clip's views, for which features are as good as scores. The model is read again for the strategy.
    pooled = {"pool": "mean_softmax", "change": lambda model: explain.penultimate(model)[0]}
    _, features = _outputs(**scored.place, **pooled)
    points = explain.tsne(features, run.recipe.seed)
    coordinates = [{"x": round(float(x), 4), "y": round(float(y), 4)} for x, y in points]
    dots = [{"id": row["id"], "label": row["label"], **xy} for row, xy in zip(rows, coordinates)]
    run_directory.write_csv(scored.folder / "tsne.csv", dots)
    layer = f"the input of {' and '.join(names)} ({features.shape[1]} values)"
    title = f"{run.recipe.name}: t-SNE of {layer}"
    plots.plot_map(scored.folder / "tsne.png", points, scored.metrics.labels, run.labels, title)
    caption = f"Every dot is a clip, coloured by its true class; features: {layer}, mean over the clip's views."
    return {"features": layer, "clips": len(dots)}, [(scored.folder / "tsne.png", caption)]


def _seen(recipe):
    """How much of a clip a run sees, in words."""
    if recipe.model.name in registry.ESTIMATORS:
        return "all frames of each"
    views = recipe.evaluate
    parts = f" of {views.pose_crop:g} to 1 of it" if views.pose_crop < 1 else ""
    return f"per clip {views.clips} windows{parts}, {views.crops} crops, pooled by {views.pool}"


def _score(run, data, protocol, split):
    """A run on all clips of a split, a :class:`_Scored`."""
    from tfrecords.reading import pipeline

    records = pipeline.Records(data or run.environment["data"]["path"])
    _check(run, records, protocol, split)
    if run.recipe.model.name in registry.ESTIMATORS:
        from recipes.trainers import fusion as two_level_fusion

        metrics, cues = two_level_fusion.score(run, records, protocol, split)
    else:
        metrics, cues = _score_model(run, records, protocol, split), {}
    ids, name = pipeline.clip_ids(records, protocol, split), f"{protocol}-{split}"
    return _Scored(run, run.recipe, records, protocol, split, name, _seen(run.recipe), ids, metrics, cues)


def _score_model(run, records, protocol, split):
    """The :class:`recipes.reports.scoring.Metrics` of a Keras model on a split, in the views of its recipe."""
    from recipes.reports import scoring

    return scoring.Metrics(*_outputs(run, records, protocol, split, run.recipe.evaluate.pool))


def _outputs(run, records, protocol, split, pool, change=lambda model: model):
    """``(labels, outputs)`` of a Keras model, or of what ``change`` makes of it, for every clip of a split."""
    from recipes.reports import scoring
    from recipes.train import local_strategy
    from tfrecords.reading import pipeline

    views, strategy = run.recipe.evaluate, local_strategy()
    batch, count = run.recipe.batch, records.count(protocol, split)
    shown = {"clips": views.clips, "crops": views.crops, "pose_crop": views.pose_crop}
    data = pipeline.evaluation(records, protocol, split, run.inputs, batch=batch, **shown)
    with strategy.scope():
        scorer = scoring.Scorer(change(run.model()), strategy, data, count=count, batch=batch, pool=pool)
    with command_line.progress(count, f"{protocol} {split}") as bar:
        return scorer(on_clips=bar.update)


def _in_order(ids, other_ids, scores):
    """The scores of another run in the order of the first one's clips."""
    if sorted(ids) != sorted(other_ids):
        only = sorted(set(ids) ^ set(other_ids))
        raise UserError(f"the runs' data differ in {len(only)} clips, such as {only[0]}: expected the same clips")
    row = {clip: number for number, clip in enumerate(other_ids)}
    return scores[[row[clip] for clip in ids]]


def _check(run, records, protocol, split):
    """A run may be tested on data of its dataset that it was neither trained nor chosen on, or on its own splits."""
    from tfrecords.reading import pipeline

    if records.dataset != run.recipe.data.dataset:
        trained = run.recipe.data.dataset
        raise UserError(f"{records.directory} holds {records.dataset}, but {run.path} was trained on {trained}")
    if records.labels_of(protocol) != run.labels:
        classes = f"has other classes under {protocol} than {run.path}"
        raise UserError(f"{records.directory} {classes}, expected the {len(run.labels)} of its labels.txt")
    records.check(run.inputs, protocol, split)
    own = run.recipe.data.protocol
    cells = records.manifest["protocols"]
    if (protocol, split, run.recipe.data.train_on) == (own, "val", pipeline.TRAIN_AND_VAL):
        raise UserError(
            f"--split val: {run.path} was trained on its validation clips too (data.train_on: "
            f"{pipeline.TRAIN_AND_VAL}), expected a run trained with --set data.train_on=train"
        )
    if protocol == own or own not in cells:  # other data, made for another protocol
        return
    seen = set(cells[own]["train"]) | set(cells[own]["val"])
    if seen & set(cells[protocol][split]):
        raise UserError(
            f"--protocol {protocol}: {run.path} was trained, or chosen, on some of its {split} clips under {own}: "
            f"train a run under {protocol}"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
