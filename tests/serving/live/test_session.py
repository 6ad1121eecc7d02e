"""A whole session: a video in a camera's place, a model here or on a server, events, a video of what is shown."""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import threading
import time

import av
import numpy as np
import pytest

from serving.live import command, models, session
from serving.live.session import LiveSession
from serving.live.settings import LiveSettings
from serving.live.state import LiveState, PersonState, Segment, Snapshot
from tests.serving.fake_poses import HEIGHT, WIDTH, BarPoses, bar_video
from tests.tfrecords.recording_files import write_video
from tfrecords.estimation import estimator
from zoo.shared.errors import UserError

LABELS = ["drink", "sit down", "put on — coat"]  # of the linear model


@pytest.fixture(autouse=True)
def _made_up(monkeypatch, tmp_path):
    monkeypatch.setitem(estimator._REGISTERED, "blazepose", BarPoses)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def walk(tmp_path):
    """Two seconds of somebody who walks."""
    return write_video(tmp_path / "walk.mp4", bar_video([10 + n for n in range(40)]), rate=20)


@pytest.fixture
def endless(monkeypatch):
    """A camera before which somebody stands for as long as it takes."""

    def frames():
        for number in range(10_000):
            time.sleep(0.03)
            yield number * 0.03, bar_video([10])[0]

    monkeypatch.setattr(session.sources, "find", lambda *_: session.sources.Source("hall", False, frames))


