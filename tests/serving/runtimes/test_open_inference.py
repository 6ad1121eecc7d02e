"""The open inference protocol (V2): the laptop server's, and a network that a server runs."""

import http.client

import numpy as np
import pytest

from serving import export, predict
from serving.runtimes import loading, protocol
from serving.savedmodel import exporting
from serving.server.manager import Manager
from tests.serving.conftest import LABELS, PERSONS, serving_of
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def version(tmp_path_factory, linear_run_folder):
    run = exporting.Run(linear_run_folder)
    return export.export(run, tmp_path_factory.mktemp("litert"), form="litert", name="pose_lstm")[0]


@pytest.fixture(scope="module")
def address(version):
    manager = Manager("pose_lstm", version.parent)
    manager.load_newest()
    running = serving_of(manager, rest_port=0)
    yield running.rest_address
    running.stop(grace=0)


def call(address, verb, path, document=None, arrays=None):
    """Status and decoded JSON of a request."""
    described = [protocol.encode(name, array) for name, array in (arrays or {}).items()]
    content = {**(document or {}), **({"inputs": [d for d, _ in described]} if described else {})}
    body, headers = protocol.join(content, [block for _, block in described])
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request(verb, path, body if verb == "POST" else None, headers if verb == "POST" else {})
    response = connection.getresponse()
    found, rest = protocol.split(response.read(), response.getheader(protocol.LENGTH))
    connection.close()
    return response.status, found, rest


def poses(count=2):
    return np.random.default_rng(0).normal(size=(count, 9, PERSONS, 25, 3)).astype(np.float32)


def test_health_and_metadata(address):
    assert call(address, "GET", "/v2/health/live")[:2] == (200, {"live": True})
    assert call(address, "GET", "/v2/health/ready")[:2] == (200, {"ready": True})
    assert call(address, "GET", "/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert call(address, "GET", "/v2/models/pose_lstm/ready")[0] == 200
    status, found, _ = call(address, "GET", "/v2/models/pose_lstm/versions/1")
    assert (status, found["versions"]) == (200, ["1"])
    assert found["inputs"] == [{"name": "poses", "datatype": "FP32", "shape": [-1, -1, PERSONS, 25, 3]}]
    assert {"name": "classes", "datatype": "BYTES", "shape": [-1, len(LABELS)]} in found["outputs"]


def test_inference_in_json_and_in_binary(address, version):
    expected = [predict.Predictor(version).predict(poses=clip) for clip in poses()]
    in_json = {"name": "poses", "datatype": "FP32", "shape": list(poses().shape), "data": poses().tolist()}
    status, found, _ = call(address, "POST", "/v2/models/pose_lstm/infer", {"id": "7", "inputs": [in_json]})
    assert (status, found["id"], found["model_version"]) == (200, "7", "1")
    outputs = {one["name"]: one for one in found["outputs"]}
    assert outputs["classes"]["data"] == LABELS * 2
    rows = np.reshape(outputs["probabilities"]["data"], (2, len(LABELS)))
    assert [LABELS[row.argmax()] for row in rows] == [prediction.top[0] for prediction in expected]
    wanted = {"outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]}
    status, found, rest = call(address, "POST", "/v2/models/pose_lstm/infer", wanted, {"poses": poses()})
    np.testing.assert_allclose(protocol.decode(found["outputs"], rest)["probabilities"], rows, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "document", "status", "message"),
    [
        ("/v2/models/other/infer", {}, 404, "Servable not found"),
        ("/v2/models/pose_lstm/infers", {}, 404, "Malformed request"),
        ("/v2/models/pose_lstm/infer", {}, 400, "inputs is missing"),
        ("/v2/models/pose_lstm/infer", {"inputs": [3]}, 400, "no request of the open inference protocol"),
        ("/v2/models/pose_lstm/infer", {"inputs": []}, 400, "no signature has the inputs"),
        (
            "/v2/models/pose_lstm/infer",
            {"inputs": [{"name": "poses", "datatype": "FP32", "shape": [2, 2], "data": [1.0]}]},
            400,
            "1 values do not fill the shape",
        ),
        (
            "/v2/models/pose_lstm/infer",
            {"inputs": [{"name": "poses", "datatype": "FP64", "shape": [1], "data": [1.0]}]},
            400,
            "datatype FP64",
        ),
    ],
)
def test_refusals(address, path, document, status, message):
    found = call(address, "POST", path, document)
    assert found[0] == status
    assert message in found[1]["error"]


def test_a_server_runs_the_network_of_a_folder(address, version, run_command, tmp_path):
    here, there = (predict.Predictor(version, runtime) for runtime in (None, f"http://{address}"))
    for clip in poses():
        expected, found = here.predict(poses=clip), there.predict(poses=clip)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
        assert found.labels == expected.labels
    features = {"pose": poses(3)[:, :4]}
    network = loading.open_network(version, f"http://{address}")
    expected = loading.open_network(version)(features)
    np.testing.assert_allclose(network(features)["logits"], expected["logits"], atol=1e-6)
    with pytest.raises(UserError, match="refused the request with HTTP status 400: "):
        network({"rgb": features["pose"]})
    with pytest.raises(UserError, match="does not respond"):
        loading.open_network(version, "http://127.0.0.1:9")(features)
    np.save(tmp_path / "poses.npy", poses()[0])
    arguments = ("--model", version, "--pose", tmp_path / "poses.npy", "--runtime")
    assert run_command(predict.main, *arguments, f"http://{address}")[0] == 0
    assert run_command(predict.main, *arguments, "openvin")[0] == 2


def test_tensors_in_both_forms():
    arrays = {
        "frames": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "jpegs": np.array([[b"a", b"", b"\xff\xd8"]], object),
        "crops": np.array([True, False]),
    }
    encoded = [protocol.encode(name, array) for name, array in arrays.items()]
    decoded = protocol.decode([described for described, _ in encoded], b"".join(block for _, block in encoded))
    for name, array in arrays.items():
        np.testing.assert_array_equal(decoded[name], array)
    for data in ([256], [-1], [0.5]):
        with pytest.raises(ValueError, match="from 0 to 255"):
            protocol.decode([{"name": "frames", "datatype": "UINT8", "shape": [1], "data": data}], b"")
    cut = {"name": "jpegs", "datatype": "BYTES", "shape": [1], "parameters": {protocol.BINARY: 5}}
    with pytest.raises(ValueError, match="beyond the end"):
        protocol.decode([cut], b"\x09\x00\x00\x00a")
    with pytest.raises(ValueError, match="left over"):
        protocol.decode([], b"a")
