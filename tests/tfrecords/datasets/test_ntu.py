"""NTU RGB+D 60 and 120: names, skeleton files, videos, and what is wrong with either."""

import argparse
import os
import re

import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords import convert, datasets, schema
from tfrecords.converting import crops
from tfrecords.datasets import ntu
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

CLIP = "S001C002P003R002A060"
WALK = recording_files.walk("kinect_v2_25")  # 14 frames


def source(folder, *options, dataset="ntu60"):
    parser = argparse.ArgumentParser()
    datasets.get(dataset).add_arguments(parser)
    return datasets.get(dataset).from_arguments(parser.parse_args(["--source", str(folder), *options]))


def read(folder, *options, clip=CLIP):
    opened = source(folder, *options)
    index = opened.index()
    assert [info.id for info in index.clips] == [clip]
    return opened.read(index.clips[0])


def write(folder, clip=CLIP, bodies=None, **video):
    folder.mkdir(parents=True, exist_ok=True)
    text = recording_files.ntu_text(bodies or {72057594037931101: (0, WALK)})
    (folder / f"{clip}.skeleton").write_text(text)
    recording_files.write_video(folder / f"{clip}_rgb.avi", recording_files.frames_of(WALK), **video)


def test_an_id_names_setup_camera_person_repetition_and_action():
    assert ntu.NTU60.parse_id(CLIP) == schema.ClipInfo(CLIP, 59, subject=3, camera=2, setup=1, repetition=2)
    assert ntu.NTU120.parse_id("S032C003P106R002A120").label == 119
    assert (len(ntu.NTU60.labels), len(ntu.NTU120.labels), len(set(ntu.ACTIONS))) == (60, 120, 120)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        ("S018C001P001R001A001", "setup 18 is not in ntu60, expected 1 to 17"),
        ("S001C004P001R001A001", "camera 4"),
        ("S001C001P041R001A001", "person 41"),
        ("S001C001P001R001A061", "action 61"),
        ("S001C001P001R001A001_x", "no clip id of NTU RGB"),
    ],
)
def test_names_that_are_no_clip(clip, reason):
    with pytest.raises(ValueError, match=reason):
        ntu.NTU60.parse_id(clip)


def test_poses_and_pictures(tmp_path):
    second = recording_files.walk("kinect_v2_25", start=(0.4, 0, 3.5), end=(0.4, 0, 3.5))
    write(tmp_path / "any" / "where", bodies={7: (0, second), 3: (0, WALK)})
    clip = read(tmp_path, "--parts", "full_body,left_hand", "--size", "48")
    np.testing.assert_allclose(clip.pose_xyz[:, 0], WALK, atol=1e-6)  # the one who moves more comes first
    np.testing.assert_allclose(clip.pose_xyz[:, 1], second, atol=1e-6)
    np.testing.assert_allclose(clip.pose_xy[:, 0], recording_files.project(WALK), atol=1e-2)  # pixels of this video
    assert (clip.pose_confidence == 1).all()
    assert (clip.fps, clip.layout, clip.label_text, clip.num_frames) == (25.0, "kinect_v2_25", ntu.ACTIONS[59], 14)
    for part in ("full_body", "left_hand"):
        assert clip.images[part][0].startswith(b"\xff\xd8")
    centre = crops.decode_jpeg(clip.images["left_hand"][7])[22:26, 22:26]
    assert recording_files.is_body(centre).all()


def test_either_alone(tmp_path):
    write(tmp_path)
    poses = read(tmp_path, "--parts", "none")
    assert (poses.images, poses.pose_xyz.shape, poses.fps) == ({}, (14, 2, 25, 3), 30.0)
    np.testing.assert_allclose(
        poses.pose_xy[:, 0], recording_files.project(WALK) * (12, 9), atol=1e-1
    )  # of 1920 x 1080
    (tmp_path / f"{CLIP}.skeleton").unlink()
    video = read(tmp_path, "--no-poses", "--size", "32")
    assert (video.layout, video.persons, video.num_frames) == ("", 0, 14)
    assert video.boxes["full_body"].tolist() == [[0, -20, 160, 140]] * 14


