"""A folder of one's own videos and poses, listed in a CSV."""

import argparse
import json

import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords import convert, inspect, manifest, schema
from tfrecords.datasets import base
from tfrecords.datasets.folder import Folder
from tfrecords.errors import RejectedClip
from tfrecords.reading import pipeline
from zoo.shared.errors import UserError

LAYOUT = "lcrnet_13"
WALK = recording_files.walk(LAYOUT)  # 14 frames
CSV = """id,video,poses,label,subject,camera,split,split_cv
,a/1.mp4,a/1.npz,drink,1,1,train,train
,a/2.mp4,a/2.csv,eat,2,2,test,test
b,a/3.mp4,a/3.json,drink,2,1,val,
"""


@pytest.fixture
def table(tmp_path):
    frames = recording_files.frames_of(WALK)
    for number in (1, 2, 3):
        recording_files.write_video(tmp_path / "a" / f"{number}.mp4", frames + np.uint8(number))  # no copies
    np.savez(tmp_path / "a" / "1.npz", xyz=WALK[:, None], xy=recording_files.project(WALK)[:, None])
    rows = [f"{t},{j},{x},{y},{z}" for t, pose in enumerate(WALK) for j, (x, y, z) in enumerate(pose)]
    (tmp_path / "a" / "2.csv").write_text("\n".join(["frame,joint,x,y,z", *rows]))
    (tmp_path / "a" / "3.json").write_text(json.dumps({"xyz": WALK.tolist()}))
    (tmp_path / "clips.csv").write_text(CSV)
    return tmp_path / "clips.csv"


def source(table, *options):
    parser = argparse.ArgumentParser()
    Folder.add_arguments(parser)
    return Folder.from_arguments(parser.parse_args(["--csv", str(table), *options]))


def test_the_whole_way(table, run_command, tmp_path):
    options = ["--focal-length", recording_files.FOCAL_LENGTH, "--size", 32, "--out", tmp_path / "out", "--workers", 1]
    status, _, errors = run_command(convert.main, "folder", "--csv", table, "--layout", LAYOUT, *options)
    assert status == 0, errors
    (warning,) = [line for line in errors.splitlines() if line.startswith("warning: few validation clips")]
    assert "1 of 2 in default, 0 of 1 in cv. The best epoch" in warning
    found = manifest.load(tmp_path / "out")
    assert found["labels"] == ["drink", "eat"]
    assert {name: p["clips"] for name, p in found["protocols"].items()} == {
        "default": {"train": 1, "val": 1, "test": 1},
        "cv": {"train": 1, "val": 0, "test": 1},
    }
    records = pipeline.Records(tmp_path / "out")
    inputs = pipeline.Inputs(frames=4, size=32, pose_steps=2, layout=LAYOUT)
    ((features, label, _),) = pipeline.evaluation(records, "default", "test", inputs, batch=1)
    assert (features["rgb"].shape, features["pose"].shape, label.numpy().tolist()) == (
        (1, 4, 32, 32, 3),
        (1, 2, 1, 13, 3),
        [1],
    )
    _, printed, errors = run_command(inspect.main, tmp_path / "out", "--clip", "b")
    assert printed.split()[:2] == ["id", "b"], errors
    again = ["folder", "--csv", table, "--layout", LAYOUT, *options]
    table.write_text(CSV + "\n")
    status, _, errors = run_command(convert.main, *again)
    assert (status, "holds another conversion (its CSV had another content)" in errors) == (2, True), errors
    table.write_text(CSV)
    (table.parent / "a" / "3.json").write_text(json.dumps({"xyz": (WALK * 2).tolist()}))
    status, _, errors = run_command(convert.main, *again)
    assert (status, "(of videos or poses that have changed since, or were not there)" in errors) == (2, True), errors


