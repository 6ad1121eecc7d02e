"""Versions that come and go while the server runs, TLS, batching and REST."""

import base64
import concurrent.futures
import json
import logging
import os
import pathlib
import shutil
import threading
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from serving.savedmodel.servable import ServingError, invalid_argument
from serving.server import Server, batching, tls
from serving.server import manager as manager_module
from serving.server.manager import ConfigFile, Manager
from tests.serving.conftest import LABELS
from tests.serving.made_certificates import Authority
from zoo.shared.errors import UserError

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A tiny SavedModel that doubles numbers."""
    folder = tmp_path_factory.mktemp("double") / "1"
    module = tf.Module()
    double = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    tf.saved_model.save(module, os.fspath(folder), signatures=double.get_concrete_function())
    return folder


@pytest.fixture
def folder(tmp_path, version):
    shutil.copytree(version, tmp_path / "double" / "1")
    return tmp_path / "double"


def config(text):
    return text_format.Parse(f"model_config_list {{ {text} }}", model_server_config_pb2.ModelServerConfig())


def add(folder, version, number):
    shutil.copytree(version, folder / ".new")
    os.rename(folder / ".new", folder / str(number))


def request_for(value=1.0, **spec):
    request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name="double", **spec))
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.full((1, 2), value, np.float32)))
    return request


def states(manager):
    return {version: state for version, (state, _) in manager.states(model_pb2.ModelSpec(name="double")).items()}


def test_no_request_fails_while_versions_change(folder, version):
    manager = Manager("double", folder)
    manager.load_newest()
    running = Server(manager, port=0)
    running.start()
    ended, wrong = threading.Event(), []

    def load(value):
        with grpc.insecure_channel(running.address) as channel:
            service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not ended.is_set():
                try:
                    values = tf.make_ndarray(service.Predict(request_for(value), timeout=120).outputs["y"])
                    if (values != 2 * value).any():
                        wrong.append(values)
                except grpc.RpcError as error:
                    wrong.append(error)

    threads = [threading.Thread(target=load, args=(value,)) for value in range(3)]
    for thread in threads:
        thread.start()
    for number in (2, 3):
        add(folder, version, number)
        manager.refresh()
    shutil.rmtree(folder / "3")  # in use
    manager.refresh()
    ended.set()
    for thread in threads:
        thread.join()
    running.stop(grace=0)
    assert not wrong
    assert states(manager) == {1: "END", 2: "AVAILABLE", 3: "END"}


def test_damaged_version_leaves_the_old_one_serving_until_it_is_mended(folder, version):
    manager = Manager("double", folder)
    manager.load_newest()
    add(folder, version, 2)
    (folder / "2" / "saved_model.pb").write_bytes(b"half")
    manager.refresh()
    assert states(manager) == {1: "AVAILABLE", 2: "END"}
    assert manager.servable(request_for().model_spec).version == 1
    shutil.copy(version / "saved_model.pb", folder / "2")
    manager.refresh()
    assert states(manager) == {1: "END", 2: "AVAILABLE"}


def test_policies_and_labels(folder, version):
    add(folder, version, 2)
    manager = Manager()
    base = f'name: "double" base_path: "{folder}"'
    manager.configure(config(f"config {{ {base} }}"))
    assert [one.version for one in manager.servables()] == [2]
    manager.configure(config(f"config {{ {base} model_version_policy {{ all {{}} }} }}"))
    assert [one.version for one in manager.servables()] == [1, 2]
    labels = 'version_labels { key: "stable" value: 1 }'
    manager.configure(
        config(f"config {{ {base} model_version_policy {{ specific {{ versions: 1 }} }} {labels} }}"),
    )
    assert [one.version for one in manager.servables()] == [1]
    assert manager.servable(request_for(version_label="stable").model_spec).version == 1
    with pytest.raises(ServingError, match="Unrecognized servable version label: canary"):
        manager.servable(request_for(version_label="canary").model_spec)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('config { name: "other" base_path: "models" }', Code.INVALID_ARGUMENT),
        ('config { name: "other" base_path: "/models/../etc" }', Code.INVALID_ARGUMENT),
        ('config { base_path: "/models" }', Code.INVALID_ARGUMENT),
        ('config { name: "other" base_path: "/no/such/folder" }', Code.UNKNOWN),
        ('config { name: "double" base_path: "%s" version_labels { key: "a" value: 9 } }', Code.FAILED_PRECONDITION),
    ],
)
def test_rejected_configuration_changes_nothing(folder, text, code):
    manager = Manager("double", folder)
    manager.load_newest()
    with pytest.raises(ServingError) as failure:
        manager.configure(config(text.replace("%s", str(folder))))
    assert failure.value.code is code
    assert manager.servable(request_for().model_spec).predict(request_for()).outputs


def test_a_label_without_a_version_is_refused_before_anything_is_loaded(folder, version, monkeypatch):
    manager = Manager("double", folder)
    manager.load_newest()
    add(folder, version, 2)
    monkeypatch.setattr(manager_module, "Servable", None)  # none is loaded
    text = f'config {{ name: "double" base_path: "{folder}" version_labels {{ key: "stable" value: 1 }} }}'
    with pytest.raises(ServingError, match=r"double version 1, .* \(label stable\)"):  # the policy selects 2
        manager.configure(config(text))
    assert states(manager) == {1: "AVAILABLE"}


def test_a_rejected_file_is_tried_again_when_something_has_changed(folder, version, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "serving.server.manager")
    damaged = shutil.copytree(folder, tmp_path / "damaged") / "1" / "saved_model.pb"
    damaged.write_bytes(b"half")
    entries = [f'config {{ name: "{path.name}" base_path: "{path}" }}' for path in (folder, tmp_path / "damaged")]
    (tmp_path / "models.config").write_text(f"model_config_list {{ {' '.join(entries)} }}")
    manager, loaded = Manager(), []
    load = manager_module.Servable
    monkeypatch.setattr(manager_module, "Servable", lambda *a, **o: loaded.append(a[0]) or load(*a, **o))
    file = ConfigFile(manager, tmp_path / "models.config")
    with pytest.raises(UserError, match="model damaged has no version that can be served"):
        file.apply()
    file.apply()
    assert (loaded, caplog.messages, manager.servables()) == (["double", "damaged"], [], [])
    shutil.copy(version / "saved_model.pb", damaged)
    file.apply()
    assert [one.name for one in manager.servables()] == ["double", "damaged"]
    assert [line.split()[:3] for line in caplog.messages if "AVAILABLE" in line] == [
        [f"model={name}", "version=1", "state=AVAILABLE"] for name in ("double", "damaged")
    ]


# ------------------------------------------------------------------------------------------------------ batching


def test_only_the_bad_request_of_a_batch_fails():
    sizes, results = [], {}

    def run(signature, tensors):
        sizes.append(len(tensors["x"]))
        if np.any(tensors["x"].numpy() < 0):
            raise invalid_argument("negative")
        return {"y": 2 * tensors["x"].numpy()}

    parameters = batching.Parameters(max_batch_size=4, batch_timeout_micros=10**7, allowed_batch_sizes=(2, 4))
    batcher = batching.Batcher(run, parameters)

    def send(value):
        try:
            results[value] = batcher("s", {"x": tf.constant([[float(value)]])})["y"].tolist()
        except ServingError as error:
            results[value] = error.code

    threads = [threading.Thread(target=send, args=(value,)) for value in (-1, 1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {-1: Code.INVALID_ARGUMENT, 1: [[2.0]], 2: [[4.0]], 3: [[6.0]]}
    assert sizes == [4, 1, 1, 1, 1]
    with pytest.raises(ServingError, match="larger than maximum"):
        batcher("s", {"x": tf.zeros([5, 1])})


def test_full_queue_is_reported_and_waiting_requests_end():
    running, go_on = threading.Event(), threading.Event()

    def run(signature, tensors):
        running.set()
        assert go_on.wait(30)
        return {"y": tensors["x"].numpy()}

    batcher = batching.Batcher(run, batching.Parameters(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:

        def send(value):
            return pool.submit(batcher, "s", {"x": tf.constant([[float(value)]])})

        first = send(0)
        assert running.wait(30)  # it has left the queue
        others = {send(value): value for value in (1, 2, 3, 4)}
        ended = concurrent.futures.as_completed(others, timeout=120)
        for rejected in (next(ended), next(ended)):
            assert rejected.exception().code is Code.UNAVAILABLE
            del others[rejected]
        go_on.set()
        for result, value in [(first, 0), *others.items()]:
            assert result.result(30)["y"].tolist() == [[value]]


def test_batching_file(tmp_path):
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 4")
    assert batching.read(path) == batching.Parameters(max_batch_size=4, allowed_batch_sizes=(2, 4))
    path.write_text("max_batch_size { value: 4 } allowed_batch_sizes: 2")
    with pytest.raises(UserError, match="of which the last is"):
        batching.read(path)


# ----------------------------------------------------------------------------------------------------------- REST


def http(address, path, document=None):
    data = None if document is None else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(f"http://{address}{path}", data, timeout=120) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.fixture(scope="module")
def rest(manager):
    running = Server(manager, port=0, rest_port=0, max_message_bytes=10**6)
    running.start()
    yield running.rest_address
    running.stop(grace=0)


def test_rest(rest, clips, expected):
    clip = clips["square"]
    row = {"jpegs": [{"b64": base64.b64encode(jpeg).decode()} for jpeg in clip.images["full_body"]]}
    row["poses"] = clip.pose_xyz.tolist()
    columns = {name: [value] for name, value in row.items()}
    path = "/v1/models/separable_sta"
    status, body = http(rest, f"{path}:predict", {"signature_name": "serve_jpeg", "instances": [row]})
    assert status == 200, body
    (row,) = json.loads(body)["predictions"]
    np.testing.assert_allclose(row["probabilities"], expected["square"], atol=1e-6)
    assert row["classes"] == LABELS
    _, body = http(rest, f"{path}/versions/1:predict", {"signature_name": "serve_jpeg", "inputs": columns})
    np.testing.assert_allclose(json.loads(body)["outputs"]["probabilities"][0], expected["square"], atol=1e-6)
    (state,) = json.loads(http(rest, path)[1])["model_version_status"]
    assert (state["version"], state["state"], state["status"]["error_code"]) == ("1", "AVAILABLE", "OK")
    metadata = json.loads(http(rest, f"{path}/metadata")[1])["metadata"]["signature_def"]["signature_def"]
    assert "serve_jpeg" in metadata
    metrics = http(rest, "/monitoring/prometheus/metrics")[1].decode()
    assert ':tensorflow:serving:request_count{model_name="separable_sta",status="OK"} 2.0' in metrics


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/v1/models/other", None, 404),
        ("/v1/models/separable_sta/versions/9", None, 404),
        (f"/v1/models/separable_sta/versions/{2**63 - 1}", None, 404),
        (f"/v1/models/separable_sta/versions/{2**63}", None, 400),
        ("/v1/models/separable_sta/labels/stable", None, 400),
        ("/v1/models/../separable_sta", None, 400),
        ("/v1/models/separable_sta:predict", {"instances": []}, 400),
        ("/v1/models/separable_sta:predict", {"signature_name": "classify", "inputs": {}}, 400),
        ("/v1/models/separable_sta:predict", {"inputs": {"frames": [[256]]}}, 400),
        ("/v1/models/separable_sta:predict", {"inputs": "x" * 10**6}, 413),
    ],
)
def test_rejected_rest_request(rest, path, document, status):
    actual, body = http(rest, path, document)
    assert actual == status
    assert json.loads(body)["error"]
    assert http(rest, "/v1/models/separable_sta")[0] == 200  # the server goes on


# ------------------------------------------------------------------------------------------------------------ TLS


def test_only_the_right_certificate_gets_in(tmp_path, folder):
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    manager = Manager("double", folder)
    manager.load_newest()
    running = Server(manager, port=0, tls=tls_of(*authority.sign("server"), authority.file))
    running.start()
    clients = {
        "right": authority.sign("right"),
        "expired": authority.sign("expired", days=-1),
        "strange": stranger.sign("strange"),
        "none": (),
    }
    root, codes = read(authority.file), {}
    for name, files in [*clients.items(), ("again", clients["right"])]:
        cert, key = map(read, files) if files else (None, None)
        credentials = grpc.ssl_channel_credentials(root, key, cert)
        with grpc.secure_channel(running.address, credentials) as channel:
            try:
                prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(request_for(), timeout=120)
                codes[name] = Code.OK
            except grpc.RpcError as error:
                codes[name] = error.code()
    running.stop(grace=0)
    rejected = dict.fromkeys(("expired", "strange", "none"), Code.UNAVAILABLE)
    assert codes == {"right": Code.OK, "again": Code.OK, **rejected}


def read(path):
    return pathlib.Path(path).read_bytes()


def tls_of(cert, key, authority):
    """Mutual TLS from files."""
    return tls.Tls(*(read(path).decode() for path in (key, cert, authority)), client_verify=True)


def test_key_of_another_certificate(tmp_path):
    authority = Authority(tmp_path, "authority")
    (cert, _), (_, key) = authority.sign("a"), authority.sign("b")
    with pytest.raises(UserError, match="cannot be used"):
        tls_of(cert, key, authority.file)
