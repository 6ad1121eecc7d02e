"""The parts of a report that are made on request: each writes its files and gives an entry of ``metrics.json``.

Each takes an :class:`recipes.reports.evaluated.Evaluated` first and gives ``(entry, section)``: JSON values and a
:class:`recipes.reports.html.Section` of the page.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes import run_directory
from recipes.reports import attention as explain
from recipes.reports import calibration, plots, poses, tables
from recipes.reports import stored as stored_scores
from recipes.reports import untrimmed as whole_videos
from recipes.reports.common_clips import CommonClips
from recipes.reports.evaluated import Evaluated
from recipes.reports.html import Section
from recipes.trainers import keras
from zoo import skeletons
from zoo.shared.errors import UserError

CALIBRATION = "calibration.json"
PAIRS = 8  # axes of a radar
FEWEST_PAIRS = 3  # axes that enclose an area
FITTED_ON_THEM = "which makes its figures too good: evaluate another split"


def gain(scored: Evaluated, rows: Sequence[Mapping], others: Sequence[Mapping], name: str) -> tuple[dict, Section]:
    """Gain of every class over another run, and McNemar's test, on the clips that both have.

    Args:
        scored: What was evaluated.
        rows: Its predictions.
        others: The other run's predictions.
        name: The other run's name.
    """
    clips, (rows, others) = _on_common_clips([("this evaluation", rows), (name, others)])
    gains, test = tables.gain(rows, others), tables.mcnemar(rows, others)
    path = scored.folder / "gain.png"
    run_directory.write_csv(path.with_suffix(".csv"), gains)
    plots.plot_gain(path, gains, f"{scored.recipe.name} against {name}")
    caption = "Difference of the accuracies of every class that has clips."
    shown = ("accuracy", "compared_with", "gain")
    entry = {
        "compared_with": name,
        "compared_clips": clips.entry,
        "compared_top1": [float(np.mean([int(row["correct"]) for row in part])) for part in (rows, others)],
        "gain": gains,
        "mcnemar": test,
    }
    text = f"{gain_text(entry)}. {test_text(test, name)}."
    return entry, Section(f"Gain per class over {name}", [(path, caption)], gains, shown, text)


def _on_common_clips(runs: Iterable[tuple[str, Sequence[Mapping]]]) -> tuple[CommonClips, list[list[Mapping]]]:
    """The clips that runs (pairs of name and predictions) have in common, and each run's predictions for them."""
    names, each = zip(*runs)
    clips = CommonClips.of([(name, [row["id"] for row in rows]) for name, rows in zip(names, each)])
    chosen = [clips.choose(rows) for rows in each]
    clips.check_labels([(name, [row["label"] for row in rows]) for name, rows in zip(names, chosen)])
    return clips, chosen


def gain_text(entry: Mapping[str, Any]) -> str:
    """The accuracies that :func:`gain` compares, in words, and which clips count where one run lacks some."""
    (own, other), note = entry["compared_top1"], entry["compared_clips"]["note"]
    text = f"top-1 of {entry['compared_with']}: {other:.1%}, a gain of {own - other:+.1%}"
    return f"{text} to {own:.1%}; {note}" if note else text


def test_text(test: Mapping[str, Any], name: str) -> str:
    """The result of :func:`recipes.reports.tables.mcnemar` in words."""
    only = f"{test['only_this_right']} clips right here alone, {test['only_other_right']} in {name} alone"
    return f"{only}: exact McNemar test p = {test['p_value']:.3g}"


def attention(scored: Evaluated, count: int, rows: list[dict], model: tf.keras.Model) -> tuple[list, Section]:
    """The attention of clips, drawn over their frames."""
    clips = explain.shown_clips(scored.metrics, count)
    paths = explain.draw_attention(scored.folder, clips, model=model, **scored.source)
    drawn = [{"picture": path.name, **rows[clip]} for path, clip in zip(paths, clips)]
    captions = [f"{c['id']}: {c['label']}, taken for {c['prediction']} (score {c['score']:.2f})" for c in drawn]
    return drawn, Section("Attention", list(zip(paths, captions)))


