"""SBU Kinect Interaction, and what it shares with CAD-60 and CAD-120: numbered pictures and numbered rows."""

import json
import re

import numpy as np
import pytest

from tests.tfrecords import openni_files, sbu_files
from tfrecords import convert, protocols, schema
from tfrecords.datasets import sbu
from tfrecords.errors import RejectedClip
from zoo import skeletons
from zoo.shared.errors import UserError

CLIP = "s01s02_03_001"
LAYOUT = skeletons.get("nite_15")


def read(folder, clip=CLIP, **options):
    source = sbu.SBU(folder, **{"size": 96, **options})
    source.index()
    return source.read(source.parse_id(clip))


# ------------------------------------------------------------------------------------------------------------- names


def test_an_id_names_pair_interaction_and_repetition():
    assert sbu.SBU.parse_id("s07s03_08_002") == schema.ClipInfo("s07s03_08_002", 7, subject=703, repetition=2)
    assert len(sbu.PAIRS) == len(set(sbu.PAIRS)) == 21


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("s01s02_03", "no clip id of SBU"),
        ("s01s04_03_001", "no pair s01s04, expected one of s01s02, "),
        ("s01s02_09_001", "no interaction 09, expected 01 to 08"),
        ("s01s02_00_001", "no interaction 00"),
    ],
)
def test_no_id(clip, message):
    with pytest.raises(ValueError, match=message):
        sbu.SBU.parse_id(clip)


def test_every_pair_is_tested_once():
    for pair in sbu.PAIRS:
        clip = f"s{pair // 100:02d}s{pair % 100:02d}_01_001"
        assert sorted(protocols.splits_of("sbu", clip)) == ["fold_1", "fold_2", "fold_3", "fold_4", "fold_5"]
        splits = list(protocols.splits_of("sbu", clip).values())
        assert splits.count("test") == 1
        assert set(splits) <= {"train", "val", "test"}
    # The README's own example: the second fold tests s02s03, s02s07, s03s05 and s05s03.
    assert protocols.split_of("sbu", "fold_2", "s05s03_08_001") == "test"
    assert protocols.split_of("sbu", "fold_2", "s03s04_08_001") != "test"


# ------------------------------------------------------------------------------------------------------------ parser


def test_normalised_coordinates_become_metres():
    row = [350, *[0.5, 0.5, 1.5625] * 30]
    row[1:4] = 0.25, 0.75, 0.78125  # the first person's head
    ((frame, joints),) = sbu.SBU.parse_rows(",".join(map(str, row)), "x").items()
    assert (frame, joints.shape) == (350, (2, 15, 4))
    np.testing.assert_allclose(joints[0, 0], [0.64, -0.48, 1.0, 1], atol=1e-6)
    np.testing.assert_allclose(joints[1], [[0, 0, 2.0, 1]] * 15, atol=1e-6)


TEXT = sbu_files.skeleton_text(sbu_files.walk(CLIP))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (TEXT[: len(TEXT) // 4], "line 2: truncated or no row of joints"),
        (TEXT.replace("\n9,", "\nnine,"), "line 2: holds a value that is not a number, 'nine,"),
        (TEXT.replace("\n9,", "\n8,"), "line 2: frame 8 is there twice"),
        (TEXT.replace("\n9,", "\n9.5,"), "line 2: 9.5 is no frame number"),
        (TEXT.replace("\n9,", "\nnan,"), "line 2: nan is no frame number"),
        ("8" + ",0" * 90, "no skeleton in any of its 1 frames"),
        ("8,nan,nan,nan" + ",0.5,0.5,1" * 29, "joint head measured in no frame"),
    ],
)
def test_text_rejected(tmp_path, text, reason):
    (sbu_files.write(tmp_path, CLIP, pictures=False) / "skeleton_pos.txt").write_text(text)
    with pytest.raises(RejectedClip, match=f"^skeleton_pos.txt.*{re.escape(reason)}"):
        read(tmp_path, parts=())


# -------------------------------------------------------------------------------------------------- pictures and rows


@pytest.mark.parametrize("below", ["", "s01s02", "Clean"])  # archives unpack to either
def test_clip(tmp_path, below):
    sbu_files.write(tmp_path / below, CLIP)
    clip = read(tmp_path)
    poses = sbu_files.walk(CLIP)
    np.testing.assert_allclose(clip.pose_xyz, poses, atol=1e-5)
    np.testing.assert_allclose(clip.pose_xy, openni_files.pixels(poses), atol=1e-2)
    assert clip.pose_confidence.min() == 1
    assert (clip.label_text, clip.layout, clip.fps) == ("kicking", "nite_15", 15)
    assert openni_files.joints_in_crops(clip).all()  # of both persons


