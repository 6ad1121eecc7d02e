"""Evaluates a trained run: ``python recipes/evaluate.py --run runs/pose_lstm_nucla``.

Every clip of the split is scored in the views that the recipe's ``evaluate`` section names; nothing is drawn at random,
and the last, smaller batch counts too. Results are written to ``RUN/evaluation/<protocol>-<split>/``. Its file
``scores.npz`` has the score of every clip for every class; while model, data and views stay the same, it is read
instead of scoring again. With ``--fuse OTHER`` the scores of several runs are multiplied clip by clip, or with
``--fusion mean`` averaged; the fused results are written to ``<protocol>-<split>-x-<OTHER>/`` or
``<protocol>-<split>-mean-<OTHER>/``.
``report.html`` holds everything in one page.
"""

from __future__ import annotations

import argparse
import math
import os
import pathlib
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import storage
from zoo.shared import command_line, files, messages, sharing
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from recipes.reports import untrimmed
    from recipes.reports.evaluated import Evaluated
    from recipes.reports.html import Section
    from recipes.reports.scoring import Metrics
    from recipes.run_directory import RunDirectory
    from tfrecords.reading.pipeline import Records


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = vars(_parser().parse_args(argv))
    command_line.quiet_tensorflow()
    arguments["untrimmed"] = _untrimmed(arguments)
    evaluate(arguments.pop("run"), **arguments)
    return 0


def _parser() -> command_line.ArgumentParser:
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
    how = "how --fuse combines scores (default: product)"
    parser.add_argument("--fusion", choices=("product", "mean"), help=how)
    weighted = "weights of --run and the runs of --fuse: equal, those with the smallest log-loss on validation, or 2,1"
    parser.add_argument("--fuse-weights", type=_fuse_weights, default="equal", metavar="WEIGHTS", help=weighted)
    parser.add_argument("--rescore", action="store_true", help="score again, even where stored scores are up to date")
    compared = "another run, evaluated before: prints the gain of each class over it, and McNemar's test"
    parser.add_argument("--compare", type=pathlib.Path, metavar="DIR", help=compared)
    fitted = (
        "fit a temperature on validation, and a score below which the class is unknown, so that this fraction of the "
        "accepted validation clips is right (without a number: 0.95); draw calibration and coverage"
    )
    parser.add_argument("--calibrate", type=_fraction, nargs="?", const=0.95, metavar="ACCURACY", help=fitted)
    drawn = "draw the attention maps of N clips, wrong and right ones in turn; reads the split once more"
    parser.add_argument("--attention", type=_count, default=0, metavar="N", help=drawn)
    parser.add_argument("--tsne", action="store_true", help="draw a t-SNE of the features; scores the split once more")
    parser.add_argument("--stages", action="store_true", help="score the models of the earlier stages too")
    confused = "other runs, evaluated before: draw the pairs of classes that these runs and --run confuse"
    parser.add_argument("--radar", type=pathlib.Path, nargs="+", default=[], metavar="DIR", help=confused)
    moving = "draw the gain of --compare, or the accuracy, of each class against how much its clips move"
    parser.add_argument("--dynamicity", action="store_true", help=moving)
    weighed = "draw each class's attention to body parts beside the parts' own accuracies (pi3d)"
    parser.add_argument("--parts", action="store_true", help=weighed)
    parser.add_argument("--joints", action="store_true", help="draw the joint activations of a graph network")
    worse = "draw the accuracy against pose noise and lost joints; scores the split 13 times"
    parser.add_argument("--pose-noise", action="store_true", help=worse)
    _add_untrimmed(parser.add_argument_group("untrimmed video"))
    return parser


_WINDOWS = ("window", "stride", "smooth", "event", "event_probability", "share_computation")


def _add_untrimmed(group: argparse._ArgumentGroup) -> None:
    """The options of untrimmed video. They have no defaults here: without ``--untrimmed`` they are refused."""
    whole = "slide a window over whole videos (the recordings that the clips are windows of, or clips joined in tens)"
    group.add_argument("--untrimmed", action="store_true", help=f"{whole}: accuracy of frames, segments and events")
    long = "frames (64) or seconds (2.5s); default: the network's frames x stride, for poses alone the median clip's"
    group.add_argument("--window", metavar="LENGTH", help=f"length of a window: {long}")
    group.add_argument("--stride", metavar="LENGTH", help="distance between windows (default: 0.2s)")
    smoothed = "smooth the scores over windows: none (default), mean:WINDOWS or exponential:WEIGHT"
    group.add_argument("--smooth", metavar="HOW", help=smoothed)
    alarm = "a class whose segments are events: prints how many raise an alarm, how late, and the false alarms"
    group.add_argument("--event", metavar="CLASS", help=alarm)
    least = "smallest smoothed probability of the class that raises an alarm (default: 0.5)"
    group.add_argument("--event-probability", type=_fraction, metavar="P", help=least)
    once = f"compute I3D up to a block (default: {sharing.BLOCK}) once for overlapping windows; predictions differ"
    group.add_argument("--share-computation", nargs="?", const=sharing.BLOCK, metavar="BLOCK", help=once)


