"""The server as a client of TF-Serving sees it."""

import collections
import concurrent.futures
import os
import random
import shutil
import signal
import subprocess
import sys
import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.savedmodel import servable, versions
from serving.server import Server, command
from serving.server.manager import Manager
from tests.conftest import REPOSITORY
from tests.serving.conftest import LABELS
from zoo.shared.errors import UserError

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def channel(address):
    with grpc.insecure_channel(address) as opened:
        yield opened


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


@pytest.fixture
def request_(clips):
    """A valid request, to change."""
    clip = clips["square"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "separable_sta"
    request.model_spec.signature_name = "serve_jpeg"
    request.inputs["jpegs"].CopyFrom(tf.make_tensor_proto([clip.images["full_body"]]))
    request.inputs["poses"].CopyFrom(tf.make_tensor_proto(clip.pose_xyz[np.newaxis]))
    return request


def status_of(method, request):
    """``(code, details)`` of a request that must fail."""
    with pytest.raises(grpc.RpcError) as failure:
        method(request, timeout=60)
    return failure.value.code(), failure.value.details()


def test_predict(prediction, request_, expected):
    response = prediction.Predict(request_, timeout=60)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("separable_sta", 1, "serve_jpeg")
    outputs = {name: tf.make_ndarray(proto) for name, proto in response.outputs.items()}
    assert set(outputs) == {"probabilities", "classes", "logits"}
    np.testing.assert_allclose(outputs["probabilities"][0], expected["square"], atol=1e-6)
    assert [label.decode() for label in outputs["classes"][0]] == LABELS


def test_empty_signature_name_is_the_default_one(prediction, clips):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "separable_sta"
    request.model_spec.version.value = 1
    request.inputs["frames"].CopyFrom(tf.make_tensor_proto(np.zeros((2, 3, 40, 30, 3), np.uint8)))
    request.inputs["poses"].CopyFrom(tf.make_tensor_proto(np.stack([clips["square"].pose_xyz] * 2)))
    response = prediction.Predict(request, timeout=60)
    assert response.model_spec.signature_name == "serving_default"
    assert tf.make_ndarray(response.outputs["probabilities"]).shape == (2, len(LABELS))


def test_output_filter(prediction, request_):
    request_.output_filter.extend(["logits"])
    assert list(prediction.Predict(request_, timeout=60).outputs) == ["logits"]


def tensor(array):
    return tf.make_tensor_proto(np.asarray(array))


def put(request, name, proto):
    request.inputs[name].CopyFrom(proto)


def claim(request, name, sizes):
    """Makes an input of a few bytes claim a shape."""
    proto = request.inputs[name]
    del proto.tensor_shape.dim[:]
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)


def spoil(request, jpeg):
    """Replaces one frame of the clip that the model looks at."""
    request.inputs["jpegs"].string_val[6] = jpeg