def tsne(scored: Evaluated, rows: list[dict], model: tf.keras.Model) -> tuple[dict, Section]:
    """The t-SNE of features, averaged over a clip's views."""
    run, (_, names) = scored.run, explain.penultimate(model)
    # mean_softmax averages over a clip's views, here features, not scores. The model is read again for the strategy.
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
    entry = {"features": layer, "clips": len(dots)}
    return entry, Section("t-SNE of features", [(scored.folder / "tsne.png", caption)])


def fusion(each: Sequence[Evaluated], entry: Mapping[str, Any]) -> Section:
    """Weights of fused runs.

    Args:
        each: The runs.
        entry: The entry of ``metrics.json``: ``weights``; if they were chosen, also ``chosen_on``, ``step``,
            ``log_loss``.
    """
    rows = [
        {"run": one.run.path.resolve().name, "weight": f"{weight:g}", "top-1 alone": one.metrics.top1}
        for one, weight in zip(each, entry["weights"])
    ]
    text = "The weights were given"
    if "chosen_on" in entry:
        text = f"The weights with the smallest log-loss ({entry['log_loss']:.3f}) on {entry['chosen_on']}"
        text += f", in steps of {entry['step']:.3g}{_fitted_on_them(each[0])}"
    return Section(
        "Weights of the fused runs",
        rows=rows,
        percent=("top-1 alone",),
        text=f"{text}.",
    )


def areas_under_roc(scored: Evaluated) -> tuple[dict, Section]:
    """Area under the ROC curve of every class."""
    rows = calibration.areas_under_roc(scored.run.labels, scored.metrics)
    run_directory.write_csv(scored.folder / "roc.csv", rows)
    areas = [row["auc"] for row in rows if row["auc"] != ""]
    mean = float(np.mean(areas)) if areas else None
    text = "How often a clip of the class has a higher score of it than a clip of another class; 0.5 by chance."
    if mean is not None:
        text = f"Mean over the classes: {mean:.4f}. {text}"
    return {"mean_auc": mean}, Section("Areas under the ROC curve, one class against the others", rows=rows, text=text)


def fit_calibration(validation: Evaluated, accuracy: float) -> calibration.Calibration:
    """The calibration of validation clips, see :meth:`recipes.reports.calibration.Calibration.fit`."""
    return calibration.Calibration.fit(validation.metrics.labels, validation.metrics.scores, accuracy)


def described_calibration(scored: Evaluated, fitted: calibration.Calibration) -> dict[str, Any]:
    """The content of ``calibration.json``.

    Args:
        scored: What was evaluated.
        fitted: What was fitted on validation.
    """
    own = {"model_sha256": scored.model_sha256} if scored.model_sha256 else {}
    return {
        "temperature": fitted.temperature,
        "unknown_below": fitted.threshold,
        "wanted_accuracy": fitted.accuracy,
        "fitted_on": {"protocol": scored.protocol, "split": "val", **fitted.validation},
        "scores": "softmax(log(probabilities) / temperature)",
        "views": dataclasses.asdict(scored.recipe.evaluate),
        **own,
    }


def calibrated(
    scored: Evaluated, fitted: calibration.Calibration, described: Mapping[str, Any]
) -> tuple[dict, Section]:
    """Calibration, and the reject option.

    Args:
        scored: What was evaluated.
        fitted: What was fitted on validation.
        described: What :func:`described_calibration` gives.
    """
    metrics, folder = scored.metrics, scored.folder
    scaled = fitted.apply(metrics)
    curve, kept = calibration.coverage_curve(scaled), fitted.accepted(metrics)
    figures = calibration.before_and_after(metrics.labels, metrics.scores, scaled.scores)
    entry = {**described, "before_and_after": figures, "at_threshold": kept}
    sets = {"as scored": metrics, f"at temperature {fitted.temperature:.3g}": scaled}
    rows = {name: calibration.reliability(one) for name, one in sets.items()}
    plots.plot_reliability(folder / "reliability.png", rows, scored.title)
    run_directory.write_csv(folder / "coverage.csv", curve, ("threshold", "coverage", "accuracy"))
    line = {"accepted clips": ([row["coverage"] for row in curve], [row["accuracy"] for row in curve])}
    points = []
    if kept and kept["accuracy"] is not None:
        points = [(kept["coverage"], kept["accuracy"], f"score of at least {fitted.threshold:.2f}")]
    plots.plot_lines(
        folder / "coverage.png",
        {"fraction of the clips that are accepted": line},
        scored.title,
        y_label="accuracy of accepted clips, %",
        points=points,
    )
    pictures = [
        (
            folder / "reliability.png",
            "Accuracy by confidence. Bars below the dashed line: the model is more sure than it is right. "
            "Temperature scaling was fitted on validation clips; it changes no prediction.",
        ),
        (
            folder / "coverage.png",
            "Reject option: clips whose score, at the temperature, is below a threshold count as unknown. The lower "
            "the threshold, the further right. The star is the threshold that was chosen on validation clips.",
        ),
    ]
    text = calibration_text(entry) + _fitted_on_them(scored)
    return entry, Section("Calibration and reject option", pictures, text=f"{text}.")


