"""VPN: video-pose network, attention from a graph of the pose and a common embedding (Das et al., ECCV 2020)."""

import math
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from spektral.layers import GCNConv

from zoo import backbones, skeletons
from zoo.backbones import BackboneName
from zoo.checks import Exponent, Layout, Multiplier, Rate, Size, Weight, ZooError
from zoo.layers import AttentionMap, Dropout, FittedMap, PoseScores, Unstack, classify, power_normalised, where_posed
from zoo.models import i3d, pose_lstm
from zoo.papers import Row
from zoo.registry import register

PoseBackbone = Literal["gcn", "lstm"]
Attention = Literal["full", "spatial"]
Embedding = Literal["none", "euclidean", "kl_pose_video", "kl_video_pose", "kl_both"]
BONE, APART = 5.0, 2.0  # weights of connected and of unconnected joints (ECCV20 section 3.2)

_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


def adjacency(layout: str, persons: int = 1) -> np.ndarray:
    """The normalised adjacency of a pose, D^-1/2 (E + I) D^-1/2 (ECCV20 section 3.2, equation 1).

    E is 5 for a bone, 2 for two joints that are not connected and 0 on the diagonal; joints of different persons have
    no edge: their graphs are the blocks of a block-diagonal matrix.

    Args:
        layout: Name of the skeleton layout.
        persons: Persons M.

    Returns:
        ``[M * J, M * J]`` float32.

    Example:
        >>> adjacency("kinect_v2_25", persons=2).shape
        (50, 50)
    """
    skeleton = skeletons.get(layout)
    edges = np.full((skeleton.num_joints, skeleton.num_joints), APART)
    for a, b in skeleton.bones:
        edges[a, b] = edges[b, a] = BONE
    np.fill_diagonal(edges, 1.0)  # E + I
    edges = np.kron(np.eye(persons), edges)
    scale = 1.0 / np.sqrt(edges.sum(axis=1))
    return (edges * scale[:, None] * scale).astype("float32")