def _untrimmed(arguments: dict[str, Any]) -> untrimmed.Settings | None:
    """How whole videos are classified; takes its options out of the parsed arguments."""
    given = {name: arguments.pop(name) for name in _WINDOWS}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments["untrimmed"]:
        from recipes.reports import untrimmed

        renamed = {"event_probability": "probability"}
        return untrimmed.Settings(**{renamed.get(name, name): value for name, value in given.items()})
    if given:
        raise UserError(f"--{next(iter(given)).replace('_', '-')} needs --untrimmed: how whole videos are evaluated")
    return None


def _count(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of clips, expected 0 or more")
    return int(text)


def _fuse_weights(text: str) -> str | tuple[float, ...]:
    if text in ("equal", "validation"):
        return text
    try:
        weights = tuple(map(float, text.split(",")))
    except ValueError:
        weights = ()
    if not weights or not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise argparse.ArgumentTypeError(f"{text!r}, expected equal, validation or numbers from 0, such as 2,1")
    return weights


def _fraction(text: str) -> float:
    """A number above 0, up to 1."""
    try:
        if 0 < float(text) <= 1:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no fraction, expected a number above 0, up to 1, such as 0.95")


def evaluate(
    path: str | os.PathLike,
    *,
    data: str | os.PathLike | None = None,
    protocol: str | None = None,
    split: str = "test",
    fuse: Sequence[str | os.PathLike] = (),
    fuse_data: str | os.PathLike | None = None,
    fusion: str | None = None,
    fuse_weights: str | Sequence[float] = "equal",
    rescore: bool = False,
    compare: str | os.PathLike | None = None,
    calibrate: float | None = None,
    attention: int = 0,
    tsne: bool = False,
    stages: bool = False,
    radar: Sequence[str | os.PathLike] = (),
    dynamicity: bool = False,
    parts: bool = False,
    joints: bool = False,
    pose_noise: bool = False,
    untrimmed: untrimmed.Settings | None = None,
) -> Metrics:
    """Evaluates a run, or several fused, writes the results and prints them.

    Args:
        path: The run directory.
        data: Folder of the converted dataset; default: that of the training.
        protocol: Evaluation protocol; default: that of the training.
        split: ``train``, ``val`` or ``test``.
        fuse: Other run directories: the fused scores of all runs are evaluated, on the clips that all runs have.
        fuse_data: Folder of the dataset of the runs in ``fuse``; default: that of their training.
        fusion: ``product`` of the scores (late fusion, WACV20) or their ``mean`` (streams of poses, Shi et al., 2020);
            default: the product.
        fuse_weights: ``equal``; ``validation``: of a grid of weights, those with the smallest log-loss on validation
            clips; or one number for each run, of which only the ratios count.
        rescore: Score again, even where stored scores fit model, data and views.
        compare: Another run directory, evaluated on this split before: the gain of every class over it is written, with
            McNemar's test.
        calibrate: Accuracy that accepted clips are to have: a temperature and a threshold are fitted on validation
            clips. ``None``: nothing is fitted.
        attention: Number of clips whose attention is drawn, wrong and right ones in turn.
        tsne: Draw a t-SNE of the features the model classifies, one dot per clip.
        stages: Score the models of the earlier stages too, which shows the accuracy of parts of the model alone.
        radar: Other run directories, evaluated on this split before: pairs of classes that these runs and this one
            confuse are drawn.
        dynamicity: Draw gain, or accuracy, against the classes' dynamicity.
        parts: Draw the attention to body parts beside the accuracy of each part alone.
        joints: Draw the joint activations of a graph network.
        pose_noise: Draw the accuracy on poses with noise and lost joints.
        untrimmed: How whole videos are classified, which are evaluated too; ``None``: they are not.

    Returns:
        The :class:`recipes.reports.scoring.Metrics`.

    Raises:
        UserError: The run has no model, does not fit the data, or was trained on clips of the split; another run has
            other classes, or other labels of the clips; the run to compare with was not evaluated; or the model lacks
            what is to be drawn.
    """
    from recipes import run_directory
    from recipes.reports import fusing, sections, tables

    runs = [run_directory.RunDirectory(each) for each in (path, *fuse)]
    run, protocol = runs[0], protocol or runs[0].recipe.data.protocol
    if not fuse:
        _check_one_run(fuse_data, fusion, fuse_weights)
    fusion = fusion or "product"
    if not isinstance(fuse_weights, str) and len(fuse_weights) != len(runs):
        raise UserError(f"--fuse-weights: {len(fuse_weights)} weights for {len(runs)} runs, expected one for each")
    others = {other: run_directory.RunDirectory(other) for other in ([compare] if compare else []) + list(radar)}
    _check_classes(run, runs[1:])
    _check_classes(run, others.values(), by=sorted)  # predictions.csv has names: any order
    stored = {other: tables.stored_predictions(found, protocol, split) for other, found in others.items()}
    asked = {"--attention": attention, "--tsne": tsne, "--parts": parts, "--joints": joints, "--pose-noise": pose_noise}
    wanted = [option for option, value in asked.items() if value]
    model = _explained(run, fuse, wanted) if wanted else None
    each = [(run, _records(run, data)), *((other, _records(other, fuse_data)) for other in runs[1:])]
    on_validation = "--calibrate" if calibrate else "--fuse-weights" if fuse_weights == "validation" else ""
    for one, records in each:
        for part, option in {split: "", **({"val": on_validation} if on_validation else {})}.items():
            _check(one, records, protocol, part, option)
    videos = _videos(run, each[0][1], protocol, split, fuse, untrimmed) if untrimmed else None
    of_stages = _score_stages(run, each[0][1], protocol, split, fuse, rescore) if stages else {}
    hashed = [(*one, _model_sha256(one[0])) for one in each]
    validation = []
    if on_validation and split == "val":
        messages.warn(f"{on_validation}: is fitted on the clips that are evaluated here, {sections.FITTED_ON_THEM}")
    if on_validation:
        validation = fusing.on_common_clips([_score(*one, protocol, "val", rescore) for one in hashed])
    weights = None
    if fuse_weights == "validation":
        weights = fusing.weights_of(validation, fusion)
    elif not isinstance(fuse_weights, str):
        weights = fusing.given_weights(fuse_weights, fusion)
    alone = fusing.on_common_clips([_score(*one, protocol, split, rescore) for one in hashed])
    scored = fusing.fuse(alone, fusion, weights)
    rows = tables.predictions(scored.ids, run.labels, scored.metrics)
    summary: dict[str, Any] = {}
    more: list[Section] = []

    def add(name: str, found: tuple[Any, Section]) -> Any:
        summary[name] = found[0]
        more.append(found[1])
        return found[0]

    if scored.common and scored.common.missing:
        summary["common_clips"] = scored.common.entry
    if scored.cues:
        summary["cues"] = scored.cues
    if of_stages:
        summary["stages"] = {name: {"top1": metrics.top1} for name, metrics in of_stages.items()}
    if weights:
        add("fusion", (weights, sections.fusion(alone, weights)))
    scored.folder.mkdir(parents=True, exist_ok=True)
    if compare:
        found, section = sections.gain(scored, rows, stored[compare], others[compare].path.resolve().name)
        summary.update(found)
        more.append(section)
    add("roc", sections.areas_under_roc(scored))
    described = None
    if calibrate:
        fitted = sections.fit_calibration(fusing.fuse(validation, fusion, weights), calibrate)
        described = sections.described_calibration(scored, fitted)
        add("calibration", sections.calibrated(scored, fitted, described))
    if radar:
        names = _names([run.path, *radar])
        add("radar", sections.radar(scored, dict(zip(names, [rows, *(stored[other] for other in radar)]))))
    if dynamicity:
        add("dynamicity", sections.dynamicity(scored, summary.get("gain"), summary.get("compared_with", "")))
    if parts:
        add("parts", sections.parts(scored, model, rescore))
    if joints:
        add("joints", sections.joints(scored))
    if pose_noise:
        add("pose_noise", sections.pose_noise(scored))
    if videos:
        add("untrimmed", sections.untrimmed(scored, videos))
    if attention:
        add("attention", sections.attention(scored, attention, rows, model))
    if tsne:
        add("tsne", sections.tsne(scored, rows, model))
    _write(scored, rows, summary, more)
    calibration_file = (scored.folder if fuse else run.path) / sections.CALIBRATION
    if described:
        files.write_json(calibration_file, described)
    elif fuse:  # an earlier file belongs to other runs or weights
        calibration_file.unlink(missing_ok=True)
    _print(scored, of_stages, summary)
    return scored.metrics


def _print(scored: Evaluated, of_stages: dict[str, Metrics], summary: dict[str, Any]) -> None:
    """Prints the figures, and where the rest is."""
    from recipes.reports import sections, tables
    from recipes.reports import untrimmed as whole_videos

    print(f"{scored.title} of {len(scored.ids)} clips; {scored.seen}")
    for name, metrics in {"": scored.metrics, **of_stages}.items():
        if tables.abstained(metrics):
            print(f"stage {name} alone: {tables.abstained(metrics)}" if name else tables.abstained(metrics))
    print(tables.comparison(scored.recipe, scored.protocol, scored.split, scored.metrics, of_stages, scored.basis))
    if "mcnemar" in summary:
        print(sections.gain_text(summary))
        print(sections.test_text(summary["mcnemar"], summary["compared_with"]))
    if "untrimmed" in summary:
        print(whole_videos.text(summary["untrimmed"]))
    if "calibration" in summary:
        print(sections.calibration_text(summary["calibration"]))
    print(f"written to {scored.folder}, see {scored.folder / 'report.html'}", flush=True)


def _videos(
    run: RunDirectory, records: Records, protocol: str, split: str, fuse: Sequence, settings: untrimmed.Settings
) -> untrimmed.Videos:
    """Whole videos, ready to be classified; ``UserError`` if they cannot be, before anything is scored."""
    from recipes.reports import untrimmed

    if fuse:
        raise UserError("--untrimmed: of one run only, leave --fuse out")
    return untrimmed.Videos(run, records, protocol, split, settings)


def _check_one_run(fuse_data: Any, fusion: str | None, fuse_weights: str | Sequence[float]) -> None:
    """``UserError`` if an option for several runs is given for one run."""
    for option, is_given in (
        ("--fuse-data", fuse_data is not None),
        ("--fusion", fusion is not None),
        ("--fuse-weights", fuse_weights != "equal"),
    ):
        if is_given:
            raise UserError(f"{option} applies to several runs: name the others with --fuse")


def _check_classes(
    run: RunDirectory, others: Iterable[RunDirectory], by: Callable[[Sequence[str]], Any] = tuple
) -> None:
    """``UserError`` if classes of other runs differ; ``by=sorted``: in any order."""
    for other in others:
        if by(other.labels) != by(run.labels):
            raise UserError(f"{other.path} has other classes than {run.path}, expected runs of one dataset")


def _names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """Names for run directories: the folders' names; the paths where a folder's name is not unique or a column's."""
    names = [pathlib.Path(path).resolve().name for path in paths]
    taken = [*names, "first", "second"]  # columns of radar.csv
    return names if len(set(taken)) == len(taken) else [str(pathlib.Path(path).resolve()) for path in paths]


def _write(scored: Evaluated, rows: list[dict], summary: dict[str, Any], more: Sequence[Section]) -> None:
    """Writes the tables, ``metrics.json`` and the page; ``summary`` and ``more`` add to their usual content."""
    from recipes import run_directory
    from recipes.reports import calibration, plots, scoring, stored, tables
    from recipes.reports import html as html_report

    run, folder, metrics, labels = scored.run, scored.folder, scored.metrics, scored.run.labels
    classes, pairs = tables.per_class(labels, metrics), tables.confused_pairs(labels, metrics)
    run_directory.write_csv(folder / "per_class.csv", classes)
    columns, counts = tables.confusion(labels, metrics)
    run_directory.write_csv(folder / "confusion.csv", counts, columns)
    run_directory.write_csv(folder / "confused_pairs.csv", pairs, tables.PAIR)
    run_directory.write_csv(folder / "predictions.csv", rows)
    plots.plot_confusion(folder / "confusion.png", labels, metrics, scored.title)
    caption = "Clips by true class (rows) and predicted class (columns)."
    pictures = {"confusion": [(folder / "confusion.png", caption)]}
    if run.history:
        plots.plot_curves(run.path / "curves.png", run.history)
        pictures["curves"] = [(run.path / "curves.png", "Loss, accuracy and learning rate of every stage.")]
    summary = {
        **tables.summary(scored.recipe, scored.protocol, scored.split, labels, metrics, scored.basis),
        "manifest_sha256": scored.records.sha256,
        "log_loss": scoring.cross_entropy(metrics.labels, metrics.scores),
        "calibration_error": calibration.calibration_error(metrics),
        "confused_pairs": pairs,
        **summary,
    }
    if scored.model_sha256:
        summary["model_sha256"] = scored.model_sha256
    else:  # fused: the scores of a single run were stored when they were computed
        fused = stored.Scores(scored.ids, metrics.labels, labels, metrics.scores)
        stored.write(folder / stored.NAME, fused, {"fused": scored.recipe.name, **summary.get("fusion", {})})
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
        more=more,
    )
    files.write_text(folder / "report.html", page)