def _fitted_on_them(scored: Evaluated) -> str:
    """The note on an evaluation of the validation split, on which something was fitted."""
    return f". It was fitted on the clips that are evaluated here, {FITTED_ON_THEM}" if scored.split == "val" else ""


def calibration_text(entry: Mapping[str, Any]) -> str:
    """The entry of :func:`calibrated` in words."""
    fitted, figures = entry["fitted_on"], entry["before_and_after"]
    error, loss = figures["calibration_error"], figures["log_loss"]
    said = f"temperature {entry['temperature']:.3f}, fitted on {fitted['clips']} validation clips"
    if loss:
        said += f": calibration error {error[0]:.1%} -> {error[1]:.1%}, log-loss {loss[0]:.3f} -> {loss[1]:.3f}"
    wanted = f"{entry['wanted_accuracy']:.0%} of the accepted validation clips right"
    if entry["unknown_below"] is None:
        return f"{said}. No threshold makes {wanted}"
    kept = entry["at_threshold"]
    right = "" if kept["accuracy"] is None else f", {kept['accuracy']:.1%} of them right"
    accepted = f"{kept['coverage']:.1%} of the clips are accepted{right}"
    return f"{said}. Unknown below {entry['unknown_below']:.3f} ({wanted}): {accepted}"


def dynamicity(scored: Evaluated, gains: Sequence[Mapping] | None, other: str) -> tuple[dict, Section]:
    """Gain over another run, or accuracy, against how much the classes' clips move.

    Args:
        scored: What was evaluated.
        gains: Rows of :func:`recipes.reports.tables.gain`; ``None``: accuracy is shown.
        other: The other run's name.
    """
    from scipy.stats import spearmanr

    what, labels = "accuracy" if gains is None else "gain", scored.run.labels
    values = dict(zip(labels, scored.metrics.class_accuracies))
    if gains is not None:
        values = {row["class"]: row["gain"] for row in gains}
    of_clips = poses.clip_dynamicity(**scored.source)[scored.rows]
    known = {label: of_clips[(scored.metrics.labels == n) & ~np.isnan(of_clips)] for n, label in enumerate(labels)}
    names = [label for label, clips in known.items() if len(clips) and label in values]
    if not names:
        raise UserError(f"--dynamicity: no clip of {scored.protocol} {scored.split} has a pose, leave the option out")
    x, y = np.array([known[name].mean() for name in names]), np.array([float(values[name]) for name in names])
    rows = [
        {"class": name, "clips": len(known[name]), "dynamicity": round(float(moved), 5), what: round(float(value), 4)}
        for name, moved, value in zip(names, x, y)
    ]
    run_directory.write_csv(scored.folder / "dynamicity.csv", rows)
    rank = float(spearmanr(x, y).statistic) if len(names) > 2 and np.ptp(x) and np.ptp(y) else None
    path = scored.folder / "dynamicity.png"
    label = "accuracy, %" if gains is None else f"gain over {other}, percentage points"
    x_label = "dynamicity: mean Procrustes distance of consecutive pose steps"
    plots.plot_named_points(path, names, x, 100 * y, scored.recipe.name, labels=(x_label, label))
    caption = (
        f"Every dot is a class: to the right those whose clips move more, at the top those with more {what}. The "
        "distance of two poses is what remains after moving, turning and scaling one onto the other."
    )
    text = "" if rank is None else f"Rank correlation of dynamicity and {what} (Spearman): {rank:+.2f}."
    entry = {"rank_correlation": rank, "classes": rows}
    return entry, Section("Action dynamicity", [(path, caption)], rows, (what,), text)


