"""The server's REST interface: odd names, invalid requests, clients that are slow or never end."""

import contextlib
import gzip
import http.client
import json
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2, predict_pb2

from serving.client import Client
from serving.server import Server, bodies, connections, metrics, rest
from serving.server.manager import Manager
from zoo.shared.errors import UserError

NAME = "my model: ä/1"
LABEL = "stable/1 %"
PATH = "/v1/models/my%20model%3A%20%C3%A4%2F1"
GUARD = 120.0  # seconds after which a test that hangs fails


class Lengths(tf.Module):
    """A model of one input: the lengths of the JPEG files."""

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.string, name="jpegs")])
    def lengths(self, jpegs):
        return {"lengths": tf.strings.length(jpegs)}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server of :class:`Lengths`."""
    folder, model = tmp_path_factory.mktemp("models"), Lengths()
    tf.saved_model.save(model, str(folder / "1"), signatures={"serving_default": model.lengths})
    text = f'name: "{NAME}" base_path: "{folder}" version_labels {{ key: "{LABEL}" value: 1 }}'
    request = text_format.Parse(
        f"config {{ model_config_list {{ config {{ {text} }} }} }}", model_management_pb2.ReloadConfigRequest()
    )
    manager = Manager()
    manager.configure(request.config)
    made = Server(manager, port=0, rest_port=0)
    made.start()
    yield made
    made.stop(grace=0)


@pytest.fixture
def empty():
    """A server without a model; connections that are open when a test ends are closed."""
    made = Server(Manager(), port=0, rest_port=0)
    made.start()
    yield made
    made.stop(grace=0)


def response_of(address, path, body=None):
    """``(status, body)`` of one request."""
    connection = http.client.HTTPConnection(address, timeout=GUARD)
    with contextlib.closing(connection):
        connection.request("POST" if body else "GET", path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()


def connect(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=GUARD)


def until(done):
    """Waits until a function returns true."""
    end = time.monotonic() + GUARD
    while not done():
        assert time.monotonic() < end, f"still waiting after {GUARD:g} s"
        time.sleep(0.01)


# --------------------------------------------------------------------------------------------------- requests


def test_names_and_labels_are_decoded(running):
    with Client(f"http://{running.rest_address}", NAME, version_label=LABEL) as client:
        assert "serving_default" in client.signatures()


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (PATH, None, "AVAILABLE"),
        (f"{PATH}/metadata", None, "serving_default"),
        (f"{PATH}:predict", '{"inputs": [["a", "bc"]]}', "[[1, 2]]"),
        (metrics.PATH, None, "request_count"),
    ],
)
def test_a_query_is_no_part_of_the_path(running, path, body, expected):
    status, text = response_of(running.rest_address, f"{path}?from=/v1/models/other:predict", body)
    assert status == 200
    assert expected in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"inputs": [["a", "b"], ["c"]]}', "input jpegs: lists of unequal length"),
        ('{"instances": [{"jpegs": ["a", ["b"]]}]}', "input jpegs: lists of unequal length"),
        ('{"inputs": [["a"]], "signature_name": "\\ud800"}', "signature_name must be a string of Unicode characters"),
        ('{"inputs": {"\\ud800": [["a"]]}}', "input \ud800 not found in signature, expected jpegs"),
    ],
)
def test_invalid_requests(running, body, reason):
    status, text = response_of(running.rest_address, f"{PATH}:predict", body)
    assert status == 400
    (line,) = json.loads(text)["error"].splitlines()
    assert reason in line


@pytest.mark.parametrize("encoded", ["aGVsbG8=", "aGVsbG8", "aGVs\nbG8=\n"])
def test_base64_with_line_breaks_and_without_padding(running, encoded):
    body = json.dumps({"inputs": [[{"b64": encoded}]]})
    assert response_of(running.rest_address, f"{PATH}:predict", body) == (200, '{"outputs": [[5]]}')


def test_a_signature_that_there_is_not_is_counted_and_its_name_cut(running):
    body = json.dumps({"inputs": [["a"]], "signature_name": "n" * 5000})
    status, text = response_of(running.rest_address, f"{PATH}:predict", body)
    assert (status, len(json.loads(text)["error"])) == (400, len("...TRUNCATED") + 1024)
    counted = response_of(running.rest_address, metrics.PATH)[1]
    assert f':tensorflow:serving:request_count{{model_name="{NAME}",status="FAILED_PRECONDITION"}} 1.0' in counted


def test_floats_are_as_short_as_they_are_exact():
    response, values = predict_pb2.PredictResponse(), np.float32([[0.1, 1 / 3], [1e-30, np.inf]])
    response.outputs["y"].CopyFrom(tf.make_tensor_proto(values))
    written = rest.predict_json(response, rows=True)["predictions"]
    assert json.dumps(written) == "[[0.1, 0.33333334], [1e-30, Infinity]]"
    np.testing.assert_array_equal(np.float32(written), values)


@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_values_that_tensorflow_rejects(running, monkeypatch, error):
    def fail(*_):  # as it does with more than 2 GB
        raise error("no tensor\nof these values")

    monkeypatch.setattr(tf, "make_tensor_proto", fail)
    status, text = response_of(running.rest_address, f"{PATH}:predict", '{"inputs": [["a"]]}')
    assert (status, json.loads(text)) == (400, {"error": "input jpegs: no tensor of these values"})


def test_an_error_of_the_server_is_logged_and_reported(running, monkeypatch, caplog):
    def broken(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(rest, "predict_json", broken)
    status, text = response_of(running.rest_address, f"{PATH}:predict", '{"inputs": [["a"]]}')
    assert (status, json.loads(text)) == (500, {"error": "KeyError: 'a bug'"})
    (record,) = [record for record in caplog.records if record.name == "serving.server.rest"]
    assert (record.levelname, record.exc_info[0]) == ("ERROR", KeyError)


# ----------------------------------------------------------------------------------------------------- bodies

BODY = b'{"inputs": [["a", "bc"]]}'
ZIPPED = gzip.compress(BODY, mtime=0)
GZIP, CHUNKED = b"Content-Encoding: gzip\r\n", b"Transfer-Encoding: chunked\r\n"


def chunked(body, size):
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%X;x=y\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: 1\r\n\r\n"


def post(address, headers, body, *, end=True):
    """``(status, body)`` of a request that is sent byte by byte as given; ``end``: nothing follows."""
    with connect(address) as connection:
        request = f"POST {PATH}:predict HTTP/1.1\r\nHost: x\r\n".encode() + headers + b"\r\n" + body
        with contextlib.suppress(ConnectionError):  # the rest of a refused body need not be read
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.getheader("Connection") == "close"
        return response.status, response.read().decode()


def sized(headers, body):
    return headers + b"Content-Length: %d\r\n" % len(body), body


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        sized(GZIP, ZIPPED),
        sized(
            b"content-encoding: identity\r\nCONTENT-ENCODING: X-GZIP\r\n",
            gzip.compress(BODY[:9], mtime=0) + gzip.compress(BODY[9:], mtime=0),
        ),
        sized(b"Content-Encoding: identity\r\n", BODY),
        (CHUNKED, chunked(BODY, 7)),
        (CHUNKED + b"Content-Length: 3\r\n", chunked(BODY, 1000)),  # the length counts for nothing
        (GZIP + CHUNKED, chunked(ZIPPED, 1)),
    ],
)
def test_bodies_in_chunks_and_with_gzip(running, headers, body):
    assert post(running.rest_address, headers, body, end=False) == (200, '{"outputs": [[1, 2]]}')


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"),
    [
        (*sized(b"", ZIPPED), 400, "expected the header Content-Encoding: gzip"),
        (*sized(GZIP, BODY), 400, "no valid gzip data"),
        (*sized(GZIP, ZIPPED[:-1]), 400, "gzip data is cut off"),
        (*sized(GZIP, ZIPPED[:-8] + bytes(8)), 400, "no valid gzip data"),
        (*sized(GZIP, zlib.compress(BODY)), 400, "no valid gzip data"),
        (*sized(GZIP, b""), 400, "gzip data is cut off"),
        (*sized(b"Content-Encoding: br\r\n", BODY), 415, "Content-Encoding br is not supported, only gzip"),
        (*sized(GZIP + GZIP, ZIPPED), 415, "Content-Encoding gzip, gzip is not supported"),
        (b"", BODY, 411, "Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip, chunked\r\n", BODY, 501, "Only Transfer-Encoding: chunked is supported"),
        (CHUNKED, BODY + b"\n", 400, "malformed request: "),
        (CHUNKED, b"-1\r\n", 400, "malformed request: "),
        (CHUNKED, b"5\r\n" + BODY + b"\n", 400, "malformed request: "),
        (CHUNKED, chunked(BODY, 7)[:20], 400, "unexpectedly closed connection"),
        (CHUNKED, b"FFFFFFFFFFFFFFFF\r\n", 400, "without sending complete message body"),
        (CHUNKED, b"ff\r\n" + BODY, 400, "without sending complete message body"),
        (b"Content-Length: 100\r\n", BODY, 400, "without sending complete message body"),
        (CHUNKED, b"1;" + b"x" * 100000, 431, "malformed request: "),
        (CHUNKED, b"0\r\n" + b"a: b\r\n" * 20000, 431, "malformed request: "),
    ],
)  # fmt: skip
def test_invalid_bodies(running, headers, body, status, reason):
    got, text = post(running.rest_address, headers, body)
    assert (got, reason in json.loads(text)["error"]) == (status, True), text


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        sized(GZIP, gzip.compress(bytes(10**6), mtime=0)),  # 1 kB
        sized(GZIP, gzip.compress(gzip.compress(b"", mtime=0), mtime=0) * 100),
        (CHUNKED, chunked(bytes(2000), 100)),
        (GZIP + CHUNKED, chunked(gzip.compress(bytes(10**6), mtime=0), 50)),
    ],
)
def test_a_body_above_the_limit_in_any_encoding(running, monkeypatch, headers, body):
    monkeypatch.setattr(running._rest, "max_bytes", 1500)
    status, text = post(running.rest_address, headers, body)
    assert (status, json.loads(text)) == (413, {"error": "the body is longer than the 1500 bytes that are accepted"})


def test_a_client_that_asks_before_it_sends_a_large_body(running):
    begun = f"POST {PATH}:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ".encode()
    with connect(running.rest_address) as connection:
        connection.sendall(begun + b"%d\r\n\r\n" % len(BODY))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    with connect(running.rest_address) as connection:
        connection.sendall(begun + b"99999999999\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_a_method_that_is_not_supported(running):
    body = bytes(10**6)
    with connect(running.rest_address) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 501 ")


# -------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("host", "shown", "clients"),
    [
        ("::1", "[::1]", ["[::1]"]),
        ("[::1]", "[::1]", ["[::1]"]),
        ("::", "[::]", ["[::]", "[::1]", "127.0.0.1"]),
        ("localhost", "localhost", ["localhost"]),
    ],
)
def test_hosts(monkeypatch, host, shown, clients):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    made = Server(Manager(), host=host, port=0, rest_port=0)
    made.start()
    try:
        assert {made.address.rpartition(":")[0], made.rest_address.rpartition(":")[0]} == {shown}
        for client in clients:
            port, rest_port = (address.rpartition(":")[2] for address in (made.address, made.rest_address))
            for address in (f"{client}:{port}", f"http://{client}:{rest_port}"):
                with Client(address, "none", timeout=GUARD) as asking, pytest.raises(UserError, match=r"^NOT_FOUND"):
                    asking.signatures()
    finally:
        made.stop(grace=0)


@pytest.mark.parametrize("host", ["nobody.invalid", "127.0.0.1:8500", "[::1", "", "http://127.0.0.1", "a" * 70])
def test_hosts_that_are_none(host):
    with pytest.raises(UserError, match="no address or name of this machine, expected one such as"):
        Server(Manager(), host=host, port=0)


def test_an_ipv6_port_in_use():
    made = Server(Manager(), host="::1", port=0, rest_port=0)
    made.start()
    port, rest_port = (int(address.rpartition(":")[2]) for address in (made.address, made.rest_address))
    for options in ({"port": port}, {"port": 0, "rest_port": rest_port}):
        with pytest.raises(UserError, match=r"cannot listen on \[::1\]:\d+: it is in use"):
            Server(Manager(), host="::1", **options)
    made.stop(grace=0)


# ----------------------------------------------------------------------------------------------- slow clients


def drip(connection):
    """The response on a connection to which a byte is sent now and then, until it ends."""
    response, end = b"", time.monotonic() + GUARD
    connection.settimeout(0.02)
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < end:
            try:
                part = connection.recv(1000)
            except socket.timeout:
                connection.sendall(b"x")
            else:
                if not part:
                    return response
                response += part
        pytest.fail(f"the connection is open after {GUARD:g} s")
    return response


@pytest.mark.parametrize(
    ("begun", "seconds", "response"),
    [
        (b"GET /v1/models/", 0.3, b""),
        (b"GET / HTTP/1.1\r\nHost: ", 0.3, b""),
        (b"POST /v1/models/adl:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", 0.3, b"HTTP/1.1 408 "),
    ],
)
def test_a_request_that_is_sent_too_slowly_is_disconnected(empty, monkeypatch, begun, seconds, response):
    monkeypatch.setattr(connections, "READ_SECONDS", seconds)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    with connect(empty.rest_address) as connection:
        connection.sendall(begun)
        assert drip(connection)[: len(response) or None] == response
    monkeypatch.setattr(connections, "READ_SECONDS", GUARD)

    def responds():
        with contextlib.suppress(ConnectionError):
            return response_of(empty.rest_address, metrics.PATH)[0] == 200

    until(responds)  # its slot is free again, perhaps a little later


def test_a_response_that_is_read_too_slowly_ends(empty, monkeypatch):
    monkeypatch.setattr(connections, "READ_SECONDS", 0.5)
    monkeypatch.setattr(metrics.Metrics, "text", lambda _: bytes(10**8))
    received, begin = 0, time.monotonic()
    with connect(empty.rest_address) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(f"GET {metrics.PATH} HTTP/1.0\r\n\r\n".encode())
        while part := connection.recv(1000):
            received += len(part)
            if time.monotonic() < begin + 1:  # then what the operating system still holds
                time.sleep(0.01)
    assert 0 < received < 10**8


def test_a_client_that_leaves_is_no_error_of_the_server(empty, monkeypatch, caplog):
    entered, read = threading.Event(), bodies.read

    async def begin(*arguments):
        entered.set()
        return await read(*arguments)

    monkeypatch.setattr(bodies, "read", begin)
    with connect(empty.rest_address) as connection:
        connection.sendall(b"POST /v1/models/adl:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert entered.wait(GUARD)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it closes with a reset
    until(lambda: not empty._rest.connections())
    assert not [record for record in caplog.records if record.name in ("serving.server.rest", "uvicorn.error")]


def test_a_connection_too_many_is_closed(empty, monkeypatch):
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    with connect(empty.rest_address), connect(empty.rest_address) as second:
        assert second.recv(1) == b""


# --------------------------------------------------------------------------------------------------- stopping


def test_stopping_closes_connections_that_do_not_end(empty, monkeypatch):
    monkeypatch.setattr(connections, "READ_SECONDS", 1000.0)
    with connect(empty.rest_address) as idle, connect(empty.rest_address) as slow:
        slow.sendall(b"POST /v1/models/adl:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        until(lambda: empty._rest.connections() == 2)
        empty.stop(grace=0.1)
        assert drip(slow) == b""
        assert idle.recv(1) == b""
        assert not empty._rest.connections()


class HeldMetrics(metrics.Metrics):
    """Metrics that wait: a request under way."""

    def __init__(self):
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def text(self):
        self.entered.set()
        assert self.go_on.wait(GUARD)
        return b"all of them"


def is_closed(address):
    try:
        connect(address).close()
    except ConnectionResetError:  # it is being closed
        return False
    except ConnectionRefusedError:
        return True
    return False


def test_stopping_waits_for_requests_under_way():
    held = HeldMetrics()
    made = Server(Manager(), port=0, rest_port=0, metrics=held)
    made.start()
    with connect(made.rest_address) as connection:
        connection.sendall(f"GET {metrics.PATH} HTTP/1.0\r\n\r\n".encode())
        assert held.entered.wait(GUARD)
        stopping = threading.Thread(target=made.stop, args=(GUARD,))
        stopping.start()
        until(lambda: is_closed(made.rest_address))
        held.go_on.set()
        response = b"".join(iter(lambda: connection.recv(1000), b""))
    assert response.endswith(b"all of them")
    stopping.join(GUARD)
    assert not stopping.is_alive()
