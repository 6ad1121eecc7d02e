"""Skeleton layouts: the joints a pose sensor or estimator delivers, in its own order.

A layout states which joints are connected, which are left and right, which are the hands, and which points span the
body's coordinate system (PhD20 section 3.3.1). A point that a sensor does not deliver is the mean of joints that it
does deliver, so points are tuples of joint indices.

Example:
    >>> layout = get("nite_15")
    >>> [layout.joints[joint] for joint in layout.hip_centre]
    ['left_hip', 'right_hip']
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection
from typing import Literal, get_args

from zoo.shared import messages

JointOrder = Literal["topological_doubles", "topological", "random"]
JOINT_ORDERS: tuple[JointOrder, ...] = get_args(JointOrder)  # BMVC18 table 3
Part = Literal["full_body", "left_hand", "right_hand", "full_image"]
PARTS: tuple[Part, ...] = get_args(Part)  # body parts that are cut out of a video
FULL_IMAGE: Part = "full_image"  # the part that is the whole frame, in its own proportions


def input_name(part: str) -> str:
    """Name of the model input for a body part's pictures: ``rgb`` for the full body, else ``rgb_<part>``."""
    return "rgb" if part == "full_body" else f"rgb_{part}"


def parts_of(inputs: Collection[str]) -> tuple[Part, ...]:
    """The body parts whose pictures are among inputs of these names, in the order of :data:`PARTS`.

    Example:
        >>> parts_of({"rgb_left_hand", "pose", "rgb"})
        ('full_body', 'left_hand')
    """
    return tuple(part for part in PARTS if input_name(part) in inputs)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The joints of one sensor.

    Attributes:
        name: The layout's name.
        joints: Joint names in the sensor's order.
        bones: Pairs of connected joints, ``(parent, child)``; a tree that spans all joints.
        left_right: Pairs ``(left, right)`` of mirrored joints.
        root: The joint whose position in frame 0 is the origin in the original works.
        hip_centre: Joints whose mean is the centre of the hips.
        left_hip: Left hip joint.
        right_hip: Right hip joint.
        spine_base: Joints whose mean is the lower end of the spine.
        spine: Joints whose mean is the middle of the spine (upper body where no spine is measured).
        left_hand: Joint at the centre of the left-hand crop.
        right_hand: Joint at the centre of the right-hand crop.
        is_mirrored: Whether the sensor delivers a mirror image: for a person who faces the sensor, the joints named
            left are on the left, in the sensor's pictures and at smaller x. (In a camera's picture they are on the
            right.)
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    left_right: tuple[tuple[int, int], ...]
    root: int
    hip_centre: tuple[int, ...]
    left_hip: int
    right_hip: int
    spine_base: tuple[int, ...]
    spine: tuple[int, ...]
    left_hand: int
    right_hand: int
    is_mirrored: bool = False

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.joints)

    @property
    def head(self) -> int:
        """Joint of the head, or the nose where no head is measured."""
        return self.joints.index("head" if "head" in self.joints else "nose")

    @property
    def feet(self) -> tuple[int, ...]:
        """Lowest joints of both legs: the feet, or the ankles where no feet are measured."""
        for name in ("foot", "foot_index", "ankle"):
            found = tuple(i for i, joint in enumerate(self.joints) if joint in (f"left_{name}", f"right_{name}"))
            if found:
                return found
        raise ValueError(f"layout {self.name} has neither feet nor ankles")

    @property
    def mirrored(self) -> tuple[int, ...]:
        """Joint order after a horizontal flip: index of each joint's mirror image (itself on the body's axis)."""
        order = list(range(self.num_joints))
        for left, right in self.left_right:
            order[left], order[right] = right, left
        return tuple(order)

    @property
    def tour(self) -> tuple[int, ...]:
        """A closed walk along the bones to every joint and back: the topological order with doubles of BMVC18.

        The last joint of the tour is a neighbour of the first. Joints of a limb come twice, on the way out and on the
        way back; ends (hand tips, feet, head) once; a joint where limbs meet, once per limb. So a narrow convolution
        along the tour covers connected joints, a wide one limbs and body parts.

        The paper states the length for the 25 joints of Kinect v2, 50, but not the walk. A walk over a tree that
        passes every one of its 24 bones once in each direction has 48 steps in any order, so the paper's walk passes
        one bone twice as often. Here it starts at the middle of the spine (or at the root, if no joint lies on the
        spine) and makes three loops: head and arms, the leg that the layout lists first, the other leg. The bones in
        both legs' loops, for Kinect v2 the one from spine_mid to spine_base, make it 50. Other layouts follow the same
        rule.

        Example:
            >>> {name: len(layout.tour) for name, layout in LAYOUTS.items()}
            {'kinect_v1_20': 40, 'kinect_v2_25': 50, 'nite_15': 28, 'lcrnet_13': 28, 'blazepose_33': 68, 'coco_17': 36}
        """
        centre = self.spine[0] if len(self.spine) == 1 else self.root
        parents = {parent for parent, _ in self.bones}
        ends = [child for _, child in self.bones if child not in parents]
        hips = {end: {self.left_hip, self.right_hip} & set(self._path(centre, end)) for end in ends}
        stops = [centre, *(end for end in ends if not hips[end]), centre]
        for leg in dict.fromkeys(hip for end in ends for hip in hips[end]):
            stops += [*(end for end in ends if leg in hips[end]), centre]
        return tuple(joint for a, b in zip(stops, stops[1:]) for joint in self._path(a, b)[:-1])

    def joint_order(self, order: str) -> tuple[int, ...]:
        """Joints in an order for a convolution along them.

        Args:
            order: ``topological_doubles``: the ``tour``. ``topological``: every joint once, in the order of the
                tour. ``random``: every joint once, in a random order that is the same in every process.

        Returns:
            Joint indices.

        Example:
            >>> [get("nite_15").joints[joint] for joint in get("nite_15").joint_order("topological")[:5]]
            ['torso', 'neck', 'head', 'left_shoulder', 'left_elbow']
        """
        if order == "topological_doubles":
            return self.tour
        if order == "topological":
            return tuple(dict.fromkeys(self.tour))
        draw = random.Random(0).random  # the one random function that Python promises never to change
        return tuple(sorted(range(self.num_joints), key=lambda joint: draw()))

    def _path(self, start, end):
        """Joints from ``start`` to ``end`` along the bones, both included."""
        parents = {child: parent for parent, child in self.bones}

        def to_the_top(joint):
            joints = [joint]
            while joints[-1] in parents:
                joints.append(parents[joints[-1]])
            return joints

        up, down = to_the_top(start), to_the_top(end)
        while up[-2:-1] == down[-2:-1] != []:  # common joints, except the last of them
            up.pop()
            down.pop()
        return up + down[:-1][::-1]


