"""The served graph against evaluation's reader and the Keras model."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import zoo
from serving import signatures
from tests.serving.conftest import INPUTS, LABELS, PERSONS, POSE_INPUTS
from tests.zoo import small
from tfrecords import pictures, pipeline, poses
from tfrecords.errors import UserError
from zoo import skeletons


@pytest.fixture(scope="module")
def function(base):
    """A function (signature, **arrays) -> outputs, of the exported SavedModel."""
    loaded = tf.saved_model.load(str(base / "separable_sta" / "1"))

    def call(signature, **arrays):
        answer = loaded.signatures[signature](**{name: tf.constant(array) for name, array in arrays.items()})
        return {name: tensor.numpy() for name, tensor in answer.items()}

    return call


@pytest.mark.parametrize("clip_id", ["short", "long", "square"])
def test_jpeg_signature_equals_evaluation(function, clips, expected, clip_id):
    clip = clips[clip_id]
    jpegs = np.array([clip.images["full_body"]], object)
    answer = function("serve_jpeg", jpegs=jpegs, poses=clip.pose_xyz[np.newaxis])
    np.testing.assert_allclose(answer["probabilities"][0], expected[clip_id], atol=1e-6)
    assert np.ptp(expected[clip_id]) > 0.01  # not the same for any input


def test_outputs_belong_together(function, clips):
    clip = clips["square"]
    jpegs, xyz = np.array([clip.images["full_body"]] * 2, object), np.stack([clip.pose_xyz] * 2)
    answer = function("serve_jpeg", jpegs=jpegs, poses=xyz)
    assert {name: array.shape for name, array in answer.items()} == dict.fromkeys(signatures.OUTPUTS, (2, len(LABELS)))
    assert [[label.decode() for label in row] for row in answer["classes"]] == [LABELS] * 2
    np.testing.assert_allclose(tf.nn.softmax(answer["logits"]), answer["probabilities"], atol=1e-6)
    assert not np.allclose(answer["logits"], np.log(answer["probabilities"]), atol=1e-3)  # the network's own


def test_frames_signature_equals_evaluation_of_the_same_pixels(function, model):
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (2, 30, 41, 60, 3), dtype=np.uint8)
    xyz = rng.normal(size=(2, 11, PERSONS, 25, 3)).astype(np.float32)  # as many frames as the sensor had
    answer = function("serving_default", frames=frames, poses=xyz)
    chosen = frames[:, 7:23:2, :, 9:50]  # the middle 16 of 30 frames, every second; the middle 41 of 60 columns
    steps = [1, 4, 6, 9]  # the middles of four quarters of 11 frames
    fed = {
        "rgb": np.stack([pictures.to_network_range(pictures.resize(clip, 32)) for clip in chosen]),
        "pose": np.stack([tf.gather(poses.normalise(clip, INPUTS.layout), steps) for clip in xyz]),
    }
    np.testing.assert_allclose(answer["probabilities"], model.predict_on_batch(fed), atol=1e-6)


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


def inputs_of(model):
    """What feeds a model, from the shapes of its inputs."""
    takes = {feature: tuple(tensor.shape[1:]) for feature, tensor in model.input.items()}
    values = {"parts": [part for part in skeletons.PARTS if skeletons.input_name(part) in takes]}
    if values["parts"]:
        values["frames"], values["size"] = takes[skeletons.input_name(values["parts"][0])][:2]
    if "pose" in takes:
        values["pose_steps"], values["persons"], joints, _ = takes["pose"]
        values["layout"] = next(name for name, layout in skeletons.LAYOUTS.items() if layout.num_joints == joints)
    return pipeline.Inputs(**values)


@pytest.mark.parametrize("name", zoo.list_models())
def test_every_model_of_the_zoo_can_be_served(name):
    options = {"joints": 20} if "joints" in small.options(name) else {}
    if "granularities" in small.options(name):  # from frames: stored features cannot be served
        options.update(backbone="i3d", frames=12, segment_frames=8, pose_steps=12)
    model = small.build(name, **options)
    inputs = inputs_of(model)
    _, functions = signatures.build(model, inputs, [f"class {number}" for number in range(small.CLASSES)])
    assert sorted(functions) == sorted(signatures.names(inputs))
    rng = np.random.default_rng(2)
    request = {}
    for alias, spec in signatures.input_specs("serving_default", inputs).items():
        if alias == "poses":
            request[alias] = tf.constant(rng.normal(size=(1, 9, *spec.shape[2:])), tf.float32)
        else:
            request[alias] = tf.constant(rng.integers(0, 256, (1, 9, 64, 64, 3)), tf.uint8)
    answer = functions["serving_default"](**request)
    fed = signatures.features("serving_default", inputs, request)
    np.testing.assert_allclose(answer["probabilities"], model.predict_on_batch(fed), atol=1e-6)


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
    fed = signatures._from_poses(np.concatenate([body, body + np.array([0, 1, 0])], axis=1).astype("float32"), inputs)
    np.testing.assert_allclose(fed[0, :, 0, 0], [[0, up, 0] for up in (0, 0.25, 0.75, 1)], atol=1e-5)


def test_places_of_joints_cannot_be_served():
    model = small.build("sta_hands", glimpses="frames")
    inputs = dataclasses.replace(inputs_of(model), frames_at="pose_steps", pose_xy=True)
    with pytest.raises(UserError, match=r"pose_xy.*glimpses: hand_crops"):
        signatures.build(model, inputs, LABELS)


def test_only_the_inputs_the_model_has():
    specs = {name: signatures.input_specs(name, POSE_INPUTS) for name in signatures.names(POSE_INPUTS)}
    assert {name: list(inputs) for name, inputs in specs.items()} == {"serving_default": ["poses"]}
    hands = dataclasses.replace(INPUTS, parts=("full_body", "left_hand"))
    assert list(signatures.input_specs("serve_jpeg", hands)) == ["jpegs", "jpegs_left_hand", "poses"]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (INPUTS, LABELS[:2], "labels.txt has 2 classes"),
        (dataclasses.replace(INPUTS, frames=16), LABELS, "inputs.json"),
        (
            dataclasses.replace(INPUTS, granularities=(2,), feature_size=4),
            LABELS,
            "which no request can hold",
        ),
    ],
)
def test_parts_that_do_not_fit_together(model, inputs, labels, message):
    with pytest.raises(UserError, match=message):
        signatures.build(model, inputs, labels)
