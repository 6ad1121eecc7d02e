"""Pose GCN: graph convolutions over a skeleton's joints and convolutions over time.

ST-GCN (Yan et al., AAAI 2018) and what its successors added: topologies that are learned (2s-AGCN, Shi et al., CVPR
2019) and refined for every sample (CTR-GCN, Chen et al., ICCV 2021), temporal convolutions of several scales (MS-G3D,
Liu et al., CVPR 2020), and streams of joints, bones and their motions (Shi et al., IEEE Transactions on Image
Processing 2020). The network is narrower and less deep than theirs, so that it trains on a CPU.
"""

from typing import Any, Literal

import numpy as np
import tensorflow as tf

from zoo import skeletons
from zoo.checks import Layout, Multiplier, Rate, Size
from zoo.layers import HEAD, AllStepsLogits, Dropout, classify
from zoo.models import i3d, pose_lstm
from zoo.registry import register
from zoo.skeleton_streams import SkeletonStreams, Stream, check_streams

Topology = Literal["skeleton", "learned", "refined"]
STAGES = ((32, 1), (64, 2), (96, 2))  # channels and blocks; the steps are halved before each stage
SCALES = 4  # branches of a temporal convolution, each with a quarter of the channels
CORRELATION = 8  # values per joint that a refinement of the topology is computed from
MOMENTUM = 0.97  # of the moving statistics: an epoch of a small dataset has few steps

_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


def partitions(layout: str) -> np.ndarray:
    """The normalised adjacency of a skeleton's graph in three parts (STGCN18 section 3.3, spatial configuration).

    The parts of a joint's neighbourhood are the joint itself, the neighbours nearer to the skeleton's root and those
    farther from it. Each part is normalised, D^-1 A, so that it gives the mean of a joint's neighbours in the part.

    Args:
        layout: Name of the skeleton layout.

    Returns:
        ``[3, J, J]`` float32: row i of a part holds the weights of joint i's neighbours.

    Example:
        >>> parts = partitions("kinect_v1_20")
        >>> parts.shape, float(parts.sum(axis=2).max())
        ((3, 20, 20), 1.0)
    """
    skeleton = skeletons.get(layout)
    parts = np.zeros((3, skeleton.num_joints, skeleton.num_joints))
    parts[0] = np.eye(skeleton.num_joints)
    for parent, child in skeleton.bones:
        parts[1, child, parent] = parts[2, parent, child] = 1.0
    neighbours = parts.sum(axis=2, keepdims=True)
    parts = np.divide(parts, neighbours, out=np.zeros_like(parts), where=neighbours > 0)
    return parts.astype("float32")


