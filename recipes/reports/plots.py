"""The pictures an evaluation writes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.shared import files

if TYPE_CHECKING:
    from recipes.reports.scoring import Metrics


def plot_confusion(path: str | os.PathLike, labels: Sequence[str], metrics: Metrics, title: str) -> None:
    """Draws the confusion matrix as PNG: fractions of each true class, with the numbers of clips.

    Args:
        path: File to write.
        labels: Class names.
        metrics: A :class:`recipes.reports.scoring.Metrics`.
        title: Title.
    """
    confusion = metrics.confusion
    fractions = confusion / np.maximum(metrics.clips[:, np.newaxis], 1)
    side = max(5.0, 0.45 * len(labels) + 2.5)
    figure, axes = _figure(side, side)
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    names = [_plain(label) for label in labels]
    axes.set_xticks(range(len(labels)), names, rotation=90)
    axes.set_yticks(range(len(labels)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(_plain(title))
    if len(labels) <= 40:  # with more, the numbers are too small to read
        for (true, predicted), clips in np.ndenumerate(confusion):
            if clips:
                colour = "white" if fractions[true, predicted] > 0.5 else "black"
                axes.text(predicted, true, str(clips), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.8, label="fraction of the true class")
    _save(figure, path)


def plot_curves(path: str | os.PathLike, history: Sequence[Mapping[str, Any]]) -> None:
    """Draws loss, accuracy and learning rate of all stages as PNG.

    Args:
        path: File to write.
        history: Rows of ``RunDirectory.history``.
    """
    figure, (loss, accuracy, rate) = _figure(15, 4, columns=3)
    start = 0
    for stage in dict.fromkeys(row["stage"] for row in history):
        rows = [row for row in history if row["stage"] == stage]
        epochs = [start + row["epoch"] for row in rows]
        (line,) = loss.plot(epochs, [row["loss"] for row in rows], label=f"{stage}: training")
        shade = {"color": line.get_color()}
        loss.plot(epochs, [row["val_loss"] for row in rows], "--", label=f"{stage}: validation", **shade)
        accuracy.plot(epochs, [row["accuracy"] for row in rows], **shade)
        accuracy.plot(epochs, [row["val_accuracy"] for row in rows], "--", **shade)
        rate.plot(epochs, [row["learning_rate"] for row in rows], **shade)
        start = epochs[-1]
    for axes, title in ((loss, "loss"), (accuracy, "accuracy"), (rate, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    loss.legend()
    rate.set_yscale("log")
    _save(figure, path)


def plot_gain(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draws the gain per class as PNG: a bar for every class, the largest gain on top.

    Args:
        path: File to write.
        rows: Rows of :func:`recipes.reports.tables.gain`.
        title: Title.
    """
    gains = [100 * row["gain"] for row in rows]
    figure, axes = _figure(8, 0.3 * len(rows) + 1.5)
    axes.barh(range(len(rows)), gains, color=["tab:green" if gain >= 0 else "tab:red" for gain in gains])
    axes.set_yticks(range(len(rows)), [_plain(row["class"]) for row in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("gain in accuracy, percentage points")
    axes.set_title(_plain(title))
    axes.grid(axis="x", alpha=0.3)
    _save(figure, path)


def plot_map(
    path: str | os.PathLike, points: np.ndarray, truths: np.ndarray, labels: Sequence[str], title: str
) -> None:
    """Draws clips as dots in the plane, coloured by their true class, as PNG.

    Args:
        path: File to write.
        points: ``[N, 2]``.
        truths: ``[N]`` true classes.
        labels: Class names.
        title: Title.
    """
    import matplotlib

    figure, axes = _figure(10, max(6.0, 0.1 * len(labels) + 2))
    colours = matplotlib.colormaps["nipy_spectral"](np.linspace(0.03, 0.97, len(labels)))
    markers = "osv^D"  # with many classes, neighbouring colours are hard to tell apart
    for number, (label, colour) in enumerate(zip(labels, colours)):
        own = points[truths == number]
        if len(own):
            marker = markers[number % len(markers)]
            axes.scatter(own[:, 0], own[:, 1], s=14, color=[colour], marker=marker, label=_plain(label))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(_plain(title))
    figure.legend(loc="outside right upper", fontsize=7, ncols=1 + len(labels) // 40)
    _save(figure, path)


def plot_reliability(path: str | os.PathLike, sets: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> None:
    """Draws reliability diagrams side by side as PNG: accuracy by confidence, and the fraction of clips in each bin.

    Args:
        path: File to write.
        sets: Title of a diagram -> rows of :func:`recipes.reports.calibration.reliability`.
        title: Title of all.
    """
    figure, all_axes = _figure(5 * len(sets), 5, columns=len(sets))
    for axes, (name, rows) in zip(np.atleast_1d(all_axes), sets.items()):
        left, width = [row["above"] for row in rows], [row["to"] - row["above"] for row in rows]
        clips = sum(row["clips"] for row in rows)
        axes.bar(left, [row["accuracy"] for row in rows], width, align="edge", edgecolor="white", label="accuracy")
        fractions = [row["clips"] / clips for row in rows]
        axes.bar(left, fractions, width, align="edge", color="none", edgecolor="tab:orange", label="fraction of clips")
        axes.plot(
            [row["confidence"] for row in rows], [row["accuracy"] for row in rows], "k.", label="bin's mean confidence"
        )
        axes.plot([0, 1], [0, 1], "k--", linewidth=0.8, label="calibrated")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("confidence: score of the predicted class")
        axes.set_title(_plain(name))
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=8)
    figure.suptitle(_plain(title))
    _save(figure, path)


def plot_lines(
    path: str | os.PathLike,
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]],
    title: str,
    *,
    y_label: str,
    points: Sequence[tuple[float, float, str]] = (),
) -> None:
    """Draws lines as PNG, panel beside panel; fractions up the y axis as percent.

    Args:
        path: File to write.
        panels: Label of a panel's x axis -> line's name -> ``(x, y)``.
        title: Title.
        y_label: Label of the y axes.
        points: ``(x, y, name)`` to mark in the first panel.
    """
    figure, all_axes = _figure(5 * len(panels), 4, columns=len(panels))
    first, *others = np.atleast_1d(all_axes)
    for axes in others:
        axes.sharey(first)
    for axes, (x_label, lines) in zip(np.atleast_1d(all_axes), panels.items()):
        for name, (x, y) in lines.items():
            axes.plot(x, 100 * np.asarray(y), marker="o" if len(x) < 20 else None, label=_plain(name))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(alpha=0.3)
    for across, up, name in points:
        first.plot([across], [100 * up], "k*", markersize=12, label=_plain(name))
    first.legend(fontsize=8)
    figure.suptitle(_plain(title))
    _save(figure, path)


def plot_named_points(
    path: str | os.PathLike, names: Sequence[str], x: np.ndarray, y: np.ndarray, title: str, *, labels: tuple[str, str]
) -> None:
    """Draws a dot with its name for every class, as PNG.

    Args:
        path: File to write.
        names: Names of the dots.
        x: ``[N]``.
        y: ``[N]``.
        title: Title.
        labels: Labels of the x and y axes.
    """
    figure, axes = _figure(9, 6)
    axes.scatter(x, y, s=20)
    for name, *at in zip(names, x, y):
        axes.annotate(_plain(name), at, xytext=(4, 3), textcoords="offset points", fontsize=8)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.margins(x=0.15)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_title(_plain(title))
    axes.grid(alpha=0.3)
    _save(figure, path)


def plot_tables(
    path: str | os.PathLike,
    rows: Sequence[str],
    columns: Sequence[str],
    tables: Mapping[str, np.ndarray],
    title: str,
) -> None:
    """Draws tables of fractions side by side as PNG, colour and number in every field; grey without a value.

    Args:
        path: File to write.
        rows: Names of the rows.
        columns: Names of the columns.
        tables: Title -> ``[rows, columns]``; NaN: no value.
        title: Title of all.
    """
    height = max(3.0, 0.3 * len(rows) + 2)
    figure, all_axes = _figure(3.5 * len(tables) + 2, height, columns=len(tables))
    for number, (axes, (name, values)) in enumerate(zip(np.atleast_1d(all_axes), tables.items())):
        axes.set_facecolor("lightgrey")
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(columns)), [_plain(column) for column in columns], rotation=30, ha="right")
        axes.set_yticks(range(len(rows)), [_plain(row) for row in rows] if not number else [""] * len(rows))
        axes.set_title(_plain(name))
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "white" if value > 0.5 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    figure.suptitle(_plain(title))
    _save(figure, path)


