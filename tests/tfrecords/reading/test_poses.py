"""Pose normalisation (PhD20 section 3.3.1) against its definition."""

import numpy as np
import pytest

from tfrecords.converting import persons
from tfrecords.reading import poses
from zoo import skeletons

layouts = pytest.mark.parametrize("layout", skeletons.LAYOUTS)


def _random_poses(layout, frames=6, persons=2, seed=0):
    rng = np.random.default_rng(seed)
    joints = skeletons.get(layout).num_joints
    return rng.normal(size=(frames, persons, joints, 3)).astype("float32") + np.float32([0, 0, 3])


def _rotation(axis, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix.astype("float32")


def _point(pose, joints):
    return pose[..., list(joints), :].mean(axis=-2)


@layouts
@pytest.mark.parametrize("reference", poses.REFERENCES)
def test_body_axes(layout, reference):
    """Hip centre at the origin, right hip -> left hip along +X, the spine in the X-Y plane, its length 1."""
    joints = skeletons.get(layout)
    out = poses.normalise(_random_poses(layout), layout, poses.Normalisation(reference=reference)).numpy()
    frames = {"clip": out[:1, 0], "mean": out[:, 0].mean(axis=0, keepdims=True), "frame": out[:, 0]}[reference]
    np.testing.assert_allclose(_point(frames, joints.hip_centre), 0, atol=1e-5)
    across = frames[:, joints.left_hip] - frames[:, joints.right_hip]
    assert (across[:, 0] > 0).all()
    np.testing.assert_allclose(across[:, 1:], 0, atol=1e-4)
    spine = _point(frames, joints.spine) - _point(frames, joints.spine_base)
    assert (spine[:, 1] > 0).all()
    np.testing.assert_allclose(spine[:, 2], 0, atol=1e-4)
    if reference == "mean":  # of the lengths, not the length of the mean
        spine = _point(out[:, 0], joints.spine) - _point(out[:, 0], joints.spine_base)
        assert np.linalg.norm(spine, axis=-1).mean() == pytest.approx(1, rel=1e-4)
    else:
        np.testing.assert_allclose(np.linalg.norm(spine, axis=-1), 1, rtol=1e-4)


@layouts
def test_the_view_does_not_matter(layout):
    """Poses seen by a camera elsewhere, turned and moved, and of a body of another size, normalise to the same."""
    xyz = _random_poses(layout)
    turned = xyz @ _rotation(1, 0.8) @ _rotation(0, 0.3) * 1.7 + np.float32([0.4, -1, 2])
    np.testing.assert_allclose(poses.normalise(xyz, layout), poses.normalise(turned, layout), atol=1e-3)


def test_vertical_axes_keep_up_and_forget_the_bearing():
    layout = "kinect_v1_20"
    xyz = _random_poses(layout)
    how = poses.Normalisation(axes="vertical", scale=False)
    out = poses.normalise(xyz, layout, how).numpy()
    np.testing.assert_allclose(out[..., 1], xyz[..., 1] - xyz[0, 0, 0, 1], atol=1e-5)
    turned = xyz @ _rotation(1, 1.1)
    np.testing.assert_allclose(poses.normalise(turned, layout, how), out, atol=1e-4)
    tilted = xyz @ _rotation(0, 1.1)
    assert np.abs(poses.normalise(tilted, layout, how) - out).max() > 0.1


@pytest.mark.parametrize(("origin", "joint"), [("hip_centre", 0), ("root", 0), ("spine", 1)])
def test_translation_only(origin, joint):
    xyz = _random_poses("kinect_v1_20")
    how = poses.Normalisation(origin=origin, axes="camera", scale=False)
    np.testing.assert_allclose(poses.normalise(xyz, "kinect_v1_20", how), xyz - xyz[0, 0, joint], atol=1e-6)


def test_absent_persons_stay_absent_and_change_nothing():
    layout = "kinect_v2_25"
    xyz = _random_poses(layout)
    alone = xyz.copy()
    alone[:, 1] = 0
    out = poses.normalise(alone, layout).numpy()
    assert (out[:, 1] == 0).all()
    np.testing.assert_allclose(out[:, 0], poses.normalise(xyz, layout)[:, 0], atol=1e-5)


def test_first_frame_with_a_person_is_the_reference():
    """A tracker often needs some frames to find the person (and the second slot may be found first)."""
    layout = "kinect_v1_20"
    xyz = _random_poses(layout, persons=1)
    late = np.concatenate([np.zeros_like(xyz[:2]), xyz])
    out = poses.normalise(late, layout).numpy()
    np.testing.assert_allclose(out[2:], poses.normalise(xyz, layout), atol=1e-5)
    second = np.concatenate([np.zeros_like(xyz), xyz], axis=1)
    np.testing.assert_allclose(poses.normalise(second, layout)[:, 1:], poses.normalise(xyz, layout), atol=1e-5)


def test_no_person_at_all_is_not_a_number_nowhere():
    out = poses.normalise(np.zeros((3, 2, 20, 3), "float32"), "kinect_v1_20").numpy()
    assert (out == 0).all()


@pytest.mark.parametrize(("field", "value"), [("axes", "bodyy"), ("reference", "clips"), ("origin", "hip_center")])
def test_unknown_choice(field, value):
    with pytest.raises(ValueError, match=f"pose {field} '{value}' is unknown, did you mean"):
        poses.Normalisation(**{field: value})


@pytest.mark.parametrize("frames", [1, 2, 40])
def test_lost_joints_are_filled_as_conversion_fills_them(frames):
    rng = np.random.default_rng(frames)
    xyz = rng.normal(size=(frames, 2, 5, 3)).astype(np.float32)
    lost = rng.random((frames, 2, 5)) < 0.3
    lost[0] = False  # each joint is measured in some frame
    xyz[lost] = 0
    xyz[frames // 2 + 1 :: 7, 1] = 0  # the second person is away at times
    got = poses.fill_lost_joints(xyz).numpy()
    np.testing.assert_allclose(got, persons.without_gaps(xyz, fps=0), rtol=1e-6)
    measured = xyz.any(axis=-1)
    np.testing.assert_array_equal(got[measured], xyz[measured])


def test_a_joint_that_is_zero_in_all_frames_stays():
    xyz = np.ones((4, 1, 3, 3), np.float32)
    xyz[:, 0, 1] = 0  # such as the origin of coordinates that are relative to it
    np.testing.assert_array_equal(poses.fill_lost_joints(xyz), xyz)


def test_depth_weighs_less():
    xyz = _random_poses("coco_17")
    whole, flat = (
        poses.normalise(xyz, "coco_17", poses.Normalisation(axes="camera", depth=depth)).numpy() for depth in (1, 0.25)
    )
    np.testing.assert_allclose(flat, whole * np.float32([1, 1, 0.25]), rtol=1e-6)
    with pytest.raises(ValueError, match="depth is 2, expected a number from 0 to 1"):
        poses.Normalisation(depth=2)


@pytest.mark.parametrize("target", skeletons.targets("blazepose_33"))
def test_joints_are_mapped_as_conversion_maps_them(target):
    xyz = _random_poses("blazepose_33")
    xyz[2, 1] = 0  # an absent person
    xyz[3, 0, [0, 7, 15]] = 0  # nose, left ear and left wrist were not measured
    known = np.float32(xyz != 0)[..., 0]
    expected = persons.onto(persons.Poses(xyz, known, None), "blazepose_33", target).xyz
    np.testing.assert_allclose(poses.map_joints(xyz, "blazepose_33", target), expected, atol=1e-5)


@pytest.mark.parametrize("reference", poses.REFERENCES)
def test_two_persons_are_normalised_alike(reference):
    """The middle between both is the origin, their spines' mean the unit, whichever comes first."""
    layout = skeletons.get("nite_15")
    xyz = _random_poses(layout.name)
    xyz[0, 1] = xyz[3] = 0  # the second person is absent at first, and both in frame 3
    how = poses.Normalisation(origin="persons", axes="camera", reference=reference)
    out = poses.normalise(xyz, layout.name, how).numpy()
    np.testing.assert_allclose(poses.normalise(xyz[:, ::-1], layout.name, how).numpy()[:, ::-1], out, atol=1e-5)
    assert not out[0, 1].any()
    assert not out[3].any()
    hips = _point(out, layout.hip_centre)
    spines = np.linalg.norm(_point(out, layout.spine) - _point(out, layout.spine_base), axis=-1)
    there = out.any(axis=(2, 3))
    if reference == "clip":  # the first frame, in which one person is
        there[1:] = False
    groups = np.arange(6) if reference == "frame" else np.zeros(6, int)
    for group in set(groups[there.any(axis=1)]):
        of = there & (groups == group)[:, np.newaxis]
        np.testing.assert_allclose(hips[of].mean(axis=0), 0, atol=1e-5)
        assert spines[of].mean() == pytest.approx(1, rel=1e-4)


def test_one_persons_axes_are_not_those_of_both():
    with pytest.raises(ValueError, match="with origin persons expected 'camera'"):
        poses.Normalisation(origin="persons")