@_serializable
class SkeletonConvolution(tf.keras.layers.Layer):
    """Graph convolution over the joints: the sum of A_k X W_k over the three parts k of the neighbourhood.

    If the persons share all weights, the layer does not depend on their order: exchanged persons have exchanged
    outputs.

    Args:
        filters: Output channels.
        layout: Name of the skeleton layout.
        persons: Persons M.
        topology: ``skeleton``: A is fixed to that of :func:`partitions` (STGCN18). ``learned``: A starts as that and is
            trained, so any joint may become a neighbour of any other (2s-AGCN's B_k). ``refined``: every sample also
            adds a refinement of its own to the learned A, a linear function of tanh(p_i - q_j), with p and q linear in
            the features of joints i and j, averaged over time (CTR-GCN equations 4 to 6; CTR-GCN has a refinement for
            every channel, this layer one for every part of the neighbourhood). Its weight starts at zero. Topologies
            that are trained also have weights between joints of different persons, which start at zero.
        shared_persons: Whether the persons share the topology's weights; if not, the joints of all persons are one
            graph. ``False`` for a saved layer that does not state it.

    Call arguments:
        inputs: ``[B, V, T, C]``, V = M * J.

    Returns:
        ``[B, V, T, filters]``.
    """

    def __init__(
        self, filters: int, layout: str, persons: int, topology: str, shared_persons: bool = False, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.layout = layout
        self.persons = persons
        self.topology = topology
        self.shared_persons = shared_persons

    def build(self, input_shape: Any) -> None:
        """Creates the kernels ``[3, C, filters]`` and the weights of the topology."""
        parts = partitions(self.layout)
        if not self.shared_persons:
            parts = np.kron(np.eye(self.persons), parts).astype("float32")  # [3, V, V]: no edges between persons
        channels = input_shape[-1]
        self.kernel = self.add_weight(
            name="kernel", shape=(len(parts), channels, self.filters), initializer="he_normal"
        )
        if self.topology == "skeleton":
            self.adjacency = tf.constant(parts)
        else:
            self.adjacency = self.add_weight(
                name="adjacency", shape=parts.shape, initializer=tf.keras.initializers.Constant(parts)
            )
        self.interaction = None
        if self.topology != "skeleton" and self.persons > 1 and self.shared_persons:
            self.interaction = self.add_weight(name="interaction", shape=parts.shape, initializer="zeros")
        if self.topology == "refined":
            shape = (channels, 2 * CORRELATION)
            self.correlation = self.add_weight(name="correlation", shape=shape, initializer="glorot_uniform")
            shape = (CORRELATION, len(parts))
            self.refinement = self.add_weight(name="refinement", shape=shape, initializer="glorot_uniform")
            self.alpha = self.add_weight(name="alpha", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The convolution."""
        joints, steps, channels = inputs.shape[1:]
        adjacency = tf.unstack(self._topologies(inputs), axis=-3)  # 3 times [V, V] or [B, V, V]
        flat = tf.reshape(inputs, (-1, joints, steps * channels))
        found = []
        for part, kernel in zip(adjacency, tf.unstack(tf.cast(self.kernel, inputs.dtype))):
            neighbours = tf.reshape(tf.matmul(part, flat), (-1, channels))  # A_k X
            found.append(tf.matmul(neighbours, kernel))
        return tf.reshape(tf.add_n(found), (-1, joints, steps, self.filters))

    def _topologies(self, inputs):
        """``[3, V, V]``, or ``[B, 3, V, V]`` if every sample has its own."""
        adjacency = self._between_all_persons(inputs.dtype)
        if self.topology != "refined":
            return adjacency
        pooled = tf.reduce_mean(inputs, axis=2)  # [B, V, C]
        p, q = tf.split(tf.matmul(pooled, tf.cast(self.correlation, inputs.dtype)), 2, axis=-1)  # [B, V, R]
        apart = tf.tanh(p[:, :, tf.newaxis] - q[:, tf.newaxis])  # [B, V, V, R]
        refined = tf.transpose(tf.matmul(apart, tf.cast(self.refinement, inputs.dtype)), (0, 3, 1, 2))
        return adjacency + tf.cast(self.alpha, inputs.dtype) * refined

    def _between_all_persons(self, dtype):
        """The adjacency ``[3, V, V]`` of all persons, from that within a person and that between two persons."""
        own = tf.cast(self.adjacency, dtype)
        if self.persons == 1 or not self.shared_persons:
            return own
        others = tf.zeros_like(own) if self.interaction is None else tf.cast(self.interaction, dtype)
        persons = range(self.persons)
        rows = [tf.concat([own if i == j else others for j in persons], axis=2) for i in persons]
        return tf.concat(rows, axis=1)

    def multiply_accumulates(self) -> int:
        """Multiply-accumulates for one clip: neighbours and channels of three parts, and the topology's refinement."""
        joints, steps, channels = self.input.shape[1:]
        positions, parts = joints * steps, 3
        count = parts * positions * channels * (joints + self.filters)
        if self.topology == "refined":
            count += joints * channels * 2 * CORRELATION + joints * joints * CORRELATION * parts
        return count

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape with ``filters`` channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        names = ("filters", "layout", "persons", "topology", "shared_persons")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own}


def _normalised(x, name, relu=True):
    """Batch normalisation, then ReLU."""
    x = tf.keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}.batch_norm")(x)
    return tf.keras.layers.Activation("relu", name=f"{name}.relu")(x) if relu else x


def _same_channels(x, filters, name):
    """x itself if it has ``filters`` channels, else a linear map of x: the residual connection."""
    if x.shape[-1] == filters:
        return x
    x = tf.keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}.conv")(x)
    return _normalised(x, name, relu=False)


