"""Maps between skeleton layouts: what is a mean of what, and what two sensors agree on."""

import itertools

import numpy as np
import pytest

from tests.tfrecords import recording_files
from zoo import skeletons

PAIRS = [(source, target) for source in skeletons.LAYOUTS for target in skeletons.targets(source)]
pairs = pytest.mark.parametrize(("source", "target"), PAIRS)


def _index(layout, *names):
    return [skeletons.get(layout).joints.index(name) for name in names]


@pairs
def test_a_map_follows_a_body_wherever_it_goes(source, target):
    """Weights sum to 1: a body that is moved or turned is mapped onto one that is moved or turned alike."""
    body = recording_files.standing(source) + np.random.default_rng(0).normal(0, 0.05, (5, 1, 1, 3))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    moved = skeletons.map_joints(body @ turn + 3, source, target)
    np.testing.assert_allclose(moved, skeletons.map_joints(body, source, target) @ turn + 3, atol=1e-9)
    assert moved.shape == (5, 1, skeletons.get(target).num_joints, 3)


@pairs
def test_sides_stay_on_their_sides(source, target):
    """A person who faces a camera has the left on the right; of one who faces a mirror the left is on the left."""
    known, wanted = skeletons.get(source), skeletons.get(target)
    body = recording_files.standing(source) * ([1, 1, 1] if known.is_mirrored else [-1, 1, 1])
    mapped = skeletons.map_joints(body, source, target)
    for left, right in wanted.left_right:
        assert (mapped[left, 0] < mapped[right, 0]) == wanted.is_mirrored, wanted.joints[left]
        np.testing.assert_allclose(mapped[left] * [-1, 1, 1], mapped[right], atol=1e-9)
    # From top to bottom, all are those of a person.
    heights = [mapped[_index(target, f"left_{name}"), 1].item() for name in ("shoulder", "hip", "knee")]
    assert mapped[wanted.head, 1] > heights[0] > heights[1] > heights[2] > mapped[list(wanted.feet), 1].max()


def test_hand_computed():
    source = "blazepose_33"
    body = np.random.default_rng(0).normal(size=(33, 3))
    mapped = skeletons.map_joints(body, source, "lcrnet_13")
    (head,) = _index("lcrnet_13", "head")
    np.testing.assert_allclose(mapped[head], body[_index(source, "left_ear", "right_ear")].mean(axis=0))
    np.testing.assert_allclose(mapped[_index("lcrnet_13", "left_knee")], body[_index(source, "left_knee")])
    mapped = skeletons.map_joints(body, source, "nite_15")  # left and right are exchanged
    trunk = body[_index(source, "left_hip", "right_hip", "left_shoulder", "right_shoulder")]
    np.testing.assert_allclose(mapped[_index("nite_15", "torso")[0]], trunk.mean(axis=0))
    np.testing.assert_allclose(mapped[_index("nite_15", "left_knee")], body[_index(source, "right_knee")])
    np.testing.assert_array_equal(
        skeletons.map_joints(body, source, "coco_17"),
        body[[0, 2, 5, 7, 8, *range(11, 17), *range(23, 29)]],
    )


def test_ways_that_lead_to_the_same_layout_agree():
    """Within a few centimetres: through another sensor or directly."""
    body = recording_files.standing("blazepose_33").astype(np.float64)
    for middle, target in itertools.product(("kinect_v1_20", "kinect_v2_25"), ("nite_15", "lcrnet_13")):
        around = skeletons.map_joints(skeletons.map_joints(body, "blazepose_33", middle), middle, target)
        apart = np.linalg.norm(around - skeletons.map_joints(body, "blazepose_33", target), axis=-1)
        assert apart.max() < 0.09, (middle, target, skeletons.get(target).joints[apart.argmax()])
        assert np.median(apart) < 0.03


@pytest.mark.parametrize("layout", ["kinect_v1_20", "nite_15"])
def test_there_and_back(layout):
    """A sensor's joints as another one's, and back again: they hardly move."""
    body = recording_files.standing("kinect_v2_25").astype(np.float64)
    body = skeletons.map_joints(body, "kinect_v2_25", layout)
    back = skeletons.map_joints(skeletons.map_joints(body, layout, "kinect_v2_25"), "kinect_v2_25", layout)
    apart = np.linalg.norm(back - body, axis=-1)
    assert apart.max() < 0.06, skeletons.get(layout).joints[apart.argmax()]
    assert np.median(apart) < 0.03


def test_confidence_is_the_least_of_the_joints_used():
    confidence = np.ones((2, 33), np.float32)
    confidence[0, _index("blazepose_33", "left_ear")] = 0.25
    confidence[1, _index("blazepose_33", "right_pinky")] = 0.0
    mapped = skeletons.map_confidence(confidence, "blazepose_33", "nite_15")
    expected = np.ones((2, 15))
    expected[0, _index("nite_15", "head")] = 0.25
    expected[1, _index("nite_15", "left_hand")] = 0.0
    np.testing.assert_array_equal(mapped, expected)


def test_the_same_layout_an_unknown_one_and_none():
    body = np.ones((2, 15, 3))
    assert skeletons.map_joints(body, "nite_15", "nite_15") is body
    assert skeletons.map_confidence(body[..., 0], "nite_15", "nite_15") is not None
    with pytest.raises(ValueError, match="no map from skeleton layout nite_15 onto kinect_v1_20, only onto kinect_v2"):
        skeletons.map_joints(body, "nite_15", "kinect_v1_20")
    with pytest.raises(ValueError, match="did you mean 'nite_15'"):
        skeletons.map_joints(body, "nite_15", "nite")
    with pytest.raises(ValueError, match=r"shape \(2, 15, 3\) does not have the 33 joints of layout blazepose_33"):
        skeletons.map_joints(body, "blazepose_33", "nite_15")


@pairs
def test_one_unknown_joint_spoils_only_what_is_made_of_it(source, target):
    body = recording_files.standing(source).copy()
    body[_index(source, "left_wrist" if target == "lcrnet_13" and source != "nite_15" else "left_elbow")] = np.nan
    spoilt = np.isnan(skeletons.map_joints(body, source, target)).any(axis=-1)
    hand = (source, target) == ("nite_15", "kinect_v2_25")  # whose hand and wrist are on the forearm's line
    assert 1 <= spoilt.sum() <= (5 if hand else 2)
