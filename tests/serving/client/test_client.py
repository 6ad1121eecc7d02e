"""The client, and its command, against a running server."""

import asyncio
import csv
import dataclasses
import io
import json
import socket

import cv2
import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from serving.client import AsyncClient, Client, RequestFailed, request
from serving.client.command import main
from tests.serving import fake_server
from tests.serving.conftest import LABELS, PERSONS
from tests.tfrecords import recording_files
from tests.tfrecords.recording_files import write_video
from tfrecords import schema
from tfrecords.converting import crops
from zoo.shared.errors import UserError


@pytest.fixture
def client(address):
    with Client(address, "separable_sta") as opened:
        yield opened


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video file."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, np.zeros((20, 64, 96, 3), np.uint8))
    return path


def test_stored_clips_are_sent_as_records(client, clips, expected):
    for name, clip in clips.items():
        prediction = client.predict_clip(clip)
        assert (prediction.model, prediction.version, prediction.signature) == ("separable_sta", 1, "serve_examples")
        np.testing.assert_allclose(prediction.probabilities, sorted(expected[name], reverse=True), atol=1e-6)
        assert list(prediction.labels) == [LABELS[index] for index in np.argsort(-expected[name])]


def test_a_request_has_the_tensors_of_tensorflow():
    tensors = {
        "frames": np.arange(48, dtype=np.uint8).reshape(1, 2, 2, 4, 3)[:, :, :, ::2],
        "poses": np.zeros((1, 2, 1, 25, 3), np.float32),
        "jpegs": np.array([[b"one", b""]], object),
    }
    made = request.predict_request("any", SignatureDef(), tensors, [])
    for name, tensor in tensors.items():
        assert made.inputs[name] == tf.make_tensor_proto(tensor)


def test_arrays_by_either_signature(address, clips):
    decoded = [cv2.imdecode(np.frombuffer(j, np.uint8), 1)[..., ::-1] for j in clips["long"].images["full_body"]]
    smooth = np.stack([cv2.GaussianBlur(picture, (9, 9), 3) for picture in decoded])
    one_person = clips["long"].pose_xyz[:, 0]  # [T, J, 3]: the absent one is added
    found = {}
    for signature in ("serve_jpeg", "serving_default"):
        with Client(address, "separable_sta", signature=signature, version=1) as client:
            prediction = client.predict(frames=smooth, poses=one_person)
            assert prediction.signature == signature
            found[signature] = dict(zip(prediction.labels, prediction.probabilities))
    for label, probability in found["serving_default"].items():
        assert found["serve_jpeg"][label] == pytest.approx(probability, abs=0.02)  # JPEG loses a little


def test_asyncio_gives_the_same(address, clips, client):
    stored = list(clips.values())
    frames, poses = clips["square"].images["full_body"], clips["square"].pose_xyz

    async def predict():
        async with AsyncClient(address, "separable_sta") as opened:
            together = await asyncio.gather(*(opened.predict_clip(clip) for clip in stored))
            return together, await opened.predict(frames, poses), await opened.predict_batch([frames], [poses])

    together, one, (batched,) = asyncio.run(predict())
    assert together == [client.predict_clip(clip) for clip in stored]
    assert one == batched == client.predict(frames, poses)


def test_several_clips_in_one_request(client, clips):
    square = clips["square"]
    frames = square.images["full_body"]
    turned = frames[::-1]
    batch = client.predict_batch([frames, turned], np.stack([square.pose_xyz, -square.pose_xyz]))
    alone = [client.predict(frames, square.pose_xyz), client.predict(turned, -square.pose_xyz)]
    assert batch[0].probabilities != batch[1].probabilities
    for one, other in zip(batch, alone):
        assert one.labels == other.labels
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("frames", "poses", "message"),
    [
        (None, None, "give frames or poses"),
        (np.zeros((2, 1, 8, 8, 3), np.uint8), None, "needs poses"),
        ([], [], "no clips to classify"),
        ([[b"a"]], [np.zeros((1, 25, 3))] * 2, "equally many clips"),
        ([[b"a"], [b"b", b"c"]], [np.zeros((1, 25, 3))] * 2, r"jpegs have the shapes \[1\], \[2\]: send each"),
    ],
)
def test_invalid_batches(client, frames, poses, message):
    with pytest.raises(UserError, match=message):
        client.predict_batch(frames, poses)