def temporal_convolution(x: tf.Tensor, name: str) -> tf.Tensor:
    """Convolutions over time at several scales: a linear map of the channels, then a branch for each quarter of them.

    The branches are those of CTR-GCN (section 3.4): a kernel of 5 steps, one of 5 with dilation 2, the maximum of 3
    steps, and the identity. In CTR-GCN each branch has its own linear map, which is equivalent, and the last branch has
    no ReLU.

    Args:
        x: ``[B, V, T, C]``, C a multiple of 4.
        name: Prefix of the layers' names.

    Returns:
        ``[B, V, T, C]``.
    """
    channels = x.shape[-1]
    x = tf.keras.layers.Conv2D(channels, 1, use_bias=False, name=f"{name}.conv_1x1")(x)
    x = _normalised(x, f"{name}.conv_1x1")
    quarter = channels // SCALES
    branches = [Channels(number * quarter, quarter, name=f"{name}.way_{number}")(x) for number in range(SCALES)]
    for number, dilation in enumerate((1, 2)):
        branches[number] = tf.keras.layers.Conv2D(
            quarter,
            (1, 5),
            dilation_rate=(1, dilation),
            padding="same",
            use_bias=False,
            name=f"{name}.conv_1x5_dilation_{dilation}",
        )(branches[number])
    branches[2] = tf.keras.layers.MaxPooling2D((1, 3), 1, padding="same", name=f"{name}.max_pool")(branches[2])
    return _normalised(tf.keras.layers.Concatenate(name=f"{name}.concat")(branches), name, relu=False)


