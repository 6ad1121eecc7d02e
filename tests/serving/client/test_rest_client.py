"""The client over REST, against a server with the JSON of TensorFlow Serving's page "RESTful API"."""

import asyncio
import base64
import contextlib
import http.server
import json
import socket
import ssl
import threading

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient, Client, RequestFailed, Tls
from tests.serving.made_certificates import Authority
from zoo.shared.errors import UserError

JPEGS = [b"\xff\xd8 first", b"\xff\xd8 second \x00"]
POSES = np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3)


def info(dtype, *sizes):
    """A ``TensorInfo`` as TF-Serving writes it: 64-bit numbers are text."""
    dim = [{"size": str(size), "name": ""} for size in sizes]
    return {"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": False}, "name": "any:0"}


OUTPUTS = {"classes": info("DT_STRING", -1, 2), "probabilities": info("DT_FLOAT", -1, 2), "logits": info("DT_FLOAT", 2)}
METADATA = {
    "model_spec": {"name": "adl", "signature_name": "", "version": "3"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serve_jpeg": {
                    "inputs": {"jpegs": info("DT_STRING", -1, -1), "poses": info("DT_FLOAT", -1, -1, 2, 2, 3)},
                    "outputs": OUTPUTS,
                    "method_name": "tensorflow/serving/predict",
                    "defaults": {},
                },
                "serving_default": {
                    "inputs": {"frames": info("DT_UINT8", -1, -1, -1, -1, 3)},
                    "outputs": OUTPUTS,
                    "method_name": "tensorflow/serving/predict",
                    "defaults": {},
                },
            }
        }
    },
}
RESPONSE = {
    "outputs": {
        "classes": [["drink", "put on — coat"]],
        "probabilities": [[0.25, 0.75]],
        "logits": [[-1, 1]],
    }
}