def test_further_outputs(client, clips):
    prediction = client.predict_clip(clips["square"], outputs=["logits"])
    softmax = np.exp(prediction.outputs["logits"]) / np.exp(prediction.outputs["logits"]).sum()
    np.testing.assert_allclose(sorted(softmax, reverse=True), prediction.probabilities, atol=1e-5)
    with pytest.raises(UserError, match="serve_examples has no output 'maps', valid: classes, logits, probabilities"):
        client.predict_clip(clips["square"], outputs=["maps"])


def test_signatures_are_recognised_by_their_inputs(clips):
    records = {"examples": (tf.string, [None])}
    offered = fake_server.signature_map(
        serve_jpeg=fake_server.JPEGS, serve_examples=records, attention=fake_server.FRAMES, other={"x": (tf.int64, [])}
    )
    clip = dataclasses.replace(clips["short"], pose_xyz=None)
    record = schema.encode(clip)
    with fake_server.FakeServer(offered) as server:
        with Client(server.address, "adl", signature="attention") as client:
            prediction = client.predict_clip(clip, outputs=["spatial_attention"])
            np.testing.assert_array_equal(prediction.outputs["spatial_attention"], np.arange(4))
            assert prediction.signature == "attention"
            assert client.predict_record(record).signature == "serve_examples"  # and not the client's
        with Client(server.address, "adl", signature="serve_examples") as client:
            client.predict_clip(clip)
            with pytest.raises(UserError, match="takes records, not files or arrays"):
                client.predict(clip.images)
        with Client(server.address, "adl", signature="other") as client, pytest.raises(UserError, match="input 'x'"):
            client.predict_clip(clip)

        async def predict():
            async with AsyncClient(server.address, "adl") as opened:
                return await opened.predict_record(record)

        asyncio.run(predict())
    attention, *rest = server.requests
    assert attention.inputs["frames"].tensor_shape.dim[4].size == 3  # decoded here: this signature takes no JPEG
    assert [list(request.inputs["examples"].string_val) for request in rest] == [[record]] * 3
    assert list(attention.output_filter) == ["classes", "probabilities", "spatial_attention"]
    assert list(rest[0].output_filter) == ["classes", "probabilities"]  # maps are sent on request only


@pytest.mark.parametrize(("of_persons", "sent"), [(False, b"whole"), (True, b"person")])
def test_a_stored_clip_by_a_signature_of_pictures(clips, of_persons, sent):
    offered = fake_server.signature_map(serve_jpeg=fake_server.JPEGS, serve_examples={"examples": (tf.string, [None])})
    if of_persons:
        offered.signature_def["serve_jpeg"].outputs["person_crops"].name = "person_crops:0"
    count = clips["short"].num_frames
    both = {"full_body": count * [b"person"], "full_image": count * [b"whole"]}
    clip = dataclasses.replace(clips["short"], images=both)
    with fake_server.FakeServer(offered) as server, Client(server.address, "adl", signature="serve_jpeg") as client:
        client.predict_clip(clip)
        assert set(server.requests[0].inputs["jpegs"].string_val) == {sent}
        boxes = {"full_body": np.tile(np.float32([5, 2, 9, 6]), (count, 1))}
        alone = dataclasses.replace(clip, images={"full_body": count * [b"person"]}, boxes=boxes)
        if of_persons:
            client.predict_clip(alone)
        else:
            message = "serve_jpeg takes whole frames, the clip short has person crops alone: convert with"
            with pytest.raises(UserError, match=message):
                client.predict_clip(alone)


def test_version_labels():
    with fake_server.FakeServer() as server:
        with Client(server.address, "adl", version_label="stable") as client:
            client.predict(poses=np.ones((1, 25, 3)))
        assert server.requests[0].model_spec.version_label == "stable"
    with pytest.raises(UserError, match="not both"):
        Client(server.address, "adl", version=1, version_label="stable")


def test_frames_that_are_read_one_by_one(client, clips):
    frames = clips["short"].images["full_body"]
    poses = clips["short"].pose_xyz
    assert client.predict((jpeg for jpeg in frames), poses) == client.predict(frames, poses)