def _layout(name, joints, bones, *, root, hip_centre, spine_base, spine, hands="hand", is_mirrored=False):
    """A layout from joint and bone names; ``left_x``/``right_x`` names make the mirrored pairs."""
    joints = tuple(joints.split())
    index = {joint: i for i, joint in enumerate(joints)}

    def point(names):
        return tuple(index[n] for n in names.split())

    return Layout(
        name=name,
        joints=joints,
        bones=tuple(tuple(index[end] for end in bone.split("-")) for bone in bones.split()),
        left_right=tuple((i, index["right_" + j[5:]]) for i, j in enumerate(joints) if j.startswith("left_")),
        root=index[root],
        hip_centre=point(hip_centre),
        left_hip=index["left_hip"],
        right_hip=index["right_hip"],
        spine_base=point(spine_base),
        spine=point(spine),
        left_hand=index[f"left_{hands}"],
        right_hand=index[f"right_{hands}"],
        is_mirrored=is_mirrored,
    )


# Kinect for Windows SDK 1.x, NUI_SKELETON_POSITION order: Northwestern-UCLA, MSR Daily Activity 3D.
_KINECT_V1 = _layout(
    "kinect_v1_20",
    "hip_centre spine shoulder_centre head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot",
    "hip_centre-spine spine-shoulder_centre shoulder_centre-head "
    "shoulder_centre-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist left_wrist-left_hand "
    "shoulder_centre-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist right_wrist-right_hand "
    "hip_centre-left_hip left_hip-left_knee left_knee-left_ankle left_ankle-left_foot "
    "hip_centre-right_hip right_hip-right_knee right_knee-right_ankle right_ankle-right_foot",
    root="hip_centre",
    hip_centre="hip_centre",
    spine_base="hip_centre",
    spine="spine",
    is_mirrored=True,
)

# Kinect for Windows SDK 2.0, JointType order: NTU RGB+D 60 and 120.
_KINECT_V2 = _layout(
    "kinect_v2_25",
    "spine_base spine_mid neck head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
    "spine_shoulder left_hand_tip left_thumb right_hand_tip right_thumb",
    "spine_base-spine_mid spine_mid-spine_shoulder spine_shoulder-neck neck-head "
    "spine_shoulder-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist left_wrist-left_hand "
    "left_hand-left_hand_tip left_wrist-left_thumb "
    "spine_shoulder-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist right_wrist-right_hand "
    "right_hand-right_hand_tip right_wrist-right_thumb "
    "spine_base-left_hip left_hip-left_knee left_knee-left_ankle left_ankle-left_foot "
    "spine_base-right_hip right_hip-right_knee right_knee-right_ankle right_ankle-right_foot",
    root="spine_base",
    hip_centre="spine_base",
    spine_base="spine_base",
    spine="spine_mid",
    is_mirrored=True,
)

