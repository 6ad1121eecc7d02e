"""Northwestern-UCLA: its releases, and what is wrong with files of either."""

import argparse
import re

import numpy as np
import pytest

from tests.tfrecords import nucla_files, recording_files
from tfrecords import schema
from tfrecords.converting import crops
from tfrecords.datasets import nucla
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

CLIP = "a08_s03_e01_v02"
FRAMES = recording_files.frames_of(recording_files.walk("kinect_v1_20", frames=3))


def source(folder, *options):
    parser = argparse.ArgumentParser()
    nucla.NUCLA.add_arguments(parser)
    return nucla.NUCLA.from_arguments(parser.parse_args(["--source", str(folder), *options]))


def read(folder, *options, clip=CLIP):
    return source(folder, *options).read(nucla.NUCLA.parse_id(clip))


# ------------------------------------------------------------------------------------------------------------- names


def test_an_id_names_action_subject_repetition_and_view():
    assert nucla.NUCLA.parse_id("a12_s10_e04_v03") == schema.ClipInfo(
        "a12_s10_e04_v03", label=9, subject=10, camera=3, repetition=4
    )


def test_labels_follow_the_actions():
    labels = {
        action: nucla.NUCLA.labels[nucla.NUCLA.parse_id(f"a{action:02d}_s01_e00_v01").label] for action in (1, 8, 11)
    }
    assert labels == {1: "pick up with one hand", 8: "donning", 11: "throw"}


# ------------------------------------------------------------------------------------------------------ JSON release


@pytest.mark.parametrize("folder", ["", "all_sqe"])  # the folder itself, or what holds it
def test_json(tmp_path, folder):
    nucla_files.write_json(tmp_path / folder, CLIP)
    clip = read(tmp_path)
    np.testing.assert_array_equal(clip.pose_xyz[:, 0], nucla_files.walk(CLIP))
    assert clip.pose_confidence.min() == clip.pose_confidence.max() == 1
    assert (clip.label_text, clip.layout, clip.images) == ("donning", "kinect_v1_20", {})


def test_json_of_one_frame(tmp_path):
    nucla_files.write_json(tmp_path, CLIP, skeletons=nucla_files.walk(CLIP)[:1].tolist())
    assert read(tmp_path).num_frames == 1


def test_joints_the_sensor_lost_are_interpolated(tmp_path):
    poses = nucla_files.walk(CLIP)
    poses[2, [0, 4]] = poses[0, 7] = 0
    nucla_files.write_json(tmp_path, CLIP, skeletons=poses.tolist())
    clip = read(tmp_path)
    np.testing.assert_allclose(clip.pose_xyz[2, 0, 4], (poses[1, 4] + poses[3, 4]) / 2, atol=1e-6)
    np.testing.assert_allclose(clip.pose_xyz[0, 0, 7], poses[1, 7])  # before the first measurement: the first
    assert [tuple(i) for i in np.argwhere(clip.pose_confidence < 1)] == [(0, 0, 7), (2, 0, 0), (2, 0, 4)]


def nan(poses):
    poses[1][2][0] = float("nan")
    return poses


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"skeletons": []}, "empty sequence"),
        ({"skeletons": [[]]}, "empty sequence"),
        ({"skeletons": [[[0.0, 0.0, 3.0]] * 19]}, "shape [1, 19, 3], expected [T, 20, 3]"),
        ({"skeletons": [[[0.0, 0.0, 3.0]] * 20, [[0.0, 0.0]] * 20]}, "unequal shape"),
        ({"skeletons": "none"}, "unequal shape or no numbers"),
        ({"skeletons": nan(nucla_files.walk(CLIP).tolist())}, "NaN"),
        ({"skeletons": [[[0.0, 0.0, 0.0]] * 20] * 3}, "no skeleton in any of its 3 frames"),
        ({"label": 11}, "label 11 out of range, expected 1 to 10"),
        ({"label": None}, "label None out of range"),
        ({"label": 8}, "label 8 does not match its name, expected 7"),
        ({"file_name": "a08_s03_e01_v01"}, "holds the clip 'a08_s03_e01_v01'"),
    ],
)
def test_json_rejected(tmp_path, changes, reason):
    nucla_files.write_json(tmp_path, CLIP, **changes)
    with pytest.raises(RejectedClip, match=re.escape(reason)):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"file_name": "a08', "truncated or not JSON"),
        (b"[1]", "expected the keys"),
        (b"\xff\xfe", "not a text file"),
        (b"[" * 100_000, "truncated or not JSON|nested too deeply"),
        (
            f'{{"file_name": "{CLIP}", "label": 7, "skeletons": [[[1{"0" * 400}]]]}}'.encode(),
            "unequal shape or no numbers",
        ),
    ],
)
def test_json_damaged(tmp_path, content, reason):
    nucla_files.write_json(tmp_path, CLIP).write_bytes(content)
    with pytest.raises(RejectedClip, match=reason):
        read(tmp_path)


