"""STA-Hands: attention to hands, driven by the pose, beside a stream of poses (Baradel et al., BMVC 2018)."""

import math
from typing import Any, Literal, Optional

import tensorflow as tf

from zoo import skeletons
from zoo.checks import Layout, Multiplier, Rate, Size, ZooError
from zoo.layers import Dropout, FramesAsBatch, FramesFromBatch, as_list, classify, has_pose, where_posed
from zoo.models import lrcn, pose_cnn, pose_lstm
from zoo.models.lrcn import Network
from zoo.papers import Row
from zoo.registry import register
from zoo.skeletons import JointOrder

Glimpses = Literal["hand_crops", "frames"]
Attention = Literal["none", "spatial", "temporal", "spatio_temporal"]
Aggregation = Literal["sum", "concat"]
Streams = Literal["pose_and_rgb", "rgb"]
HANDS = ("left_hand", "right_hand")  # of every person, in this order
BLACK = -1.0  # in a picture of [-1, 1]


_serializable = tf.keras.utils.register_keras_serializable(package="adl_zoo")


@_serializable
class HandCrops(tf.keras.layers.Layer):
    """Glimpses from stored pictures of the hands, at the size the glimpse network takes.

    Args:
        size: Height and width of a glimpse in pixels.

    Call arguments:
        inputs: Left-hand and right-hand pictures, each ``[B, T, H, W, 3]``.

    Returns:
        ``[B, T * 2, size, size, 3]``, left before right at every step.
    """

    def __init__(self, size: int, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs: Any) -> Any:
        """The glimpses."""
        crops = tf.stack(list(inputs), axis=2)  # [B, T, 2, H, W, 3]
        _, steps, hands, *picture = crops.shape
        crops = tf.image.resize(tf.reshape(crops, (-1, *picture)), (self.size, self.size))
        return tf.reshape(crops, (-1, steps * hands, self.size, self.size, 3))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, T * 2, size, size, 3)``."""
        batch, steps = input_shape[0][:2]
        return (batch, steps * len(input_shape), self.size, self.size, 3)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "size": self.size}


@_serializable
class HandGlimpses(tf.keras.layers.Layer):
    """Glimpses cut out of frames around the hands of all persons (BMVC18).

    Args:
        layout: Name of the skeleton layout, which names the hands' joints.
        pixels: Height and width of the crop in pixels of the frame: 50 on NTU RGB+D, 100 on SBU and MSR Daily.
        size: Height and width of a glimpse in pixels, to which the crop is resized.

    Call arguments:
        inputs: Frames ``[B, T, H, W, 3]`` in [-1, 1]; the joints' coordinates ``[B, T, M, J, 2]``: x to the right and y
            downwards in pixels, 0 at the centre of the first pixel; and the pose ``[B, T, M, J, 3]``, an input that is
            absent in models that an earlier version saved.

    Returns:
        ``[B, T * M * 2, size, size, 3]``, at every step person by person, left before right. Black where a crop leaves
        the frame or the hand's coordinates are not finite; whole frames for a clip without a pose (all zeros).
    """

    def __init__(self, layout: str, pixels: int, size: int, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.layout = layout
        self.pixels = pixels
        self.size = size

    def call(self, inputs: Any) -> Any:
        """The glimpses."""
        frames, joints, *poses = inputs
        layout = skeletons.get(self.layout)
        _, steps, height, width, _ = frames.shape
        hands = joints.shape[2] * len(HANDS)
        xy = tf.gather(joints, [getattr(layout, hand) for hand in HANDS], axis=3)  # [B, T, M, 2, 2]
        outside = -2.0 * self.pixels
        yx = tf.reverse(tf.where(tf.math.is_finite(xy), xy, outside * tf.ones_like(xy)), axis=[-1])
        centres = tf.reshape(yx, (-1, 2))  # [B * T * M * 2, 2]
        reach = (self.pixels - 1) / 2  # from the middle of the first pixel to the middle of the hand's
        boxes = tf.concat([centres - reach, centres + reach], axis=1)
        boxes /= tf.constant([height - 1, width - 1] * 2, tf.float32)
        if poses:
            posed = tf.repeat(has_pose(poses), steps * hands)[:, tf.newaxis]
            boxes = tf.where(posed, boxes, tf.constant([[0.0, 0.0, 1.0, 1.0]]))
        which = tf.repeat(tf.range(tf.shape(frames)[0] * steps), hands)
        frames = tf.reshape(frames, (-1, height, width, 3))
        glimpses = tf.image.crop_and_resize(frames, boxes, which, (self.size, self.size), extrapolation_value=BLACK)
        return tf.reshape(glimpses, (-1, steps * hands, self.size, self.size, 3))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, T * M * 2, size, size, 3)``."""
        (batch, steps, *_), (_, _, persons, *_), *_ = input_shape
        return (batch, steps * persons * len(HANDS), self.size, self.size, 3)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "layout": self.layout, "pixels": self.pixels, "size": self.size}