def test_joints_are_placed_by_pixels_or_by_the_camera(table):
    camera = ["--focal-length", str(recording_files.FOCAL_LENGTH)]
    opened = source(table, "--layout", LAYOUT, *camera, "--parts", "left_hand")
    by_pixels, by_camera = (opened.read(opened.parse_id(clip)) for clip in ("a.1", "b"))
    np.testing.assert_allclose(by_pixels.pose_xy, by_camera.pose_xy, atol=1e-2)
    assert by_pixels.info == schema.ClipInfo("a.1", label=0, subject=1, camera=1)
    without = source(table, "--layout", LAYOUT)
    assert without.read(without.parse_id("b")).boxes["full_body"].tolist() == [[0, -20, 160, 140]] * 14
    hands = source(table, "--layout", LAYOUT, "--parts", "left_hand")
    with pytest.raises(RejectedClip, match="hands cannot be cut out"):
        hands.read(hands.parse_id("b"))


def test_joints_behind_the_camera_cannot_be_projected(table):
    of_the_body = WALK - np.float32([0, 0, 3])
    (table.parent / "a" / "3.json").write_text(json.dumps({"xyz": of_the_body.tolist()}))
    assert source(table, "--layout", LAYOUT).read(source(table, "--layout", LAYOUT).parse_id("b")).num_frames == 14
    opened = source(table, "--layout", LAYOUT, "--focal-length", "100")
    with pytest.raises(RejectedClip, match=r"3\.json: not in the camera's coordinates, z must be positive"):
        opened.read(opened.parse_id("b"))


def test_more_and_fewer_persons(table):
    opened = source(table, "--layout", LAYOUT, "--persons", "2", "--parts", "none")
    clip = opened.read(opened.parse_id("a.1"))
    assert clip.pose_xyz.shape == (14, 2, 13, 3)
    assert not clip.pose_xyz[:, 1].any()


def test_video_alone(table):
    opened = source(table, "--size", "16")
    clip = opened.read(opened.parse_id("a.2"))
    assert (clip.layout, clip.persons, len(clip.images["full_body"])) == ("", 0, 14)
    opened = source(table, "--size", "16", "--parts", "full_image")
    assert len(opened.read(opened.parse_id("a.2")).images["full_image"]) == 14


PARTS = "video;poses;label;start;end;split\na/1.mp4;a/1.npz;drink;;0:00:0,24;train\na/1.mp4;a/1.npz;eat;0,24;;train\n"


@pytest.mark.parametrize("options", [["--focal-length", "120"], ["--parts", "none", "--fps", "25"]])
def test_parts_of_a_recording(table, options):
    """The parts of a video of 14 frames, with its poses or from the poses alone, are those frames of the whole clip."""
    table.write_text(PARTS)
    opened = source(table, "--layout", LAYOUT, "--size", "32", *options)
    clips = [opened.read(info) for info in opened.index().clips]
    assert [(clip.info.id, clip.label_text) for clip in clips] == [("a.1.0-0.24", "drink"), ("a.1.0.24-", "eat")]
    assert [clip.num_frames for clip in clips] == [6, 8]
    assert {opened.performance(clip.info) for clip in clips} == {"a.1.0-0.24"}  # never in training and validation
    table.write_text("video,poses,label,split\na/1.mp4,a/1.npz,drink,train\n")
    opened = source(table, "--layout", LAYOUT, "--size", "32", *options)
    whole = opened.read(opened.parse_id("a.1"))
    np.testing.assert_array_equal(np.concatenate([clip.pose_xyz for clip in clips]), whole.pose_xyz)
    if whole.images:
        pictures = [picture for clip in clips for picture in clip.images["full_body"]]
        assert len(set(pictures)) == 14
        boxes = np.concatenate([clip.boxes["full_body"] for clip in clips])
        np.testing.assert_allclose(boxes, whole.boxes["full_body"], atol=7)  # they follow the person within their part


def test_parts_that_a_recording_does_not_have(table):
    table.write_text("video,poses,label,start,end,split\na/1.mp4,a/1.npz,eat,7,8,train")
    for options in ([], ["--parts", "none"]):
        opened = source(table, "--layout", LAYOUT, *options)
        with pytest.raises(RejectedClip, match=r"a part from 7 s, the recording ends at 0\.\d s"):
            opened.read(opened.parse_id("a.1.7-8"))


