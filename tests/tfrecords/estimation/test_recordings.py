import dataclasses

import numpy as np
import pytest

from tests.tfrecords.estimation.fake_estimator import FOCAL, FPS, STANDING, WIDTH, Fake, Recording, person
from tfrecords.converting import persons
from tfrecords.estimation import estimator, live, recordings

LYING = STANDING[:, [1, 0, 2]]  # the head to the right: upright in a frame turned counter-clockwise
SETTINGS = recordings.Settings(estimator="fake_of_recordings", persons=2, focal_length=FOCAL)


@pytest.fixture(autouse=True)
def fake():
    estimator.register("fake_of_recordings")(Fake)
    Fake.found_turned = []
    yield
    estimator._REGISTERED.pop("fake_of_recordings")


def estimate(found, settings=SETTINGS):
    Fake.found = Fake.found_when_known = found
    return recordings.estimate(Recording(len(found)), settings)


def live_poses(found, settings=SETTINGS):
    Fake.found = Fake.found_when_known = found
    with live.LiveEstimator(settings, FPS) as stream:
        return [stream.poses(frame, seconds) for seconds, frame in Recording(len(found)).shown()]


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


def test_a_part_behind_the_end_of_a_recording_is_an_error():
    Fake.found = Fake.found_when_known = [[]]
    with pytest.raises(ValueError, match="has no frames in the part to estimate"):
        recordings.estimate(recordings.Part(Recording(3), first=5), SETTINGS)


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


def test_frames_without_a_person_are_searched_turned():
    lying = person((0.2, -0.5, 3), LYING)
    x, y, z = lying.xyz.T
    column, row = lying.xy.T
    upright = dataclasses.replace(lying, xyz=np.stack([-y, x, z], -1), xy=np.stack([row, WIDTH - column], -1))
    assert upright.xyz[-1, 1] > 0.5
    assert upright.xy[-1, 1] < upright.xy[0, 1]
    Fake.found_turned = [[upright]] * 10
    for poses in (estimate([[]] * 10), persons_of(live_poses([[]] * 10))):
        np.testing.assert_allclose(poses.xy[5, 0], lying.xy, atol=0.1)
        np.testing.assert_allclose(poses.xyz[5, 0], np.add(LYING, (0.2, -0.5, 3)), atol=0.01)


UPSIDE_DOWN = person((0, 0, 3), STANDING * np.float32([1, -1, 1]))


def test_who_is_found_upside_down_is_searched_anew_and_keeps_the_index():
    one = dataclasses.replace(SETTINGS, persons=1)
    upright = person((0, 0, 3))
    Fake.found = [[UPSIDE_DOWN]] * 8 + [[upright]] * 22  # before the tenth frame a new search makes the same mistake
    Fake.found_when_known = [[UPSIDE_DOWN]] * 30
    with live.LiveEstimator(one, FPS) as stream:
        poses = [(stream.poses(frame, seconds), stream.numbers) for seconds, frame in Recording(30).shown()]
    assert {numbers for _, numbers in poses} == {(0,)}
    is_upright = [bool(pose.xy[0, 0, -1, 1] < pose.xy[0, 0, 0, 1]) for pose, _ in poses]
    assert not any(is_upright[:8])
    assert all(is_upright[16:])  # searched every fifth of a second

    poses = recordings.estimate(Recording(30), one)  # Fake's body that it knows is upside down backwards as well
    assert (poses.xy[16:, 0, -1, 1] < poses.xy[16:, 0, 0, 1]).all()
    assert poses.confidence[:, 0].all()


def test_who_was_upside_down_is_followed_back_the_right_way_up():
    class Persistent(Fake):
        """Keeps a body as it found it: the first frame alone shows it upside down."""

        def persons(self, frame, seconds):
            if frame.shape[0] > frame.shape[1]:
                return []
            if not self._known:
                self._known = [UPSIDE_DOWN] if frame[0, 0, 0] == 0 else [person((0, 0, 3))]
            return self._known

    estimator.register("fake_of_recordings")(Persistent)
    poses = recordings.estimate(Recording(20), dataclasses.replace(SETTINGS, persons=1))
    assert (poses.xy[3:, 0, -1, 1] < poses.xy[3:, 0, 0, 1]).all()  # smoothed over the frames beside the first


def test_who_is_upside_down_stays_so():
    hanging = estimate([[UPSIDE_DOWN]] * 20)
    assert (hanging.xy[:, 0, -1, 1] > hanging.xy[:, 0, 0, 1]).all()


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


