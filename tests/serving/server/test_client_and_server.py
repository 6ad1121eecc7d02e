"""The client and the server of this project together, and clients that misbehave."""

import concurrent.futures
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.client import Client, RequestFailed, Tls
from serving.server import Server, batching, tls
from serving.server.manager import Manager
from tests.conftest import REPOSITORY
from tests.serving.conftest import LABELS
from tests.serving.made_certificates import Authority
from tfrecords import schema
from zoo.shared.errors import UserError

Code = grpc.StatusCode
MODEL = "separable_sta"
LIMIT = 2_000_000  # bytes of a message


@pytest.fixture(scope="module")
def running(base):
    """A server with labels, batching and REST."""
    parameters = batching.Parameters(max_batch_size=4, batch_timeout_micros=200_000, allowed_batch_sizes=(1, 2, 4))
    manager = Manager(batcher=lambda run: batching.Batcher(run, parameters))
    manager.configure(configuration(base / MODEL, 'version_labels { key: "stable" value: 1 }'))
    made = Server(manager, port=0, rest_port=0, max_message_bytes=LIMIT)
    made.start()
    yield made
    made.stop(grace=0)


def configuration(folder, more=""):
    text = f'model_config_list {{ config {{ name: "{MODEL}" base_path: "{folder}" {more} }} }}'
    return text_format.Parse(text, model_management_pb2.ReloadConfigRequest().config)


def of_labels(prediction):
    of_label = dict(zip(prediction.labels, prediction.probabilities))
    return [of_label[label] for label in LABELS]


@pytest.fixture(params=["gRPC", "REST"])
def server_address(running, request):
    """Address of the server, by either interface."""
    return running.address if request.param == "gRPC" else f"http://{running.rest_address}"


def test_every_signature_of_a_label(server_address, clips, expected):
    clip = clips["square"]
    for signature in ("serve_jpeg", "attention", "serve_examples"):
        with Client(server_address, MODEL, signature=signature, version_label="stable") as client:
            if signature == "serve_examples":
                prediction = client.predict_record(schema.encode(clip))
            else:
                prediction = client.predict_clip(clip)
            np.testing.assert_allclose(of_labels(prediction), expected["square"], atol=1e-6)
            if signature == "attention":
                maps = sorted(set(client.signatures()[signature].outputs) - {"probabilities", "classes", "logits"})
                explained = client.predict_clip(clip, outputs=maps)
                assert sorted(explained.outputs) == maps
                assert all(np.isfinite(values).all() for values in explained.outputs.values())
    with (
        Client(server_address, MODEL, version_label="canary") as client,
        pytest.raises(RequestFailed, match="Unrecognized servable version label: canary"),
    ):
        client.predict_clip(clip)


def test_a_message_beyond_the_limit(server_address):
    frames = np.zeros((16, 256, 256, 3), np.uint8)
    with (
        Client(server_address, MODEL, signature="serving_default", timeout=120, retries=0) as client,
        pytest.raises(RequestFailed) as failure,
    ):
        client.predict(frames, np.zeros((4, 2, 25, 3), np.float32))
    assert failure.value.code is Code.RESOURCE_EXHAUSTED
    assert "refuses a message of this size" in str(failure.value)
    with Client(server_address, MODEL) as client:
        assert client.signatures()


def test_a_damaged_jpeg_does_no_harm_to_the_rest_of_its_batch(running, clips, expected):
    clip = clips["square"]
    broken = list(clip.images["full_body"])
    broken[4:6] = [b"\xff\xd8 no picture"] * 2  # every second frame is used
    with Client(running.address, MODEL) as client, concurrent.futures.ThreadPoolExecutor(3) as pool:
        client.signatures()
        jobs = [
            pool.submit(client.predict, frames, clip.pose_xyz) for frames in (broken, *[clip.images["full_body"]] * 2)
        ]
        with pytest.raises(RequestFailed) as failure:
            jobs[0].result()
        assert failure.value.code is Code.INVALID_ARGUMENT
        for job in jobs[1:]:
            np.testing.assert_allclose(of_labels(job.result()), expected["square"], atol=1e-6)


def test_clients_that_leave_or_read_nothing(running, clips, expected):
    clip = clips["square"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = MODEL, "serve_jpeg"
    request.inputs["jpegs"].CopyFrom(tf.make_tensor_proto([clip.images["full_body"]]))
    request.inputs["poses"].CopyFrom(tf.make_tensor_proto(clip.pose_xyz[np.newaxis]))
    with grpc.insecure_channel(running.address) as channel:
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for _ in range(5):
            service.Predict.future(request).cancel()
    host, port = running.rest_address.split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(8)]
    for number, one in enumerate(idle):
        head = f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        one.sendall(head.encode()[: 40 if number % 2 else None])  # half a head, or a body that never comes
    try:
        for address in (running.address, f"http://{running.rest_address}"):
            with Client(address, MODEL) as client:
                np.testing.assert_allclose(of_labels(client.predict_clip(clip)), expected["square"], atol=1e-6)
    finally:
        for one in idle:
            one.close()


