"""The inputs and outputs of a served model: the graph around the network.

::

    frames [B,T,H,W,3] uint8 ─► choose frames ─► square ─────┐
                                                             ├─► resize ─► [-1, 1] ─► rgb ──────┐
    jpegs [B,T] string ─► choose frames ─► decode a square ──┘                                  ├─► network ─► outputs
    poses [B,Tp,M,J,3] metres ─► fill, normalise ─► middle of each sub-sequence ─► pose ────────┤
    examples [B] string ─► parse, and all of the above ─────────────────────────────────────────┘

The functions of the graph are those of the reader (:mod:`tfrecords.reading.sampling`,
:mod:`tfrecords.reading.pictures`, :mod:`tfrecords.reading.poses`), so a served clip is prepared as evaluation prepares
it with one window and one crop. Clips of any length and pictures of any size are accepted; poses need not have as many
frames as the video. A joint that is zero, while other joints of the person are not, counts as not measured and is
filled (:func:`tfrecords.reading.poses.fill_lost_joints`).

Signatures:

* ``serving_default``: ``frames`` (uint8, RGB) and ``poses``.
* ``serve_jpeg``: ``jpegs`` (one JPEG per frame) and ``poses``; a model of poses alone does not have it.
* ``serve_examples``: ``examples`` (one serialised record of a converted dataset per clip, see :mod:`tfrecords.schema`).
* ``attention``: the inputs of ``serve_jpeg`` where there are pictures, else of ``serving_default``; its outputs include
  the attention maps, by the names of :func:`zoo.attention_maps`. A model without attention does not have it.

A model that reads the joints' pixel coordinates (``pose_xy``) has only ``serve_examples``, and ``attention`` with the
same inputs: a record has the box that its pictures were cut out of, frames alone do not.

A clip whose poses are all zeros has no pose. Then a network of pictures and poses uses the pictures alone, and a
network of poses alone returns equal probabilities, and logits that are all 0.

Each signature has the inputs the network needs and no other; the pictures of a hand are ``frames_left_hand``,
``jpegs_left_hand`` and so on. Outputs, one row per clip:

* ``probabilities`` [B, C] float32: the network's softmax.
* ``classes`` [B, C] string: the label of each column.
* ``logits`` [B, C] float32: the output of the layer ``logits``; its softmax is ``probabilities``.
* ``person_crops`` [B] bool, always true: exists only if the model was trained on pictures cut out around persons, in
  signatures that take pictures. A client sees in the metadata that it should send such pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import zoo
from zoo import skeletons
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfrecords.reading.pipeline import Inputs

DEFAULT = "serving_default"
JPEG = "serve_jpeg"
EXAMPLES = "serve_examples"
ATTENTION = "attention"
POSES = "poses"
RECORDS = "examples"  # input of EXAMPLES
OUTPUTS = ("probabilities", "classes", "logits")
PERSON_CROPS = "person_crops"

_PICTURES = {DEFAULT: "frames", JPEG: "jpegs"}


def names(inputs: Inputs, *, attention: bool = False) -> tuple[str, ...]:
    """Names of the signatures of a model.

    Args:
        inputs: Its inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        attention: Whether it has attention layers.

    Returns:
        A tuple of names.

    Example:
        >>> from tfrecords.reading.pipeline import Inputs
        >>> names(Inputs(pose_steps=5, layout="kinect_v1_20"), attention=True)
        ('serving_default', 'serve_examples', 'attention')
    """
    of_clips = () if inputs.pose_xy else (DEFAULT, JPEG) if inputs.frames else (DEFAULT,)
    return (*of_clips, EXAMPLES, *((ATTENTION,) if attention else ()))


def request_of(signature: str, inputs: Inputs) -> str:
    """The signature that defines a signature's inputs: another one for ``attention``, else itself."""
    if signature != ATTENTION:
        return signature
    return next(name for name in (JPEG, DEFAULT, EXAMPLES) if name in names(inputs))


def pictures_name(signature: str, part: str) -> str:
    """Name of the input that takes a body part's pictures."""
    return _PICTURES[signature] if part == "full_body" else f"{_PICTURES[signature]}_{part}"


