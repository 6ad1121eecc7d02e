"""CAD-60 and CAD-120: labels, subjects and the order of joints; pictures and rows are tested with SBU."""

import json
import re

import numpy as np
import pytest

from tests.tfrecords import cad_files, openni_files
from tfrecords import convert, protocols, schema
from tfrecords.datasets import cad
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

BRUSHING, CEREAL = "a02_s1_0512164529", "a01_s1_1204142055"


def read(source, clip):
    index = source.index()
    (info,) = (info for info in index.clips if info.id == clip)
    return source.read(info)


# ------------------------------------------------------------------------------------------------------------- names


def test_an_id_names_activity_subject_and_recording():
    assert cad.CAD60.parse_id("a12_s4_0512153758") == schema.ClipInfo("a12_s4_0512153758", 11, subject=4)
    assert cad.CAD120.parse_id("a10_s5_0511141007") == schema.ClipInfo("a10_s5_0511141007", 9, subject=5)
    assert (cad.CAD60.labels[11], cad.CAD120.labels[9]) == ("working on computer", "having meal")


@pytest.mark.parametrize(
    ("source", "clip", "message"),
    [
        (cad.CAD60, "0512164529", "no clip id of CAD-60"),
        (cad.CAD60, "a13_s1_0512164529", "no activity a13, expected a01 to a12"),
        (cad.CAD60, "a01_s5_0512164529", "no subject s5, expected s1, s2, s3, s4"),
        (cad.CAD120, "a11_s1_0512164529", "no activity a11, expected a01 to a10"),
        (cad.CAD120, "a01_s2_0512164529", "no subject s2, expected s1, s3, s4, s5"),
    ],
)
def test_no_id(source, clip, message):
    with pytest.raises(ValueError, match=message):
        source.parse_id(clip)


@pytest.mark.parametrize(("source", "subjects"), [(cad.CAD60, (1, 2, 3, 4)), (cad.CAD120, (1, 3, 4, 5))])
def test_every_subject_is_tested_once(source, subjects):
    assert protocols.names(source.name) == tuple(f"loso_{subject}" for subject in subjects)
    for subject in subjects:
        splits = protocols.splits_of(source.name, f"a05_s{subject}_0512173312")
        assert [name for name, split in splits.items() if split == "test"] == [f"loso_{subject}"]
        assert None not in splits.values()


# ------------------------------------------------------------------------------------------------------------ parser


def test_joints_are_reordered_and_become_metres():
    ((frame, joints),) = cad.CAD60.parse_rows(cad_files.numbered_row(7) + "END", "x").items()
    assert (frame, joints.shape) == (7, (1, 15, 4))
    places = cad_files.places()
    np.testing.assert_allclose(joints[0, :, 0], places / 1000, atol=1e-6)
    np.testing.assert_allclose(joints[0, :, 1], (100 + places) / 1000, atol=1e-6)
    np.testing.assert_allclose(joints[0, :, 2], (1000 + places) / 1000, atol=1e-6)
    assert (joints[0, :, 3] == 1).all()


def test_joints_the_tracker_made_up_are_inferred_and_lost_ones_absent():
    pose = cad_files.walk("x")[0]
    pose[4] = 0  # left elbow, at the sensor
    text = cad_files.row(1, pose, lost=("left_foot", "right_knee")) + "END"
    (joints,) = cad.CAD60.parse_rows(text, "x").values()
    expected = np.ones(15)
    expected[[4, cad_files.JOINTS.index("left_foot"), cad_files.JOINTS.index("right_knee")]] = 0, 0.5, 0.5
    np.testing.assert_array_equal(joints[0, :, 3], expected)