def parts(scored: Evaluated, model: tf.keras.Model, rescore: bool) -> tuple[list[dict], Section]:
    """Mean part attention of every class against the accuracy of the parts alone.

    Args:
        scored: What was evaluated.
        model: The run's model.
        rescore: Score the parts again, even where stored scores fit.
    """
    names = explain.part_names(scored.run, model)
    labels, of_clips = keras.outputs(
        **scored.source, pool="mean_softmax", change=explain.part_attention, mirrored=False
    )
    stages = explain.stages_of_parts(scored.run, names)
    classes = scored.run.labels
    attention = np.full((len(classes), len(names)), np.nan)
    for number in np.unique(labels):
        attention[number] = of_clips[labels == number].mean(axis=0)
    accuracy = np.full_like(attention, np.nan)
    for column, name in enumerate(names):
        if name in stages:
            alone = stored_scores.metrics_of_stage(stages[name], **scored.source, rescore=rescore)
            accuracy[:, column] = alone.class_accuracies
    rows = [
        {
            "class": label,
            **{f"attention_{name}": _rounded(value) for name, value in zip(names, attention[number])},
            **{f"accuracy_{name}": _rounded(value) for name, value in zip(names, accuracy[number])},
        }
        for number, label in enumerate(classes)
    ]
    run_directory.write_csv(scored.folder / "parts.csv", rows)
    path = scored.folder / "parts.png"
    columns = [name.replace("_", " ") for name in names]
    panels = {"mean attention": attention, "accuracy of the part alone": accuracy}
    plots.plot_tables(path, classes, columns, panels, scored.recipe.name)
    caption = (
        "Left: how much attention the clips of a class give each body part, on average; a row sums to 1. Right: which "
        "fraction of them the network of this part alone has right. Where attention helps, dark fields are at the same "
        "places. Grey: no stage of the run trained this part alone, or the class has no clips."
    )
    differing = np.ptp(accuracy, axis=1) > 0  # False for NaN
    known = differing & ~np.isnan(attention).any(axis=1)
    agree, text = 0, ""
    for weights, accuracies in zip(attention[known], accuracy[known]):
        agree += int(accuracies[weights.argmax()] == accuracies.max())
    if known.any():
        which = "the part with the most attention is the best alone"
        text = f"In {agree} of the {known.sum()} classes whose parts differ, {which}."
    return rows, Section("Attention to body parts", [(path, caption)], text=text)


def _rounded(value):
    """A fraction for a table; empty for NaN."""
    return "" if np.isnan(value) else round(float(value), 4)


def radar(scored: Evaluated, runs: Mapping[str, Sequence[Mapping]]) -> tuple[list[dict], Section]:
    """Pairs of classes that several runs confuse, on the clips that all of them have.

    Args:
        scored: What was evaluated.
        runs: Run's name -> its predictions.

    Raises:
        UserError: The runs confuse fewer than three pairs of classes.
    """
    clips, chosen = _on_common_clips(runs.items())
    runs = dict(zip(runs, chosen))
    if clips.note:
        print(f"--radar: {clips.note}", flush=True)
    rows = tables.mutual_confusions(scored.run.labels, runs, PAIRS)
    if len(rows) < FEWEST_PAIRS:
        raise UserError(f"--radar: the runs confuse {len(rows)} pairs of classes, expected at least {FEWEST_PAIRS}")
    run_directory.write_csv(scored.folder / "radar.csv", rows)
    path = scored.folder / "radar.png"
    names = [f"{row['first']} /\n{row['second']}" for row in rows]
    lines = {name: np.array([row[name] for row in rows]) for name in runs}
    plots.plot_radar(path, names, lines, "clips taken for the other class of a pair, %")
    caption = (
        "Every axis is a pair of classes; those most confused by all runs together come first, from the right "
        "counter-clockwise. The distance from the centre is the fraction of both classes' clips that a run takes for "
        "the other class: the smaller a run's area, the better it separates these pairs."
    )
    text = f"{clips.note}." if clips.note else ""
    return rows, Section("Confused pairs of several runs", [(path, caption)], rows, tuple(runs), text)