@_serializable
class GlimpseFeatures(tf.keras.layers.Layer):
    """Features of glimpses step by step; zero for the hands of an absent person.

    In a clip without a pose (all zeros) it is not known where hands are: the first person's glimpses show whole frames,
    and their features stay.

    Args:
        persons: Persons whose hands the glimpses show, the first ones of the pose.

    Call arguments:
        inputs: Features ``[B, T * persons * 2, D]``, and the pose ``[B, T, M, J, 3]``; an absent person is all zeros.

    Returns:
        V, ``[B, T, persons * 2, D]``.
    """

    def __init__(self, persons: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.persons = persons

    def call(self, inputs: Any) -> Any:
        """The features."""
        features, pose = inputs
        glimpses = self.persons * len(HANDS)
        features = tf.reshape(features, (-1, pose.shape[1], glimpses, features.shape[-1]))
        there = tf.reduce_any(tf.not_equal(pose[:, :, : self.persons], 0.0), axis=[3, 4])  # [B, T, persons]
        first = tf.range(self.persons) == 0
        there |= ~has_pose([pose])[:, tf.newaxis, tf.newaxis] & first
        there = tf.repeat(there, len(HANDS), axis=2)[..., tf.newaxis]
        return tf.where(there, features, tf.zeros_like(features))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, T, persons * 2, D)``."""
        features, pose = input_shape
        return (features[0], pose[1], self.persons * len(HANDS), features[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "persons": self.persons}


@_serializable
class GlimpseLSTM(tf.keras.layers.Layer):
    """An LSTM over glimpses that weights them by attention at every step (BMVC18).

    p_t = f(h_(t-1), s) and v_t = V_t p_t are part of the recurrence: h_t = LSTM(v_t, h_(t-1)), from h_0 = 0. In a
    baseline of the paper the glimpses are not added up but put side by side: v_t = [p_t1 V_t1, .., p_tG V_tG]. f is a
    perceptron with one hidden layer, with a sigmoid after both layers, so that attention can be on several glimpses
    or on none. In a clip without a pose (all zeros) all weights are 0.5, the sigmoid of 0. All of it is computed in
    float32.

    Args:
        units: Size of the LSTM's hidden vector.
        glimpses: Glimpses G per step.
        attention_units: Size of f's hidden layer; 0 for no attention: all weights are 1.
        aggregation: ``sum`` or ``concat`` of the weighted glimpses.

    Call arguments:
        inputs: V ``[B, T, G, D]``, alone or with the pose features s ``[B, S]`` and the pose ``[B, T, M, J, 3]``, an
            input that is absent in models that an earlier version saved; without s, f has only h_(t-1).

    Returns:
        The hidden vectors ``[B, T, units]`` and the attention P ``[B, T, G]``.

    Example:
        >>> layer = GlimpseLSTM(6, glimpses=4, attention_units=3)
        >>> hidden, attention = layer([tf.zeros((1, 5, 4, 7)), tf.zeros((1, 8))])
        >>> tuple(hidden.shape), tuple(attention.shape)
        ((1, 5, 6), (1, 5, 4))
    """

    def __init__(self, units: int, glimpses: int, attention_units: int, aggregation: str = "sum", **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)
        self.units = units
        self.glimpses = glimpses
        self.attention_units = attention_units
        self.aggregation = aggregation
        self.cell = tf.keras.layers.LSTMCell(units, dtype="float32", name="cell")
        if attention_units:
            self.hidden = tf.keras.layers.Dense(attention_units, "sigmoid", dtype="float32", name="hidden")
            self.attention = tf.keras.layers.Dense(glimpses, "sigmoid", dtype="float32", name="attention")

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the LSTM and of the attention."""
        features, *conditions = as_list(input_shape)
        self.cell.build((features[0], features[-1] * (self.glimpses if self.aggregation == "concat" else 1)))
        if self.attention_units:
            self.hidden.build((features[0], self.units + sum(shape[-1] for shape in conditions[:1])))
            self.attention.build((features[0], self.attention_units))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Hidden vectors and attention of every step."""
        features, *conditions = as_list(inputs)
        s, poses = conditions[:1], conditions[1:]
        posed = has_pose(poses)[:, tf.newaxis] if poses else True
        clips = tf.shape(features)[0]
        h = c = tf.zeros((clips, self.units))
        hidden, attention = [], []
        for glimpses in tf.unstack(features, axis=1):  # V_t: [B, G, D]
            if self.attention_units:
                p = self.attention(self.hidden(tf.concat([h, *s], axis=1)))  # [B, G]
                p = tf.where(posed, p, 0.5)
            else:
                p = tf.ones((clips, self.glimpses))
            v = glimpses * p[..., tf.newaxis]  # [B, G, D]
            if self.aggregation == "concat":
                v = tf.reshape(v, (-1, math.prod(v.shape[1:])))  # [B, G * D]
            else:
                v = tf.reduce_sum(v, axis=1)  # V_t p_t: [B, D]
            h, (_, c) = self.cell(v, [h, c])
            hidden.append(h)
            attention.append(p)
        return tf.stack(hidden, axis=1), tf.stack(attention, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, T, units)`` and ``(B, T, G)``."""
        batch, steps = as_list(input_shape)[0][:2]
        return (batch, steps, self.units), (batch, steps, self.glimpses)

    def multiply_accumulates(self) -> int:
        """Multiply-accumulates for one clip: attention, LSTM and the weighted sum of glimpses, at every step."""
        (_, steps, glimpses, channels), *_ = (tensor.shape for tensor in tf.nest.flatten(self.input))
        matrices = sum(math.prod(weight.shape) for weight in self.weights if len(weight.shape) > 1)
        return steps * (matrices + glimpses * channels)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        own = {
            "units": self.units,
            "glimpses": self.glimpses,
            "attention_units": self.attention_units,
            "aggregation": self.aggregation,
        }
        return {**super().get_config(), **own}