def test_model_of_poses_alone(pose_address, clips):
    with Client(pose_address, "pose_lstm") as client:
        prediction = client.predict(poses=clips["long"].pose_xyz)
        assert prediction.signature == "serving_default"
        stored = client.predict_clip(clips["long"])  # its pictures are left out
        assert (stored.signature, stored.labels) == ("serve_examples", prediction.labels)
        np.testing.assert_allclose(stored.probabilities, prediction.probabilities, atol=1e-6)
        nobody = dataclasses.replace(clips["long"], pose_xyz=np.zeros_like(clips["long"].pose_xyz))
        with pytest.raises(request.NobodySeen):
            client.predict_clip(nobody)
        with pytest.raises(UserError, match="leave out the video"):
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
        pytest.raises(
            UserError, match="no signature 'other', valid: attention, serve_examples, serve_jpeg, serving_default"
        ),
    ):
        client.predict(np.zeros((4, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"address": "127.0.0.1:1"}, grpc.StatusCode.UNAVAILABLE, "no server responds at 127.0.0.1:1"),
        ({"model": "other"}, grpc.StatusCode.NOT_FOUND, "serves no other: correct the name"),
        ({"version": 9}, grpc.StatusCode.NOT_FOUND, "serves no separable_sta version 9"),
    ],
)
def test_failed_request_is_one_line_with_advice(address, changes, code, message):
    options = {"address": address, "model": "separable_sta", "retries": 1, **changes}
    with Client(**options) as client, pytest.raises(RequestFailed, match=message) as failure:
        client.signatures()
    assert failure.value.code == code
    assert str(failure.value).startswith(code.name)


def test_server_that_never_responds():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with Client(address, "adl", timeout=0.2) as client, pytest.raises(RequestFailed) as failure:
            client.signatures()
    assert str(failure.value).startswith(f"DEADLINE_EXCEEDED: no response from {address} in 0.2 s")


def test_turned_pictures_by_either_signature(address, clips):
    pictures = []
    for mark in range(1, 9):
        stored = recording_files.patches(*((64, 48) if mark >= 5 else (48, 64)), seed=mark)  # all are shown in 64 x 48
        pictures += 2 * [recording_files.with_exif(crops.encode_jpeg(stored, 98), mark) + bytes(3000)]
    poses, found = clips["square"].pose_xyz, {}
    upright = crops.encode_jpeg(recording_files.patches(64, 48))
    for signature in ("serve_jpeg", "serving_default"):
        with Client(address, "separable_sta", signature=signature) as client:
            prediction = client.predict(pictures, poses)
            found[signature] = dict(zip(prediction.labels, prediction.probabilities))
            for unlike in (upright, pictures[0][:300], b"\x89PNG"):
                with pytest.raises(UserError, match=r"frame 6\b"):
                    client.predict([*pictures[:6], unlike, *pictures[7:]], poses)
    for label, probability in found["serving_default"].items():
        assert found["serve_jpeg"][label] == pytest.approx(probability, abs=0.01)


def test_error_of_the_server_is_reported(client, clips):
    pictures = list(clips["square"].images["full_body"])
    pictures[6] = pictures[6][:200]
    clip = dataclasses.replace(clips["square"], images={"full_body": pictures})
    with pytest.raises(RequestFailed, match=r"INVALID_ARGUMENT.*Invalid JPEG"):
        client.predict_clip(clip)


# --------------------------------------------------------------------------------------------------- the command


def test_command_with_files(address, video, clips, tmp_path, run_command):
    np.save(tmp_path / "poses.npy", clips["long"].pose_xyz)
    line = ["--server", address, "--model", "separable_sta", "--video", video, "--pose", tmp_path / "poses.npy"]
    status, out, err = run_command(main, *line, "--format", "json", "--signature", "serving_default")
    assert status == 0
    assert "poses of 1.48 s for a video of 0.80 s: check that both are of the same recording" in err
    printed = json.loads(out)
    assert (printed["model"], printed["version"], printed["signature"]) == ("separable_sta", 1, "serving_default")
    assert {row["class"] for row in printed["predictions"]} == set(LABELS)
    assert sum(row["probability"] for row in printed["predictions"]) == pytest.approx(1)