REJECTED = {
    "no model_spec": (lambda r: r.ClearField("model_spec"), Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    "no name": (lambda r: r.model_spec.ClearField("name"), Code.INVALID_ARGUMENT, "no name specified"),
    "unknown name": (
        lambda r: setattr(r.model_spec, "name", "other"),
        Code.NOT_FOUND,
        "Servable not found for request: Latest(other)",
    ),
    "unknown version": (
        lambda r: setattr(r.model_spec.version, "value", 7),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(separable_sta, 7)",
    ),
    "unknown label": (
        lambda r: setattr(r.model_spec, "version_label", "stable"),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    ),
    "unknown signature": (
        lambda r: setattr(r.model_spec, "signature_name", "classify"),
        Code.FAILED_PRECONDITION,
        'Serving signature key "classify" not found.',
    ),
    "internal signature": (
        lambda r: setattr(r.model_spec, "signature_name", "__saved_model_init_op"),
        Code.FAILED_PRECONDITION,
        "not found",
    ),
    "missing input": (lambda r: r.inputs.pop("poses"), Code.INVALID_ARGUMENT, "Missing but required: {poses}"),
    "extra input": (lambda r: put(r, "depth", tensor([1.0])), Code.INVALID_ARGUMENT, "Sent extra: {depth}"),
    "wrong type": (
        lambda r: put(r, "poses", tensor(np.zeros((1, 4, 2, 25, 3)))),
        Code.INVALID_ARGUMENT,
        "input poses: Expects arg to be float but double is provided",
    ),
    "wrong rank": (
        lambda r: put(r, "poses", tensor(np.zeros((4, 2, 25, 3), np.float32))),
        Code.INVALID_ARGUMENT,
        "input poses: expected shape [?,?,2,25,3], got [4,2,25,3]",
    ),
    "wrong size": (
        lambda r: put(r, "poses", tensor(np.zeros((1, 4, 2, 20, 3), np.float32))),
        Code.INVALID_ARGUMENT,
        "expected shape [?,?,2,25,3]",
    ),
    "unknown size": (lambda r: claim(r, "jpegs", [1, -1]), Code.INVALID_ARGUMENT, "must be fully known"),
    "too few values": (lambda r: claim(r, "poses", [1, 999, 2, 25, 3]), Code.INVALID_ARGUMENT, "tensor parsing error"),
    "too many values": (lambda r: claim(r, "jpegs", [1, 2]), Code.INVALID_ARGUMENT, "tensor parsing error"),
    "huge claim": (lambda r: claim(r, "jpegs", [1, 2**40]), Code.INVALID_ARGUMENT, "larger than 2 GiB"),
    "empty clip": (
        lambda r: put(r, "poses", tensor(np.zeros((1, 0, 2, 25, 3), np.float32))),
        Code.INVALID_ARGUMENT,
        "poses is empty",
    ),
    "unequal batch": (
        lambda r: put(r, "poses", tensor(np.zeros((2, 4, 2, 25, 3), np.float32))),
        Code.INVALID_ARGUMENT,
        "different numbers of clips",
    ),
    "no JPEG": (lambda r: spoil(r, b"no picture"), Code.INVALID_ARGUMENT, "JPEG"),
    "cut JPEG": (
        lambda r: spoil(r, r.inputs["jpegs"].string_val[6][:300]),
        Code.INVALID_ARGUMENT,
        "Invalid JPEG data, size 300 (input jpegs, clip 0, frame 6: not a whole JPEG file)",
    ),
    "unknown output": (
        lambda r: r.output_filter.append("scores"),
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: scores",
    ),
    "repeated output": (
        lambda r: r.output_filter.extend(["logits", "logits"]),
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: logits",
    ),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_request(prediction, request_, case):
    change, code, message = REJECTED[case]
    valid = predict_pb2.PredictRequest()
    valid.CopyFrom(request_)
    change(request_)
    actual, details = status_of(prediction.Predict, request_)
    assert actual == code
    assert message in details
    assert prediction.Predict(valid, timeout=60).outputs  # the server goes on


def test_long_message_is_cut(prediction, request_):
    put(request_, "x" * 2000, tensor([1.0]))
    _, details = status_of(prediction.Predict, request_)
    assert len(details) == 1024 + len("...TRUNCATED")


@pytest.mark.parametrize("times", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_damage_never_ends_the_server(channel, request_, times):
    send = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")  # bytes, as they are
    rng = random.Random(0)
    sound = request_.SerializeToString(deterministic=True)
    failures = {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.FAILED_PRECONDITION}
    outcomes = collections.Counter()
    for _ in range(times):
        damaged = bytearray(sound)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            predict_pb2.PredictRequest.FromString(bytes(damaged))
        except DecodeError:
            allowed = {Code.INTERNAL}  # of gRPC itself, for what is no message
        else:
            allowed = failures
        call = send.future(bytes(damaged), timeout=60)
        if call.code() is not Code.OK:
            assert call.code() in allowed, call.details()
        outcomes[call.code()] += 1
    assert len(outcomes) > 1  # damage has consequences
    assert send(sound, timeout=60)


def test_metadata(prediction, base):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "separable_sta"
    response = prediction.GetModelMetadata(request, timeout=60)
    assert (response.model_spec.name, response.model_spec.version.value) == ("separable_sta", 1)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(found)
    jpeg = found.signature_def["serve_jpeg"]
    assert jpeg.method_name == "tensorflow/serving/predict"
    assert {name: info.dtype for name, info in jpeg.inputs.items()} == {
        "jpegs": tf.string.as_datatype_enum,
        "poses": tf.float32.as_datatype_enum,
    }
    assert [dimension.size for dimension in jpeg.inputs["poses"].tensor_shape.dim] == [-1, -1, 2, 25, 3]


@pytest.mark.parametrize(
    ("fields", "name", "code"),
    [
        ([], "separable_sta", Code.INVALID_ARGUMENT),
        (["weights"], "separable_sta", Code.INVALID_ARGUMENT),
        (["signature_def"], "other", Code.NOT_FOUND),
    ],
)
def test_rejected_metadata_request(prediction, fields, name, code):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = name
    assert status_of(prediction.GetModelMetadata, request)[0] == code


def test_status(models):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "separable_sta"
    (status,) = models.GetModelStatus(request, timeout=60).model_version_status
    assert (status.version, status.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    request.model_spec.version.value = 2
    code, details = status_of(models.GetModelStatus, request)
    assert (code, details) == (Code.NOT_FOUND, "Could not find version 2 of model separable_sta")
    request.model_spec.Clear()
    request.model_spec.name = "other"
    code, details = status_of(models.GetModelStatus, request)
    assert (code, details) == (Code.NOT_FOUND, "Could not find any versions of model other")


def test_methods_that_are_not_there(models, prediction):
    assert status_of(models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())[0] == (
        Code.INVALID_ARGUMENT  # of a configuration without a list of models
    )
    assert status_of(prediction.Classify, classification_pb2.ClassificationRequest())[0] == Code.UNIMPLEMENTED


def test_many_clients_get_their_own_predictions(prediction, clips, expected):
    def probabilities(name):
        clip = clips[name]
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "separable_sta"
        request.model_spec.signature_name = "serve_jpeg"
        put(request, "jpegs", tf.make_tensor_proto([clip.images["full_body"]]))
        put(request, "poses", tensor(clip.pose_xyz[np.newaxis]))
        return tf.make_ndarray(prediction.Predict(request, timeout=60).outputs["probabilities"])[0]

    names = list(clips) * 10
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for name, row in zip(names, pool.map(probabilities, names)):
            np.testing.assert_allclose(row, expected[name], atol=1e-6)


@pytest.fixture
def held_up(monkeypatch):
    """Predictions wait: ``(entered, go_on)``, two events."""
    entered, go_on = threading.Event(), threading.Event()
    predict = servable.Servable.predict

    def slow(self, request):
        entered.set()
        assert go_on.wait(30)
        return predict(self, request)

    monkeypatch.setattr(servable.Servable, "predict", slow)
    return entered, go_on


def test_more_requests_than_allowed_are_rejected(manager, request_, held_up):
    entered, go_on = held_up
    running = Server(manager, port=0, max_requests=1)
    running.start()
    with grpc.insecure_channel(running.address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        call = service.Predict.future(request_, timeout=60)
        assert entered.wait(30)
        assert status_of(service.Predict, request_)[0] == Code.RESOURCE_EXHAUSTED
        go_on.set()
        assert call.result().outputs
        assert service.Predict(request_, timeout=60).outputs
    running.stop(grace=0)


def test_stopping_waits_for_requests_under_way(manager, request_, held_up):
    entered, go_on = held_up
    running = Server(manager, port=0)
    running.start()
    with grpc.insecure_channel(running.address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        call = service.Predict.future(request_, timeout=60)
        assert entered.wait(30)
        stopping = threading.Thread(target=running.stop)
        stopping.start()
        go_on.set()
        assert call.result().outputs
        stopping.join(30)
        assert status_of(service.Predict, request_)[0] == Code.UNAVAILABLE


def test_newest_version_is_served(linear_version, tmp_path):
    for version in ("2", "10", "9"):
        shutil.copytree(linear_version, tmp_path / version)
    manager = Manager("adl", tmp_path)
    assert manager.load_newest().version == 10


def test_version_that_cannot_be_loaded(linear_version, tmp_path):
    shutil.copytree(linear_version, tmp_path / "1")
    graph = tmp_path / "1" / "saved_model.pb"
    os.truncate(graph, graph.stat().st_size // 2)
    manager = Manager("adl", tmp_path)
    with pytest.raises(UserError, match="not a SavedModel that can be loaded"):
        manager.load_newest()
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "adl"
    assert manager.states(request.model_spec)[1][0] == "END"


def test_command_serves_until_a_signal_stops_it(linear_version):
    line = [sys.executable, "-m", "serving.server", "--model_name", "adl", "--port", "0"]
    line += ["--model_base_path", str(linear_version.parent)]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "adl"
    put(request, "poses", tensor(np.ones((1, 4, 2, 25, 3), np.float32)))
    process = subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        announced = process.stdout.readline()
        assert announced.startswith("Serving adl version 1 on 127.0.0.1:")
        with grpc.insecure_channel(announced.split()[-1]) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert service.Predict(request, timeout=60).outputs
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in out + err


def test_a_signal_that_reaches_another_thread_stops_the_server():
    program = """
import signal, threading
from zoo.shared import command_line
signals = command_line.StopSignals()
send = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Timer(0.2, send).start()
signals.wait()
"""
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True, timeout=120)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing", "no such folder"),
        (".", "it holds the models pose_lstm"),
        ("pose_lstm/1", "is a version itself"),
        ("pose_lstm/1/assets", "export a model there first"),
    ],
)
def test_wrong_base_path(linear_version, run_command, path, message):
    folder = linear_version.parents[1] / path
    status, _, err = run_command(command.main, "--model_base_path", folder, "--model_name", "adl", "--port", 0)
    assert status == 2
    (line,) = err.splitlines()
    assert message in line


def test_a_run_in_place_of_a_model(tmp_path):
    (tmp_path / "model.keras").touch()
    with pytest.raises(UserError, match="it is a run directory: export it with python"):
        versions.require(tmp_path)


def test_port_in_use(linear_version, address, run_command):
    port = address.rpartition(":")[2]
    line = ["--model_base_path", linear_version.parent, "--model_name", "adl", "--port", port]
    status, _, err = run_command(command.main, *line)
    assert status == 2
    assert f"cannot listen on {address}" in err


@pytest.mark.parametrize("option", ["--port", "--rest_api_port"])
@pytest.mark.parametrize("port", ["-1", "65536"])
def test_invalid_ports(run_command, option, port):
    line = ["--model_config_file", "never_read.config", "--port", "0", option, port]
    status, _, err = run_command(command.main, *line)
    assert status == 2
    (line,) = err.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}: a port is 0 to 65535" in line
