"""Version folders: ``BASE/<model>/<version>/``, as TF-Serving watches them.

A version is a folder whose name is a number. TF-Serving and this project ignore all other names, so a version under
construction has a name that is no number.
"""

from __future__ import annotations

import os
import pathlib

from zoo.shared.errors import UserError

SAVED_MODEL = "saved_model.pb"


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


def require(model_folder: str | os.PathLike) -> dict[int, pathlib.Path]:
    """:func:`find`, with :class:`~zoo.shared.errors.UserError` when there is no version to serve."""
    folder = pathlib.Path(model_folder)
    found = find(folder)
    if found:
        return found
    if not folder.exists():
        raise UserError(f"{folder}: no such folder, expected BASE/<model> as python -m serving.export writes it")
    if (folder / SAVED_MODEL).exists():
        raise UserError(f"{folder} is a version itself: give the folder above it, {folder.absolute().parent}")
    inside = sorted(path.name for path in folder.iterdir() if find(path)) if folder.is_dir() else []
    hint = f"it holds the models {', '.join(inside)}: give one of them" if inside else "export a model there first"
    raise UserError(f"{folder} has no version folder (a number such as 1); {hint}")