@_serializable
class Dense(tf.keras.layers.Dense):
    """The last layer of temporal attention, with a sigmoid (BMVC18); 0.5 for a clip without a pose.

    It has the name of Keras's layer because a saved model finds the weights of a layer by the name of its class.

    Call arguments:
        inputs: ``[B, D]``, alone or in a list with the pose ``[B, T, M, J, 3]``.

    Returns:
        ``[B, units]``.
    """

    def __init__(self, units: int, **kwargs: Any):
        super().__init__(units, **kwargs)
        self.input_spec = None  # Keras's would refuse the pose

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        super().build(as_list(input_shape)[0])
        self.input_spec = None

    def call(self, inputs: Any) -> Any:
        """The weights of the steps."""
        features, *poses = as_list(inputs)
        weights = super().call(features)
        return tf.where(has_pose(poses)[:, tf.newaxis], weights, 0.5) if poses else weights

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, units)``."""
        return (as_list(input_shape)[0][0], self.units)

    def multiply_accumulates(self) -> int:
        """Multiply-accumulates for one clip: the kernel."""
        return math.prod(self.kernel.shape)


@_serializable
class KeepAttention(tf.keras.layers.Layer):
    """Returns the hidden vectors; P is an unused input, so that a model keeps the layer that outputs P.

    Call arguments:
        inputs: Hidden vectors ``[B, T, units]`` and P ``[B, T, G]``.

    Returns:
        The hidden vectors.
    """

    def call(self, inputs: Any) -> Any:
        """The hidden vectors."""
        return tf.identity(inputs[0])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The hidden vectors' shape."""
        return tuple(input_shape[0])