def _explained(run: RunDirectory, fuse: Sequence, options: Sequence[str]) -> tf.keras.Model:
    """The model that the given options explain; ``UserError`` if they do not fit it, before anything is scored."""
    from recipes import trainers
    from recipes.reports import attention, poses

    if fuse:
        raise UserError(f"{' and '.join(options)}: of one model only, leave --fuse out")
    trainer = trainers.of_run(run)
    if not trainer.has_layers:
        raise UserError(
            f"{' and '.join(options)}: {run.recipe.model.name} is no network and has no layers to show, leave it out"
        )
    model = trainer.load(run)
    if "--attention" in options:
        attention.check_attention(model)
    if "--parts" in options:
        attention.part_names(run, model)
    if "--joints" in options:
        poses.joint_model(model)
    if "--pose-noise" in options:
        poses.check_poses(run)
    return model


def _records(run: RunDirectory, data: str | os.PathLike | None) -> Records:
    """The data that a run is evaluated on; default: those of its training."""
    from tfrecords.reading import pipeline

    return pipeline.Records(data or run.environment["data"]["path"])


def _model_sha256(run: RunDirectory) -> str:
    """SHA-256 of the file of a run's model; empty where there is none."""
    from recipes import trainers

    file = trainers.of_run(run).model_file(run)
    return files.sha256_of(file) if file.is_file() else ""


