"""Windows, smoothing and the time line; streams through a server and the command."""

import asyncio
import csv
import fractions
import io
import itertools
import json
import math
import signal
import subprocess
import sys
import threading
import types
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.client import (
    AsyncClient,
    Client,
    Exponential,
    MovingAverage,
    Plan,
    Prediction,
    RequestFailed,
    TimeLine,
    VideoFrames,
    encode_jpeg,
    request,
    sliding_window,
    smoothing,
)
from serving.client.command import main
from serving.client.sliding_window import poses_between, windows
from serving.client.time_line import Row, RowBuilder
from tests.conftest import REPOSITORY
from tests.serving.fake_server import FRAMES, JPEGS, LABELS, POSES, FakeServer, response, signature_map
from tests.tfrecords.recording_files import write_video
from zoo.shared import command_line
from zoo.shared.errors import UserError

# ---------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9, 23])
@pytest.mark.parametrize(("length", "stride"), [(4, 4), (4, 1), (4, 3), (1, 1)])
def test_windows_cover_every_frame_in_order(count, length, stride):
    made = list(windows(iter(range(count)), length, stride))
    assert [first for first, _ in made][:-1] == [stride * index for index in range(len(made) - 1)]
    for first, frames in made:
        assert frames == list(range(first, first + min(length, count)))
    assert {frame for _, frames in made for frame in frames} == set(range(count))
    assert made[-1][1][-1] == count - 1
    assert len({first for first, _ in made}) == len(made)  # none twice


def test_a_window_in_which_nobody_is_seen_goes_on():
    """A model of poses alone is not called for it, smoothing starts anew, and the time line has a gap."""
    spec = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in (-1, -1, 1, 4, 3)])
    definition = meta_graph_pb2.SignatureDef(inputs={"poses": meta_graph_pb2.TensorInfo(tensor_shape=spec)})

    class PoseClient:
        model, signature = "gcn", None

        def takes_jpegs(self):
            return False

        def predict(self, frames, poses, outputs, pose_fps):
            request.clip_tensors(definition, [(frames, poses)], pose_fps)
            return Prediction("gcn", 3, "serving_default", ("sit", "stand"), (0.75, 0.25))

    poses = np.ones((8, 1, 4, 3), np.float32)
    poses[2:6] = 0
    rows = list(sliding_window.predict(PoseClient(), None, Plan(2, 2, 1.0), poses=poses, smooth=MovingAverage(4)))
    assert [row.smoothed and row.smoothed.top for row in rows] == [("sit", 0.75), None, None, ("sit", 0.75)]
    line = TimeLine()
    for row in rows:
        line.add(row)
    assert [(segment.start, segment.end, segment.label) for segment in line.segments()] == [
        (0, 2, "sit"),
        (6, 8, "sit"),
    ]
    with pytest.raises(UserError, match="no person was seen in the clip"):
        PoseClient().predict(None, poses[2:4], (), 1.0)


def test_a_window_does_not_wait_for_the_next_frame():
    def stream():
        yield from range(4)
        raise AssertionError("a fifth frame was read")

    assert next(windows(stream(), 4, 2)) == (0, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("length", "stride", "fps", "expected"),
    [
        (64, None, 30, (64, 32)), ("64", "16", 30, (64, 16)), ("2s", "0.5s", 30, (60, 15)), ("0.3s", "1", 10, (3, 1)),
        (1, None, 25, (1, 1)),
    ],
)  # fmt: skip
def test_plan(length, stride, fps, expected):
    plan = Plan.of(length, stride, fps=fps)
    assert (plan.length, plan.stride, plan.fps) == (*expected, fps)


@pytest.mark.parametrize(
    ("length", "stride", "fps", "message"),
    [
        (0, None, 30, "a window of 0 frames"),
        ("0.001s", None, 30, "a window of 0 frames"),
        (8, 9, 30, "windows of 8 frames every 9: expected 1 to 8"),
        (8, 0, 30, "every 0"),
        ("2 frames", None, 30, "'2 frames' is no duration"),
        ("1e400s", None, 30, "no duration"),
        (8, None, 0, "0 frames per second"),
        (8, None, "inf", "inf frames per second"),
    ],
)
def test_invalid_plans(length, stride, fps, message):
    with pytest.raises(UserError, match=message):
        Plan.of(length, stride, fps=fps)