def test_frames_that_last_unequally_long_are_where_their_times_are():
    """Ten frames per second, then thirty: a walk at even speed is one, a gap is as long as its time."""
    times = np.cumsum([0, *[0.1] * 20, *[1 / 30] * 40])
    found = [[person((0.5 * time - 0.8, 0, 3 + time))] for time in times]
    found[8:13] = [[]] * 5  # 0.6 s: longer than is filled
    found[30:42] = [[]] * 12  # 0.43 s: shorter
    Fake.found = Fake.found_when_known = found
    poses = recordings.estimate(Recording(len(times), times + 7), SETTINGS)
    seen = poses.confidence[:, 0].any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(~seen), range(8, 13))
    assert (poses.confidence[30:42, 0] == persons.INTERPOLATED).all()
    hips = poses.xyz[:, 0, 4:6].mean(axis=1)
    expected = np.stack([0.5 * times - 0.8, 0 * times, 3 + times], axis=1)
    np.testing.assert_allclose(hips[seen], expected[seen], atol=0.03)


def test_even_times_that_a_coarse_clock_has_rounded():
    """25 frames per second on a clock of 30: a walk at even speed is one."""
    clock = recordings.Clock(1 / 25, rounded=True)
    stamps = np.ceil(np.arange(40) * 30 / 25) / 30
    np.testing.assert_allclose([clock(stamp) for stamp in stamps], np.arange(40) / 25, atol=1e-9)
    assert [clock(stamp) for stamp in (2.0, 2.5, 2.54)] == [2.0, 2.5, 2.54]  # no longer even


@pytest.mark.parametrize("times", [[0.0] * 12, [*np.arange(6) / FPS, *np.arange(6) / FPS]])
def test_time_stamps_that_do_not_grow(times):
    Fake.found = Fake.found_when_known = [[person((0.01 * frame, 0, 3))] for frame in range(12)]
    poses = recordings.estimate(Recording(12, times), SETTINGS)
    np.testing.assert_allclose(poses.xyz[:, 0, 4:6].mean(axis=1)[:, 0], 0.01 * np.arange(12), atol=0.01)


def test_a_body_is_seen_as_long_as_its_frames_last():
    """Two of ten frames per second are 0.2 s; the same two of a hundred are a flash."""
    body = [person((0, 0, 3))]
    for fps, there in ((10, True), (100, False)):
        Fake.found = Fake.found_when_known = [body] * 2 + [[]] * 3
        poses = recordings.estimate(Recording(5, np.arange(5) / fps), SETTINGS)
        assert poses.confidence[:2].any() == there


class Dim(Fake):
    """Sees a walker at the brightness of his column: the bright ones, or, one person alone, whom it knows."""

    def __init__(self, *, model, persons):
        self._single, self._known = persons == 1, False

    def persons(self, frame, seconds):
        if frame.shape[0] > frame.shape[1] * 2:  # turned
            return []
        columns = frame[0, :, 0]
        found = []
        for brightness in np.unique(columns[columns > 0]):
            (column,) = np.flatnonzero(columns == brightness)
            if brightness >= 100 or (self._single and self._known):
                one = person((0, 0, 3))
                found.append(dataclasses.replace(one, xy=np.add(one.xy, (column - WIDTH / 2, 0))))
        found = found[:1] if self._single else found
        self._known = bool(found)
        return found

    def forget(self):
        self._known = False


class Walkers:
    """A recording of walkers: number of a frame -> column and brightness of each."""

    fps, width, height = FPS, WIDTH, 480

    def __init__(self, frames):
        self._frames = frames

    def shown(self):
        for number, walkers in enumerate(self._frames):
            picture = np.zeros((self.height, WIDTH, 3), np.uint8)
            for column, brightness in walkers:
                picture[:, column] = brightness
            yield number / FPS, picture


def test_each_of_several_persons_is_searched_backwards():
    """The second is dim for 10 frames while the first is seen, and again later on; the third is never bright."""
    frames = [[(100, 200), (450 + number, 50 if number < 10 or 20 <= number < 24 else 201)] for number in range(40)]
    frames = [[*walkers, (20, 30)] for walkers in frames]
    estimator.register("fake_of_recordings")(Dim)
    poses = recordings.estimate(Walkers(frames), SETTINGS)
    assert (poses.confidence == np.float32(0.9)).all()  # found, not filled
    second = poses.xy[:, 1].mean(axis=1)[:, 0]
    np.testing.assert_allclose(np.diff(second), 1, atol=0.2)
