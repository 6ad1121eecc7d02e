"""People of a stream: windows evenly spaced in time, of each person his own; memory that is bounded."""

import numpy as np
import pytest

from serving.client.estimation import Estimation
from serving.live.people import SCENE, People
from serving.live.sources import Frame
from tests.serving.fake_poses import HEIGHT, WIDTH, BarPoses, bar_video
from tfrecords.estimation import estimator
from tfrecords.estimation.recordings import Settings


class TwoBars(BarPoses):
    """Finds a person at each half's bar."""

    def persons(self, frame, seconds):
        found = []
        for left in (0, frame.shape[1] // 2):
            for one in super().persons(frame[:, left : left + frame.shape[1] // 2], seconds):
                found.append(estimator.Person(one.xyz, one.xy + np.float32([left, 0]), one.confidence))
        return found


@pytest.fixture(autouse=True)
def _bar_poses(monkeypatch):
    monkeypatch.setitem(estimator._REGISTERED, "blazepose", TwoBars)


def make(persons=2, **options):
    estimation = Estimation(
        poses=True,
        parts=options.pop("parts", ()),
        takes_video=options.pop("video", False),
        settings=Settings(persons=persons),
    )
    return People(estimation, window=1.0, **options)


def add(people, positions, times):
    """Frames with bars at columns of each half (``None``: nobody there)."""
    for number, (seconds, pair) in enumerate(zip(times, positions)):
        frame = np.concatenate([bar_video([left])[0] for left in pair], axis=1)
        shown = people.add(Frame(number, frame, float(seconds)))
    return shown


def test_a_window_of_each_person_at_an_even_rate():
    people, times = make(), np.arange(0, 1.2, 0.13)
    shown = add(people, [(10 + 2 * n, 60) for n in range(len(times))], times)
    assert [one.track for one in shown] == [0, 1]
    assert shown[0].box[2] <= WIDTH < shown[1].box[0] + WIDTH
    first, second = people.windows(since=0.0)
    assert (first.track, second.track) == (0, 1)
    assert first.poses.shape == (30, 1, 33, 3)
    assert first.end == times[-1]
    steps = np.diff(first.poses[:, 0, :, 0].mean(axis=1))  # walks evenly to the right
    assert (steps[5:] > 0).all()
    assert np.ptp(second.poses[:, 0].mean(axis=1), axis=0).max() < 0.02
    assert not people.windows(since=times[-1])  # no newer frame


def test_gaps_are_absence_and_who_is_seen_too_little_has_no_window():
    people = make()
    times = np.arange(0, 1.01, 0.05)
    positions = [(10, 60 if seconds < 0.3 or seconds > 0.99 else None) for seconds in times]
    add(people, positions, times)
    (window,) = people.windows(since=0.0)
    assert window.poses.any(axis=(1, 2, 3)).all()
    people = make()
    add(people, [(10 if seconds < 0.65 else None, None) for seconds in times], times)
    (window,) = people.windows(since=0.0)
    there = window.poses.any(axis=(1, 2, 3))
    assert there[:19].all()
    assert not there[-3:].any()


@pytest.mark.parametrize("fps", [60, 120, 240])
@pytest.mark.parametrize("scene", [False, True])
def test_frames_in_slow_motion_fill_whole_windows(fps, scene):
    """A telephone's video of many frames per second, which is annotated frame by frame."""
    estimation = Estimation(poses=not scene, parts=(), takes_video=scene, settings=Settings(persons=1))
    people = People(estimation, window=1.0, classify_scene=scene)
    for number in range(2 * fps):
        people.add(Frame(number, bar_video([10])[0], number / fps))
    (window,) = people.windows(since=0.0)
    if not scene:
        assert window.poses.any(axis=(1, 2, 3)).all()
    (track,) = people._tracks.values()
    assert window.start - track.ring[0].seconds > 0.4
    assert window.end - track.ring[-1].seconds <= 1 / 60


def test_others_beside_the_person_for_a_model_of_several():
    people = make(model_persons=3)
    add(people, [(10, 60)] * 12, np.arange(12) / 10)
    first, second = people.windows(since=0.0)
    np.testing.assert_allclose(first.poses[:, 0], second.poses[:, 1], atol=1e-5)
    assert not first.poses[:, 2].any()


def test_pictures_are_cut_out_around_each_person():
    people = make(parts=("full_body",), video=True)
    add(people, [(10, 60)] * 12, np.arange(12) / 10)
    first, _ = people.windows(since=0.0)
    assert len(first.pictures["full_body"]) == len(first.poses) == 30
    assert len(set(first.pictures["full_body"])) <= 12
    assert first.pictures["full_body"][0].startswith(b"\xff\xd8")


def test_memory_is_bounded_and_who_has_left_is_forgotten():
    people = make()
    add(people, [(10, 60)] * 400, np.arange(400) / 100)
    assert all(len(track.ring) <= 120 for track in people._tracks.values())
    add(people, [(10, None)] * 40, 4 + np.arange(40) / 10)
    assert people.tracks() == {0}


def test_frames_of_another_size_begin_anew():
    people = make(persons=1)
    add(people, [(10, None)] * 12, np.arange(12) / 10)
    frame = np.zeros((2 * HEIGHT, 4 * WIDTH, 3), np.uint8)
    frame[16:112, 40:56] = 255
    for number in range(12):
        (shown,) = people.add(Frame(number, frame, 2 + number / 10))
    assert shown.track != 0
    (window,) = people.windows(since=0.0)
    assert window.track == shown.track


def test_a_model_of_whole_frames_has_one_window_of_them():
    estimation = Estimation(poses=False, parts=(), takes_video=True, settings=Settings(persons=2))
    people = People(estimation, window=1.0, classify_scene=True)
    shown = add(people, [(None, 60)] * 12, np.arange(12) / 10)
    assert [one.track for one in shown] == [0, SCENE]
    assert shown[1].box == (0, 0, 2 * WIDTH - 1, HEIGHT - 1)
    (window,) = people.windows(since=0.0)
    assert window.track == SCENE
    assert window.poses is None
    assert len(window.pictures["full_body"]) == 30
    blank = people.warm_up()
    assert blank.pictures.keys() == window.pictures.keys()