def test_the_poses_of_a_recording_lack_a_part(table):
    """With 5 % of an hour the parts would get the poses of another minute."""
    frames = recording_files.frames_of(recording_files.walk(LAYOUT, frames=160))
    recording_files.write_video(table.parent / "long.mp4", frames)
    table.write_text("video,poses,label,start,split\nlong.mp4,long.npy,eat,5,train\n")
    opened = source(table, "--layout", LAYOUT)
    np.save(table.parent / "long.npy", recording_files.walk(LAYOUT, frames=157))
    assert opened.read(opened.parse_id("long.5-")).num_frames == 32
    np.save(table.parent / "long.npy", recording_files.walk(LAYOUT, frames=153))
    with pytest.raises(RejectedClip, match=r"long\.npy: 153 poses, the whole video has 160 frames: with start"):
        opened.read(opened.parse_id("long.5-"))


def test_validation_is_drawn_where_the_list_names_none(table):
    lines = ["video,label,split"] + [f"{n}.mp4,x,train" for n in range(300)] + ["t.mp4,x,test"]
    table.write_text("\n".join(lines))
    opened = source(table)
    splits = [opened.splits_of(info)["default"] for info in opened.index().clips]
    assert splits.count("test") == 1
    assert 15 < splits.count("val") < 50


def test_a_video_that_is_listed_twice_is_divided_as_one(table):
    lines = ["id,video,label,split"] + [f"{n}{label},{n}.mp4,{label},train" for n in range(60) for label in "xy"]
    table.write_text("\n".join(lines))
    opened = source(table)
    splits = [opened.splits_of(info)["default"] for info in opened.index().clips]
    assert "val" in splits
    assert splits[::2] == splits[1::2]


def test_recordings_by_two_cameras_are_divided_as_one(table):
    """They count as the performance of their earliest part, though the clocks of the cameras differ."""
    parts = [("1.mp4", 98.5, "drink"), ("1.mp4", 120, "eat"), ("2.mp4", 100.2, "drink"), ("2.mp4", 121.7, "eat")]
    rows = [f"{video},{start},{label},3,train" for video, start, label in parts]
    table.write_text("\n".join(["video,start,label,subject,split", *rows]))
    opened = source(table)
    assert len({opened.performance(info) for info in opened.index().clips}) == 1


def test_copies_of_a_video_are_divided_as_one(table, capsys):
    """Whatever they are called, and whoever the list says is in them."""
    names = [f"{n:02}{copy}" for n in range(60) for copy in "xy"]
    for name in names:
        (table.parent / f"{name}.mp4").write_bytes(name[:2].encode() * 100_000)
    rows = [f"{name}.mp4,{'drink' if name < '59y' else 'eat'},{number},train" for number, name in enumerate(names)]
    table.write_text("\n".join(["video,label,subject,split", *rows]))
    opened = source(table)
    splits = [opened.splits_of(info)["default"] for info in opened.index().clips]
    assert "val" in splits
    assert splits[::2] == splits[1::2]
    printed = capsys.readouterr().err
    assert "in the same split: 59, such as '00y.mp4' in line 3 of '00x.mp4' in line 2: leave" in printed
    assert "with another label: 1, such as '59y.mp4' in line 121 of '59x.mp4' in line 120: correct" in printed