def test_command_sends_poses_without_the_gaps_that_are_short_at_their_rate(tmp_path, run_command):
    poses = np.ones((40, 1, 25, 3), np.float32)
    poses[8:18] = 0
    for fps in (10, 30):
        np.savez(tmp_path / f"{fps}.npz", xyz=poses, fps=fps)
    with fake_server.FakeServer() as server:
        for fps in (10, 30):
            line = ["--server", server.address, "--model", "adl", "--pose", tmp_path / f"{fps}.npz"]
            assert run_command(main, *line)[0] == 0
        sent = [tf.make_ndarray(request.inputs["poses"])[0] for request in server.requests]
    assert [int((~poses.any(axis=(1, 2, 3))).sum()) for poses in sent] == [10, 0]


def test_command_with_a_record(run_command, address, dataset, expected):
    line = ["--server", address, "--model", "separable_sta", "--record", dataset, "--clip", "short", "--top", "2"]
    status, out, _ = run_command(main, *line)
    assert status == 0
    head, titles, *rows = out.splitlines()
    assert head == "separable_sta version 1, serve_examples"
    assert titles.split() == ["class", "probability"]
    order = np.argsort(-expected["short"])[:2]
    assert [row.rsplit(maxsplit=1) for row in rows] == [[LABELS[i], f"{expected['short'][i]:.4f}"] for i in order]


def test_command_as_csv_and_with_further_outputs(address, dataset, expected, run_command):
    line = ["--server", address, "--model", "separable_sta", "--record", dataset, "--clip", "short"]
    status, out, _ = run_command(main, *line, "--format", "csv")
    assert status == 0
    head, *rows = csv.reader(io.StringIO(out))
    assert head == ["model", "version", "signature", "class", "probability"]
    order = np.argsort(-expected["short"])
    assert [row[:4] for row in rows] == [["separable_sta", "1", "serve_examples", LABELS[index]] for index in order]
    np.testing.assert_allclose([float(row[4]) for row in rows], expected["short"][order], atol=1e-6)
    status, out, _ = run_command(main, *line, "--format", "json", "--outputs", "logits,classes")
    assert (status, len(json.loads(out)["outputs"]["logits"])) == (0, len(LABELS))
    assert json.loads(out)["outputs"]["classes"] == LABELS
    status, out, _ = run_command(main, *line, "--outputs", "logits")
    assert (status, out.splitlines()[-1]) == (0, f"logits: [{len(LABELS)}]")


def test_command_without_a_server(dataset, run_command):
    line = ["--server", "127.0.0.1:1", "--model", "adl", "--record", dataset, "--clip", "short", "--retries", "1"]
    status, _, err = run_command(main, *line)
    (error,) = err.splitlines()
    assert status == 2
    assert error.startswith("error: UNAVAILABLE: no server responds at 127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a clip"),
        (["--record", "no_such_folder"], "belong together"),
        (["--record", "no_such_folder", "--clip", "a", "--video", "b.mp4"], "either"),
        (["--record", "no_such_folder", "--clip", "a"], "no such file or folder"),
        (["--video", "missing.mp4"], "missing.mp4: cannot be read"),
        (["--pose", "missing.npy"], "missing.npy: cannot be read"),
        (["--pose", "a.npy", "--version", "-1"], "version -1: expected 0 to"),
        (["--pose", "a.npy", "--version", str(2**63)], f"version {2**63}: expected 0 to {2**63 - 1}"),
        (["--pose", "a.npy", "--timeout", "inf"], "a timeout of inf s: expected at most"),
        (["--pose", "a.npy", "--timeout", "1e10"], "a timeout of 1e+10 s: expected at most"),
        (["--pose", "a.npy", "--max-message-mb", "inf"], "--max-message-mb inf: expected at most 2048"),
        (["--pose", "a.npy", "--max-message-mb", "2049"], "--max-message-mb 2049: expected at most 2048"),
    ],
)
def test_command_with_wrong_arguments(run_command, arguments, message):
    status, _, err = run_command(main, "--server", "127.0.0.1:1", "--model", "adl", *arguments)
    assert status == 2
    (line,) = err.splitlines()
    assert message in line
