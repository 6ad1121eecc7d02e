"""A picture of a prediction: frames of the clip, and bars of the most probable classes."""

from __future__ import annotations

import os
import pathlib
import warnings
from typing import TYPE_CHECKING

import numpy as np

from serving.client import clips
from serving.client.prediction import Prediction
from zoo.shared import files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FRAMES = 6
SUFFIX = ".png"
_SIDE = 1.6  # of a frame, inches
_BAR = 0.32  # height of a bar with its distance to the next, inches
_LABEL = 32  # characters in a line
_DOTS_PER_INCH = 110


def check(path: str | os.PathLike) -> None:
    """Raises :class:`UserError` if a picture cannot have this name; called before the work that it would show."""
    if pathlib.Path(path).suffix.lower() != SUFFIX:
        raise UserError(f"--picture {path}: expected the name of a {SUFFIX} file")


def draw(frames: np.ndarray, prediction: Prediction, *, top: int = 5, title: str = "") -> Figure:
    """Draws a prediction.

    Args:
        frames: What the model saw of the clip, ``[T, H, W, 3]`` uint8, RGB; up to :data:`FRAMES` of them are shown,
            evenly spread.
        prediction: The prediction.
        top: Number of classes to show.
        title: Text above the frames.

    Returns:
        A ``matplotlib.figure.Figure``; ``figure.savefig`` needs no display.

    Example:
        >>> prediction = Prediction("i3d", 1, "serving_default", ("yoga", "crying"), (0.9, 0.1))
        >>> len(draw(np.zeros((64, 32, 32, 3), np.uint8), prediction).axes)  # six frames and the bars
        7
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = clips.spread(len(frames), FRAMES)
    bars = min(top, len(prediction.labels))
    heights = (_SIDE + 0.3, _BAR * bars + 0.2)
    figure = Figure((_SIDE * FRAMES, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    strip, chart = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])  # each with margins of its own
    for column, index in enumerate(shown, start=1):
        axes = strip.add_subplot(1, FRAMES, column)
        axes.imshow(frames[index])
        axes.set_axis_off()
    _draw_bars(chart.subplots(), prediction.labels[:bars], prediction.probabilities[:bars])
    strip.suptitle(_fitted(title, 90), fontsize=10, parse_math=False)
    return figure


def _draw_bars(axes, labels, probabilities):
    """A horizontal bar for every class, the most probable on top."""
    rows = range(len(labels))
    axes.barh(rows, probabilities, height=0.7)
    for row, probability in zip(rows, probabilities):
        axes.text(probability + 0.01, row, f"{probability:.1%}", va="center", fontsize=9)
    axes.set_yticks(rows, [_fitted(label, _LABEL) for label in labels], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)  # room for the number beside a full bar
    axes.set_xticks([])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _fitted(text, width):
    """Text in one line of limited length."""
    return f"{text[: width - 1].rstrip()}…" if len(text) > width else text


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Writes a picture as PNG, whole or not at all.

    Args:
        figure: The picture.
        path: File to write; its folder is made if missing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks is drawn as a box
        with files.whole_file(path) as partial:
            figure.savefig(partial, format="png", dpi=_DOTS_PER_INCH)
