"""Poses that cannot be right are converted and read with one line on stderr; those that may be right without one."""

import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords import convert, inspect
from tfrecords.converting import plausibility, shards, writer
from tfrecords.datasets import folder, msr_daily, ntu, nucla, sbu
from zoo import skeletons

# Each of them cannot be right, and what the warning says of it.
FAULTS = {
    "millimetres": (lambda xyz: xyz * 1000, "multiply xyz by 0.001 (they look like millimetres)"),
    "centimetres": (lambda xyz: xyz * 100, "multiply xyz by 0.01 (they look like centimetres)"),
    "pixels": (lambda xyz: xyz * 300, "give xyz in metres, a person measures 0.4 to 3 m"),
    "far": (lambda xyz: xyz + np.float32([500, 0, 0]), "give xyz in the camera's coordinates"),
    "y down": (lambda xyz: xyz * np.float32([1, -1, 1]), "y must point upwards, multiply it by -1"),
    "z up": (lambda xyz: _z_up(xyz), "give (x, z, y) as xyz"),
    "head first": (lambda xyz: _head_first(xyz), "the joints seem in another order than that of the layout"),
    "reversed": (lambda xyz: xyz[..., ::-1, :], "the joints seem in another order than that of the layout"),
    "all at one point": (lambda xyz: xyz * 0 + 2, "a body of 0 m from end to end"),
}
RIGHT = {
    "as it is": lambda xyz: xyz,
    "a child of 70 cm": lambda xyz: xyz * 0.45,
    "relative to the body": lambda xyz: xyz - np.float32([0, 0, 3]),
    "lying": lambda xyz: xyz[..., [1, 0, 2]],
    "lying, feet first": lambda xyz: np.stack([xyz[..., 0], 0 * xyz[..., 0], xyz[..., 2] + xyz[..., 1]], axis=-1),
    "under the camera": lambda xyz: np.stack([xyz[..., 0], 0 * xyz[..., 0], xyz[..., 2] - xyz[..., 1]], axis=-1),
    "on the head in a frame": lambda xyz: xyz * np.where(np.arange(len(xyz)) == 3, -1, 1)[:, None, None, None],
}  # fmt: skip


def _z_up(xyz):
    x, y, z = np.moveaxis(xyz, -1, 0)
    return np.stack([x, z, y - y.min()], axis=-1)


def _head_first(xyz):
    head = skeletons.get("kinect_v1_20").head
    return xyz[..., [head, *(joint for joint in range(20) if joint != head)], :]


def doubts(poses, layout):
    """What is said of clips ``[T, M, J, 3]``."""
    measures = [found for xyz in poses for found in plausibility.measure(xyz, layout=layout)]
    return plausibility.doubts(plausibility.summary(measures, layout), layout)


def walk(layout="kinect_v1_20"):
    return recording_files.walk(layout)[:, np.newaxis]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(fault):
    change, expected = FAULTS[fault]
    found = doubts([change(walk())], "kinect_v1_20")
    assert expected in found
    assert "\n" not in found


@pytest.mark.parametrize("what", RIGHT)
def test_what_may_be_right(what):
    assert doubts([RIGHT[what](walk())], "kinect_v1_20") == ""


@pytest.mark.parametrize("layout", skeletons.LAYOUTS)
def test_every_layout(layout):
    assert doubts([walk(layout)], layout) == ""
    assert "multiply it by -1" in doubts([walk(layout) * np.float32([1, -1, 1])], layout)


@pytest.mark.parametrize("layout", ["lcrnet_13", "blazepose_33", "coco_17"])
def test_arms_beside_a_trunk_without_a_spine(layout):
    """A person who sits, hands on the hips, knees drawn up."""
    poses, joints = walk(layout), skeletons.get(layout).joints
    for side in ("left", "right"):
        names = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        shoulder, elbow, wrist, hip, knee, ankle = (joints.index(f"{side}_{name}") for name in names)
        poses[:, :, elbow] = (poses[:, :, shoulder] + poses[:, :, hip]) / 2
        poses[:, :, wrist] = poses[:, :, hip] + 0.01
        poses[:, :, knee] = poses[:, :, hip] + [0, 0.1, -0.2]
        poses[:, :, ankle] = poses[:, :, hip] + [0, -0.1, -0.25]
    assert doubts([poses], layout) == ""


