"""Poses and pictures of persons, estimated where a model needs them."""

import asyncio
import json
import threading
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf

from serving import export, predict
from serving.client import Client, Plan, Prediction, VideoFrames, sliding_window, streams
from serving.client import estimation as client_estimation
from serving.client.command import main
from serving.client.estimation import Estimation
from serving.savedmodel import signatures
from tests.serving.conftest import LABELS, write_run
from tests.serving.fake_poses import BAR, BODY, FPS, HEIGHT, WIDTH, BarPoses, bar_video, middle_of_bar
from tests.serving.fake_server import FRAMES, JPEGS, POSES, FakeServer, signature_map
from tests.tfrecords.recording_files import write_video
from tfrecords.converting import video
from tfrecords.converting.pose_files import FilePoses
from tfrecords.estimation import estimator, recordings
from tfrecords.reading import pipeline
from zoo.shared.errors import UserError

WALK = list(range(8, 80, 3))  # columns of a bar, frame after frame


@pytest.fixture(autouse=True)
def bar_poses(monkeypatch):
    """The estimator of the tests in place of BlazePose."""
    monkeypatch.setitem(estimator._REGISTERED, "blazepose", BarPoses)
    monkeypatch.setattr(BarPoses, "times", [])


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.mp4", bar_video(WALK), rate=FPS)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "empty.mp4", bar_video([None] * 12), rate=FPS)


def crops_of(**inputs):
    """The signatures of a model that was trained on pictures of persons."""
    found = signature_map(**inputs)
    for definition in found.signature_def.values():
        definition.outputs[signatures.PERSON_CROPS].name = "crops:0"
    return found


@pytest.mark.parametrize(
    ("inputs", "crops", "options", "expected"),
    [
        (JPEGS, False, {}, None),
        (JPEGS, False, {"crop": True, "persons": 2}, (False, ("full_body",), "", 2)),
        (JPEGS, True, {}, (False, ("full_body",), "", 1)),
        (JPEGS, True, {"crop": False}, None),
        ({**FRAMES, **POSES}, False, {}, (True, (), "kinect_v2_25", 2)),
        ({**FRAMES, **POSES}, False, {"poses_given": True}, None),
        ({**JPEGS, **POSES}, True, {"poses_given": True}, (False, ("full_body",), "kinect_v2_25", 2)),
        ({"frames_left_hand": FRAMES["frames"]}, False, {}, (False, ("left_hand",), "", 1)),
        (POSES, False, {"crop": True}, (True, (), "kinect_v2_25", 2)),
    ],
)
def test_what_a_signature_needs(inputs, crops, options, expected):
    definition = (crops_of if crops else signature_map)(one=inputs).signature_def["one"]
    found = Estimation.of(definition, **options)
    assert (found and (found.poses, found.parts, found.settings.layout, found.settings.persons)) == expected


def test_what_cannot_be_estimated(monkeypatch, walk):
    takes_poses = signature_map(one=POSES).signature_def["one"]
    of_other = signature_map(one={"poses": (tf.float32, [None, None, 1, 7, 3])}).signature_def["one"]
    with pytest.raises(UserError, match="poses of 7 joints, of no skeleton that can be estimated: give --pose"):
        Estimation.of(of_other)

    def not_installed(self, **_):
        raise UserError("pip install 'keras-adl-zoo[poses]'")

    monkeypatch.setattr(BarPoses, "__init__", not_installed)
    video = VideoFrames(walk)
    with pytest.raises(UserError, match=r"this model needs poses: give --pose, or .*keras-adl-zoo\[poses\]"):
        Estimation.of(takes_poses).of_video(video, "walk")
    crops = Estimation.of(crops_of(one=JPEGS).signature_def["one"])
    with pytest.raises(UserError, match=r"trained on pictures of persons: give --no-crop .*keras-adl-zoo\[poses\]"):
        next(crops.follow(video.timed(), FPS, live=False, encode=False))