def test_copies_of_a_video_in_two_splits(table, capsys):
    content = bytes(200_000)
    similar = content[:99_999] + b"1" + content[100_000:]  # the same size, beginning and end
    for name, changed in (("train", content), ("test", content), ("similar", similar), ("empty", b""), ("blank", b"")):
        (table.parent / f"{name}.mp4").write_bytes(changed)
    rows = ["train.mp4,x,train", "similar.mp4,x,test", "empty.mp4,x,train", "blank.mp4,x,test", "test.mp4,x,test"]
    table.write_text("\n".join(["video,label,split", *rows[:4]]))
    assert len(source(table).index().clips) == 4
    assert "copies" not in capsys.readouterr().err
    table.write_text("\n".join(["video,label,split", *rows]))
    source(table)
    found = (
        "in another split, whose accuracy is then too high: 1, such as 'test.mp4' in line 6 of 'train.mp4' in line 2"
    )
    assert f"{found} (test, train): leave one out" in capsys.readouterr().err


def test_copies_of_a_recording_of_which_parts_are_listed(table, capsys):
    for name in ("long", "copy"):
        (table.parent / f"{name}.mp4").write_bytes(bytes(1000))
    parts = "video,label,start,end,split\nlong.mp4,x,1,3,train\ncopy.mp4,y,4,5,"
    table.write_text(f"{parts}train")
    source(table)
    assert "copies" not in capsys.readouterr().err  # no frame counts twice
    table.write_text(f"{parts}test")
    source(table)
    assert "in another split, whose accuracy is then too high: 1, such as 'copy.mp4' in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "video;label;split\r\nmy videos/a 1.mp4;eat, drink;train\r\n;;\r\nb.mp4;Ka\u0308se;test\r\n",
        "sep=;\r\nvideo;label;split\r\nmy videos/a 1.mp4;eat, drink;train\r\nb.mp4;K\u00e4se;test\r\n",
        "Video\tLabel\tSplit\nmy videos/a 1.mp4\teat, drink\ttrain\n\nb.mp4\tK\u00e4se\ttest\n",
        'VIDEO,label,split,,\nmy videos/a 1.mp4,"eat, drink",train,,\nb.mp4,K\u00e4se,test,,\n,,,,\n',
        'video,label,split\rmy videos/a 1.mp4,"eat, drink",train,,\rb.mp4,K\u200b\u00e4se,test\r',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets(table, text, encoding):
    table.write_bytes(text.encode(encoding))
    opened = source(table)
    assert [info.id for info in opened.index().clips] == ["b", "my videos.a 1"]
    assert opened.labels == ("K\u00e4se", "eat, drink")  # however the accent is written


@pytest.mark.parametrize("written", ["d\u00e9j\u00e0/1.mp4", "de\u0301ja\u0300\\1.mp4"])
@pytest.mark.parametrize("on_disk", ["d\u00e9j\u00e0", "de\u0301ja\u0300"])
def test_paths_of_other_systems(table, written, on_disk):
    video = table.parent / on_disk / "1.mp4"
    video.parent.mkdir()
    video.touch()
    table.write_text(f"video,label,split\n{written},x,train")
    opened = source(table)
    assert opened._path(opened.index().clips[0], "video") == video


def test_labels_that_are_typed_in_several_ways(table, capsys):
    table.write_text("video,label,split\na.mp4,Sit  down,train\nb.mp4,Sit\u00a0down,train\nc.mp4,sit down,test")
    assert source(table).labels == ("Sit down", "sit down")
    assert "'Sit down', 'sit down' are 2 classes: if one is meant" in capsys.readouterr().err


@pytest.mark.parametrize("mount", ["/home/ann/disk", "/mnt"])
@pytest.mark.parametrize(
    ("videos", "ids"),
    [
        (["{mount}/day1/a.mp4", "{mount}/day2/a.mp4", "b.mp4"], ["b", "day1.a", "day2.a"]),
        (["{mount}/a.mp4"], ["a"]),
        (["../other/a.mp4", "{folder}/c/a.mp4", "./c/b.mp4"], ["a", "c.a", "c.b"]),
    ],
)
def test_ids_do_not_depend_on_where_the_files_are(table, mount, videos, ids):
    rows = [f"{video.format(mount=mount, folder=table.parent)},x,train" for video in videos]
    table.write_text("\n".join(["video,label,split", *rows]))
    assert [info.id for info in source(table).index().clips] == ids


