"""MSR Daily Activity 3D: the official and the converted form, and what is wrong with files of either."""

import json
import re

import numpy as np
import pytest

from tests.tfrecords import msr_daily_files, nucla_files
from tfrecords import convert, protocols, schema
from tfrecords.converting import crops
from tfrecords.datasets import msr_daily
from tfrecords.errors import RejectedClip
from zoo import skeletons

CLIP = "a05_s03_e02"
LAYOUT = skeletons.get("kinect_v1_20")


def read(folder, clip=CLIP, **options):
    source = msr_daily.MSRDaily(folder, **{"size": 96, **options})
    source.index()
    return source.read(source.parse_id(clip))


# ------------------------------------------------------------------------------------------------------------- names


def test_an_id_names_activity_subject_and_performance():
    assert msr_daily.MSRDaily.parse_id("a16_s10_e02") == schema.ClipInfo("a16_s10_e02", 15, subject=10, repetition=2)
    assert (msr_daily.ACTIVITIES[0], msr_daily.ACTIVITIES[15], len(msr_daily.ACTIVITIES)) == ("drink", "sit down", 16)


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("a01_s01", "no clip id of MSR Daily"),
        ("a17_s01_e01", "no a17, expected a01 to a16"),
        ("a01_s11_e01", "no s11, expected s01 to s10"),
        ("a01_s01_e03", "no e03, expected e01 to e02"),
    ],
)
def test_no_id(clip, message):
    with pytest.raises(ValueError, match=message):
        msr_daily.MSRDaily.parse_id(clip)


def test_every_subject_is_tested_once_and_the_even_ones_again():
    for subject in range(1, 11):
        splits = protocols.splits_of("msr_daily", f"a01_s{subject:02d}_e01")
        tested = {name for name, split in splits.items() if split == "test"}
        assert tested == {f"loso_{subject}"} | ({"odd_even"} if subject % 2 == 0 else set())
        assert None not in splits.values()
        assert len(splits) == 11


# ------------------------------------------------------------------------------------------------------------ parser


def test_official_rows():
    numbers = iter(range(10_000))
    joint = [[next(numbers) for _ in range(8)] for _ in range(20)]
    rows = [
        f"{row[0] / 1000} {row[1] / 1000} {1 + row[2] / 1000} 1\n{row[4] / 1000} {row[5] / 1000} 900 1" for row in joint
    ]
    text = "\n".join(["2 20", "0", "40", *rows]) + "\n"
    values = msr_daily.parse_skeleton(text, "x")
    assert values.shape == (2, 20, 6)
    assert not values[0].any()  # nobody in the first frame
    np.testing.assert_allclose(values[1, 19], [0.152, 0.153, 1.154, 0.156, 0.157, 1], atol=1e-6)