def test_poses_of_the_time():
    poses = np.arange(20)
    spans = [(first / 10, (first + 3) / 10) for first in range(18)]
    assert [poses_between(poses, *span, 10).tolist() for span in spans] == [[k, k + 1, k + 2] for k in range(18)]
    # At another rate, adjacent windows have no pose in common and leave none out.
    parts = [poses_between(poses, k / 30 * 7, (k + 1) / 30 * 7, 25).tolist() for k in range(3)]
    assert [index for part in parts for index in part] == list(range(18))
    assert poses_between(poses, 0.5, 0.6, fps=1).tolist() == [0]  # the latest before the end
    assert poses_between(poses, 1.8, 2.4, fps=10).tolist() == [18, 19]  # a little short
    with pytest.raises(UserError, match=r"the poses end at 2.00 s, the frames go on at 2.00 s"):
        poses_between(poses, 2.0, 2.3, fps=10)


def test_poses_at_any_rate_until_they_end():
    poses = np.arange(10)
    for fps, tenth, length in itertools.product((1, 4, 25), range(110), (1, 10)):
        start, end = fractions.Fraction(tenth, 10), fractions.Fraction(tenth + length, 10)
        if start * fps >= len(poses):
            with pytest.raises(UserError, match="the poses end"):
                poses_between(poses, float(start), float(end), fps)
            continue
        before = [pose for pose in poses.tolist() if fractions.Fraction(pose, fps) < end]
        expected = [pose for pose in before if fractions.Fraction(pose, fps) >= start] or before[-1:]
        assert poses_between(poses, float(start), float(end), fps).tolist() == expected
    assert poses_between(poses, 0.0, 1e-9, fps=1).tolist() == [0]
    assert len(poses_between(poses, 0.0, 10.0, fps=1e308)) == 10


def test_an_invalid_rate_of_poses():
    client = types.SimpleNamespace(takes_jpegs=lambda: False)
    with pytest.raises(UserError, match="inf poses per second"):
        next(sliding_window.predict(client, [b"0"], Plan(1, 1, 10.0), poses=np.zeros((2, 25, 3)), pose_fps=math.inf))


# ------------------------------------------------------------------------------------- smoothing and time line


def test_smoothing_against_its_definition():
    values = np.random.default_rng(0).random((9, 3))
    mean, exponential = MovingAverage(3), Exponential(0.3)
    state = values[0]
    for index, value in enumerate(values):
        np.testing.assert_allclose(mean(value), values[max(0, index - 2) : index + 1].mean(axis=0))
        state = 0.3 * value + 0.7 * state
        np.testing.assert_allclose(exponential(value), state)


@pytest.mark.parametrize(
    "text", ["", "mean", "mean:0", "mean:a", "exponential:0", "exponential:1.5", "none:1", "fir:2"]
)
def test_invalid_smoothings(text):
    with pytest.raises(UserError, match=r"expected|no smoothing"):
        smoothing.parse(text)


def rows(probabilities, smooth, stride=1.0, length=2.0):
    """Rows of windows whose class "b" has those probabilities."""
    make = RowBuilder(smooth)
    predictions = [Prediction("adl", 1, "serve_jpeg", ("a", "b"), (1 - p, p)) for p in probabilities]
    return [make(stride * index, stride * index + length, prediction) for index, prediction in enumerate(predictions)]


def segments(of_rows):
    line = TimeLine()
    for row in of_rows:
        line.add(row)
    return [(s.start, s.end, s.label, pytest.approx(s.probability)) for s in line.segments()]


def test_segments_change_halfway_between_two_windows():
    assert segments(rows([0.1, 0.2, 0.9, 0.8, 0.7, 0.3], MovingAverage(1))) == [
        (0.0, 2.5, "a", 0.85),  # middles of the second and third window: 2 and 3
        (2.5, 5.5, "b", 0.8),
        (5.5, 7.0, "a", 0.7),
    ]
    assert segments([]) == []


def test_smoothing_removes_a_flicker_without_a_delay():
    steady = [0.0] * 6 + [1.0] * 6
    ((_, change, first, _), (_, end, second, _)) = segments(rows(steady, MovingAverage(1)))
    for smooth in (MovingAverage(3), Exponential(0.4)):
        ((_, late, *_), _) = segments(rows(steady, smooth))
        assert abs(late - change) <= 0.75  # less than a stride; looking back alone would be later
    assert (first, second, end) == ("a", "b", 13.0)
    flicker = [0.1, 0.1, 0.8, 0.1, 0.1]
    assert len(segments(rows(flicker, MovingAverage(1)))) == 3
    assert len(segments(rows(flicker, MovingAverage(3)))) == 1


