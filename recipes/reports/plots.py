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
    if len(labels) <= 40:  # beyond, the numbers are too small to read
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
        history: Rows of :attr:`recipes.run_directory.RunDirectory.history`.
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


def _plain(text: str) -> str:
    """Text that matplotlib draws unchanged: a pair of dollar signs would be mathematics."""
    return text.replace("$", r"\$")


def _figure(width, height, columns=1):
    """A figure that needs no display and leaves matplotlib's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def _save(figure, path):
    with files.whole_file(path) as partial:
        figure.savefig(partial, dpi=110)
