"""The model file of MediaPipe's Pose Landmarker: where it is taken from, and how it is put together."""

from __future__ import annotations

import os
import pathlib

from zoo.shared.errors import UserError

MODELS = ("lite", "full", "heavy")


def find(model: str | os.PathLike = "full") -> pathlib.Path:
    """The model file of a name, or the one whose path is given."""
    if str(model) in MODELS:
        path = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        path = path / "keras-adl-zoo" / "blazepose" / f"pose_landmarker_{model}.task"
    else:
        path = pathlib.Path(model)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    return path