@pytest.mark.parametrize("smooth", [MovingAverage(1), MovingAverage(5), Exponential(0.1)])
def test_smoothing_does_not_shorten_the_segment_before_nobody_is_seen(smooth):
    """That nobody is there is known at once: it is not smoothed, so the smoothed time before it is of no use."""
    make, line = RowBuilder(smooth), TimeLine()
    for first in range(12):
        seen = Prediction("adl", 1, "s", ("a", "b"), (0.9, 0.1)) if first not in (8, 9) else None
        line.add(make(first, first + 2, seen))
    spans = [(segment.start, segment.end) for segment in line.segments()]
    assert spans == [(0, 8.5), (10.5, 13)]  # middles of the windows before and after the change: 8 and 9, 10 and 11


def test_new_classes_are_not_mixed_with_old_ones():
    make = RowBuilder(MovingAverage(2))
    make(0, 1, Prediction("adl", 1, "s", ("a", "b"), (0.9, 0.1)))
    after = make(1, 2, Prediction("adl", 2, "s", ("c", "b"), (0.6, 0.4)))
    assert (after.smoothed.labels, after.smoothed.probabilities) == (("c", "b"), (0.6, 0.4))


# ----------------------------------------------------------------------------------------- through a server


def numbered_response(request, context):
    """Of windows of numbered frames: the probability of the first label is the number of the first, by 100."""
    frames = request.inputs["jpegs"].string_val
    numbers = [int(frame) for frame in frames]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    return response(request, classes=[LABELS], probabilities=[[numbers[0] / 100, 1 - numbers[0] / 100]])


def numbered(count):
    return (b"%d" % number for number in range(count))


async def collected(address, *arguments, **options):
    async with AsyncClient(address, "adl") as client:
        return [row async for row in sliding_window.predict_async(client, *arguments, **options)]


def rows_sync(address, *arguments, **options):
    with Client(address, "adl") as client:
        return list(sliding_window.predict(client, *arguments, **options))


def rows_async(address, *arguments, **options):
    return asyncio.run(collected(address, *arguments, **options))


both = pytest.mark.parametrize("predict", [rows_sync, rows_async])


@both
def test_answers_in_order_with_several_in_flight(predict):
    together = threading.Barrier(3, timeout=120)  # passes only when three requests are there at once
    later = threading.Event()

    def handle(request, context):
        first = int(request.inputs["jpegs"].string_val[0])
        if first < 12:  # the first three windows
            together.wait()
            if first == 0:
                later.wait(20)  # the first response comes after the others
            elif first == 8:
                later.set()
        return numbered_response(request, context)

    with FakeServer(signature_map(serve_jpeg=JPEGS), handle) as server:
        made = predict(server.address, numbered(26), Plan(8, 4, 10.0), in_flight=3)
    assert [row.index for row in made] == list(range(6))
    assert [(row.start, row.end) for row in made] == [
        (0, 0.8),
        (0.4, 1.2),
        (0.8, 1.6),
        (1.2, 2),
        (1.6, 2.4),
        (1.8, 2.6),
    ]
    for row, first in zip(made, (0, 4, 8, 12, 16, 18)):
        of_label = dict(zip(row.prediction.labels, row.prediction.probabilities))
        assert of_label[LABELS[0]] == pytest.approx(first / 100)


@both
def test_errors_of_the_stream_and_of_the_server_are_raised(predict):
    def broken():
        yield from numbered(20)
        raise UserError("the camera is gone")

    with FakeServer(signature_map(serve_jpeg=JPEGS), numbered_response) as server:
        with pytest.raises(UserError, match="the camera is gone"):
            predict(server.address, broken(), Plan(4, 4, 10.0))
        with pytest.raises(UserError, match="no frames came"):
            predict(server.address, iter([]), Plan(4, 4, 10.0))
        endless = (b"%d" % (number % 40) for number in iter(int, 1))
        with pytest.raises(RequestFailed):  # not one after another: the fake server's assertion fails
            predict(server.address, endless, Plan(4, 2, 10.0))
        assert not [thread for thread in threading.enumerate() if thread.name == "frames"]  # nobody reads on
        with pytest.raises(UserError, match="neither frames nor poses"):
            predict(server.address, None, Plan(4, 2, 10.0))