def test_copies_of_the_videos(tmp_path):
    """Copies are often MP4 files; where both are there, the authors' video is taken."""
    write(tmp_path)
    (tmp_path / f"{CLIP}_rgb.mp4").write_bytes(b"not read")
    assert read(tmp_path, "--size", "32").num_frames == 14
    (tmp_path / f"{CLIP}_rgb.avi").unlink()
    recording_files.write_video(tmp_path / f"{CLIP}_rgb.mp4", recording_files.frames_of(WALK))
    assert read(tmp_path, "--size", "32").num_frames == 14


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (
            ".skeleton",
            "no poses of it (--no-poses converts videos alone, --missing-poses keep also clips without poses)",
        ),
        ("_rgb.avi", "no video of it (--parts none"),
    ],
)
def test_one_of_the_two_is_missing(tmp_path, ending, reason):
    write(tmp_path)
    (tmp_path / f"{CLIP}{ending}").unlink()
    with pytest.raises(RejectedClip, match=re.escape(reason)):
        read(tmp_path)


def test_a_body_out_of_the_colour_picture_is_projected(tmp_path):
    lines = recording_files.ntu_text({1: (0, WALK)}).split("\r\n")
    for number in range(4, len(lines), 9):
        fields = lines[number].split()
        if len(fields) == 12:
            lines[number] = " ".join([*fields[:5], "NaN", "NaN", *fields[7:]])
    tracks, frames = ntu.parse_skeleton("\n".join(lines), "x")
    np.testing.assert_allclose(tracks[0].xy, recording_files.project(WALK) * (12, 9), atol=0.1)
    assert frames == 14


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: "", "truncated at line 1, expected the number of frames"),
        (lambda text: text[: len(text) // 2].rsplit("\r\n", 1)[0], r"truncated at line \d+"),
        (lambda text: text[: len(text) // 2].rsplit(" ", 3)[0], r"line \d+: \d+ values, expected a joint's 12 values"),
        (lambda text: text.replace("25\r\n", "24\r\n", 1), "line 4: 24 joints, expected 25"),
        (lambda text: text.replace("277.4", "far", 1), "a joint's value is no number"),
        (lambda text: text.replace("14\r\n", "-1\r\n", 1), "'-1', expected the number of frames"),
        (lambda text: text.replace("14\r\n", "13\r\n", 1), "more lines than its 13 frames need"),
        (lambda text: "5\n" + "0\n" * 5, "no skeleton in any of its 5 frames"),
        (lambda text: "<html>404</html>", "expected the number of frames"),
    ],
)
def test_damaged_skeleton(tmp_path, damage, reason):
    write(tmp_path)
    path = tmp_path / f"{CLIP}.skeleton"
    path.write_text(damage(path.read_bytes().decode()))
    with pytest.raises(RejectedClip, match=reason):
        read(tmp_path, "--parts", "none")


def test_not_a_text(tmp_path):
    write(tmp_path)
    (tmp_path / f"{CLIP}.skeleton").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RejectedClip, match="not a text file"):
        read(tmp_path)


def test_not_readable(tmp_path, monkeypatch):
    write(tmp_path)

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(RejectedClip, match=r"\.skeleton: cannot be read \(Permission denied\)"):
        read(tmp_path)


@pytest.mark.parametrize("frames", [9, 19])
def test_a_video_of_nearly_the_skeletons_length_is_cut_to_it(tmp_path, frames):
    write(tmp_path)
    moving = recording_files.frames_of(recording_files.walk("kinect_v2_25", frames))
    recording_files.write_video(tmp_path / f"{CLIP}_rgb.avi", moving)
    assert read(tmp_path, "--size", "16").num_frames == min(frames, 14)


@pytest.mark.parametrize("frames", [8, 20])
def test_a_video_of_another_length_is_rejected(tmp_path, frames):
    write(tmp_path)
    moving = recording_files.frames_of(recording_files.walk("kinect_v2_25", frames))
    recording_files.write_video(tmp_path / f"{CLIP}_rgb.avi", moving)
    with pytest.raises(RejectedClip, match=f"video of {frames} frames and skeleton of 14: one of the two is cut off"):
        read(tmp_path)


def test_damaged_video_is_rejected(tmp_path):
    write(tmp_path)
    (tmp_path / f"{CLIP}_rgb.avi").write_bytes(b"")
    with pytest.raises(RejectedClip, match=r"_rgb\.avi: damaged or no video file"):
        read(tmp_path)


def test_what_looks_like_a_clip_and_is_none(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two")
    write(tmp_path / "two", "S001C001P001R001A001")
    for name in (b"S001C001P001R001A999.skeleton", b"S001C001P001R001\xe9.skeleton", b"notes.txt", b".x.skeleton"):
        with open(os.fsencode(tmp_path) + b"/" + name, "w") as file:
            file.write("0")
    index = source(tmp_path).index()
    assert [info.id for info in index.clips] == ["S001C001P001R001A001"]
    rejected = dict(index.rejected)
    assert sorted(rejected) == ["S001C001P001R001A999", "S001C001P001R001\\xe9", CLIP]
    assert rejected[CLIP].startswith("is there twice: ")
    assert "action 999" in rejected["S001C001P001R001A999"]
    assert all(text.isascii() for entry in index.rejected for text in entry)


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    write(tmp_path / "open")
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    opened = source(tmp_path)
    monkeypatch.setattr(os, "scandir", refuse)
    index = opened.index()
    assert [info.id for info in index.clips] == [CLIP]
    assert dict(index.rejected)["closed"].startswith("folder cannot be read (Permission denied)")


def test_clips_listed_as_missing(tmp_path):
    write(tmp_path)
    write(tmp_path, "S001C001P001R001A001")
    (tmp_path / "list.txt").write_text(f"302 samples\n\n{CLIP}\n")
    opened = source(tmp_path, "--missing-skeletons", str(tmp_path / "list.txt"))
    assert [info.id for info in opened.index().clips] == ["S001C001P001R001A001"]
    assert dict(opened.index().rejected)[CLIP].startswith("listed by the authors")
    assert opened.options()["missing_skeletons"] == 1
    (tmp_path / "list.txt").write_text("nothing")
    with pytest.raises(UserError, match="no clip id in it"):
        source(tmp_path, "--missing-skeletons", str(tmp_path / "list.txt"))
    with pytest.raises(UserError, match="cannot be read"):
        source(tmp_path, "--missing-skeletons", str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], r"no clip of NTU RGB\+D below it, expected names such as S001C001P001R001A001\.skeleton and"),
        (["--parts", "feet"], "no part 'feet'"),
        (["--size", "0"], "--size 0"),
        (["--no-poses", "--parts", "left_hand"], "--no-poses with --parts left_hand"),
        (["--no-poses", "--parts", "none"], "--no-poses with --parts none"),
    ],
)
def test_mistakes_of_the_user(tmp_path, options, reason):
    with pytest.raises(UserError, match=reason):
        source(tmp_path, *options).index()


