"""Building blocks shared by the methods, under the papers' terms."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

HEAD = "classifier"  # name of the layer whose size depends on the number of classes, in every model
FRAME_NETWORK = "frame_network"  # name of a network of single pictures inside a video model
_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


def is_network(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer is itself a network of layers."""
    return hasattr(layer, "layers")


def every_layer(model: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    """The layers of a model, with the layers of the networks inside it."""
    for layer in model.layers:
        if is_network(layer):
            yield from every_layer(layer)
        else:
            yield layer


def layers_of_pictures(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """The layers of the networks of single pictures inside a model such as ``lrcn`` or ``sta_hands``."""
    found: list[tf.keras.layers.Layer] = []
    for layer in filter(is_network, model.layers):
        found += every_layer(layer) if layer.name == FRAME_NETWORK else layers_of_pictures(layer)
    return found


def still_kernel(value: np.ndarray) -> np.ndarray:
    """A weight of I3D adapted to a single picture, to which only the middle step of a kernel applies.

    Args:
        value: A kernel ``[k, k, k, in, out]``, or a weight of another shape, which stays as it is.

    Returns:
        A kernel whose middle step is the sum over time, and whose other steps are zero. Its output for a picture is
        that of the given kernel for a long video that repeats the picture.

    Example:
        >>> still_kernel(np.ones((3, 3, 3, 1, 1)))[:, 0, 0, 0, 0].tolist()
        [0.0, 3.0, 0.0]
    """
    if value.ndim != 5:
        return value
    still = np.zeros_like(value)
    still[len(value) // 2] = value.sum(axis=0)
    return still


def is_head(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer is a classifier; a model of two streams has one for each, such as ``pose_cnn.classifier``."""
    return layer.name.rpartition(".")[2] == HEAD


def classify(features: tf.Tensor, num_classes: int) -> tf.Tensor:
    """The classifier every method ends with: linear, then softmax.

    Args:
        features: ``[B, D]``.
        num_classes: Number of classes C.

    Returns:
        The softmax ``[B, C]`` float32, layer ``predictions``; the scores before it are the layer ``logits``.
    """
    x = tf.keras.layers.Dense(num_classes, name=HEAD)(features)
    x = tf.keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    return tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(x)


@_serializable
class PenalizedSoftmax(tf.keras.layers.Layer):
    """Softmax with an L1 penalty on its activity: the training loss gains ``l1 * sum(|p|)``, averaged over the batch.

    The probabilities p add up to 1, so the penalty is the constant ``l1``: it appears in the loss, but changes no
    weight.

    Args:
        l1: Weight of the penalty in the training loss.

    Call arguments:
        inputs: ``[B, C]`` logits.

    Returns:
        ``[B, C]`` float32.
    """

    def __init__(self, l1: float, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.l1 = l1

    def call(self, inputs: Any) -> Any:
        """The softmax; adds the penalty to the model's losses."""
        probabilities = tf.nn.softmax(inputs)
        self.add_loss(self.l1 * tf.reduce_mean(tf.reduce_sum(tf.abs(probabilities), axis=1)))
        return probabilities

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "l1": self.l1}


def as_list(inputs: Any) -> list:
    """A layer's inputs, or their shapes, as a list: Keras passes a single one without a list."""
    return inputs if isinstance(inputs, list) else [inputs]


def has_pose(poses: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether a clip has a known pose: ``[B]`` bool, from tensors ``[B, ...]`` that are all zeros where it has none.

    Example:
        >>> has_pose([tf.zeros((2, 5, 1, 20, 3)) + tf.constant([0.0, 1.0])[:, None, None, None, None]]).numpy().tolist()
        [False, True]
    """
    known = [tf.reduce_any(tf.not_equal(pose, 0.0), axis=list(range(1, len(pose.shape)))) for pose in poses]
    return tf.reduce_any(tf.stack(known), axis=0)


def where_posed(values: tf.Tensor, poses: Sequence[tf.Tensor]) -> tf.Tensor:
    """``values`` ``[B, D]`` for clips that have a pose, zeros for other clips; all ``values`` if ``poses`` is empty.

    Scores of zero give equal attention: 0.5 after a sigmoid, 1 / D after a softmax.
    """
    return tf.where(has_pose(poses)[:, tf.newaxis], values, tf.zeros_like(values)) if poses else values


@_serializable
class Dropout(tf.keras.layers.Layer):
    """Dropout whose random state is part of the model's checkpoints.

    Keras 2 draws its masks from counters hidden in kernels, so a training that is killed and resumed has other
    masks than an uninterrupted one. A ``tf.random.Generator`` is saved by ``tf.train.Checkpoint`` with the model, under
    both Keras versions, and has a stream of its own on every replica.

    Args:
        rate: Fraction of the values set to zero in training; the others are scaled up by 1 / (1 - rate).
        seed: Start of the random stream; by default drawn from Python's ``random``, which
            ``tf.keras.utils.set_random_seed`` seeds.

    Example:
        >>> Dropout(0.5)(tf.ones((1, 3)), training=False).numpy().tolist()
        [[1.0, 1.0, 1.0]]
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"rate is {rate}, expected a number from 0 to less than 1")
        self.rate = rate
        self.seed = seed
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Starts the random stream."""
        seed = random.getrandbits(31) if self.seed is None else self.seed
        self.generator = tf.random.Generator.from_seed(seed, alg="philox")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops values in training; passes all on otherwise."""
        if not training or not self.rate:
            return inputs
        keep = self.generator.uniform(tf.shape(inputs)) >= self.rate
        return tf.where(keep, inputs / (1.0 - self.rate), tf.zeros_like(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@_serializable
class PowerNormalisation(tf.keras.layers.Layer):
    """Features raised to a power below 1: large ones no longer outweigh all others.

    Perronnin, Sanchez, Mensink, ECCV 2010, section 3.2: alpha is ``power``. Features are pooled outputs of ReLUs; those
    that a block after the ReLU has made negative count as 0.

    Args:
        power: The exponent, above 0, at most 1.

    Example:
        >>> PowerNormalisation(0.5)(tf.constant([[0.25, 4.0, -1.0]])).numpy().round(1).tolist()
        [[0.5, 2.0, 0.0]]
    """

    _SMALLEST = 1e-4  # the power's gradient has no bound at 0

    def __init__(self, power: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.power = power

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The powers."""
        return tf.pow(tf.nn.relu(inputs) + self._SMALLEST, self.power)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "power": self.power}


def power_normalised(features: tf.Tensor, power: float) -> tf.Tensor:
    """Pooled features raised to ``power`` by a :class:`PowerNormalisation` named ``power``; unchanged for 1.

    Args:
        features: ``[B, ..., c]``.
        power: The exponent, a model's ``feature_power``.
    """
    return features if power == 1 else PowerNormalisation(power, name="power")(features)


@_serializable
class PoseScores(tf.keras.layers.Layer):
    """Attention scores from pose features: W tanh(W h* + b) + b (ICCV19 equation 1).

    Scores stay float32 under mixed precision: they are few, and attention needs them to be exact. They start at zero,
    which means equal attention (PhD20 algorithms 1 to 4).

    Args:
        values: Number of scores.
        units: Size of the hidden layer.

    Call arguments:
        inputs: ``[B, D]`` pose features h*.

    Returns:
        ``[B, values]`` float32.

    Example:
        >>> PoseScores(49, name="spatial_scores")(tf.zeros((2, 512))).shape
        TensorShape([2, 49])
    """

    def __init__(self, values: int, units: int = 256, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.values = values
        self.units = units
        self.hidden = tf.keras.layers.Dense(units, activation="tanh", dtype="float32", name="hidden")
        self.scores = tf.keras.layers.Dense(values, kernel_initializer="zeros", dtype="float32", name="scores")

    def build(self, input_shape: Any) -> None:
        """Creates the weights of both layers."""
        self.hidden.build(input_shape)
        self.scores.build((input_shape[0], self.units))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The scores."""
        return self.scores(self.hidden(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, values)``."""
        return (input_shape[0], self.values)

    def multiply_accumulates(self) -> int:
        """Multiply-accumulates for one clip: both kernels."""
        return sum(math.prod(weight.shape) for weight in self.weights if len(weight.shape) > 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "values": self.values, "units": self.units}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PoseScores:
        """The layer; files that an earlier version saved also have the argument ``zero``, which is ignored."""
        return super().from_config({key: value for key, value in config.items() if key != "zero"})


@_serializable
class AttentionMap(tf.keras.layers.Layer):
    """Sigmoid or softmax of attention scores, in the shape of the feature map (ICCV19 equation 2).

    The training loss gains ``regularization`` times a sum over the map, averaged over the batch (ICCV19 equation 4).
    For ``sigmoid`` it is the sum of squares, so that attention does not cover the whole map; for ``softmax`` the sum of
    ``(1 - weight)^2``, so that attention does not cover a single step only.

    A clip whose poses are all zeros has no pose: its attention is equal, whatever its scores.

    Args:
        grid: Shape of the map, such as ``(m, n)`` or ``(t,)``.
        activation: ``"sigmoid"`` or ``"softmax"``.
        regularization: Weight of the penalty in the training loss.

    Call arguments:
        inputs: ``[B, values]`` scores, alone or in a list with the poses that they are made of, each ``[B, ...]``.

    Returns:
        ``[B, *grid]`` float32.

    Example:
        >>> AttentionMap((7, 7), "sigmoid")(tf.zeros((2, 49)))[0, 0, 0].numpy().item()
        0.5
    """

    def __init__(self, grid: Sequence[int], activation: str, regularization: float = 1e-5, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.grid = tuple(grid)
        self.activation = activation
        self.regularization = regularization

    def call(self, inputs: Any) -> Any:
        """The attention map; adds the penalty to the model's losses."""
        scores, *poses = as_list(inputs)
        scores = where_posed(scores, poses)
        if self.activation == "sigmoid":
            weights = tf.sigmoid(scores)
            penalized = weights
        else:
            weights = tf.nn.softmax(scores)
            penalized = 1.0 - weights
        penalty = tf.reduce_sum(tf.square(penalized), axis=1)  # [B]
        self.add_loss(self.regularization * tf.reduce_mean(penalty))
        return tf.reshape(weights, (-1, *self.grid))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, *grid)``."""
        return (as_list(input_shape)[0][0], *self.grid)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        own = {"grid": self.grid, "activation": self.activation, "regularization": self.regularization}
        return {**super().get_config(), **own}


@_serializable
class FittedMap(tf.keras.layers.Layer):
    """Bilinearly resizes an attention map, made for a square, to a feature map of any height and width.

    A map of the feature map's own size stays as it is.

    Call arguments:
        inputs: The attention ``[B, t or 1, m, n, 1]`` and the feature map ``[B, t, m', n', c]``.

    Returns:
        ``[B, t or 1, m', n', 1]``.

    Example:
        >>> FittedMap()([tf.ones((1, 1, 2, 2, 1)), tf.ones((1, 4, 2, 3, 8))]).shape
        TensorShape([1, 1, 2, 3, 1])
    """

    def call(self, inputs: Any) -> Any:
        """The resized map."""
        attention, features = inputs
        steps, *own = attention.shape[1:4]
        size = tf.shape(features)[2:4]
        maps = tf.reshape(attention, (-1, *own, 1))  # [B * steps, m, n, 1]
        maps = tf.cond(
            tf.reduce_all(size == own), lambda: maps, lambda: tf.cast(tf.image.resize(maps, size), maps.dtype)
        )
        return tf.reshape(maps, (-1, steps, size[0], size[1], 1))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, t or 1, m', n', 1)``."""
        (batch, steps, *_), (_, _, height, width, _) = input_shape
        return (batch, steps, height, width, 1)


@_serializable
class Unflattened(tf.keras.layers.Layer):
    """Positions ``[B, t * m * n, c]`` as a map ``[B, t, m, n, c]``.

    Call arguments:
        inputs: The positions, and a map ``[B, t, m, n, ...]`` whose shape they are given.

    Returns:
        ``[B, t, m, n, c]``.
    """

    def call(self, inputs: Any) -> Any:
        """The positions as a map."""
        positions, features = inputs
        shape = tf.concat([tf.shape(features)[:4], tf.shape(positions)[2:]], axis=0)
        return tf.ensure_shape(tf.reshape(positions, shape), (*features.shape[:4], positions.shape[2]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, t, m, n, c)``."""
        (_, _, channels), (batch, t, m, n, _) = input_shape
        return (batch, t, m, n, channels)


@_serializable
class AllStepsLogits(tf.keras.layers.Layer):
    """Logits whose cross-entropy, with the loss added here, is the mean cross-entropy of all steps (PhD20 eq. 3.5).

    The logits are the mean over the steps of log p_t. Their softmax divides by Z = sum over classes of
    exp(mean of log p_t) <= 1, so its cross-entropy is the steps' mean cross-entropy plus log Z. The layer adds
    -log Z: the sum is exact, no label is needed here, and the prediction pools all steps.

    Args:
        adds_loss: Whether -log Z is added; ``False`` in a model whose loss is not the cross-entropy of these logits.

    Call arguments:
        inputs: ``[B, tp, C]`` logits of every step.
        mask: ``[B, tp]`` bool: the steps that count; by default all.

    Returns:
        ``[B, C]`` float32.
    """

    def __init__(self, adds_loss: bool = True, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.supports_masking = True
        self.adds_loss = adds_loss

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Pooled logits; adds -log Z to the model's losses."""
        scores = tf.nn.log_softmax(inputs)
        if mask is None:
            pooled = tf.reduce_mean(scores, axis=1)  # [B, C]
        else:
            counts = tf.cast(mask, scores.dtype)[..., tf.newaxis]  # [B, tp, 1]
            pooled = tf.math.divide_no_nan(tf.reduce_sum(counts * scores, axis=1), tf.reduce_sum(counts, axis=1))
        log_z = tf.reduce_logsumexp(pooled, axis=1)  # [B]
        if self.adds_loss:
            self.add_loss(-tf.reduce_mean(log_z))
        return pooled

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: the pooled logits have no steps."""
        return None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, C)``."""
        return (input_shape[0], input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "adds_loss": self.adds_loss}


@_serializable
class PartAggregation(tf.keras.layers.Layer):
    """Feature maps of body parts, weighted by part attention and joined (WACV19 equation 4).

    Args:
        mode: ``"sum"`` or ``"concat"`` (along the channels).
        parts: Number of maps K.

    Call arguments:
        inputs: K maps ``[B, t, m, n, c]``, then optionally the attention ``[B, K]``; without it all weights are 1.

    Returns:
        ``[B, t, m, n, c]``, or ``[B, t, m, n, K * c]`` for ``concat``.
    """

    def __init__(self, mode: str, parts: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.mode = mode
        self.parts = parts

    def call(self, inputs: Any) -> Any:
        """The joined map."""
        maps = list(inputs[: self.parts])
        if len(inputs) > self.parts:
            weights = tf.unstack(tf.cast(inputs[self.parts], maps[0].dtype), axis=1)  # K times [B]
            maps = [weight[:, None, None, None, None] * x for weight, x in zip(weights, maps)]
        return tf.add_n(maps) if self.mode == "sum" else tf.concat(maps, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The maps' shape, with the channels of all for ``concat``."""
        *grid, channels = input_shape[0]
        return (*grid, channels if self.mode == "sum" else channels * self.parts)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "mode": self.mode, "parts": self.parts}


@_serializable
class FramesAsBatch(tf.keras.layers.Layer):
    """``[B, T, H, W, C]`` as ``[B * T, H, W, C]``, for a network of single frames."""

    def call(self, inputs: Any) -> Any:
        """The frames of all clips, one after the other."""
        return tf.reshape(inputs, (-1, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B * T, H, W, C)``."""
        return (None, *input_shape[2:])


@_serializable
class FramesFromBatch(tf.keras.layers.Layer):
    """``[B * T, D]`` as ``[B, T, D]``: the inverse of :class:`FramesAsBatch`.

    Args:
        frames: Frames T of a clip.
    """

    def __init__(self, frames: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, inputs: Any) -> Any:
        """The features of each clip's frames."""
        return tf.reshape(inputs, (-1, self.frames, inputs.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, T, D)``."""
        return (None, self.frames, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "frames": self.frames}


@_serializable
class Segments(tf.keras.layers.Layer):
    """Cuts a sequence into equal segments and takes equally many steps of each, evenly spread over the segment.

    A step is the middle of its part of the segment; a segment shorter than ``steps`` gives some steps twice.

    Args:
        segments: Number of segments G.
        steps: Steps S taken of each.

    Call arguments:
        inputs: ``[B, T, ...]``, T a multiple of ``segments``.

    Returns:
        ``[B, G, S, ...]``.

    Example:
        >>> Segments(2, 3)(tf.range(12)[tf.newaxis]).numpy().tolist()
        [[[1, 3, 5], [7, 9, 11]]]
    """

    def __init__(self, segments: int, steps: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.segments = segments
        self.steps = steps

    def call(self, inputs: Any) -> Any:
        """The segments' steps."""
        total = self.segments * self.steps
        middles = [(2 * step + 1) * inputs.shape[1] // (2 * total) for step in range(total)]
        return tf.reshape(tf.gather(inputs, middles, axis=1), (-1, self.segments, self.steps, *inputs.shape[2:]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, G, S, ...)``."""
        return (input_shape[0], self.segments, self.steps, *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "segments": self.segments, "steps": self.steps}


@_serializable
class Unstack(tf.keras.layers.Layer):
    """Cuts ``[B, N, ...]`` into a list of N tensors ``[B, ...]``."""

    def call(self, inputs: Any) -> Any:
        """The tensors."""
        return tf.unstack(inputs, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """N times ``(B, ...)``."""
        return [(input_shape[0], *input_shape[2:])] * input_shape[1]


@_serializable
class WeightedSum(tf.keras.layers.Layer):
    """The sum of N vectors, each times its attention weight.

    Call arguments:
        inputs: Vectors ``[B, N, D]`` and weights ``[B, N]``.

    Returns:
        ``[B, D]``.
    """

    def call(self, inputs: Any) -> Any:
        """The sum."""
        vectors, weights = inputs
        return tf.reduce_sum(tf.cast(weights, vectors.dtype)[..., tf.newaxis] * vectors, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, D)``."""
        batch, _, dimensions = input_shape[0]
        return (batch, dimensions)


@_serializable
class GroupedConv3D(tf.keras.layers.Layer):
    """3D convolution in groups of channels, without bias.

    ``tf.keras.layers.Conv3D(groups=...)`` does not run on CPUs; this layer runs one convolution per group instead.

    Args:
        filters: Output channels, a multiple of ``groups``.
        kernel_size: Size of the kernel in all three dimensions.
        groups: Number of groups.
        strides: Stride in all three dimensions.

    Call arguments:
        inputs: ``[B, T, H, W, C]``, C a multiple of ``groups``.

    Returns:
        ``[B, T / strides, H / strides, W / strides, filters]``.
    """

    def __init__(self, filters: int, kernel_size: int, groups: int, strides: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.strides = strides

    def build(self, input_shape: Any) -> None:
        """Creates the kernel ``[k, k, k, C / groups, filters]``."""
        shape = (self.kernel_size,) * 3 + (input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="he_normal")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """One convolution per group."""
        kernels = tf.split(tf.cast(self.kernel, inputs.dtype), self.groups, axis=-1)
        strides = (1, self.strides, self.strides, self.strides, 1)
        parts = [
            tf.nn.conv3d(x, kernel, strides, "SAME")
            for x, kernel in zip(tf.split(inputs, self.groups, axis=-1), kernels)
        ]
        return tf.concat(parts, axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Sizes divided by the stride, rounded up; ``filters`` channels."""
        grid = tuple(None if side is None else -(-side // self.strides) for side in input_shape[1:4])
        return (input_shape[0], *grid, self.filters)

    def multiply_accumulates(self) -> int:
        """Multiply-accumulates for one clip: the kernel at every position of the output."""
        return math.prod(self.output.shape[1:-1]) * math.prod(self.kernel.shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        own = {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "groups": self.groups,
            "strides": self.strides,
        }
        return {**super().get_config(), **own}


@_serializable
class L2Norm(tf.keras.regularizers.Regularizer):
    """A penalty on the norm ``||W||_2`` of a weight, not on its square (WACV19 equation 5).

    Args:
        weight: Weight of the penalty in the training loss.
    """

    def __init__(self, weight: float):
        self.weight = weight

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        """The penalty; the small constant keeps its gradient finite at zero."""
        return self.weight * tf.sqrt(tf.reduce_sum(tf.square(kernel)) + 1e-12)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the regulariser."""
        return {"weight": self.weight}
