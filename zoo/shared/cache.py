"""The project's cache: a folder for each thing that was fetched or made, and the lock on all of them."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

from zoo.shared import files
from zoo.shared.errors import UserError

_LOCK = ".lock"
_PATIENCE = 3600.0  # seconds that one process waits for another to fetch


def folder(name: str) -> pathlib.Path:
    """The cache folder of a thing, below ``$XDG_CACHE_HOME`` or ``~/.cache``; it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "keras-adl-zoo" / name


@contextlib.contextmanager
def locked(root: pathlib.Path) -> Iterator[None]:
    """Makes and locks the cache, and removes what killed processes left there.

    Args:
        root: The parent of the folders that :func:`folder` returns.

    Raises:
        UserError: The cache cannot be written, or another process holds it for an hour.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / _LOCK).touch()
    except OSError as error:
        raise UserError(
            f"{root}: the cache cannot be written ({error.strerror}): name another folder with XDG_CACHE_HOME"
        ) from error
    with files.locked(root / _LOCK, f"{root}: another process has been fetching there for an hour", _PATIENCE):
        files.remove_partial(root)
        yield
