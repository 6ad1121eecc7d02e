"""Windows over whole videos: recordings put together again, clips one after the other, the whole way."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from recipes import trainers
from recipes.reports import segments, untrimmed
from recipes.run_directory import RunDirectory
from tests.recipes.conftest import command, error_of
from tfrecords import schema
from tfrecords.reading import pipeline
from zoo.shared.errors import UserError


@dataclasses.dataclass(frozen=True)
class Place:
    """A record in memory, as :class:`tfrecords.reading.random_access.Location` is one in a file."""

    clip: schema.Clip

    def read(self):
        return self.clip


def window(recording, start, length):
    """A window whose poses and labels are the numbers of its frames."""
    frames = np.arange(start, start + length)
    return Place(
        schema.Clip(
            schema.ClipInfo(f"{recording}-{start}", 0), "urfd", "fall", 10.0, layout="lcrnet_13",
            pose_xyz=np.broadcast_to(frames[:, None, None, None], (length, 1, 13, 3)).astype(np.float32),
            pose_confidence=np.ones((length, 1, 13), np.float32),
            images={"full_body": [str(frame).encode() for frame in frames]},
            boxes={"full_body": np.repeat(frames[:, None], 4, axis=1).astype(np.float32)},
            frame_labels=frames, recording=recording, start=start,
        )
    )  # fmt: skip


def test_recordings_are_put_together_from_their_windows():
    places = [window("b", 0, 4), window("a", 6, 4), window("a", 0, 4), window("a", 3, 4), window("a", 14, 2)]
    found = dict(untrimmed._recordings([(place, place.read()) for place in places]))
    assert list(found) == ["a", "a from frame 15", "b"]
    clip = found["a"]
    for values in (clip.frame_labels, clip.pose_xyz[:, 0, 0, 0], clip.boxes["full_body"][:, 0]):
        assert values.tolist() == list(range(10))
    assert clip.images["full_body"] == [str(frame).encode() for frame in range(10)]
    assert found["a from frame 15"].frame_labels.tolist() == [14, 15]


def test_clips_are_joined_in_an_order_of_their_names():
    """Where a dataset lies, and how its shards are made, have no effect."""
    places = [Place(dataclasses.replace(window(name, 0, 2).clip, images={})) for name in "abcdefghijklm"]
    orders = []
    for given in (places, places[::-1]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(untrimmed, "TOGETHER", 1)
            joined = untrimmed._videos([(place, place.read()) for place in given], 3, recordings=False)
            orders.append([clip.info.id for _, clip in joined])
    assert orders[0] == orders[1] != sorted(orders[0])


def test_clips_are_joined_with_those_whose_pictures_have_their_size(monkeypatch):
    """Whole frames of upright and lying clips: a window over both could not be fed."""
    places = []
    for number, name in enumerate("abcdefghij"):
        height, width = (40, 32) if number % 3 else (32, 40)
        picture = tf.io.encode_jpeg(np.full((height, width, 3), number, np.uint8)).numpy()
        places.append(Place(dataclasses.replace(window(name, 0, 4).clip, images={"full_image": [picture] * 4})))
    monkeypatch.setattr(untrimmed, "TOGETHER", 3)
    found = list(untrimmed._videos([(place, place.read()) for place in places], 3, recordings=False))
    assert [name for name, _ in found] == ["clips 1 to 3", "clips 4 to 6", "clips 7 to 9", "clips 10 to 10"]
    assert [clip.num_frames for _, clip in found] == [12, 12, 12, 4]
    seen = set()
    for _, clip in found:
        assert len({tuple(tf.io.decode_jpeg(picture).shape) for picture in clip.images["full_image"]}) == 1
        seen |= {int(tf.io.decode_jpeg(picture)[0, 0, 0]) for picture in clip.images["full_image"]}
    assert seen == set(range(10))


def test_a_figure_without_a_value_is_null():
    stream = untrimmed.Stream("a", np.full(3, -1), (), 10.0, ("sit", "fall"))  # nobody is seen, and nothing labelled
    found = untrimmed.figures([stream], untrimmed.Settings())
    assert json.loads(json.dumps(found, allow_nan=False))["frame_accuracy"] is None
    assert set(found["segment_f1"].values()) == {None}
    assert "frame accuracy -\nsegment F1: - at 0.1, " in untrimmed.text(found)
    assert untrimmed.rows([stream]) == []
    missed = segments.Events(2, (), 0, quiet=0, quiet_without_alarm=0, alarms_in_quiet=0, quiet_hours=0.0)
    assert untrimmed.event_text("fall", missed) == "fall: 0 of 2 recognised (0.0%), 0 other alarms in these videos"


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A copy of the run that all modules share: evaluation writes into it."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("copied") / "run")


def test_clips_are_put_together_the_whole_way(run):
    line = ["--run", run, "--untrimmed", "--window", "12", "--stride", "4", "--smooth", "mean:2", "--event"]
    labels = RunDirectory(run).labels
    result = command("evaluate.py", *line, labels[0])
    assert result.returncode == 0, result.stderr
    folder = run / "evaluation" / "cv-test"
    found = json.loads((folder / "metrics.json").read_text())["untrimmed"]
    assert (found["videos"], found["window"], found["event"]) == (5, "12", labels[0])  # 50 clips, 10 together
    with open(folder / "untrimmed.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = [row for row in rows if row["from"] == "truth"]
    # The truth covers all videos; so do the predictions, as somebody is seen in every frame.
    seconds = {source: sum(float(r["end"]) - float(r["start"]) for r in rows if r["from"] == source) for source in
               ("truth", "predicted")}  # fmt: skip
    assert seconds["truth"] == pytest.approx(found["seconds"], abs=0.1)
    assert seconds["predicted"] == pytest.approx(found["seconds"], abs=0.1)
    assert {row["label"] for row in truth} == set(labels)
    assert f"untrimmed, 5 videos of {found['seconds'] / 60:.1f} minutes: frame accuracy" in result.stdout
    assert f"{labels[0]}: {len(found['events']['delays'])} of {found['events']['events']} recognised" in result.stdout
    assert found["thresholds"]["0.5"] == found["events"]
    assert len(found["thresholds"]) == 19
    assert "Untrimmed videos" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_windows_are_scored_as_clips_are(run, dataset):
    """A window as long as a video of one clip has the clip's own scores."""
    opened, records = RunDirectory(run), pipeline.Records(dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(untrimmed, "TOGETHER", 1)
        settings = untrimmed.Settings(window="100s", stride="100s")
        streams = untrimmed.Videos(opened, records, "cv", "test", settings).classify()
    metrics = trainers.of_run(opened).score(opened, records, "cv", "test").metrics
    expected = sorted(max(scores) for scores in metrics.scores)
    found = sorted(row.prediction.top[1] for stream in streams for row in stream.rows)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_options_that_are_refused(run):
    assert "--window needs --untrimmed" in error_of(command("evaluate.py", "--run", run, "--window", "2s"))
    unknown = error_of(command("evaluate.py", "--run", run, "--untrimmed", "--event", "dance"))
    assert "--event: no class 'dance'" in unknown
    for options, message in (
        (("--window", "0"), "--window: a window of 0 frames: expected at least one"),
        (("--window", "2", "--stride", "3"), "--stride: windows of 2 frames every 3: expected 1 to 2"),
        (("--stride", "often"), "--stride: 'often' is no duration"),
    ):
        assert message in error_of(command("evaluate.py", "--run", run, "--untrimmed", "--calibrate", *options))
    assert not (run / "evaluation" / "cv-val").exists()  # nothing was scored
    assert not (run / "calibration.json").exists()
    fused = error_of(command("evaluate.py", "--run", run, "--untrimmed", "--fuse", run))
    poses = error_of(command("evaluate.py", "--run", run, "--untrimmed", "--share-computation"))
    assert "--share-computation: pose_cnn is no such network" in poses
    assert "--untrimmed: of one run only, leave --fuse out" in fused
    with pytest.raises(UserError, match="no smoothing 'median'"):
        untrimmed.Settings(smooth="median")
