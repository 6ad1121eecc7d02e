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


@layouts
def test_tour_is_a_closed_walk_along_the_bones(layout):
    tour = layout.tour
    print(f"{layout.name} ({len(tour)}): {' '.join(layout.joints[joint] for joint in tour)}")
    steps = list(zip(tour, (*tour[1:], tour[0])))
    bones = {frozenset(bone) for bone in layout.bones}
    assert {frozenset(step) for step in steps} == bones, "every step is a bone, and every bone is walked"
    assert all(steps.count((a, b)) == steps.count((b, a)) for a, b in steps)
    assert set(tour) == set(range(layout.num_joints))
    limbs = ("left_elbow", "right_elbow", "left_knee", "right_knee")
    assert [tour.count(layout.joints.index(joint)) for joint in limbs] == [2, 2, 2, 2]


def test_length_of_the_tour():
    """BMVC18: 20 x 300 x 3 values, of two persons with three coordinates of 50 joints each."""
    lengths = {name: len(layout.tour) for name, layout in skeletons.LAYOUTS.items()}
    sensors = {"kinect_v1_20": 40, "kinect_v2_25": 50, "nite_15": 28, "lcrnet_13": 28}
    assert lengths == {**sensors, "blazepose_33": 68, "coco_17": 36}


@layouts
def test_orders_without_doubles(layout):
    topological, random = layout.joint_order("topological"), layout.joint_order("random")
    assert sorted(topological) == sorted(random) == list(range(layout.num_joints))
    assert layout.joint_order("topological_doubles") == layout.tour
    seen = [joint for i, joint in enumerate(layout.tour) if joint not in layout.tour[:i]]
    assert list(topological) == seen
    assert random not in (topological, tuple(range(layout.num_joints)))


def test_the_random_order_is_the_same_in_every_process():
    assert skeletons.get("lcrnet_13").joint_order("random") == (3, 12, 7, 5, 2, 8, 11, 4, 9, 1, 6, 0, 10)


def test_sizes_and_sensor_orders():
    """Positions that the datasets' documents state."""
    order = {name: layout.joints for name, layout in skeletons.LAYOUTS.items()}
    assert {name: len(joints) for name, joints in order.items()} == {
        "kinect_v1_20": 20,
        "kinect_v2_25": 25,
        "nite_15": 15,
        "lcrnet_13": 13,
        "blazepose_33": 33,
        "coco_17": 17,
    }
    assert order["kinect_v2_25"][20] == "spine_shoulder"  # NTU's 21st joint
    assert order["kinect_v2_25"][23] == "right_hand_tip"
    assert order["kinect_v1_20"][11] == "right_hand"
    assert order["lcrnet_13"][-1] == "head"
    assert order["nite_15"][2] == "torso"
    assert order["blazepose_33"][15] == "left_wrist"
    assert order["blazepose_33"][32] == "right_foot_index"
    assert order["coco_17"][16] == "right_ankle"


def test_unknown_layout():
    with pytest.raises(ValueError, match="did you mean 'kinect_v2_25'"):
        skeletons.get("kinect_v2")
