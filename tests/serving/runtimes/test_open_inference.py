"""The open inference protocol (V2): the laptop server's, and a network that a server runs."""

import http.client
import shutil

import grpc
import numpy as np
import pytest

from serving import export, predict
from serving.runtimes import grpc_protocol, loading, protocol
from serving.savedmodel import exporting
from serving.server import open_inference
from serving.server.manager import Manager
from serving.server.metrics import Metrics
from serving.server.services import Services
from tests.serving.conftest import LABELS, PERSONS, serving_of
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def version(tmp_path_factory, linear_run_folder):
    run = exporting.Run(linear_run_folder)
    return export.export(run, tmp_path_factory.mktemp("litert"), form="litert", name="pose_lstm")[0]


@pytest.fixture(scope="module")
def running(version):
    manager = Manager("pose_lstm", version.parent)
    manager.load_newest()
    server = serving_of(manager, rest_port=0)
    yield server
    server.stop(grace=0)


@pytest.fixture(scope="module")
def address(running):
    return running.rest_address


@pytest.fixture(scope="module")
def remote_call(running):
    """Function from method and fields to the response, over gRPC."""
    with grpc.insecure_channel(running.address) as channel:

        def call_method(method, **fields):
            function = channel.unary_unary(
                f"/inference.GRPCInferenceService/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=grpc_protocol.types()[f"{method}Response"].FromString,
            )
            return function(grpc_protocol.new(f"{method}Request", **fields), timeout=60)

        yield call_method


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


def test_versions_that_are_unloaded_are_not_listed(version, tmp_path):
    manager = Manager("pose_lstm", tmp_path)
    for number in (1, 2):
        shutil.copytree(version, tmp_path / str(number))
        manager.refresh()
    (servable,) = manager.servables()
    found = open_inference.metadata(Services(manager, Metrics()), servable)
    assert (found["versions"], found["platform"]) == (["2"], "litert_tflite")


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
        *(
            (
                "/v2/models/pose_lstm/infer",
                {"inputs": [{"name": "poses", "datatype": "FP32", "shape": [shape], "data": [value]}]},
                400,
                "no request of the open inference protocol",
            )
            for shape, value in ((float("inf"), 1), (1, 10**400))
        ),
    ],
)
def test_refusals(address, path, document, status, message):
    found = call(address, "POST", path, document)
    assert found[0] == status
    assert message in found[1]["error"]


def test_health_and_metadata_over_grpc(remote_call):
    assert remote_call("ServerLive").live
    assert remote_call("ServerReady").ready
    assert remote_call("ServerMetadata").name == "serving.server"
    known = [("pose_lstm", ""), ("pose_lstm", "1"), ("pose_lstm", "2"), ("other", "")]
    ready = [remote_call("ModelReady", name=name, version=version).ready for name, version in known]
    assert ready == [True, True, False, False]
    found = remote_call("ModelMetadata", name="pose_lstm")
    assert (found.name, list(found.versions)) == ("pose_lstm", ["1"])
    assert found.inputs == [
        grpc_protocol.new("TensorMetadata", name="poses", datatype="FP32", shape=[-1, -1, PERSONS, 25, 3])
    ]


@pytest.mark.parametrize("raw", [True, False])
def test_inference_over_grpc(remote_call, version, raw):
    expected = [predict.Predictor(version).predict(poses=clip) for clip in poses()]
    tensors, blocks = grpc_protocol.encode({"poses": poses()})
    if not raw:
        tensors[0]["contents"] = {"fp32_contents": poses().ravel()}
    chosen = [{"key": "signature_name", "value": {"string_param": "serving_default"}}]
    found = remote_call(
        "ModelInfer",
        model_name="pose_lstm",
        id="7",
        parameters=chosen,
        inputs=tensors,
        outputs=[{"name": "classes"}, {"name": "probabilities"}],
        raw_input_contents=blocks if raw else [],
    )
    assert (found.model_name, found.model_version, found.id) == ("pose_lstm", "1", "7")
    outputs = grpc_protocol.decode(found.outputs, found.raw_output_contents)
    assert [label.decode() for label in outputs["classes"][0]] == LABELS
    best = [LABELS[row.argmax()] for row in outputs["probabilities"]]
    assert best == [prediction.top[0] for prediction in expected]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"model_name": "other"}, "NOT_FOUND", "Servable not found"),
        ({"model_version": "newest"}, "INVALID_ARGUMENT", "version 'newest': expected a number"),
        ({}, "INVALID_ARGUMENT", "no signature has the inputs"),
        ({"raw_input_contents": [b"1234"]}, "INVALID_ARGUMENT", "0 tensors have 1 raw contents"),
        (
            {"inputs": [{"name": "frames", "datatype": "UINT8", "shape": [1], "contents": {"uint_contents": [256]}}]},
            "INVALID_ARGUMENT",
            "UINT8 values are whole numbers",
        ),
    ],
)
def test_refusals_over_grpc(remote_call, fields, code, message):
    with pytest.raises(grpc.RpcError) as failure:
        remote_call("ModelInfer", **{"model_name": "pose_lstm", **fields})
    assert failure.value.code().name == code
    assert message in failure.value.details()


def test_messages_are_those_of_the_published_definition():
    """Bytes by the field numbers of ``open_inference_grpc.proto``; an entry of a map has a key and a value."""
    request = grpc_protocol.types()["ModelInferRequest"].FromString(
        b"\n\x01m\x1a\x017"  # model_name, id
        b"\x22\x07\n\x01k\x12\x02\x1a\x00"  # parameters {"k": string_param ""}
        b"\x2a\x0e\n\x01x\x12\x05UINT8\x1a\x02\x02\x01"  # inputs: name, datatype, packed shape
        b"\x3a\x02ab"  # raw_input_contents
    )
    assert (request.model_name, request.id, request.parameters[0].key) == ("m", "7", "k")
    np.testing.assert_array_equal(
        grpc_protocol.decode(request.inputs, request.raw_input_contents)["x"], np.array([[97], [98]], np.uint8)
    )


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_runs_the_network_of_a_folder(running, version, scheme, run_command, tmp_path):
    server = f"{scheme}://{running.rest_address if scheme == 'http' else running.address}"
    here, there = (predict.Predictor(version, runtime) for runtime in (None, server))
    for clip in poses():
        expected, found = here.predict(poses=clip), there.predict(poses=clip)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
        assert found.labels == expected.labels
    features = {"pose": poses(3)[:, :4]}
    network = loading.open_network(version, server)
    expected = loading.open_network(version)(features)
    np.testing.assert_allclose(network(features)["logits"], expected["logits"], atol=1e-6)
    with pytest.raises(UserError, match=r"refused the request with (HTTP status 400|status INVALID_ARGUMENT): "):
        network({"rgb": features["pose"]})
    with pytest.raises(UserError, match="does not respond"):
        loading.open_network(version, f"{scheme}://127.0.0.1:9")(features)
    with pytest.raises(UserError, match=r"expected .*://HOST:PORT"):
        loading.open_network(version, f"{scheme}://")
    np.save(tmp_path / "poses.npy", poses()[0])
    arguments = ("--model", version, "--pose", tmp_path / "poses.npy", "--runtime")
    assert run_command(predict.main, *arguments, server)[0] == 0
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
