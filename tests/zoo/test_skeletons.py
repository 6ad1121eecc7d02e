"""Skeleton layouts: trees with consistent sides."""

import numpy as np
import pytest

from zoo import skeletons

layouts = pytest.mark.parametrize("layout", skeletons.LAYOUTS.values(), ids=skeletons.LAYOUTS)


@layouts
def test_bones_are_a_tree_over_all_joints(layout):
    parents = {child: parent for parent, child in layout.bones}
    assert len(parents) == len(layout.bones) == layout.num_joints - 1
    (top,) = set(range(layout.num_joints)) - set(parents)
    for joint in range(layout.num_joints):
        for _ in range(layout.num_joints):
            joint = parents.get(joint, top)
        assert joint == top


@layouts
def test_mirroring_swaps_sides_and_keeps_the_bones(layout):
    mirrored = np.array(layout.mirrored)
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(layout.num_joints))
    for joint, twin in zip(layout.joints, mirrored):
        sides = {"left": "right", "right": "left"}
        side = joint.partition("_")[0]
        assert layout.joints[twin] == joint.replace(side, sides[side], 1) if side in sides else joint
    bones = {frozenset(bone) for bone in layout.bones}
    assert {frozenset((mirrored[a], mirrored[b])) for a, b in layout.bones} == bones


def test_sizes_and_sensor_orders():
    """Positions that the datasets' documents state."""
    order = {name: layout.joints for name, layout in skeletons.LAYOUTS.items()}
    assert {name: len(joints) for name, joints in order.items()} == {
        "kinect_v1_20": 20,
        "kinect_v2_25": 25,
        "nite_15": 15,
        "lcrnet_13": 13,
    }
    assert order["kinect_v2_25"][20] == "spine_shoulder"  # NTU's 21st joint
    assert order["kinect_v2_25"][23] == "right_hand_tip"
    assert order["kinect_v1_20"][11] == "right_hand"
    assert order["lcrnet_13"][-1] == "head"
    assert order["nite_15"][2] == "torso"


def test_unknown_layout():
    with pytest.raises(ValueError, match="did you mean kinect_v2_25"):
        skeletons.get("kinect_v2")
