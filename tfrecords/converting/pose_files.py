"""Poses in a user's own files: NumPy, JSON or CSV.

==========  ========================================================================================================
``.npy``    an array ``[T, M, J, 3]`` or ``[T, J, 3]``, metres
``.npz``    the arrays ``xyz`` (as above), ``xy`` ``[T, M, J, 2]`` pixels and ``confidence`` ``[T, M, J]``, at least one
            of the first two; optionally ``layout`` (the skeleton's name), ``fps``, ``frame_size`` (width and height of
            the frames that ``xy`` refers to), and ``video`` (by which ``tfrecords.estimate`` recognises its video); or
            a single array of any name, taken as ``xyz``
``.json``   an object with the same keys; ``skeletons`` is another name of ``xyz``
``.csv``    a header and a row per joint: ``frame,person,joint,x,y,z,u,v,confidence``; the first three count from 0;
            ``x,y,z`` or the pixels ``u,v`` or both; ``person`` and ``confidence`` are optional
==========  ========================================================================================================

Without confidences, a joint at exactly zero counts as not measured. Metres are camera coordinates: x to the right,
y upwards, z forwards. :func:`write` writes ``.npz``, which holds all these values.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib

import numpy as np

from tfrecords.converting import persons
from zoo.shared import files, messages

SUFFIXES = (".npy", ".npz", ".json", ".csv")
_VALUES = {"xyz": 3, "xy": 2, "confidence": 1}
_FACTS = ("layout", "fps", "video", "frame_size")
_COLUMNS = {"xyz": ("x", "y", "z"), "xy": ("u", "v"), "confidence": ("confidence",)}
_LARGEST = 100_000_000  # values: a CSV that names frame 10**12 must not take all memory


@dataclasses.dataclass(frozen=True, eq=False)
class FilePoses(persons.Poses):
    """Poses from a file, and what it states about them.

    Attributes:
        layout: Name of the skeleton layout; empty where the file has none.
        fps: Poses per second; 0 where the file has none.
        frame: Width and height in pixels of the frames that ``xy`` refers to; ``None``: those of the recording itself.
        video: :func:`zoo.shared.files.fingerprint` of the video that they were estimated from; empty where the file has
            none.
    """

    layout: str = ""
    fps: float = 0.0
    frame: tuple[int, int] | None = None
    video: str = ""


def write(
    path: str | os.PathLike,
    poses: persons.Poses,
    *,
    layout: str,
    fps: float,
    video: str = "",
    frame: tuple[int, int] | None = None,
) -> None:
    """Writes poses into a ``.npz`` file, completely or not at all; the same poses give the same bytes.

    Args:
        path: The file; its folder is made if missing.
        poses: :class:`~tfrecords.converting.persons.Poses`.
        layout: Name of their skeleton layout.
        fps: Poses per second.
        video: Fingerprint of the video that they were estimated from.
        frame: Width and height in pixels of its frames.

    Example:
        >>> import tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "clip.npz")
        >>> write(path, persons.Poses(np.ones((4, 1, 33, 3)), np.ones((4, 1, 33))), layout="blazepose_33", fps=30.0)
        >>> read(path).layout, read(path).xyz.shape
        ('blazepose_33', (4, 1, 33, 3))
    """
    arrays = {name: getattr(poses, name) for name in _VALUES}
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items() if array is not None}
    facts = {"video": np.array(video)} if video else {}
    if frame:
        facts["frame_size"] = np.array(frame, np.int64)
    with files.whole_file(path) as partial:
        np.savez(partial, **arrays, layout=np.array(layout), fps=np.array(fps, np.float64), **facts)


def read(path: str | os.PathLike) -> FilePoses:
    """Poses from a file.

    Args:
        path: The file, of one of :data:`SUFFIXES`.

    Returns:
        :class:`FilePoses` as they are in the file: gaps are not filled, and numbers may be infinite.

    Raises:
        OSError: It cannot be read.
        ValueError: Another format, or damaged.
    """
    path = pathlib.Path(path)
    readers = {".npy": _read_numpy, ".npz": _read_numpy, ".json": _read_json, ".csv": _read_csv}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise ValueError(f"unknown pose format {path.suffix!r}, expected one of {', '.join(SUFFIXES)}")
    data = path.read_bytes()
    try:
        values = readers[suffix](data)
        facts = _facts({name: values.pop(name) for name in _FACTS if name in values})
        values = {name: np.asarray(value, np.float32) for name, value in values.items()}
    except Exception as error:  # NumPy and its parser raise a dozen kinds of errors for a damaged .npy or .npz
        raise ValueError(f"damaged or not poses ({messages.one_line(error)})") from None
    return FilePoses(*_poses(values), **facts)


def _facts(found):
    """What a file states besides the poses, by the names of :class:`FilePoses`."""
    facts = {name: str(np.asarray(found[name]).item()) for name in ("layout", "video") if name in found}
    if "fps" in found:
        facts["fps"] = float(np.asarray(found["fps"]).item())
        if not 0 <= facts["fps"] < np.inf:
            raise ValueError(f"fps is {facts['fps']:g}, expected frames per second")
    if "frame_size" in found:
        width, height = (int(side) for side in np.asarray(found["frame_size"]))
        if not (width > 0 and height > 0):
            raise ValueError(f"frame_size is {width} x {height}, expected pixels")
        facts["frame"] = width, height
    return facts


def _poses(values):
    """``(xyz, confidence, xy)``, of which the first or last may be ``None``."""
    if not {"xyz", "xy"} & set(values):
        raise ValueError("neither xyz nor xy in it")
    arrays = {}
    for name, value in values.items():
        axes = 4 if name != "confidence" else 3
        if value.ndim == axes - 1:
            value = value[:, np.newaxis]  # one person
        if value.ndim != axes or not value.size or (axes == 4 and value.shape[-1] != _VALUES[name]):
            last = f", {_VALUES[name]}" if axes == 4 else ""
            raise ValueError(f"{name} has the shape {list(value.shape)}, expected [T, M, J{last}] or [T, J{last}]")
        arrays[name] = value
    shapes = {name: value.shape[:3] for name, value in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"arrays of unequal frames, persons or joints: {shapes}")
    positions = [arrays[name] for name in ("xyz", "xy") if name in arrays]
    confidence = arrays.get("confidence")
    if confidence is None:
        confidence = np.all([persons.measured(p) for p in positions], axis=0) * np.float32(persons.TRACKED)
    elif not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("confidence outside 0 to 1")
    confidence = np.where(np.all([np.isfinite(p).all(axis=-1) for p in positions], axis=0), confidence, persons.ABSENT)
    return arrays.get("xyz"), confidence, arrays.get("xy")


def _read_numpy(data):
    loaded = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(loaded, np.lib.npyio.NpzFile):
        return {"xyz": loaded}
    with loaded:
        if len(loaded.files) == 1 and loaded.files[0] not in _VALUES:
            return {"xyz": loaded[loaded.files[0]]}
        unknown = sorted({*loaded.files} - {*_VALUES, *_FACTS})
        if unknown:
            raise ValueError(f"arrays {', '.join(unknown)}, expected {', '.join((*_VALUES, *_FACTS))}")
        return {name: loaded[name] for name in loaded.files}


def _read_json(data):
    content = json.loads(data.decode("utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    if "skeletons" in content:
        content = {**content, "xyz": content["skeletons"]}
    return {name: content[name] for name in (*_VALUES, *_FACTS) if name in content}


def _read_csv(data):
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    columns = set(rows.fieldnames or ())
    groups = {name: names for name, names in _COLUMNS.items() if set(names) <= columns}
    if not {"frame", "joint"} <= columns:
        raise ValueError("expected a header with frame, joint, and x, y, z or u, v")
    entries = {}
    for row in rows:
        key = int(row["frame"]), int(row.get("person") or 0), int(row["joint"])
        if min(key) < 0 or key in entries:
            raise ValueError(f"line {rows.line_num}: frame, person, joint {key} negative or there twice")
        entries[key] = {name: [float(row[c]) for c in names] for name, names in groups.items()}
    if not entries:
        raise ValueError("no rows")
    frames, people, joints = (max(key[axis] for key in entries) + 1 for axis in range(3))
    if frames * people * joints > _LARGEST:
        raise ValueError(f"{frames} frames of {people} persons of {joints} joints are too many")
    arrays = {name: np.zeros((frames, people, joints, _VALUES[name]), np.float32) for name in groups}
    for key, values in entries.items():
        for name, value in values.items():
            arrays[name][key] = value
    if "confidence" in arrays:
        arrays["confidence"] = arrays["confidence"][..., 0]
    return arrays