def sent_by(server):
    """The clips that a server was sent: decoded pictures and poses, of each request."""
    found = []
    for request in sorted(server.requests, key=lambda request: request.inputs["jpegs"].string_val[0]):
        jpegs = request.inputs["jpegs"].string_val
        pictures = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in jpegs]
        poses = tf.make_ndarray(request.inputs["poses"])[0] if "poses" in request.inputs else None
        found.append((pictures, poses))
    return found


def test_a_video_is_estimated_and_cut_around_the_person(walk, run_command):
    with FakeServer(crops_of(serve_jpeg={**JPEGS, **POSES})) as server:
        line = ["--server", server.address, "--model", "adl", "--video", walk]
        assert run_command(main, *line)[0] == 0
        assert len(BarPoses.times) == len(WALK)
        assert run_command(main, *line, "--no-crop")[0] == 0
        first, second = server.requests
        (cut, poses), (whole, same) = (sent_by(type("One", (), {"requests": [r]}))[0] for r in (first, second))
    assert {picture.shape for picture in cut} == {(256, 256, 3)}
    assert {picture.shape for picture in whole} == {(HEIGHT, WIDTH, 3)}
    middles = [middle_of_bar(picture) for picture in cut[4:-4]]
    assert np.abs(np.array(middles) - 0.5).max() < 0.15  # in the frames it goes from 0.1 to 0.85
    assert poses.shape == (len(WALK), 2, 25, 3)
    assert poses[:, 0].any(axis=(1, 2)).all()
    assert not poses[:, 1].any()
    assert (np.diff(poses[:, 0, :, 0].mean(axis=1)) > 0).mean() > 0.8  # it walks to the right
    np.testing.assert_array_equal(poses, same)


def test_nobody_in_a_video(empty, run_command):
    with FakeServer(signature_map(serving_default=POSES)) as server:
        line = ["--server", server.address, "--model", "adl", "--video", empty]
        status, _, err = run_command(main, *line)
        assert status == 2
        assert err.splitlines()[-1].endswith(
            "nobody is found in it, and the model needs poses: no prediction is possible"
        )
        status, out, _ = run_command(main, *line, "--window", 8, "--format", "json")
        assert status == 0
        assert [json.loads(row)["reason"] for row in out.splitlines()] == ["nobody found"] * 2
        assert not server.requests
    with FakeServer(crops_of(serve_jpeg={**JPEGS, **POSES})) as server:
        status, out, err = run_command(main, "--server", server.address, "--model", "adl", "--video", empty)
        assert (status, len(server.requests)) == (0, 1)
        assert "nobody is found in it, the prediction is from its pictures alone" in err


def test_windows_of_somebody_and_of_nobody(tmp_path, run_command):
    positions = [20] * 12 + [None] * 24 + [60] * 12
    video = write_video(tmp_path / "left.mp4", bar_video(positions), rate=FPS)
    with FakeServer(signature_map(serving_default=POSES)) as server:
        line = ["--server", server.address, "--model", "adl", "--video", video, "--window", 6, "--stride", 6]
        status, out, _ = run_command(main, *line)
    assert status == 0
    assert len(set(BarPoses.times)) == len(positions)
    rows, _, segments = out.partition("\ntime line\n")
    shown = ["nobody" in row for row in rows.splitlines()[2:]]
    assert shown[:2] + shown[-2:] == [False] * 4
    assert shown.count(True) >= 2
    assert len(segments.splitlines()) == 3  # a title, and what comes before and after


def test_each_frame_is_estimated_once_and_goes_with_its_windows(walk):
    with (
        FakeServer(crops_of(serve_jpeg={**JPEGS, **POSES})) as server,
        Client(server.address, "adl") as client,
    ):
        estimation = Estimation.of(client.definition())
        made = list(sliding_window.predict(client, VideoFrames(walk), Plan(12, 3, FPS), estimation=estimation))
        clips = sent_by(server)
    assert len(made) == 5
    assert len(BarPoses.times) == len(WALK)
    for pictures, poses in clips:
        assert len(pictures) == len(poses) == 12
        assert np.abs(np.array([middle_of_bar(picture) for picture in pictures[4:]]) - 0.5).max() < 0.2
    by_start = sorted((poses[0, 0, :, 0].mean(), poses) for _, poses in clips)
    np.testing.assert_allclose(by_start[0][1][3:], by_start[1][1][:-3], atol=1e-5)  # the same poses, three later


