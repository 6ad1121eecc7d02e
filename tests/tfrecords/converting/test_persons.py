"""From tracked bodies to persons."""

import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords.converting import persons
from tfrecords.errors import RejectedClip
from zoo import skeletons

LAYOUT = skeletons.get("kinect_v2_25")


def track(first=0, frames=30, distance=1.0, width=1.0):
    """A body that walks ``distance`` metres to the right, ``width`` times as wide as a person."""
    xyz = recording_files.walk(LAYOUT.name, frames, (0, 0, 3), (distance, 0, 3))
    xyz[..., 0] = xyz[:, :1, 0] + (xyz[..., 0] - xyz[:, :1, 0]) * width
    return persons.Track(np.arange(first, first + frames), xyz, np.ones(xyz.shape[:2], np.float32))


@pytest.mark.parametrize("false", [track(frames=11), track(width=6.0)])
def test_false_bodies_are_left_out_beside_a_true_one(false):
    true = track(distance=0.1)
    assert persons.without_false_bodies([false, true]) == [true]
    assert persons.without_false_bodies([false]) == [false]  # better than nobody


def test_a_body_of_twelve_frames_is_none():
    assert len(persons.without_false_bodies([track(), track(frames=12)])) == 2


def test_motion_is_the_sum_of_variances():
    still = track(distance=0.0)
    moving = track(distance=2.0)
    variances = moving.xyz.reshape(-1, 3).astype(np.float64).var(axis=0)
    np.testing.assert_allclose(moving.motion, variances.sum(), rtol=1e-5)
    assert moving.motion > still.motion


def test_the_most_moving_two_in_that_order():
    tracks = [track(distance=0.2), track(distance=1.5), track(distance=0.7)]
    poses = persons.join(tracks, 30, 2, 25)
    np.testing.assert_array_equal(poses.xyz[:, 0], tracks[1].xyz)
    np.testing.assert_array_equal(poses.xyz[:, 1], tracks[2].xyz)
    assert poses.xy is None


def test_a_body_found_again_is_the_same_person():
    other = track(frames=30, distance=0.5)
    lost, found = track(frames=12, distance=2.0), track(first=14, frames=16, distance=0.9)
    poses = persons.join([other, found, lost], 30, 2, 25)
    np.testing.assert_array_equal(poses.xyz[:12, 0], lost.xyz)
    np.testing.assert_array_equal(poses.xyz[14:, 0], found.xyz)
    assert not poses.confidence[12:14, 0].any()
    np.testing.assert_array_equal(poses.xyz[:, 1], other.xyz)


def filled(measured, longest, joints=25):
    """Confidence after filling gaps of one person whose joints were measured in frames ``[T]`` or joints ``[T, J]``."""
    confidence = np.broadcast_to(np.reshape(measured, (len(measured), -1)), (len(measured), joints))
    xyz = recording_files.walk(LAYOUT.name, len(measured))[:, np.newaxis]
    xy = recording_files.project(xyz)
    lost = confidence[:, np.newaxis, :, np.newaxis] == 0
    poses = persons.Poses(np.where(lost, 0, xyz), confidence[:, np.newaxis].astype(float), np.where(lost, 0, xy))
    return persons.fill_gaps(poses, LAYOUT, fps=4, longest=longest), xyz, xy


def test_short_gaps_are_interpolated_and_marked():
    out, xyz, xy = filled([1, 1, 0, 0, 1, 1], longest=0.5)
    np.testing.assert_allclose(out.xyz, xyz, atol=1e-6)  # she walks in a straight line
    np.testing.assert_allclose(out.xy, xy, atol=1e-3)
    assert out.confidence[:, 0, 0].tolist() == [1, 1, 0.25, 0.25, 1, 1]


def test_a_person_gone_for_longer_is_absent():
    out, _, _ = filled([0, 1, 0, 0, 0, 1, 0], longest=0.5)
    assert out.confidence[:, 0, 0].tolist() == [0, 1, 0, 0, 0, 1, 0]
    assert not out.xyz[[0, 2, 3, 4, 6]].any()
    assert not out.xy[[0, 2, 3, 4, 6]].any()


def test_without_a_limit_the_nearest_measurement_holds_at_the_ends():
    out, xyz, _ = filled([0, 1, 0, 1, 0], longest=None)
    np.testing.assert_allclose(out.xyz[[0, 4]], xyz[[1, 3]])
    assert (out.confidence > 0).all()


def test_a_lost_joint_of_a_body_that_is_there_is_filled_however_long():
    measured = np.ones((20, 25))
    measured[2:18, 7] = 0
    out, xyz, _ = filled(measured, longest=0.5)
    np.testing.assert_allclose(out.xyz, xyz, atol=1e-6)
    assert out.confidence[2:18, 0, 7].tolist() == [0.25] * 16


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (np.zeros((5, 25)), "no skeleton in any of its 5 frames"),
        (np.ones((5, 25)) * (np.arange(25) != 3), "joint head measured in no frame"),
    ],
)
def test_what_cannot_be_filled(measured, reason):
    with pytest.raises(RejectedClip, match=reason):
        filled(measured, longest=1)


def test_so_many_persons():
    poses = persons.Poses(np.ones((4, 3, 25, 3)), np.ones((4, 3, 25)))
    assert persons.of_count(poses, 2).xyz.shape == (4, 2, 25, 3)
    more = persons.of_count(poses, 5)
    assert more.confidence.sum(axis=(0, 2)).tolist() == [100, 100, 100, 0, 0]


def test_poses_of_another_layout():
    xyz = np.stack([recording_files.walk(LAYOUT.name, 3), np.zeros((3, 25, 3), np.float32)], axis=1)
    confidence = np.array([1.0, 0.0], np.float32)[:, np.newaxis] * np.ones((3, 2, 25), np.float32)
    confidence[1, 0, LAYOUT.joints.index("left_foot")] = 0.0
    mapped = persons.onto(persons.Poses(xyz, confidence, xyz[..., :2]), LAYOUT.name, "nite_15")
    foot = skeletons.get("nite_15").joints.index("left_foot")
    assert (mapped.xyz[1, 0, foot] == 0).all()
    assert (mapped.xy[1, 0, foot] == 0).all()
    assert mapped.confidence[1, 0].tolist() == [float(joint != foot) for joint in range(15)]
    assert not mapped.xyz[:, 1].any()
    np.testing.assert_allclose(mapped.xyz[0, 0, 4], xyz[0, 0, LAYOUT.joints.index("left_elbow")])
    assert mapped.xyz.dtype == mapped.xy.dtype == np.float32
    same = persons.Poses(None, confidence)
    assert persons.onto(same, LAYOUT.name, LAYOUT.name) is same
    assert persons.onto(same, LAYOUT.name, "nite_15").xyz is None