@pytest.mark.real_data
def test_real_files(real_data):
    opened = source(real_data / "ntu", "--parts", "none", dataset="ntu120")
    clips = {info.id: opened.read(info) for info in opened.index().clips}
    assert len(clips) == 9
    persons = {clip_id: (clip.pose_confidence > 0).any(axis=(0, 2)).sum() for clip_id, clip in clips.items()}
    assert {clip_id[-4:] for clip_id, count in persons.items() if count == 2} == {"A050", "A058", "A054", "A055"}
    for clip in clips.values():
        thighs = np.linalg.norm(clip.pose_xyz[:, 0, 12] - clip.pose_xyz[:, 0, 13], axis=-1)
        assert 0.25 < np.median(thighs) < 0.55  # metres

    opened = source(real_data / "ntu")
    opened.index()
    with_video = opened.read(opened.parse_id("S001C001P001R001A001"))
    assert with_video.num_frames == len(with_video.images["full_body"]) == 103
    sides = np.diff(with_video.boxes["full_body"][:, [0, 2]])
    assert ((sides > 400) & (sides < 600)).all()


def test_a_file_that_was_replaced_makes_another_conversion(tmp_path, run_command):
    """The poses of a truncated download do not stay missing silently."""
    folder = tmp_path / "nturgbd_skeletons"
    write(folder)
    write(folder, "S001C002P003R002A059")
    whole = (folder / f"{CLIP}.skeleton").read_text()
    (folder / f"{CLIP}.skeleton").write_text(whole[:-200])
    command = ["ntu60", "--source", folder, "--parts", "none", "--out", tmp_path / "out"]
    status, printed, errors = run_command(convert.main, *command)
    assert (status, "1 clips in" in printed, "1 rejected" in printed) == (0, True, True), printed + errors
    assert run_command(convert.main, *command)[0] == 0
    (folder / f"{CLIP}.skeleton").write_text(whole)
    status, _, errors = run_command(convert.main, *command)
    assert (status, "(of videos or poses that have changed since, or were not there)" in errors) == (2, True), errors


def test_folders_of_another_name_hold_the_same_conversion(tmp_path):
    """Only sizes count: not where the files lie, nor the order in which the folders are found."""
    for name, content in (f"skeletons/{CLIP}.skeleton", "poses"), (f"rgb/{CLIP}_rgb.avi", "a video"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)

    def digest():
        found = ntu.NTU60(tmp_path)
        assert not found.index().rejected
        return found.options()["files"]

    before = digest()
    (tmp_path / "rgb").rename(tmp_path / "videos")
    assert digest() == before
