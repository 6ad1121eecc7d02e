"""The client against servers that are slow, gone, not trusted or send garbage: one line, no wrong prediction."""

import asyncio
import json
import pathlib
import socket
import threading
import time

import grpc
import numpy as np
import pytest

from serving.client import AsyncClient, Client, RequestFailed, Tls
from serving.client.command import main
from serving.client.connection import Attempts, TransportError
from tests.serving import fake_server
from tests.serving.fake_server import FakeServer, equal_rows, response
from tests.serving.made_certificates import Authority
from zoo.shared.errors import UserError

POSES = np.ones((3, 2, 25, 3), np.float32)
Code = grpc.StatusCode


def failing(code, times, after=0.0):
    """A handler that fails ``times`` times, each ``after`` seconds; its ``left``: seconds that each attempt had."""

    def handle(request, context):
        handle.left.append(context.time_remaining())
        if len(handle.left) <= times:
            time.sleep(after)
            context.abort(code, "made to fail")
        return equal_rows(request)

    handle.left = []
    return handle


async def predict_async(address, **options):
    async with AsyncClient(address, "adl", **options) as client:
        return await client.predict(poses=POSES)


def predict_sync(address, **options):
    with Client(address, "adl", **options) as client:
        return client.predict(poses=POSES)


def predict_in_loop(address, **options):
    return asyncio.run(predict_async(address, **options))


both = pytest.mark.parametrize("predict", [predict_sync, predict_in_loop])


# ------------------------------------------------------------------------------------------------- attempts


@both
def test_unavailable_is_retried_within_one_deadline(predict):
    handle = failing(Code.UNAVAILABLE, times=2, after=0.3)
    with FakeServer(handle=handle) as server:
        assert predict(server.address, timeout=8).labels == ("sit down", "drink")
    assert len(handle.left) == 3
    first, _, third = handle.left
    assert first < 9  # gRPC rounds a deadline up, so neither this nor the next is exact
    assert first - third > 0.4  # two failures took 0.6 s: the third attempt had what was left, not a new deadline


@both
def test_a_proxy_is_not_used_for_a_server_on_this_machine(predict, monkeypatch):
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with FakeServer() as server:
        assert predict(server.address, retries=0).labels == ("sit down", "drink")
        port = server.address.rpartition(":")[2]
        assert predict(f"localhost:{port}", retries=0).labels == ("sit down", "drink")


def test_a_proxy_that_may_be_the_reason_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("grpc_proxy", "http://user:secret@127.0.0.1:9")
    with pytest.raises(RequestFailed, match=r"through the proxy http://user:\*\*\*@127.0.0.1:9 \(no_proxy=far\.test"):
        predict_sync("far.test:8500", retries=0)
    monkeypatch.setenv("no_proxy", "other.example, .test")
    with pytest.raises(RequestFailed, match=r"far\.test:8500(?!.*proxy)"):
        predict_sync("far.test:8500", retries=0)


def test_a_name_with_a_part_that_is_empty_is_no_server():
    with pytest.raises(RequestFailed, match=r"UNAVAILABLE: no server responds at 10\.0\.0\.\.5:8500"):
        predict_sync("10.0.0..5:8500", retries=0)


@both
def test_retries_end(predict):
    handle = failing(Code.UNAVAILABLE, times=9)
    with FakeServer(handle=handle) as server, pytest.raises(RequestFailed, match=r"^UNAVAILABLE.*made to fail"):
        predict(server.address, retries=1)
    assert len(handle.left) == 2


@both
def test_too_many_requests_are_tried_again(predict):
    handle = failing(Code.RESOURCE_EXHAUSTED, times=1)
    with FakeServer(handle=handle) as server:
        assert predict(server.address).labels == ("sit down", "drink")
    with (
        FakeServer(handle=failing(Code.RESOURCE_EXHAUSTED, times=9)) as server,
        pytest.raises(RequestFailed, match=r"^RESOURCE_EXHAUSTED: .* has too many requests: .* \(made to fail\)"),
    ):
        predict(server.address, retries=1)


@pytest.mark.parametrize(
    ("details", "of_size"),
    [
        ("Concurrent RPC limit exceeded!", False),
        ("HTTP status 429, Too Many Requests", False),
        ("HTTP status 413, Request Entity Too Large", True),
        ("CLIENT: Received message larger than max (9 vs. 4)", True),
        ("the request has 9 bytes, the limit set here is 4", True),
    ],
)
def test_details_of_resource_exhausted(details, of_size):
    assert TransportError(Code.RESOURCE_EXHAUSTED, details).of_size == of_size


_PASSING = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)


@pytest.mark.parametrize("code", [code for code in Code if code not in (Code.OK, *_PASSING)])
def test_no_other_code_is_retried(code):
    handle = failing(code, times=9)
    with FakeServer(handle=handle) as server, pytest.raises(RequestFailed, match=f"^{code.name}: ") as failure:
        predict_sync(server.address)
    assert failure.value.code == code
    assert len(handle.left) == 1


