"""The served graph against evaluation's reader and the Keras model."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import zoo
from serving.client.request import filled
from serving.savedmodel import signatures, warmup
from tests.serving.conftest import INPUTS, LABELS, PERSONS, POSE_INPUTS
from tests.tfrecords.recording_files import patches
from tests.zoo import tiny_models
from tfrecords import schema
from tfrecords.converting import crops
from tfrecords.reading import pictures, pipeline, poses
from zoo import skeletons
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def function(signature_functions):
    """A function (signature, **arrays) -> outputs, of the exported SavedModel."""

    def call(signature, **arrays):
        outputs = signature_functions[signature](**{name: tf.constant(array) for name, array in arrays.items()})
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    return call


@pytest.mark.parametrize("clip_id", ["short", "long", "square"])
def test_jpeg_signature_equals_evaluation(function, clips, expected, clip_id):
    clip = clips[clip_id]
    jpegs = np.array([clip.images["full_body"]], object)
    outputs = function("serve_jpeg", jpegs=jpegs, poses=clip.pose_xyz[np.newaxis])
    np.testing.assert_allclose(outputs["probabilities"][0], expected[clip_id], atol=1e-6)
    assert np.ptp(expected[clip_id]) > 0.01  # not the same for any input


def test_outputs_belong_together(function, clips):
    clip = clips["square"]
    jpegs, xyz = np.array([clip.images["full_body"]] * 2, object), np.stack([clip.pose_xyz] * 2)
    outputs = function("serve_jpeg", jpegs=jpegs, poses=xyz)
    assert {name: array.shape for name, array in outputs.items()} == dict.fromkeys(signatures.OUTPUTS, (2, len(LABELS)))
    assert [[label.decode() for label in row] for row in outputs["classes"]] == [LABELS] * 2
    np.testing.assert_allclose(tf.nn.softmax(outputs["logits"]), outputs["probabilities"], atol=1e-6)
    assert not np.allclose(outputs["logits"], np.log(outputs["probabilities"]), atol=1e-3)  # the network's own


def test_frames_signature_equals_evaluation_of_the_same_pixels(function, model):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (2, 30, 41, 60, 3), dtype=np.uint8)
    xyz = rng.normal(size=(2, 11, PERSONS, 25, 3)).astype(np.float32)  # as many frames as the sensor had
    outputs = function("serving_default", frames=frames, poses=xyz)
    chosen = frames[:, 7:23:2, :, 9:50]  # the middle 16 of 30 frames, every second; the middle 41 of 60 columns
    steps = [1, 4, 6, 9]  # the middles of four quarters of 11 frames
    fed = {
        "rgb": np.stack([pictures.to_network_range(pictures.resize(clip, 32)) for clip in chosen]),
        "pose": np.stack([tf.gather(poses.normalise(clip, INPUTS.layout), steps) for clip in xyz]),
    }
    np.testing.assert_allclose(outputs["probabilities"], model(fed, training=False), atol=1e-6)


def test_whole_frames_are_prepared_as_the_record_of_a_conversion():
    frames = np.stack([patches(41, 64, seed) for seed in range(9)])
    jpegs = [crops.encode_jpeg(frame) for frame in frames]
    box = crops.whole_box(64, 41)
    stored = np.stack([crops.cut(frame, box, 64) for frame in frames])
    inputs = pipeline.Inputs(frames=4, stride=2, size=32, framing="whole")
    indices = signatures.frame_indices(len(frames), inputs)
    expected = pictures.prepare(tf.gather(stored, indices), 32)
    fed = signatures.features("serving_default", inputs, {"frames": frames[np.newaxis]})["rgb"][0]
    np.testing.assert_allclose(fed, expected, atol=1e-6)
    of_jpegs = signatures.features("serve_jpeg", inputs, {"jpegs": tf.constant([jpegs])})["rgb"][0]
    assert np.abs(of_jpegs - expected).mean() < 0.03
    as_stored = signatures.features("serving_default", inputs, {"frames": stored[np.newaxis]})["rgb"][0]
    np.testing.assert_array_equal(as_stored, fed)  # a square stays one


def test_zero_joints_of_a_person_who_is_there_were_not_measured(function):
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (1, 16, 32, 32, 3), dtype=np.uint8)
    xyz = rng.normal(size=(1, 16, PERSONS, 25, 3)).astype(np.float32)
    lost = rng.random(xyz.shape[:4]) < 0.15
    lost[0, [0, -1]] = False
    xyz[lost] = 0
    by_graph, by_client = (
        function("serving_default", frames=frames, poses=sent)["probabilities"] for sent in (xyz, [filled(xyz[0])])
    )
    np.testing.assert_allclose(by_graph, by_client, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(frames=r["frames"][:1]), "different numbers of clips"),
        (lambda r: r.update(frames=r["frames"][:, :0]), "frames is empty"),
        (lambda r: r.update(poses=r["poses"][:0]), "poses is empty"),
        (lambda r: r["poses"].__setitem__((0, 0), np.nan), "poses must be finite"),
    ],
)
def test_senseless_values_fail(function, change, message):
    request = {"frames": np.zeros((2, 8, 32, 32, 3), np.uint8), "poses": np.zeros((2, 8, PERSONS, 25, 3), np.float32)}
    change(request)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        function("serving_default", **request)


def test_records_that_cannot_be_read_fail(function, clips):
    good = clips["square"]
    bad = {
        "no record": b"nothing",
        "no poses": schema.encode(dataclasses.replace(good, pose_xyz=None)),
        "no pictures": schema.encode(dataclasses.replace(good, images={})),
        "no JPEG": schema.encode(dataclasses.replace(good, images={"full_body": [b"nothing"] * good.num_frames})),
        "NaN": schema.encode(dataclasses.replace(good, pose_xyz=good.pose_xyz * np.nan)),
    }
    for record in bad.values():
        with pytest.raises(tf.errors.InvalidArgumentError):
            function("serve_examples", examples=np.array([schema.encode(good), record], object))
    with pytest.raises(tf.errors.InvalidArgumentError, match="examples is empty"):
        function("serve_examples", examples=np.array([], object))


def test_attention_takes_jpegs_and_has_the_same_probabilities(function, clips, model, expected):
    clip = clips["long"]
    request = {"jpegs": np.array([clip.images["full_body"]], object), "poses": clip.pose_xyz[np.newaxis]}
    outputs = function("attention", **request)
    np.testing.assert_allclose(outputs["probabilities"][0], expected["long"], atol=1e-6)
    assert set(outputs) == {*signatures.OUTPUTS, "spatial_attention", "temporal_attention"}
    fed = signatures.features("serve_jpeg", INPUTS, {name: tf.constant(array) for name, array in request.items()})
    for layer, weights in zoo.attention_maps(model)(fed, training=False).items():
        np.testing.assert_allclose(outputs[layer], weights, atol=1e-6)


def inputs_of(model):
    """What feeds a model, from the shapes of its inputs."""
    takes = {feature: tuple(tensor.shape[1:]) for feature, tensor in model.input.items()}
    values = {"parts": [part for part in skeletons.PARTS if skeletons.input_name(part) in takes]}
    if values["parts"]:
        values["frames"], values["size"] = takes[skeletons.input_name(values["parts"][0])][:2]
    if "pose" in takes:
        values["pose_steps"], values["persons"], joints, _ = takes["pose"]
        values["layout"] = next(name for name, layout in skeletons.LAYOUTS.items() if layout.num_joints == joints)
    if "pose_xy" in takes:
        values.update(pose_xy=True, frames_at="pose_steps")
    return pipeline.Inputs(**values)


def linear_model():
    """A model of all parts, poses and their pixel coordinates."""
    shapes = {"pose": (4, PERSONS, 25, 3), "pose_xy": (4, PERSONS, 25, 2)}
    shapes.update({skeletons.input_name(part): (4, 16, 16, 3) for part in skeletons.PARTS})
    takes = {name: tf.keras.Input(shape, name=name) for name, shape in shapes.items()}
    flat = [tf.keras.layers.Flatten()(tensor) for tensor in takes.values()]
    logits = tf.keras.layers.Dense(tiny_models.CLASSES, name="logits")(tf.keras.layers.Concatenate()(flat))
    return tf.keras.Model(takes, tf.keras.layers.Softmax()(logits), name="linear")


def whole_zoo():
    """Model -> options with which it can be served, at small size; a linear model has all inputs that there are."""
    for name in zoo.list_models():
        options = {"joints": 20} if "joints" in tiny_models.options(name) else {}
        if "granularities" in tiny_models.options(name):  # from frames: stored features cannot be served
            options.update(backbone="i3d", frames=12, segment_frames=8, pose_steps=12)
        quick = name in ("resnext3d101", "pose_lstm", "pose_cnn", "pose_gcn")
        yield pytest.param(name, options, id=name, marks=() if quick else pytest.mark.slow)
    yield pytest.param("linear", {}, id="linear")
    yield pytest.param("sta_hands", {"glimpses": "frames"}, id="sta_hands of frames", marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "options"), whole_zoo())
def test_every_model_of_the_zoo_gives_the_same_through_every_signature(name, options):
    model = linear_model() if name == "linear" else tiny_models.build(name, **options)
    inputs = inputs_of(model)
    attention = zoo.attention.attention_names(model)
    _, functions = signatures.build(model, inputs, [f"class {number}" for number in range(tiny_models.CLASSES)])
    assert sorted(functions) == sorted(signatures.names(inputs, attention=bool(attention)))
    # Logits too: the probabilities of random weights are often all or nothing.
    maps = zoo.attention_maps(model).output if attention else {}
    outputs = {"probabilities": model.output, "logits": model.get_layer("logits").output, **maps}
    keras_model = tf.keras.Model(model.input, outputs)
    differences = {}
    for request in warmup.requests(name, inputs, attention=bool(attention), batch_sizes=(2,), noise=True):
        signature = request.model_spec.signature_name
        tensors = {alias: tf.constant(tf.make_ndarray(proto)) for alias, proto in request.inputs.items()}
        computed = functions[signature](**tensors)
        expected = keras_model(signatures.features(signature, inputs, tensors), training=False)
        differences[signature] = np.abs(computed["probabilities"] - expected["probabilities"]).max()
        assert set(computed) == {*signatures.OUTPUTS, *(attention if signature == "attention" else ())}
        for output in set(computed) - {"classes"}:
            scale = np.abs(expected[output]).max()
            np.testing.assert_allclose(computed[output], expected[output], atol=1e-5 * max(scale, 0.1), err_msg=output)
    print(name, {signature: f"{difference:.2g}" for signature, difference in differences.items()})
    assert max(differences.values()) < 1e-6


def test_frames_at_the_pose_steps():
    hands = ("left_hand", "right_hand")
    inputs = dataclasses.replace(INPUTS, frames=4, frames_at="pose_steps", parts=hands)
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (1, 11, 32, 32, 3), dtype=np.uint8)
    request = {f"frames_{hand}": tf.constant(frames) for hand in hands}
    request["poses"] = tf.constant(rng.normal(size=(1, 11, PERSONS, 25, 3)), tf.float32)
    fed = signatures.features("serving_default", inputs, request)
    for hand in hands:
        expected = pictures.to_network_range(frames[:, [1, 4, 6, 9]])  # the middles of four quarters of 11 frames
        np.testing.assert_allclose(fed[f"rgb_{hand}"], expected, atol=1e-6)


def test_poses_between_frames():
    """The body rises by a metre from the first frame to the second; a frame shows the middle of its time."""
    plain = poses.Normalisation(axes="camera", scale=False)
    inputs = pipeline.Inputs(pose_steps=4, layout="kinect_v1_20", normalisation=plain, interpolate=True)
    body = np.random.default_rng(0).normal(size=(1, 1, 1, 20, 3)).astype("float32")
    seen = np.concatenate([body, body + np.array([0, 1, 0])], axis=1).astype("float32")
    fed = signatures.prepare_poses(seen, inputs)
    np.testing.assert_allclose(fed[0, :, 0, 0], [[0, up, 0] for up in (0, 0.25, 0.75, 1)], atol=1e-5)


def test_only_the_inputs_the_model_has():
    specs = {name: signatures.input_specs(name, POSE_INPUTS) for name in signatures.names(POSE_INPUTS)}
    assert {name: list(inputs) for name, inputs in specs.items()} == {
        "serving_default": ["poses"],
        "serve_examples": ["examples"],
    }
    hands = dataclasses.replace(INPUTS, parts=("full_body", "left_hand"))
    assert list(signatures.input_specs("serve_jpeg", hands)) == ["jpegs", "jpegs_left_hand", "poses"]
    assert signatures.input_specs("attention", hands) == signatures.input_specs("serve_jpeg", hands)
    assert signatures.input_specs("attention", POSE_INPUTS) == signatures.input_specs("serving_default", POSE_INPUTS)
    coordinates = dataclasses.replace(INPUTS, frames=4, frames_at="pose_steps", pose_xy=True)
    assert signatures.names(coordinates, attention=True) == ("serve_examples", "attention")
    assert list(signatures.input_specs("attention", coordinates)) == ["examples"]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (INPUTS, LABELS[:2], "labels.txt has 2 classes"),
        (dataclasses.replace(INPUTS, frames=16), LABELS, "inputs.json"),
        (
            dataclasses.replace(INPUTS, granularities=(2,), feature_size=4),
            LABELS,
            r"separable_sta takes stored features.*option backbone of temporal and global",
        ),
    ],
)
def test_parts_that_do_not_fit_together(model, inputs, labels, message):
    with pytest.raises(UserError, match=message):
        signatures.build(model, inputs, labels)


def test_a_network_of_poses_takes_all_classes_for_equal_without_a_pose():
    inputs = pipeline.Inputs(pose_steps=2, layout="kinect_v1_20")
    model = zoo.build("pose_lstm", num_classes=3, pose_steps=2, joints=20, lstm_units=4)
    tiny_models.randomize(model)
    _, functions = signatures.build(model, inputs, ["a", "b", "c"])
    xyz = np.random.default_rng(0).normal(size=(2, 5, 1, 20, 3)).astype(np.float32)
    xyz[1] = 0
    outputs = functions["serving_default"](poses=tf.constant(xyz))
    assert np.ptp(outputs["probabilities"][0]) > 0
    np.testing.assert_allclose(outputs["probabilities"][1], [1 / 3] * 3)
    assert not np.any(outputs["logits"][1])
    assert outputs["logits"].dtype == tf.float32
