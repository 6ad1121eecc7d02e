"""Windows over a long video file, classified in this process, each by itself or from shared maps."""

import types

import numpy as np
import pytest

from serving import export, long_video, predict
from serving.client.prediction import Prediction
from serving.client.streams import VideoFrames
from serving.savedmodel import shared, signatures
from tests.serving.conftest import INPUTS, LABELS
from tests.serving.fake_server import FRAMES, POSES, signature_map
from tests.tfrecords.recording_files import write_video
from tfrecords.reading import pictures
from tfrecords.reading.pipeline import Inputs
from zoo.shared.errors import UserError
from zoo.shared.windows import Plan
from zoo.shared_computation import SharedComputation

FPS = 10
OPTIONS = (
    (["--stride", "4"], "--stride needs --window"),
    (["--pose-fps", "4"], "--pose-fps needs --window"),
    (["--share-computation"], "--share-computation needs --window"),
    (["--window", "8", "--picture", "a.png"], "--window is for --video, without --picture"),
)


@pytest.fixture(scope="module")
def long(tmp_path_factory, clips):
    """Path of a video of 37 frames, and its poses."""
    frames = np.random.default_rng(0).integers(0, 255, (37, 40, 64, 3)).astype(np.uint8)
    return write_video(tmp_path_factory.mktemp("long") / "long.mp4", frames, rate=FPS), clips["long"].pose_xyz


def spans(rows):
    return [(round(row.start, 3), round(row.end, 3)) for row in rows]


def probabilities(rows):
    return [[dict(zip(r.prediction.labels, r.prediction.probabilities))[label] for label in LABELS] for r in rows]


def test_every_window_is_a_clip(base, long):
    path, poses = long
    predictor = predict.Predictor(base / "separable_sta")
    rows = list(long_video.predict(predictor, VideoFrames(path), Plan(16, 8, FPS), poses=poses))
    assert spans(rows) == [(0, 1.6), (0.8, 2.4), (1.6, 3.2), (2.1, 3.7)]
    third = predictor.predict(np.stack(list(VideoFrames(path)))[16:32], poses[16:32])
    assert rows[2].prediction == third
    twice = np.repeat(poses, 2, axis=0)
    rows = list(long_video.predict(predictor, VideoFrames(path), Plan(16, 8, FPS), poses=twice, pose_fps=2 * FPS))
    assert rows[2].prediction == predictor.predict(np.stack(list(VideoFrames(path)))[16:32], twice[32:64])
    with pytest.raises(UserError, match="shares no computation: export the model with --share-computation"):
        list(long_video.predict(predictor, VideoFrames(path), Plan(16, 8, FPS), poses=poses, share_computation=True))


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--freeze", "--compute", "bfloat16"]])
def test_shared_maps_give_the_predictions_of_the_keras_model(run_command, run_folder, model, long, tmp_path, more):
    path, poses = long
    line = ["--run", run_folder, "--to", tmp_path, "--share-computation", "Mixed_4f", *more]
    status, out, err = run_command(export.main, *line)
    assert status == 0, err
    predictor, plan = predict.Predictor(tmp_path / "separable_sta"), Plan(16, 8, FPS)
    rows = list(long_video.predict(predictor, VideoFrames(path), plan, poses=poses, share_computation=True))
    assert spans(rows) == [(0, 1.6), (0.8, 2.4), (1.6, 3.2)]  # windows begin every 4 of the frames that are seen
    squares = np.stack(list(VideoFrames(path)))[::2, :, 12:52]
    video = pictures.prepare(squares, INPUTS.size).numpy()

    def posed(number):
        of_window = poses[np.newaxis, number * 8 : number * 8 + 16]
        return {"pose": signatures.prepare_poses(of_window, INPUTS).numpy()[0]}

    expected = SharedComputation(model, "Mixed_4f").predict(
        lambda first, end: {"rgb": video[first:end]}, range(0, 12, 4), posed
    )
    np.testing.assert_allclose(probabilities(rows), list(expected), atol=0.05 if more else 1e-5)
    np.save(tmp_path / "pose.npy", poses)
    line = ["--model", tmp_path / "separable_sta", "--video", path, "--window", 16, "--stride", 8]
    status, out, err = run_command(predict.main, *line, "--pose", tmp_path / "pose.npy", "--share-computation")
    assert status == 0, err
    assert out.splitlines()[0] == "separable_sta version 1, shared_windows"
    assert "time line" in out
    status, _, err = run_command(predict.main, *line, "--share-computation")
    assert status == 2
    assert "poses are not estimated of shared windows, give --pose FILE" in err


