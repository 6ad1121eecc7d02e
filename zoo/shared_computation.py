"""Long video: what I3D computes for a frame is shared by all windows that contain the frame.

::

    frames ─► I3D up to a block ─► maps: a step every 2, 4 or 8 frames                     once
                                   |======|
                                      |======|     steps of a window ─► the later layers ─► softmax    for each window
                                         |======|
    poses of a window ────────────────────────────────────────┘

I3D is convolutional in time, so one pass over a stretch of video computes the maps of all windows in it. These maps
differ from those of a window that is computed separately. In a separate window every layer sees zeros beyond the
window's ends. In a stretch it sees the neighbouring frames: in block Mixed_5c 44 before and 47 after those of a step.
Predictions therefore differ; ``docs/performance.md`` states the effect on accuracy, and what each block saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from zoo import built_model
from zoo.checks import ZooError, check_choice
from zoo.models import i3d
from zoo.shared import sharing

# Block up to which computation is shared -> frames of a step of its map.
STEPS = {
    **dict.fromkeys(("Mixed_3b", "Mixed_3c"), 2),
    **dict.fromkeys(("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"), 4),
    **dict.fromkeys(("Mixed_5b", "Mixed_5c"), 8),
}
_FIRST_LAYER = "Conv3d_1a_7x7.conv_3d"


class SharedComputation:
    """Classifies windows of a long video with a model; up to a block of I3D, all windows share the computation.

    Args:
        model: A model of :func:`zoo.build` with I3D as its network of video, such as ``i3d``, ``pi3d``,
            ``separable_sta`` or ``vpn``.
        block: The last block that is shared, one of :data:`STEPS`: a later block saves more, but its maps see more
            frames beyond a window's ends.

    Attributes:
        step: Number of frames; windows can begin at its multiples.
        frames: Frames T of a window.
        videos: Names of the inputs that are videos.
        others: Names of the other inputs, such as ``pose``.
        maps: A ``tf.function`` of the videos, in the order of ``videos``, ``[B, any number, H, W, 3]`` in [-1, 1] ->
            list of maps ``[B, steps, m, n, c]``.
        rest: A ``tf.function`` of the maps of a window and the other inputs -> ``probabilities`` and ``logits``,
            ``[B, C]``.

    Raises:
        ZooError: The model has no such block, or T is no multiple of its steps.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=16, size=32, width=0.125)
        >>> video = np.zeros((40, 32, 32, 3), np.float32)
        >>> rows = SharedComputation(model).predict(lambda first, end: {"rgb": video[first:end]}, range(0, 40, 8))
        >>> [row.shape for row in rows]
        [(4,), (4,), (4,), (4,)]
    """

    def __init__(self, model: tf.keras.Model, block: str = sharing.BLOCK) -> None:
        check_choice("block", block, STEPS)
        towers = _towers(model)
        names = [layer.name for layer in model.layers]
        missing = [prefix + block for prefix in towers if prefix + block not in names]
        if missing or not towers:
            without = f"no block {missing[0]}" if towers else "no I3D that sees its frames"
            raise ZooError(f"{model.name} has {without}, so that windows cannot share computation up to {block}")
        self.videos = list(towers.values())
        self.others = [name for name in model.input if name not in self.videos]
        self.step, self.frames = STEPS[block], model.input[self.videos[0]].shape[1]
        if self.frames % self.step:
            raise ZooError(
                f"windows have {self.frames} frames, expected a multiple of {self.step}, the frames per step of {block}"
            )
        networks = [_of_any_length(model, prefix, name, block) for prefix, name in towers.items()]
        self.maps = tf.function(
            lambda *seen: [network(video, training=False) for network, video in zip(networks, seen)],
            input_signature=[tf.TensorSpec(network.input.shape, network.input.dtype) for network in networks],
        )
        cuts = [model.get_layer(prefix + block).output for prefix in towers]
        read = [*cuts, *(model.input[name] for name in self.others)]
        rest = tf.keras.Model(read, {"probabilities": model.output, "logits": model.get_layer("logits").output})
        self.rest = tf.function(
            lambda *given: rest(list(given), training=False),
            input_signature=[tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in read],
        )

    def predict(
        self,
        frames: sharing.Frames,
        starts: Iterable[int],
        others: Callable[[int], Mapping[str, np.ndarray]] | None = None,
    ) -> Iterator[np.ndarray]:
        """Classifies windows of a video until it ends, see :func:`zoo.shared.sharing.classify_windows`.

        Args:
            frames: The video: function (first frame, frame after the last) -> name of an input ->
                ``[T, H, W, 3]`` in [-1, 1], fewer frames where it ends.
            starts: First frames of the windows: ascending multiples of ``step``.
            others: Function (number of the window) -> the window's other inputs, without a batch axis; default: the
                model has no other inputs.

        Yields:
            The softmax ``[C]`` of each window that lies within the video.

        Raises:
            UserError: A window does not begin at such a multiple.
        """

        def classify(maps, numbers):
            given = [others(number) for number in numbers] if others else []
            rest = [np.stack([one[name] for one in given]) for name in self.others]
            return self.rest(*map(tf.constant, [*maps, *rest]))["probabilities"].numpy()

        return sharing.classify_windows(
            frames, starts, length=self.frames, step=self.step, maps=self._maps, classify=classify
        )

    def _maps(self, seen: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return [map_.numpy()[0] for map_ in self.maps(*(tf.constant(seen[name][np.newaxis]) for name in self.videos))]


def _towers(model):
    """Prefix of an I3D's layers -> name of the input whose frames it sees."""
    inputs = {id(tensor): name for name, tensor in model.input.items()}
    found = {}
    for layer in model.layers:
        if layer.name.endswith(_FIRST_LAYER) and id(layer.input) in inputs:
            found[layer.name[: -len(_FIRST_LAYER)]] = inputs[id(layer.input)]
    return found


def _of_any_length(model, prefix, name, block):
    """I3D up to a block, with the model's weights, for any number of frames."""
    width = built_model.stated(model).options["width"]
    frames = tf.keras.Input((None, *model.input[name].shape[2:]), name=name)
    whole = tf.keras.Model(frames, i3d.feature_map(frames, width=width, prefix=prefix))
    network = tf.keras.Model(frames, whole.get_layer(prefix + block).output)
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return network
