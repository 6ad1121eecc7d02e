"""The client against a running server, and its readers against real file formats."""

import dataclasses
import json
import socket
import struct

import av
import cv2
import grpc
import numpy as np
import pytest

from serving import client as client_module
from serving.client import Client, RequestFailed, read_poses, read_records, read_video
from tests.serving.conftest import LABELS, PERSONS
from tests.tfrecords.recording_files import write_video
from tfrecords import command_line
from tfrecords.errors import UserError


@pytest.fixture
def client(address):
    with Client(address, "separable_sta") as opened:
        yield opened


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video file of 20 smooth frames, 64 pixels high and 96 wide, red at the left and blue at the right."""
    frames = np.zeros((20, 64, 96, 3), np.uint8)
    frames[:, :, :48, 0] = 200
    frames[:, :, 48:, 2] = 200
    frames[:, :32, :, 1] = np.linspace(0, 200, 20, dtype=np.uint8)[:, np.newaxis, np.newaxis]
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, frames)
    return path, frames


def test_stored_jpegs_travel_untouched(client, clips, expected):
    for name, clip in clips.items():
        prediction = client.predict_clip(clip)
        assert (prediction.model, prediction.version, prediction.signature) == ("separable_sta", 1, "serve_jpeg")
        np.testing.assert_allclose(prediction.probabilities, sorted(expected[name], reverse=True), atol=1e-6)
        assert list(prediction.labels) == [LABELS[index] for index in np.argsort(-expected[name])]


def test_arrays_by_either_signature(address, clips):
    decoded = [cv2.imdecode(np.frombuffer(j, np.uint8), 1)[..., ::-1] for j in clips["long"].images["full_body"]]
    smooth = np.stack([cv2.GaussianBlur(picture, (9, 9), 3) for picture in decoded])
    one_person = clips["long"].pose_xyz[:, 0]  # [T, J, 3]: the absent one is made up
    answers = {}
    for signature in ("serve_jpeg", "serving_default"):
        with Client(address, "separable_sta", signature=signature, version=1) as client:
            prediction = client.predict(frames=smooth, poses=one_person)
            assert prediction.signature == signature
            answers[signature] = dict(zip(prediction.labels, prediction.probabilities))
    for label, probability in answers["serving_default"].items():
        assert answers["serve_jpeg"][label] == pytest.approx(probability, abs=0.02)  # JPEG loses a little


def test_model_of_poses_alone(pose_address, clips):
    with Client(pose_address, "pose_lstm") as client:
        prediction = client.predict(poses=clips["long"].pose_xyz)
        assert prediction.signature == "serving_default"
        assert client.predict_clip(clips["long"]) == prediction  # its pictures are left out
        with pytest.raises(UserError, match="takes no video"):
            client.predict(frames=np.zeros((2, 8, 8, 3), np.uint8), poses=clips["long"].pose_xyz)


@pytest.mark.parametrize(
    ("frames", "poses", "message"),
    [
        (None, np.zeros((4, PERSONS, 25, 3)), "needs pictures of full_body"),
        (np.zeros((4, 8, 8, 3), np.uint8), None, "needs poses"),
        (np.zeros((4, 8, 8, 3), np.float32), np.zeros((4, PERSONS, 25, 3)), "frames are float32"),
        (np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, PERSONS, 25, 3)), "with T > 0"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, PERSONS, 20, 3)), r"the model expects \[Tp, 2, 25, 3\]"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 3, 25, 3)), "poses have 3 persons"),
    ],
)
def test_clip_that_does_not_fit_the_model(client, frames, poses, message):
    with pytest.raises(UserError, match=message):
        client.predict(frames, poses)


def test_unknown_signature(address):
    with (
        Client(address, "separable_sta", signature="other") as client,
        pytest.raises(UserError, match="no signature 'other', valid: serve_jpeg, serving_default"),
    ):
        client.predict(np.zeros((4, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"address": "127.0.0.1:1"}, grpc.StatusCode.UNAVAILABLE, "no server answers at 127.0.0.1:1"),
        ({"model": "other"}, grpc.StatusCode.NOT_FOUND, "serves no other: correct the name"),
        ({"version": 9}, grpc.StatusCode.NOT_FOUND, "serves no separable_sta version 9"),
    ],
)
def test_failed_request_is_one_line_that_says_what_to_do(address, changes, code, message):
    options = {"address": address, "model": "separable_sta", **changes}
    with Client(**options) as client, pytest.raises(RequestFailed, match=message) as failure:
        client.signatures()
    assert failure.value.code == code
    assert str(failure.value).startswith(code.name)


def test_server_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with Client(address, "adl", timeout=0.5) as client, pytest.raises(RequestFailed) as failure:
            client.signatures()
    assert str(failure.value).startswith(f"DEADLINE_EXCEEDED: no answer from {address} in 0.5 s")


def test_refusal_of_the_server_is_passed_on(client, clips):
    pictures = list(clips["square"].images["full_body"])
    pictures[6] = pictures[6][:200]
    clip = dataclasses.replace(clips["square"], images={"full_body": pictures})
    with pytest.raises(RequestFailed, match=r"INVALID_ARGUMENT.*Invalid JPEG"):
        client.predict_clip(clip)


# ------------------------------------------------------------------------------------------------- reading clips


def test_read_video(video):
    path, frames = video
    read = read_video(path)
    assert read.shape == frames.shape
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - frames).mean() < 6  # lossy; RGB and BGR would be far apart


@pytest.mark.parametrize(("a", "b", "c", "d"), [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)])
def test_rotated_video_is_turned_upright(video, tmp_path, a, b, c, d):
    path = tmp_path / "telephone.mp4"
    content = bytearray(video[0].read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # of the track header (ISO 14496-12): 3 x 3, the last column 2.30
    content[matrix : matrix + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    independent = cv2.VideoCapture(str(path))
    independent.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    by_opencv = independent.read()[1][..., ::-1]
    by_us = read_video(path)[0]
    assert by_us.shape == by_opencv.shape
    assert np.abs(by_us.astype(int) - by_opencv).mean() < 3


def test_video_that_cannot_be_read(video, tmp_path):
    def refused(name, content, message):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UserError, match=message):
            read_video(path)

    refused("missing.mp4", None, "cannot be read")
    refused("empty.mp4", b"", "damaged or no video file")
    refused("text.mp4", b"no video at all", "damaged or no video file")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", 8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    refused("sound.wav", None, "has no picture")


@pytest.mark.real_data
def test_corrupted_real_video(real_data):
    with pytest.raises(UserError, match="damaged after frame 28"):
        read_video(real_data / "clips" / "corrupted.mp4")


def test_read_poses(tmp_path):
    poses = np.random.default_rng(0).normal(size=(7, 20, 3)).astype(np.float32)
    np.save(tmp_path / "one.npy", poses)
    np.savez(tmp_path / "two.npz", any_name=np.stack([poses, poses], axis=1))
    (tmp_path / "a01_s01_e00_v01.json").write_text(json.dumps({"label": 1, "skeletons": poses.tolist()}))
    np.testing.assert_array_equal(read_poses(tmp_path / "one.npy"), poses[:, np.newaxis])
    assert read_poses(tmp_path / "two.npz").shape == (7, 2, 20, 3)
    np.testing.assert_array_equal(read_poses(tmp_path / "a01_s01_e00_v01.json"), poses[:, np.newaxis])


@pytest.mark.real_data
def test_read_real_nucla_poses(real_data):
    assert read_poses(real_data / "nucla" / "all_sqe" / "a01_s01_e00_v01.json").shape == (44, 1, 20, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npy", None, "cannot be read"),
        ("poses.txt", b"1 2 3", "unknown pose format '.txt'"),
        ("cut.npy", b"\x93NUMPY\x01", "damaged or not poses"),
        ("text.npz", b"text", "damaged or not poses"),
        ("cut.json", b'{"skeletons": [[', "damaged or not poses"),
        ("other.json", b'{"poses": []}', "neither xyz nor xy in it"),
        ("ragged.json", b'{"skeletons": [[[1, 2, 3]], [[1, 2]]]}', "damaged or not poses"),
        ("flat.json", b'{"skeletons": [1, 2, 3]}', r"has the shape \[3\]"),
        ("nan.json", b'{"skeletons": [[[1, 2, NaN]]]}', "holds NaN"),
    ],
)
def test_poses_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_poses(tmp_path / name)


def test_read_records(dataset, clips, tmp_path):
    shard = next(dataset.glob("*.tfrecord"))
    for path in (dataset, shard):
        read = read_records(path, ["square", "short"])
        assert [clip.info.id for clip in read] == ["square", "short"]
        assert read[1].images == clips["short"].images
    with pytest.raises(UserError, match="has no clip shor:"):  # part of a name is no name
        read_records(dataset, ["shor"])
    with pytest.raises(UserError, match="no such file or folder"):
        read_records(dataset / "missing", ["short"])
    with pytest.raises(UserError, match=r"no manifest\.json there"):
        read_records(tmp_path, ["short"])
    cut = tmp_path / "cut.tfrecord"
    cut.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(UserError, match="no readable shard"):
        read_records(cut, ["square"])


# --------------------------------------------------------------------------------------------------- the command


def test_command_with_files(address, video, clips, tmp_path, capsys):
    np.save(tmp_path / "poses.npy", clips["long"].pose_xyz)
    arguments = ["--server", address, "--model", "separable_sta", "--video", str(video[0])]
    arguments += ["--pose", str(tmp_path / "poses.npy")]
    assert command_line.run(client_module.main, [*arguments, "--format", "json", "--signature", "serving_default"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["model"], answer["version"], answer["signature"]) == ("separable_sta", 1, "serving_default")
    assert {row["class"] for row in answer["predictions"]} == set(LABELS)
    assert sum(row["probability"] for row in answer["predictions"]) == pytest.approx(1)


def test_command_with_a_record(command, address, dataset, expected):
    line = ["serving.client", "--server", address, "--model", "separable_sta", "--record", dataset]
    done = command(*line, "--clip", "short", "--top", "2")
    assert done.returncode == 0, done.stderr
    head, titles, *rows = done.stdout.splitlines()
    assert head == "separable_sta version 1, serve_jpeg"
    assert titles.split() == ["class", "probability"]
    order = np.argsort(-expected["short"])[:2]
    assert [row.rsplit(maxsplit=1) for row in rows] == [[LABELS[i], f"{expected['short'][i]:.4f}"] for i in order]


def test_command_without_a_server(dataset, capsys):
    arguments = ["--server", "127.0.0.1:1", "--model", "adl", "--record", str(dataset), "--clip", "short"]
    assert command_line.run(client_module.main, arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: UNAVAILABLE: no server answers at 127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a clip"),
        (["--record", "no_such_folder"], "belong together"),
        (["--record", "no_such_folder", "--clip", "a", "--video", "b.mp4"], "either"),
        (["--record", "no_such_folder", "--clip", "a"], "no such file or folder"),
        (["--video", "missing.mp4"], "missing.mp4: cannot be read"),
        (["--pose", "missing.npy"], "missing.npy: cannot be read"),
    ],
)
def test_command_with_wrong_arguments(capsys, arguments, message):
    status = command_line.run(client_module.main, ["--server", "127.0.0.1:1", "--model", "adl", *arguments])
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