@pytest.mark.parametrize(
    ("stated", "options", "taken"), [(0, [], None), (FPS, [], None), (20, [], 20), (20, ["--pose-fps", "5"], 5)]
)
def test_the_rate_of_poses_in_windows(base, long, tmp_path, monkeypatch, run_command, stated, options, taken):
    path, poses = long
    np.savez(tmp_path / "pose.npz", xyz=poses, fps=stated)
    found = []
    definition = signature_map(one={**FRAMES, **POSES}).signature_def["one"]
    model = types.SimpleNamespace(inputs=INPUTS, definition=lambda: definition)
    monkeypatch.setattr(predict, "Predictor", lambda path, runtime: model)
    monkeypatch.setattr(long_video, "predict", lambda *_, pose_fps, **__: found.append(pose_fps) or (row for row in ()))
    line = ["--model", "any", "--video", path, "--pose", tmp_path / "pose.npz", "--window", 16, *options]
    status, _, err = run_command(predict.main, *line)
    assert (status, found) == (0, [taken])
    assert ("check that both are of the same recording" in err) == (taken is not None)


@pytest.mark.parametrize("pose_fps", [None, 20])
def test_shared_windows_have_the_poses_of_their_own_time(tmp_path, monkeypatch, pose_fps):
    """A telephone's video, whose frames last unequally long: the poses are those of each window by itself."""
    times = [*range(0, 32 * 40, 40), *range(32 * 40, 32 * 40 + 32 * 100, 100)]
    path = write_video(tmp_path / "uneven.mp4", np.zeros((64, 32, 32, 3), np.uint8), times=times)
    poses = np.arange(1, 101, dtype=np.float32)[:, None, None, None] * np.ones((1, INPUTS.persons, 25, 3), np.float32)
    found = {False: [], True: []}

    def predict_clips(of, **_):
        found[False].append(of[0][1])
        return [Prediction("m", 1, "s", ("sit",), (1.0,))]

    def classify(_, joints):
        found[True].append(joints[0])
        return {"classes": np.array([[b"sit"]], object), "probabilities": np.ones((1, 1))}

    def maps(seen):
        return [np.zeros((len(seen["rgb"]) // 4, 1, 1, 1))]

    definition = signature_map(one={**FRAMES, **POSES}).signature_def["one"]
    predictor = types.SimpleNamespace(
        inputs=INPUTS,
        folder=tmp_path,
        servable=types.SimpleNamespace(name="m", version=1),
        definition=lambda: definition,
        predict_clips=predict_clips,
    )
    monkeypatch.setattr(shared, "offered", lambda _: True)
    monkeypatch.setattr(shared, "Shared", lambda *_: types.SimpleNamespace(step=4, maps=maps, classify=classify))
    video = VideoFrames(path)
    for share in (False, True):
        plan, options = Plan(16, 16, video.fps), {"poses": poses, "pose_fps": pose_fps}
        assert len(list(long_video.predict(predictor, video, plan, share_computation=share, **options))) == 4
    for apart, together in zip(found[False], found[True]):
        np.testing.assert_array_equal(apart, together)


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_options_that_need_others(run_command, options, message):
    status, _, err = run_command(predict.main, "--model", "any", "--video", "a.mp4", *options)
    assert status == 2
    assert message in err


def test_models_that_cannot_share_are_not_exported_so(model):
    for changes in ({"framing": "person"}, {"frames": 4, "frames_at": "pose_steps"}, {"parts": ("left_hand",)}):
        inputs = Inputs(**{"frames": 8, "pose_steps": 4, "layout": "kinect_v2_25", **changes})
        with pytest.raises(UserError, match="windows share computation of every n-th frame"):
            shared.functions(model, inputs, LABELS, "Mixed_5c")
