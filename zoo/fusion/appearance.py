"""F1 of two-level fusion, the appearance of a region: a 2D CNN on every frame, pooled over time (MMM19)."""

import functools
import glob
import pathlib
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from zoo.checks import Size, ZooError, check_choice
from zoo.fusion.clip import Clip, Region
from zoo.fusion.compute import Cache, Seed, cached, check_parameters, in_batches, seed_of
from zoo.shared import files

VIDEO_NETWORK = "i3d"
WINDOW = 64  # frames that I3D sees at once
DIFFERENCE = 4  # frames between which features are subtracted (P-CNN: Chéron et al., ICCV 2015, section 3)


def pool_frames(features: np.ndarray) -> np.ndarray:
    """A clip's descriptor from its frames' features (P-CNN: Chéron et al., ICCV 2015, section 3).

    Args:
        features: ``[T, D]``.

    Returns:
        ``[4 D]``: minimum and maximum over time of the features, then of their differences over 4 frames (over T - 1
        frames if the clip has fewer than 5).

    Example:
        >>> pool_frames(np.array([[0.0], [1.0], [4.0], [2.0], [1.0], [3.0]])).tolist()
        [0.0, 4.0, 1.0, 2.0]
    """
    step = min(DIFFERENCE, len(features) - 1)
    differences = features[step:] - features[: len(features) - step]
    return np.concatenate([pool(x, axis=0) for x in (features, differences) for pool in (np.min, np.max)])


class AppearanceFeatures(TransformerMixin, BaseEstimator):
    """F1, the appearance of a region: a 2D CNN on every frame, pooled over time.

    Minimum and maximum over time of the features and of their 4-frame differences (:func:`pool_frames`), divided by
    the mean L2 norm of the training frames' features.

    Args:
        region: One of :data:`zoo.fusion.clip.REGIONS`; a :class:`zoo.fusion.TwoLevelFusion` chooses it. Pictures are
            resized to a square.
        network: The 2D CNN, one of :data:`zoo.models.lrcn.NETWORKS`. The papers use ResNet-152; the default is its
            second version, which takes pixels in [-1, 1] like all models of the zoo. Or ``i3d`` (PhD20 section 6.3):
            the steps of its average-pooled map, 7 for each window of 64 frames, are pooled like the features of frames.
        size: Height and width of a picture in pixels.
        weights: ``imagenet``; or the path of a weight file of the network (as Keras publishes them without top, or
            saved from the layer ``frame_network`` of an ``lrcn``). For ``i3d`` and ``inception_v1``, the weights that
            :func:`zoo.build` takes for ``i3d``, such as ``kinetics400`` or the ``model.keras`` of a run. ``None``:
            random, for tests.
        memory: Folder of the cache, or a ``joblib.Memory``; ``None``: nothing is cached.
        random_state: Seed of random weights; ``None``: 0.

    Attributes:
        norm_: Mean L2 norm of the training frames' features.
    """

    def __init__(
        self,
        region: Region = "full_body",
        *,
        network: str = "resnet152_v2",
        size: Size = 224,
        weights: Optional[str] = "imagenet",
        memory: Cache = None,
        random_state: Optional[Seed] = None,
    ):
        self.region = region
        self.network = network
        self.size = size
        self.weights = weights
        self.memory = memory
        self.random_state = random_state

    def check_parameters(self) -> None:
        """Raises ``ZooError`` if a parameter is wrong; the message names it."""
        from zoo.models import lrcn

        check_parameters("appearance", self)
        if self.network == VIDEO_NETWORK:
            if self.weights == "imagenet":
                raise ZooError("weights imagenet are of pictures, i3d takes kinetics400, a file or None")
        else:
            check_choice("network", self.network, (*lrcn.NETWORKS, VIDEO_NETWORK))
            lrcn.check_network(self.network, size=self.size)
        if self.weights is not None:
            _weights_key(str(self.weights), None)

    def fit(self, X: Sequence[Clip], y: Any = None) -> "AppearanceFeatures":
        """Finds the norm of the training frames' features."""
        self.check_parameters()
        extracted = [self.extract(clip) for clip in X]
        norm = sum(clip["norms"] for clip in extracted) / sum(clip["frames"] for clip in extracted)
        self.norm_ = norm if norm > 0 else 1.0
        return self

    def transform(self, X: Sequence[Clip]) -> np.ndarray:
        """``[N, 4 D]`` float32."""
        check_is_fitted(self)
        return np.stack([self.extract(clip)["pooled"] for clip in X]).astype(np.float32) / np.float32(self.norm_)

    def extract(self, clip: Clip) -> dict[str, Any]:
        """The values that depend on the clip alone, not on training; read from the cache if they are there."""
        weights, seed = None if self.weights is None else str(self.weights), seed_of(self.random_state)
        key = (self.network, self.size, _weights_key(weights, seed))

        def network(frames):  # built when the first feature is not in the cache
            if self.network == VIDEO_NETWORK:
                return _video_features(self.size, weights, seed)(frames)
            return _frame_features(self.network, self.size, weights, seed)(frames)

        compute = cached(self.memory, _appearance, ["clip", "network"])
        return compute(clip.id, self.region, key, clip=clip, network=network)


