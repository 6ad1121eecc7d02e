"""Warm-up files, as TF-Serving reads them."""

import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.savedmodel import batching_parameters, servable, signatures, warmup
from tests.serving.conftest import INPUTS, POSE_INPUTS


@pytest.fixture
def version(linear_version, tmp_path):
    """A copy of an exported version, to damage."""
    return shutil.copytree(linear_version, tmp_path / "1")


def test_records_replay_against_the_loaded_model(base, signature_functions):
    folder = base / "separable_sta" / "1"
    records = tf.data.TFRecordDataset(str(folder / "assets.extra" / "tf_serving_warmup_requests"))
    requests = [prediction_log_pb2.PredictionLog.FromString(r).predict_log.request for r in records.as_numpy_iterator()]
    seen = set()
    for request in requests:
        assert request.model_spec.name == "separable_sta"
        function = signature_functions[request.model_spec.signature_name]
        outputs = function(**{name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()})
        np.testing.assert_allclose(outputs["probabilities"].numpy().sum(axis=1), 1, atol=1e-5)
        seen.add(request.model_spec.signature_name)
    assert seen == set(signature_functions) == {"serving_default", "serve_jpeg", "serve_examples", "attention"}


def test_every_batch_size_is_warmed_up_and_allowed(linear_version):
    loaded = servable.Servable("pose_lstm", 1, linear_version)
    responses = [
        (r.model_spec.signature_name, loaded.predict(r).outputs["classes"]) for r in warmup.read(linear_version)
    ]
    sizes = [(signature, classes.tensor_shape.dim[0].size) for signature, classes in responses]
    assert sorted(sizes) == sorted(
        (name, size) for name in loaded.signature_defs if name[0] == "s" for size in (1, 2, 4)
    )
    parameters = batching_parameters.read(linear_version)
    assert list(parameters.allowed_batch_sizes) == [1, 2, 4]
    assert parameters.max_batch_size.value == 4


def test_abbreviated_tensors_mean_the_same_in_c_plus_plus():
    for request in warmup.requests("adl", INPUTS, batch_sizes=(1, 3)):
        for name, spec in signatures.input_specs(request.model_spec.signature_name, INPUTS).items():
            proto = request.inputs[name]
            if name.startswith(("frames", "jpegs")):
                assert proto.ByteSize() < 1000
            parsed = tf.io.parse_tensor(proto.SerializeToString(), spec.dtype)  # TensorFlow's own C++ parser
            assert spec.shape.is_compatible_with(parsed.shape)
            assert parsed.shape[0] in (1, 3)
            np.testing.assert_array_equal(parsed.numpy(), tf.make_ndarray(proto))


def test_too_many_records_are_rejected(tmp_path):
    (request,) = warmup.requests("adl", INPUTS)[:1]
    with pytest.raises(ValueError, match="1001 warm-up requests"):
        warmup.write(tmp_path, [request] * 1001)


@pytest.mark.parametrize("damage", ["cut", "other", "failing"])
def test_bad_record_keeps_a_version_from_loading(version, damage):
    path = version / warmup.FILE
    if damage == "cut":
        os.truncate(path, path.stat().st_size - 5)
        message = "is damaged"
    elif damage == "other":
        with tf.io.TFRecordWriter(str(path)) as writer:
            writer.write(prediction_log_pb2.PredictionLog(session_run_log={}).SerializeToString())
        message = "no PredictLog"
    else:
        request = warmup.requests("adl", POSE_INPUTS)[0]
        del request.inputs["poses"]
        warmup.write(version, [request])
        message = "a warm-up request failed: input size does not match signature"
    with pytest.raises(ValueError, match=message):
        servable.Servable("adl", 1, version)


def test_version_without_warm_up_file_loads(version):
    (version / warmup.FILE).unlink()
    assert servable.Servable("adl", 1, version).version == 1