def input_specs(signature: str, inputs: Inputs) -> dict[str, tf.TensorSpec]:
    """Inputs of a signature.

    Args:
        signature: One of :func:`names`.
        inputs: A :class:`tfrecords.reading.pipeline.Inputs`.

    Returns:
        Input name -> ``tf.TensorSpec``, batch first; ``None`` marks sizes that a request chooses.

    Example:
        >>> from tfrecords.reading.pipeline import Inputs
        >>> specs = input_specs("serve_jpeg", Inputs(frames=16, pose_steps=5, layout="kinect_v1_20"))
        >>> {name: tuple(spec.shape) for name, spec in specs.items()}
        {'jpegs': (None, None), 'poses': (None, None, 1, 20, 3)}
    """
    import tensorflow as tf

    signature = request_of(signature, inputs)
    if signature == EXAMPLES:
        return {RECORDS: tf.TensorSpec([None], tf.string, RECORDS)}
    specs = {}
    if inputs.frames:
        for part in inputs.parts:
            name = pictures_name(signature, part)
            if signature == JPEG:
                specs[name] = tf.TensorSpec([None, None], tf.string, name)  # [B, T]
            else:
                specs[name] = tf.TensorSpec([None, None, None, None, 3], tf.uint8, name)  # [B, T, H, W, 3]
    if inputs.pose_steps:
        specs[POSES] = tf.TensorSpec([None, None, inputs.persons, inputs.joints, 3], tf.float32, POSES)
    return specs


