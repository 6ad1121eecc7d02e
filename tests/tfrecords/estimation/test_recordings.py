import dataclasses

import numpy as np
import pytest

from tests.tfrecords.estimation.fake_estimator import FOCAL, FPS, HEIGHT, WIDTH, Fake, Recording, person
from tfrecords.converting import persons
from tfrecords.estimation import estimator, live, recordings

SETTINGS = recordings.Settings(estimator="fake_of_recordings", persons=2, focal_length=FOCAL)


@pytest.fixture(autouse=True)
def fake():
    estimator.register("fake_of_recordings")(Fake)
    yield
    estimator._REGISTERED.pop("fake_of_recordings")


def estimate(found, settings=SETTINGS):
    Fake.found = Fake.found_when_known = found
    return recordings.estimate(Recording(len(found)), settings)


def live_poses(found, settings=SETTINGS):
    Fake.found = Fake.found_when_known = found
    with live.LiveEstimator(settings, WIDTH, HEIGHT, FPS) as stream:
        return [stream.poses(frame, number / FPS) for number, frame in enumerate(Recording(len(found)))]


def test_persons_are_where_they_stand_before_the_camera():
    found = [[person((0.02 * frame - 0.5, 0.1, 3.0)), person((1.0, 0.0, 4.0))][:: (-1) ** frame] for frame in range(40)]
    poses = estimate(found)
    assert poses.xyz.shape == (40, 2, 13, 3)
    for each in (poses, persons_of(live_poses(found))):  # the nearer person is larger and so the first
        hips = each.xyz[20, :, 4:6].mean(axis=1)
        np.testing.assert_allclose(hips, [(-0.1, 0.1, 3.0), (1.0, 0.0, 4.0)], atol=0.02)
    np.testing.assert_allclose(poses.confidence, 0.9)


def persons_of(frames):
    return persons.Poses(
        *(np.concatenate([getattr(one, name) for one in frames]) for name in ("xyz", "confidence", "xy"))
    )


def test_nobody_is_zeros():
    poses = estimate([[]] * 5)
    assert poses.xyz.shape == (5, 2, 13, 3)
    assert poses.xy.shape == (5, 2, 13, 2)
    assert not poses.xyz.any()
    assert not poses.xy.any()
    assert not poses.confidence.any()
    assert not live_poses([[]])[0].xyz.any()


def test_short_gaps_are_filled_and_long_ones_are_not():
    found = [[person((0.01 * frame, 0, 3))] for frame in range(60)]
    found[20:25] = [[]] * 5
    found[30:50] = [[]] * 20
    poses = estimate(found)
    assert (poses.confidence[20:25, 0] == persons.INTERPOLATED).all()
    np.testing.assert_allclose(poses.xyz[22, 0, 4:6].mean(axis=0), (0.22, 0, 3), atol=0.01)
    assert not poses.confidence[30:50].any()
    assert (poses.confidence[50:, 0] == np.float32(0.9)).all()
    stream = live_poses(found)
    assert (stream[24].confidence[0, 0] == persons.INTERPOLATED).all()
    assert not stream[49].confidence.any()
    assert stream[50].confidence[0, 0].all()


def test_a_joint_that_the_estimator_never_saw_is_no_reason_to_reject():
    confidence = np.full(13, 0.9)
    confidence[0] = 0.0
    poses = estimate([[person((0, 0, 3), confidence=confidence)] for _ in range(5)])
    assert (poses.confidence[:, 0] > 0).all()


def test_invented_bodies_are_no_poses():
    """A face that fills the picture: joints far outside it, or none of them seen."""
    close = person((0, -0.5, 0.4))
    unsure = person((0, 0, 3), confidence=0.2)
    assert not estimate([[close, unsure]] * 5).confidence.any()


def test_frames_without_a_person_are_searched_once_more_backwards():
    """An estimator that knows a body from the frame before finds it more easily."""
    body = [person((0, 0, 3))]
    Fake.found = [[]] * 10 + [body] * 20
    Fake.found_when_known = [[]] * 4 + [body] * 26
    poses = recordings.estimate(Recording(30), SETTINGS)
    np.testing.assert_array_equal(poses.confidence[:, 0].any(axis=1), [False] * 4 + [True] * 26)
    assert (poses.confidence[4:, 0] == np.float32(0.9)).all()


def test_flashes_are_no_persons():
    found = [[person((0, 0, 3))] if frame == 10 else [] for frame in range(20)]
    assert not estimate(found).confidence.any()


def test_trembling_becomes_less_and_nothing_comes_late():
    rng = np.random.default_rng(0)
    truth = [(0.5 * np.sin(2 * np.pi * 0.5 * frame / FPS), 0, 3) for frame in range(90)]
    found = []
    for position in truth:
        one = person(position)
        found.append([dataclasses.replace(one, xy=one.xy + rng.normal(0, 2, (13, 2)).astype(np.float32))])
    exact = np.stack([person(position).xy for position in truth])
    raw = np.stack([one[0].xy for one in found])
    whole, stream = estimate(found).xy[:, 0], persons_of(live_poses(found)).xy[:, 0]
    for smoothed, at_most in ((whole, 0.65), (stream, 0.9)):
        assert np.abs(smoothed - exact).mean() < at_most * np.abs(raw - exact).mean()
        assert np.abs(np.diff(smoothed, 2, axis=0)).mean() < 0.8 * np.abs(np.diff(raw, 2, axis=0)).mean()


def test_a_person_keeps_his_index_in_a_stream():
    walker = [person((0.03 * frame - 1, 0, 3)) for frame in range(60)]
    found = [[one] for one in walker[:20]] + [[person((1, 0, 2.5)), one] for one in walker[20:]]
    stream = persons_of(live_poses(found))
    np.testing.assert_allclose(stream.xyz[-1, 0, 4:6].mean(axis=0)[[0, 2]], (0.77, 3), atol=0.05)
    np.testing.assert_allclose(stream.xyz[-1, 1, 4:6].mean(axis=0)[[0, 2]], (1, 2.5), atol=0.05)


def test_settings_are_json_values():
    assert recordings.Settings().options() == {
        "estimator": "blazepose",
        "model": "full",
        "layout": "",
        "persons": 1,
        "focal_length": 0.0,
    }
