"""Signatures with which windows of a long video share computation, see :mod:`zoo.shared_computation`.

* ``shared_maps``: ``rgb`` [B, L, S, S, 3] float32 in [-1, 1], like the network's input, but its length L may be any
  multiple of the frames of a step -> ``maps_0`` [B, steps, m, n, c].
* ``shared_windows``: ``maps_0`` of a window, and ``poses`` -> the outputs of ``serving_default``.

TF-Serving offers them too, but only :mod:`serving.long_video` uses them, in the process that decodes the video.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.savedmodel import freezing, signatures
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from serving.savedmodel.servable import Servable
    from tfrecords.reading.pipeline import Inputs

MAPS, WINDOWS = "shared_maps", "shared_windows"
_SEED = 0


def functions(
    model: tf.keras.Model,
    inputs: Inputs,
    labels: Sequence[str],
    block: str,
    *,
    precision: str = "float32",
    freeze: bool = False,
    compute: str = "float32",
) -> dict[str, Callable]:
    """The two concrete functions to save, by signature.

    Args:
        model: As for :func:`serving.savedmodel.signatures.build`, as are ``inputs``, ``labels`` and the last three.
        inputs: The same.
        labels: The same.
        block: Block of I3D up to which computation is shared, one of :data:`zoo.shared_computation.STEPS`.
        precision: The same.
        freeze: The same.
        compute: The same.

    Raises:
        UserError: Windows of this model cannot share computation.
    """
    import tensorflow as tf

    from zoo.shared_computation import SharedComputation

    if not inputs.has_window or inputs.framing == "person" or inputs.parts != ("full_body",):
        raise UserError(
            f"--share-computation: {model.name} sees frames at the pose steps, pictures cut out around persons or of "
            "hands, or none; windows share computation of every n-th frame"
        )
    shared = SharedComputation(model, block)

    def rewritten(function, specs):
        made = tf.function(function, input_signature=[specs])
        return freezing.as_stored(made, precision=precision, freeze=freeze, compute=compute)

    videos = dict(zip(shared.videos, shared.maps.input_signature))
    maps = dict(zip(map(_name, range(len(videos))), shared.rest.input_signature))
    others = dict(zip(shared.others, shared.rest.input_signature[len(maps) :]))
    of_videos = rewritten(lambda fed: dict(zip(maps, shared.maps(*(fed[name] for name in videos)))), _named(videos))
    of_windows = rewritten(
        lambda fed: shared.rest(*(fed[name] for name in [*maps, *others])), _named({**maps, **others})
    )

    def windows(**request: tf.Tensor) -> dict[str, tf.Tensor]:
        fed = {name: request[name] for name in maps}
        if others:
            fed["pose"] = signatures.prepare_poses(request[signatures.POSES], inputs)
        computed = of_windows(fed)
        return signatures.outputs(signatures.EXAMPLES, inputs, labels, fed, computed)

    poses = signatures.input_specs(signatures.DEFAULT, inputs).get(signatures.POSES)
    given = _named({**maps, **({signatures.POSES: poses} if others else {})})
    return {
        MAPS: tf.function(lambda **seen: of_videos(seen)).get_concrete_function(**_named(videos)),
        WINDOWS: tf.function(windows).get_concrete_function(**given),
    }


def _name(number: int) -> str:
    return f"maps_{number}"


def _named(specs: Mapping[str, tf.TensorSpec]) -> dict[str, tf.TensorSpec]:
    import tensorflow as tf

    return {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}


def offered(servable: Servable) -> bool:
    """Whether a loaded model was exported with the signatures."""
    return MAPS in servable.signature_defs


class Shared:
    """The two signatures of a loaded model, as :func:`zoo.shared.sharing.classify_windows` calls them.

    Args:
        servable: The loaded model.
        inputs: Its inputs.

    Attributes:
        step: Frames of a step of the maps.
    """

    step: int

    def __init__(self, servable: Servable, inputs: Inputs) -> None:
        self._servable = servable
        self._maps = sorted(servable.signature_defs[MAPS].outputs)
        shape = servable.signature_defs[WINDOWS].inputs[self._maps[0]].tensor_shape
        self.step = inputs.frames // shape.dim[1].size

    def maps(self, seen: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The maps ``[steps, m, n, c]`` of each video ``[L, S, S, 3]``."""
        videos = {name: values[np.newaxis] for name, values in seen.items()}
        found = self._servable.run_arrays(MAPS, videos)
        return [found[name][0] for name in self._maps]

    def classify(self, maps: Sequence[np.ndarray], poses: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The outputs of windows by name.

        Args:
            maps: ``[windows, steps, m, n, c]`` of each video.
            poses: ``[windows, Tp, M, J, 3]`` in metres, if the model takes them.
        """
        given: dict[str, Any] = dict(zip(self._maps, maps))
        if poses is not None:
            given[signatures.POSES] = poses
        return self._servable.run_arrays(WINDOWS, given)


def difference(servable: Servable, inputs: Inputs, model: tf.keras.Model) -> float:
    """Largest difference of probabilities to the Keras model, for a video of noise as long as one window."""
    draw = np.random.default_rng(_SEED)
    specs = inputs.signature()
    videos = {name: specs[name].shape for name in inputs.picture_names.values()}
    fed = {name: draw.uniform(-1, 1, shape).astype(np.float32) for name, shape in videos.items()}
    shared, poses = Shared(servable, inputs), None
    read = {name: values[np.newaxis] for name, values in fed.items()}
    if inputs.pose_steps:
        poses = draw.normal(size=(1, inputs.pose_steps, inputs.persons, inputs.joints, 3)).astype(np.float32)
        read["pose"] = signatures.prepare_poses(poses, inputs)
    expected = model(read, training=False).numpy()
    found = shared.classify([map_[np.newaxis] for map_ in shared.maps(fed)], poses)["probabilities"]
    return float(np.abs(found - expected).max())