def test_index_lists_what_cannot_be_a_clip(tmp_path):
    for name in (CLIP, "a07_s01_e00_v01", "a01_s01_e00_v04", "labels"):
        (tmp_path / f"{name}.json").write_text("{}")
    index = source(tmp_path).index()
    assert [info.id for info in index.clips] == [CLIP]
    assert [(name, reason[:13]) for name, reason in index.rejected] == [
        ("a01_s01_e00_v04", "no view v04, "),
        ("a07_s01_e00_v01", "no action a07"),
    ]


# -------------------------------------------------------------------------------------------------- original release


@pytest.mark.parametrize("folder", ["", "multiview_action"])
def test_original(tmp_path, folder):
    nucla_files.write_original(tmp_path / folder, CLIP)
    nucla_files.write_original(tmp_path / folder, "a01_s01_e00_v03")
    assert [info.id for info in source(tmp_path).index().clips] == ["a01_s01_e00_v03", CLIP]
    clip = read(tmp_path, "--size", "128")
    poses = nucla_files.walk(CLIP, 4)
    # In the order of the numbers: by name, frames 10 and 11 would come before 8 and 9.
    np.testing.assert_allclose(clip.pose_xyz[:, 0], poses, atol=1e-5)
    np.testing.assert_allclose(
        clip.pose_xy[:, 0], crops.project(poses, nucla_files.FOCAL_LENGTH, *nucla_files.FRAME), atol=1e-2
    )
    assert set(clip.images) == {"full_body"}
    for picture, box, joints in zip(clip.images["full_body"], clip.boxes["full_body"], clip.pose_xy[:, 0]):
        image = crops.decode_jpeg(picture)
        assert image.shape == (128, 128, 3)
        x, y = ((joints - box[:2]) * 128 / (box[2] - box[0])).astype(int).T
        assert nucla_files.is_body(image[y, x]).all()  # every joint lies in the crop, where the box says


def test_original_hands(tmp_path):
    nucla_files.write_original(tmp_path, CLIP)
    clip = read(tmp_path, "--parts", "right_hand,left_hand", "--size", "32")
    assert list(clip.images) == ["left_hand", "right_hand"]  # in the contract's order, whatever was asked for
    layout = nucla._LAYOUT
    for part, joint in (("left_hand", layout.left_hand), ("right_hand", layout.right_hand)):
        boxes = clip.boxes[part]
        np.testing.assert_allclose((boxes[:, :2] + boxes[:, 2:]) / 2, clip.pose_xy[:, 0, joint], atol=1)
        np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], nucla_files.FOCAL_LENGTH * 0.4 / 3, atol=1)
        assert all(nucla_files.is_body(crops.decode_jpeg(picture))[14:18, 14:18].all() for picture in clip.images[part])


def test_original_poses_alone(tmp_path):
    for picture in nucla_files.write_original(tmp_path, CLIP).glob("*.jpg"):
        picture.unlink()
    clip = read(tmp_path, "--parts", "none")
    np.testing.assert_allclose(clip.pose_xyz[:, 0], nucla_files.walk(CLIP, 4), atol=1e-5)
    assert clip.images == {}
    with pytest.raises(RejectedClip, match="no pictures"):
        read(tmp_path)


def skeleton_file(folder, number):
    (path,) = folder.glob(f"frame_{number}_tc_*_skeletons.txt")
    return path


