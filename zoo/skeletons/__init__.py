"""Skeletons: layouts of joints, and maps from one layout onto another.

* :mod:`~zoo.skeletons.layouts`: the joints that a sensor or an estimator delivers.
* :mod:`~zoo.skeletons.maps`: the joints of one layout, computed from those of another.

Example:
    >>> from zoo import skeletons
    >>> layout = skeletons.get("kinect_v1_20")
    >>> layout.num_joints, layout.joints[layout.left_hand]
    (20, 'left_hand')
    >>> skeletons.targets("kinect_v1_20")
    ('kinect_v2_25', 'lcrnet_13', 'nite_15')
"""

from zoo.skeletons.layouts import (
    FULL_IMAGE,
    JOINT_ORDERS,
    LAYOUTS,
    PARTS,
    JointOrder,
    Layout,
    Part,
    get,
    input_name,
    parts_of,
)
from zoo.skeletons.maps import map_confidence, map_joints, map_weights, targets

__all__ = [
    "FULL_IMAGE",
    "JOINT_ORDERS",
    "LAYOUTS",
    "PARTS",
    "JointOrder",
    "Layout",
    "Part",
    "get",
    "input_name",
    "map_confidence",
    "map_joints",
    "map_weights",
    "parts_of",
    "targets",
]