@_serializable
class Channels(tf.keras.layers.Layer):
    """Some of the channels of ``[..., C]``.

    Args:
        start: Index of the first channel.
        count: Number of channels.
    """

    def __init__(self, start: int, count: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.start = start
        self.count = count

    def call(self, inputs: Any) -> Any:
        """The channels."""
        return inputs[..., self.start : self.start + self.count]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape with ``count`` channels."""
        return (*input_shape[:-1], self.count)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "start": self.start, "count": self.count}


def block(
    x: tf.Tensor, filters: int, *, layout: str, persons: int, topology: str, shared_persons: bool, name: str
) -> tf.Tensor:
    """A graph convolution and a temporal convolution, each with a residual connection.

    Args:
        x: ``[B, V, T, C]``.
        filters: Output channels, a multiple of 4.
        layout: Name of the skeleton layout.
        persons: Persons M.
        topology: One of :data:`Topology`.
        shared_persons: Whether the persons share the topology's weights.
        name: Prefix of the layers' names.

    Returns:
        ``[B, V, T, filters]``.
    """
    shortcut = _same_channels(x, filters, f"{name}.shortcut")
    y = SkeletonConvolution(filters, layout, persons, topology, shared_persons, name=f"{name}.graph")(x)
    y = _normalised(y, f"{name}.graph", relu=False)
    y = tf.keras.layers.Add(name=f"{name}.graph.add")([y, shortcut])
    y = tf.keras.layers.Activation("relu", name=f"{name}.graph.relu")(y)
    y = temporal_convolution(y, f"{name}.time")
    y = tf.keras.layers.Add(name=f"{name}.add")([y, shortcut])
    return tf.keras.layers.Activation("relu", name=f"{name}.relu")(y)


def pooled_features(
    streamed: tf.Tensor,
    *,
    layout: str,
    persons: int,
    topology: str,
    shared_persons: bool,
    width: float,
    prefix: str = "",
) -> tf.Tensor:
    """The network up to its pooled features.

    Args:
        streamed: ``[B, tp, M * J, 3S]``, the streams made of the pose.
        layout: Name of the skeleton layout.
        persons: Persons M.
        topology: One of :data:`Topology`.
        shared_persons: Whether the persons share all weights.
        width: Multiplier of the number of channels.
        prefix: Prefix of the layers' names.

    Returns:
        ``[B, channels]``: means over joints, persons and steps.
    """
    steps, joints, values = streamed.shape[1:]
    alike = persons if shared_persons else 1
    x = tf.keras.layers.Reshape((steps, alike, joints // alike * values), name=f"{prefix}flat")(streamed)
    x = _normalised(x, f"{prefix}input", relu=False)  # of every joint's coordinates, as in ST-GCN
    x = tf.keras.layers.Reshape((steps, joints, values), name=f"{prefix}joints")(x)
    x = tf.keras.layers.Permute((2, 1, 3), name=f"{prefix}joints_first")(x)  # [B, V, tp, 3S]
    for number, (channels, blocks) in enumerate(STAGES, start=1):
        channels = SCALES * i3d.scaled(channels // SCALES, width)
        if number == 1:
            embed = tf.keras.layers.Conv2D(
                channels, (1, 5), (1, 2), padding="same", use_bias=False, name=f"{prefix}embedding.conv"
            )
            x = _normalised(embed(x), f"{prefix}embedding")
        else:
            x = tf.keras.layers.MaxPooling2D((1, 2), padding="same", name=f"{prefix}pool_{number}")(x)
        for index in range(1, blocks + 1):
            name = f"{prefix}block_{number}{index}"
            x = block(
                x,
                channels,
                layout=layout,
                persons=persons,
                topology=topology,
                shared_persons=shared_persons,
                name=name,
            )
    return tf.keras.layers.GlobalAveragePooling2D(name=f"{prefix}pooled")(x)


@register(paper="STGCN18", unstated={"shared_persons": False})
def pose_gcn(
    num_classes: int,
    *,
    pose_steps: Size = 64,
    persons: Size = 1,
    layout: Layout = "kinect_v2_25",
    streams: tuple[Stream, ...] = ("joint",),
    topology: Topology = "refined",
    width: Multiplier = 1.0,
    dropout: Rate = 0.5,
    networks: Size = 1,
    shared_persons: bool = True,
) -> tf.keras.Model:
    """Pose GCN: graph convolutions over the joints and temporal convolutions of several scales.

    ST-GCN (Yan, Xiong, Lin, AAAI 2018) with the learned and refined topologies, the scales and the streams of its
    successors; narrower and less deep.
    ::

        pose [B,tp,M,J,3] ─► joints, bones, motions [B,tp,M*J,3S] ─► batch norm ─► conv over 5 steps, every second
            ─► block 32 ─► half the steps ─► 2 blocks 64 ─► half the steps ─► 2 blocks 96
            ─► mean over persons, joints and steps ─► linear ─► softmax [B,C]

        block: graph convolution ─► temporal convolutions at 4 scales, each with a residual connection

    Args:
        num_classes: Number of classes C.
        pose_steps: Steps tp of a pose sequence.
        persons: Persons M in a pose; each joint may also have joints of other persons as neighbours.
        layout: Skeleton layout of the pose, a name in ``zoo.skeletons.LAYOUTS``.
        streams: Inputs made of the pose, some of ``joint``, ``bone``, ``joint_motion`` and ``bone_motion``; several
            are concatenated. Separate networks of one stream each are fused by their scores (``evaluate.py --fuse``).
        topology: Which joints are neighbours: ``skeleton`` (the bones), ``learned``, ``refined`` (learned, and adapted
            to every sample); see :class:`SkeletonConvolution`.
        width: Multiplier of the number of channels.
        dropout: Dropout rate of the pooled features.
        networks: Number of networks in an ensemble, each with weights and a loss of its own; the prediction is the
            softmax of their mean log-probabilities. Several networks are for small datasets, where the accuracies of
            two trainings differ by percentage points.
        shared_persons: Whether the persons share all weights; their features are averaged, so the order in which a file
            lists them has no effect. ``False``: the joints of all persons are one graph, with separate weights for each
            person.

    Returns:
        A ``tf.keras.Model``: ``{"pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``.

    Raises:
        ZooError: A value that an option does not take.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_gcn", num_classes=10, layout="kinect_v1_20", streams=("joint", "bone"))
        >>> tuple(model.input["pose"].shape), model.output_shape
        ((None, 64, 1, 20, 3), (None, 10))
    """
    check_streams(streams)
    pose = pose_lstm.skeleton_input(pose_steps, persons, layout)
    streamed = SkeletonStreams(layout, streams, name="streams")(pose)  # [B, tp, V, 3S]
    sizes: dict[str, Any] = {"layout": layout, "persons": persons, "topology": topology, "width": width}
    sizes["shared_persons"] = shared_persons
    if networks == 1:
        x = pooled_features(streamed, **sizes)
        predictions = classify(Dropout(dropout, name="dropout")(x), num_classes)
    else:
        predictions = _ensemble(streamed, num_classes, networks, dropout, sizes)
    return tf.keras.Model({"pose": pose}, predictions, name="pose_gcn")


def _ensemble(streamed, num_classes, networks, dropout, sizes):
    """The softmax of several networks' mean log-probabilities; each has a loss of its own."""
    found = []
    for number in range(1, networks + 1):
        prefix = f"network_{number}." if number > 1 else ""  # the first may start from a single network's weights
        x = Dropout(dropout, name=f"{prefix}dropout")(pooled_features(streamed, prefix=prefix, **sizes))
        x = tf.keras.layers.Dense(num_classes, name=f"{prefix}{HEAD}")(x)
        found.append(tf.keras.layers.Reshape((1, num_classes), name=f"{prefix}scores")(x))
    scores = tf.keras.layers.Concatenate(axis=1, name="all_scores")(found)  # [B, networks, C]
    logits = AllStepsLogits(name="logits")(scores)  # here the loss is the mean over networks, in place of steps
    return tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(logits)