def test_a_row_comes_before_the_next_frame():
    go_on = threading.Event()

    def stream():
        yield from numbered(4)
        assert go_on.wait(20)
        yield from (b"4", b"5")

    with (
        FakeServer(signature_map(serve_jpeg=JPEGS), numbered_response) as server,
        Client(server.address, "adl") as client,
    ):
        made = sliding_window.predict(client, stream(), Plan(4, 2, 10.0))
        assert next(made).index == 0  # while the camera has nothing new
        go_on.set()
        assert [row.index for row in made] == [1]


def test_few_frames_are_held():
    alive = weakref.WeakSet()
    most = [0]

    class Frame(np.ndarray):
        __hash__ = object.__hash__

    def stream():
        for _ in range(400):
            frame = np.zeros((2, 2, 3), np.uint8).view(Frame)
            alive.add(frame)
            most[0] = max(most[0], len(alive))
            yield frame

    def handle(request, context):
        return response(request, classes=[LABELS], probabilities=[[0.5, 0.5]])

    with FakeServer(signature_map(serving_default=FRAMES), handle) as server:
        assert len(rows_sync(server.address, stream(), Plan(8, 8, 10.0), in_flight=2)) == 50
    assert most[0] <= 8 * 5  # two in flight, one to be sent, one being filled, one not yet garbage-collected


def test_poses_alone_and_poses_beside_frames():
    def handle(request, context):
        sent = tf_array(request.inputs["poses"])
        return response(request, classes=[LABELS], probabilities=[[sent[0, 0, 0, 0, 0] / 100, 0.5]])

    def tf_array(proto):
        import tensorflow as tf

        return tf.make_ndarray(proto)

    poses = np.ones((20, 25, 3), np.float32)
    poses[:, 0, 0] = np.arange(1, 21)
    with FakeServer(signature_map(serving_default=POSES), handle) as server:
        made = rows_sync(server.address, None, Plan(8, 6, 10.0), poses=poses)
        sent = [tf_array(request.inputs["poses"])[0, :, 0, 0, 0].tolist() for request in server.requests]
    assert sorted(sent) == [list(range(k, k + 8)) for k in (1, 7, 13)]
    assert [row.start for row in made] == [0.0, 0.6, 1.2]
    with FakeServer(signature_map(serve_jpeg={**JPEGS, **POSES}), handle) as server:
        rows_sync(server.address, numbered(40), Plan(16, 16, 40.0), poses=poses, pose_fps=20)
        sent = [tf_array(request.inputs["poses"])[0, :, 0, 0, 0].tolist() for request in server.requests]
    assert sorted(sent) == [list(range(k, k + 8)) for k in (1, 9, 13)]  # half as many poses as frames


class TimedStream(list):
    """Frames with time stamps of their own, as those of a video of variable rate."""

    def timed(self):
        times = [*np.arange(8) / 40, *(0.2 + np.arange(8) / 10)]
        return zip(times, self)


@pytest.mark.parametrize(
    ("pose_fps", "expected"),
    [(20, [[1, 2, 3, 4], list(range(5, 21))]), (None, [list(range(1, 9)), list(range(9, 17))])],
)
def test_windows_begin_and_end_at_the_times_of_their_frames(pose_fps, expected):
    """8 frames at 40 per second, then 8 at 10: poses with a rate follow the times, poses without one the frames."""
    poses = np.ones((20, 1, 25, 3), np.float32)
    poses[:, 0, 0, 0] = np.arange(1, 21)
    with FakeServer(signature_map(serve_jpeg={**JPEGS, **POSES})) as server:
        frames = TimedStream(numbered(16))
        made = rows_sync(server.address, frames, Plan(8, 8, 16.0), poses=poses, pose_fps=pose_fps)
        sent = [tf.make_ndarray(request.inputs["poses"])[0, :, 0, 0, 0].tolist() for request in server.requests]
    assert [(row.start, row.end) for row in made] == [(0.0, pytest.approx(0.2)), (0.2, pytest.approx(1.0))]
    assert sorted(sent) == expected


