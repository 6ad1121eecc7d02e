"""Long video: what I3D computes of a frame serves every window that the frame is in.

::

    frames ─► I3D up to a block ─► maps: a step every 2, 4 or 8 frames                     once
                                   |======|
                                      |======|     steps of a window ─► the later layers ─► softmax    for each window
                                         |======|
    poses of a window ────────────────────────────────────────┘

I3D is convolutional in time, so one pass over a stretch of video makes the maps of all windows in it. They are not the
maps of a window by itself: there every layer sees zeros beyond the window's ends, here it sees the frames that are
there, in block Mixed_5c 44 before and 47 after those of a step. So predictions differ; ``docs/performance.md`` has what
that does to accuracy, and what each block saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from zoo.checks import ZooError, check_choice
from zoo.models import i3d

# Block up to which computation is shared -> frames from one step of its map to the next.
STEPS = {
    **dict.fromkeys(("Mixed_3b", "Mixed_3c"), 2),
    **dict.fromkeys(("Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"), 4),
    **dict.fromkeys(("Mixed_5b", "Mixed_5c"), 8),
}
BLOCK = "Mixed_5c"
STRETCH = 128  # frames of a pass, without those before and after that are computed again: a gigabyte of memory
CONTEXT = 16  # frames before and after a stretch that its pass sees too
_BATCH = 8  # windows
_FIRST_LAYER = "Conv3d_1a_7x7.conv_3d"

Frames = Callable[[int, int], Mapping[str, np.ndarray]]
"""Function (first frame, frame after the last) -> name of an input -> ``[T, H, W, 3]`` in [-1, 1]."""
Others = Callable[[int], Mapping[str, np.ndarray]]
"""Function (number of the window) -> name of an input without frames -> its values, without a batch axis."""


class SharedComputation:
    """A model that classifies windows of a long video, up to a block of I3D once for all of them.

    Args:
        model: A model of :func:`zoo.build` with I3D as its network of video, such as ``i3d``, ``pi3d``,
            ``separable_sta`` or ``vpn``.
        block: The last block that is shared, one of :data:`STEPS`: a later one saves more, and its maps see more frames
            beyond a window's ends.

    Attributes:
        step: Windows can begin at multiples of so many frames.
        frames: Frames T of a window.

    Raises:
        ZooError: The model has no such block, or T is no multiple of its steps.

    Example:
        >>> import zoo
        >>> model = zoo.build("i3d", num_classes=4, frames=16, size=32, width=0.125)
        >>> video = np.zeros((40, 32, 32, 3), np.float32)
        >>> shared = SharedComputation(model)
        >>> of_windows = shared.predict(lambda first, end: {"rgb": video[first:end]}, len(video), [0, 8, 16, 24])
        >>> [row.shape for row in of_windows]
        [(4,), (4,), (4,), (4,)]
    """

    def __init__(self, model: tf.keras.Model, block: str = BLOCK) -> None:
        check_choice("block", block, STEPS)
        towers = _towers(model)
        names = [layer.name for layer in model.layers]
        missing = [prefix + block for prefix in towers if prefix + block not in names]
        if missing or not towers:
            without = f"no block {missing[0]}" if towers else "no I3D that sees its frames"
            raise ZooError(f"{model.name} has {without}, so that windows cannot share computation up to {block}")
        self.step, self.frames = STEPS[block], model.input[next(iter(towers.values()))].shape[1]
        if self.frames % self.step:
            raise ZooError(f"windows of {self.frames} frames, of which {block} makes steps of {self.step}: no multiple")
        cuts = [model.get_layer(prefix + block).output for prefix in towers]
        self._others = [name for name in model.input if name not in towers.values()]
        rest = tf.keras.Model([*cuts, *(model.input[name] for name in self._others)], model.output)
        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tf.nest.flatten(rest.input)]
        self._rest = tf.function(lambda *read: rest(list(read), training=False), input_signature=specs)
        self._towers = {name: _of_any_length(model, prefix, name, block) for prefix, name in towers.items()}

    def predict(
        self, frames: Frames, count: int, starts: Sequence[int], others: Others | None = None
    ) -> Iterator[np.ndarray]:
        """Classifies windows of a video.

        Args:
            frames: The video; each of its frames is read once, or twice near the end of a stretch.
            count: Its number of frames.
            starts: First frames of the windows: ascending multiples of :attr:`step`, each window within the video.
            others: The model's other inputs, such as poses; default: it has none.

        Yields:
            Of each window the softmax ``[C]``.

        Raises:
            ZooError: A window begins elsewhere, or ends after the video.
        """
        wrong = [start for start in starts if start % self.step or not 0 <= start <= count - self.frames]
        if wrong or list(starts) != sorted(starts):
            rule = f"expected ascending multiples of {self.step}, each {self.frames} frames before the end or earlier"
            raise ZooError(f"windows begin at {(wrong or list(starts))[:3]} of {count} frames: {rule}")
        due, held, begun = 0, None, 0  # the next window; steps of the maps, and the number of the first
        for maps in self._stretches(frames, count // self.step * self.step):
            held = maps if held is None else [np.concatenate(pair) for pair in zip(held, maps)]
            done = (begun + len(held[0])) * self.step
            ready = [number for number in range(due, len(starts)) if starts[number] + self.frames <= done]
            for batch in (ready[i : i + _BATCH] for i in range(0, len(ready), _BATCH)):
                yield from self._classify(held, begun, [starts[number] for number in batch], batch, others)
            due += len(ready)
            if due == len(starts):
                return
            kept = max(min(starts[due] // self.step - begun, len(held[0])), 0)
            held, begun = [steps[kept:] for steps in held], begun + kept

    def maps(self, frames: Frames, count: int) -> list[np.ndarray]:
        """The maps of a video, ``[steps, m, n, c]`` of each network of video, in the order of the model's inputs."""
        return [np.concatenate(steps) for steps in zip(*self._stretches(frames, count // self.step * self.step))]

    def _stretches(self, frames, count):
        for first in range(0, count, STRETCH):
            begin, end = max(first - CONTEXT, 0), min(first + STRETCH, count)
            seen = frames(begin, min(end + CONTEXT, count))
            span = slice((first - begin) // self.step, (end - begin) // self.step)
            yield [tower(tf.constant(seen[name][np.newaxis])).numpy()[0, span] for name, tower in self._towers.items()]

    def _classify(self, held, begun, starts, numbers, others):
        cut = [start // self.step - begun for start in starts]
        steps = self.frames // self.step
        read = [np.stack([of_tower[i : i + steps] for i in cut]) for of_tower in held]
        if self._others:
            fed = [others(number) for number in numbers]
            read += [np.stack([one[name] for one in fed]) for name in self._others]
        return self._rest(*map(tf.constant, read)).numpy()


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
    width = model.built_as.options["width"]
    frames = tf.keras.Input((None, *model.input[name].shape[2:]), name=name)
    whole = tf.keras.Model(frames, i3d.feature_map(frames, width=width, prefix=prefix))
    network = tf.keras.Model(frames, whole.get_layer(prefix + block).output)
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    spec = tf.TensorSpec(frames.shape, frames.dtype)
    return tf.function(lambda seen: network(seen, training=False), input_signature=[spec])
