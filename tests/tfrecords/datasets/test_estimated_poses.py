"""Conversions whose poses are estimated from the videos."""

import argparse

import numpy as np
import pytest

from tests.tfrecords import cad_files, msr_daily_files, nucla_files, recording_files, sbu_files
from tests.tfrecords.datasets import test_jhmdb
from tests.tfrecords.estimation import walking_estimator
from tfrecords import convert, datasets, manifest, schema
from tfrecords.converting import preview
from tfrecords.datasets import ntu
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

WALK = recording_files.walk("lcrnet_13")
FRAMES = recording_files.frames_of(WALK)
NOBODY = np.full_like(FRAMES, 40)


@pytest.fixture(autouse=True)
def walking(monkeypatch):
    walking_estimator.register(monkeypatch)


def source(dataset, *options):
    parser = argparse.ArgumentParser()
    cls = datasets.get(dataset)
    cls.add_arguments(parser)
    options = [dataset_option(dataset), *options, "--estimator", walking_estimator.NAME]
    return cls.from_arguments(parser.parse_args([str(option) for option in options]))


def dataset_option(dataset):
    return "--csv" if dataset == "folder" else "--source"


@pytest.fixture
def table(tmp_path):
    recording_files.write_video(tmp_path / "walk.mp4", FRAMES)
    recording_files.write_video(tmp_path / "empty.mp4", NOBODY)
    (tmp_path / "clips.csv").write_text("video,label,split\nwalk.mp4,walk,train\nempty.mp4,sit,test\n")
    return tmp_path / "clips.csv"


def test_a_folder_of_videos(table, run_command, tmp_path):
    options = ["--csv", table, "--poses", "estimate", "--estimator", walking_estimator.NAME, "--size", 32]
    options += ["--focal-length", recording_files.FOCAL_LENGTH, "--out", tmp_path / "out", "--workers", 1]
    status, _, errors = run_command(convert.main, "folder", *options)
    assert status == 0, errors
    found = manifest.load(tmp_path / "out")
    assert (found["skeleton_layout"], found["persons"], found["counts"]["clips"]) == ("lcrnet_13", 1, 2)
    wanted = {
        "poses": "estimate",
        "estimator": "walking",
        "model": "full",
        "persons": 1,
        "layout": "lcrnet_13",
        "missing_poses": "keep",
    }
    assert wanted.items() <= found["options"].items()
    status, _, errors = run_command(convert.main, "folder", *options, "--model", "lite")
    assert status == 2
    assert "holds another conversion (model full, now lite)" in errors


def test_poses_and_crops_follow_the_person_and_nobody_is_the_whole_frame(table):
    opened = source(
        "folder", table, "--poses=estimate", f"--focal-length={recording_files.FOCAL_LENGTH}", "--persons=2"
    )
    walk, empty = (opened.read(opened.parse_id(clip)) for clip in ("walk", "empty"))
    np.testing.assert_allclose(walk.pose_xyz[:, 0], WALK, atol=0.1)
    assert not walk.pose_xyz[:, 1].any()
    x_min, _, x_max, _ = walk.boxes["full_body"].T
    assert (x_max - x_min).max() < 120
    assert x_min[-1] > x_min[0]  # he walks to the right
    assert empty.pose_xyz.shape == walk.pose_xyz.shape
    assert not schema.decode(schema.encode(empty)).pose_confidence.any()
    assert empty.boxes["full_body"].tolist() == [[0, -20, 160, 140]] * 14
    for rejecting in (["--missing-poses=reject"], ["--parts=none"]):
        opened = source("folder", table, "--poses=estimate", *rejecting)
        with pytest.raises(RejectedClip, match="nobody found in any of its 14 frames"):
            opened.read(opened.parse_id("empty"))
    alone = source("folder", table, "--poses=estimate", "--parts=none")
    assert (alone.read(alone.parse_id("walk")).images, alone.read(alone.parse_id("walk")).num_frames) == ({}, 14)


def _nucla(folder):
    for path in nucla_files.write_original(folder, "a01_s01_e00_v01").glob("*_skeletons.txt"):
        path.unlink()


def _nucla_videos(folder):
    recording_files.write_video(folder / "multiview_action_videos" / "a01" / "v01_s01_e00.avi", FRAMES)


def _sbu(folder):
    (sbu_files.write(folder, "s01s02_03_001") / "skeleton_pos.txt").unlink()


def _cad(folder):
    cad_files.write_120(folder, "1204142055")
    for path in folder.rglob("*.txt"):
        path.unlink()


def _msr(folder):
    msr_daily_files.write(folder, "a01_s01_e01")
    for path in folder.glob("*.txt"):
        path.unlink()