TEXT = cad_files.skeleton_text(cad_files.walk("x"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated, its last line is not END"),
        (TEXT[: len(TEXT) // 2], "truncated, its last line is not END"),
        (TEXT.replace("END\n", ""), "truncated, its last line is not END"),
        ("END\n", "empty, expected a row per frame"),
        (TEXT[: len(TEXT) // 4] + "\nEND\n", "line 2: truncated or no row of joints"),
        (TEXT.replace("9,", "9,0,", 1), "line 1: truncated or no row of joints, 172 values, expected 171"),
    ],
)
def test_text_rejected(tmp_path, text, reason):
    (cad_files.write_60(tmp_path, {"0512164529": "brushing teeth"}) / "0512164529.txt").write_text(text)
    with pytest.raises(RejectedClip, match=f"^0512164529.txt.*{re.escape(reason)}"):
        read(cad.CAD60(tmp_path), BRUSHING)


# ------------------------------------------------------------------------------------------------------------- clips


def test_cad60(tmp_path):
    cad_files.write_60(tmp_path, {"0512164529": "brushing teeth"})
    clip = read(cad.CAD60(tmp_path, size=96), BRUSHING)
    poses = cad_files.walk("0512164529")
    np.testing.assert_allclose(clip.pose_xyz[:, 0], poses, atol=1e-6)
    np.testing.assert_allclose(clip.pose_xy[:, 0], openni_files.pixels(poses), atol=1e-2)
    assert openni_files.joints_in_crops(clip).all()
    assert (clip.dataset, clip.label_text, clip.info.subject) == ("cad60", "brushing teeth", 1)


@pytest.mark.parametrize("below", ["", "CAD-120/person1"])
def test_cad120(tmp_path, below):
    cad_files.write_120(tmp_path / below, "1204142055")
    clip = read(cad.CAD120(tmp_path, size=96, parts=("full_body", "right_hand")), CEREAL)
    np.testing.assert_allclose(clip.pose_xyz[:, 0], cad_files.walk("1204142055"), atol=1e-6)
    assert openni_files.joints_in_crops(clip).all()
    hands = (clip.boxes["right_hand"][:, :2] + clip.boxes["right_hand"][:, 2:]) / 2
    np.testing.assert_allclose(hands, clip.pose_xy[:, 0, cad_files.JOINTS.index("right_hand")], atol=1.5)
    assert (clip.dataset, clip.label_text) == ("cad120", "making cereal")


def test_cad60_pictures_alone_have_labels_from_the_list(tmp_path):
    folder = cad_files.write_60(tmp_path, {"0512164529": "brushing teeth"})
    (folder / "0512164529.txt").unlink()
    clip = read(cad.CAD60(tmp_path, poses=False), BRUSHING)
    assert (clip.label_text, clip.num_frames, clip.pose_xyz) == ("brushing teeth", 6, None)


# ------------------------------------------------------------------------------------------------------------- index


def test_index_of_cad60(tmp_path):
    recordings = {"0512164529": "brushing teeth", "0512172825": "still", "0512174930": "random"}
    folder = cad_files.write_60(tmp_path, recordings, pictures=False)
    (folder / "0512000000.txt").write_text(TEXT)
    cad_files.write_60(tmp_path, {"0510165136": "writing on whiteboard"}, subject=2, pictures=False)
    (cad_files.write_60(tmp_path, {"0511124850": "still"}, subject=3) / cad.LABELS_FILE).unlink()
    cad_files.write_60(tmp_path, {"0512154505": "writing on whiteboard"}, subject=7, pictures=False)
    index = cad.CAD60(tmp_path, parts=()).index()
    assert [clip.id for clip in index.clips] == [BRUSHING, "a11_s2_0510165136"]
    assert dict(index.rejected) == {
        "data1/0512000000": "no label: not in activityLabel.txt",
        "data1/0512172825": "activity 'still' is none of the dataset's 12 classes",
        "data1/0512174930": "activity 'random' is none of the dataset's 12 classes",
        "data3/0511124850": "no label: activityLabel.txt: cannot be read (No such file or directory)",
        "data7/0512154505": "no subject s7, expected s1, s2, s3, s4",
    }


def test_index_of_cad120(tmp_path):
    cad_files.write_120(tmp_path, "1204142055", pictures=False)
    cad_files.write_120(tmp_path, "1204150645", activity="sleeping", pictures=False)
    cad_files.write_120(tmp_path / "copy", "0510144324", activity="cleaning_objects", subject=3)
    cad_files.write_120(tmp_path, "0510144324", activity="cleaning_objects", subject=3)
    (tmp_path / "making_cereal").mkdir()
    (tmp_path / "making_cereal" / "0510000000.txt").write_text(TEXT)
    (tmp_path / "Subject1_rgbd_images" / "RGB").mkdir(parents=True)
    (tmp_path / "Subject1_rgbd_images" / "RGB" / "RGB_1.png").write_bytes(b"")
    index = cad.CAD120(tmp_path).index()
    assert [clip.id for clip in index.clips] == [CEREAL]
    reasons = dict(index.rejected)
    assert reasons.pop("a07_s3_0510144324").startswith("is there twice: Subject3_")
    assert reasons.pop("making_cereal/0510000000").startswith(
        "in no subject's folder, expected a tree such as Subject1"
    )
    assert reasons == {
        "Subject1_annotations/sleeping/1204150645": "activity 'sleeping' is none of the dataset's 10 classes",
        "Subject1_rgbd_images/RGB": "pictures in a folder that is no recording, expected a name of ten digits",
    }


def test_one_subject_s_folder_alone(tmp_path):
    folder = cad_files.write_60(tmp_path, {"0512164529": "brushing teeth"}, pictures=False)
    assert [clip.id for clip in cad.CAD60(folder, parts=()).index().clips] == [BRUSHING]


@pytest.mark.parametrize(("source", "name"), [(cad.CAD60, "CAD-60"), (cad.CAD120, "CAD-120")])
def test_no_clip_at_all(tmp_path, source, name):
    with pytest.raises(UserError, match=f"no clip of {name} below it, expected names such as {source.tree}"):
        source(tmp_path).index()


# ---------------------------------------------------------------------------------------------------------- commands


def test_command_cad60(run_command, tmp_path):
    cad_files.write_60(tmp_path / "source", {"0512164529": "brushing teeth", "0512172825": "still"})
    cad_files.write_60(tmp_path / "source", {"0510165136": "writing on whiteboard"}, subject=2)
    out = tmp_path / "out"
    arguments = "cad60", "--source", tmp_path / "source", "--out", out, "--workers", 1, "--size", 64
    status, printed, errors = run_command(convert.main, *arguments)
    assert status == 0, errors
    assert printed.startswith("2 clips in 2 shards, 1 rejected (data1/0512172825: activity 'still'")
    found = json.loads((out / schema.MANIFEST).read_text())
    assert [found["protocols"][f"loso_{n}"]["clips"]["test"] for n in range(1, 5)] == [1, 1, 0, 0]


@pytest.mark.slow
def test_command_cad120(run_command, tmp_path):
    for subject, recording in ((1, "1204142055"), (3, "1204173536")):
        cad_files.write_120(tmp_path / "source", recording, subject=subject)
    damaged = cad_files.write_120(tmp_path / "source", "0126141638", subject=5)
    damaged.write_text("")
    out = tmp_path / "out"
    arguments = "cad120", "--source", tmp_path / "source", "--out", out, "--workers", 1, "--parts", "none"
    status, printed, errors = run_command(convert.main, *arguments)
    assert status == 0, errors
    assert "1 rejected (a01_s5_0126141638: 0126141638.txt: truncated, its last line is not END)" in printed
    found = json.loads((out / schema.MANIFEST).read_text())
    assert found["counts"]["per_subject"] == {"1": 1, "3": 1}
    assert (found["parts"], found["skeleton_layout"]) == ([], "nite_15")
