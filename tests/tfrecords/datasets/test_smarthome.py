"""Toyota Smarthome: names, LCR-Net's poses, videos."""

import argparse
import json

import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords import schema
from tfrecords.datasets import smarthome
from tfrecords.errors import RejectedClip

CLIP = "Drink.Fromcup_p03_r01_v12_c05"
WALK = recording_files.walk("lcrnet_13")  # 14 frames


def source(folder, *options):
    parser = argparse.ArgumentParser()
    smarthome.Smarthome.add_arguments(parser)
    return smarthome.Smarthome.from_arguments(parser.parse_args(["--source", str(folder), *options]))


def write(folder, clip=CLIP, text=None):
    for kind in ("mp4", "json"):
        (folder / kind).mkdir(exist_ok=True)
    recording_files.write_video(folder / "mp4" / f"{clip}.mp4", recording_files.frames_of(WALK), rate=20)
    text = recording_files.lcrnet_text(WALK) if text is None else text
    (folder / "json" / f"{clip}_pose3d.json").write_text(text)


def test_an_id_names_activity_person_repetition_video_and_camera():
    expected = schema.ClipInfo(CLIP, label=8, subject=3, camera=5, setup=12, repetition=1)
    assert smarthome.Smarthome.parse_id(CLIP) == expected
    assert smarthome.ACTIVITIES[8] == "Drink.Fromcup"
    assert len(smarthome.ACTIVITIES) == 31
    assert list(smarthome.ACTIVITIES) == sorted(smarthome.ACTIVITIES, key=str.lower)


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        ("Pour.Fromcup_p11_r00_v03_c04", "Pour.Fromcup is in none of the dataset's protocols"),
        ("Sleep_p11_r00_v03_c04", "no activity 'Sleep'"),
        ("Walk_p11_r00_v03_c08", "no camera c08"),
        ("Walk_p11_r00_v03", "no clip id of Toyota Smarthome"),
    ],
)
def test_names_that_are_no_clip(clip, reason):
    with pytest.raises(ValueError, match=reason):
        smarthome.Smarthome.parse_id(clip)


@pytest.mark.parametrize("downwards", [True, False])
def test_the_surest_person_with_y_upwards(tmp_path, downwards):
    other = WALK + np.float32([0.3, 0, 1])
    text = recording_files.lcrnet_text(other, WALK, downwards=downwards)
    xyz, xy, confidence = smarthome.parse_poses(text, "x")
    np.testing.assert_allclose(xyz, WALK, atol=1e-5)
    np.testing.assert_allclose(xy, recording_files.project(WALK), atol=1e-3)
    assert confidence.tolist() == [[1.0] * 13] * 14


def test_poses_and_pictures(tmp_path):
    gap = WALK.copy()
    gap[5:8] = np.nan
    write(tmp_path, text=recording_files.lcrnet_text(gap))
    write(tmp_path, "Pour.Fromcup_p11_r00_v03_c04")
    opened = source(tmp_path, "--parts", "full_body,right_hand", "--size", "40")
    index = opened.index()
    assert [name for name, _ in index.rejected] == ["Pour.Fromcup_p11_r00_v03_c04"]
    clip = opened.read(index.clips[0])
    assert clip.info.id == CLIP
    np.testing.assert_allclose(clip.pose_xyz[:, 0], WALK, atol=1e-5)  # the line between the neighbours is her path
    assert clip.pose_confidence[:, 0, 0].tolist() == [1] * 5 + [0.25] * 3 + [1] * 6
    assert (clip.fps, len(clip.images["right_hand"]), clip.boxes["full_body"].shape) == (20.0, 14, (14, 4))


def test_the_refined_skeletons_beside_the_first_release_and_depth(tmp_path):
    """Version 1.2 has no scores; a depth video may have the name of the colour video."""
    write(tmp_path)
    first = json.loads(recording_files.lcrnet_text(WALK + np.float32([0.3, 0, 1])))
    (tmp_path / "json" / f"{CLIP}.json").write_text(json.dumps(first))
    refined = json.loads(recording_files.lcrnet_text(WALK))
    for persons in refined["frames"]:
        del persons[0]["cumscore"]
    (tmp_path / "json" / f"{CLIP}_pose3d.json").write_text(json.dumps(refined))
    (tmp_path / "Depth" / "p02").mkdir(parents=True)
    (tmp_path / "Depth" / "p02" / f"{CLIP}.mp4").write_bytes(b"depth")
    opened = source(tmp_path, "--size", "40")
    index = opened.index()
    assert index.rejected == ()
    np.testing.assert_allclose(opened.read(index.clips[0]).pose_xyz[:, 0], WALK, atol=1e-5)


def test_files_are_found_behind_links_and_not_in_what_a_conversion_leaves(tmp_path):
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk")
    source_folder = tmp_path / "source"
    (source_folder / "out" / ".conversion").mkdir(parents=True)
    for name in ("manifest.json", ".conversion/plan.json"):
        (source_folder / "out" / name).write_text("{}")
    (source_folder / "link").symlink_to(tmp_path / "disk")
    (source_folder / "again").symlink_to(tmp_path / "disk" / "json")
    (source_folder / "circle").symlink_to(source_folder)
    opened = source(source_folder)
    index = opened.index()
    assert ([info.id for info in index.clips], index.rejected) == ([CLIP], ())
    assert opened.read(index.clips[0]).num_frames == 14


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated or not JSON"),
        (recording_files.lcrnet_text(WALK)[:-100], "truncated or not JSON"),
        ("[]", "expected frames, a list of lists"),
        ('{"frames": 3}', "expected frames"),
        ('{"frames": []}', "no frames"),
        ('{"frames": [[], []]}', "no skeleton in any of its 2 frames"),
        ('{"frames": [[{"pose3d": [1]}]]}', "expected frames"),
        (json.dumps({"frames": [[{"pose2d": [0.0] * 26, "pose3d": [0.0] * 38}]]}), "pose3d of another length than 39"),
        (json.dumps({"frames": [[{"pose2d": ["a"] * 26, "pose3d": [0.0] * 39}]]}), "values that are no numbers"),
        (f'{{"frames": [[{{"pose2d": [1{"0" * 400}], "pose3d": [0]}}]]}}', "values that are no numbers"),
        ("[" * 100_000, "truncated or not JSON|nested too deeply"),
    ],
)
def test_damaged_poses(tmp_path, text, reason):
    write(tmp_path, text=text)
    opened = source(tmp_path, "--parts", "none")
    (info,) = opened.index().clips
    with pytest.raises(RejectedClip, match=reason):
        opened.read(info)