def test_frames_without_a_skeleton_are_interpolated(tmp_path):
    folder = nucla_files.write_original(tmp_path, CLIP)
    skeleton_file(folder, 9).unlink()  # no file
    skeleton_file(folder, 10).write_text("")  # the sensor saw nobody
    clip = read(tmp_path)
    poses = nucla_files.walk(CLIP, 4)
    np.testing.assert_allclose(clip.pose_xyz[1, 0], poses[0] + (poses[3] - poses[0]) / 3, atol=1e-5)
    np.testing.assert_allclose(clip.pose_xyz[2, 0], poses[0] + (poses[3] - poses[0]) * 2 / 3, atol=1e-5)
    assert clip.pose_confidence[:, 0].mean(axis=1).tolist() == [1, 0.25, 0.25, 1]


@pytest.mark.parametrize(("pictures", "texts"), [(2, 8), (8, 1)])
def test_pictures_or_skeletons_cut_off(tmp_path, pictures, texts):
    folder = nucla_files.write_original(tmp_path, CLIP, frames=range(8))
    for path in [*sorted(folder.glob("*_rgb.jpg"))[pictures:], *sorted(folder.glob("*_skeletons.txt"))[texts:]]:
        path.unlink()
    both = min(pictures, texts)
    with pytest.raises(
        RejectedClip, match=f"{pictures} pictures and {texts} skeleton files, {both} frame numbers in common"
    ):
        read(tmp_path)


def test_a_view_that_cannot_be_read_is_named(tmp_path):
    nucla_files.write_original(tmp_path, CLIP)
    (tmp_path / "view_3").write_text("")  # as of one that is not permitted, which would not hinder root
    index = source(tmp_path).index()
    assert [info.id for info in index.clips] == [CLIP]
    ((view, reason),) = index.rejected
    assert (view, reason[:21]) == ("view_3", "folder cannot be read")


def test_tracking_states_are_confidences(tmp_path):
    folder = nucla_files.write_original(tmp_path, CLIP)
    pose = nucla_files.walk(CLIP, 4)[0]
    skeleton_file(folder, 8).write_text(nucla_files.skeleton_text(pose, states=(2, 1, 0) + (2,) * 17))
    assert read(tmp_path).pose_confidence[0, 0, :4].tolist() == [1, 0.5, 0.25, 1]


def test_nearest_of_several_persons(tmp_path):
    folder = nucla_files.write_original(tmp_path, CLIP)
    pose = nucla_files.walk(CLIP, 4)[0]
    behind = pose + np.array([0.5, 0, 1], np.float32)
    lost = np.zeros_like(pose)
    skeleton_file(folder, 8).write_text(nucla_files.skeleton_text(lost, behind, pose))
    np.testing.assert_allclose(read(tmp_path).pose_xyz[0, 0], pose, atol=1e-5)


def test_whole_frame_when_the_person_is_out_of_it(tmp_path):
    poses = nucla_files.walk(CLIP, 4) + np.array([9, 0, 0], np.float32)
    nucla_files.write_original(tmp_path, CLIP, poses=poses)
    width, height = nucla_files.FRAME
    margin = (width - height) / 2
    assert read(tmp_path).boxes["full_body"].tolist() == [[0, -margin, width, height + margin]] * 4


TEXT = nucla_files.skeleton_text(nucla_files.STANDING + np.array([0, 0, 3], np.float32))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEXT[: len(TEXT) // 2].rpartition("\n")[0], "truncated, a person of"),
        (TEXT[:-6], "expected x,y,z,state"),
        (TEXT.replace("3,2", "nan,2", 1), "NaN or infinite"),
        (TEXT.replace("3,2", "3,7", 1), "line 2: '0,0,3,7', expected x,y,z,state"),
        (TEXT.replace("3,2", "3,x", 1), "is no number"),
        (TEXT.partition("\n")[2], "line 1"),
        ("60\n", "a person of 0 joints, expected 20"),
    ],
)
def test_original_text_rejected(tmp_path, text, reason):
    skeleton_file(nucla_files.write_original(tmp_path, CLIP), 10).write_text(text)
    with pytest.raises(RejectedClip, match=f"view_2/a08_s03_e01/frame_10_tc_800000_skeletons.txt.*{reason}"):
        read(tmp_path)