@pytest.mark.parametrize("layout", ["kinect_v1_20", "kinect_v2_25", "blazepose_33", "coco_17"])
def test_left_and_right_of_who_turns_to_any_side(layout):
    """Feet and nose point ahead; the fixture's left is where a sensor has it."""
    poses, skeleton = walk(layout), skeletons.get(layout)
    ahead = [joint for joint, name in enumerate(skeleton.joints) if name.endswith(("_foot", "nose"))]
    poses[..., ahead, 2] -= 0.15
    if not skeleton.is_mirrored:
        poses = poses[..., list(skeleton.mirrored), :]
    for angle in np.radians([0, 60, 180, 250]):
        cosine, sine = np.cos(angle), np.sin(angle)
        turned = poses @ np.float32([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
        assert doubts([turned], layout) == ""
        for wrong in (turned[..., list(skeleton.mirrored), :], turned * np.float32([-1, 1, 1])):
            assert "exchange left and right joints" in doubts([wrong], layout)


def test_few_wrong_clips_among_others_and_nobody():
    assert doubts([walk(), walk(), walk() * 1000], "kinect_v1_20") == ""
    assert plausibility.measure(np.zeros((4, 2, 20, 3), np.float32)) == plausibility.measure(None) == []
    assert plausibility.doubts(plausibility.summary([])) == ""
    unknown = walk()[:, :, :17] * 1000  # no layout has 17 joints
    assert "0.001" in plausibility.doubts(plausibility.summary(plausibility.measure(unknown)))


def _in_process(source, todo, directory, *_):
    return {shard: shards.write_shard(source, shard, directory) for shard in todo}


def test_conversion_and_inspection_warn_once_and_a_clip_by_its_joints(tmp_path, run_command, capsys):
    np.save(tmp_path / "a.npy", walk() * 1000)
    (tmp_path / "clips.csv").write_text("poses,label,split\na.npy,walk,test\n")
    table, out = tmp_path / "clips.csv", tmp_path / "out"
    writer.convert(folder.Folder(table, layout="kinect_v1_20", parts=()), out, run=_in_process)
    options = ["folder", "--csv", table, "--layout", "kinect_v1_20", "--parts", "none", "--out", out]
    for main, arguments in ((convert.main, options), (inspect.main, [out])):
        status, _, errors = run_command(main, *arguments)
        assert status == 0
        (line,) = (line for line in errors.splitlines() if line.startswith("warning: "))
        assert line.startswith(f"warning: {out}: its poses cannot be right: a body of 1,52")
        assert "multiply xyz by 0.001" in line
    plausibility.warn_of_clip(tmp_path / "a.npy", walk() * 1000)
    assert capsys.readouterr().err.startswith(f"warning: {tmp_path / 'a.npy'}: its poses cannot be right: a body of 1,")


SOURCES = {
    "nucla": lambda data: nucla.NUCLA(data / "nucla" / "all_sqe", "json"),
    "ntu": lambda data: ntu.NTU120(data / "ntu" / "skeletons", parts=()),
    "msr_daily": lambda data: msr_daily.MSRDaily(data / "msrdaily_sample", parts=()),
    "sbu": lambda data: sbu.SBU(data / "sbu_sample", parts=()),
}


@pytest.mark.parametrize("name", SOURCES)
def test_real_datasets(real_data, name):
    source = SOURCES[name](real_data)
    poses = [source.read(info).pose_xyz for info in source.index().clips[:: 25 if name == "nucla" else 1]]
    assert all(doubts([xyz], source.layout) == "" for xyz in poses)
    assert "millimetres" in doubts([xyz * 1000 for xyz in poses], source.layout)
    assert "multiply it by -1" in doubts([xyz * np.float32([1, -1, 1]) for xyz in poses], source.layout)
    turned = [np.roll(xyz, 1, axis=2) for xyz in poses]
    assert "another order" in doubts(turned, source.layout)
