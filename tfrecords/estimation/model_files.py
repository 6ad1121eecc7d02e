"""The model file of MediaPipe's Pose Landmarker: where it comes from, and how it is put together.

A ``.task`` file is a zip file, without compression, of two TensorFlow Lite networks: one detects persons, one finds a
person's joints. MediaPipe's page of models has such files in three sizes. The networks of the size ``full`` are also in
the package ``mediapipe`` 0.10.21, but without the metadata that state the value range of the pictures. The file is put
together from these networks, so that only a package index is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Iterator

from tfrecords.estimation import tflite_metadata
from zoo.shared import cache, files, messages, packages
from zoo.shared.errors import UserError

MODELS = ("lite", "full", "heavy")
_DETECTOR = "pose_detector.tflite"
_LANDMARKS = "pose_landmarks_detector.tflite"
_REQUIREMENT = "mediapipe==0.10.21"
_WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
_MEGABYTES = 36
# The same file of this version for any Python and platform, as only its networks are read.
_WHEEL = ["--only-binary", ":all:", "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
# Name in a .task file -> path in the package, its SHA-256, mean and standard deviation for scaling 0 - 255.
_PARTS = {
    _DETECTOR: (
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
        (127.5, 127.5),
    ),
    _LANDMARKS: (
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
        (0.0, 255.0),
    ),
}
_FULL_SHA256 = "a586f08a4b231a6639e4ce6202e1744b8b21ddec5eaadb2846c7c2faf4736757"  # of the file put together
_HEADER = 30  # bytes before the name of a file in a zip file
_ALIGNMENT = 64  # bytes: the networks are used in place, without a copy


def find(model: str | os.PathLike = "full") -> pathlib.Path:
    """The model file of a name or at a path.

    A named file is read from the project's cache. If ``full`` is not there, it is put together once from the networks
    of ``mediapipe`` 0.10.21, which pip downloads with the user's own settings.

    Args:
        model: ``lite``, ``full``, ``heavy``, or the path of a ``.task`` file.

    Returns:
        Path of a file that has both networks, undamaged.

    Raises:
        UserError: There is no such file, it is damaged, or it cannot be downloaded; the cache stays unchanged.

    Example:
        >>> find("full").name  # doctest: +SKIP
        'pose_landmarker_full.task'
    """
    if str(model) not in MODELS:
        path = pathlib.Path(model)
        if fault := _fault(path):
            raise UserError(f"{path}: {fault}, expected {', '.join(MODELS)} or the .task file of a Pose Landmarker")
        return path
    path = cache.folder("blazepose") / f"pose_landmarker_{model}.task"
    fault = _fault(path)
    if fault and model != "full":
        raise UserError(
            f"{path}: {fault}: download {path.name} from MediaPipe's page of Pose Landmarker models and put it "
            "there, or give its path; model 'full' needs no download"
        )
    if fault:
        with cache.locked(path.parent.parent):
            if _fault(path):  # checked again: another process may have made it meanwhile
                _assemble(path)
    return path


def _fault(path: pathlib.Path) -> str:
    """What is wrong with a model file, or nothing."""
    if not path.is_file():
        return "no such file"
    try:
        with zipfile.ZipFile(path) as archive:
            if missing := {_DETECTOR, _LANDMARKS} - set(archive.namelist()):
                return f"has no {' and no '.join(sorted(missing))}"
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        return f"cannot be read ({messages.one_line(error)})"
    return f"{damaged} in it is damaged" if damaged else ""


def _assemble(path: pathlib.Path) -> None:
    """Writes the ``full`` model file, whole or not at all."""
    try:
        content = _task_file(_parts(path))
        found = hashlib.sha256(content).hexdigest()
        if found != _FULL_SHA256:
            raise UserError(
                f"{path.name}: SHA-256 of what was put together is {found}, expected {_FULL_SHA256}: not kept; "
                "download it from MediaPipe's page of Pose Landmarker models and give its path"
            )
        with files.whole_file(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        reason = error.strerror or messages.one_line(error)
        raise UserError(
            f"{path}: cannot be written ({reason}): free some space, or name another folder with XDG_CACHE_HOME"
        ) from error


def _parts(path: pathlib.Path) -> dict[str, bytes]:
    """Name in a ``.task`` file -> network, from the installed package or from the package that pip downloads."""
    installed = _installed()
    if installed is not None:
        with contextlib.suppress(OSError, UserError):
            return {name: _checked(name, (installed / member).read_bytes()) for name, (member, *_) in _PARTS.items()}
    with _wheel(path) as wheel, zipfile.ZipFile(wheel) as archive:
        return {name: _checked(name, archive.read(member)) for name, (member, *_) in _PARTS.items()}


def _installed() -> pathlib.Path | None:
    """The folder that holds the installed package, found without importing it."""
    spec = importlib.util.find_spec("mediapipe")
    return pathlib.Path(spec.origin).parents[1] if spec and spec.origin else None


@contextlib.contextmanager
def _wheel(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The package's file, downloaded; removed at the end."""
    # Named like a partial file: the next process removes what a killed process leaves.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent.parent) as folder:
        try:
            with packages.downloaded(pathlib.Path(folder), _REQUIREMENT, _WHEEL_SHA256, _MEGABYTES, _WHEEL) as wheel:
                yield wheel
        except packages.UnreachableError as error:
            raise UserError(
                f"{error}; download {path.name} from MediaPipe's page of Pose Landmarker models and put it into "
                f"{path.parent}, or give its path"
            ) from error


def _checked(name: str, content: bytes) -> bytes:
    """A network of the package, if its SHA-256 is that of the published network."""
    member, expected, _ = _PARTS[name]
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise UserError(f"{member} of {_REQUIREMENT}: SHA-256 is {found}, expected {expected}: not kept")
    return content


def _task_file(parts: dict[str, bytes]) -> bytes:
    """The zip file of the networks with their metadata; the same bytes at any time and place."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            mean, deviation = _PARTS[name][2]
            entry = zipfile.ZipInfo(name)  # of the year 1980
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o644 << 16
            begin = file.tell() + _HEADER + len(name)
            padding = -(begin + 4) % _ALIGNMENT
            entry.extra = b"\x35\xd9" + padding.to_bytes(2, "little") + bytes(padding)  # a field that readers skip
            archive.writestr(entry, tflite_metadata.with_normalisation(content, mean, deviation))
    return file.getvalue()
