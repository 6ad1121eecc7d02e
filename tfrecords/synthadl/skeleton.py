"""The joints of a person, from the trunk's posture and the targets of the hands."""

from __future__ import annotations

import numpy as np

from tfrecords.synthadl.geometry import rotation, unit
from tfrecords.synthadl.people import Subject
from zoo import skeletons

LAYOUT = skeletons.get("kinect_v2_25")
JOINTS = {name: index for index, name in enumerate(LAYOUT.joints)}


def assemble(person: Subject, trunk: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> np.ndarray:
    """All joints ``[T, 25, 3]`` from the trunk and where the hands go ``{side: [T, 3]}``; feet stay where they are."""
    bones = person.bones
    joints = dict(trunk)
    for side, sign in (("left", -1), ("right", 1)):
        arm = _arm(bones, joints[f"{side}_shoulder"], targets[side], sign)
        names = (f"{side}_{part}" for part in ("elbow", "wrist", "hand", "hand_tip", "thumb"))
        joints.update(zip(names, arm))
        hip = joints[f"{side}_hip"]
        ankle = np.broadcast_to([sign * (bones["hip"] + 0.03), bones["ankle"], 0.0], hip.shape)
        knee, ankle = _two_bones(hip, ankle, bones["thigh"], bones["shank"], np.array([sign * 0.2, 0.1, -1.0]))
        toes = ankle + np.array([sign * 0.25, -0.3, -0.9]) * bones["foot"]
        joints.update({f"{side}_knee": knee, f"{side}_ankle": ankle, f"{side}_foot": toes})
    return np.stack([joints[name] for name in LAYOUT.joints], axis=1)


def trunk(
    bones: dict[str, float],
    pelvis: np.ndarray,
    lean: np.ndarray,
    twist: np.ndarray,
    head_pitch: np.ndarray,
    head_yaw: np.ndarray,
) -> dict[str, np.ndarray]:
    """Trunk, neck and head ``{joint: [T, 3]}``; angles ``[T]`` in radians, forward and to the person's left positive.

    The lower spine leans by half of ``lean``, the trunk above it by all of it.
    """
    lower = rotation(0, -lean / 2)
    upper = rotation(1, twist) @ rotation(0, -lean)
    head = upper @ rotation(1, head_yaw) @ rotation(0, -head_pitch)
    joints = {"spine_base": pelvis, "spine_mid": pelvis + _turn(lower, (0, bones["loin"], 0))}
    joints["spine_shoulder"] = joints["spine_mid"] + _turn(upper, (0, bones["chest"], 0))
    joints["neck"] = joints["spine_shoulder"] + _turn(upper, (0, bones["neck"], 0))
    joints["head"] = joints["neck"] + _turn(head, (0, bones["head"], -0.015))
    for side, sign in (("left", -1), ("right", 1)):
        joints[f"{side}_shoulder"] = joints["spine_shoulder"] + _turn(upper, (sign * bones["shoulder"], -0.03, 0))
        joints[f"{side}_hip"] = pelvis + np.array([sign * bones["hip"], -0.04, 0])
    return joints


def _arm(bones, shoulder, target, sign):
    """Elbow, wrist, hand, hand tip and thumb of one arm, each ``[T, 3]``; ``sign`` is -1 for the left arm."""
    length = bones["forearm"] + bones["palm"]  # the hand goes on in the forearm's direction
    pole = np.array([sign * 0.6, -1.0, 0.35])  # elbows point down, outwards and a little back
    elbow, hand = _two_bones(shoulder, target, bones["upper_arm"], length, pole)
    along = unit(hand - elbow)
    towards = np.array([-sign * 0.25, 0.7, 0.35])
    thumb = unit(towards - np.sum(towards * along, axis=-1, keepdims=True) * along)
    wrist = elbow + bones["forearm"] * along
    tip = hand + bones["fingers"] * along
    return elbow, wrist, hand, tip, wrist + bones["thumb"] * unit(0.8 * along + 0.6 * thumb)


def _two_bones(start, target, first, second, pole):
    """Inverse kinematics of a limb of two bones.

    Args:
        start: ``[T, 3]``, the shoulder or hip.
        target: ``[T, 3]``, where the limb's end should be; out of reach, the limb stretches towards it.
        first: Length of the first bone.
        second: Length of the second bone.
        pole: ``[T, 3]`` or ``[3]``, the direction the elbow or knee points to.

    Returns:
        Elbow or knee ``[T, 3]`` and end ``[T, 3]``.
    """
    along = unit(target - start)
    reach = np.linalg.norm(target - start, axis=-1, keepdims=True)
    reach = np.clip(reach, abs(first - second) + 0.01, (first + second) * 0.998)
    aside = unit(pole - np.sum(pole * along, axis=-1, keepdims=True) * along)
    cosine = (first**2 + reach**2 - second**2) / (2 * first * reach)
    middle = start + first * (cosine * along + np.sqrt(1 - cosine**2) * aside)
    return middle, start + reach * along


def _turn(matrices, vector):
    """Vector ``[3]`` turned by rotations ``[T, 3, 3]``: ``[T, 3]``."""
    return matrices @ np.asarray(vector, float)