def _jhmdb(folder):
    test_jhmdb.write_by_split(folder / "splits", test_jhmdb.CLIPS)
    recording_files.write_video(folder / f"{test_jhmdb.SIT}.avi", FRAMES)


@pytest.mark.parametrize(
    ("dataset", "write", "persons"),
    [
        ("ntu60", lambda folder: recording_files.write_video(folder / "S001C001P001R001A001_rgb.avi", FRAMES), 2),
        ("smarthome", lambda folder: recording_files.write_video(folder / "Walk_p02_r00_v02_c03.mp4", FRAMES), 1),
        ("nucla", _nucla, 1),
        ("nucla", _nucla_videos, 1),
        ("sbu", _sbu, 2),
        ("cad120", _cad, 1),
        ("msr_daily", _msr, 1),
        ("jhmdb", _jhmdb, 1),
    ],
)
def test_a_dataset_keeps_its_layout_and_persons(tmp_path, monkeypatch, dataset, write, persons):
    layout = datasets.get(dataset).layout or "lcrnet_13"
    monkeypatch.setattr(walking_estimator.Walking, "layout", layout)
    write(tmp_path)
    opened = source(dataset, tmp_path, "--poses=estimate", "--size=16")
    (info,) = opened.index().clips
    clip = opened.read(info)
    assert (clip.layout, clip.pose_xyz.shape[1]) == (layout, persons)
    assert clip.pose_confidence[:, 0].all()
    camera = opened.focal_per_width * clip.pose_xyz[..., 0, :, 0] / clip.pose_xyz[..., 0, :, 2]
    if opened.focal_per_width:
        np.testing.assert_allclose(camera, clip.pose_xy[..., 0, :, 0] / 160 - 0.5, atol=0.03)


def test_another_layout_is_mapped(table):
    opened = source("folder", table, "--poses=estimate", "--layout=nite_15", "--parts=none")
    clip = opened.read(opened.parse_id("walk"))
    assert (clip.layout, clip.pose_xyz.shape) == ("nite_15", (14, 1, 15, 3))


def test_another_model_in_the_same_file_is_another_conversion(table, tmp_path):
    options = []
    for content in (b"1", b"2"):
        (tmp_path / "own.task").write_bytes(content)
        options.append(source("folder", table, "--poses=estimate", f"--model={tmp_path}/own.task").options())
    assert options[0]["model"] == options[1]["model"] == "own.task"
    assert options[0]["model_sha256"] != options[1]["model_sha256"]


def test_a_contact_sheet(table, tmp_path):
    opened = source("folder", table, "--poses=estimate")
    assert preview.contact_sheet(opened, tmp_path / "sheet.png")[0] == 2


@pytest.mark.parametrize(
    ("dataset", "options", "reason"),
    [
        ("folder", [], "--estimator: poses are not estimated, leave it out or give --poses estimate"),
        ("smarthome", [], "--estimator: poses are not estimated"),
        ("jhmdb", ["--no-poses"], "--estimator: poses are not estimated"),
        ("folder", ["--poses=estimate", "--persons=0"], "--persons 0"),
        ("smarthome", ["--poses=estimate", "--focal-length=-1"], "--focal-length -1"),
        ("jhmdb", ["--layout=lcrnet"], "unknown skeleton layout 'lcrnet', did you mean 'lcrnet_13'"),
        ("jhmdb", ["--estimator=walker"], "unknown estimator of poses 'walker', did you mean 'walking'"),
        ("ntu60", ["--poses=estimate", "--missing-skeletons=FILE"], "--missing-skeletons with --poses estimate"),
    ],
)
def test_mistakes_of_the_user(table, dataset, options, reason):
    (table.parent / "FILE").write_text("S001C001P001R001A001\n")
    options = [option.replace("FILE", str(table.parent / "FILE")) for option in options]
    where = table if dataset == "folder" else table.parent
    parser = argparse.ArgumentParser()
    cls = datasets.get(dataset)
    cls.add_arguments(parser)
    given = [dataset_option(dataset), where, f"--estimator={walking_estimator.NAME}", *options]
    with pytest.raises(UserError, match=reason):
        cls.from_arguments(parser.parse_args([str(option) for option in given]))


def test_focal_length_of_ntu_is_that_of_its_files(real_data):
    paths = sorted((real_data / "ntu" / "skeletons").glob("*.skeleton"))
    (track, *_), _ = ntu.parse_skeleton(paths[0].read_text(), "x")
    known = track.confidence > 0
    slope, _ = np.polyfit(track.xyz[known][:, 1] / track.xyz[known][:, 2], track.xy[known][:, 1], 1)
    assert abs(-slope / ntu.FOCAL_LENGTH - 1) < 0.01