def test_original_without_any_skeleton_is_rejected(tmp_path):
    for path in nucla_files.write_original(tmp_path, CLIP).glob("*_skeletons.txt"):
        path.unlink()
    with pytest.raises(RejectedClip, match="view_2/a08_s03_e01: no skeleton files"):
        read(tmp_path)


def test_joint_never_measured_is_rejected(tmp_path):
    poses = nucla_files.walk(CLIP, 4)
    poses[:, 3] = 0
    nucla_files.write_original(tmp_path, CLIP, poses=poses)
    with pytest.raises(RejectedClip, match="joint head measured in no frame"):
        read(tmp_path)


def test_truncated_picture_is_rejected(tmp_path):
    folder = nucla_files.write_original(tmp_path, CLIP)
    (path,) = folder.glob("frame_9_*_rgb.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RejectedClip, match=r"frame_9_tc_720000_rgb\.jpg: not a whole JPEG file"):
        read(tmp_path)


def test_frame_there_twice_is_rejected(tmp_path):
    folder = nucla_files.write_original(tmp_path, CLIP)
    (folder / "frame_9_tc_5_rgb.jpg").write_bytes(b"")
    with pytest.raises(RejectedClip, match=r"frame 9 is there twice, also as frame_9_tc_5_rgb\.jpg: two recordings"):
        read(tmp_path)


# ------------------------------------------------------------------------------------------------------------ videos


@pytest.mark.parametrize("folder", ["", "multiview_action_videos"])
def test_videos(tmp_path, folder):
    for name in ("a08/v02_s03_e01.avi", "a01/v03_s01_e00.avi", "a07/v01_s01_e00.avi", "a01/notes.avi"):
        recording_files.write_video(tmp_path / folder / name, FRAMES)
    opened = source(tmp_path, "--no-poses", "--size", "24")
    index = opened.index()
    assert [info.id for info in index.clips] == ["a01_s01_e00_v03", CLIP]
    assert [(name, reason[:13]) for name, reason in index.rejected] == [("a07_s01_e00_v01", "no action a07")]
    clip = opened.read(index.clips[1])
    assert (len(clip.images["full_body"]), clip.fps, clip.pose_xyz) == (len(FRAMES), 25.0, None)
    with pytest.raises(UserError, match="has videos alone: give --poses estimate, or --no-poses"):
        source(tmp_path)


# ------------------------------------------------------------------------------------------------------- the options


def test_both_releases_in_one_folder(tmp_path):
    nucla_files.write_json(tmp_path, CLIP)
    nucla_files.write_original(tmp_path, CLIP)
    with pytest.raises(UserError, match="several releases, choose one with --form json or --form original"):
        source(tmp_path)
    assert source(tmp_path, "--form", "json").options() == {"form": "json"}
    assert source(tmp_path, "--form", "original").options() == {
        "form": "original",
        "parts": ["full_body"],
        "poses": True,
        "size": 256,
    }


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("", [], "no release of N-UCLA there, expected files"),
        ("json", ["--form", "original"], "no original release"),
        ("json", ["--parts", "full_body"], "the JSON release holds no pictures"),
        ("original", ["--parts", "full_body,foot"], "no part 'foot', valid: full_body,.*,full_image, none"),
        ("original", ["--size", "0"], "--size 0"),
        ("original", ["--size", "4097"], "--size 4097: expected a number of pixels from 1 to 4096"),
    ],
)
def test_wrong_options(tmp_path, form, options, message):
    if form:
        {"json": nucla_files.write_json, "original": nucla_files.write_original}[form](tmp_path, CLIP)
    with pytest.raises(UserError, match=message):
        source(tmp_path, *options)


@pytest.mark.parametrize(("name", "message"), [("absent", "no such folder"), ("file", "is a file")])
def test_no_folder(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=message):
        source(tmp_path / name)


def test_release_without_clips(tmp_path):
    (tmp_path / "view_1").mkdir()
    with pytest.raises(UserError, match="no N-UCLA clip in it"):
        source(tmp_path).index()