def test_how_long_a_person_may_be_lost_is_a_time():
    """Half a second is 5 poses at 10 per second, in the recording as a whole and in each window of it."""
    poses = np.ones((40, 1, 25, 3), np.float32)
    poses[4:8] = 0  # filled
    poses[20:28] = 0  # too long
    with FakeServer(signature_map(serving_default=POSES)) as server:
        rows_sync(server.address, None, Plan(40, 40, 10.0), poses=poses)
        (request,) = server.requests
    there = tf.make_ndarray(request.inputs["poses"])[0].any(axis=(1, 2, 3))
    assert np.flatnonzero(~there).tolist() == list(range(20, 28))


# --------------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def bright(tmp_path_factory):
    """A video of 40 frames at 10 per second, dark at first and bright from the 20th on."""
    frames = np.zeros((40, 32, 32, 3), np.uint8)
    frames[20:] = 255
    path = tmp_path_factory.mktemp("video") / "bright.mp4"
    write_video(path, frames)
    return path, VideoFrames(path).fps


@pytest.fixture(scope="module")
def brightness_server():
    """Classifies dark clips as "drink" and bright ones as "sit down"."""
    import cv2

    def handle(request, context):
        jpegs = request.inputs["jpegs"].string_val
        mean = np.mean([cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).mean() for jpeg in jpegs]) / 255
        return response(request, classes=[LABELS], probabilities=[[1 - mean, mean]])

    with FakeServer(signature_map(serve_jpeg=JPEGS), handle) as server:
        yield server.address


@pytest.fixture
def run(run_command):
    """Runs the command against a server: (status, out, err)."""
    return lambda address, *options: run_command(main, "--server", address, "--model", "adl", *options)


def test_command_as_table(brightness_server, bright, run):
    path, fps = bright
    status, out, _ = run(brightness_server, "--video", path, "--window", 10, "--stride", 5)
    assert status == 0
    head, titles, *lines = out.splitlines()
    assert (head, titles.split()) == ("adl version 7, serve_jpeg", ["start", "s", "end", "s", "probability", "class"])
    blank = lines.index("")
    assert len(lines[:blank]) == 7
    assert lines[0].split(maxsplit=3)[3] == "drink"
    assert lines[blank + 1] == "time line"
    found = [line.split(maxsplit=3) for line in lines[blank + 3 :]]
    assert [segment[3] for segment in found] == ["drink", "sit down"]
    assert float(found[0][1]) == pytest.approx(20 / fps, abs=3 / fps)  # it gets bright with the 20th frame
    assert float(found[1][1]) == pytest.approx(40 / fps, abs=0.01)


