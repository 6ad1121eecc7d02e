"""Bones and motions, against the layouts' bones."""

import numpy as np
import pytest

from zoo import skeletons
from zoo.skeleton_streams import STREAMS, SkeletonStreams

LAYOUT = "lcrnet_13"


@pytest.mark.parametrize("streams", [("joint",), ("bone",), ("joint_motion",), ("bone_motion",), STREAMS])
def test_streams(streams):
    pose = np.random.default_rng(0).normal(size=(2, 3, 2, 13, 3)).astype("float32")
    bones, layout = np.zeros_like(pose), skeletons.get(LAYOUT)
    for parent, child in layout.bones:
        bones[:, :, :, child] = pose[:, :, :, child] - pose[:, :, :, parent]
    expected = {"joint": pose, "bone": bones}
    for name in ("joint", "bone"):
        motion = np.zeros_like(pose)
        motion[:, :-1] = expected[name][:, 1:] - expected[name][:, :-1]
        expected[f"{name}_motion"] = motion
    found = SkeletonStreams(LAYOUT, streams)(pose)
    expected = np.concatenate([expected[stream] for stream in streams], axis=-1)
    np.testing.assert_allclose(found, expected.reshape(2, 3, 26, 3 * len(streams)), atol=1e-6)