def test_pauses_double_up_to_a_limit_and_stay_within_the_deadline():
    now = [0.0]
    attempts = Attempts(timeout=30, retries=100, clock=lambda: now[0])
    pauses = []
    while (pause := attempts.pause(TransportError(Code.UNAVAILABLE, ""))) is not None:
        pauses.append(pause)
        now[0] += pause
        assert attempts.remaining() == pytest.approx(30 - sum(pauses))
    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]):
        assert longest / 2 <= pause <= longest
    assert 25 - 1e-6 <= sum(pauses) < 30  # another pause would have passed it
    now[0] = 31
    assert attempts.remaining() == 0


# ---------------------------------------------------------------------------------------------- lost servers


@both
def test_server_that_dies_under_a_request(predict):
    arrived, ended = threading.Event(), threading.Event()

    def handle(request, context):
        arrived.set()
        ended.wait(10)
        return equal_rows(request)

    with FakeServer(handle=handle) as server:
        killer = threading.Thread(target=lambda: (arrived.wait(10), server.stop()))
        killer.start()
        with pytest.raises(RequestFailed) as failure:
            predict(server.address, retries=0)
        ended.set()
        killer.join()
    assert failure.value.code in (Code.UNAVAILABLE, Code.CANCELLED)  # which of them is up to gRPC
    assert len(str(failure.value).splitlines()) == 1


@both
def test_server_that_hangs_up(predict):
    def hang_up(listening):
        while True:
            try:
                listening.accept()[0].close()
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=hang_up, args=(listening,), daemon=True).start()
        with pytest.raises(RequestFailed) as failure:
            predict(f"127.0.0.1:{listening.getsockname()[1]}", retries=1, timeout=5)
        listening.shutdown(socket.SHUT_RDWR)
    assert failure.value.code == Code.UNAVAILABLE


@both
def test_slow_server(predict):
    ended = threading.Event()

    def handle(request, context):
        ended.wait(10)
        return equal_rows(request)

    with FakeServer(handle=handle) as server:
        with pytest.raises(RequestFailed, match=r"^DEADLINE_EXCEEDED: no response from .* in 0.3 s"):
            predict(server.address, timeout=0.3)
        ended.set()


# --------------------------------------------------------------------------------------------------- garbage


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"classes": [["a", "b"]]}, "no output probabilities, only classes"),
        ({"classes": [["a", "b"]], "probabilities": [[1.0]]}, r"classes are \[1, 2\] and probabilities \[1, 1\]"),
        ({"classes": ["a"], "probabilities": [1.0]}, r"classes are \[1\]"),
        ({"classes": np.zeros((1, 0), object), "probabilities": np.zeros((1, 0))}, r"classes are \[1, 0\]"),
        ({"classes": [["a"]] * 2, "probabilities": [[1.0]] * 2}, r"classes has the shape \[2, 1\], expected 1 rows"),
        ({"classes": [["a"]], "probabilities": [[np.nan]]}, "finite"),
        ({"classes": [["a"]], "probabilities": [["b"]]}, "numbers"),
        ({"classes": [[1.0]], "probabilities": [[1.0]]}, "classes that are text"),
        ({"classes": "a", "probabilities": 1.0}, r"classes has the shape \[\]"),
    ],
)
def test_response_that_is_no_prediction(outputs, message):
    def handle(request, context):
        return response(request, **outputs)

    with FakeServer(handle=handle) as server, pytest.raises(RequestFailed, match=message) as failure:
        predict_sync(server.address)
    assert failure.value.code == Code.INTERNAL
    assert server.address in str(failure.value)


def test_response_with_a_damaged_tensor():
    def handle(request, context):
        damaged = equal_rows(request)
        damaged.outputs["probabilities"].tensor_content = b"123"
        return damaged

    with FakeServer(handle=handle) as server, pytest.raises(RequestFailed, match="probabilities is no tensor"):
        predict_sync(server.address)


@both
def test_bytes_that_are_no_response(predict, capfd):
    refused = pytest.raises(RequestFailed, match=r"^INTERNAL.*3 bytes that are no response of Predict")
    with FakeServer(handle=lambda *_: b"\xff\xff\xff") as server, refused:
        predict(server.address)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("metadata", "message"), [(b"", "no signatures"), (b"\xff\xff", "no response of GetModelM")])
def test_invalid_metadata(metadata, message):
    with FakeServer(metadata=metadata) as server, pytest.raises(RequestFailed, match=message):
        predict_sync(server.address)


# ---------------------------------------------------------------------------------------------------- limits


