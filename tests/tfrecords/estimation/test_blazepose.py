"""BlazePose: MediaPipe's results as persons, its time stamps, its log, and what keeps it from being used."""

import importlib.util
import os
import pathlib
import sys
import types
from importlib import metadata

import av
import numpy as np
import pytest

from tfrecords.estimation import blazepose, estimator, model_files
from zoo.shared.errors import UserError

FRAME = np.zeros((40, 80, 3), np.uint8)
JOINTS = 33


class FakeLandmarker:
    """Stands for MediaPipe's: gives what it is told to, and keeps what it was asked for."""

    x, y = 0.25, 1.5  # of the joints: below the picture

    def __init__(self, options):
        self.options = options
        self.poses = 1
        self.times = []

    def _result(self):
        world = [types.SimpleNamespace(x=0.1, y=0.2 + j, z=0.3) for j in range(JOINTS)]
        points = [
            types.SimpleNamespace(
                x=self.x + 0.2 * (j % 2),
                y=self.y + 0.2 * (j % 2),
                z=0.0,
                visibility=0.9 if j else 1.0001,
                presence=0.8 if j else 1.0,
            )
            for j in range(JOINTS)
        ]
        return types.SimpleNamespace(pose_world_landmarks=[world] * self.poses, pose_landmarks=[points] * self.poses)

    def detect(self, picture):
        return self._result()

    def detect_for_video(self, picture, milliseconds):
        self.times.append(milliseconds)
        return self._result()

    def close(self):
        os.write(2, b"a line of the C++ log\n")


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """MediaPipe replaced by one with a fake landmarker."""
    mediapipe = types.SimpleNamespace(
        Image=lambda image_format, data: data,
        ImageFormat=types.SimpleNamespace(SRGB="rgb"),
        tasks=types.SimpleNamespace(BaseOptions=lambda model_asset_path: model_asset_path),
    )
    vision = types.SimpleNamespace(
        RunningMode=types.SimpleNamespace(IMAGE="image", VIDEO="video"),
        PoseLandmarkerOptions=lambda **options: options,
        PoseLandmarker=types.SimpleNamespace(create_from_options=FakeLandmarker),
    )
    monkeypatch.setattr(blazepose, "_import", lambda: (mediapipe, vision))
    monkeypatch.setattr(model_files, "find", lambda model: tmp_path / f"{model}.task")
    return vision


def test_a_persons_axes_pixels_and_confidence(fake):
    with estimator.create("blazepose", persons=2, detection=0.3, still=True) as poses:
        (person,) = poses.persons(FRAME, 0.0)
        landmarker = poses._estimator._landmarker
        landmarker.poses = 0
        assert poses.persons(FRAME, 0.1) == []
    options = landmarker.options
    np.testing.assert_allclose(person.xyz[2], [0.1, -2.2, 0.3], rtol=1e-6)  # y upwards, z away from the camera
    np.testing.assert_allclose(person.xy[2], [0.25 * 80, 1.5 * 40])  # outside the frame
    np.testing.assert_allclose(person.confidence[:2], [1.0, 0.8])  # as visible and inside the picture
    assert {person.xyz.dtype, person.xy.dtype, person.confidence.dtype} == {np.dtype("float32")}
    assert len(person.xyz) == len(person.xy) == len(person.confidence) == JOINTS
    assert (options["num_poses"], options["min_pose_detection_confidence"]) == (2, 0.3)
    assert (options["running_mode"], options["base_options"][-9:]) == ("image", "full.task")


def test_time_stamps_grow_and_pictures_have_none(fake):
    poses = blazepose.BlazePose()
    times = poses._estimator._landmarker.times
    for seconds in (0.0, 0.04, 0.04, 0.02, 0.0412, 1.0):
        poses.persons(FRAME, seconds)
    assert times == [0, 40, 41, 42, 43, 1000]
    poses.forget()  # a black frame, after which the time begins anew
    for seconds in (0.0, 0.04):
        poses.persons(FRAME, seconds)
    assert times[6:] == [1001, 1002, 1042]
    still = blazepose.BlazePose(still=True)
    assert len(still.persons(FRAME, 0.0)) == 1
    landmarker = still._estimator._landmarker
    assert (landmarker.times, landmarker.options["running_mode"]) == ([], "image")


def test_several_are_found_in_pictures_and_each_followed_as_in_a_video(fake, monkeypatch):
    monkeypatch.setattr(FakeLandmarker, "x", 0.4)
    monkeypatch.setattr(FakeLandmarker, "y", 0.4)
    with blazepose.BlazePose(persons=2) as poses:
        (person,) = poses.persons(np.zeros((80, 80, 3), np.uint8), 0.0)
        (again,) = poses.persons(np.zeros((80, 80, 3), np.uint8), 0.1)
        finding, following = poses._estimator._finder, poses._estimator._followed[0].follower
    assert (finding._landmarker.options["running_mode"], finding._landmarker.options["num_poses"]) == ("image", 2)
    options = following._landmarker.options
    assert (options["running_mode"], options["num_poses"]) == ("video", 1)
    assert options["min_pose_detection_confidence"] == 0.5
    assert len(following._landmarker.times) == 2  # a black frame before the first
    assert person.xy.shape == again.xy.shape