@pytest.mark.parametrize("mark", ["\n", "\u2028", "\x85"])
def test_a_label_with_a_line_break_is_refused(table, mark):
    table.write_bytes(f'video,label,split\na.mp4,"eat{mark}soup",train\n'.encode())
    with pytest.raises(UserError, match=r"line \d: the label .* holds a line break"):
        source(table)


def test_subjects_may_be_names_and_splits_be_written_in_words(table, capsys):
    table.write_text(
        "video,label,split,subject\na.mp4,x,Train,Zoe\u0301\nb.mp4,x,Validation,Ann\nc.mp4,x,TEST,\n"
        "d.mp4,x,train,Zo\u00e9\ne.mp4,x,train,ann\n"
    )
    clips = source(table)
    found = {name: clips.parse_id(name) for name in "abcde"}
    assert [info.subject for info in found.values()] == [2, 1, 0, 2, 3]
    assert [clips.splits_of(info)["default"] for info in found.values()][:3] == ["train", "val", "test"]
    printed = capsys.readouterr().err
    assert "subject holds names, which are numbered: Ann 1, Zo\u00e9 2, ann 3" in printed
    assert "'Ann', 'ann' are 2 subjects: if one is meant" in printed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read"),
        ("film;class;split\na.mp4;x;train", r"no column 'label'; found film, class, split \(separated by ';'\)"),
        ("", "no column 'label'"),
        ("video,label\na.mp4,x", "no column 'split'"),
        ("video,label,splitt\na.mp4,x,train", "unknown column 'splitt'"),
        ("label,split\nx,train", "no column 'video'"),
        ("video,label,split\n", "no clip in it"),
        ("video,label,split\na.mp4,,train", "line 2: no label"),
        ("video,label,split\n\na.mp4,,train", "line 3: no label"),
        ("video,label,split,split_a/b\na.mp4,x,train,train", "column 'split_a/b', expected split_<protocol>"),
        ("video,label,split\na.mp4,x,teach", "line 2: split is 'teach', expected train, val, test or nothing"),
        ("video,label,split,subject\na.mp4,x,train,-3", "line 2: subject is '-3', expected a whole number from 0, or"),
        ("video,label,start,split\na.mp4,x,1 min,train", "line 2: start is '1 min', expected seconds such as 83.4, or"),
        ("video,label,start,end,split\na.mp4,x,1:00,59,train", r"line 2: end is '59', expected a time after the start"),
        ("video,label,split\na.mp4,x,train\na.mp4,x,train", "line 3: 'a.mp4' is in line 2 already: remove one"),
        ("video,label,end,split\na.mp4,x,2,val\na.mp4,y,2,val", "line 3: 'a.mp4' with this start and end is in line 2"),
        ("id,video,label,end,split\n7,a.mp4,x,1,val\n7,a.mp4,x,2,val", "line 3: the id '7' is there twice, in line"),
        ("id,video,label,split\n1,a.mp4,x,train\n2,./a.mp4,x,test", r"line 3: '\./a.mp4' is in test here and in train"),
        ("video,split,label\na.mp4,train,eat, soup", "line 2: more values than the header has columns, 3: put a value"),
        ("video,label,split,split\na.mp4,x,train,test", "the column 'split' is there twice"),
        ("video,label,Label,split\na.mp4,x,y,test", "the column 'label' is there twice"),
        ("video,label,split,split_default\na.mp4,x,train,test", "'split' and 'split_default' are one protocol"),
        ("video,label,split\na.mp4,x,train\n\na.avi,x,test", "line 4: the id 'a' is there twice, in line 2 too"),
        ("video,label,split\na.mp4,\xe9,train".encode("latin-1"), "line 2: no text in UTF-8, save the table as"),
        (b"\xff\xfev", "line 1: no text in UTF-8"),
    ],
)
def test_lists_that_are_refused(table, text, reason):
    table.unlink()
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=reason):
        source(table)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--layout", "lcrnet"], "unknown skeleton layout 'lcrnet', did you mean 'lcrnet_13'"),
        (["--parts", "none"], "--parts none needs poses: name their skeleton with --layout"),
        (["--persons", "0"], "--persons 0"),
        (["--focal-length", "-3"], "--focal-length -3"),
    ],
)
def test_mistakes_of_the_user(table, options, reason):
    with pytest.raises(UserError, match=reason):
        source(table, *options)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.mp4", b"", r"1\.mp4: damaged or no video file"),
        ("1.npz", b"", r"1\.npz: damaged or not poses"),
        ("1.npz", None, r"1\.npz: cannot be read"),
    ],
)
def test_damaged_files_are_rejected(table, name, content, reason):
    path = table.parent / "a" / name
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    opened = source(table, "--layout", LAYOUT)
    with pytest.raises(RejectedClip, match=reason):
        opened.read(opened.parse_id("a.1"))