def test_pictures_in_the_order_of_their_numbers(tmp_path):
    folder = sbu_files.write(tmp_path, CLIP)
    for path in folder.glob("rgb_*.png"):
        path.rename(folder / f"rgb_{int(path.stem[4:])}.png")  # by name, rgb_10 comes before rgb_8
    assert openni_files.joints_in_crops(read(tmp_path)).all()


def test_poses_alone(tmp_path):
    sbu_files.write(tmp_path, CLIP, pictures=False)
    clip = read(tmp_path, parts=())
    np.testing.assert_allclose(clip.pose_xyz, sbu_files.walk(CLIP), atol=1e-5)
    assert (clip.images, clip.pose_xy) == ({}, None)
    with pytest.raises(RejectedClip, match=r"no video of it \(--parts none converts poses alone"):
        read(tmp_path)


def test_pictures_alone(tmp_path):
    (sbu_files.write(tmp_path, CLIP) / "skeleton_pos.txt").unlink()
    clip = read(tmp_path, poses=False)
    assert (clip.num_frames, clip.layout, clip.pose_xyz) == (6, "", None)
    with pytest.raises(RejectedClip, match=r"no poses of it \(--no-poses converts videos alone"):
        read(tmp_path)


def test_a_row_that_lacks_is_interpolated_and_a_picture_that_lacks_is_left_out(tmp_path):
    folder = sbu_files.write(tmp_path, CLIP)
    poses = sbu_files.walk(CLIP)
    lines = TEXT.splitlines()
    (folder / "skeleton_pos.txt").write_text("\n".join(lines[:2] + lines[3:]))
    (folder / "rgb_000012.png").unlink()
    clip = read(tmp_path)
    assert clip.num_frames == 5
    np.testing.assert_allclose(clip.pose_xyz[2], (poses[1] + poses[3]) / 2, atol=1e-5)
    np.testing.assert_allclose(clip.pose_xyz[4], poses[5], atol=1e-5)
    assert clip.pose_confidence[:, 0, 0].tolist() == [1, 1, 0.25, 1, 1]


def test_a_person_lost_for_long_is_absent(tmp_path):
    frames = range(1, 31)
    folder = sbu_files.write(tmp_path, CLIP, frames=frames)
    rows = (folder / "skeleton_pos.txt").read_text().splitlines()
    rows[10:20] = [",".join(row.split(",")[:46] + ["0"] * 45) for row in rows[10:20]]  # the second, for 0.67 s
    (folder / "skeleton_pos.txt").write_text("\n".join(rows))
    clip = read(tmp_path)
    assert np.flatnonzero(clip.pose_confidence[:, 1].max(axis=1) == 0).tolist() == list(range(10, 20))
    assert not clip.pose_xyz[10:20, 1].any()
    assert not clip.pose_xy[10:20, 1].any()
    assert clip.pose_confidence[:, 0].min() == 1


@pytest.mark.parametrize("what", ["rgb_*.png", "rows"])
def test_one_of_the_two_cut_off(tmp_path, what):
    folder = sbu_files.write(tmp_path, CLIP, frames=range(1, 21))
    if what == "rows":
        rows = (folder / "skeleton_pos.txt").read_text().splitlines()
        (folder / "skeleton_pos.txt").write_text("\n".join(rows[:12]))
        counts = "12 rows of poses and 20 pictures, 12 frame numbers in common"
    else:
        for path in sorted(folder.glob(what))[12:]:
            path.unlink()
        counts = "20 rows of poses and 12 pictures, 12 frame numbers in common"
    with pytest.raises(RejectedClip, match=f"{counts}: one of the two is cut off"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "not a whole"), (b"\x89PNG\r\n\x1a\n" + b"0" * 50, "not a whole PNG")]
)
def test_damaged_picture_is_rejected(tmp_path, data, reason):
    (sbu_files.write(tmp_path, CLIP) / "rgb_000010.png").write_bytes(data)
    with pytest.raises(RejectedClip, match=f"rgb_000010.png: {reason}"):
        read(tmp_path)


def test_a_picture_there_twice_is_rejected(tmp_path):
    (sbu_files.write(tmp_path, CLIP) / "rgb_10.png").write_bytes(b"")
    with pytest.raises(RejectedClip, match=r"s01s02/03/001/rgb_10\.png: frame 10 is there twice"):
        read(tmp_path)