def _appearance(clip_id, region, key, *, clip, network):
    """What is cached of a clip's region: pooled features, and what the mean norm of frames is made of."""
    features = network(clip.frames(region))
    return {
        "pooled": pool_frames(features),
        "norms": float(np.linalg.norm(features, axis=1).sum()),
        "frames": len(features),
    }


@functools.lru_cache(maxsize=2)
def _frame_features(network: str, size: int, weights: Optional[str], seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from pictures ``[T, H, W, 3]`` to features ``[T, D]``."""
    import tensorflow as tf

    from zoo.models import lrcn
    from zoo.pretrained.reading import load_weights

    starts = weights == "imagenet" or network == lrcn.STILL_I3D
    cnn = lrcn.frame_network(network, size, weights=weights if starts else None)
    if weights is None:
        _fill(cnn, seed)
    elif not starts:
        load_weights(cnn, weights)

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32)])
    def compute(pictures):
        return cnn(pictures, training=False)

    def features(frames):
        return in_batches(lambda batch: compute(batch).numpy(), _prepared(frames, size))

    return features


def _prepared(frames, size):
    """Pictures ``[T, size, size, 3]`` float32 in [-1, 1]."""
    import cv2

    pictures = np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])
    return pictures.astype(np.float32) / 127.5 - 1.0


def windows(num_frames: int) -> np.ndarray:
    """Frame indices of I3D's windows: one after the other, the last at the clip's end; a short clip is repeated.

    Args:
        num_frames: Frames T of the clip.

    Returns:
        ``[n, 64]``.

    Example:
        >>> windows(100)[:, [0, -1]].tolist()
        [[0, 63], [36, 99]]
    """
    if num_frames <= WINDOW:
        return np.arange(WINDOW)[np.newaxis] % num_frames
    starts = [*range(0, num_frames - WINDOW, WINDOW), num_frames - WINDOW]
    return np.stack([np.arange(start, start + WINDOW) for start in starts])


@functools.lru_cache(maxsize=2)
def _video_features(size: int, weights: Optional[str], seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from pictures ``[T, H, W, 3]`` to I3D's features of its steps, ``[7 n, 1024]`` of n windows."""
    import tensorflow as tf

    import zoo

    model = zoo.build(VIDEO_NETWORK, num_classes=2, frames=WINDOW, size=size, weights=weights)
    if weights is None:
        _fill(model, seed)
    pooled = tf.keras.Model(model.input, model.get_layer("average_pool").output)  # [B, 7, 1, 1, 1024]

    @tf.function(input_signature=[tf.TensorSpec([1, WINDOW, size, size, 3], tf.float32)])
    def compute(clip):
        return pooled({"rgb": clip}, training=False)

    def features(frames):
        found = [compute(_prepared([frames[i] for i in window], size)[np.newaxis]) for window in windows(len(frames))]
        return np.concatenate([steps.numpy().reshape(-1, steps.shape[-1]) for steps in found])

    return features


def _fill(cnn, seed):
    """Random kernels (He et al., ICCV 2015) that depend only on the seed, so that they need not be stored."""
    rng = np.random.default_rng(seed)
    for layer in cnn.layers:
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        layer.set_weights(
            [
                rng.normal(size=w.shape) * np.sqrt(2 / np.prod(w.shape[:2] if depthwise else w.shape[:-1]))
                if w.ndim > 1
                else w
                for w in layer.get_weights()
            ]
        )


def _weights_key(weights, seed):
    """A text that identifies the values of a network's weights in the cache."""
    if weights is None:
        return f"random {seed}"
    return weights if weights in ("imagenet", "kinetics400") else _digest(weights)


@functools.lru_cache(maxsize=8)
def _digest(path):
    path = pathlib.Path(path)
    if path.is_file():
        return files.sha256_of(path)
    # A folder of zoo.save_pretrained, or the files of a checkpoint, whose path is given without their suffixes.
    several = sorted(path.iterdir() if path.is_dir() else path.parent.glob(f"{glob.escape(path.name)}.data-*"))
    if not several:
        raise ZooError(
            f"weights: {path}: no such file, expected a weight file, a folder, a checkpoint, imagenet or None"
        )
    return " ".join(files.sha256_of(file) for file in several if file.is_file())
