"""The server's REST interface: odd names, invalid requests, clients that are slow or never end."""

import contextlib
import http.client
import json
import socket
import struct
import threading
import time

import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import model_management_pb2

from serving.client import Client
from serving.server import Server, metrics, rest
from serving.server.manager import Manager

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


def lasting():
    """Threads that Python would wait for at its end."""
    return {thread for thread in threading.enumerate() if not thread.daemon}


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
        (b"POST /v1/models/adl:predict HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n", 0.3, b"HTTP/1.0 408 "),
    ],
)
def test_a_request_that_is_sent_too_slowly_is_disconnected(empty, monkeypatch, begun, seconds, response):
    monkeypatch.setattr(rest, "READ_SECONDS", seconds)
    monkeypatch.setattr(rest, "MAX_CONNECTIONS", 1)
    with connect(empty.rest_address) as connection:
        connection.sendall(begun)
        assert drip(connection)[: len(response) or None] == response
    monkeypatch.setattr(rest, "READ_SECONDS", GUARD)

    def responds():
        with contextlib.suppress(ConnectionError):
            return response_of(empty.rest_address, metrics.PATH)[0] == 200

    until(responds)  # its slot is free again, perhaps a little later


def test_a_response_that_is_read_too_slowly_ends():
    ended = threading.Event()
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # many parts, of which each is taken in time

    def take():
        while not ended.wait(0.01):
            theirs.recv(1000)

    with ours, theirs:
        reader = threading.Thread(target=take)
        reader.start()
        try:
            with pytest.raises(socket.timeout):
                rest._Limited(ours, 0.3).write(bytes(10**7))  # 100 s, if each part of it had 0.3 s
        finally:
            ended.set()
            reader.join(GUARD)


def test_a_client_that_leaves_is_no_error_of_the_server(empty, monkeypatch, caplog):
    before, entered, body = lasting(), threading.Event(), rest._Handler._body

    def begin(handler):
        entered.set()
        return body(handler)

    monkeypatch.setattr(rest._Handler, "_body", begin)
    with connect(empty.rest_address) as connection:
        connection.sendall(b"POST /v1/models/adl:predict HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n")
        assert entered.wait(GUARD)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it closes with a reset
    until(lambda: not lasting() - before)
    assert not [record for record in caplog.records if record.name == "serving.server.rest"]


def test_a_connection_too_many_is_closed(empty, monkeypatch):
    monkeypatch.setattr(rest, "MAX_CONNECTIONS", 1)
    with connect(empty.rest_address), connect(empty.rest_address) as second:
        assert second.recv(1) == b""


# --------------------------------------------------------------------------------------------------- stopping


def test_stopping_closes_connections_that_do_not_end(empty, monkeypatch):
    monkeypatch.setattr(rest, "READ_SECONDS", 1000.0)
    before = lasting()
    with connect(empty.rest_address) as idle, connect(empty.rest_address) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        until(lambda: len(lasting() - before) == 2)
        empty.stop(grace=0.1)
        assert drip(slow) == b""
        assert idle.recv(1) == b""
        until(lambda: not lasting() - before)


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