def joints(scored: Evaluated) -> tuple[list[dict], Section]:
    """Activations of the joints in a graph network."""
    run = scored.run
    activations, middle, _ = poses.joint_activations(**scored.source)
    known = ~np.isnan(activations).any(axis=1)
    if not known.any():
        raise UserError(f"--joints: no clip of {scored.protocol} {scored.split} has a pose, leave the option out")
    layout = skeletons.get(run.inputs.layout)
    rows = [
        {"class": label, **{joint: _rounded(value) for joint, value in zip(layout.joints, values)}}
        for label, values in zip(run.labels, activations)
    ]
    run_directory.write_csv(scored.folder / "joints.csv", rows)
    labels = [label for label, there in zip(run.labels, known) if there]
    largest = activations[known].max(axis=1, keepdims=True)
    relative = activations[known] / np.maximum(largest, 1e-12)
    path = scored.folder / "joints.png"
    plots.plot_skeletons(
        path, labels, middle[known], relative, layout.bones, f"{scored.recipe.name}: joint activations"
    )
    caption = (
        "The mean pose of every class in the middle of its clips, from the front. The larger and brighter a joint, the "
        "stronger its features are in the last graph layer (norm over channels, mean over steps and clips), compared "
        "with the class's strongest joint."
    )
    strongest = [
        {"class": label, "strongest joints": ", ".join(layout.joints[joint] for joint in np.argsort(-values)[:3])}
        for label, values in zip(labels, activations[known])
    ]
    return rows, Section("Joint activations", [(path, caption)], strongest)


def pose_noise(scored: Evaluated) -> tuple[list[dict], Section]:
    """Accuracy on poses that are made worse."""
    rows = poses.pose_noise(**scored.source, clean=scored.metrics)
    run_directory.write_csv(scored.folder / "pose_noise.csv", rows)
    panels: dict[str, dict] = {}
    for name in dict.fromkeys(row["change"] for row in rows):
        own = [row for row in rows if row["change"] == name]
        amounts = [row["amount"] for row in own]
        panels[name] = {
            "top-1": (amounts, [row["top1"] for row in own]),
            "mean per class": (amounts, [row["mean_class_accuracy"] for row in own]),
        }
    path = scored.folder / "pose_noise.png"
    plots.plot_lines(path, panels, scored.recipe.name, y_label="accuracy, %")
    caption = (
        "Accuracy when the recorded poses are made worse, left to right: noise of this standard deviation on every "
        "coordinate; joints lost in this fraction of the frames and interpolated, as a conversion does; joints that "
        "were never seen, at zero, as a request has them. The flatter, the less the model depends on good poses."
    )
    return rows, Section("Worse poses", [(path, caption)], rows, ("top1", "mean_class_accuracy"))


def untrimmed(scored: Evaluated, videos: whole_videos.Videos) -> tuple[dict[str, Any], Section]:
    """Frames, segments and events of whole videos over which windows slide.

    Args:
        scored: What was evaluated.
        videos: Its videos.
    """
    streams = videos.classify()
    found = whole_videos.figures(streams, videos.settings)
    run_directory.write_csv(scored.folder / "untrimmed.csv", whole_videos.rows(streams), whole_videos.COLUMNS)
    columns = {"segment F1": "segment_f1", "mAP": "mean_average_precision"}
    figures = [
        {
            "overlap": overlap,
            **{name: "" if found[key][overlap] is None else found[key][overlap] for name, key in columns.items()},
        }
        for overlap in found["segment_f1"]
    ]
    text = whole_videos.text(found).replace("\n", "; ")
    return found, Section("Untrimmed videos", (), figures, tuple(columns), f"{text}.")
