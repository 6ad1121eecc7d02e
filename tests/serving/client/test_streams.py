"""Streams of frames: a video file, a folder of new pictures, a camera."""

import threading
import time

import cv2
import numpy as np
import pytest

from serving.client import streams
from serving.client.clips import encode_jpeg, read_video
from serving.client.streams import CameraFrames, FolderFrames, VideoFrames
from tests.tfrecords import recording_files
from tests.tfrecords.recording_files import write_video
from tfrecords.converting import crops
from zoo.shared.errors import UserError


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.005)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    frames = np.zeros((12, 32, 48, 3), np.uint8)
    frames[:, :, :24, 0] = 200  # red at the left
    write_video(path, frames)
    return path


def picture(brightness):
    return np.full((8, 8, 3), brightness, np.uint8)


def put(folder, name, brightness):
    """Writes a picture whole and renames it into the folder."""
    temporary = folder / f"{name}.part"
    temporary.write_bytes(encode_jpeg(picture(brightness)))
    temporary.rename(folder / name)


def test_video_frames(video):
    frames = VideoFrames(video)
    assert frames.fps == pytest.approx(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FPS))
    np.testing.assert_array_equal(np.stack(list(frames)), read_video(video))
    assert VideoFrames(video, fps=12.5).fps == 12.5


def test_pictures_of_a_folder_in_natural_order(tmp_path):
    for number in (10, 9, 1, 2):
        put(tmp_path, f"frame_{number}.jpg", number)
    cv2.imwrite(str(tmp_path / "frame_11.PNG"), picture(11))
    for name in ("notes.txt", "._frame_1.jpg"):  # the second is of macOS
        (tmp_path / name).write_text("no picture")
    frames = list(FolderFrames(tmp_path, fps=25, idle=0.05))
    assert [isinstance(frame, bytes) for frame in frames] == [True] * 4 + [False]  # JPEG as it is
    assert frames[0] == (tmp_path / "frame_1.jpg").read_bytes()
    brightness = [cv2.imdecode(np.frombuffer(frame, np.uint8), 1).mean() for frame in frames[:4]]
    assert brightness == sorted(brightness)
    np.testing.assert_array_equal(frames[4], picture(11))


def test_pictures_of_another_size_are_scaled_to_the_first(tmp_path):
    for number, (height, width) in enumerate([(12, 16), (24, 32), (16, 12)]):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(recording_files.patches(height, width)))
    turned = recording_files.with_exif((tmp_path / "2.jpg").read_bytes(), 6)  # shown with 12 rows of 16 pixels
    (tmp_path / "3.jpg").write_bytes(turned + bytes(2000))
    first, scaled, stretched, last = FolderFrames(tmp_path, fps=25, idle=0.05)
    assert (first, last) == ((tmp_path / "0.jpg").read_bytes(), (tmp_path / "3.jpg").read_bytes())
    assert stretched.shape == scaled.shape == (12, 16, 3)
    assert np.abs(scaled.astype(int) - crops.decode_jpeg(first)).mean() < 12


def test_pictures_that_appear_and_one_that_is_written_slowly(tmp_path):
    put(tmp_path, "a1.jpg", 1)
    whole = encode_jpeg(picture(2))
    frames = iter(FolderFrames(tmp_path, fps=25, idle=30))
    assert next(frames) == (tmp_path / "a1.jpg").read_bytes()
    (tmp_path / "a2.jpg").write_bytes(whole[:100])
    put(tmp_path, "a3.jpg", 3)
    got = []
    reading = threading.Thread(target=lambda: got.extend(next(frames) for _ in range(2)))
    reading.start()
    reading.join(0.1)
    assert not got  # neither half of the second nor the third before it
    (tmp_path / "a2.jpg").write_bytes(whole)
    reading.join(20)
    assert got == [whole, (tmp_path / "a3.jpg").read_bytes()]
    (tmp_path / "a1.jpg").unlink()  # a user removes it
    put(tmp_path, "a4.jpg", 4)
    assert next(frames) == (tmp_path / "a4.jpg").read_bytes()


def test_folders_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="missing: no such folder"):
        FolderFrames(tmp_path / "missing", fps=25)
    assert list(FolderFrames(tmp_path, fps=25, idle=0.02)) == []
    (tmp_path / "b1.jpg").write_bytes(encode_jpeg(picture(1))[:100])
    with pytest.raises(UserError, match=r"b1.jpg: not a whole JPEG file, and it is no longer being written"):
        list(FolderFrames(tmp_path, fps=25, idle=0.02))
    (tmp_path / "b1.jpg").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"b1.jpg: neither a JPEG nor a PNG file$"):
        list(FolderFrames(tmp_path, fps=25, idle=0.02))
    put(tmp_path, "b1.jpg", 1)
    frames = iter(FolderFrames(tmp_path, fps=25, idle=30))
    next(frames)
    put(tmp_path, "b0.jpg", 0)
    with pytest.raises(UserError, match=r"b0.jpg appeared after b1.jpg"):
        next(frames)
    (tmp_path / "gone").mkdir()
    frames = iter(FolderFrames(tmp_path / "gone", fps=25, idle=30))
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="gone: cannot be read any more"):
        next(frames)


@pytest.mark.parametrize("address", ["{}", "file:{}"])
def test_a_recording_plays_in_a_cameras_place(video, address):
    """A file; and an address, which OpenCV opens."""
    source = address.format(video)
    frames = CameraFrames(source)
    assert frames.fps == pytest.approx(VideoFrames(video).fps)
    begin = time.monotonic()
    seconds, got = zip(*frames.timed())
    assert time.monotonic() - begin >= seconds[-1] - 0.001
    assert seconds == pytest.approx(np.arange(12) / 25, abs=0.001)
    assert np.abs(got[0].astype(int) - read_video(video)[0]).mean() < 6  # RGB
    assert CameraFrames(source, fps=5).fps == 5


def test_a_live_stream_goes_by_the_clock(video, monkeypatch):
    """Frames in a burst are apart, and those after a pause are as late as they come."""
    clock = iter([100.0, 100.001, 100.002, 101.0, 101.04])
    monkeypatch.setattr(streams.time, "monotonic", lambda: next(clock))
    taken = streams._by_the_clock("abcde", 0.012)
    assert [seconds for seconds, _ in taken] == pytest.approx([0, 0.012, 0.024, 1.0, 1.04])


@pytest.mark.parametrize("source", [99, "99", "rtsp_of_nobody"])
def test_camera_that_is_not_there(source):
    with pytest.raises(UserError, match=f"camera {source} cannot be opened"):
        CameraFrames(source)