@_serializable
class Adjacency(tf.keras.layers.Layer):
    """Outputs the adjacency of a skeleton, whatever the input: spektral's layers take the graph as an input.

    A constant given to spektral's layers directly would be lost when a model is saved and read again.

    Args:
        layout: Name of the skeleton layout.
        persons: Persons M.
    """

    def __init__(self, layout: str, persons: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.layout = layout
        self.persons = persons

    def call(self, inputs: Any) -> Any:
        """``[M * J, M * J]``."""
        return tf.constant(adjacency(self.layout, self.persons), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(M * J, M * J)``."""
        nodes = self.persons * skeletons.get(self.layout).num_joints
        return (nodes, nodes)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "layout": self.layout, "persons": self.persons}


@_serializable
class PoseSteps(Unstack):
    """:class:`zoo.layers.Unstack`, under the name that saved models use."""


@_serializable
class GraphConvolution(GCNConv):
    """spektral's graph convolution; it also accepts the list of absent masks that Keras 3 passes."""

    def call(self, inputs: Any, mask: Any = None) -> tf.Tensor:
        """A X W, from node features X ``[B, N, F]`` and the adjacency A ``[N, N]``."""
        if isinstance(mask, (list, tuple)) and all(part is None for part in mask):
            mask = None
        return super().call(inputs, mask=mask)

    def multiply_accumulates(self) -> int:
        """Multiply-accumulates for one clip: the kernel at every node, then the sum over neighbours."""
        nodes, filters = self.output.shape[1:]
        return nodes * math.prod(self.kernel.shape) + nodes * nodes * filters


@_serializable
class VideoPoseEmbedding(tf.keras.layers.Layer):
    """Pulls video and pose together in a common space (ECCV20 equations 3 and 4); passes the pose scores on unchanged.

    g_e = T_v g_s and P_e = T_p sigmoid(z), with g_s the feature map summed over time and flattened, z the scores of
    spatial attention. The paper embeds z itself; z starts at zero, where its norm has no gradient, so the activated map
    is embedded, as in the authors' public code. The training loss gains ``weight`` times a distance between g_e and
    P_e; a clip without a pose (all zeros) adds none.

    Args:
        distance: ``euclidean``: || g_e / ||g_e|| - P_e / ||P_e|| ||^2. ``kl_pose_video``: Kullback-Leibler divergence
            D(P || g) of their softmaxes. ``kl_video_pose``: D(g || P). ``kl_both``: their sum.
        units: Dimensions of the common space.
        weight: Weight of the distance in the training loss.

    Call arguments:
        inputs: The feature map ``[B, t, m, n, c]``, the scores ``[B, m * n]`` and the pose ``[B, tp, M, J, 3]``, an
            input that is absent in models that an earlier version saved.

    Returns:
        The scores ``[B, m * n]``.
    """

    for_training_only: bool = True  # predictions do not depend on its weights

    def __init__(self, distance: str, units: int, weight: float, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.distance = distance
        self.units = units
        self.weight = weight
        self.video = tf.keras.layers.Dense(units, use_bias=False, dtype="float32", name="video")
        self.pose = tf.keras.layers.Dense(units, use_bias=False, dtype="float32", name="pose")

    def build(self, input_shape: Any) -> None:
        """Creates T_v and T_p."""
        video, scores, *_ = input_shape
        _, _, m, n, channels = video
        self.video.build((video[0], m * n * channels))
        self.pose.build(tuple(scores))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Adds the distance to the model's losses."""
        features, scores, *poses = inputs
        summed = tf.reduce_sum(features, axis=1)  # g_s: [B, m, n, c]
        video = self.video(tf.reshape(summed, (-1, math.prod(summed.shape[1:]))))  # g_e: [B, units]
        pose = self.pose(tf.sigmoid(scores))  # P_e: [B, units]
        distance = where_posed(self._distance(video, pose)[:, tf.newaxis], poses)  # [B, 1]
        self.add_loss(self.weight * tf.reduce_mean(distance))
        return tf.identity(scores)

    def _distance(self, video, pose):
        """``[B]``."""
        if self.distance == "euclidean":
            # l2_normalize divides by sqrt(max(sum of squares, epsilon)): no gradient explodes at a zero vector.
            difference = tf.math.l2_normalize(video, axis=1) - tf.math.l2_normalize(pose, axis=1)
            return tf.reduce_sum(tf.square(difference), axis=1)
        video, pose = tf.nn.log_softmax(video), tf.nn.log_softmax(pose)

        def divergence(p, q):
            return tf.reduce_sum(tf.exp(p) * (p - q), axis=1)

        terms = {
            "kl_pose_video": lambda: divergence(pose, video),
            "kl_video_pose": lambda: divergence(video, pose),
            "kl_both": lambda: divergence(pose, video) + divergence(video, pose),
        }
        return terms[self.distance]()

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The scores' shape."""
        return tuple(input_shape[1])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        own = {"distance": self.distance, "units": self.units, "weight": self.weight}
        return {**super().get_config(), **own}


@_serializable
class SpatioTemporalCoupler(tf.keras.layers.Layer):
    """A_ST = A_S x A_T: spatial attention ``[B, m, n]`` times temporal attention ``[B, t]``, ``[B, t, m, n]``."""

    def call(self, inputs: Any) -> Any:
        """The coupled attention (PhD20 equation 4.16)."""
        spatial, temporal = inputs
        return temporal[:, :, tf.newaxis, tf.newaxis] * spatial[:, tf.newaxis]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, t, m, n)``."""
        (batch, m, n), (_, t) = input_shape
        return (batch, t, m, n)


def pose_features(pose: tf.Tensor, layout: str, filters: int = 64) -> tf.Tensor:
    """The pose backbone (ECCV20 section 3.2): a graph convolution per step, then 2D convolutions.

    Pooling after the second and the third convolution follows the authors' public code; the paper's figure has none.

    Args:
        pose: ``[B, tp, M, J, 3]``.
        layout: Name of the skeleton layout.
        filters: Channels of the graph convolutions.

    Returns:
        h*, ``[B, D]``.
    """
    tp, persons, joints, _ = pose.shape[1:]
    nodes = persons * joints
    flat = tf.keras.layers.Reshape((tp, nodes, 3), name="pose_nodes")(pose)  # [B, tp, M*J, 3]
    graph = Adjacency(layout, persons, name="adjacency")(flat)  # [M*J, M*J]
    steps = PoseSteps(name="pose_steps")(flat)
    steps = steps if isinstance(steps, (list, tuple)) else [steps]
    convolved = [
        GraphConvolution(filters, use_bias=False, name=f"graph_convolution_{i}")([step, graph])  # [B, M*J, 64]
        for i, step in enumerate(steps, start=1)
    ]
    stacked = [tf.keras.layers.Reshape((1, nodes, filters), name=f"graph_{i}")(x) for i, x in enumerate(convolved, 1)]
    x = tf.keras.layers.Concatenate(axis=1, name="graphs")(stacked) if tp > 1 else stacked[0]  # [B, tp, M*J, 64]
    x = tf.keras.layers.Concatenate(name="residual")([x, flat])  # [B, tp, M*J, 67]
    for number, (channels, pool) in enumerate(((64, False), (64, True), (128, True)), start=1):
        x = tf.keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"pose_conv_{number}")(x)
        name = f"pose_conv_{number}.batch_norm"
        x = tf.keras.layers.BatchNormalization(momentum=i3d.BN_MOMENTUM, name=name)(x)
        x = tf.keras.layers.Activation("relu", name=f"pose_conv_{number}.relu")(x)
        if pool:
            x = tf.keras.layers.MaxPooling2D(2, padding="same", name=f"pose_pool_{number}")(x)
    return tf.keras.layers.Flatten(name="pose_features")(x)


@register(
    paper="ECCV20",
    reported=[
        Row(
            {
                "smarthome/cs": 60.8,
                "smarthome/cv1": 43.8,
                "smarthome/cv2": 53.5,
                "ntu60/cs": 93.5,
                "ntu60/cv": 96.2,
                "ntu120/cs1": 86.3,
                "ntu120/cs2": 87.8,
            },
            when={"backbone": "i3d"},
        ),
        Row({"ntu60/cs": 95.5, "ntu60/cv": 98.0}, of="3D ResNeXt-101", when={"backbone": "resnext3d101"}),
        Row({"nucla/v3_12": 93.5}, of="after NTU-60", when={"backbone": "i3d"}),
    ],
)
def vpn(
    num_classes: int,
    *,
    frames: Size = 64,
    size: Size = 224,
    width: Multiplier = 1.0,
    pose_steps: Size = 20,
    persons: Size = 1,
    layout: Layout = "kinect_v2_25",
    backbone: BackboneName = "i3d",
    pose_backbone: PoseBackbone = "gcn",
    lstm_units: Size = 512,
    lstm_dropout: Rate = 0.5,
    attention_units: Size = 256,
    attention: Attention = "full",
    coupler: bool = True,
    embedding: Embedding = "euclidean",
    embedding_units: Size = 256,
    embedding_weight: Weight = 0.25,
    attention_regularization: Weight = 1.25e-5,
    dropout: Rate = 0.3,
    feature_power: Exponent = 1.0,
    fully_convolutional: bool = False,
) -> tf.keras.Model:
    """VPN: video-pose network, pose-driven attention with a coupled map and a video-pose embedding.

    Das et al., ECCV 2020.
    ::

        rgb ─► backbone ─► g [B,t,m,n,c] ───┬────────► A_ST * g + g ─► mean ─► dropout ─► linear ─► softmax [B,C]
                                  embedding loss             ▲
        pose ─► graph network ─► h* ─┬─► z1 ┴► sigmoid A_S ──┼─ A_ST = A_S x A_T
                                     └─► z2 ─► softmax A_T ──┘

    Both attentions start equal, and are equal for a clip without a pose (all zeros).
    The paper's loss is 0.8 L_C + 0.2 L_e + 1e-5 L_a (equations 5 and 6); here it is divided by 0.8, so that
    cross-entropy has weight 1 and ``compile`` and ``fit`` train the paper's objective: 0.25 L_e + 1.25e-5 L_a are added
    in the model.

    Args:
        num_classes: Number of classes C.
        frames: Frames T of a clip, at least 8.
        size: Height and width of a frame in pixels, at least 32.
        width: Multiplier of the backbone's number of filters; 1 is the published network.
        pose_steps: Steps tp of a pose sequence.
        persons: Persons M in a pose; their skeletons form one block-diagonal graph.
        layout: Skeleton layout of the pose, a name in ``zoo.skeletons.LAYOUTS``.
        backbone: ``i3d`` or ``resnext3d101`` (ECCV20 table 5).
        pose_backbone: ``gcn`` or ``lstm`` (ECCV20 table 2).
        lstm_units: Size of each LSTM's hidden vector, for ``lstm``.
        lstm_dropout: Dropout rate of each LSTM layer's output, for ``lstm``.
        attention_units: Size of the attention's hidden layers.
        attention: ``full`` or ``spatial`` alone (ECCV20 table 4).
        coupler: Couple both attentions into one map with a residual connection; without it each attention modulates the
            feature map separately, as in Separable STA (ECCV20 table 1).
        embedding: ``none``, ``euclidean``, ``kl_pose_video``, ``kl_video_pose`` or ``kl_both`` (ECCV20 table 3).
        embedding_units: Dimensions of the common space of video and pose.
        embedding_weight: Weight of the embedding loss.
        attention_regularization: Weight of the penalty on both attentions.
        dropout: Dropout rate of the pooled features (PhD20 section 4.6.1).
        feature_power: Exponent of the pooled features; with 0.5, power normalisation, a classifier trained on frozen
            features is better (see :func:`zoo.models.i3d.i3d`).
        fully_convolutional: Take pictures of any height and width, for inference: A_S, made for the square of ``size``,
            is resized to the feature map, and there is no embedding, which predictions do not depend on. See
            :func:`zoo.fully_convolutional`.

    Returns:
        A ``tf.keras.Model``: ``{"rgb": [B, T, H, W, 3], "pose": [B, tp, M, J, 3]}`` -> softmax ``[B, C]``. Its
        attention layers are ``spatial_attention`` [B, m, n], ``temporal_attention`` [B, t] and, coupled,
        ``spatio_temporal_attention`` [B, t, m, n].

    Raises:
        ZooError: A value that an option does not take, choices that exclude each other, or a size that is too small.

    Example:
        >>> import zoo
        >>> model = zoo.build("vpn", num_classes=10, frames=16, size=64, width=0.125, layout="kinect_v1_20")
        >>> tuple(model.input["pose"].shape)
        (None, 20, 1, 20, 3)
    """
    if attention == "spatial" and not coupler:
        raise ZooError("coupler=False separates spatial from temporal attention, but attention='spatial' has only one")
    pose = pose_lstm.skeleton_input(pose_steps, persons, layout)
    rgb = i3d.video_input(frames, size, any_size=fully_convolutional)
    g = backbones.get(backbone).feature_map(rgb, width=width)  # [B, t, m, n, c]
    t, m, n = g.shape[1], i3d.grid_side(size), i3d.grid_side(size)
    if pose_backbone == "gcn":
        h = pose_features(pose, layout)  # h*: [B, D]
    else:
        states = pose_lstm.hidden_states(pose, units=lstm_units, dropout=lstm_dropout)
        h = tf.keras.layers.Flatten(name="pose_features")(states)

    z1 = PoseScores(m * n, attention_units, name="spatial_scores")(h)  # [B, m * n]
    if embedding != "none" and not fully_convolutional:
        z1 = VideoPoseEmbedding(embedding, embedding_units, embedding_weight, name="embedding")([g, z1, pose])
    spatial = AttentionMap((m, n), "sigmoid", attention_regularization, name="spatial_attention")([z1, pose])
    maps = [tf.keras.layers.Reshape((1, m, n, 1), name="spatial_broadcast")(spatial)]
    if attention == "full":
        z2 = PoseScores(t, attention_units, name="temporal_scores")(h)  # [B, t]
        temporal = AttentionMap((t,), "softmax", attention_regularization, name="temporal_attention")([z2, pose])
        if coupler:
            coupled = SpatioTemporalCoupler(dtype="float32", name="spatio_temporal_attention")([spatial, temporal])
            maps = [tf.keras.layers.Reshape((t, m, n, 1), name="coupled_broadcast")(coupled)]
        else:
            maps.append(tf.keras.layers.Reshape((t, 1, 1, 1), name="temporal_broadcast")(temporal))

    if fully_convolutional:  # resize the maps that weigh positions
        maps = [a if a.shape[2] == 1 else FittedMap(name=f"fitted_{i}")([a, g]) for i, a in enumerate(maps, start=1)]
    modulated = [tf.keras.layers.Multiply(name=f"modulated_{i}")([g, a]) for i, a in enumerate(maps, start=1)]
    if coupler:
        modulated = [tf.keras.layers.Add(name="modulated")([modulated[0], g])]  # g' = A * g + g
    pooled = [tf.keras.layers.GlobalAveragePooling3D(name=f"pooled_{i}")(x) for i, x in enumerate(modulated, start=1)]
    x = tf.keras.layers.Concatenate(name="features")(pooled) if len(pooled) > 1 else pooled[0]
    x = Dropout(dropout, name="dropout")(power_normalised(x, feature_power))
    predictions = classify(x, num_classes)
    return tf.keras.Model({"rgb": rgb, "pose": pose}, predictions, name="vpn")
