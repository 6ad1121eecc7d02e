"""From a camera to MQTT and a webhook: both are away in between, and no event is lost."""

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest

from serving.live import events, session
from serving.live.session import LiveSession
from serving.live.settings import LiveSettings
from tests.serving.conftest import LABELS
from tests.serving.fake_poses import BarPoses, bar_video
from tfrecords.estimation import estimator

pytestmark = pytest.mark.slow


class Hook:
    """A webhook's server that can be stopped and started again at its port."""

    def __init__(self):
        self.taken = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def start(self):
        taken = self.taken

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def subscriber(port):
    """Ids of the events that a broker hands out; the subscription outlives both sides' restarts."""
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    taken = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="watcher", clean_session=False)
    client.on_connect = lambda client, *_: client.subscribe("adl/hall/any", qos=1)
    client.on_message = lambda _client, _data, message: taken.append(json.loads(message.payload)["id"])
    client.reconnect_delay_set(1, 1)
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    yield taken
    client.loop_stop()


def wait_until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def settings(monkeypatch, tmp_path, linear_version):
    """Of a camera before which somebody stands, and a rule that he sets off again and again."""

    def frames():
        for number in range(10_000):
            time.sleep(0.03)
            yield number * 0.03, bar_video([10])[0]

    monkeypatch.setitem(estimator._REGISTERED, "blazepose", BarPoses)
    monkeypatch.setattr(session.sources, "find", lambda *_: session.sources.Source("hall", False, frames))
    monkeypatch.setattr(events, "LAST_SECONDS", 1.0)
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"any: {{classes: {json.dumps([*LABELS, 'unknown'])}, probability: 0, cooldown: 0.2}}\n")
    return lambda *receivers: LiveSettings(
        "0", str(linear_version.parent), window="0.5s", stride="0.1s", persons=1, name="hall", rules=str(rules),
        events=receivers, spool=str(tmp_path / "spool"),
    )  # fmt: skip


def test_every_event_reaches_every_receiver_under_its_id(settings, broker, tmp_path):
    start_broker, port = broker
    hook, lines = Hook(), tmp_path / "events.jsonl"
    running = LiveSession(settings(str(lines), f"http://127.0.0.1:{hook.port}/", f"mqtt://127.0.0.1:{port}"))

    def made():
        return [json.loads(line)["id"] for line in lines.open()] if lines.exists() else []

    def more():
        """Waits for further events."""
        count = len(made()) + 4
        wait_until(lambda: len(made()) >= count)

    hook.start()
    process = start_broker()
    with subscriber(port) as published:
        running.start()
        wait_until(lambda: published and hook.taken)
        # Both end while events come, and start again. A broker that is killed forgets who is subscribed, one that is
        # terminated does not.
        process.terminate()
        process.wait()
        hook.stop()
        more()
        process = start_broker()
        hook.start()
        wait_until(lambda: set(made()[:5]) <= set(hook.taken) & set(published))
        # They end again, and the session does before they are back.
        process.terminate()
        process.wait()
        hook.stop()
        more()
        running.stop()
        kept = made()
        assert not set(kept) <= set(hook.taken)
        start_broker()
        hook.start()
        running.start()
        wait_until(lambda: set(kept) <= set(hook.taken) & set(published))
        more()
        running.stop()
        ids = made()
        wait_until(lambda: set(ids) <= set(hook.taken) & set(published))
    assert len(ids) == len(set(ids)) > 12
    assert set(hook.taken) | set(published) == set(ids)  # none is there that has not happened
