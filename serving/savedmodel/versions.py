"""Version folders: ``BASE/<model>/<version>/``, as TF-Serving watches them.

A version is a folder whose name is a number. TF-Serving and this project ignore all other names, so a version under
construction has a name that is no number. The format of a version is that of the model file in it.
"""

from __future__ import annotations

import os
import pathlib

from zoo.shared.errors import UserError

State = tuple[str, int, int]  # a file's path, size and time of change
LAST_VERSION = 2**63 - 1  # the largest version number that a message can hold
SAVED_MODEL = "saved_model.pb"
# Files that an export leaves in a version.
LABELS = "assets/labels.txt"
INPUTS = "assets/inputs.json"
MODEL_FILES = {  # format -> the file that a version of it has
    "savedmodel": SAVED_MODEL,
    "openvino": "model.xml",
    "onnx": "model.onnx",
    "litert": "model.tflite",
}


def format_of(folder: str | os.PathLike) -> str | None:
    """Format of a version, one of :data:`MODEL_FILES`; ``None`` for a folder that is no version."""
    return next((name for name, file in MODEL_FILES.items() if (pathlib.Path(folder) / file).exists()), None)


def find(model_folder: str | os.PathLike) -> dict[int, pathlib.Path]:
    """Versions of a model.

    Args:
        model_folder: ``BASE/<model>``.

    Returns:
        Version number -> folder, in ascending order; empty where the folder does not exist.
    """
    folder = pathlib.Path(model_folder)
    if not folder.is_dir():
        return {}
    found = {int(path.name): path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()}
    return dict(sorted(found.items()))


def fingerprint(version_folder: str | os.PathLike) -> list[State]:
    """Paths, sizes and times of a version's files: it changes when a file changes."""
    found = []
    for path in sorted(pathlib.Path(version_folder).rglob("*")):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return found


def require(model_folder: str | os.PathLike) -> dict[int, pathlib.Path]:
    """:func:`find`, with :class:`~zoo.shared.errors.UserError` when there is no version to serve."""
    folder = pathlib.Path(model_folder)
    found = find(folder)
    if found:
        return found
    if not folder.exists():
        raise UserError(f"{folder}: no such folder, expected BASE/<model> as python -m serving.export writes it")
    if format_of(folder):
        raise UserError(f"{folder} is a version itself: give the folder above it, {folder.absolute().parent}")
    inside = sorted(path.name for path in folder.iterdir() if find(path)) if folder.is_dir() else []
    if inside:
        hint = f"it holds the models {', '.join(inside)}: give one of them"
    elif (folder / "model.keras").is_file():
        hint = f"it is a run directory: export it with python -m serving.export --run {folder} --to BASE"
    else:
        hint = "export a model there first"
    raise UserError(f"{folder} has no version folder (a number such as 1); {hint}")
