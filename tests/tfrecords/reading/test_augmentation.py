"""Random changes of clips: what they change, what they leave, and that a clip changes as one."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from tfrecords.reading import augmentation, sampling

SEED = tf.constant([4, 2], tf.int64)
Augmentation = augmentation.Augmentation


def _poses(seed=0):
    """``[tp, M, J, 3]``; the second person is absent."""
    pose = np.random.default_rng(seed).normal(size=(4, 2, 20, 3)).astype("float32")
    pose[:, 1] = 0
    return pose


def _rotation(plain, turned):
    """The matrix that turns one set of row vectors into another."""
    return np.linalg.lstsq(plain[:, 0].reshape(-1, 3), turned[:, 0].reshape(-1, 3), rcond=None)[0]


def test_rotation_and_tilt_turn_a_clip_as_one():
    plain = _poses()
    for augment, vertical in ((Augmentation(rotation=90), True), (Augmentation(rotation=90, tilt=20), False)):
        turned = augmentation.change_pose(plain, augment, SEED).numpy()
        matrix = _rotation(plain, turned)
        np.testing.assert_allclose(plain[:, 0] @ matrix, turned[:, 0], atol=1e-5)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-5)
        assert np.allclose(turned[..., 1], plain[..., 1], atol=1e-5) == vertical
        np.testing.assert_array_equal(turned[:, 1], 0)


def test_clips_in_full_depth_are_rotated_before_it_is_scaled():
    plain = _poses()
    scaled = plain * np.float32([1, 1, 0.3])
    augment, found = Augmentation(rotation=90, full_depth=0.5), set()
    for number in range(12):
        seed = tf.constant([number, 2], tf.int64)
        turned = augmentation.change_pose(scaled, augment, seed, 0.3).numpy()
        rotation = Augmentation(rotation=90)
        before = augmentation.change_pose(plain, rotation, seed).numpy() * np.float32([1, 1, 0.3])
        after = augmentation.change_pose(scaled, rotation, seed).numpy()
        found.add(tuple(np.allclose(turned, each, atol=1e-5) for each in (before, after)))
    assert found == {(True, False), (False, True)}


def test_tilt_stays_within_its_angles():
    tilts = []
    for seed in range(40):
        matrix = _rotation(
            _poses(),
            augmentation.change_pose(_poses(), Augmentation(tilt=10), tf.constant([seed, 0], tf.int64)).numpy(),
        )
        tilts.append(np.degrees(np.arccos(np.clip(matrix[1, 1], -1, 1))))  # of the vertical axis
    assert max(tilts) <= 10 * np.sqrt(2)
    assert max(tilts) > 8
    assert np.std(tilts) > 1


def test_stretch_changes_every_axis_by_itself():
    plain = _poses()
    stretched = augmentation.change_pose(plain, Augmentation(stretch=0.3), SEED).numpy()
    factors = stretched[0, 0, 0] / plain[0, 0, 0]
    np.testing.assert_allclose(stretched, plain * factors, rtol=1e-5)
    assert len(set(factors)) == 3
    assert np.abs(factors - 1).max() <= 0.3


def test_displaced_joints_keep_their_motion():
    poses = np.random.default_rng(0).normal(size=(6, 2, 20, 3)).astype("float32")
    poses[:, 1] = 0  # an absent person
    moved = augmentation.change_pose(tf.constant(poses), Augmentation(joint_offset=0.5), SEED).numpy() - poses
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-6)
    assert 0.4 < moved[0, 0].std() < 0.6
    assert not moved[:, 1].any()


def test_lost_joints_lie_on_lines():
    rng = np.random.default_rng(0)
    poses = rng.normal(size=(12, 2, 200, 3)).astype("float32")
    poses[4:, 1] = 0  # the second person leaves
    found = augmentation.change_pose(tf.constant(poses), Augmentation(lost_joints=0.5), SEED).numpy()
    lost = (found != poses).any(axis=-1)  # [12, 2, 200]
    assert 0.4 < lost[:, 0].any(axis=0).mean() < 0.6
    assert lost.sum(axis=0).max() == 6
    for joint in np.flatnonzero(lost[:, 0].any(axis=0)):
        known = np.flatnonzero(~lost[:, 0, joint])
        for axis in range(3):
            line = np.interp(np.arange(12), known, poses[known, 0, joint, axis])
            np.testing.assert_allclose(found[:, 0, joint, axis], line, atol=1e-5)
    assert (found[4:, 1] == 0).all()
    assert not lost[3:, 1].any()
    single = tf.ones((1, 1, 5, 3))  # nothing to interpolate between
    np.testing.assert_array_equal(augmentation.change_pose(single, Augmentation(lost_joints=1.0), SEED), single)


def test_lost_poses_are_zeros_in_one_span():
    plain = np.random.default_rng(0).normal(size=(12, 2, 5, 3)).astype("float32")
    lengths = []
    for seed in range(60):
        key = tf.constant([seed, 0], tf.int64)
        found = augmentation.change_pose(plain, Augmentation(lost_poses=0.5), key).numpy()
        lost = ~found.any(axis=(1, 2, 3))
        np.testing.assert_array_equal(found[~lost], plain[~lost])
        assert np.count_nonzero(np.diff(lost.astype(int))) <= 2
        lengths.append(lost.sum())
    assert 0.3 < np.count_nonzero(lengths) / 60 < 0.7
    assert (min(lengths), max(lengths)) == (0, 6)
    single = plain[:1]  # somebody stays
    np.testing.assert_array_equal(augmentation.change_pose(single, Augmentation(lost_poses=1.0), SEED), single)


@pytest.mark.parametrize("smallest", [0, 1.1, float("nan")])
def test_parts_that_are_none(smallest):
    with pytest.raises(ValueError, match=r"pose_crop is .*, expected a number above 0, to 1"):
        Augmentation(pose_crop=smallest)


@pytest.mark.parametrize("largest", [0, 0.5, float("inf"), float("nan")])
def test_warps_that_are_none(largest):
    with pytest.raises(ValueError, match=r"time_warp is .*, expected a number from 1 to 100"):
        Augmentation(time_warp=largest)


def test_spans_lie_in_the_clip_or_hold_it():
    spans = np.array([sampling.random_span(0.4, 1.6, tf.constant([seed, 0], tf.int64)) for seed in range(90)])
    start, length = spans.T
    assert 0.4 <= length.min() < 0.5 < 1.5 < length.max() <= 1.6
    first, last = np.minimum(start, start + length - 1), np.maximum(start, start + length - 1)
    assert (first * last <= 1e-6).all()  # it begins and ends within the clip, or both outside of it
    assert np.abs([start.min(), start.max()]).min() > 0.3


def test_warped_time_keeps_its_order_and_its_ends():
    positions = tf.linspace(0.0, 1.0, 9)
    speeds = []
    for seed in range(30):
        warped = sampling.warp_time(positions, 3.0, tf.constant([seed, 0], tf.int64)).numpy()
        np.testing.assert_allclose(warped[[0, -1]], [0, 1], atol=1e-6)
        steps = np.diff(warped).reshape(4, 2)  # two in each part, within which the speed is one
        np.testing.assert_allclose(steps[:, 0], steps[:, 1], atol=1e-6)
        speeds.append(steps.max() / steps.min())
    assert 3 < max(speeds) <= 9 + 1e-4


def test_evaluated_parts_are_spread():
    start, length = np.transpose([sampling.spread_span(number, 10, 0.6) for number in range(10)])
    np.testing.assert_allclose(length, np.linspace(0.62, 0.98, 10), atol=1e-6)
    assert start.min() >= 0
    assert (start + length).max() <= 1
    positions = np.sort(start / (1 - length))
    assert np.diff(positions).max() < 0.2


def test_poses_of_absent_persons_are_not_interpolated():
    poses = np.zeros((2, 2, 20, 3), "float32")
    poses[0, 0], poses[1] = 1, 3
    positions = sampling.step_positions(4, 0.5)  # at frames 0, 0.25, 0.75 and 1
    found = sampling.interpolated_steps(tf.constant(poses), positions).numpy()
    np.testing.assert_allclose(found[:, 0, 0, 0], [1, 1.5, 2.5, 3])
    np.testing.assert_allclose(found[:, 1, 0, 0], [0, 0, 3, 3])


def _images():
    return np.random.default_rng(0).uniform(-0.6, 0.4, (3, 8, 8, 3)).astype("float32")


def _changed(images, seed=SEED, **options):
    return augmentation.change_colours(tf.constant(images), Augmentation(**options), seed).numpy()


def test_brightness_contrast_and_saturation():
    images = _images()
    values = (images.astype(np.float64) + 1) / 2

    def factor(number, largest):
        return 1 + largest * tf.random.stateless_uniform([4], SEED, -1.0, 1.0).numpy()[number]

    def close(changed, expected):
        np.testing.assert_allclose((changed + 1) / 2, np.clip(expected, 0, 1), atol=1e-5)

    close(_changed(images, brightness=0.5), values * factor(0, 0.5))
    mean = values.mean(axis=(0, 1, 2))
    close(_changed(images, contrast=0.5), mean + (values - mean) * factor(1, 0.5))
    grey = (values * [0.299, 0.587, 0.114]).sum(axis=-1, keepdims=True)
    close(_changed(images, saturation=0.5), grey + (values - grey) * factor(2, 0.5))


def test_hue_turns_colours_and_leaves_grey_and_luma():
    seed = next(
        seed for seed in (tf.constant([n, 0], tf.int64) for n in range(50))
        if abs(tf.random.stateless_uniform([4], seed, -1.0, 1.0)[3].numpy()) > 0.8
    )  # fmt: skip
    grey = np.full((1, 2, 2, 3), 0.25, "float32")
    np.testing.assert_allclose(_changed(grey, seed, hue=0.5), grey, atol=1e-5)
    dull = np.full((1, 1, 1, 3), 0.0, "float32") + np.array([0.1, -0.1, -0.1], "float32")
    turned = _changed(dull, seed, hue=0.5)
    luma = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(turned @ luma, dull @ luma, atol=1e-3)
    hues = [colorsys.rgb_to_hsv(*((picture[0, 0, 0] + 1) / 2))[0] for picture in (dull, turned)]
    assert abs(hues[0] - hues[1]) > 0.3


def test_colours_change_alike_in_all_frames_and_stay_in_range():
    frame = np.random.default_rng(1).uniform(-1, 1, (1, 8, 8, 3)).astype("float32")
    options = {"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5}
    changed = _changed(np.repeat(frame, 5, axis=0), **options)
    np.testing.assert_allclose(changed, np.repeat(changed[:1], 5, axis=0), atol=1e-6)
    assert -1 <= changed.min() <= changed.max() <= 1
    np.testing.assert_array_equal(changed, _changed(np.repeat(frame, 5, axis=0), **options))
    assert not np.allclose(changed, _changed(np.repeat(frame, 5, axis=0), SEED + 1, **options))


def test_shifted_frames_keep_their_order():
    np.testing.assert_array_equal(sampling.sample_frames(20, 4, 3, 5, [2, 0, 1, 2]), [7, 8, 12, 16])
    np.testing.assert_array_equal(sampling.sample_frames(10, 4, 3, 5, [2, 0, 1, 2]), [7, 8, 2, 6])


@pytest.mark.parametrize("name", ["rotation", "tilt", "scale", "noise", "brightness", "contrast", "saturation", "hue"])
def test_numbers_that_make_no_sense(name):
    for value in (-0.1, float("nan"), float("inf"), *([] if name == "noise" else [181])):
        with pytest.raises(ValueError, match=rf"^{name} is .*, expected a number from 0"):
            Augmentation(**{name: value})