def test_limits_on_messages():
    long = np.ones((20000, 2, 25, 3), np.float32)
    with FakeServer() as server:
        with (
            Client(server.address, "adl", max_message_bytes=10**6) as client,
            pytest.raises(UserError, match=r"the clip has 12 MB, a message may have 1: send fewer"),
        ):
            client.predict(poses=long)
        assert not server.requests  # refused here
        with (
            Client(server.address, "adl") as client,
            pytest.raises(RequestFailed, match=r"^RESOURCE_EXHAUSTED: the server, or a proxy .* raise its limit"),
        ):
            client.predict(poses=long)  # refused there: the fake server has gRPC's own limit of 4 MB

    def large(request, context):
        return response(request, classes=[["a" * 5 * 10**6]], probabilities=[[1.0]])

    with FakeServer(handle=large) as server:
        assert len(predict_sync(server.address).labels[0]) == 5 * 10**6
        with pytest.raises(RequestFailed, match=r"^RESOURCE_EXHAUSTED"):
            predict_sync(server.address, max_message_bytes=10**5)


# ------------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    return Authority(folder, "ours"), Authority(folder, "theirs")


def server_credentials(certificate, client_authority=None):
    chain, key = (pathlib.Path(path).read_bytes() for path in certificate)
    root = pathlib.Path(client_authority).read_bytes() if client_authority else None
    return grpc.ssl_server_credentials([(key, chain)], root, client_authority is not None)


@pytest.fixture(scope="module")
def tls_server(authorities):
    with FakeServer(credentials=server_credentials(authorities[0].sign("server"))) as server:
        yield server.address


@pytest.fixture(scope="module")
def mutual_server(authorities):
    credentials = server_credentials(authorities[0].sign("mutual"), authorities[0].file)
    with FakeServer(credentials=credentials) as server:
        yield server.address


@both
def test_tls_and_mutual_tls(predict, authorities, tls_server, mutual_server):
    ours, _ = authorities
    assert predict(tls_server, tls=Tls(ca=ours.file)).version == 7
    certificate, key = ours.sign("client")
    assert predict(mutual_server, tls=Tls(ours.file, certificate, key)).version == 7


@both
def test_server_that_is_not_trusted(predict, authorities, tls_server):
    ours, theirs = authorities

    def refused(address, tls, message):
        with pytest.raises(RequestFailed, match=message) as failure:
            predict(address, tls=tls, retries=0)
        assert failure.value.code == Code.UNAVAILABLE
        assert len(str(failure.value).splitlines()) == 1

    refused(tls_server, Tls(ca=theirs.file), "not signed by .*theirs.pem")
    refused(tls_server, Tls(), "signed by an unknown authority .*--ca")
    refused(tls_server, None, "speaks TLS: give --tls")
    for options, message in (
        ({"days": -1}, "certificate has expired"),
        ({"host": "10.0.0.1"}, "belongs to another server"),
    ):
        with FakeServer(credentials=server_credentials(ours.sign("wrong", **options))) as server:
            refused(server.address, Tls(ca=ours.file), message)
    with FakeServer() as server:
        refused(server.address, Tls(ca=ours.file), "does not speak TLS: leave out --tls")
    refused("127.0.0.1:1", Tls(ca=ours.file), "no server responds at 127.0.0.1:1")


def test_client_that_is_not_trusted(authorities, mutual_server):
    ours, theirs = authorities
    expired, foreign = ours.sign("expired", days=-1), theirs.sign("foreign")
    for tls, message in (
        (Tls(ours.file), "requires the client's own certificate .*give --cert and --key"),
        (Tls(ours.file, *expired), "refuses the certificate .*expired.pem"),
        (Tls(ours.file, *foreign), "refuses the certificate .*foreign.pem"),
    ):
        with pytest.raises(RequestFailed, match=message):
            predict_sync(mutual_server, tls=tls, retries=0)


def test_invalid_certificate_files(authorities, tmp_path):
    ours, _ = authorities
    certificate, key = ours.sign("good")
    (tmp_path / "text.pem").write_text("no certificate")
    text = str(tmp_path / "text.pem")
    for arguments, message in (
        ({"ca": "missing.pem"}, "missing.pem: cannot be read"),
        ({"ca": text}, "text.pem: holds no certificate"),
        ({"cert": certificate}, "--cert and --key belong together"),
        ({"cert": certificate, "key": "missing.key"}, "missing.key: cannot be read"),
        ({"cert": text, "key": key}, "expected a certificate and its private key"),
        ({"cert": certificate, "key": ours.sign("other")[1]}, "other.key: is not the key of"),
    ):
        with pytest.raises(UserError, match=message):
            Tls(**arguments)


# --------------------------------------------------------------------------------------------------- command


def test_command_over_mutual_tls(authorities, mutual_server, tmp_path, run_command):
    ours, _ = authorities
    certificate, key = ours.sign("command")
    np.save(tmp_path / "poses.npy", POSES + 1)
    line = ["--server", mutual_server, "--model", "adl", "--pose", tmp_path / "poses.npy", "--format", "json"]
    line += ["--ca", ours.file]
    status, out, _ = run_command(main, *line, "--cert", certificate, "--key", key)
    assert status == 0
    assert json.loads(out)["predictions"][0]["class"] == fake_server.LABELS[1]
    status, _, err = run_command(main, *line, "--retries", "0")
    assert status == 2
    (error,) = err.splitlines()
    assert "give --cert and --key" in error