def test_poses_of_another_skeleton_are_rejected(table):
    opened = source(table, "--layout", "kinect_v1_20")
    with pytest.raises(RejectedClip, match="13 joints, kinect_v1_20 has 20"):
        opened.read(opened.parse_id("b"))
    (table.parent / "a" / "3.json").write_text(json.dumps({"xyz": WALK.tolist(), "layout": "coco_13"}))
    opened = source(table, "--layout", LAYOUT)
    with pytest.raises(RejectedClip, match=r"3\.json: poses of the layout coco_13, --layout is lcrnet_13"):
        opened.read(opened.parse_id("b"))


def test_the_rate_that_a_file_of_poses_states(table):
    (table.parent / "a" / "3.json").write_text(json.dumps({"xyz": WALK.tolist(), "fps": 12.5}))
    opened = source(table, "--layout", LAYOUT, "--parts", "none", "--fps", "20")
    assert [opened.read(opened.parse_id(clip)).fps for clip in ("b", "a.1")] == [12.5, 20]


@pytest.mark.parametrize(("options", "is_bridged"), [([], True), (["--parts", "none"], False)])
def test_a_gap_lasts_as_long_as_video_or_poses_say(table, options, is_bridged):
    """Five poses are a fifth of a second of the video, and a second in a file of poses alone that states its rate."""
    poses = np.where(np.isin(np.arange(14), range(4, 9))[:, None, None], 0, WALK)
    (table.parent / "a" / "3.json").write_text(json.dumps({"xyz": poses.tolist(), "fps": 5}))
    opened = source(table, "--layout", LAYOUT, *options)
    clip = opened.read(opened.parse_id("b"))
    assert (clip.pose_confidence[4:9] > 0).all() == is_bridged


def test_a_clip_that_is_too_large_for_memory_is_rejected(table, monkeypatch):
    monkeypatch.setattr(base, "LARGEST_CLIP", 1 << 12)
    opened = source(table, "--size", "64")
    with pytest.raises(
        RejectedClip, match=r"its pictures have more than 0 MB after \d frames: cut it into shorter clips"
    ):
        opened.read(opened.parse_id("b"))


def test_joints_in_pixels_alone_are_for_pictures(table, run_command, tmp_path):
    np.savez(table.parent / "a" / "1.npz", xy=recording_files.project(WALK)[:, None])
    table.write_text("video,poses,label,split\na/1.mp4,a/1.npz,drink,train\n")
    options = ["--layout", LAYOUT, "--size", 32, "--workers", 1, "--out", tmp_path / "out"]
    status, _, errors = run_command(convert.main, "folder", "--csv", table, *options)
    assert status == 0, errors
    records = pipeline.Records(tmp_path / "out")
    protocol, split = "default", "train" if records.count("default", "train") else "val"
    records.check(pipeline.Inputs(frames=4, size=32), protocol, split)
    with pytest.raises(UserError, match=r"has joints in pixels alone \(clip a\.1\), the model reads metres"):
        records.check(pipeline.Inputs(pose_steps=2, layout=LAYOUT), protocol, split)
