"""Clips from files in the formats that users have."""

import json
import struct

import av
import cv2
import numpy as np
import pytest

from serving.client.clips import pose_rate, read_poses, read_records, read_sampled, read_video, warn_of_lengths
from serving.client.request import filled
from serving.client.streams import VideoFrames
from serving.savedmodel import signatures
from tests.tfrecords.recording_files import write_video
from tfrecords.converting import persons
from tfrecords.converting.pose_files import FilePoses
from tfrecords.reading.pipeline import Inputs
from zoo.shared.errors import UserError


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


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs(frames=4, stride=3, size=56),  # a window of 12 of the 20 frames
        Inputs(frames=8, stride=4, size=56),  # 32 frames: a short clip loops
        Inputs(frames=5, size=56, frames_at="pose_steps", pose_steps=5, layout="kinect_v2_25"),
        Inputs(frames=4, stride=3, size=56, framing="whole"),
    ],
)
def test_sampled_frames_are_those_of_the_whole_video(video, inputs):
    """The graph around the network samples the same pictures from both; the others were not read."""

    def fed(frames):
        request = {"frames": frames[np.newaxis], "poses": np.zeros((1, 3, 1, 25, 3), np.float32)}
        return signatures.features("serving_default", inputs, request)["rgb"].numpy()

    sampled, whole = read_sampled(video[0], inputs), read_video(video[0])
    np.testing.assert_array_equal(fed(sampled.frames), fed(whole))
    not_black = sampled.frames.reshape(len(sampled.frames), -1).any(axis=1)
    side = 96 if inputs.framing == "whole" else 64
    assert sampled.frames.shape == (12 if inputs.stride == 3 else 20, side, side, 3)
    indices = signatures.frame_indices(20, inputs).numpy()
    assert not_black.sum() == len(np.unique(indices))
    seen = sampled.seen[:, 16:80] if side == 96 else sampled.seen  # without borders
    np.testing.assert_array_equal(seen, whole[indices, :, (96 - side) // 2 : (96 + side) // 2])
    assert sampled.window == ("frames 5 to 16 of 20" if inputs.stride == 3 else "")


@pytest.mark.parametrize(("width", "most"), [(128, 1.2), (130, 0.6)])
def test_sampled_frames_that_shrink_are_smoothed_as_the_graph_does(tmp_path, width, most):
    """In planes of the video, or in RGB where the square begins within two columns that share their colour.

    Rounding alone gives 0.25 grey levels; the colours here change more than those of any recording.
    """
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (6, 12, 16, 3)).astype(np.uint8)
    frames = np.stack([cv2.resize(picture, (width, 96), interpolation=cv2.INTER_CUBIC) for picture in coarse])
    path = write_video(tmp_path / "clip.mp4", frames)
    inputs = Inputs(frames=3, stride=2, size=40)  # of squares of 96
    sampled = read_sampled(path, inputs).frames
    assert sampled.shape == (6, 40, 40, 3)
    exact = signatures.features("serving_default", inputs, {"frames": read_video(path)[np.newaxis]})["rgb"].numpy()[0]
    found = sampled[::2] / 127.5 - 1
    difference = np.abs(found - exact) * 127.5  # grey levels
    assert difference.mean() < most
    assert np.percentile(difference, 99) < 4 * most


def test_a_video_without_a_number_of_frames_is_sampled_as_one_with_it(video, tmp_path):
    inputs = Inputs(frames=4, stride=3, size=56)
    stream = tmp_path / "stream.ts"
    write_video(stream, video[1], codec="mpeg2video")
    sampled, whole = read_sampled(stream, inputs).frames, read_video(stream)
    assert sampled.shape == (12, 64, 64, 3)
    first = signatures.frame_indices(20, inputs).numpy()[0]
    np.testing.assert_array_equal(sampled[0], whole[first, :, (whole.shape[2] - 64) // 2 :][:, :64])
    with pytest.raises(UserError, match=r"no_such\.mp4"):
        read_sampled(tmp_path / "no_such.mp4", inputs)


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
    refused("sound.wav", None, "has no moving picture")


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


@pytest.mark.parametrize("lost_as", ["zero", "nan", "confidence"])
def test_lost_joints_are_filled_as_converters_fill_them(tmp_path, lost_as):
    """Whatever marks a joint as lost, a file and an array are read as a conversion reads them."""
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(12, 1, 25, 3)).astype(np.float32)
    lost = rng.random((12, 1, 25)) < 0.15
    lost[0, 0, 0], lost[5, 0, 0] = True, False
    confidence = np.where(lost, 0, 1).astype(np.float32)
    expected = persons.fill_gaps(persons.Poses(xyz, confidence)).xyz
    given = np.where(lost[..., np.newaxis], {"zero": 0, "nan": np.nan, "confidence": 7}[lost_as], xyz)
    if lost_as == "confidence":
        np.savez(tmp_path / "poses.npz", xyz=given, confidence=confidence)
    else:
        np.savez(tmp_path / "poses.npz", xyz=given)
        np.testing.assert_array_equal(filled(given), expected)
        np.testing.assert_array_equal(filled(given[:, 0]), expected[:, 0])
    np.testing.assert_array_equal(read_poses(tmp_path / "poses.npz"), expected)
    assert (expected != xyz).any()


def test_a_joint_that_was_never_measured_is_refused():
    poses = np.ones((4, 1, 25, 3), np.float32)
    poses[:, 0, 3] = 0
    with pytest.raises(UserError, match="poses: joint 3 measured in no frame"):
        filled(poses)
    assert not filled(np.zeros((4, 2, 25, 3))).any()  # nobody is there


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
    ],
)
def test_poses_that_cannot_be_read(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_poses(tmp_path / name)


def test_a_file_in_which_nobody_was_measured(tmp_path):
    (tmp_path / "nan.json").write_text('{"skeletons": [[[1, 2, NaN]]]}')
    np.testing.assert_array_equal(read_poses(tmp_path / "nan.json"), np.zeros((1, 1, 1, 3)))


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


@pytest.mark.parametrize(
    ("count", "fps", "stated", "seconds"),
    [
        (20, 0, None, None),  # a pose for each of the 20 frames, 25 a second
        (40, 50, None, None),
        (14, 0, None, "0.56"),
        (20, 10, None, "2.00"),
        (20, 10, 25, None),  # what the command states counts
    ],
)
def test_poses_of_another_time_than_the_video(video, capsys, count, fps, stated, seconds):
    given = FilePoses(np.ones((count, 1, 25, 3), np.float32), np.ones((count, 1, 25)), fps=fps)
    warn_of_lengths("poses.npz", given, VideoFrames(video[0]), stated)
    expected = (
        f"warning: poses.npz: poses of {seconds} s for a video of 0.80 s: check that both are of the same recording"
        if seconds
        else ""
    )
    printed = capsys.readouterr().err
    assert printed.startswith(expected)
    assert bool(printed) == bool(seconds)


def test_a_file_of_poses_states_the_rate_of_the_frames():
    poses = np.ones((4, 1, 25, 3), np.float32), np.ones((4, 1, 25))
    assert [pose_rate(FilePoses(*poses, fps=fps), 29.97) for fps in (0, 29.97, 30, 25)] == [None, None, None, 25]
    assert pose_rate(None, 30) is None
