"""``python -m tfrecords.estimate`` as a user runs it."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.tfrecords import recording_files
from tests.tfrecords.estimation import walking_estimator
from tfrecords import convert, estimate
from tfrecords.converting import pose_files

WALK = recording_files.walk("lcrnet_13")
FRAMES = recording_files.frames_of(WALK)
SETTINGS = ["--estimator", walking_estimator.NAME, "--focal-length", str(recording_files.FOCAL_LENGTH)]


@pytest.fixture
def run(run_command, monkeypatch):
    walking_estimator.register(monkeypatch)
    return functools.partial(run_command, estimate.main)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    recording_files.write_video(folder / "walk" / "a.mp4", FRAMES)
    recording_files.write_video(folder / "walk" / "b.AVI", FRAMES[:6])
    recording_files.write_video(folder / "empty.mov", np.full_like(FRAMES, 40))
    (folder / "walk" / "notes.txt").write_text("no video")
    return folder


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_videos(run, run_command, videos, tmp_path):
    (videos / "walk" / "broken.mp4").write_bytes(b"no video")
    out, sheet = tmp_path / "out", tmp_path / "sheet.png"
    status, printed, errors = run(videos, "--out", out, "--preview", sheet, *SETTINGS)
    assert status == 0, errors
    summary, drawn = printed.splitlines()
    assert summary.startswith("3 videos, 20 of 34 frames with a person, 1 videos without anybody, ")
    assert summary.endswith(f" frames/s, 1 rejected (walk/broken: broken.mp4: damaged or no video file): {out}")
    assert (drawn, sheet.exists()) == (f"3 videos, 5 frames each: {sheet}", True)
    assert sorted(contents(out)) == [".lock", "empty.npz", "estimation.json", "walk/a.npz", "walk/b.npz"]
    poses = pose_files.read(out / "walk" / "a.npz")
    assert (poses.layout, poses.fps) == ("lcrnet_13", 25)
    np.testing.assert_allclose(poses.xyz[:, 0], WALK, atol=0.1)
    assert not pose_files.read(out / "empty.npz").confidence.any()
    report = json.loads((out / "estimation.json").read_text())
    assert report["videos"]["walk/b"] == {"frames": 6, "frames_with_person": 6}
    # The next step takes the files.
    table = videos / "clips.csv"
    table.write_text(f"video,poses,label,split\nwalk/a.mp4,{out}/walk/a.npz,walk,train\n")
    options = ["--layout", "lcrnet_13", "--size", 16, "--workers", 1, "--out", tmp_path / "records"]
    status, _, errors = run_command(convert.main, "folder", "--csv", table, *options)
    assert status == 0, errors


def test_what_is_there_is_not_estimated_again(run, videos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert run(videos, "--out", out, *SETTINGS)[0] == 0
    whole = contents(out)
    (out / "walk" / "a.npz").unlink()
    (out / "estimation.json").write_text(json.dumps({"options": json.loads(whole["estimation.json"])["options"]}))
    (out / "walk" / ".partial-0123abcd-a.npz").write_bytes(b"what a killed process left")
    done = []
    whole_estimate = estimate._estimate
    monkeypatch.setattr(estimate, "_estimate", lambda *args: done.append(args[2].file) or whole_estimate(*args))
    status, printed, errors = run(videos, "--out", out, *SETTINGS)
    assert (status, done) == (0, ["walk/a.npz"]), errors
    assert contents(out) == whole
    status, printed, _ = run(videos, "--out", out, *SETTINGS)
    assert printed.startswith(
        "already complete: 3 videos, 20 of 34 frames with a person, 1 videos without anybody, 0 rej"
    )
    status, _, errors = run(videos, "--out", out, *SETTINGS, "--persons", 2)
    assert (status, contents(out)) == (2, whole)
    assert f"{out}: holds poses of other settings (persons 1, now 2): use another --out" in errors


def test_the_right_half_of_the_frames(run, tmp_path):
    beside = np.concatenate([np.full_like(FRAMES, 40), FRAMES], axis=2)
    path = recording_files.write_video(tmp_path / "fall-01-cam0.mp4", beside)
    out = tmp_path / "out"
    status, _, errors = run(path, "--right-half", "--out", out, *SETTINGS, "--preview", tmp_path / "sheet.png")
    assert status == 0, errors
    poses = pose_files.read(out / "fall-01-cam0.npz")
    np.testing.assert_allclose(poses.xyz[:, 0], WALK, atol=0.1)
    assert poses.frame == recording_files.FRAME
    status, _, errors = run(path, "--out", out, *SETTINGS)
    assert (status, "holds poses of other settings (right_half True, now not set)" in errors) == (2, True)
    cut = recording_files.write_video(tmp_path / "cut.mp4", FRAMES)
    status, _, errors = run(cut, "--right-half", "--out", tmp_path / "of_cut", *SETTINGS)
    assert (status, "are not two pictures side by side: leave --right-half out" in errors) == (2, True)


def test_poses_of_another_video_of_the_same_name_are_not_taken(run, videos, tmp_path):
    out = tmp_path / "out"
    assert run(videos / "walk" / "a.mp4", "--out", out, *SETTINGS)[0] == 0
    status, _, errors = run(videos / "walk" / "b.AVI", "--out", out, *SETTINGS)
    assert status == 0, errors
    assert [*json.loads((out / "estimation.json").read_text())["videos"]] == ["a", "b"]
    whole = contents(out)
    (videos / "b").mkdir()
    shutil.copy(videos / "walk" / "b.AVI", videos / "b" / "a.mp4")
    status, _, errors = run(videos / "b", "--out", out, *SETTINGS)
    assert (status, contents(out)) == (2, whole)
    assert f"a.npz: has the poses of another video than {videos / 'b' / 'a.mp4'}: remove it to" in errors


def test_a_video_that_is_named_may_be_called_anything(run, videos, tmp_path):
    longest = "\u8a18" * 83  # 249 bytes
    other = (videos / "walk" / "a.mp4").rename(videos / f"{longest}.dat")
    status, _, errors = run(other, videos / "walk", "--out", tmp_path / "out", *SETTINGS)
    assert status == 0, errors
    assert {f"{longest}.npz", "b.npz"} <= set(contents(tmp_path / "out"))


def _two_of_a_name(folder):
    recording_files.write_video(folder / "walk" / "a.avi", FRAMES[:2])


def _nothing_readable(folder):
    for path in list(folder.rglob("*.*")):
        path.write_bytes(b"")


def _others_files(folder):
    np.savez(folder / "empty.npz", xyz=np.ones((2, 1, 13, 3)))


def _no_report(folder):
    (folder / "estimation.json").write_text("[]")


@pytest.mark.parametrize(
    ("change", "options", "reason"),
    [
        (_two_of_a_name, [], "walk/a.avi and .*walk/a.mp4 would both have their poses in walk/a.npz"),
        (_nothing_readable, [], r"no video could be read: 3 rejected \(empty: empty.mov: damaged or no video file"),
        (
            lambda folder: [path.unlink() for path in folder.rglob("*.*")],
            [],
            "no video in .*, expected files that end in .mp4",
        ),
        (_others_files, [], "empty.npz: is there, and no estimation.json that says how it was made: use another --out"),
        (_no_report, [], "estimation.json: not as this command writes it, use another --out"),
        (lambda folder: None, ["--layout", "lcrnet"], "--layout: unknown skeleton layout 'lcrnet'"),
        (lambda folder: None, ["nowhere.mp4"], "nowhere.mp4: no such file, expected a video or a folder with videos"),
        (
            lambda folder: None,
            ["--preview", "sheet.txt"],
            "--preview sheet.txt: expected the name of a .png or .jpg file",
        ),
    ],
)
def test_what_is_refused(run, videos, change, options, reason):
    change(videos)
    status, _, errors = run(videos, *options, "--out", videos, *SETTINGS)
    assert status == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert re.search(reason, line), line


@pytest.mark.slow
def test_killed_and_run_again(tmp_path):
    """The same bytes, at whatever moment all processes were killed."""
    for number in range(12):
        recording_files.write_video(tmp_path / "videos" / f"{number % 3}" / f"{number}.mp4", FRAMES)
    command = [sys.executable, "-m", "tests.tfrecords.estimation.slow_estimation", tmp_path / "videos", "--out"]

    def start(out):
        return subprocess.Popen([*command, out], cwd=REPOSITORY, start_new_session=True, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    for files in (0, 1, 4, 7, 11):
        process = start(tmp_path / "out")
        while len(list((tmp_path / "out").rglob("*.npz"))) < files:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert start(tmp_path / "out").wait() == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