def plot_radar(path: str | os.PathLike, axes_names: Sequence[str], lines: Mapping[str, np.ndarray], title: str) -> None:
    """Draws a radar chart as PNG: one polygon per line, its values from 0 in the centre.

    Args:
        path: File to write.
        axes_names: Names of the axes, at least three.
        lines: Name -> ``[axes]`` values, fractions.
        title: Title.
    """
    figure = _canvas(10, 7.5)
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0, 2 * np.pi, len(axes_names), endpoint=False)
    for name, values in lines.items():
        closed = [*range(len(angles)), 0]
        (line,) = axes.plot(angles[closed], 100 * np.asarray(values)[closed], label=_plain(name))
        axes.fill(angles[closed], 100 * np.asarray(values)[closed], alpha=0.1, color=line.get_color())
    axes.set_xticks(angles, [_plain(name) for name in axes_names], fontsize=8)
    for label, angle in zip(axes.get_xticklabels(), angles):
        cosine = np.cos(angle)
        label.set_horizontalalignment("center" if abs(cosine) < 0.1 else "left" if cosine > 0 else "right")
    axes.set_ylim(bottom=0)
    axes.set_title(_plain(title), pad=20)
    figure.legend(loc="outside lower center", ncols=min(len(lines), 4), fontsize=9)
    _save(figure, path)


