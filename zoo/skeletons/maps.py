"""Maps the joints of one layout onto another: a network trained on one sensor then runs on poses of another source.

A joint of the target is a weighted mean of joints of the source. Sensors and estimators put joints of the same name at
different points of the body: Kinect's first version has its hips above the hip joints, and both versions have them
nearer to each other. The weights correct the differences that are the same in all persons.

Depth sensors deliver a mirror image (``Layout.is_mirrored``), cameras do not. A map between the two exchanges left and
right: a person in a camera's picture becomes the person for whom a sensor, which mirrors, would deliver the same
picture. Without the exchange, knees would bend forwards, while the network has learned that they bend backwards.

Example:
    >>> import numpy as np
    >>> pose = np.zeros((33, 3))
    >>> blazepose = layouts.get("blazepose_33").joints
    >>> pose[blazepose.index("left_ear")] = 0.1, 1.6, 2.0
    >>> pose[blazepose.index("right_ear")] = -0.1, 1.6, 2.0
    >>> map_joints(pose, "blazepose_33", "lcrnet_13")[layouts.get("lcrnet_13").head]
    array([0. , 1.6, 2. ])
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from zoo.skeletons import layouts

if TYPE_CHECKING:
    import numpy as np

# Joint of the target: weights and joints of the source, whose weighted sum it is. A joint of the target that is missing
# here is the source's joint of the same name.
# "side_" stands for left_ and right_, each with "other_" for the other side; "hips" for the mean of both, and so on.
#
# The weights follow from body proportions, medians of upright frames: N-UCLA for Kinect's first version, NTU for its
# second, SBU for NITE, and MediaPipe's estimates of films. Heights above MediaPipe's hips, as fractions of the distance
# from the middle of its hips to that of its shoulders:
#
#     height         hips  hip centre  spine  shoulders  shoulder centre  neck  head (ears)
#     kinect_v1_20   0.13        0.26   0.39       0.86             1.04        1.36
#     kinect_v2_25   0           0      0.57       0.92             1.00  1.15  1.36
#     nite_15        0                  0.50       1.00                   1.00  1.36
#
# Kinect's hips are 0.6 (first version) and 0.54 (second) times as far from each other as MediaPipe's, and its second
# version has knees and ankles higher. The distance of a hand from the elbow, in lengths of the forearm, is 1.33 (first
# version), 1.26 (second) and 1.4 (NITE); that of MediaPipe's knuckles is 1.26.
_Map = dict[str, str]
_PAIRS = {"hips": "hip", "shoulders": "shoulder", "ears": "ear"}
_HEAD: _Map = {"head": "1 ears"}
_BEYOND_WRISTS: _Map = {"side_hand": "1.3 side_wrist -0.3 side_elbow"}
_BETWEEN: _Map = {"neck": "1 shoulders", "torso": "0.5 hips 0.5 shoulders"}
_FROM_KINECT_V1: _Map = {
    "side_shoulder": "1.12 side_shoulder 0.07 other_shoulder -0.19 hips",
    "side_hip": "1.43 side_hip -0.25 other_hip -0.18 shoulders",
}
_FROM_KINECT_V2: _Map = {
    "side_shoulder": "1.11 side_shoulder -0.03 other_shoulder -0.08 hips",
    "side_hip": "1.42 side_hip -0.42 other_hip",
    "side_knee": "1.14 side_knee -0.14 side_hip",
    "side_ankle": "1.15 side_ankle -0.15 side_knee",
}

_MAPS: dict[tuple[str, str], _Map] = {
    ("blazepose_33", "coco_17"): {},
    ("blazepose_33", "kinect_v1_20"): {
        **_HEAD,
        "hip_centre": "0.74 hips 0.26 shoulders",
        "spine": "0.61 hips 0.39 shoulders",
        "shoulder_centre": "-0.04 hips 1.04 shoulders",
        "side_shoulder": "0.9 side_shoulder -0.04 other_shoulder 0.14 hips",
        "side_hip": "0.735 side_hip 0.135 other_hip 0.13 shoulders",
        "side_hand": "-0.25 side_wrist 0.625 side_index 0.625 side_pinky",
        "side_foot": "0.4 side_ankle 0.6 side_foot_index",
    },
    ("blazepose_33", "kinect_v2_25"): {
        **_HEAD,
        "spine_base": "1 hips",
        "spine_mid": "0.43 hips 0.57 shoulders",
        "spine_shoulder": "1 shoulders",
        "neck": "-0.15 hips 1.15 shoulders",
        "side_shoulder": "0.89 side_shoulder 0.03 other_shoulder 0.08 hips",
        "side_hand": "0.5 side_index 0.5 side_pinky",
        "side_hand_tip": "-0.8 side_wrist 0.9 side_index 0.9 side_pinky",
        "side_thumb": "-0.5 side_wrist 1 side_index 0.5 side_thumb",
        "side_hip": "0.77 side_hip 0.23 other_hip",
        "side_knee": "0.12 side_hip 0.88 side_knee",
        "side_ankle": "0.13 side_knee 0.87 side_ankle",
        "side_foot": "0.13 side_knee 0.07 side_ankle 0.8 side_foot_index",
    },
    ("blazepose_33", "lcrnet_13"): _HEAD,
    ("blazepose_33", "nite_15"): {
        **_HEAD,
        **_BETWEEN,
        "side_hand": "-0.5 side_wrist 0.75 side_index 0.75 side_pinky",
        "side_foot": "0.5 side_ankle 0.25 side_heel 0.25 side_foot_index",
    },
    ("coco_17", "lcrnet_13"): _HEAD,
    ("coco_17", "nite_15"): {**_HEAD, **_BEYOND_WRISTS, **_BETWEEN, "side_foot": "1 side_ankle"},
    ("kinect_v1_20", "lcrnet_13"): _FROM_KINECT_V1,
    ("kinect_v1_20", "nite_15"): {
        **_FROM_KINECT_V1,
        "neck": "1.19 shoulders -0.19 hips",
        "torso": "0.49 hips 0.51 shoulders",
        "side_foot": "0.5 side_ankle 0.5 side_foot",
    },
    ("kinect_v1_20", "kinect_v2_25"): {
        # Hand tips and thumbs lie on the forearm's line: where a thumb points is not known.
        "spine_base": "1.18 hips -0.18 shoulders",
        "spine_mid": "0.72 spine 0.28 shoulder_centre",
        "spine_shoulder": "1.19 shoulders -0.19 hips",
        "neck": "0.66 shoulder_centre 0.34 head",
        "side_shoulder": "0.99 side_shoulder 0.09 other_shoulder -0.08 hips",
        "side_hand": "0.21 side_wrist 0.79 side_hand",
        "side_hand_tip": "-0.42 side_wrist 1.42 side_hand",
        "side_thumb": "0.21 side_wrist 0.79 side_hand",
        "side_hip": "1.04 side_hip 0.14 other_hip -0.18 shoulders",
        "side_knee": "0.88 side_knee 0.17 side_hip -0.03 other_hip -0.02 shoulders",
        "side_ankle": "0.13 side_knee 0.87 side_ankle",
        "side_foot": "0.13 side_knee -0.46 side_ankle 1.33 side_foot",
    },
    ("kinect_v2_25", "kinect_v1_20"): {
        **_FROM_KINECT_V2,
        "hip_centre": "0.54 spine_base 0.46 spine_mid",
        "spine": "0.32 spine_base 0.68 spine_mid",
        "shoulder_centre": "0.7 spine_shoulder 0.3 neck",
        "side_shoulder": "1 side_shoulder -0.07 other_shoulder 0.07 hips",
        "side_hip": "0.9 side_hip -0.04 other_hip 0.14 shoulders",
        "side_foot": "-0.15 side_knee 0.4 side_ankle 0.75 side_foot",
    },
    ("kinect_v2_25", "lcrnet_13"): _FROM_KINECT_V2,
    ("kinect_v2_25", "nite_15"): {
        **_FROM_KINECT_V2,
        "neck": "1.08 shoulders -0.08 hips",
        "torso": "0.46 hips 0.54 shoulders",
        "side_hand": "0.4 side_hand 0.6 side_hand_tip",
    },
    ("lcrnet_13", "nite_15"): {**_BEYOND_WRISTS, **_BETWEEN, "side_foot": "1 side_ankle"},
    ("nite_15", "kinect_v2_25"): {
        "spine_base": "1 hips",
        "spine_mid": "0.86 torso 0.14 shoulders",
        "spine_shoulder": "1 shoulders",
        "neck": "0.58 neck 0.42 head",
        "side_shoulder": "0.89 side_shoulder 0.03 other_shoulder 0.08 hips",
        "side_wrist": "0.25 side_elbow 0.75 side_hand",
        "side_hand": "0.05 side_elbow 0.95 side_hand",
        "side_hand_tip": "-0.1 side_elbow 1.1 side_hand",
        "side_thumb": "0.05 side_elbow 0.95 side_hand",  # as above
        "side_hip": "0.77 side_hip 0.23 other_hip",
        "side_knee": "0.12 side_hip 0.88 side_knee",
        "side_ankle": "0.13 side_knee 0.87 side_foot",
        "side_foot": "1 side_foot",
    },
    ("nite_15", "lcrnet_13"): {"side_wrist": "0.25 side_elbow 0.75 side_hand", "side_ankle": "1 side_foot"},
}


def targets(source: str) -> tuple[str, ...]:
    """Names of the layouts that joints of a layout can be mapped onto, besides itself, sorted."""
    return tuple(sorted(target for known, target in _MAPS if known == source))


def map_joints(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """The joints of one layout from those of another.

    Args:
        values: ``[..., J, D]`` coordinates of any kind. Zeros count as a point like any other; a person whose joints
            are all zeros stays all zeros.
        source: Name of the layout of ``values``.
        target: Name of the layout wanted.

    Returns:
        ``[..., J', D]``; ``values`` themselves if the layouts are the same.

    Raises:
        ValueError: There is no map between the two layouts; the message lists the possible targets.
    """
    import numpy as np

    values = _checked(values, -2, source)
    if source == target:
        return values
    columns = [
        sum((weight * values[..., joint, :] for joint, weight in means[1:]), means[0][1] * values[..., means[0][0], :])
        for means in _means(source, target)
    ]
    return np.stack(columns, axis=-2).astype(values.dtype if values.dtype.kind == "f" else np.float64)


def map_weights(source: str, target: str) -> np.ndarray:
    """The matrix of :func:`map_joints`: ``[J', J]`` float32, a joint of the target is a row's weighted sum of joints.

    Args:
        source: Name of the layout that is mapped.
        target: Name of the layout wanted.

    Raises:
        ValueError: As :func:`map_joints`.

    Example:
        >>> map_weights("nite_15", "lcrnet_13").shape
        (13, 15)
    """
    import numpy as np

    return map_joints(np.eye(layouts.get(source).num_joints, dtype=np.float32), source, target)


def map_confidence(confidence: np.ndarray, source: str, target: str) -> np.ndarray:
    """Confidences of the joints of :func:`map_joints`: the least confidence of the joints that each is a mean of.

    Args:
        confidence: ``[..., J]``.
        source: Name of the layout of ``confidence``.
        target: Name of the layout wanted.

    Returns:
        ``[..., J']``.

    Raises:
        ValueError: As :func:`map_joints`.
    """
    import numpy as np

    confidence = _checked(confidence, -1, source)
    if source == target:
        return confidence
    used = [[joint for joint, _ in means] for means in _means(source, target)]
    return np.stack([confidence[..., joints].min(axis=-1) for joints in used], axis=-1)


def _checked(values, axis, source):
    import numpy as np  # in functions, not at the top: NumPy takes longer to import than the zoo

    values, joints = np.asarray(values), layouts.get(source).num_joints
    if values.ndim < -axis or values.shape[axis] != joints:
        raise ValueError(f"an array of shape {values.shape} does not have the {joints} joints of layout {source}")
    return values


@functools.cache
def _means(source, target):
    """For each joint of the target: ``((joint of the source, weight), ...)``."""
    known, wanted = layouts.get(source), layouts.get(target)
    if (source, target) not in _MAPS:
        there = ", ".join(targets(source)) or "no other"
        raise ValueError(f"no map from skeleton layout {source} onto {target}, only onto {there}")
    joints = wanted.joints
    if known.is_mirrored != wanted.is_mirrored:
        joints = [joints[twin] for twin in wanted.mirrored]
    return tuple(_mean(joint, _MAPS[source, target], known) for joint in joints)


def _mean(joint, texts, known):
    side, _, name = joint.partition("_")
    sided = side in ("left", "right")
    text = texts.get(f"side_{name}" if sided else joint, f"1 {joint}").split()
    other = {"left": "right", "right": "left"}.get(side, side)
    weights: dict[int, float] = {}
    for weight, term in zip(text[::2], text[1::2]):
        both = [f"left_{_PAIRS[term]}", f"right_{_PAIRS[term]}"] if term in _PAIRS else [term]
        for name in both:
            name = name.replace("side_", f"{side}_").replace("other_", f"{other}_")
            index = known.joints.index(name)
            weights[index] = weights.get(index, 0.0) + float(weight) / len(both)
    return tuple(weights.items())
