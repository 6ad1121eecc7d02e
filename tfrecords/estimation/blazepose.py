"""BlazePose: the Pose Landmarker of MediaPipe.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose Tracking", 2020, arXiv:2006.10204.

It sends nothing over the network: versions of MediaPipe that send data about their use are refused.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np

from tfrecords.estimation import model_files, regions
from tfrecords.estimation.estimator import Estimator, Person, register
from zoo.shared import messages
from zoo.shared.errors import UserError

_INSTALL = "pip install 'mediapipe>=0.10.30,<0.10.32', as the extra keras-adl-zoo[poses] does"
_REPORTING = (0, 10, 34)  # the first version from which MediaPipe sends data about its use
_ALONE, _BESIDE_OTHERS = 0.2, 0.5  # least confidence of a detection
_AXES = np.array([1, -1, 1], np.float32)  # MediaPipe: y downwards; z grows away from the camera in both


@register("blazepose")
class BlazePose(Estimator):
    """Poses of 33 joints by MediaPipe's Pose Landmarker, on a CPU.

    A person is followed from frame to frame, and the slower detector runs only when the person is lost. Of several
    persons, each is followed in a square around the body (:class:`~tfrecords.estimation.regions.Regions`).

    Args:
        model: ``lite``, ``full`` or ``heavy``, as :func:`tfrecords.estimation.model_files.find` finds it; or the path
            of a ``.task`` file.
        persons: The most persons found in a frame.
        detection: Least confidence, 0 to 1, of a detected person. Default for one person: 0.2, because people who lie,
            turn their backs or are cut by the picture's edge have a low confidence, and ``presence`` then decides on
            the joints that were found. Default for several persons: 0.5, because the detector invents bodies beside
            the real ones.
        presence: Least confidence that a followed person is still there; below it the detector runs again.
        tracking: Least confidence of the joints with which a person is followed into the next frame.
        still: Whether each frame is searched as a whole and without the frames before: for unrelated pictures.

    Raises:
        UserError: MediaPipe or the model file is missing, or that file is not one of this network.

    Example:
        >>> with BlazePose(persons=2) as estimator:  # doctest: +SKIP
        ...     persons = estimator.persons(frame, seconds=0.0)
    """

    layout = "blazepose_33"

    def __init__(
        self,
        *,
        model: str | os.PathLike = "full",
        persons: int = 1,
        detection: float | None = None,
        presence: float = 0.5,
        tracking: float = 0.5,
        still: bool = False,
    ):
        if detection is None:
            detection = _ALONE if persons == 1 else _BESIDE_OTHERS
        _check(persons, detection=detection, presence=presence, tracking=tracking)
        with _quiet():
            modules = _import()
        path = model_files.find(model)
        thresholds = {
            "min_pose_detection_confidence": detection,
            "min_pose_presence_confidence": presence,
            "min_tracking_confidence": tracking,
        }
        follows = persons == 1 and not still
        self._estimator: Estimator = _Landmarker(modules, path, follows, num_poses=persons, **thresholds)
        if persons > 1 and not still:
            self._estimator = regions.Regions(
                persons, self._estimator, lambda: _Landmarker(modules, path, True, num_poses=1, **thresholds)
            )

    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        """The persons in the next frame; see :meth:`Estimator.persons`.

        A time that is not later than the frame before counts as one millisecond later: MediaPipe would refuse it.
        """
        return self._estimator.persons(frame, seconds)

    def forget(self) -> None:
        """Forgets the persons it follows."""
        self._estimator.forget()

    def find_anew(self) -> None:
        """As :meth:`Estimator.find_anew`; the positions of several persons are not forgotten."""
        self._estimator.find_anew()

    def close(self) -> None:
        """Ends MediaPipe's threads and frees the networks."""
        self._estimator.close()