@_serializable
class SumOverSteps(tf.keras.layers.Layer):
    """U p': features of all steps, summed with the weights of temporal attention (BMVC18).

    Call arguments:
        inputs: U ``[B, T, D]``, alone or with p' ``[B, T]``; without it all weights are 1.

    Returns:
        ``[B, D]`` float32.
    """

    def __init__(self, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs: Any) -> Any:
        """The sum."""
        features, *weights = as_list(inputs)
        for weight in weights:
            features = features * weight[..., tf.newaxis]
        return tf.reduce_sum(features, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, D)``."""
        features = as_list(input_shape)[0]
        return (features[0], features[-1])


@_serializable
class StreamFusion(tf.keras.layers.Layer):
    """The sum of two streams' logits a and b, with the training loss of two classifiers.

    The streams are fused at the logits, but each is trained by its own cross-entropy. The cross-entropy of the fused
    softmax is log Z(a + b) - a_y - b_y with Z the sum of exponentials; the cross-entropies of the two streams add up to
    log Z(a) + log Z(b) - a_y - b_y. So the layer adds log Z(a) + log Z(b) - log Z(a + b) to the loss, and needs no
    label. The sum is exact, also with smoothed labels, but not with sample or class weights. With a frozen pose stream
    only the RGB stream is trained. Without a pose the pose stream abstains: its logits are zeros.

    Call arguments:
        inputs: The logits ``[B, C]`` of the pose stream, those of the RGB stream, and the pose ``[B, T, M, J, 3]``, an
            input that is absent in models that an earlier version saved.

    Returns:
        ``[B, C]`` float32.
    """

    def __init__(self, **kwargs: Any):
        kwargs["dtype"] = "float32"
        super().__init__(**kwargs)

    def call(self, inputs: Any) -> Any:
        """The sum; adds the difference between the streams' losses and its own."""
        a, b, *poses = inputs
        a = where_posed(a, poses)
        log_z = [tf.reduce_logsumexp(logits, axis=1) for logits in (a, b, a + b)]  # three times [B]
        self.add_loss(tf.reduce_mean(log_z[0] + log_z[1] - log_z[2]))
        return a + b

    def compute_output_shape(self, input_shape: Any) -> Any:
        """``(B, C)``."""
        return tuple(input_shape[0])


def _check(attention, conditioning):
    if attention == "temporal" and not conditioning:
        raise ZooError(
            "attention='temporal' with conditioning=False has no input: temporal attention is computed from "
            "the spatial attention and the pose features, choose conditioning=True or attention='spatio_temporal'"
        )


def _glimpses(inputs, glimpses, pose, layout, pixels, size, picture):
    """Adds to ``inputs``; returns the glimpses ``[B, T * G, size, size, 3]`` and the number of persons in them."""
    steps, persons, joints, _ = pose.shape[1:]
    if glimpses == "hand_crops":
        for hand in HANDS:
            name = skeletons.input_name(hand)
            inputs[name] = tf.keras.Input((steps, picture, picture, 3), name=name)
        return HandCrops(size, name="glimpses")([inputs[skeletons.input_name(hand)] for hand in HANDS]), 1
    inputs["rgb"] = tf.keras.Input((steps, picture, picture, 3), name="rgb")
    inputs["pose_xy"] = tf.keras.Input((steps, persons, joints, 2), name="pose_xy")
    return HandGlimpses(layout, pixels, size, name="glimpses")([inputs["rgb"], inputs["pose_xy"], pose]), persons


def _temporal_attention(conditions, pose, units, steps):
    """p' = f'(P, s), ``[B, T]``; ``conditions`` are P, s or both; ``pose`` is a list, empty without s."""
    layers = tf.keras.layers
    x = conditions[0]
    if len(conditions) > 1:
        x = layers.Concatenate(dtype="float32", name="temporal_conditions")(conditions)
    x = layers.Dense(units, activation="sigmoid", dtype="float32", name="temporal_hidden")(x)
    return Dense(steps, activation="sigmoid", dtype="float32", name="temporal_attention")([x, *pose])