def followed(frames, *, live, **options):
    definition = crops_of(serve_jpeg={**JPEGS, **POSES}).signature_def["serve_jpeg"]
    estimation = Estimation.of(definition, **options)
    return estimation.follow(frames, FPS, live=live, encode=False)


def test_frames_that_come_during_an_estimate_lie_between_two(monkeypatch):
    """Every fourth frame is the newest when it is taken."""
    taken = lambda frames, waiting: ((n % 4 == 0, frame) for n, frame in enumerate(frames))  # noqa: E731
    monkeypatch.setattr(client_estimation, "as_they_come", taken)
    columns = [8 + 3 * (number // 4 * 4) for number in range(17)]  # as if the others were not looked at
    frames = enumerate(bar_video(columns))
    moments = [moment for _, moment in followed(((n / FPS, frame) for n, frame in frames), live=True)]
    assert BarPoses.times == [0.0, 0.4, 0.8, 1.2, 1.6]
    x = np.array([moment.poses.xy[0, 0, :, 0].mean() for moment in moments])
    np.testing.assert_allclose(x, np.interp(np.arange(17), np.arange(0, 17, 4), x[::4]), atol=1e-2)
    assert (np.diff(x) > 0).all()
    confidence = np.array([moment.poses.confidence.max() for moment in moments])
    assert (np.diff(confidence.reshape(-1)[:4]) != 0).any()  # what was not measured says so
    assert all(set(moment.pictures) == {"full_body"} for moment in moments)


def test_however_far_behind_a_frame_is_estimated_every_half_second(monkeypatch):
    monkeypatch.setattr(client_estimation, "as_they_come", lambda frames, waiting: ((False, f) for f in frames))
    assert len(list(followed(((None, frame) for frame in bar_video([20] * 20)), live=True))) == 20
    assert BarPoses.times == pytest.approx([0.0, 0.4, 0.9, 1.4, 1.9])


def test_the_newest_frame_of_a_camera_is_known():
    come, go_on = threading.Event(), threading.Event()

    def camera():
        yield from range(5)
        come.set()
        assert go_on.wait(20)
        yield 5

    taken = streams.as_they_come(camera(), 10)
    first = next(taken)  # whether it was the newest depends on the threads
    assert come.wait(20)
    assert first[1] == 0
    assert [next(taken) for _ in range(4)] == [(False, 1), (False, 2), (False, 3), (True, 4)]
    go_on.set()
    assert [frame for _, frame in taken] == [5]


def test_the_newest_frames_of_a_camera_wait_and_the_oldest_are_left_out(capsys):
    taken, all_came = threading.Event(), threading.Event()

    def camera():
        for number in range(40):
            yield number / FPS, bar_video([20])[0]
            assert taken.wait(20)
        all_came.set()

    moments = followed(camera(), live=True)
    next(moments)
    taken.set()
    assert all_came.wait(20)  # though nobody asks for the next
    assert [round(seconds * FPS) for seconds, _ in moments] == list(range(40 - FPS, 40))
    assert capsys.readouterr().err == "warning: frames come faster than they are processed: the oldest are left out\n"
    assert not [thread for thread in threading.enumerate() if thread.name == "camera"]


def test_the_estimator_is_there_before_a_camera_is_read(monkeypatch):
    made = []
    monkeypatch.setattr(BarPoses, "__init__", lambda self, **_: made.append("estimator"))

    def camera():
        made.append("frame")
        yield None, bar_video([20])[0]

    assert len(list(followed(camera(), live=True))) == 1
    assert made == ["estimator"] * 2 + ["frame"]  # for upright and for turned frames


def test_a_file_in_a_cameras_place(tmp_path, run_command, monkeypatch):
    """It plays in real time, though its frames last unequally long, and every window has its poses."""
    monkeypatch.setattr(streams, "WAITING_SECONDS", 20)  # this machine may be busy
    times = [0, 40, 80, 120, 160, 200, 400, 600, 800, 1000, 1200, 1400]
    video = write_video(tmp_path / "walk.mkv", bar_video(WALK[: len(times)]), rate=25, times=times)
    with FakeServer(crops_of(serve_jpeg={**JPEGS, **POSES})) as server:
        line = ["--server", server.address, "--model", "adl", "--window", 6, "--format", "json"]
        begin = time.monotonic()
        status, out, err = run_command(main, *line, "--camera", video)
        assert (status, err) == (0, "")
        assert time.monotonic() - begin >= 1.4
        *rows, _ = (json.loads(row) for row in out.splitlines())
        assert [row["start"] for row in rows] == pytest.approx([0, 0.12, 0.4], abs=0.002)
        assert all(poses[:, 0].any(axis=(1, 2)).all() for _, poses in sent_by(server))


def test_frames_of_a_video_are_estimated_at_their_times(tmp_path):
    times = [0, 40, 80, 300, 340, 900]
    path = write_video(tmp_path / "walk.mkv", bar_video([20] * 6), times=times)
    estimation = Estimation.of(crops_of(one=JPEGS).signature_def["one"])
    for stream, expected in (
        (video.Video(path), np.array(times) / 1000),
        (VideoFrames(path), np.array(times) / 1000),
        (VideoFrames(path, fps=10), np.arange(6) / 10),
    ):
        BarPoses.times.clear()
        if isinstance(stream, video.Video):
            recordings.estimate(stream, estimation.settings)
        else:
            estimation.of_video(stream, "walk")
        assert BarPoses.times == pytest.approx(expected)


def test_windows_of_a_camera_do_not_wait_for_a_slow_server(capsys):
    go_on = threading.Event()

    class Slow:
        def takes_jpegs(self):
            return False

        def predict(self, frames, poses, outputs, pose_fps):
            assert go_on.wait(20)
            return Prediction("slow", 1, "serving_default", ("sit",), (float(frames[0][0, 0, 0]),))

    class Camera:
        live = True

        def __iter__(self):
            for number in range(30):
                yield np.full((2, 2, 3), number, np.uint8)
            go_on.set()
            assert left.wait(20)
            for number in range(30, 34):
                yield np.full((2, 2, 3), number, np.uint8)

    left = threading.Event()
    windows = sliding_window.predict(Slow(), Camera(), Plan(2, 2, 100.0), in_flight=2)
    firsts = [next(windows).prediction.probabilities[0] for _ in range(2)]
    left.set()
    firsts += [row.prediction.probabilities[0] for row in windows]
    assert firsts[:2] == [0, 2]
    assert firsts[-1] >= 30
    assert len(firsts) < 17
    assert "windows come faster than the server answers: some are left out" in capsys.readouterr().err


def test_windows_of_a_camera_left_out_asynchronously(monkeypatch):
    left_out = threading.Event()
    monkeypatch.setattr(sliding_window.messages, "warn", lambda text: left_out.set())

    class Slow:
        async def takes_jpegs(self):
            return False

        async def predict(self, frames, poses, outputs, pose_fps):
            assert await asyncio.to_thread(left_out.wait, 20)
            return Prediction("slow", 1, "serving_default", ("sit",), (1.0,))

    class Camera:
        live = True

        def __iter__(self):
            return iter(np.zeros((20, 2, 2, 3), np.uint8))

    async def rows():
        return [row async for row in sliding_window.predict_async(Slow(), Camera(), Plan(2, 2, 100.0), in_flight=1)]

    assert 1 <= len(asyncio.run(rows())) < 10


def pixels_of(columns, **changed):
    """Poses whose pixels are around the bars of those columns."""
    poses = np.tile(BODY, (len(columns), 1, 1, 1)) + np.float32((0, 0, 3))
    scale = 0.5 * HEIGHT / np.ptp(BODY[:, 1])
    xy = BODY[:, :2] * (scale, -scale) + np.array([(c + BAR / 2, HEIGHT / 2) for c in columns])[:, np.newaxis]
    return {"xyz": poses, "xy": xy[:, np.newaxis].astype(np.float32), "layout": np.array("blazepose_33"), **changed}


@pytest.mark.parametrize("window", [[], ["--window", 12]])
def test_pixels_of_a_file_of_poses_say_where_persons_are(walk, tmp_path, run_command, monkeypatch, window):
    monkeypatch.setattr(BarPoses, "__init__", None)  # nothing is estimated
    file = tmp_path / "poses.npz"
    takes_poses = {"poses": (tf.float32, [None, None, 1, 33, 3])}
    for inputs, arrays in ((takes_poses, {}), ({}, {}), ({}, {"xyz": None})):
        np.savez(file, **{name: value for name, value in pixels_of(WALK, **arrays).items() if value is not None})
        with FakeServer(crops_of(serve_jpeg={**JPEGS, **inputs})) as server:
            line = ["--server", server.address, "--model", "adl", "--video", walk, "--pose", file, *window]
            status, _, err = run_command(main, *line)
            assert status == 0, err
            for pictures, poses in sent_by(server):
                assert {picture.shape for picture in pictures} == {(256, 256, 3)}
                middles = [middle_of_bar(picture) for picture in pictures[4:-4]]
                assert np.abs(np.array(middles) - 0.5).max() < 0.15
                assert (poses is None) == (not inputs)


def test_a_file_of_poses_states_another_rate_than_the_frames(walk, tmp_path, run_command):
    arrays = pixels_of(np.repeat(WALK, 2))
    arrays["xyz"] = (
        arrays["xyz"] + np.arange(len(arrays["xyz"]), dtype=np.float32)[:, np.newaxis, np.newaxis, np.newaxis]
    )
    np.savez(tmp_path / "poses.npz", **arrays, fps=2 * FPS)
    takes_poses = {"poses": (tf.float32, [None, None, 1, 33, 3])}
    with FakeServer(crops_of(serve_jpeg={**JPEGS, **takes_poses})) as server:
        line = ["--server", server.address, "--model", "adl", "--video", walk, "--pose", tmp_path / "poses.npz"]
        assert run_command(main, *line, "--window", 12, "--stride", 12)[0] == 0
        sent = sorted(sent_by(server), key=lambda clip: clip[1][0, 0, 0, 0])
    for first, (pictures, poses) in zip((0, 24), sent):
        np.testing.assert_allclose(poses, arrays["xyz"][first : first + 24], atol=1e-5)
        middles = [middle_of_bar(picture) for picture in pictures[4:-4]]
        assert np.abs(np.array(middles) - 0.5).max() < 0.15


def test_pixels_of_as_long_a_recording_at_another_rate_or_of_another_size(walk):
    definition = crops_of(one=JPEGS).signature_def["one"]
    exact = Estimation.of(definition, pixels=FilePoses(**given(WALK)))
    half = Estimation.of(definition, pixels=FilePoses(**given(WALK[::2])))
    double = Estimation.of(definition, pixels=FilePoses(**given(WALK, scale=(2, 3)), frame=(2 * WIDTH, 3 * HEIGHT)))
    (_, expected), (_, fewer), (_, larger) = (e.of_video(VideoFrames(walk), "walk") for e in (exact, half, double))
    assert len(fewer["full_body"]) == len(WALK)
    assert np.abs(fewer["full_body"] - expected["full_body"]).max() <= 10
    np.testing.assert_array_equal(larger["full_body"], expected["full_body"])


def given(columns, scale=1):
    arrays = pixels_of(columns)
    return {"xyz": arrays["xyz"], "confidence": np.ones(arrays["xyz"].shape[:3]), "xy": arrays["xy"] * scale}


@pytest.mark.parametrize(("arrays", "confidence"), [({"xy": None}, 1.0), ({}, 0.0)])
def test_without_pixels_of_anybody_persons_are_found(arrays, confidence):
    poses = FilePoses(**{**given(WALK), "confidence": np.full((len(WALK), 1, 33), confidence), **arrays})
    assert Estimation.of(crops_of(one=JPEGS).signature_def["one"], pixels=poses).pixels is None


def test_a_camera_that_fails_is_named():
    def camera():
        yield None, bar_video([20])[0]
        raise UserError("the camera is gone")

    with pytest.raises(UserError, match="the camera is gone"):
        list(followed(camera(), live=True))


@pytest.fixture(scope="module")
def person_model(tmp_path_factory):
    """An exported linear model of pictures of persons, with a name that the zoo knows."""
    rgb = tf.keras.Input((4, 16, 16, 3), name="rgb")
    logits = tf.keras.layers.Dense(len(LABELS), name="logits")(tf.keras.layers.Flatten()(rgb))
    made = tf.keras.Model({"rgb": rgb}, tf.keras.layers.Softmax()(logits), name="i3d")
    inputs = pipeline.Inputs(frames=4, stride=2, size=16, framing="person")
    folder = tmp_path_factory.mktemp("person")
    return export.export(export.Run(write_run(folder / "run", made, inputs)), folder)[0]


def test_an_export_states_that_it_was_trained_on_persons(person_model, walk, run_command):
    model = predict.Predictor(person_model)
    assert signatures.PERSON_CROPS in model.definition("serve_jpeg").outputs
    assert signatures.PERSON_CROPS not in model.definition("serve_examples").outputs
    estimation = model.estimation()
    assert (estimation.poses, estimation.parts) == (False, ("full_body",))
    _, sampled = model.predict_video(walk, estimation)
    assert len(BarPoses.times) == 8  # of the window alone
    assert {part: pictures.shape for part, pictures in sampled.frames.items()} == {"full_body": (8, 256, 256, 3)}
    assert np.abs(np.array([middle_of_bar(picture) for picture in sampled.seen]) - 0.5).max() < 0.15
    line = ["--model", person_model, "--video", walk, "--format", "json"]
    cut, whole = (json.loads(run_command(predict.main, *line, *more)[1]) for more in ([], ["--no-crop"]))
    assert cut != whole
    assert cut["predictions"][0]["probability"] == pytest.approx(model.predict_files(walk).probabilities[0])


def test_poses_of_a_video_for_a_model_of_poses_alone(pose_base, walk, empty, tmp_path, run_command, monkeypatch):
    model = predict.Predictor(pose_base / "pose_lstm")
    prediction, sampled = model.predict_video(walk, model.estimation())
    assert sampled is None
    assert prediction.labels[0] in LABELS
    assert len(BarPoses.times) == len(WALK)
    status, _, err = run_command(predict.main, "--model", pose_base / "pose_lstm", "--video", empty)
    assert status == 2
    assert "nobody is found in it" in err.splitlines()[-1]
    monkeypatch.setattr(predict, "Predictor", lambda path, runtime: model)
    line = ["--model", "any", "--video", walk]
    assert run_command(predict.main, *line, "--picture", tmp_path / "made.png")[0] == 0
    drawn = cv2.imread(str(tmp_path / "made.png"))
    assert (drawn.max(axis=-1) < 40).mean() > 0.1  # frames of the video
    np.save(tmp_path / "pose.npy", np.ones((9, 25, 3), np.float32))
    monkeypatch.setattr(VideoFrames, "frames", None)  # none is decoded
    status, _, err = run_command(predict.main, *line, "--persons", 3)
    assert (status, err) == (2, "error: --persons 3: the model takes 2 at most\n")
    status, _, err = run_command(predict.main, *line, "--pose", tmp_path / "pose.npy")
    assert (status, err) == (2, "error: the model takes poses alone: leave out the video\n")