def features(signature: str, inputs: Inputs, request: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The network's input features for a request.

    Args:
        signature: One of :func:`names`.
        inputs: A :class:`tfrecords.reading.pipeline.Inputs`.
        request: Input name -> tensor, as :func:`input_specs`.

    Returns:
        Feature name -> tensor, as :meth:`tfrecords.reading.pipeline.Inputs.signature` with a batch axis.

    Raises:
        tf.errors.InvalidArgumentError: (when run) an empty input, a picture that is no JPEG, a pose that is not finite,
            a record that cannot be parsed or lacks an input.
    """
    signature = request_of(signature, inputs)
    request = _checked(request)
    if signature == EXAMPLES:
        return _from_examples(request[RECORDS], inputs)
    fed = {}
    if inputs.frames:
        prepare = _from_jpegs if signature == JPEG else _from_frames
        for part in inputs.parts:
            fed[skeletons.input_name(part)] = prepare(request[pictures_name(signature, part)], inputs)
    if inputs.pose_steps:
        fed["pose"] = prepare_poses(request[POSES], inputs)
    return fed


def _checked(request):
    """The request; running the graph fails when an input is empty or the inputs differ in the number of clips."""
    import tensorflow as tf

    clips = {name: tf.shape(tensor)[0] for name, tensor in request.items()}
    first = next(iter(clips))
    checks = [
        tf.debugging.assert_positive(tf.size(tensor), f"{name} is empty: at least one clip of one frame is needed")
        for name, tensor in request.items()
    ]
    checks += [
        tf.debugging.assert_equal(clips[first], count, f"{first} and {name} have different numbers of clips")
        for name, count in clips.items() if name != first
    ]  # fmt: skip
    with tf.control_dependencies([check for check in checks if check is not None]):
        return {name: tf.identity(tensor) for name, tensor in request.items()}


def frame_indices(num_frames: tf.Tensor | int, inputs: Inputs) -> tf.Tensor:
    """Indices of the frames that a model uses, in the centred window or at the pose steps: ``[T]``."""
    from tfrecords.reading import sampling

    if not inputs.has_window:
        return sampling.middle_steps(num_frames, inputs.frames)
    start = sampling.window_starts(num_frames, inputs.frames, inputs.stride, clips=1)[0]
    spread = 0.5 if inputs.short_clips == "spread" else None
    return sampling.sample_frames(num_frames, inputs.frames, inputs.stride, start, spread=spread)


def _from_frames(frames, inputs):
    """``[B, any, any, any, 3]`` uint8 -> ``[B, T, size, size, 3]`` float32 in [-1, 1]."""
    import tensorflow as tf

    from tfrecords.reading import graph, pictures

    shape = tf.shape(frames)
    indices = frame_indices(shape[1], inputs)
    window = pictures.framed(inputs.framing)(shape[2], shape[3])
    top, left, height, width = tf.unstack(pictures.inside(window, shape[2:4]))

    def one_frame(index):
        clip, frame = index
        picture = frames[clip, frame, top : top + height, left : left + width]
        return pictures.prepare(pictures.bordered(picture[tf.newaxis], window, shape[2:4]), inputs.size)[0]

    # One by one: TensorFlow shrinks several pictures on a single core, but runs several iterations at a time.
    spec = tf.TensorSpec([inputs.size, inputs.size, 3], tf.float32)
    grid = tf.meshgrid(tf.range(shape[0]), indices, indexing="ij")  # [B, T] each
    rgb = graph.map_fn(one_frame, [tf.reshape(x, [-1]) for x in grid], spec)
    return tf.reshape(rgb, [-1, inputs.frames, inputs.size, inputs.size, 3])


def _from_jpegs(jpegs, inputs):
    """``[B, any]`` strings -> ``[B, T, size, size, 3]`` float32 in [-1, 1]."""
    import tensorflow as tf

    from tfrecords.reading import graph, pictures

    indices = frame_indices(tf.shape(jpegs)[1], inputs)

    def one_clip(jpegs):
        frames = pictures.decode_frames(jpegs, indices, pictures.framed(inputs.framing), turned=True)
        frames = pictures.prepare(frames, inputs.size)
        return tf.ensure_shape(frames, [inputs.frames, inputs.size, inputs.size, 3])

    spec = tf.TensorSpec([inputs.frames, inputs.size, inputs.size, 3], tf.float32)
    return graph.map_fn(one_clip, jpegs, spec)


def prepare_poses(xyz: tf.Tensor, inputs: Inputs) -> tf.Tensor:
    """Poses as a network is fed them: ``[B, any, M, J, 3]`` metres -> ``[B, tp, M, J, 3]`` normalised."""
    import tensorflow as tf

    from tfrecords.reading import graph, pipeline, poses, sampling

    xyz = tf.debugging.assert_all_finite(xyz, "poses must be finite numbers")

    def one_clip(xyz):
        positions = sampling.step_positions(inputs.pose_steps, 0.5)
        normalised = poses.normalise(poses.fill_lost_joints(xyz), inputs.layout, inputs.normalisation)
        return pipeline.pose_sequence(normalised, positions, inputs)

    spec = tf.TensorSpec([inputs.pose_steps, inputs.persons, inputs.joints, 3], tf.float32)
    return graph.map_fn(one_clip, xyz, spec)


def _from_examples(examples, inputs):
    """``[B]`` records -> the network's input features."""
    import tensorflow as tf

    from tfrecords.reading import graph, pipeline

    def one_clip(record):
        fed = pipeline.centre_view(record, inputs)
        if inputs.pose_steps:
            fed["pose"] = tf.debugging.assert_all_finite(fed["pose"], "poses must be finite numbers")
        return fed

    return graph.map_fn(one_clip, examples, inputs.signature())


def build(
    model: tf.keras.Model,
    inputs: Inputs,
    labels: Sequence[str],
    *,
    precision: str = "float32",
    freeze: bool = False,
    compute: str = "float32",
) -> tuple[tf.Module, dict[str, Callable]]:
    """The functions to save, one per signature.

    Args:
        model: A model of :mod:`zoo`: a dictionary of features -> softmax ``[B, C]``, with a layer ``logits``.
        inputs: Its inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        labels: The C class names, in the order of the softmax.
        precision: How the network's weights are stored, one of :data:`serving.savedmodel.freezing.PRECISIONS`.
        freeze: Whether they become constants of a graph that is optimised for a CPU.
        compute: Type that the convolutions of such a graph are computed in, one of
            :data:`serving.savedmodel.freezing.COMPUTED`.

    Returns:
        ``(module, functions)`` for ``tf.saved_model.save(module, path, signatures=functions)``: a ``tf.Module`` that
        holds the network's variables, and signature name -> concrete function.

    Raises:
        UserError: Model, inputs and labels do not fit together.

    Example:
        >>> import zoo
        >>> from tfrecords.reading.pipeline import Inputs
        >>> model = zoo.build("pose_lstm", num_classes=2, pose_steps=5, joints=20, lstm_units=8)
        >>> inputs = Inputs(pose_steps=5, layout="kinect_v1_20")
        >>> module, functions = build(model, inputs, ["sit", "stand"])
        >>> sorted(functions["serving_default"].structured_outputs)
        ['classes', 'logits', 'probabilities']
    """
    import tensorflow as tf

    # One network for all signatures, so that its weights are stored once. TensorFlow does not compute what a signature
    # does not return, such as attention maps.
    computed = network(model, inputs, labels, precision=precision, freeze=freeze, compute=compute)

    def function(signature):
        def serve(**request):
            fed = features(signature, inputs, request)
            return outputs(signature, inputs, labels, fed, computed(fed))

        return tf.function(serve, autograph=False).get_concrete_function(**input_specs(signature, inputs))

    attention = bool(zoo.attention.attention_names(model))
    functions = {signature: function(signature) for signature in names(inputs, attention=attention)}
    module = tf.Module(name=model.name)
    # Only the variables: saving the Keras model would trace every layer once more, for nothing.
    module.network_variables = variables(functions)
    return module, functions


def variables(functions: Mapping[str, Any]) -> list[tf.Variable]:
    """The variables that concrete functions read, each once."""
    return list({id(read): read for function in functions.values() for read in function.graph.variables}.values())


def network(
    model: tf.keras.Model,
    inputs: Inputs,
    labels: Sequence[str],
    *,
    precision: str = "float32",
    freeze: bool = False,
    compute: str = "float32",
    batch: int | None = None,
) -> tf.types.experimental.GenericFunction:
    """The network alone, without what prepares its input features.

    Args:
        model: As for :func:`build`, as are all but the last.
        inputs: The same.
        labels: The same.
        precision: The same.
        freeze: The same.
        compute: The same.
        batch: Number of clips B in its inputs; default: any.

    Returns:
        A ``tf.function`` of the features of :meth:`tfrecords.reading.pipeline.Inputs.signature`, with a batch axis,
        that returns ``probabilities``, ``logits`` and the attention maps.

    Raises:
        UserError: Model, inputs and labels do not fit together.
    """
    import tensorflow as tf

    from serving.savedmodel import freezing

    if inputs.granularities:
        raise UserError(
            f"{model.name} takes stored features, but a request contains the clip itself: export a model that "
            "computes the features from frames (option backbone of temporal and global)"
        )
    _check_parts(model, inputs, labels)
    maps = zoo.attention_maps(model).output if zoo.attention.attention_names(model) else {}
    computed = {"probabilities": model.output, "logits": model.get_layer("logits").output, **maps}
    made = tf.function(_network(model, computed), input_signature=[feature_specs(inputs, batch)], autograph=False)
    return freezing.as_stored(made, precision=precision, freeze=freeze, compute=compute)


def outputs(
    signature: str,
    inputs: Inputs,
    labels: Sequence[str],
    fed: Mapping[str, tf.Tensor],
    computed: Mapping[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Outputs of a signature.

    Args:
        signature: One of :func:`names`.
        inputs: A :class:`tfrecords.reading.pipeline.Inputs`.
        labels: The C class names, in the order of the softmax.
        fed: What the network was fed: :func:`features`.
        computed: What it returned.

    Returns:
        Output name -> tensor.
    """
    import tensorflow as tf

    if inputs.poses_alone:
        computed = _equal_without_pose(computed, fed)
    clips = tf.shape(computed["probabilities"])[0]
    kept = {name: value for name, value in computed.items() if name in OUTPUTS or signature == ATTENTION}
    if states_person_crops(signature, inputs):
        kept[PERSON_CROPS] = tf.ones([clips], tf.bool)
    texts = tf.constant([label.encode() for label in labels])  # [C]
    return {**kept, "classes": tf.tile(texts[tf.newaxis], [clips, 1])}


def states_person_crops(signature: str, inputs: Inputs) -> bool:
    """Whether a signature has the output ``person_crops``."""
    return inputs.framing == "person" and bool(inputs.frames) and request_of(signature, inputs) != EXAMPLES


def _equal_without_pose(computed, fed):
    """Outputs of a network of poses alone: for a clip without a pose all classes are equally probable."""
    import tensorflow as tf

    from zoo import layers

    posed = layers.has_pose(list(fed.values()))[:, tf.newaxis]  # [B, 1]
    equal = {"probabilities": 1.0 / computed["probabilities"].shape[1], "logits": 0.0}
    return {name: tf.where(posed, values, equal[name]) for name, values in computed.items()}


def feature_specs(inputs: Inputs, batch: int | None = None) -> dict[str, tf.TensorSpec]:
    """The network's input features: name -> ``tf.TensorSpec`` with a batch axis."""
    import tensorflow as tf

    return {name: tf.TensorSpec([batch, *spec.shape], spec.dtype, name) for name, spec in inputs.signature().items()}


def _check_parts(model, inputs, labels):
    """Raises :class:`~zoo.shared.errors.UserError` unless model, inputs and labels fit together."""
    expected = {name: tuple(spec.shape) for name, spec in inputs.signature().items()}
    actual = {name: tuple(tensor.shape)[1:] for name, tensor in model.input.items()}
    if expected != actual:
        raise UserError(f"the model takes {actual}, but the run's inputs.json feeds it {expected}: they must be equal")
    if "logits" not in [layer.name for layer in model.layers]:
        raise UserError(f"the model {model.name} has no layer named logits, expected a model made by zoo.build")
    shapes = {tuple(model.get_layer("logits").output.shape), tuple(model.output.shape)}
    if shapes != {(None, len(labels))}:
        raise UserError(f"labels.txt has {len(labels)} classes, but the model's output is {tuple(model.output.shape)}")


def _network(model, outputs):
    """Features -> some of a model's tensors by name, in inference mode."""
    import tensorflow as tf

    part = tf.keras.Model(model.input, outputs)

    def call(fed):
        return {name: tf.cast(value, tf.float32) for name, value in part(fed, training=False).items()}

    return call
