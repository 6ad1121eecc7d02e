"""Files of poses of one's own."""

import json
import time

import numpy as np
import pytest

from tfrecords.converting import persons, pose_files

XYZ = np.random.default_rng(0).normal(size=(5, 2, 13, 3)).astype(np.float32)
XY = np.random.default_rng(1).uniform(1, 99, size=(5, 2, 13, 2)).astype(np.float32)
CONFIDENCE = np.random.default_rng(2).uniform(size=(5, 2, 13)).astype(np.float32)


def as_csv(path, **columns):
    header = [name for group in columns for name in {"xyz": "xyz", "xy": "uv"}.get(group, (group,))]
    lines = [",".join(("frame", "person", "joint", *header))]
    for index in np.ndindex(5, 2, 13):
        values = [str(value) for array in columns.values() for value in np.atleast_1d(array[index])]
        lines.append(",".join([*map(str, index), *values]))
    path.write_text("\n".join(lines))


@pytest.mark.parametrize("form", ["npz", "json", "csv"])
@pytest.mark.parametrize("names", [("xyz",), ("xy",), ("xyz", "xy", "confidence")])
def test_what_is_written_is_read(tmp_path, form, names):
    arrays = {name: {"xyz": XYZ, "xy": XY, "confidence": CONFIDENCE}[name] for name in names}
    path = tmp_path / f"poses.{form}"
    if form == "npz":
        np.savez(path, **arrays)
    elif form == "json":
        path.write_text(json.dumps({name: array.tolist() for name, array in arrays.items()}))
    else:
        as_csv(path, **arrays)
    poses = pose_files.read(path)
    for name in ("xyz", "xy"):
        found = getattr(poses, name)
        assert found is None if name not in names else np.array_equal(found, arrays[name])
    np.testing.assert_allclose(poses.confidence, arrays.get("confidence", np.ones((5, 2, 13))))


def test_a_written_file_states_its_skeleton_and_rate_and_is_always_the_same(tmp_path, monkeypatch):
    poses = persons.Poses(XYZ, CONFIDENCE, XY)
    for number in (1, 2):
        monkeypatch.setattr(time, "time", lambda: 1e9 + 1e5 * number)  # noqa: B023
        pose_files.write(tmp_path / f"{number}.npz", poses, layout="lcrnet_13", fps=12.5)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    found = pose_files.read(tmp_path / "1.npz")
    assert (found.layout, found.fps) == ("lcrnet_13", 12.5)
    for name in ("xyz", "xy", "confidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(poses, name))


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", '{"xyz": [[[1, 2, 3]]]}'), ("a.csv", "frame,joint,x,y,z\n0,0,1,2,3")]
)
def test_a_mark_at_the_beginning_is_no_content(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert pose_files.read(tmp_path / name).xyz.tolist() == [[[[1, 2, 3]]]]


def test_one_person_needs_no_axis_and_a_joint_at_zero_was_not_measured(tmp_path):
    xyz = XYZ[:, 0].copy()
    xyz[2, 4] = 0
    xyz[3, 5, 1] = np.nan
    np.save(tmp_path / "poses.npy", xyz)
    poses = pose_files.read(tmp_path / "poses.npy")
    assert poses.xyz.shape == (5, 1, 13, 3)
    assert np.argwhere(poses.confidence == 0).tolist() == [[2, 0, 4], [3, 0, 5]]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "", "unknown pose format '.txt'"),
        ("a.npy", "no array", "damaged or not poses"),
        ("a.json", "[1, 2]", "damaged or not poses .no JSON object"),
        ("a.json", '{"confidence": [[1.0]]}', "neither xyz nor xy"),
        ("a.json", '{"xyz": [[[1, 2]]]}', r"xyz has the shape \[1, 1, 1, 2\]"),
        ("a.json", '{"xyz": [[[1, 2, 3]]], "xy": [[[1, 2], [3, 4]]]}', "arrays of unequal frames, persons or joints"),
        ("a.json", '{"xyz": [[[1, 2, 3]]], "confidence": [[2.0]]}', "confidence outside 0 to 1"),
        ("a.json", '{"xyz": [[[1, 2, 3]]], "fps": -1}', "fps is -1, expected frames per second"),
        ("a.json", '{"xyz": [[[1, 2, 3]]], "fps": "fast"}', "damaged or not poses"),
        ("a.csv", "x,y,z\n1,2,3", "expected a header with frame, joint"),
        ("a.csv", "frame,joint,x,y,z\n", "no rows"),
        ("a.csv", "frame,joint,x,y,z\n0,0,1,2,3\n0,0,1,2,3", "line 3: frame, person, joint .* there twice"),
        ("a.csv", "frame,joint,x,y,z\n0,0,1,2", "damaged or not poses"),
        ("a.csv", "frame,joint,x,y,z\n999999999,9,1,2,3", "too many"),
    ],
)
def test_what_is_refused(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=reason):
        pose_files.read(tmp_path / name)


def test_arrays_of_other_names(tmp_path):
    np.savez(tmp_path / "one.npz", joints=XYZ)
    np.testing.assert_array_equal(pose_files.read(tmp_path / "one.npz").xyz, XYZ)
    np.savez(tmp_path / "two.npz", xyz=XYZ, joints=XYZ)
    with pytest.raises(ValueError, match="arrays joints, expected xyz, xy, confidence, layout, fps"):
        pose_files.read(tmp_path / "two.npz")