@contextlib.contextmanager
def serving(predict=(200, RESPONSE), metadata=(200, METADATA), context=None):
    """Base address of a server, and the requests it got: (verb, path, decoded body)."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(("GET", self.path, None))
            self._send(*metadata)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(("POST", self.path, body))
            self._send(*(predict() if callable(predict) else predict))

        def _send(self, status, content):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def classify(address, **options):
    with Client(address, "adl", **options) as client:
        return client.predict(JPEGS, POSES, outputs=["logits"])


def test_request_and_response():
    with serving() as (address, requests):
        prediction = classify(address)
    assert requests[0] == ("GET", "/v1/models/adl/metadata", None)
    verb, path, body = requests[1]
    assert (verb, path) == ("POST", "/v1/models/adl:predict")
    absent = [[0.0] * 3] * 2
    assert body == {
        "signature_name": "serve_jpeg",
        "inputs": {
            "jpegs": [[{"b64": base64.b64encode(jpeg).decode()} for jpeg in JPEGS]],
            "poses": [[[persons[0], absent] for persons in POSES.tolist()]],
        },
    }
    assert (prediction.model, prediction.version, prediction.signature) == ("adl", None, "serve_jpeg")
    assert (prediction.labels, prediction.probabilities) == (("put on — coat", "drink"), (0.75, 0.25))
    np.testing.assert_array_equal(prediction.outputs["logits"], [-1, 1])


def test_asyncio_sends_the_same():
    async def classify_async(address):
        async with AsyncClient(address, "adl") as client:
            return await client.predict(JPEGS, POSES)

    with serving() as (address, requests):
        assert asyncio.run(classify_async(address)) == classify(address)
    assert requests[:2] == requests[2:]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"version": 3}, "/v1/models/adl/versions/3"),
        ({"version_label": "stable/1"}, "/v1/models/adl/labels/stable%2F1"),
    ],
)
def test_versions_and_labels(options, path):
    with serving() as (address, requests):
        assert classify(f"{address}/behind/", **options).version == options.get("version")
    assert [request[1] for request in requests] == [f"/behind{path}/metadata", f"/behind{path}:predict"]


def test_raw_frames_are_numbers():
    frames = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    with serving() as (address, requests), Client(address, "adl", signature="serving_default") as client:
        client.predict(frames)
    assert requests[1][2]["inputs"] == {"frames": [frames.tolist()]}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"), (403, "PERMISSION_DENIED"), (404, "NOT_FOUND"), (413, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"), (501, "UNIMPLEMENTED"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED"), (418, "UNKNOWN"),
    ],
)  # fmt: skip
def test_status_codes(status, code):
    refused = (status, {"error": "Servable not found for request: Latest(adl)"})
    with serving(predict=refused) as (address, requests), pytest.raises(RequestFailed) as failure:
        classify(address, retries=1)
    assert failure.value.code == grpc.StatusCode[code]
    assert str(failure.value).startswith(f"{code}: ")
    assert "Servable not found for request: Latest(adl)" in str(failure.value)
    assert len(requests) == (3 if code == "UNAVAILABLE" else 2)  # the metadata, and one or two attempts


def test_unavailable_is_retried():
    responses = iter([(503, {"error": "not yet"}), (200, RESPONSE)])
    with serving(predict=lambda: next(responses)) as (address, _):
        assert classify(address).labels[0] == "put on — coat"


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"[]", {"predictions": []}, {"outputs": [[1.0]]}, {"outputs": {"classes": [["a"], ["b", "c"]]}},
     {"outputs": {"classes": [[{"b64": "%"}]]}}, {"outputs": {**RESPONSE["outputs"], "probabilities": [[0.1]]}},
     {"outputs": {**RESPONSE["outputs"], "probabilities": None}}],
)  # fmt: skip
def test_response_that_is_no_prediction(content):
    with serving(predict=(200, content)) as (address, _), pytest.raises(RequestFailed, match=r"^INTERNAL: "):
        classify(address)


@pytest.mark.parametrize("content", [b"", {}, {"metadata": {"signature_def": {"signature_def": {"a": 1}}}}])
def test_invalid_metadata(content):
    with serving(metadata=(200, content)) as (address, _), pytest.raises(RequestFailed, match=r"^INTERNAL: "):
        classify(address)


def test_error_page_of_a_proxy():
    refused = pytest.raises(RequestFailed, match="HTTP status 502, Bad Gateway")
    with serving(metadata=(502, b"<html>")) as (address, _), refused:
        classify(address, retries=0)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", "UNAVAILABLE"),  # hangs up
        (b"SSH-2.0\r\n", "UNAVAILABLE"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "UNAVAILABLE"),  # closes early
        (None, "DEADLINE_EXCEEDED"),  # sends nothing
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "DEADLINE_EXCEEDED"),  # and then a byte now and then
    ],
)
def test_server_without_a_response(sent, code):
    ended = threading.Event()

    def serve(listening):
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            if sent is not None:
                connection.recv(1)
                connection.sendall(sent)
            while code == "DEADLINE_EXCEEDED" and not ended.wait(0.05):
                connection.sendall(b" " if sent else b"")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with pytest.raises(RequestFailed) as failure:
            classify(f"http://127.0.0.1:{listening.getsockname()[1]}", retries=0, timeout=0.5 if "DEAD" in code else 5)
        ended.set()
        thread.join()
    assert failure.value.code == grpc.StatusCode[code]
    assert len(str(failure.value).splitlines()) == 1


def test_limits_on_messages():
    with serving() as (address, requests):
        with pytest.raises(RequestFailed, match=r"RESOURCE_EXHAUSTED.*a response of more than 1000 bytes"):
            classify(address, max_message_bytes=1000)
        with Client(address, "adl", max_message_bytes=len(json.dumps(METADATA))) as client:
            poses = np.full((100, 1, 2, 3), 1 / 3, np.float32)  # longer as text than as floats
            with pytest.raises(RequestFailed, match=r"RESOURCE_EXHAUSTED.*the limit here is"):
                client.predict(JPEGS[:1], poses[:12])
    assert {request[0] for request in requests} == {"GET"}


def test_tls(tmp_path):
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.sign("server"))
    context.load_verify_locations(ours.file)
    context.verify_mode = ssl.CERT_REQUIRED
    own = ours.sign("client")
    with serving(context=context) as (address, _):
        assert classify(address, tls=Tls(ours.file, *own)).labels[0] == "put on — coat"
        for tls, message in (
            (Tls(theirs.file, *own), "not signed by .*theirs.pem"),
            (None, "signed by an unknown authority"),
            (Tls(ours.file), "requires the client's own certificate"),
        ):
            with pytest.raises(RequestFailed, match=f"^UNAVAILABLE: .*{message}"):
                classify(address, tls=tls, retries=0)
        with pytest.raises(RequestFailed, match=r"the server speaks TLS: .*https://"):
            classify(address.replace("https", "http"), retries=0)


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("http://", {}, "expected http://HOST:PORT"),
        ("http://a:b", {}, "expected http://HOST:PORT"),
        ("https://a:1/?q", {}, "expected http://HOST:PORT"),
        ("http://::1:8501", {}, "expected http://HOST:PORT or https://HOST:PORT, with an IPv6 address in brackets"),
        ("http://[::1", {}, "expected http://HOST:PORT"),
        ("http://10.0.0..5:8501", {}, "expected http://HOST:PORT"),
        ("::1:8500", {}, r"expected an IPv6 address in brackets, such as \[::1\]:8500"),
        ("fe80::1%lo", {}, r"expected an IPv6 address in brackets, such as \[fe80::1%lo\]:8500"),
        ("http://u:p/w#@a:1/?q", {}, r"^http://u:\*\*\*@a:1/\?q: expected"),
        ("http://a:1", {"tls": Tls()}, "TLS is https://"),
    ],
)
def test_invalid_addresses(address, options, message):
    with pytest.raises(UserError, match=message):
        Client(address, "adl", **options)