def test_command_as_json_and_csv(brightness_server, bright, run):
    options = ["--video", bright[0], "--window", "1s", "--fps", "10", "--smooth", "mean:2"]
    status, out, _ = run(brightness_server, *options, "--format", "json", "--top", 1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert (status, len(lines)) == (0, 9)
    assert [line["window"] for line in lines[:7]] == list(range(7))
    assert {"start", "end", "model", "version", "signature", "predictions", "smoothed"} < set(lines[0])
    assert [line["segment"] for line in lines[7:]] == LABELS
    status, out, _ = run(brightness_server, *options, "--format", "csv")
    first, *records = csv.reader(io.StringIO(out))
    assert first == ["kind", "start_s", "end_s", "class", "probability"]
    assert [record[0] for record in records] == ["window"] * 7 + ["segment"] * 2
    shown = [(float(r[1]), float(r[2]), r[3], float(r[4])) for r in records]
    assert shown[:7] == [
        (w["start"], w["end"], w["smoothed"][0]["class"], w["smoothed"][0]["probability"]) for w in lines[:7]
    ]
    assert shown[7:] == [(s["start"], s["end"], s["segment"], s["probability"]) for s in lines[7:]]


def test_command_shows_the_time_line_of_what_it_saw(brightness_server, bright, tmp_path, run):
    cut = tmp_path / "cut.mpg"
    frames = np.zeros((60, 64, 64, 3), np.uint8)
    write_video(tmp_path / "whole.mp4", frames)
    with pytest.MonkeyPatch.context() as patch:

        def broken(self):
            yield from ((number / 10, frame) for number, frame in enumerate(np.zeros((12, 8, 8, 3), np.uint8)))
            raise UserError(f"{cut}: damaged after frame 12")

        patch.setattr(VideoFrames, "timed", broken)
        status, out, err = run(brightness_server, "--video", bright[0], "--window", 4, "--format", "csv")
    assert status == 2
    assert err.splitlines() == [f"error: {cut}: damaged after frame 12"]
    assert out.splitlines()[-1].startswith("segment,0.0,")


def test_command_that_is_interrupted_shows_the_time_line(brightness_server, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(np.zeros((8, 8, 3), np.uint8)))
    line = ["--server", brightness_server, "--model", "adl", "--frames", tmp_path, "--fps", 2, "--window", 2]
    line = [sys.executable, "-m", "serving.client", *map(str, line), "--idle", "60", "--format", "csv"]
    with subprocess.Popen(line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        begun = [running.stdout.readline() for _ in range(4)]  # through a pipe, while the folder is still watched
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    assert [row.split(",")[:4] for row in begun[1:]] == [
        ["window", str(k / 2), str(k / 2 + 1), "drink"] for k in range(3)
    ]
    assert out == "segment,0.0,2.0,drink,1.0\n"
    assert running.returncode == command_line.INTERRUPTED
    assert err.splitlines()[-1].startswith("error: interrupted")  # TensorFlow may have printed something before
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "."], "--frames needs --window"),
        (["--camera", "0"], "--camera needs --window"),
        (["--video", "a.mp4", "--stride", "4"], "--stride needs --window"),
        (["--video", "a.mp4", "--pose-fps", "4"], "--pose-fps needs --window"),
        (["--video", "a.mp4", "--smooth", "mean:3"], "--smooth needs --window"),
        (["--video", "a.mp4", "--fps", "25"], "--fps needs --window"),
        (["--video", "a.mp4", "--idle", "5"], "--idle needs --window"),
        (["--record", ".", "--clip", "a", "--in-flight", "4"], "--in-flight needs --window"),
        (["--video", "a.mp4", "--frames", ".", "--window", "4"], "--video or --frames, not both"),
        (["--frames", ".", "--window", "4"], "--frames needs --fps"),
        (["--record", ".", "--clip", "a", "--window", "4"], "--window is for"),
    ],
)
def test_command_with_wrong_arguments(run, options, message):
    status, _, err = run("127.0.0.1:1", *options)
    assert status == 2
    (line,) = err.splitlines()
    assert message in line


@pytest.mark.parametrize(
    ("stated", "options", "taken"),
    [(12.5, [], 12.5), (12.5, ["--fps", "20"], 20), (0, ["--fps", "20"], 20), (0, [], 0)],
)
def test_the_rate_of_poses_alone(monkeypatch, run, tmp_path, stated, options, taken):
    found = []
    monkeypatch.setattr(sliding_window, "predict", lambda *given, **_: found.append(given[2]) or (row for row in ()))
    np.savez(tmp_path / "pose.npz", xyz=np.ones((4, 1, 13, 3)), fps=stated)
    status, _, err = run("127.0.0.1:1", "--pose", tmp_path / "pose.npz", "--window", "2", *options)
    if taken:
        assert (status, [plan.fps for plan in found]) == (0, [taken])
    else:
        assert (status, found) == (2, [])
        assert "pose.npz: states no rate, --window needs it: give --fps, how many poses a second has" in err


def test_options_of_the_window_and_their_defaults(monkeypatch, run, tmp_path):
    taken = []

    def predict(client, frames, plan, **options):
        taken.append((frames._idle, options["in_flight"], type(options["smooth"])))
        yield from ()

    monkeypatch.setattr(sliding_window, "predict", predict)
    monkeypatch.setattr(Client, "definition", lambda self: signature_map(one=JPEGS).signature_def["one"])
    line = ["--frames", tmp_path, "--fps", 10, "--window", 4]
    assert run("127.0.0.1:1", *line)[0] == 0
    assert run("127.0.0.1:1", *line, "--idle", 7, "--in-flight", 2, "--smooth", "mean:3")[0] == 0
    assert taken == [(5.0, 4, type(None)), (7.0, 2, MovingAverage)]


def test_row_of_a_prediction_is_what_a_time_line_takes():
    prediction = Prediction("adl", 1, "s", ("a",), (0.5,))
    assert segments([Row(0, 1.0, 3.0, prediction, prediction, 2.0)]) == [(1.0, 3.0, "a", 0.5)]