@pytest.fixture
def rules_file(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(f"any: {{classes: {json.dumps([*LABELS, 'unknown'])}, probability: 0.0, cooldown: 60}}\n")
    return path


def shown_by(running):
    """Snapshots until a session ends, as long as it takes."""
    waiting = running.state.subscribe()
    while not running.wait(0):
        with contextlib.suppress(queue.Empty):
            yield waiting.get(timeout=0.1)


def test_command(walk, rules_file, linear_version, tmp_path, run_command):
    status, out, err = run_command(
        command.main, "--camera", walk, "--model", linear_version.parent, "--window", "0.5s", "--stride", "0.1s",
        "--rules", rules_file, "--events", "-", "--events", tmp_path / "events.jsonl", "--name", "hall",
        "--privacy", "skeleton", "--write", tmp_path / "out.mp4", "--persons", 1,
    )  # fmt: skip
    assert status == 0, err
    event = json.loads(out)  # one, as it cools down
    assert event == json.loads((tmp_path / "events.jsonl").read_text())
    assert event["camera"] == "hall"
    assert event["label"] in LABELS
    assert abs(event["time"] - time.time()) < 60
    assert "answers/s, delay p50/p95" in err.splitlines()[-1]
    with av.open(str(tmp_path / "out.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert pictures[0].shape == (HEIGHT, WIDTH, 3)
    middle = np.stack([picture[HEIGHT // 2] for picture in pictures])
    # The white bar, eight pixels wide, is nowhere, but for the two lines of a box; a skeleton is there.
    assert (middle.min(axis=-1) > 200).sum(axis=-1).max() <= 4
    assert (middle.max(axis=-1) > 100).any()


@pytest.mark.slow
def test_state_of_a_session_that_is_started_again(walk, linear_address, linear_version):
    running = LiveSession(
        LiveSettings(
            str(walk), "pose_lstm", server=linear_address, window="1s", stride="0.1s", persons=1, unknown_below=0.0
        )
    )
    running.start()
    snapshots = list(shown_by(running))
    running.stop()
    assert not running.running
    assert running.error is None
    ids = [snapshot.frame_id for snapshot in snapshots]
    assert ids == sorted(set(ids))
    (person,) = snapshots[-1].persons
    assert person.label in LABELS
    assert person.top[0][1] >= person.top[-1][1] > 0
    assert 0 <= person.age < session.FRESH
    assert abs(snapshots[-1].time - person.answered) < 5
    (segment,) = running.state.segments()[-1:]
    assert segment.end is not None
    assert running.state.segments(since=segment.end + 1) == []
    # Again, with a model of this process and another privacy; the state is the same object.
    again = LiveSettings(str(walk), str(linear_version.parent), privacy="skeleton", window="1s", persons=1)
    with pytest.raises(UserError, match="privacy 'skeletons' is unknown, did you mean 'skeleton'"):
        running.start(LiveSettings(str(walk), "m", privacy="skeletons"))
    running.start(again)
    assert running.running
    assert next(snapshot for snapshot in shown_by(running) if snapshot.frame_id < ids[-1])
    running.stop()
    running.stop()
    assert running.state.status == "stopped"


def test_a_session_that_is_started_again_overwrites_no_video(endless, linear_version, tmp_path):
    settings = LiveSettings("0", str(linear_version.parent), persons=1, write=str(tmp_path / "seen.mp4"))
    running = LiveSession(settings)
    for _ in range(2):
        running.start(settings)
        next(shown_by(running))
    running.stop()
    assert [path.name for path in sorted(tmp_path.glob("seen*"))] == ["seen.mp4", "seen_2.mp4"]


def test_a_server_that_is_away_and_an_answer_that_grows_old(endless, linear_version, monkeypatch, capsys):
    def predict(self, windows, ask=models._Local.predict):
        if away.is_set():
            raise UserError("UNAVAILABLE: no server responds")
        return ask(self, windows)

    away = threading.Event()
    monkeypatch.setattr(session, "FRESH", 0.3)
    monkeypatch.setattr(session.Backoff, "next", lambda self: 0.05)
    monkeypatch.setattr(models._Local, "predict", predict)
    running = LiveSession(LiveSettings("0", str(linear_version.parent), window="0.5s", stride="0.1s", persons=1))
    running.start()
    persons = ((snapshot, person) for snapshot in shown_by(running) for person in snapshot.persons)
    assert next(person for _, person in persons if person.label).age <= 0.3
    away.set()
    _, person = next((one, person) for one, person in persons if person.age > 0.3 and person.answered)
    assert (person.label, person.probability, person.top) == ("", 0.0, ())
    assert next(one for one, _ in persons if "no answers: UNAVAILABLE" in one.status)
    away.clear()
    assert next(person for one, person in persons if person.label and "UNAVAILABLE" not in one.status)
    running.stop()
    said = capsys.readouterr().err
    assert said.count("no answers: UNAVAILABLE: no server responds") == 1
    assert said.count("the model answers again") == 1


@pytest.mark.slow
def test_the_last_picture_of_a_camera_that_stalls_is_not_taken_for_a_new_one(linear_version, monkeypatch):
    def frames():
        for number, picture in enumerate(bar_video([10] * 20)):
            time.sleep(0.05)
            yield number / 20, picture
        time.sleep(4)

    monkeypatch.setattr(session.sources, "STALLED", 0.5)
    monkeypatch.setattr(session.sources, "find", lambda *_: session.sources.Source("hall", False, frames))
    running = LiveSession(LiveSettings("0", str(linear_version.parent), window="0.5s", persons=1))
    running.start()
    bright = next(snapshot for snapshot in shown_by(running) if snapshot.persons)
    dark = next(snapshot for snapshot in shown_by(running) if snapshot.status.startswith("no picture for"))
    assert dark.persons == ()
    assert dark.picture.max() <= bright.picture.max() // 3
    assert dark.time < time.time() - 0.4
    monkeypatch.setattr(session.sources, "_JOIN", 0.1)
    monkeypatch.setattr(session.command_line, "skip_destructors", lambda: None)
    running.stop()


@pytest.mark.slow
def test_a_clock_that_is_set_back_makes_no_answer_older_or_younger(endless, linear_version, monkeypatch):
    running = LiveSession(LiveSettings("0", str(linear_version.parent), window="0.5s", stride="0.1s", persons=1))
    running.start()
    answered = ((one, person) for one in shown_by(running) for person in one.persons if person.answered)
    before, _ = next(answered)
    real = time.time
    monkeypatch.setattr(session.time, "time", lambda: real() - 3600)
    after, person = next((one, person) for one, person in answered if one.time < before.time - 3000)
    assert 0 <= person.age < 30
    assert abs(after.time - person.answered) < 30
    running.stop()


@pytest.mark.slow
def test_a_signal_ends_the_command_cleanly(tmp_path, linear_version, run_command):
    """A folder that pictures are added to has no end."""
    (tmp_path / "incoming").mkdir()
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # where it comes too late
    timer.start()
    try:
        status, _, err = run_command(command.main, "--camera", tmp_path / "incoming", "--model", linear_version.parent)
    finally:
        timer.join()
        signal.signal(signal.SIGTERM, before)
    assert status == 0
    assert "0.0 frames/s" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", "-"], "--events needs --rules FILE"),
        (["--rules", "missing.yaml"], "missing.yaml: cannot be read"),
        (["--write", "out.avi"], "--write out.avi: expected a name"),
        (["--stride", "soon"], "'soon' is no duration"),
        (["--smooth", "much"], "no smoothing 'much'"),
        (["--calibration", "missing.json"], "missing.json: cannot be read"),
        (["--server", "127.0.0.1:1"], "UNAVAILABLE: no server responds at 127.0.0.1:1"),
    ],
)
def test_what_is_refused(arguments, message, walk, linear_version, run_command, monkeypatch):
    monkeypatch.setattr(models, "TIMEOUT", 0.3)
    status, _, err = run_command(command.main, "--camera", walk, "--model", linear_version.parent, *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_class_that_the_model_does_not_have(walk, linear_version, run_command, tmp_path):
    (tmp_path / "rules.yaml").write_text("fall: {classes: falling}")
    status, _, err = run_command(
        command.main, "--camera", walk, "--model", linear_version.parent, "--rules", tmp_path / "rules.yaml"
    )
    assert status == 2
    assert "rules.yaml: fall.classes: no class 'falling'" in err


def test_what_is_kept_of_a_day_is_bounded(monkeypatch):
    monkeypatch.setattr("serving.live.state.SEGMENTS", 3)
    state = LiveState()
    for number in range(5):
        state.put_segment(Segment(0, "drink", float(number), number + 0.5, 0.5))
    assert [one.start for one in state.segments()] == [2.0, 3.0, 4.0]
    assert [one.start for one in state.segments(since=3.5)] == [4.0]
    waiting = state.subscribe()
    for number in range(3):
        person = PersonState(0, "", 0.0, (), 0.0, (0, 0, 1, 1))
        state.put_snapshot(Snapshot(number, 0.0, np.zeros((1, 1, 3), np.uint8), (person,), "", 0.0))
    assert waiting.get_nowait().frame_id == 2
    assert waiting.empty()
    state.put_snapshot(dataclasses.replace(state.latest(), frame_id=3))
    state.clear_picture()  # as where another camera is watched
    assert waiting.empty()
    assert state.latest() is None
    state.put_event({"id": "a", "time": 3.0})
    assert state.events(since=3.0) == []
    assert state.events(since=2.0) == [{"id": "a", "time": 3.0}]
