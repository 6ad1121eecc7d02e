"""Whatever is in a file of a download: a clip is read or rejected with a reason, and nothing else happens."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tfrecords import nucla_files, recording_files
from tfrecords.converting import crops, pose_files, video
from tfrecords.datasets import ntu, nucla, smarthome
from tfrecords.datasets.folder import Folder
from tfrecords.errors import RejectedClip
from zoo.shared.errors import UserError

# Found examples do not depend on the run: a failure in CI is a failure here.
FUZZ = settings(max_examples=150, deadline=None, derandomize=True, database=None, report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck))  # fmt: skip

WALK = recording_files.walk("kinect_v2_25", 4)
_NUMBERS = ["0", "-1", "25", "1e400", "NaN", "inf", "", "9" * 30, "x", "1_0", "٣"]


def refusal(read, *kinds):
    """The message with which reading is refused; ``None`` where it is not. Other errors are failures."""
    try:
        read()
    except kinds as reason:
        return str(reason)
    return None


@st.composite
def damaged(draw, whole):
    """Some bytes, after a few things that happen to files."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        end = min(start + draw(st.integers(0, 200)), len(data))
        kind = draw(st.sampled_from(["cut", "delete", "double", "flip", "bytes", "number"]))
        if kind == "cut":
            del data[start:]
        elif kind == "delete":
            del data[start:end]
        elif kind == "double":
            data[start:start] = data[start:end]
        elif kind == "flip" and data:
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "bytes":
            data[start:end] = draw(st.binary(max_size=20))
        elif kind == "number":
            words = bytes(data).split(b" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(_NUMBERS)).encode()
            data = bytearray(b" ".join(words))
    return bytes(data)


def _text(data):
    return data.decode("utf-8", "replace")


def _nucla_text(data):
    bodies = nucla.parse_skeletons(_text(data), "x")
    assert nucla.nearest_person(bodies).shape == (20, 4)


def _ntu_text(data):
    tracks, frames = ntu.parse_skeleton(_text(data), "x")
    for track in tracks:
        assert np.isfinite(track.xyz).all()
        assert np.isfinite(track.xy).all()
        assert track.frames[-1] < frames


def _smarthome_text(data):
    arrays = smarthome.parse_poses(_text(data), "x")
    assert all(np.isfinite(array).all() for array in arrays)


PARSERS = {
    "nucla": (_nucla_text, nucla_files.skeleton_text(nucla_files.STANDING + 3, nucla_files.STANDING + 4).encode()),
    "ntu": (_ntu_text, recording_files.ntu_text({7: (0, WALK), 9: (1, WALK[:2])}).encode()),
    "smarthome": (_smarthome_text, recording_files.lcrnet_text(recording_files.walk("lcrnet_13", 3)).encode()),
}


@pytest.mark.parametrize("name", PARSERS)
def test_skeletons(name):
    parse, whole = PARSERS[name]
    parse(whole)

    @FUZZ
    @given(damaged(whole))
    def check(data):
        reason = refusal(lambda: parse(data), RejectedClip)
        assert reason is None or ("\n" not in reason and len(reason) < 500)

    check()


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".json", ".csv"])
def test_pose_files(tmp_path, suffix):
    path = tmp_path / f"poses{suffix}"
    if suffix == ".npy":
        np.save(path, WALK)
    elif suffix == ".npz":
        np.savez(path, xyz=WALK, confidence=np.ones(WALK.shape[:2]))
    elif suffix == ".json":
        path.write_text(json.dumps({"xyz": WALK.round(2).tolist()}))
    else:
        path.write_text("frame, joint ,x,y,z\n" + "".join(f"{t},{j}, 1 ,2,3\n" for t in range(3) for j in range(13)))
        path.write_text(path.read_text().replace("frame, joint ", "frame,joint"))
    whole = path.read_bytes()
    pose_files.read(path)

    @FUZZ
    @given(damaged(whole))
    def check(data):
        path.write_bytes(data)
        reason = refusal(lambda: pose_files.read(path).confidence.shape[2], ValueError)
        assert reason is None or "\n" not in reason

    check()


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_videos(tmp_path, suffix):
    path = tmp_path / f"clip{suffix}"
    whole = recording_files.write_video(path, recording_files.frames_of(WALK)).read_bytes()

    @FUZZ
    @given(damaged(whole))
    def check(data):
        path.write_bytes(data)
        reason = refusal(lambda: [crops.cut(frame, (0, 0, 16, 16), 8) for frame in video.Video(path)], ValueError)
        assert reason is None or reason.startswith(path.name)

    check()


@pytest.mark.parametrize("form", [pytest.param(".png", marks=pytest.mark.slow), ".jpg"])
def test_pictures(form):
    import cv2

    whole = cv2.imencode(form, recording_files.frames_of(WALK)[0])[1].tobytes()

    @FUZZ
    @given(damaged(whole))
    def check(data):
        reason = refusal(lambda: crops.decode_picture(data).shape[2], ValueError)
        assert reason is None or "file" in reason

    check()


def test_lists_of_clips(tmp_path):
    path = tmp_path / "clips.csv"
    whole = b"video,label,split,subject\na.mp4,x,train,1\nb.mp4,y,test,2\n"

    @FUZZ
    @given(damaged(whole))
    def check(data):
        path.write_bytes(data)
        reason = refusal(lambda: [Folder(path).splits_of(info) for info in Folder(path).index().clips], UserError)
        assert reason is None or str(path) in reason

    check()
