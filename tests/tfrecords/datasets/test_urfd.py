"""URFD: names, tables of postures, windows and their labels, poses, other datasets as what is no fall."""

import csv
import itertools

import numpy as np
import pytest

from tests.tfrecords import recording_files
from tests.tfrecords.estimation import walking_estimator
from tfrecords import convert, inspect, manifest, protocols, schema
from tfrecords.converting import crops, persons, pose_files
from tfrecords.datasets import urfd
from tfrecords.reading import random_access
from zoo.shared.errors import UserError

# Sequence -> the posture in its frames; the fall is preceded by four frames without a label.
POSTURES = {"fall-01": [None] * 4 + [-1] * 76 + [0] * 30 + [1] * 40, "adl-02": [-1] * 60 + [0] * 10 + [1] * 30}
COLUMNS = (3.12, 0.45, 0.7, 120, 0.9, 801.2, 640.3, 0.1)  # that the true tables have besides


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """A worker process costs seconds to import TensorFlow."""
    walking_estimator.register(monkeypatch)


def write_tables(folder, postures=None, published=True):
    """The tables as the authors distribute them, or shortened and with a header."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("fall", "adl"):
        with open(folder / f"{'urfall-cam0-' if published else ''}{kind}s.csv", "w", newline="") as file:
            writer = csv.writer(file)
            if not published:
                writer.writerow(("name", "frame", "label"))
            for name, labels in (postures or POSTURES).items():
                if name.startswith(kind):
                    for frame, label in enumerate(labels, start=1):
                        if label is not None:
                            writer.writerow((name, frame, label, *(COLUMNS if published else ())))


def write_poses(folder, lost=range(120, 150), frame=None):
    """Poses of each sequence; in some frames of the fall nobody is found."""
    for name, labels in POSTURES.items():
        xyz = recording_files.walk("lcrnet_13", frames=len(labels))[:, np.newaxis]
        confidence = np.full(xyz.shape[:3], 0.9, np.float32)
        if name == "fall-01":
            xyz, confidence = xyz.copy(), confidence.copy()
            xyz[lost] = confidence[lost] = 0
        pose_files.write(
            folder / f"{name}-cam0.npz",
            persons.Poses(xyz, confidence, np.nan_to_num(recording_files.project(xyz))),
            layout="lcrnet_13",
            fps=30.0,
            frame=frame,
        )


def converted(run_command, folder, *options):
    """Every record of a conversion, by id."""
    line = ["urfd", "--source", folder, "--layout", "lcrnet_13", "--workers", 1, "--out", folder / "out", *options]
    status, _, errors = run_command(convert.main, *line)
    assert status == 0, errors
    found = manifest.load(folder / "out")
    places = itertools.chain(*(random_access.locations(folder / "out" / s["file"]) for s in manifest.shards(found)))
    return found, {clip.info.id: clip for clip in (place.read() for place in places)}


@pytest.mark.parametrize("published", [True, False])
def test_windows_of_poses(tmp_path, run_command, published):
    write_tables(tmp_path, published=published)
    write_poses(tmp_path)
    found, clips = converted(run_command, tmp_path, "--parts", "none", "--every", 1)
    assert found["counts"]["per_class"] == {"fall": 2, "lying": 1, "upright": 4}
    # Frames 61 to 120 have all of the fall, 31 to 90 have 10 frames of it; the last window ends with the sequence.
    assert [name for name in clips if name.startswith("fall")] == [
        "fall-01-f0001-upright", "fall-01-f0031-upright", "fall-01-f0061-fall", "fall-01-f0091-fall"
    ]  # fmt: skip
    clip = clips["fall-01-f0091-fall"]
    assert (clip.recording, clip.start, clip.fps, clip.num_frames) == ("fall-01", 90, 30.0, 60)
    assert clip.frame_labels.tolist() == [urfd.FALL] * 20 + [urfd.LYING] * 40
    assert clip.pose_confidence.any(axis=(1, 2)).tolist() == [True] * 30 + [False] * 30
    assert clips["fall-01-f0001-upright"].frame_labels[:5].tolist() == [urfd.UNLABELLED] * 4 + [urfd.UPRIGHT]
    # Who lies down does not fall.
    lying = clips["adl-02-f0041-lying"]
    assert lying.frame_labels.tolist() == [urfd.UPRIGHT] * 20 + [urfd.UNLABELLED] * 10 + [urfd.LYING] * 30
    status, _, errors = run_command(inspect.main, tmp_path / "out", "--clip", clip.info.id)
    assert status == 0, errors


def test_windows_of_pictures(tmp_path, run_command):
    write_tables(tmp_path / "tables")
    write_poses(tmp_path / "poses", lost=range(90, 150))
    frames = recording_files.frames_of(recording_files.walk("lcrnet_13", frames=150))
    recording_files.write_video(tmp_path / "videos" / "fall-01-cam0.mp4", frames, rate=30)
    recording_files.write_video(tmp_path / "videos" / "fall-01-cam1.mp4", frames[:3], rate=30)
    found, clips = converted(run_command, tmp_path, "--poses-from", tmp_path / "poses", "--size", 24, "--every", 1)
    assert [entry["id"] for entry in found["rejected"]] == ["adl-02-f0001-upright", "adl-02-f0031-upright",
        "adl-02-f0041-lying", "fall-01-cam1"]  # fmt: skip
    assert "no video of it" in found["rejected"][0]["reason"]
    clip = clips["fall-01-f0091-fall"]  # nobody is found in it: it is kept, with the whole frames
    assert len(clip.images["full_body"]) == 60
    assert not clip.pose_confidence.any()
    assert clips["fall-01-f0061-fall"].pose_confidence[:30].all()


def test_windows_of_pictures_alone(tmp_path, run_command):
    write_tables(tmp_path)
    frames = recording_files.frames_of(recording_files.walk("lcrnet_13", frames=149))  # one less than the table
    recording_files.write_video(tmp_path / "fall-01-cam0.mp4", frames, rate=30)
    options = ["--no-poses", "--parts", "full_body,full_image", "--size", 24, "--every", 1]
    found, clips = converted(run_command, tmp_path, *options)
    assert (found["skeleton_layout"], found["rejected"]) == ("", [])
    clip = clips["fall-01-f0091-fall"]
    assert len(clip.images["full_body"]) == len(clip.images["full_image"]) == len(clip.frame_labels) == 59


def test_videos_that_show_depth_beside_colour(tmp_path, run_command):
    """As the authors publish them: the colour is stored, and poses of the whole frames are refused."""
    write_tables(tmp_path)
    write_poses(tmp_path, frame=(2 * recording_files.FRAME[0], recording_files.FRAME[1]))
    colour = recording_files.frames_of(recording_files.walk("lcrnet_13", frames=150))
    beside = np.concatenate([np.full_like(colour, 128), colour], axis=2)
    recording_files.write_video(tmp_path / "fall-01-cam0.mp4", beside, rate=30)
    options = ["--no-poses", "--parts", "full_image", "--size", recording_files.FRAME[1], "--every", 2]
    _, clips = converted(run_command, tmp_path, *options)
    picture = crops.decode_picture(clips["fall-01-f0001-upright"].images["full_image"][0])
    assert picture.shape == colour[0].shape
    assert np.abs(picture.astype(int) - colour[0]).mean() < 8
    line = ["urfd", "--source", tmp_path, "--parts", "none", "--workers", 1, "--out", tmp_path / "poses"]
    status, _, errors = run_command(convert.main, *line)
    assert status == 2
    assert "cam0.npz: its poses are of frames that show depth beside colour" in errors


@pytest.fixture
def other_dataset(tmp_path, run_command):
    """A converted dataset of another one: somebody walks, and falls down."""
    (tmp_path / "own").mkdir()
    pose = recording_files.walk("kinect_v2_25", frames=70)[:, np.newaxis]
    for name in ("walk", "fall down"):
        pose_files.write(
            tmp_path / "own" / f"{name}.npz",
            persons.Poses(pose, np.ones(pose.shape[:3])),
            layout="kinect_v2_25",
            fps=30,
        )
    rows = [f"{name}.npz,{name},train\n" for name in ("walk", "fall down")]
    (tmp_path / "own" / "clips.csv").write_text("poses,label,split\n" + "".join(rows))
    line = ["folder", "--csv", tmp_path / "own" / "clips.csv", "--layout", "kinect_v2_25", "--parts", "none"]
    assert run_command(convert.main, *line, "--workers", 1, "--out", tmp_path / "other")[0] == 0
    return tmp_path / "other"


def test_windows_of_other_datasets_are_upright(tmp_path, run_command, monkeypatch, other_dataset):
    write_tables(tmp_path / "source")
    write_poses(tmp_path / "source")
    read, of_poses, one, poses_of = [], [], random_access.Location.read, pose_files.read
    monkeypatch.setattr(random_access.Location, "read", lambda place: read.append(place) or one(place))
    monkeypatch.setattr(pose_files, "read", lambda path, **given: of_poses.append(path) or poses_of(path, **given))
    found, clips = converted(
        run_command, tmp_path, "--source", tmp_path / "source", "--parts", "none", "--upright", other_dataset
    )
    others = [clip for clip in clips.values() if clip.info.setup == 3]
    assert [clip.info.id for clip in others] == ["folder.walk-f0001-upright", "folder.walk-f0011-upright"]
    assert others[1].pose_xyz.shape == (60, 1, 13, 3)
    assert (others[1].start, set(others[1].frame_labels.tolist())) == (10, {urfd.UPRIGHT})
    assert found["protocols"]["fold_1"]["clips"]["test"] == sum(name.startswith("fall-01") for name in clips)
    assert len([place for place in read if place.path.startswith(str(other_dataset))]) == 1  # once, not for each window
    assert len(of_poses) == len(set(of_poses)) == 2
    refused = run_command(
        convert.main, "urfd", "--source", tmp_path / "source", "--upright", other_dataset, "--out", tmp_path / "x"
    )
    assert refused[0] == 2
    assert "stores no pictures of full_body, expected them, or --parts none here" in refused[2]


def test_another_dataset_is_held_out(tmp_path, run_command, other_dataset):
    write_tables(tmp_path)
    write_poses(tmp_path)
    options = ["--parts", "none", "--every", 1, "--held-out", other_dataset]
    found, clips = converted(run_command, tmp_path, *options)
    assert found["protocols"]["all"]["clips"]["test"] == 2
    assert found["protocols"]["fold_1"]["clips"]["train"] == 3  # of adl-02 alone
    held = [clip for clip in clips.values() if clip.info.setup == 4]
    assert [clip.recording for clip in held] == ["held_out.folder.walk"] * 2
    line = ["urfd", "--source", tmp_path, "--out", tmp_path / "x", *options, "--upright", other_dataset]
    refused = run_command(convert.main, *line)
    assert refused[0] == 2
    assert f"--held-out {other_dataset}: walk of folder is there twice" in refused[2]


def test_folds_are_of_sequences():
    ids = [f"{kind}-{number:02d}-f{first:04d}-upright" for kind, last in (("fall", 30), ("adl", 40))
           for number in range(1, last + 1) for first in (1, 7, 13)]  # fmt: skip
    tested = {}
    for fold in protocols.folds("urfd", "fold_1"):
        splits = {clip: protocols.split_of("urfd", fold, clip) for clip in ids}
        for sequence in {clip[: clip.index("-f0")] for clip in ids}:
            assert len({split for clip, split in splits.items() if clip.startswith(f"{sequence}-")}) == 1
        tested[fold] = {clip for clip, split in splits.items() if split == "test"}
    assert sorted(itertools.chain(*tested.values())) == sorted(ids)  # each once
    assert {len(clips) for clips in tested.values()} == {3 * (6 + 8)}
    assert {protocols.split_of("urfd", "all", clip) for clip in ids} == {"train", "val"}
    assert protocols.split_of("urfd", "fold_1", "nucla.a01_s01_e00_v01-f0001-upright") in ("train", "val")


@pytest.mark.parametrize(
    ("clip", "info"),
    [
        ("fall-07-f0031-fall", {"label": 0, "setup": 1, "repetition": 7}),
        ("adl-40-f0001-lying", {"label": 1, "setup": 2, "repetition": 40}),
        ("jhmdb.A-f_1-f0001-upright", {"label": 2, "setup": 3}),
        ("held_out.jhmdb.A-f_1-f0001-upright", {"label": 2, "setup": 4}),
    ],
)
def test_an_id_names_recording_frame_and_label(clip, info):
    assert urfd.URFD.parse_id(clip) == schema.ClipInfo(clip, **info)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "urfall-cam0-adls.csv").unlink(), "no urfall-cam0-adls.csv below it"),
        (lambda folder: (folder / "falls.csv").write_text("fall-01,1,-1\n"), "falls.csv, remove one of them"),
        (lambda folder: _append(folder, "fall-01,2"), "line 147: 'fall-01,2', expected sequence, frame from 1"),
        (
            lambda folder: _append(folder, "fall-01,x,0"),
            "'fall-01,x,0', expected sequence, frame from 1, and -1, 0 or 1",
        ),
        (lambda folder: _append(folder, "fall-01,150,1"), "line 147: frame 150 of fall-01 is there twice"),
    ],
)
def test_tables_that_are_refused(tmp_path, change, reason):
    write_tables(tmp_path)
    change(tmp_path)
    with pytest.raises(UserError, match=reason):
        urfd.read_tables(tmp_path)


def _append(folder, line):
    with open(folder / "urfall-cam0-falls.csv", "a") as file:
        file.write(f"{line}\n")
