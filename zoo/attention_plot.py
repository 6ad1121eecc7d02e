"""A picture of a model's attention: spatial attention over the frames, temporal attention under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from zoo import skeletons
from zoo.attention import attention_maps
from zoo.checks import ZooError, check_minimum

if TYPE_CHECKING:
    import tensorflow as tf
    from matplotlib.figure import Figure

_PICTURE = 1.6  # side of a frame in the figure, inches


def plot_attention(
    model: tf.keras.Model, features: Mapping[str, np.ndarray], *, clip: int = 0, pictures: int = 8
) -> Figure:
    """Draws the attention maps of one clip.

    Args:
        model: A model with attention that takes pictures.
        features: The model's inputs, ``[B, ...]`` each.
        clip: Which of the B clips.
        pictures: Number of frames to show, evenly spread over the clip; a clip with fewer frames is shown whole.

    Returns:
        A ``matplotlib.figure.Figure``: the frames, a row for each body part that the model sees; the frames of the
        full body with spatial attention over them (bright: high weights; a map that changes over time is shown at the
        step of each frame); below, one row of bars for every attention without pixel coordinates, such as temporal
        attention. Attention to hands has one row per hand.

    Raises:
        ZooError: The model has no attention layer or no pictures, there is no such clip, or ``pictures`` is below 1.

    Example:
        >>> import zoo
        >>> model = zoo.build("separable_sta", num_classes=4, frames=16, size=64, width=0.125, joints=20, lstm_units=8)
        >>> clip = {name: np.zeros((1, *tensor.shape[1:]), "float32") for name, tensor in model.input.items()}
        >>> figure = plot_attention(model, clip, pictures=4)
        >>> len(figure.axes)  # twice four frames, the colour bar and the temporal attention
        10
    """
    parts = skeletons.parts_of(model.input)
    if not parts:
        raise ZooError(f"{model.name} takes no pictures to draw attention beside")
    check_minimum(1, pictures=pictures)
    clips = len(features[skeletons.input_name(parts[0])])
    if not 0 <= clip < clips:
        raise ZooError(f"clip is {clip}, expected a number from 0 to {clips - 1}")
    one = {name: np.asarray(value)[clip : clip + 1] for name, value in features.items()}
    maps = {name: value.numpy()[0] for name, value in attention_maps(model)(one, training=False).items()}
    hands = _over_hands(model)
    spatial = {name: value for name, value in maps.items() if value.ndim >= 2 and name not in hands}
    bars = {}
    for name, value in maps.items():
        if name not in spatial:
            bars.update(_bars(name, value))
    return _draw({part: one[skeletons.input_name(part)][0] for part in parts}, spatial, bars, pictures)


def _over_hands(model):
    """Names of the maps over steps and hands: they have two axes, like a map over a frame's positions."""
    from zoo.layers import every_layer
    from zoo.models.sta_hands import GlimpseLSTM

    looks_at_hands = any(isinstance(layer, GlimpseLSTM) for layer in every_layer(model))
    return ("spatial_attention",) if looks_at_hands else ()


def _bars(name, value):
    """Label -> (heights of a row of bars, top of its axis): all rows of one map have the same top."""
    from zoo.models.sta_hands import HANDS

    rows = {_words(name): value}
    if value.ndim == 2:  # [T, G]: every person's hands
        persons = value.shape[1] // len(HANDS)
        of = [f" of person {person}" if persons > 1 else "" for person in range(1, persons + 1)]
        labels = [f"{_words(name)}\n{hand.replace('_', ' ')}{whose}" for whose in of for hand in HANDS]
        rows = dict(zip(labels, value.T))
    top = max(1.05 * float(value.max()), 1e-6)
    return {label: (heights, top) for label, heights in rows.items()}


def _draw(parts, spatial, bars, pictures):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    over = next(iter(parts))  # the full body, where the model sees it
    count = len(parts[over])
    shown = np.linspace(0, count - 1, min(pictures, count)).round().astype(int)
    rows = len(parts) + len(spatial) + len(bars)
    figure = Figure((_PICTURE * len(shown) + 1, _PICTURE * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, len(shown))
    images = {part: (frames[shown] + 1) / 2 for part, frames in parts.items()}  # from [-1, 1]
    for row, part in enumerate(parts):
        for column, image in enumerate(images[part]):
            axes = _picture(figure, grid[row, column], image, part if column == 0 else "")
            if row == 0:
                axes.set_title(f"frame {shown[column]}", fontsize=8)
    for row, (name, value) in enumerate(spatial.items(), start=len(parts)):
        for column, image in enumerate(images[over]):
            at_frame = value[shown[column] * len(value) // count] if value.ndim == 3 else value
            axes = _picture(figure, grid[row, column], image.mean(axis=-1), name if column == 0 else "")
            extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
            heat = axes.imshow(at_frame, cmap="inferno", alpha=0.5, extent=extent, vmin=value.min(), vmax=value.max())
        figure.colorbar(heat, ax=axes, shrink=0.8)
    for row, (label, (heights, top)) in enumerate(bars.items(), start=len(parts) + len(spatial)):
        axes = figure.add_subplot(grid[row, :])
        axes.bar(range(len(heights)), heights, width=0.9)
        axes.set_xlim(-0.5, len(heights) - 0.5)
        axes.set_ylim(0, top)
        axes.set_xticks(range(len(heights)))
        axes.set_ylabel(label, fontsize=8)
    return figure


def _picture(figure, cell, image, name):
    axes = figure.add_subplot(cell)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel(_words(name), fontsize=8)
    return axes


def _words(name):
    return name.replace("_", " ").replace(" attention", "\nattention")
