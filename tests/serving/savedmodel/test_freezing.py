"""Weights of half the size, and frozen graphs."""

import numpy as np
import pytest
import tensorflow as tf

from serving import export
from serving.savedmodel import freezing
from tests.zoo import tiny_models
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def traced():
    """A concrete function with a convolution, batch normalisation and a loop, and a batch for it."""
    picture = tf.keras.Input((4, 8, 8, 3), name="rgb")
    hidden = tf.keras.layers.Conv3D(16, 3, use_bias=False)(picture)
    hidden = tf.keras.layers.BatchNormalization()(hidden)
    hidden = tf.keras.layers.Reshape((2, -1))(tf.keras.layers.ReLU()(hidden))
    output = tf.keras.layers.Dense(3)(tf.keras.layers.LSTM(8)(hidden))
    model = tf.keras.Model({"rgb": picture}, {"logits": output, "features": hidden})
    tiny_models.randomize(model)
    specs = {"rgb": tf.TensorSpec([None, 4, 8, 8, 3], tf.float32, "rgb")}
    function = tf.function(lambda fed: model(fed, training=False), input_signature=[specs])
    fed = {"rgb": tf.constant(np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)), tf.float32)}
    yield function.get_concrete_function(), fed  # noqa: PT022 - the model must live: it alone keeps the variables


def nodes(function):
    """Operations of a function's graph."""
    return [node.op for node in function.get_concrete_function().graph.as_graph_def().node]


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 1e-1)])
def test_outputs_stay_and_kernels_shrink(traced, precision, tolerance, freeze):
    function, fed = traced
    rewritten = freezing.rewrite(function, precision=precision, freeze=freeze)
    expected, actual = function(fed), tf.function(lambda fed: rewritten(fed))(fed)
    assert sorted(actual) == ["features", "logits"]
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], atol=tolerance)
    variables = rewritten.get_concrete_function().graph.variables
    stored = {variable.dtype.name for variable in variables}
    assert stored == (set() if freeze or precision == "float32" else {precision})
    same = all(np.array_equal(actual[name], expected[name]) for name in expected)
    assert same <= (precision == "float32")  # rounded kernels change the outputs


def test_batch_normalisation_becomes_part_of_the_convolution(traced):
    function, _ = traced
    frozen = nodes(freezing.rewrite(function, freeze=True))
    assert frozen.count("Conv3D") == 1
    assert not {"Rsqrt", "Mul", "FusedBatchNormV3"} & set(frozen)


@pytest.fixture(scope="module")
def branched():
    """Like ``traced``, with branches, pools, a convolution that two layers read, and attention beside."""
    picture = tf.keras.Input((4, 8, 8, 3), name="rgb")
    stem = tf.keras.layers.Conv3D(16, 3, 2, "same", use_bias=False)(picture)
    hidden = tf.keras.layers.ReLU()(tf.keras.layers.BatchNormalization(scale=False)(stem))
    pooled = tf.keras.layers.MaxPooling3D(3, 1, "same")(hidden)
    hidden = tf.keras.layers.Concatenate()([tf.keras.layers.Conv3D(8, 1)(pooled), hidden])
    hidden = tf.keras.layers.GlobalAveragePooling3D()(hidden)
    attention = tf.keras.layers.Dense(24, "softmax")(tf.keras.layers.GlobalAveragePooling3D()(stem))
    output = tf.keras.layers.Dense(3)(tf.keras.layers.Multiply()([hidden, attention]))
    model = tf.keras.Model({"rgb": picture}, {"logits": output, "features": hidden, "stem": stem})
    tiny_models.randomize(model)
    specs = {"rgb": tf.TensorSpec([None, 4, 8, 8, 3], tf.float32, "rgb")}
    function = tf.function(lambda fed: model(fed, training=False), input_signature=[specs])
    fed = {"rgb": tf.constant(np.random.default_rng(0).normal(size=(2, 4, 8, 8, 3)), tf.float32)}
    yield function.get_concrete_function(), fed  # noqa: PT022 - the model must live: it alone keeps the variables