def plot_skeletons(
    path: str | os.PathLike,
    names: Sequence[str],
    poses: np.ndarray,
    values: np.ndarray,
    bones: Sequence[tuple[int, int]],
    title: str,
) -> None:
    """Draws a skeleton per class, seen from the front, the size and colour of a joint by its value, as PNG.

    Args:
        path: File to write.
        names: Names of the classes.
        poses: ``[C, J, 3]``, Y up.
        values: ``[C, J]``, from 0 to 1.
        bones: Pairs of joints.
        title: Title.
    """
    columns = min(5, len(names))
    rows = -(-len(names) // columns)
    figure = _canvas(2.4 * columns + 1, 2.8 * rows + 0.6)
    for number, (name, pose, value) in enumerate(zip(names, poses, values)):
        axes = figure.add_subplot(rows, columns, number + 1)
        for bone in bones:
            axes.plot(*pose[list(bone), :2].T, color="lightgrey", linewidth=2, zorder=1)
        dots = axes.scatter(*pose[:, :2].T, s=10 + 150 * value, c=value, cmap="viridis", vmin=0, vmax=1, zorder=2)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_axis_off()
        axes.set_title(_plain(name), fontsize=9)
    figure.colorbar(dots, ax=figure.axes, shrink=0.6, label="activation, of the class's largest")
    figure.suptitle(_plain(title))
    _save(figure, path)


def _plain(text: str) -> str:
    """Text that matplotlib draws unchanged: a pair of dollar signs would be mathematics."""
    return text.replace("$", r"\$")


def _canvas(width, height):
    """A figure that needs no display and leaves matplotlib's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _figure(width, height, columns=1):
    """A figure and its axes, side by side."""
    figure = _canvas(width, height)
    return figure, figure.subplots(1, columns)


def _save(figure, path):
    with files.whole_file(path) as partial:
        figure.savefig(partial, dpi=110)
