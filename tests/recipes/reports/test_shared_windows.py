"""Windows of an untrimmed video that share computation: which frames and poses of it are fed."""

import csv
import json
import types

import numpy as np
import pytest
import tensorflow as tf

from recipes import trainers
from recipes.reports import shared_windows
from tests.recipes.conftest import TINY, command
from tfrecords import schema
from tfrecords.reading.pipeline import Inputs
from zoo.shared.errors import UserError
from zoo.shared.windows import Plan

FRAMES, DISTANCE = 8, 2
BRIGHTER = 5  # each frame of the video is by so much brighter than the one before


def numbers(rgb):
    """The numbers of pictures ``[..., H, W, 3]`` in the video."""
    return np.round((np.mean(rgb, (-3, -2, -1)) + 1) * 127.5 / BRIGHTER).astype(int)


class SeesNumbers:
    """In place of :class:`zoo.shared_computation.SharedComputation`: gives the numbers of the frames."""

    step = 8

    def __init__(self, model, block):
        assert block == "Mixed_5c"

    def predict(self, frames, starts, others):
        assert len(frames(16, 40)["rgb"]) == 23 - 16  # of 45 frames
        for number, start in enumerate(starts):
            assert others(number)["pose"].shape == (4, 1, 20, 3)
            yield numbers(frames(start, start + FRAMES)["rgb"])


@pytest.fixture
def opened(monkeypatch):
    """A function (window, its stride, changes of the inputs) that gives the scores of a run of every other frame."""

    def model(fed, training):
        assert fed["pose"].shape == (1, 4, 1, 20, 3)
        return tf.constant(numbers(fed["rgb"]))

    trainer = types.SimpleNamespace(has_layers=True, load=lambda run: model)
    monkeypatch.setattr(trainers, "of_run", lambda run: trainer)
    monkeypatch.setattr(shared_windows, "SharedComputation", SeesNumbers)

    def of(length, apart, **changes):
        given = {"frames": FRAMES, "stride": DISTANCE, "pose_steps": 4, "layout": "kinect_v1_20", "size": 32, **changes}
        named = types.SimpleNamespace(model=types.SimpleNamespace(name="vpn"))
        run = types.SimpleNamespace(inputs=Inputs(**given), recipe=named)
        return shared_windows.SharedWindows(run, Plan(length, apart, 10.0), "Mixed_5c")

    return of


@pytest.fixture
def video():
    pictures = [np.full((32, 40, 3), BRIGHTER * number, np.uint8) for number in range(45)]
    poses = np.random.default_rng(0).normal(size=(45, 1, 20, 3)).astype(np.float32)
    return schema.Clip(
        schema.ClipInfo("a", 0), "synthetic", "sit", 10.0, layout="kinect_v1_20", pose_xyz=poses,
        pose_confidence=np.ones(poses.shape[:3], np.float32),
        images={"full_body": [tf.io.encode_jpeg(picture).numpy() for picture in pictures]},
        boxes={"full_body": np.tile(np.float32([0, 0, 40, 32]), (45, 1))},
    )  # fmt: skip


def test_every_other_frame_is_shared_and_the_last_window_stands_alone(opened, video):
    score = opened(16, 16)
    found = [scores.tolist() for scores in score(video, [(0, 16), (16, 32), (29, 45)])]
    assert found == [list(range(first, first + 16, DISTANCE)) for first in (0, 16, 29)]
    (short,) = score(video, [(0, 10)])
    assert short.tolist() == [0, 2, 4, 6, 8, 0, 2, 4]  # which starts again


def test_a_long_video_is_no_short_clip_where_it_ends_between_two_frames_that_are_seen(opened, video):
    """``short_clips`` is for clips: of the video's end, too, every fourth frame is read from the stretch's first."""
    score = opened(32, 32, stride=4, short_clips="spread")
    seen = []

    def predict(frames, starts, poses):
        seen.append(numbers(frames(0, 144)["rgb"]).tolist())
        yield from (None for _ in starts)

    score._shared.predict = predict
    list(score(video, [(0, 32)]))
    assert seen == [list(range(0, 45, 4))]


def test_windows_that_cannot_share_are_refused_with_those_that_can(opened):
    with pytest.raises(UserError, match="--stride of 10 frames: windows share computation in steps of 16, give 16"):
        opened(16, 10)
    with pytest.raises(UserError, match=r"--window of 12 frames: .* the 8 frames .* evenly apart"):
        opened(12, 8)
    opened(8, 8, short_clips="spread")  # all frames of a shorter window
    with pytest.raises(UserError, match="vpn is no such network"):
        opened(16, 16, pose_steps=8, frames_at="pose_steps")


@pytest.mark.slow
def test_untrimmed_evaluation_the_whole_way(trained_to_the_end, written_recipe, dataset):
    text = TINY[: TINY.index("stages:")].replace("pose_cnn, width: 0.1", "i3d, width: 0.05")
    text = text.replace("pose_steps: 3", "frames: 8, stride: 1, size: 32")
    text = text.replace("augment: {rotation: 20, noise: 0.05}, ", "")
    text += "stages:\n  - {name: all, epochs: 1, optimizer: {name: adam, learning_rate: 1e-3}}\nbatch: 8\n"
    run, _ = trained_to_the_end("i3d_tiny", written_recipe("i3d_tiny", text), dataset)
    line = ["evaluate.py", "--run", run, "--untrimmed", "--stride", "8", "--share-computation"]
    for more, block in ([], "Mixed_5c"), (["Mixed_4f"], "Mixed_4f"):
        result = command(*line, *more)
        assert result.returncode == 0, result.stderr
        assert f"(windows share computation up to {block})" in result.stdout
        found = json.loads((run / "evaluation" / "cv-test" / "metrics.json").read_text())["untrimmed"]
        assert found["share_computation"] == block
        with open(run / "evaluation" / "cv-test" / "untrimmed.csv", newline="") as file:
            spans = [row for row in csv.DictReader(file) if row["from"] == "predicted"]
        covered = sum(float(row["end"]) - float(row["start"]) for row in spans)
        assert covered == pytest.approx(found["seconds"], abs=0.1)