POSES = msr_daily_files.walk(CLIP)
TEXT = msr_daily_files.skeleton_text(POSES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty or of another form"),
        ("8 15\n", "empty or of another form, expected numbers of frames and of 20 joints"),
        ("8.5 20\n", "empty or of another form"),
        ("1e18 20\n", "truncated, 2 values for 1000000000000000000 frames"),
        (TEXT[: len(TEXT) // 2], "truncated in frame 4 of 8"),
        (TEXT.replace("\n40\n", "\n39\n", 1), "frame 1: 39 rows, expected 40 per body"),
        (TEXT.replace("\n40\n", "\nnan\n", 1), "frame 1: nan rows"),
        (TEXT + "0 0 0 0\n", "more values than its 8 frames need"),
        (
            TEXT.replace("40", "forty", 1),
            "holds a value that is not a number (could not convert string to float: 'forty')",
        ),
        ("3 20\n0\n0\n0\n", "no skeleton in any of its 3 frames"),
    ],
)
def test_official_rejected(tmp_path, text, reason):
    msr_daily_files.write(tmp_path, CLIP, video=False).write_text(text)
    with pytest.raises(RejectedClip, match=f"^{CLIP}_skeleton.txt.*{re.escape(reason)}"):
        read(tmp_path, parts=())


CONVERTED = msr_daily_files.converted_text(POSES)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated, 0 values, expected 100 per frame"),
        (CONVERTED[: len(CONVERTED) // 2], "truncated, "),
        (CONVERTED.replace("\n1 2 ", "\n1 3 ", 1), "frames or joints out of order"),
        (CONVERTED.replace("1 1 ", "2 1 ", 1), "frames or joints out of order"),
        (CONVERTED.replace("1 1 ", "x 1 ", 1), "holds a value that is not a number"),
        (re.sub(r"(?m)^(\d+) 4 .*", r"\1 4 nan nan nan", CONVERTED), "joint head measured in no frame"),
    ],
)
def test_converted_rejected(tmp_path, text, reason):
    (tmp_path / f"{CLIP}_skeleton_proj.txt").write_text(text)
    with pytest.raises(RejectedClip, match=f"^{CLIP}_skeleton_proj.txt.*{re.escape(reason)}"):
        read(tmp_path, parts=())


@pytest.mark.parametrize("nan", ["NaN", "-1.#IND00"])
def test_nan_is_interpolated(tmp_path, nan):
    lines = CONVERTED.splitlines()
    lines[2 * 20 + 7] = f"3 8 {nan} {nan} {nan}"
    (tmp_path / f"{CLIP}_skeleton_proj.txt").write_text("\n".join(lines))
    clip = read(tmp_path, parts=())
    np.testing.assert_allclose(clip.pose_xyz[2, 0, 7], (POSES[1, 7] + POSES[3, 7]) / 2, atol=1e-3)
    assert [tuple(i) for i in np.argwhere(clip.pose_confidence < 1)] == [(2, 0, 7)]


def test_the_first_of_two_bodies_and_frames_without_one(tmp_path):
    both = np.stack([POSES, POSES + np.array([0.5, 0, 1], np.float32)])
    bodies = [[0], [0, 1], [], [0], [0, 1], [0], [0], [0]]
    msr_daily_files.write(tmp_path, CLIP, video=False).write_text(msr_daily_files.skeleton_text(both, bodies))
    clip = read(tmp_path, parts=())
    there = [0, 1, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(clip.pose_xyz[there, 0], POSES[there], atol=1e-5)
    np.testing.assert_allclose(clip.pose_xyz[2, 0], (POSES[1] + POSES[3]) / 2, atol=1e-5)
    assert clip.pose_confidence[:, 0].mean(axis=1).tolist() == [1, 1, 0.25, 1, 1, 1, 1, 1]


# ------------------------------------------------------------------------------------------------------------- clips


@pytest.mark.parametrize("form", ["official", "converted"])
def test_clip(tmp_path, form):
    path = msr_daily_files.write(tmp_path, CLIP)
    if form == "converted":
        path.unlink()
        (tmp_path / f"{CLIP}_skeleton_proj.txt").write_text(CONVERTED)
    clip = read(tmp_path)
    np.testing.assert_allclose(clip.pose_xyz[:, 0], POSES, atol=1e-3)
    np.testing.assert_allclose(clip.pose_xy[:, 0], msr_daily_files.pixels(POSES), atol=0.1)
    assert (clip.label_text, clip.layout, clip.fps, clip.num_frames) == ("write on a paper", LAYOUT.name, 30, 8)
    for picture, box, joints in zip(clip.images["full_body"], clip.boxes["full_body"], clip.pose_xy[:, 0]):
        image = crops.decode_jpeg(picture)
        x, y = ((joints - box[:2]) * 96 / (box[2] - box[0])).astype(int).T
        assert nucla_files.is_body(image[y, x]).mean() > 0.9  # a lossy video


def test_the_official_form_is_preferred(tmp_path):
    msr_daily_files.write(tmp_path, CLIP, video=False)
    (tmp_path / f"{CLIP}_skeleton_proj.txt").write_text(msr_daily_files.converted_text(POSES + np.float32(1)))
    (tmp_path / "a01_s01_e01_skeleton_proj.txt").write_text(CONVERTED)
    source = msr_daily.MSRDaily(tmp_path, parts=())
    assert [clip.id for clip in source.index().clips] == ["a01_s01_e01", CLIP]
    np.testing.assert_allclose(read(tmp_path, parts=()).pose_xyz[:, 0], POSES, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "counts"), [(20, "video of 20 frames and skeleton of 8"), (3, "video of 3 frames and")]
)
def test_one_of_the_two_cut_off(tmp_path, frames, counts):
    msr_daily_files.write(tmp_path, CLIP, video=False)
    poses = msr_daily_files.walk(CLIP, 20)
    if frames < 8:  # the longer of the two allows five frames
        (tmp_path / f"{CLIP}_skeleton.txt").write_text(msr_daily_files.skeleton_text(poses))
        counts += " skeleton of 20"
    msr_daily_files.write_video(tmp_path / f"{CLIP}_rgb.avi", poses[:frames])
    with pytest.raises(RejectedClip, match=f"{counts}: one of the two is cut off"):
        read(tmp_path)


def test_damaged_video_is_rejected(tmp_path):
    msr_daily_files.write(tmp_path, CLIP)
    (tmp_path / f"{CLIP}_rgb.avi").write_bytes(b"")
    with pytest.raises(RejectedClip, match=f"{CLIP}_rgb.avi: damaged or no video file"):
        read(tmp_path)


def test_command(run_command, tmp_path):
    for clip in ("a01_s01_e01", "a16_s02_e02"):
        msr_daily_files.write(tmp_path / "source", clip)
    msr_daily_files.write(tmp_path / "source" / "more", "a02_s02_e01", video=False)
    (tmp_path / "source" / "a17_s01_e01_rgb.avi").write_bytes(b"")
    out = tmp_path / "out"
    arguments = "msr_daily", "--source", tmp_path / "source", "--out", out, "--workers", 1, "--size", 64
    status, printed, errors = run_command(convert.main, *arguments)
    assert status == 0, errors
    assert printed.startswith("2 clips in ")
    assert "2 rejected (a02_s02_e01: no video of it (--parts none converts poses alone); a17_s01_e01: " in printed
    found = json.loads((out / schema.MANIFEST).read_text())
    assert found["protocols"]["odd_even"]["clips"]["test"] == found["protocols"]["loso_2"]["clips"]["test"] == 1
    assert found["counts"]["frames"] == 16


# --------------------------------------------------------------------------------------------------------- real files


@pytest.mark.real_data
def test_real_files(real_data):
    source = msr_daily.MSRDaily(real_data / "msrdaily_sample", parts=())
    index = source.index()
    assert (len(index.clips), index.rejected) == (12, ())
    clips = [source.read(info) for info in index.clips]
    assert {clip.label_text for clip in clips} == {"drink", "eat", "read book", "call cellphone"}
    head, hips = (LAYOUT.joints.index(joint) for joint in ("head", "hip_centre"))
    for clip in clips:
        poses = clip.pose_xyz[:, 0]
        assert clip.pose_confidence.min() == 1
        height = np.median(poses[:, head, 1] - poses[:, hips, 1])
        assert 0.35 < height < 0.8, clip.info.id  # metres, upwards
        assert 1 < np.median(poses[..., 2]) < 3