def _score(
    run: RunDirectory, records: Records, model_sha256: str, protocol: str, split: str, rescore: bool
) -> Evaluated:
    """A run on all clips of a split, from stored scores where they fit."""
    from recipes import trainers
    from recipes.reports import stored
    from recipes.reports.evaluated import Evaluated

    trainer = trainers.of_run(run)
    found = stored.scores_of(run, trainer, records, protocol, split, model_sha256=model_sha256, rescore=rescore)
    name, seen = f"{protocol}-{split}", trainer.views(run.recipe)
    ids, cues = list(found.ids), dict(found.parts)
    return Evaluated(run, run.recipe, records, protocol, split, name, seen, ids, found.metrics, cues, model_sha256)


def _score_stages(
    run: RunDirectory, records: Records, protocol: str, split: str, fuse: Sequence, rescore: bool
) -> dict[str, Metrics]:
    """Stage -> metrics of its own model, for the stages before the last; ``UserError`` if there is none."""
    from recipes.reports import stored

    if fuse:
        raise UserError("--stages: of one run only, leave --fuse out")
    if len(run.recipe.stages) < 2:
        raise UserError(f"--stages: {run.path} was not trained in several stages, leave it out")
    where = run, records, protocol, split
    return {stage.name: stored.metrics_of_stage(stage, *where, rescore=rescore) for stage in run.recipe.stages[:-1]}


