"""Events reach their receivers at least once, under one id, whatever happens to receiver, disk or process."""

import contextlib
import errno
import http.server
import json
import pathlib
import socket
import threading
import time

import pytest

from serving.live import events
from serving.live.answers import Answer
from serving.live.events import Delivery, Lines, Mqtt, Outputs, Webhook
from serving.live.rules import Match, Rule
from serving.live.spool import Spool
from zoo.shared import files
from zoo.shared.errors import UserError

RULE = Rule("fall", ("falling",), cooldown=30.0)


def event(number):
    return {"id": f"id{number}", "time": float(number), "rule": "fall"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(events.Backoff, "next", lambda self: 0.02)
    monkeypatch.setattr(events, "LAST_SECONDS", 0.5)


@contextlib.contextmanager
def webhook(statuses):
    """A server that answers with these statuses, the last for ever; and what it was sent."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((body["id"], dict(self.headers)))
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://user:pa%20ss@127.0.0.1:{server.server_port}/hook?room=1", taken
    server.shutdown()
    server.server_close()


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_event_of_a_match():
    answer = Answer(3, "falling", 0.91239, (), end=12.0, came=12.5, segment="falling")
    made = events.make(Match(RULE, answer, since=10.5), "kitchen", lambda seconds: seconds + 1000)
    other = events.make(Match(RULE, answer, since=10.5), "kitchen", lambda seconds: seconds + 1000)
    assert made.pop("id") != other.pop("id")
    assert made == other == {
        "time": 1012.0, "rule": "fall", "label": "falling", "probability": 0.9124, "person": 3, "camera": "kitchen",
        "start": 1010.5, "duration": 1.5,
    }  # fmt: skip


def test_what_waits_outlives_the_process(tmp_path):
    first = Spool(tmp_path)
    for number in range(3):
        first.put(event(number))
    (tmp_path / ".partial-1234-x.json").write_text("{")  # of a process that was killed while it wrote
    again = Spool(tmp_path)
    name, waiting = again.first(seconds=0)
    assert waiting["id"] == "id0"
    again.remove(name)
    again.put(event(3))
    assert len(Spool(tmp_path)) == 3
    names = sorted(path.name.split("-")[1] for path in tmp_path.iterdir())
    assert names == ["id1.json", "id2.json", "id3.json"]


def test_a_full_spool_drops_the_oldest_and_says_so_once(tmp_path, capsys):
    kept = Spool(tmp_path, limit=2)
    for number in range(5):
        kept.put(event(number))
    assert kept.first(seconds=0)[1]["id"] == "id3"
    assert len(list(tmp_path.iterdir())) == 2
    assert capsys.readouterr().err.count("the oldest are dropped") == 1


def test_a_full_disk_costs_no_event(tmp_path, capsys, monkeypatch):
    kept = Spool(tmp_path)
    kept.put(event(0))
    monkeypatch.setattr(files, "write_json", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    kept.put(event(1))
    kept.put(event(2))
    assert capsys.readouterr().err.count("No space left") == 1
    delivered = []
    while (waiting := kept.first(seconds=0)) is not None:
        delivered.append(waiting[1]["id"])
        kept.remove(waiting[0])
    assert delivered == ["id0", "id1", "id2"]


def test_a_damaged_file_in_the_spool_holds_nothing_up(tmp_path, capsys):
    kept = Spool(tmp_path)
    kept.put(event(0))
    kept.put(event(1))
    next(path for path in tmp_path.iterdir() if "id0" in path.name).write_text("{")
    assert kept.first(seconds=0)[1]["id"] == "id1"
    assert "cannot be read" in capsys.readouterr().err


def test_an_event_that_cannot_be_read_for_now_is_delivered_at_the_next_start(tmp_path, capsys, monkeypatch):
    def read_text(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    kept = Spool(tmp_path)
    kept.put(event(0))
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "read_text", read_text)
        assert kept.first(seconds=0) is None
    assert "Too many open files" in capsys.readouterr().err
    assert Spool(tmp_path).first(seconds=0)[1]["id"] == "id0"


def test_names_in_letters_beyond_ascii():
    """No two cameras share their topics; an address may be written as a browser shows it."""
    topics = {events._topic_name(name) for name in ("кухня", "спальня", "厨房")}
    assert len(topics) == 3
    assert all(topic.isascii() for topic in topics)
    assert events._topic_name("front door") == "front_door"
    assert (
        Webhook("http://127.0.0.1/küche?wo=größe&x=%20")._address
        == "http://127.0.0.1/k%C3%BCche?wo=gr%C3%B6%C3%9Fe&x=%20"
    )


def test_a_webhook_gets_an_event_again_until_it_takes_it(tmp_path, capsys):
    # A redirect would be followed without the event; a status of the event itself is final.
    with webhook([503, 302, 200, 422, 204]) as (address, taken):
        delivery = Delivery(Webhook(address), Spool(tmp_path))
        delivery.start()
        for number in range(3):
            delivery.spool.put(event(number))
        wait_until(lambda: not len(delivery.spool))
        delivery.stop()
    assert [one for one, _ in taken] == ["id0", "id0", "id0", "id1", "id2"]
    headers = taken[0][1]
    assert headers["Authorization"] == "Basic dXNlcjpwYSBzcw=="
    assert headers["Idempotency-Key"] == "id0"
    said = capsys.readouterr().err.splitlines()
    assert [line.partition("hook?room=1")[2][:20] for line in said] == [
        ": an event is not de", " takes events again", " refuses the event i"
    ]  # fmt: skip
    assert "pa%20ss" not in str(said)


def test_a_receiver_that_is_away_gets_its_events_at_the_next_start(tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = Outputs(
        [f"http://127.0.0.1:{port}/", str(tmp_path / "events.jsonl")], "kitchen", [RULE], str(tmp_path / "spool")
    )
    with pytest.raises(UserError, match="another process keeps its events there"):
        Outputs(["-"], "kitchen", [RULE], str(tmp_path / "spool"))
    away.start()
    away.put(event(0))
    away.put(event(1))
    wait_until(lambda: (tmp_path / "events.jsonl").exists())
    away.stop()
    assert "2 events are kept and delivered at the next start" in capsys.readouterr().err
    assert [json.loads(line)["id"] for line in (tmp_path / "events.jsonl").open()] == ["id0", "id1"]
    assert len(list((tmp_path / "spool").glob("http*/*.json"))) == 2


def test_a_receiver_that_does_not_answer_holds_up_neither_the_end_nor_the_next_start(tmp_path, capsys):
    asked, answer = threading.Event(), threading.Event()

    class Silent:
        name = "silent"

        def deliver(self, event):
            asked.set()
            answer.wait(20)

        def close(self):
            pass

    delivery = Delivery(Silent(), Spool(tmp_path))
    delivery.start()
    delivery.spool.put(event(0))
    assert asked.wait(20)
    began = time.monotonic()
    delivery.stop()
    assert time.monotonic() - began < 5
    assert "1 events are kept and delivered at the next start" in capsys.readouterr().err
    again = Spool(tmp_path)
    answer.set()
    delivery._thread.join(20)
    assert again.first(seconds=0)[1]["id"] == "id0"  # the thread from before has taken nothing away


def test_lines_after_one_that_was_cut_off(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"id": "id0"}\n{"id": "i')
    Lines(str(path)).deliver(event(1))
    assert path.read_text().splitlines() == ['{"id": "id0"}', '{"id": "i', json.dumps(event(1))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://host", "expected -, a file"),
        ("http://", "no host"),
        ("http://host:port/", "no host"),
        ("http://[::1/", "no host"),
        ("http://10.0.0..5/", "no host"),
        ("missing/events.jsonl", "no such folder"),
        ("/", "is a folder"),
        ("mqtt://", "no host"),
    ],
)
def test_receivers_that_are_refused(text, message, tmp_path):
    if text.startswith("mqtt"):
        pytest.importorskip("paho.mqtt")
    with pytest.raises(UserError, match=message):
        Outputs([text], "kitchen", [RULE], str(tmp_path))


def test_mqtt_without_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt", None)
    with pytest.raises(UserError, match=r"keras-adl-zoo\[mqtt\]"):
        Mqtt("mqtt://127.0.0.1", "kitchen", [RULE])


@pytest.mark.slow
def test_mqtt_with_a_broker_that_is_restarted(broker, tmp_path, monkeypatch):
    from paho.mqtt import client as paho
    from paho.mqtt.enums import CallbackAPIVersion

    monkeypatch.setattr(events, "TIMEOUT", 1.0)
    start, port = broker
    first = start()
    taken = {}
    watcher = paho.Client(CallbackAPIVersion.VERSION2, client_id="watcher", clean_session=False)
    watcher.on_message = lambda _client, _data, message: taken.setdefault(message.topic, []).append(message.payload)
    watcher.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    watcher.connect_async("127.0.0.1", port)
    watcher.loop_start()
    delivery = Delivery(Mqtt(f"mqtt://127.0.0.1:{port}/home", "front door", [RULE]), Spool(tmp_path / "spool"))
    delivery.start()
    wait_until(lambda: "home/front_door/status" in taken)
    delivery.spool.put(event(0))
    wait_until(lambda: "home/front_door/fall" in taken)
    first.terminate()
    first.wait()
    delivery.spool.put(event(1))
    time.sleep(0.2)
    assert len(delivery.spool) == 1
    start()
    wait_until(lambda: len(taken["home/front_door/fall"]) >= 2)
    wait_until(lambda: not len(delivery.spool))
    assert {json.loads(one)["id"] for one in taken["home/front_door/fall"]} == {"id0", "id1"}
    found = json.loads(taken["homeassistant/binary_sensor/adl_front_door/fall/config"][-1])
    assert found["state_topic"] == "home/front_door/fall"
    assert found["off_delay"] == 30
    assert taken["home/front_door/status"][-1] == b"online"
    delivery.stop()
    wait_until(lambda: taken["home/front_door/status"][-1] == b"offline")
    watcher.loop_stop()
