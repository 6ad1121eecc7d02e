"""A picture of what a model attends to: spatial attention over the frames, temporal attention under them."""

import numpy as np

from zoo.registry import ZooError

_PICTURE = 1.6  # side of a frame in the figure, inches


def plot_attention(model, features, *, clip=0, pictures=8):
    """Draws the attention maps of one clip.

    Args:
        model: A model with attention and the input ``rgb``.
        features: The model's inputs, ``[B, ...]`` each.
        clip: Which of the B clips.
        pictures: Frames to show, evenly spread over the clip.

    Returns:
        A ``matplotlib.figure.Figure``: the frames; the frames under spatial attention (bright where the weights are
        high; a map that changes in time is shown as it is at each frame); one row of bars for every attention that has
        no place, such as temporal attention, whose bars stand below the frames they weigh.

    Raises:
        ZooError: The model has no attention layer or no frames.

    Example:
        >>> import zoo
        >>> model = zoo.build("separable_sta", num_classes=4, frames=16, size=64, width=0.125, joints=20, lstm_units=8)
        >>> clip = {name: np.zeros((1, *tensor.shape[1:]), "float32") for name, tensor in model.input.items()}
        >>> figure = plot_attention(model, clip, pictures=4)
        >>> len(figure.axes)  # twice four frames, the colour bar and the temporal attention
        10
    """
    import zoo

    if "rgb" not in features:
        raise ZooError(f"{model.name} has no frames to draw attention over: expected the input rgb")
    one = {name: np.asarray(value)[clip : clip + 1] for name, value in features.items()}
    maps = zoo.attention_maps(model)(one, training=False)
    return _draw(one["rgb"][0], {name: value.numpy()[0] for name, value in maps.items()}, pictures)


def _draw(frames, maps, pictures):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spatial = {name: value for name, value in maps.items() if value.ndim >= 2}
    bars = {name: value for name, value in maps.items() if value.ndim == 1}
    shown = np.linspace(0, len(frames) - 1, min(pictures, len(frames))).round().astype(int)
    rows = 1 + len(spatial) + len(bars)
    figure = Figure((_PICTURE * len(shown) + 1, _PICTURE * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows, len(shown))
    images = (frames[shown] + 1) / 2  # from [-1, 1]
    for column, image in enumerate(images):
        axes = _picture(figure, grid[0, column], image, "rgb" if column == 0 else "")
        axes.set_title(f"frame {shown[column]}", fontsize=8)
    for row, (name, value) in enumerate(spatial.items(), start=1):
        for column, image in enumerate(images):
            at_frame = value[shown[column] * len(value) // len(frames)] if value.ndim == 3 else value
            axes = _picture(figure, grid[row, column], image.mean(axis=-1), name if column == 0 else "")
            extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
            heat = axes.imshow(at_frame, cmap="inferno", alpha=0.5, extent=extent, vmin=value.min(), vmax=value.max())
        figure.colorbar(heat, ax=axes, shrink=0.8)
    for row, (name, value) in enumerate(bars.items(), start=1 + len(spatial)):
        axes = figure.add_subplot(grid[row, :])
        axes.bar(range(len(value)), value, width=0.9)
        axes.set_xlim(-0.5, len(value) - 0.5)
        axes.set_ylim(0, max(1.05 * float(value.max()), 1e-6))
        axes.set_xticks(range(len(value)))
        axes.set_ylabel(_words(name), fontsize=8)
    return figure


def _picture(figure, place, image, name):
    axes = figure.add_subplot(place)
    axes.imshow(image, cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel(_words(name), fontsize=8)
    return axes


def _words(name):
    return name.replace("_", " ").replace(" attention", "\nattention")