def test_what_libraries_log_is_dropped_and_nothing_after(fake, capfd):
    blazepose.BlazePose().close()
    os.write(2, b"ours\n")
    assert capfd.readouterr().err == "ours\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"persons": 0}, "persons is 0, expected 1 or more"),
        ({"tracking": 1.5}, "tracking is 1.5, expected a confidence from 0 to 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(UserError, match=message):
        blazepose.BlazePose(**options)


def test_a_model_that_mediapipe_cannot_read(fake):
    def refuse(options):
        raise RuntimeError("Unable to\n initialize")

    fake.PoseLandmarker.create_from_options = refuse
    with pytest.raises(UserError, match=r"full.task: MediaPipe cannot read this model \(Unable to initialize\)"):
        blazepose.BlazePose()


@pytest.mark.parametrize("version", ["0.10.35", "1.2.3", "2.0"])
def test_versions_that_report_their_use_are_refused(version, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda package: version)
    monkeypatch.setitem(sys.modules, "mediapipe", None)  # it would not even be loaded
    with pytest.raises(UserError, match=rf"mediapipe {version} sends usage data .*pip install 'mediapipe>=0.10.30"):
        blazepose.BlazePose()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, r"needs the package mediapipe: pip install .*keras-adl-zoo\[poses\]"),
        (types.ModuleType("mediapipe"), "MediaPipe cannot be imported: "),  # broken: without its parts
    ],
)
def test_a_package_that_is_missing_or_broken(module, message, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda package: "0.10.31")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", module)
    with pytest.raises(UserError, match=message):
        blazepose.BlazePose()


@pytest.fixture(scope="module")
def real():
    """The real landmarker; skipped without the package or its model."""
    try:
        with blazepose.BlazePose() as poses:
            yield poses
    except UserError as error:
        pytest.skip(str(error))


def test_the_real_landmarker_runs_silently(real, capfd):
    rng = np.random.default_rng(0)
    for seconds in (0.0, 0.0):
        found = real.persons(rng.integers(0, 256, (120, 161, 3), np.uint8)[:, ::-1], seconds)
        assert isinstance(found, list)
    assert capfd.readouterr().err == ""


def test_the_installed_library_has_no_network_code(real):
    folder = pathlib.Path(importlib.util.find_spec("mediapipe").origin).parent
    (library,) = [*folder.glob("tasks/c/libmediapipe.*"), *folder.glob("python/_framework_bindings*")]
    content = library.read_bytes()
    assert not [name for name in (b"getaddrinfo", b"socket", b"connect") if b"\0" + name + b"\0" in content]


@pytest.mark.real_data
def test_who_was_followed_is_forgotten(real, real_data):
    """As by a new estimator, whatever was seen before."""
    with av.open(str(real_data / "clips" / "ucf_ApplyEyeMakeup_g01_c01.avi")) as video:
        frames = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(3), video.decode(video=0))]
    found = []
    for before in (frames[:1], [frame[:, ::-1] for frame in frames]):
        for seconds, frame in enumerate(before):
            real.persons(frame, seconds / 25)
        real.forget()
        found.append(np.stack([real.persons(frame, i / 25)[0].xy for i, frame in enumerate(frames)]))
    np.testing.assert_allclose(*found, atol=0.1)


@pytest.mark.real_data
def test_a_real_person_facing_the_camera(real, real_data):
    with av.open(str(real_data / "clips" / "ucf_ApplyEyeMakeup_g01_c01.avi")) as video:
        frames = [frame.to_ndarray(format="rgb24") for _, frame in zip(range(10), video.decode(video=0))]
    found = [real.persons(frame, 10 + i / 25) for i, frame in enumerate(frames)]
    assert all(len(persons) == 1 for persons in found)
    person = found[-1][0]
    nose, left, right, hips = person.xyz[0], person.xyz[11], person.xyz[12], person.xyz[23:25]
    assert nose[1] > left[1] > hips[0, 1]  # upwards
    assert left[0] > right[0]  # the person's left is on the picture's right
    assert nose[2] < (left[2] + right[2]) / 2  # nearer to the camera
    np.testing.assert_allclose(hips.mean(0), 0, atol=0.02)
    height, width = frames[0].shape[:2]
    assert (person.xy[0] > 0).all()
    assert (person.xy[0] < [width, height]).all()
    assert person.confidence[0] > 0.9 > 0.1 > person.confidence[27]  # the ankles are outside
