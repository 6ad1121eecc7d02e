"""Evaluates a trained run: ``python recipes/evaluate.py --run runs/pose_lstm_nucla``.

Every clip of the split is seen in the views the recipe's ``evaluate`` section names; nothing is drawn at random and
the last, smaller batch counts too. Results are written to ``RUN/evaluation/<protocol>-<split>/``. With ``--fuse OTHER``
the scores of two runs are multiplied clip by clip; those results are written to ``<protocol>-<split>-x-<OTHER>/``.
"""

import dataclasses
import os
import pathlib
import sys

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import command_line, storage
from tfrecords.errors import UserError
from zoo import registry


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="evaluate.py", description="Evaluate a trained run.")
    parser.add_argument("--run", type=pathlib.Path, required=True, metavar="DIR", help="run directory of train.py")
    parser.add_argument(
        "--data", type=storage.location, metavar="DIR", help="converted dataset (default: the training's)"
    )
    parser.add_argument("--protocol", help="evaluation protocol (default: the training's)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="part of the protocol")
    fusion = "another run, whose scores are multiplied with this one's"
    parser.add_argument("--fuse", type=pathlib.Path, metavar="DIR", help=fusion)
    parser.add_argument(
        "--fuse-data", type=storage.location, metavar="DIR", help="its dataset (default: its training's)"
    )
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow did not find on this machine
    evaluate(
        arguments.run,
        data=arguments.data,
        protocol=arguments.protocol,
        split=arguments.split,
        fuse=arguments.fuse,
        fuse_data=arguments.fuse_data,
    )
    return 0


def evaluate(path, *, data=None, protocol=None, split="test", fuse=None, fuse_data=None):
    """Evaluates a run, or two fused, writes the results and prints them.

    Args:
        path: The run directory.
        data: Folder of the converted dataset; default: that of the training.
        protocol: Evaluation protocol; default: that of the training.
        split: ``train``, ``val`` or ``test``.
        fuse: Another run directory: the product of both runs' scores is evaluated (late fusion, WACV20).
        fuse_data: Folder of that run's dataset, which has the same clips; default: that of its training.

    Returns:
        The :class:`recipes.scoring.Metrics`.

    Raises:
        UserError: The run has no model, does not fit the data, or was trained on clips of the split.
    """
    from recipes import config, report, run_directory
    from tfrecords import manifest

    run = run_directory.RunDirectory(path)
    protocol = protocol or run.recipe.data.protocol
    other = None if fuse is None else run_directory.RunDirectory(fuse)
    if other and other.labels != run.labels:
        raise UserError(f"{fuse} has other classes than {path}, expected two runs of one dataset")
    recipe, name = run.recipe, f"{protocol}-{split}"
    ids, metrics, cues = _score(run, data, protocol, split)
    seen = _seen(recipe)
    if other:
        other_ids, other_metrics, _ = _score(other, fuse_data, protocol, split)
        seen = f"{recipe.name} alone {metrics.top1:.1%}; {other.recipe.name} alone {other_metrics.top1:.1%}"
        metrics, cues = _fused(ids, metrics, other_ids, other_metrics), {}
        model = config.Model(f"{recipe.model.name} x {other.recipe.model.name}")
        recipe = dataclasses.replace(recipe, name=f"{recipe.name} x {other.recipe.name}", model=model)
        name += f"-x-{other.path.resolve().name}"

    labels = run.labels
    folder = run.path / "evaluation" / name
    folder.mkdir(parents=True, exist_ok=True)
    title = f"{recipe.name}, {recipe.data.dataset} {protocol} {split}: {metrics.top1:.1%}"
    run_directory.write_csv(folder / "per_class.csv", report.per_class(labels, metrics))
    run_directory.write_csv(folder / "confusion.csv", report.confusion_rows(labels, metrics))
    run_directory.write_csv(folder / "predictions.csv", report.predictions(ids, labels, metrics))
    report.plot_confusion(folder / "confusion.png", labels, metrics, title)
    if run.history:
        report.plot_curves(run.path / "curves.png", run.history)
    summary = report.summary(recipe, protocol, split, labels, metrics)
    manifest.write_json(folder / "metrics.json", {**summary, **({"cues": cues} if cues else {})})

    print(f"{title} of {len(ids)} clips; {seen}")
    print(report.comparison(recipe, protocol, split, metrics))
    print(f"written to {folder}", flush=True)
    return metrics


def _seen(recipe):
    """How much of a clip a run sees, in words."""
    if recipe.model.name in registry.ESTIMATORS:
        return "all frames of each"
    views = recipe.evaluate
    return f"per clip {views.clips} windows, {views.crops} crops, pooled by {views.pool}"


def _score(run, data, protocol, split):
    """``(ids, metrics, cues)`` of a run on all clips of a split; cues: an estimator's figures of its parts."""
    from tfrecords import pipeline

    records = pipeline.Records(data or run.environment["data"]["path"])
    _check(run, records, protocol, split)
    if run.recipe.model.name in registry.ESTIMATORS:
        from recipes import two_level_fusion

        metrics, cues = two_level_fusion.score(run, records, protocol, split)
    else:
        metrics, cues = _score_model(run, records, protocol, split), {}
    return pipeline.clip_ids(records, protocol, split), metrics, cues


def _score_model(run, records, protocol, split):
    """The :class:`recipes.scoring.Metrics` of a Keras model on a split, in the views of its recipe."""
    from recipes import scoring
    from recipes.train import local_strategy
    from tfrecords import pipeline

    views, strategy = run.recipe.evaluate, local_strategy()
    batch, count = run.recipe.batch, records.count(protocol, split)
    data = pipeline.evaluation(records, protocol, split, run.inputs, batch=batch, clips=views.clips, crops=views.crops)
    with strategy.scope():
        scorer = scoring.Scorer(run.model(), strategy, data, count=count, batch=batch, pool=views.pool)
    with command_line.progress(count, f"{protocol} {split}") as bar:
        return scoring.Metrics(*scorer(on_clips=bar.update))


def _fused(ids, metrics, other_ids, other):
    """The product of two runs' scores, clip by clip, in the order of the first."""
    from recipes import scoring

    if sorted(ids) != sorted(other_ids):
        only = sorted(set(ids) ^ set(other_ids))
        raise UserError(f"the two runs' data differ in {len(only)} clips, such as {only[0]}: expected the same clips")
    row = {clip: number for number, clip in enumerate(other_ids)}
    order = [row[clip] for clip in ids]
    return scoring.Metrics(metrics.labels, scoring.product(metrics.scores, other.scores[order]))


def _check(run, records, protocol, split):
    """A run may be tested on data of its dataset that it was neither trained nor chosen on, or on its own splits."""
    if records.dataset != run.recipe.data.dataset:
        trained = run.recipe.data.dataset
        raise UserError(f"{records.directory} holds {records.dataset}, but {run.path} was trained on {trained}")
    if records.labels_of(protocol) != run.labels:
        classes = f"has other classes under {protocol} than {run.path}"
        raise UserError(f"{records.directory} {classes}, expected the {len(run.labels)} of its labels.txt")
    records.check(run.inputs, protocol, split)
    own = run.recipe.data.protocol
    if protocol == own:
        return
    cells = records.manifest["protocols"]
    seen = set(cells[own]["train"]) | set(cells[own]["val"])
    if seen & set(cells[protocol][split]):
        raise UserError(
            f"--protocol {protocol}: {run.path} was trained, or chosen, on some of its {split} clips under {own}: "
            f"train a run under {protocol}"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
