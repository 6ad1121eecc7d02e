"""Evaluates a trained run: ``python recipes/evaluate.py --run runs/pose_lstm_nucla``.

Every clip of the split is seen in the views the recipe's ``evaluate`` section names; nothing is drawn at random and
the last, smaller batch counts too. Results are written to ``RUN/evaluation/<protocol>-<split>/``.
"""

import os
import pathlib
import sys

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import command_line
from tfrecords.errors import UserError
from zoo import registry


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="evaluate.py", description="Evaluate a trained run.")
    parser.add_argument("--run", type=pathlib.Path, required=True, metavar="DIR", help="run directory of train.py")
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR", help="converted dataset (default: the training's)")
    parser.add_argument("--protocol", help="evaluation protocol (default: the training's)")
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="part of the protocol")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow did not find on this machine
    evaluate(arguments.run, data=arguments.data, protocol=arguments.protocol, split=arguments.split)
    return 0


def evaluate(path, *, data=None, protocol=None, split="test"):
    """Evaluates a run, writes the results and prints them.

    Args:
        path: The run directory.
        data: Folder of the converted dataset; default: that of the training.
        protocol: Evaluation protocol; default: that of the training.
        split: ``train``, ``val`` or ``test``.

    Returns:
        The :class:`recipes.scoring.Metrics`.

    Raises:
        UserError: The run has no model, does not fit the data, or was trained on clips of the split.
    """
    from recipes import report, run_directory
    from tfrecords import manifest, pipeline

    run = run_directory.RunDirectory(path)
    protocol = protocol or run.recipe.data.protocol
    records = pipeline.Records(data or run.environment["data"]["path"])
    _check(run, records, protocol, split)
    views, cues = run.recipe.evaluate, {}
    how = f"per clip {views.clips} windows, {views.crops} crops, pooled by {views.pool}"
    if run.recipe.model.name in registry.ESTIMATORS:
        from recipes import two_level_fusion

        metrics, cues = two_level_fusion.score(run, records, protocol, split)
        how = "all frames of each"
    else:
        metrics = _score(run, records, protocol, split)

    labels = run.labels
    folder = run.path / "evaluation" / f"{protocol}-{split}"
    folder.mkdir(parents=True, exist_ok=True)
    ids = pipeline.clip_ids(records, protocol, split)
    title = f"{run.recipe.name}, {records.dataset} {protocol} {split}: {metrics.top1:.1%}"
    run_directory.write_csv(folder / "per_class.csv", report.per_class(labels, metrics))
    run_directory.write_csv(folder / "confusion.csv", report.confusion_rows(labels, metrics))
    run_directory.write_csv(folder / "predictions.csv", report.predictions(ids, labels, metrics))
    report.plot_confusion(folder / "confusion.png", labels, metrics, title)
    if run.history:
        report.plot_curves(run.path / "curves.png", run.history)
    summary = report.summary(run.recipe, protocol, split, labels, metrics)
    manifest.write_json(folder / "metrics.json", {**summary, **({"cues": cues} if cues else {})})

    print(f"{title} of {len(ids)} clips; {how}")
    print(report.comparison(run.recipe, protocol, split, metrics))
    print(f"written to {folder}", flush=True)
    return metrics


def _score(run, records, protocol, split):
    """The :class:`recipes.scoring.Metrics` of a Keras model on a split, in the views of its recipe."""
    from recipes import scoring
    from recipes.train import local_strategy
    from tfrecords import pipeline

    views = run.recipe.evaluate
    strategy = local_strategy()
    batch, count = run.recipe.batch, records.count(protocol, split)
    data = pipeline.evaluation(records, protocol, split, run.inputs, batch=batch, clips=views.clips, crops=views.crops)
    with strategy.scope():
        scorer = scoring.Scorer(run.model(), strategy, data, count=count, batch=batch, pool=views.pool)
    with command_line.progress(count, f"{protocol} {split}") as bar:
        return scoring.Metrics(*scorer(on_clips=bar.update))


def _check(run, records, protocol, split):
    """A run may be tested on data of its dataset that it was neither trained nor chosen on, or on its own splits."""
    if records.dataset != run.recipe.data.dataset:
        trained = run.recipe.data.dataset
        raise UserError(f"{records.directory} holds {records.dataset}, but {run.path} was trained on {trained}")
    if records.labels != run.labels:
        raise UserError(f"{records.directory} has other classes than {run.path}, expected those of its labels.txt")
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
