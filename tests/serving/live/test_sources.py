"""Frames of a camera: the newest one, whatever the camera does meanwhile."""

import os
import time

import numpy as np
import pytest

from serving.client import streams
from serving.client.clips import encode_jpeg
from serving.live import sources
from serving.live.sources import Feed, Source
from tests.serving.fake_poses import bar_video
from tests.tfrecords.recording_files import write_video
from tfrecords.estimation.tracking import LONGEST_LOSS
from zoo.shared.errors import UserError


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sources.Backoff, "next", lambda self: 0.02)
    monkeypatch.setattr(sources, "FOLDER_IDLE", 0.2)
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.005)


def picture(number):
    return np.full((8, 8, 3), number, np.uint8)


def take_all(feed, count):
    """The first pixel of so many frames."""
    found = []
    while len(found) < count:
        frame = feed.take(10.0)
        assert frame is not None
        found.append(frame)
    return found


def test_frames_that_nobody_takes_are_dropped():
    def frames():
        for number in range(5):
            yield number / 10, picture(number)

    feed = Feed(Source("made up", True, frames))
    feed.start()
    feed._thread.join(10)
    frame = feed.take(1.0)
    assert (frame.number, frame.picture[0, 0, 0]) == (4, 4)
    assert feed.take(0.0) is None
    assert feed.ended


def test_a_camera_that_goes_away_is_opened_again(capsys, monkeypatch):
    monkeypatch.setattr(sources, "STALLED", 0.0)
    opened = []

    def frames():
        opened.append(time.monotonic())
        if len(opened) in (2, 3):
            raise UserError("camera 0 cannot be opened")
        yield 7.0, picture(len(opened))
        if len(opened) > 4:
            time.sleep(60)
        if len(opened) == 4:
            raise RuntimeError("a damaged packet")

    feed = Feed(Source("0", False, frames))
    feed.start()
    first, second, third = take_all(feed, 3)
    assert [frame.picture[0, 0, 0] for frame in (first, second, third)] == [1, 4, 5]
    assert first.seconds < second.seconds < third.seconds  # whatever the camera's own clock says
    assert first.seconds == pytest.approx(opened[0], abs=0.5)
    assert "no picture for 0 s" in feed.problem
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "warning: 0: its stream ended; trying to open it again until it is back",
        "0 is back",
        "warning: 0: a damaged packet; trying to open it again until it is back",
        "0 is back",
    ]
    monkeypatch.setattr(sources, "_JOIN", 0.1)
    assert not feed.stop()  # the read still waits: whoever ends the process must know


def test_a_file_plays_in_real_time_and_ends(tmp_path):
    path = write_video(tmp_path / "walk.mp4", bar_video(range(0, 10)), rate=20)
    feed = Feed(sources.find(str(path)))
    begin = time.monotonic()
    feed.start()
    found = []
    while not feed.ended:
        frame = feed.take(1.0)
        found += [] if frame is None else [frame]
    assert 0.4 < time.monotonic() - begin < 20
    assert found[-1].number == 9
    assert found[-1].seconds - found[0].seconds == pytest.approx((found[-1].number - found[0].number) / 20, abs=1e-3)
    assert feed.error is None
    assert feed.problem == ""


def test_a_folder_of_videos_plays_one_after_another(tmp_path, capsys):
    for name in "ca":
        write_video(tmp_path / f"{name}.mp4", bar_video([3, 4, 5]), rate=50)
    for name in ("._a", "b"):  # a file of macOS, and a video that is damaged
        (tmp_path / f"{name}.mp4").write_bytes(b"no video")
    times = [seconds for seconds, _ in sources.find(str(tmp_path)).open()]
    assert len(times) == 6
    assert np.diff(times).min() > 0
    assert np.diff(times).max() > LONGEST_LOSS  # nobody keeps a number in the next video
    (warning,) = capsys.readouterr().err.splitlines()
    assert "b.mp4: damaged or no video file" in warning


def test_pictures_of_a_folder_and_one_that_comes_too_late(tmp_path, capsys):
    for number in (2, 3):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(picture(40 * number)))
    feed = Feed(sources.find(str(tmp_path), fps=50))
    feed.start()
    frames = take_all(feed, 1)
    while frames[-1].number < 1:
        frames += take_all(feed, 1)
    for name, number in (("1", 1), ("4", 4)):
        (tmp_path / f"{name}.part").write_bytes(encode_jpeg(picture(40 * number)))
        os.replace(tmp_path / f"{name}.part", tmp_path / f"{name}.jpg")
        time.sleep(0.05)
    while abs(int(frames[-1].picture[0, 0, 0]) - 160) > 3:
        frames += take_all(feed, 1)
    assert feed.stop()
    assert "1.jpg appeared after 3.jpg" in capsys.readouterr().err


def test_a_clock_of_a_file_that_is_read_slowly_and_catches_up(monkeypatch):
    clock = iter([10.0, 10.1, 12.0, 12.01, 12.6])
    monkeypatch.setattr(sources.time, "monotonic", lambda: next(clock))
    frames = ((seconds, None) for seconds in (0.0, 0.1, 0.2, 0.3, 0.4))
    assert [round(seconds, 2) for seconds, _ in sources._with_offset(frames)] == [10.0, 10.1, 12.0, 12.01, 12.6]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.mp4", "no such camera"),
        ("notes.txt", "notes.txt"),
        ("days", "days has folders only: name the one with the videos or pictures, such as .*days/monday"),
    ],
)
def test_sources_that_are_refused(source, message, tmp_path):
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "days" / "monday").mkdir(parents=True)
    with pytest.raises(UserError, match=message):
        sources.find(str(tmp_path / source))


def test_the_name_of_an_address_has_no_password():
    found = sources.find("rtsp://admin:secret@10.0.0.5/stream")
    assert found.name == "rtsp://admin:***@10.0.0.5/stream"
    assert not found.ends