# ------------------------------------------------------------------------------------------------------------- index


def test_index(tmp_path):
    sbu_files.write(tmp_path / "a", CLIP)
    sbu_files.write(tmp_path / "b", CLIP)
    sbu_files.write(tmp_path / "b", "s02s01_01_002")
    for name in ("s01s04/01/001", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "skeleton_pos.txt").write_text(TEXT)
    index = sbu.SBU(tmp_path).index()
    assert [clip.id for clip in index.clips] == ["s02s01_01_002"]
    reasons = dict(index.rejected)
    assert list(reasons) == ["other", "s01s02_03_001", "s01s04/01/001"]
    assert reasons["s01s02_03_001"] == "is there twice: a/s01s02/03/001 and b/s01s02/03/001"
    assert reasons["s01s04/01/001"].startswith("no pair s01s04")


def test_no_clip_at_all(tmp_path):
    with pytest.raises(UserError, match=r"no clip of SBU .* names such as s01s02/03/001/skeleton_pos\.txt"):
        sbu.SBU(tmp_path).index()


def test_command(run_command, tmp_path):
    for pair in ("s01s02", "s02s03", "s04s03"):
        sbu_files.write(tmp_path / "source", f"{pair}_05_001")
    folder = sbu_files.write(tmp_path / "source", "s04s03_06_001")
    (folder / "skeleton_pos.txt").write_text(TEXT[:300])
    out = tmp_path / "out"
    arguments = "sbu", "--source", tmp_path / "source", "--out", out, "--workers", 1, "--size", 64
    status, printed, errors = run_command(convert.main, *arguments)
    assert status == 0, errors
    assert printed.startswith("3 clips in 4 shards, 1 rejected (s04s03_06_001: skeleton_pos.txt line 1: truncated")
    found = json.loads((out / schema.MANIFEST).read_text())
    assert [found["protocols"][f"fold_{n}"]["clips"]["test"] for n in range(1, 6)] == [1, 1, 0, 0, 1]
    assert (found["persons"], found["skeleton_layout"], found["parts"]) == (2, "nite_15", ["full_body"])
    assert found["counts"]["per_subject"] == {"102": 1, "203": 1, "403": 1}


# --------------------------------------------------------------------------------------------------------- real files


@pytest.fixture(scope="module")
def real_clips(real_data):
    source = sbu.SBU(real_data / "sbu_sample", parts=())
    index = source.index()
    assert (len(index.clips), index.rejected) == (15, ())
    return {clip.id: source.read(clip).pose_xyz for clip in index.clips}


@pytest.mark.real_data
def test_real_bones_keep_their_lengths(real_clips):
    # The tracker's bones hardly stretch. They would, three times as much, if the values were shares of the picture.
    poses = np.concatenate(list(real_clips.values()))
    bones = np.stack([np.linalg.norm(poses[:, :, a] - poses[:, :, b], axis=-1) for a, b in LAYOUT.bones], axis=-1)
    spread = np.median(np.abs(bones / np.median(bones, axis=0) - 1), axis=0)
    assert spread.mean() < 0.02
    thighs, upper_arms = (np.median(bones[..., [LAYOUT.bones.index(bone) for bone in pair]]) for pair in (
        ((9, 10), (12, 13)), ((3, 4), (6, 7)),
    ))  # fmt: skip
    assert 0.38 < thighs < 0.48
    assert 0.26 < upper_arms < 0.34
    assert (poses[:, :, 0, 1] > poses[:, :, 11, 1]).all()  # heads above feet: y points up


@pytest.mark.real_data
def test_real_interactions_look_like_their_labels(real_clips):
    def nearest(clip, first, second):
        return np.linalg.norm(real_clips[clip][:, 0, first] - real_clips[clip][:, 1, second], axis=-1)

    right_hand, left_hand, torso = LAYOUT.right_hand, LAYOUT.left_hand, LAYOUT.root
    assert nearest("s01s02_05_001", right_hand, right_hand).min() < 0.1  # shaking hands
    assert nearest("s01s02_05_001", torso, torso).min() > 1
    assert nearest("s01s02_06_001", torso, torso).min() < 0.25  # hugging
    np.testing.assert_allclose(nearest("s01s02_01_001", torso, torso)[[0, -1]], [1.4, 0.4], atol=0.1)  # approaching
    push = nearest("s01s02_04_002", right_hand, torso), nearest("s01s02_04_002", left_hand, torso)
    assert max(distances.min() for distances in push) < 0.4  # pushing, with both hands