@pytest.mark.parametrize(("compute", "tolerance"), [("float32", 1e-5), ("bfloat16", 3e-2)])
def test_convolutions_that_others_read_are_folded_right(branched, compute, tolerance):
    function, fed = branched
    rewritten = freezing.rewrite(function, freeze=True, compute=compute)
    expected, actual = function(fed), rewritten(fed)
    for name in expected:
        assert actual[name].dtype == tf.float32
        largest = np.abs(expected[name]).max()  # bfloat16 has eight bits, and so an error in proportion
        np.testing.assert_allclose(actual[name], expected[name], atol=tolerance * largest)


def test_what_is_computed_in_bfloat16():
    """Convolutions and what is between them, with biases that TensorFlow fuses; the linear layer is not."""
    network = tiny_models.shared("i3d")
    specs = {"rgb": tf.TensorSpec([None, *network.input["rgb"].shape[1:]], tf.float32, "rgb")}
    function = tf.function(lambda fed: {"y": network(fed, training=False)}, input_signature=[specs])
    rewritten = freezing.rewrite(function.get_concrete_function(), freeze=True, compute="bfloat16")
    graph = rewritten.get_concrete_function().graph.as_graph_def()
    half = [node.op for node in graph.node if node.attr["T"].type == tf.bfloat16.as_datatype_enum]
    counts = {"Conv3D": 58, "BiasAdd": 58, "Relu": 57, "MaxPool3D": 13, "ConcatV2": 9}
    assert {op: half.count(op) for op in set(half)} == counts
    clip = tf.constant(tiny_models.batch(network)[0]["rgb"])
    np.testing.assert_allclose(rewritten({"rgb": clip})["y"], network({"rgb": clip}), atol=5e-2)


def test_bfloat16_needs_a_frozen_graph(pose_run_folder, tmp_path):
    with pytest.raises(UserError, match="--compute bfloat16 is for frozen graphs alone: add --freeze"):
        export.export(export.Run(pose_run_folder), tmp_path, compute="bfloat16")


def test_variance_that_float16_cannot_hold_is_kept(traced):
    kernel, variance = tf.Variable([[1.0], [2.0]]), tf.Variable([1e9])
    traced = tf.function(lambda fed: {"y": tf.matmul(fed["x"], kernel) * variance})
    function = traced.get_concrete_function({"x": tf.TensorSpec([None, 2], tf.float32, "x")})
    actual = freezing.rewrite(function, precision="float16")({"x": tf.constant([[1.0, 1.0]])})
    np.testing.assert_allclose(actual["y"], [[3e9]])


@pytest.mark.parametrize(("precision", "freeze"), [("float16", False), ("bfloat16", True)])
def test_export_is_smaller_and_its_difference_is_limited(pose_base, pose_run_folder, tmp_path, precision, freeze):
    run = export.Run(pose_run_folder)
    folder, difference = export.export(
        run, tmp_path, name="adl", batch_sizes=[3, 1], precision=precision, freeze=freeze
    )
    assert 0 < difference < export.TOLERANCES[precision]
    assert size(folder) < size(pose_base / "pose_lstm" / "1")
    assert (folder / "assets" / "labels.txt").exists()


@pytest.mark.parametrize(("precision", "compute"), [("float16", "float32"), ("float32", "bfloat16")])
def test_type_with_few_bits_sets_the_tolerance(linear_run_folder, tmp_path, monkeypatch, precision, compute):
    monkeypatch.setitem(export.TOLERANCES, precision if compute == "float32" else compute, -1.0)
    with pytest.raises(UserError, match=r"differs from the model by .*try a higher one"):
        export.export(
            export.Run(linear_run_folder), tmp_path, precision=precision, freeze=compute != "float32", compute=compute
        )


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