@pytest.mark.parametrize(
    ("length", "status"),
    [(str(2**31), 413), (5000 * "9", 400)],
    ids=["two gigabytes", "more digits than Python reads"],
)
def test_a_body_that_is_too_long_is_rejected_unread(running, length, status):
    connection = http.client.HTTPConnection(running.rest_address, timeout=120)
    connection.putrequest("POST", f"/v1/models/{MODEL}:predict")
    connection.putheader("Content-Length", length)
    connection.endheaders()
    assert connection.getresponse().status == status
    connection.close()


def test_health_and_reload_over_the_wire(linear_version, tmp_path):
    manager = Manager(MODEL, linear_version.parent)
    manager.load_newest()
    other = Server(manager, port=0)
    shutil.copytree(linear_version, tmp_path / "other" / "7")
    other.start()
    with grpc.insecure_channel(other.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        request = model_management_pb2.ReloadConfigRequest(config=configuration(tmp_path / "other"))
        response = model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(request, timeout=60)
        assert response.status.error_code == 0
    with Client(other.address, MODEL, signature="serve_examples", version=7) as client:
        assert client.signatures()
    with (
        Client(other.address, MODEL, version=1) as client,
        pytest.raises(RequestFailed, match="serves no separable_sta version 1"),
    ):
        client.signatures()
    other.stop(grace=0)


def test_tls(manager, tmp_path, clips, expected):
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    cert, key = authority.sign("server")
    settings = tls.Tls(*(pathlib.Path(path).read_text() for path in (key, cert, authority.file)), client_verify=True)
    made = Server(manager, port=0, rest_port=0, tls=settings)
    made.start()
    mine, theirs = authority.sign("client"), stranger.sign("intruder")
    for address in (made.address, f"https://{made.rest_address}"):
        with Client(address, MODEL, tls=Tls(authority.file, *mine)) as client:
            np.testing.assert_allclose(of_labels(client.predict_clip(clips["square"])), expected["square"], atol=1e-6)
        for files in (theirs, (None, None)):
            with Client(address, MODEL, tls=Tls(authority.file, *files), retries=0) as client, pytest.raises(UserError):
                client.predict_clip(clips["square"])
    made.stop(grace=0)


def test_command_follows_its_files_and_logs_json(tmp_path, linear_version):
    shutil.copytree(linear_version, tmp_path / "models" / "adl" / "1")
    config, log = tmp_path / "models.config", tmp_path / "log.jsonl"
    text = f'model_config_list {{ config {{ name: "NAME" base_path: "{tmp_path / "models" / "adl"}" }} }}'
    config.write_text(text.replace("NAME", "first"))
    line = [sys.executable, "-m", "serving.server", "--model_config_file", str(config), "--port", "0", "--log_json"]
    line += ["--model_config_file_poll_wait_seconds", "0.2", "--file_system_poll_wait_seconds", "0.2"]
    line += ["--rest_api_port", "0", "--enable_batching"]
    with open(log, "w") as errors:
        process = subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        address = process.stdout.readline().split()[-1]
        rest = process.stdout.readline().split()[-1]
        until_served(f"http://{rest}", "first", 1)
        shutil.copytree(tmp_path / "models" / "adl" / "1", tmp_path / ".new")
        os.rename(tmp_path / ".new", tmp_path / "models" / "adl" / "2")
        until_served(address, "first", 2)
        config.write_text("no configuration {")
        until_logged(log, "no ModelServerConfig in text format")
        until_served(address, "first", 2)
        config.write_text(text.replace("NAME", "second"))
        until_served(address, "second", 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()


def until_logged(log, message):
    """Waits until the server logs a message, one JSON object a line."""
    end = time.monotonic() + 60
    while True:
        rows = [row for row in log.read_text().splitlines(keepends=True) if row.startswith("{") and row.endswith("\n")]
        if any(message in json.loads(row)["message"] for row in rows):
            return
        assert time.monotonic() < end
        time.sleep(0.05)


def until_served(address, model, version):
    """Sends requests until that version responds."""
    poses, until = np.ones((4, 2, 25, 3), np.float32), time.monotonic() + 60
    while True:
        try:
            with Client(address, model, version=version) as client:
                assert client.predict(poses=poses).labels
            return
        except RequestFailed as failure:
            if failure.code is not Code.NOT_FOUND or time.monotonic() > until:
                raise
            time.sleep(0.1)