# OpenNI/NITE tracker, in the order of SBU Kinect Interaction. CAD-60/120 files order the same joints differently;
# their converter reorders them. NITE calls left what is on the left of its picture of a person who faces the sensor.
# This was measured in SBU, and agrees with programs that exchange NITE's joints to get the user's own left; no file of
# CAD could be measured.
_NITE = _layout(
    "nite_15",
    "head neck torso left_shoulder left_elbow left_hand right_shoulder right_elbow right_hand "
    "left_hip left_knee left_foot right_hip right_knee right_foot",
    "torso-neck neck-head neck-left_shoulder left_shoulder-left_elbow left_elbow-left_hand "
    "neck-right_shoulder right_shoulder-right_elbow right_elbow-right_hand "
    "torso-left_hip left_hip-left_knee left_knee-left_foot torso-right_hip right_hip-right_knee right_knee-right_foot",
    root="torso",
    hip_centre="left_hip right_hip",
    spine_base="left_hip right_hip",
    spine="torso",
    is_mirrored=True,
)

# LCR-Net++ 3D poses of Toyota Smarthome. No joint lies on the spine: the hips' and shoulders' means stand in.
_LCRNET = _layout(
    "lcrnet_13",
    "right_ankle left_ankle right_knee left_knee right_hip left_hip right_wrist left_wrist right_elbow left_elbow "
    "right_shoulder left_shoulder head",
    "head-right_shoulder head-left_shoulder right_shoulder-right_elbow right_elbow-right_wrist "
    "left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-right_hip left_shoulder-left_hip "
    "right_hip-right_knee right_knee-right_ankle left_hip-left_knee left_knee-left_ankle",
    root="head",
    hip_centre="right_hip left_hip",
    spine_base="right_hip left_hip",
    spine="right_shoulder left_shoulder",
    hands="wrist",
)

# MediaPipe's Pose Landmarker (BlazePose), in its order. As with LCR-Net++, no joint lies on the spine. Of a hand's
# joints, the index finger's knuckle lies nearest to the hand's centre.
_BLAZEPOSE = _layout(
    "blazepose_33",
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "left_mouth right_mouth left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist "
    "left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee "
    "left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index",
    "nose-left_eye_inner left_eye_inner-left_eye left_eye-left_eye_outer left_eye_outer-left_ear "
    "nose-right_eye_inner right_eye_inner-right_eye right_eye-right_eye_outer right_eye_outer-right_ear "
    "nose-left_mouth nose-right_mouth "
    "nose-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist "
    "left_wrist-left_pinky left_wrist-left_index left_wrist-left_thumb "
    "nose-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist "
    "right_wrist-right_pinky right_wrist-right_index right_wrist-right_thumb "
    "left_shoulder-left_hip left_hip-left_knee left_knee-left_ankle left_ankle-left_heel left_ankle-left_foot_index "
    "right_shoulder-right_hip right_hip-right_knee right_knee-right_ankle right_ankle-right_heel "
    "right_ankle-right_foot_index",
    root="nose",
    hip_centre="left_hip right_hip",
    spine_base="left_hip right_hip",
    spine="left_shoulder right_shoulder",
    hands="index",
)

# The keypoints of COCO, in its order: most estimators of 2D poses deliver these.
_COCO = _layout(
    "coco_17",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
    "nose-left_eye left_eye-left_ear nose-right_eye right_eye-right_ear "
    "nose-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist "
    "nose-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist "
    "left_shoulder-left_hip left_hip-left_knee left_knee-left_ankle "
    "right_shoulder-right_hip right_hip-right_knee right_knee-right_ankle",
    root="nose",
    hip_centre="left_hip right_hip",
    spine_base="left_hip right_hip",
    spine="left_shoulder right_shoulder",
    hands="wrist",
)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (_KINECT_V1, _KINECT_V2, _NITE, _LCRNET, _BLAZEPOSE, _COCO)
}


def get(name: str) -> Layout:
    """The layout of that name.

    Args:
        name: A key of :data:`LAYOUTS`.

    Returns:
        A :class:`Layout`.

    Raises:
        ValueError: No such layout; the message lists the valid names and the nearest.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    raise ValueError(f"unknown skeleton layout {name!r}{messages.nearest(name, LAYOUTS)}")