@register(
    paper="BMVC18",
    reported=[
        Row({"ntu60/cs": 84.8, "ntu60/cv": 90.6}, when={"streams": "pose_and_rgb"}),
        Row({"sbu/fold": 94.1, "msr_daily/odd_even": 90.0}, of="after NTU-60", when={"streams": "pose_and_rgb"}),
        Row({"sbu/fold": 72.0, "msr_daily/odd_even": 75.3}, of="RGB alone", when={"streams": "rgb"}),
    ],
)
def sta_hands(
    num_classes: int,
    *,
    pose_steps: Size = 20,
    persons: Size = 2,
    layout: Layout = "kinect_v2_25",
    size: Size = 224,
    width: Multiplier = 1.0,
    joint_order: JointOrder = "topological_doubles",
    glimpses: Glimpses = "hand_crops",
    glimpse_pixels: Size = 50,
    glimpse_size: Size = 299,
    network: Network = "inception_v3",
    network_weights: Optional[str] = None,
    network_trainable: bool = False,
    lstm_units: Size = 1024,
    attention_units: Size = 256,
    temporal_attention_units: Size = 512,
    feature_units: Size = 512,
    attention: Attention = "spatio_temporal",
    aggregation: Aggregation = "sum",
    conditioning: bool = True,
    streams: Streams = "pose_and_rgb",
    dropout: Rate = 0.5,
) -> tf.keras.Model:
    """STA-Hands: a pose CNN, and an LSTM over the hands' pictures with attention driven by the pose.

    Baradel, Wolf and Mille, BMVC 2018 (the altered STA-Hands).
    ::

        pose [B,tp,M,J,3] ─► pose CNN ─► s ─┬───────────────────────────────────────► linear ─► logits ─┐
                                            ├─► p_t = f(h_(t-1), s)     ┌─► p' = f'(P, s)               ├─► + ─► softmax
        hands ─► frozen 2D CNN ─► V_t ─► V_t p_t ─► LSTM ─► h_t ─► u_t ─┴─► U p' ─► linear ─► logits ───┘

    V_t [D, G] are the features of a step's G hands. f and f' are perceptrons with one hidden layer and sigmoids, u_t is
    a linear layer with ReLU of h_t; P holds the p_t and U the u_t of all steps. The video has one frame for each step
    of the pose. Each stream is trained by its own cross-entropy (see :class:`StreamFusion`); the paper trains the
    pose stream first and freezes it, which a recipe does with ``init`` from a ``pose_cnn`` and ``freeze: ["pose_*"]``.
    The recipes ``sta_hands_sbu_from_ntu60`` and ``sta_hands_msr_daily_from_ntu60`` start from a model of NTU RGB+D 60.

    Args:
        num_classes: Number of classes C.
        pose_steps: Steps tp of the pose sequence and of the video.
        persons: Persons M in a pose.
        layout: Skeleton layout of the pose, a name in ``zoo.skeletons.LAYOUTS``.
        size: Height and width of the input pictures in pixels.
        width: Multiplier of the pose CNN's number of channels; 1 is the published network.
        joint_order: Order of the joints in the pose CNN, see ``pose_cnn``.
        glimpses: Source of the glimpses. ``hand_crops``: pictures of the first person's hands, G = 2. ``frames``:
            crops of the frames around the hands of all persons, G = 2 M, as in the paper.
        glimpse_pixels: Size of the crops of frames in pixels: 50 on NTU RGB+D, 100 on SBU and MSR Daily.
        glimpse_size: Height and width of the 2D CNN's input in pixels.
        network: The 2D CNN, see ``lrcn``; the paper's is ``inception_v3``.
        network_weights: Weights of the 2D CNN: ``None`` random, ``"imagenet"`` those ``keras.applications`` downloads,
            or the path of a file; for ``inception_v1`` those of an I3D, such as ``"kinetics400"``. A saved model
            contains them.
        network_trainable: Whether the 2D CNN is trained too, for a training that starts from random weights.
        lstm_units: Size of the LSTM's hidden vector.
        attention_units: Size of f's hidden layer.
        temporal_attention_units: Size of the hidden layer of f'.
        feature_units: Size of u_t. Not stated in the paper; up to 512 agrees with its 38 million trainable parameters.
        attention: ``spatio_temporal``; ``spatial`` or ``temporal`` for one of the two; ``none`` for neither (BMVC18
            table 6). The weights of an attention that is left out are 1.
        aggregation: ``sum``: v_t = V_t p_t. ``concat``, a baseline: the weighted glimpses side by side, without
            attention the glimpses themselves.
        conditioning: Whether the pose features s are an input of f and f' (BMVC18 table 2).
        streams: ``pose_and_rgb``: the sum of both streams' logits. ``rgb``, a baseline: the logits of the hands' stream
            alone; with ``conditioning`` the pose still drives its attention.
        dropout: Dropout rate of s and of U p', before each stream's linear layer.

    Returns:
        A ``tf.keras.Model`` -> softmax ``[B, C]``. Its inputs are ``pose`` [B, tp, M, J, 3] and, for ``hand_crops``,
        ``rgb_left_hand`` and ``rgb_right_hand`` [B, tp, size, size, 3], else ``rgb`` [B, tp, size, size, 3] and
        ``pose_xy`` [B, tp, M, J, 2], the joints' pixel coordinates in the input frames. The attention layers are
        ``spatial_attention`` [B, T, G] and ``temporal_attention`` [B, T]. The streams' own scores are
        ``pose_cnn.classifier`` and ``classifier``. The hands of an absent person have zero features. For a clip without
        a pose the RGB stream alone answers, from whole frames in place of the first person's hands.

    Raises:
        ZooError: A value that an option does not take, choices that exclude each other, a size that is too small, or
            weights that cannot be read.

    Example:
        >>> import zoo
        >>> model = zoo.build("sta_hands", num_classes=10, network="mobilenet_v2", glimpse_size=32, size=48, width=0.1)
        >>> sorted(model.input)
        ['pose', 'rgb_left_hand', 'rgb_right_hand']
    """
    _check(attention, conditioning)
    lrcn.check_network(network, glimpse_size=glimpse_size)
    pose = pose_lstm.skeleton_input(pose_steps, persons, layout)
    inputs = {"pose": pose}
    if conditioning or streams == "pose_and_rgb":
        s = pose_cnn.features(pose, layout=layout, joint_order=joint_order, width=width)  # [B, S]
    if streams == "pose_and_rgb":
        dropped = Dropout(dropout, name="pose_dropout")(s)
        pose_logits = tf.keras.layers.Dense(num_classes, name="pose_cnn.classifier")(dropped)

    cnn = lrcn.frame_network(network, glimpse_size, network_weights)
    for layer in cnn.layers:  # each by itself: Keras 2 would not save trainable of the network as a whole
        layer.trainable = network_trainable
    pictures, persons_seen = _glimpses(inputs, glimpses, pose, layout, glimpse_pixels, glimpse_size, size)
    x = cnn(FramesAsBatch(name="frames_as_batch")(pictures))  # [B * T * G, D]
    x = FramesFromBatch(pictures.shape[1], name="frames_from_batch")(x)  # [B, T * G, D]
    x = GlimpseFeatures(persons_seen, name="glimpse_features")([x, pose])  # V: [B, T, G, D]

    conditions = [s] if conditioning else []
    driving = [pose] if conditioning else []  # without s, attention does not depend on the pose
    units = attention_units if attention in ("spatial", "spatio_temporal") else 0
    recurrent = GlimpseLSTM(lstm_units, persons_seen * len(HANDS), units, aggregation, name="glimpse_lstm")
    h, p = recurrent([x, *conditions, *driving])
    if units:
        p = tf.keras.layers.Activation("linear", dtype="float32", name="spatial_attention")(p)  # [B, T, G]
        h = KeepAttention(name="hidden_states")([h, p])
        conditions.append(tf.keras.layers.Flatten(dtype="float32", name="attention_of_all_steps")(p))  # P
    weighted = [tf.keras.layers.Dense(feature_units, activation="relu", name="step_features")(h)]  # U
    if attention in ("temporal", "spatio_temporal"):
        weighted.append(_temporal_attention(conditions, driving, temporal_attention_units, pose_steps))
    x = Dropout(dropout, name="dropout")(SumOverSteps(name="rgb_features")(weighted))  # U p': [B, feature_units]
    if streams == "rgb":
        return tf.keras.Model(inputs, classify(x, num_classes), name="sta_hands")
    rgb_logits = tf.keras.layers.Dense(num_classes, name="classifier")(x)

    logits = StreamFusion(name="logits")([pose_logits, rgb_logits, pose])
    predictions = tf.keras.layers.Activation("softmax", dtype="float32", name="predictions")(logits)
    return tf.keras.Model(inputs, predictions, name="sta_hands")