class _Landmarker(Estimator):
    """A Pose Landmarker of MediaPipe: it follows one person, or searches each picture independently."""

    layout = "blazepose_33"

    def __init__(self, modules: tuple[Any, Any], path: pathlib.Path, follows: bool, **options: float) -> None:
        self._mediapipe, vision = modules
        self._follows = follows
        self._milliseconds, self._begin = -1, 0  # of the frame before; where this recording begins
        self._warned = False  # whether MediaPipe has logged what it logs for the first person
        with _quiet():
            base = self._mediapipe.tasks.BaseOptions(model_asset_path=str(path))
            mode = vision.RunningMode.VIDEO if follows else vision.RunningMode.IMAGE
            all_options = vision.PoseLandmarkerOptions(base_options=base, running_mode=mode, **options)
            try:
                self._landmarker = vision.PoseLandmarker.create_from_options(all_options)
            except (ValueError, RuntimeError, OSError) as error:
                raise UserError(
                    f"{path}: MediaPipe cannot read this model ({messages.one_line(error)}): expected the .task "
                    "file of a Pose Landmarker"
                ) from error

    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        height, width = frame.shape[:2]
        image = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame, np.uint8)
        )
        with contextlib.nullcontext() if self._warned else _quiet():
            found = self._detect(image, seconds)
        self._warned = self._warned or bool(found.pose_landmarks)
        return [
            _person(world, points, width, height)
            for world, points in zip(found.pose_world_landmarks, found.pose_landmarks)
        ]

    def _detect(self, image: Any, seconds: float) -> Any:
        if not self._follows:
            return self._landmarker.detect(image)
        self._milliseconds = max(self._milliseconds + 1, self._begin + round(seconds * 1000))
        return self._landmarker.detect_for_video(image, self._milliseconds)

    def forget(self) -> None:
        """In a black frame nobody is found, and the detector runs on the next one."""
        if self._follows:
            self.persons(np.zeros((64, 64, 3), np.uint8), 0.0)
            self._begin = self._milliseconds + 1

    def close(self) -> None:
        with _quiet():
            self._landmarker.close()


def _check(persons: int, **thresholds: float) -> None:
    """Raises an error for arguments out of range."""
    if persons < 1:
        raise UserError(f"persons is {persons}, expected 1 or more")
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise UserError(f"{name} is {value}, expected a confidence from 0 to 1")


def _person(world: list, points: list, width: int, height: int) -> Person:
    """A person of MediaPipe's landmarks.

    ``world`` has metres from the middle of the hips, ``points`` fractions of the frame's width and height. A joint's
    confidence is the lower of its visibility and its presence in the picture.
    """
    xyz = np.array([(joint.x, joint.y, joint.z) for joint in world], np.float32)  # [J, 3]
    xy = np.array([(joint.x, joint.y) for joint in points], np.float32)  # [J, 2]
    confidence = np.array([min(joint.visibility, joint.presence) for joint in points], np.float32)  # [J]
    return Person(xyz * _AXES, xy * np.array([width, height], np.float32), np.clip(confidence, 0, 1))


def _import() -> tuple[Any, Any]:
    """MediaPipe and its vision tasks; a version that would report its use is not even loaded."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        installed = metadata.version("mediapipe")
        if _numbers(installed) >= _REPORTING:
            raise UserError(
                f"mediapipe {installed} sends usage data to its developers over the network, always: "
                f"install one that does not, {_INSTALL}"
            )
    try:
        import mediapipe
        from mediapipe.tasks.python import vision
    except ModuleNotFoundError as error:
        if error.name != "mediapipe":
            raise UserError(f"MediaPipe cannot be imported: {messages.one_line(error)}") from error
        raise UserError(f"estimating poses needs the package mediapipe: {_INSTALL}") from error
    except ImportError as error:  # a library of the system that its binaries need
        raise UserError(f"MediaPipe cannot be imported: {messages.one_line(error)}") from error
    return mediapipe, vision


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version; what follows a number up to the next dot is ignored.

    Example:
        >>> _numbers("0.10.21rc1")
        (0, 10, 21)
    """
    return tuple(int(digits) for digits in re.findall(r"(?:^|\.)(\d+)", version))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Discards stderr inside a ``with`` block: MediaPipe's C++ libraries log there and cannot be silenced."""
    with messages.stderr:
        sys.stderr.flush()
        kept = os.dup(2)
        try:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