def _check(run: RunDirectory, records: Records, protocol: str, split: str, option: str = "") -> None:
    """A run is tested on its own splits, or on data of its dataset that neither trained nor selected it.

    ``option``: the option that needs this split, named in messages; default: ``--split`` itself.
    """
    from recipes.reports import unseen
    from tfrecords.reading import pipeline

    if records.dataset != run.recipe.data.dataset:
        trained = run.recipe.data.dataset
        raise UserError(f"{records.directory} holds {records.dataset}, but {run.path} was trained on {trained}")
    if records.labels_of(protocol) != run.labels:
        classes = f"has other classes under {protocol} than {run.path}"
        raise UserError(f"{records.directory} {classes}, expected the {len(run.labels)} of its labels.txt")
    records.check(run.inputs, protocol, split)
    own = run.recipe.data.protocol
    if (protocol, split, run.recipe.data.train_on) == (own, "val", pipeline.TRAIN_AND_VAL):
        raise UserError(
            f"{option or '--split val'}: {run.path} was trained on its validation clips too (data.train_on: "
            f"{pipeline.TRAIN_AND_VAL}), expected a run trained with --set data.train_on=train"
        )
    if protocol != own and own in records.protocols and records.has_seen(own, protocol, split):
        raise UserError(
            f"--protocol {protocol}: {run.path} was trained, or chosen, on some of its {split} clips under {own}: "
            f"train a run under {protocol}"
        )
    unseen.check(run, records, protocol, split)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
