"""Files and folders that exist whole or not at all, and the lock on a folder that is being written."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import filecmp
import hashlib
import json
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from zoo.shared.errors import UserError

_PARTIAL = ".partial-"
_END = 1 << 16  # bytes
_NAME = 100  # bytes of the file's own name that a temporary name keeps: names have 255 at most
_BLOCK = 1 << 20  # bytes


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, mode: int | None = None) -> Iterator[pathlib.Path]:
    """Gives a temporary path to write; it takes the place of ``path`` if the block ends without an error.

    Args:
        path: The file to make or replace; its folder is made if missing.
        mode: Permissions of the file from its first byte on; default: those of the process.

    Example:
        >>> import tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "a.txt") as partial:
        ...     _ = partial.write_text("whole")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        if mode is not None:
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        if error.errno is not None:  # an error of the system: one from a write does not name the file
            error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary folder to fill; it gets the name ``path`` if the block ends without an error.

    Args:
        path: The folder to make; it must not exist yet.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            sync(file)
        sync(partial)
        partial.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: pathlib.Path) -> pathlib.Path:
    """A unique temporary name, as two processes may write at once; Keras and matplotlib need the file's suffix."""
    name = os.fsencode(path.name)[-_NAME:].decode("utf-8", "ignore")
    return path.with_name(f"{_PARTIAL}{uuid.uuid4().hex[:8]}-{name}")


def remove_partial(folder: str | os.PathLike) -> None:
    """Removes what killed processes left of :func:`whole_file` and :func:`whole_folder`; the folder must be locked."""
    for partial in pathlib.Path(folder).glob(f"{_PARTIAL}*"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str, mode: int | None = None) -> None:
    """Writes a text file whole, in UTF-8; ``mode`` as in :func:`whole_file`."""
    with whole_file(path, mode) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, value: object) -> None:
    """Writes JSON whole."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def sha256_of(path: Any) -> str:
    """SHA-256 of a file's contents, in hexadecimal; it is read in blocks.

    Args:
        path: The file: a ``pathlib.Path``, or an object that opens as one does, such as a path in a store.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path: str | os.PathLike) -> str:
    """Identifies a large file without reading it whole: a digest of its size, its beginning and its end.

    Args:
        path: The file.

    Returns:
        Hexadecimal digits; empty for a file that cannot be read.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            ends = file.read(_END)
            file.seek(max(size - _END, len(ends)))
            return hashlib.sha256(f"{size} ".encode() + ends + file.read(_END)).hexdigest()[:32]
    except OSError:
        return ""


def copies(paths: Iterable[str]) -> dict[str, str]:
    """Files that have the same content as an earlier file.

    Only files of one size and :func:`fingerprint` are read whole. Empty files, and those that cannot be read, are no
    copies.

    Args:
        paths: The files.

    Returns:
        Path of each copy -> path of the first file with the same content.
    """
    of_size: dict[int, list[str]] = collections.defaultdict(list)
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            of_size[os.path.getsize(path)].append(path)
    firsts: dict[str, list[str]] = collections.defaultdict(list)  # of a fingerprint
    found = {}
    for path in (path for size, same in of_size.items() if size and len(same) > 1 for path in same):
        with contextlib.suppress(OSError):
            known = firsts[fingerprint(path)]
            first = next((other for other in known if filecmp.cmp(other, path, shallow=False)), None)
            if first is None:
                known.append(path)
            else:
                found[path] = first
    return found


def sync(path: str | os.PathLike) -> None:
    """Flushes a file's content, or a folder's entries, to the disk, so that they outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: str | os.PathLike, message: str, patience: float = 0.0) -> Iterator[int]:
    """Holds a lock file against other processes.

    The kernel holds the lock until this process, and every process that inherited its descriptor, closes it or ends.

    Args:
        path: The lock file, made if missing; its folder must exist.
        message: The error message if another process holds the lock.
        patience: Seconds to wait for the other process to end.

    Yields:
        The descriptor of the lock file.

    Raises:
        UserError: Another process holds the lock, or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise UserError(message) from None
                time.sleep(0.05)
            except OSError as error:
                folder = pathlib.Path(path).parent
                raise UserError(f"{folder}: its file system has no locks ({error.strerror}): use another") from None
        yield descriptor
    finally:
        os.close(descriptor)
