"""The location of a converted dataset: a folder of this machine, or ``s3://bucket/folder``.

Readers accept either. Writers write to a folder, from which it can be copied. TensorFlow reads S3 with tensorflow-io,
which is loaded when the first such address is opened.
"""

from __future__ import annotations

import errno
import functools
import os
import pathlib
import types
from collections.abc import Callable
from typing import Any

from zoo.shared import command_line, messages
from zoo.shared.errors import UserError

_S3 = "s3://"
_CHECK = "check the address and the environment variables: AWS_REGION, AWS_ACCESS_KEY_ID, ..., or S3_ENDPOINT"


def location(path: str | os.PathLike | Remote) -> pathlib.Path | Remote:
    """A path to read from.

    Args:
        path: Text, a ``pathlib.Path`` or a :class:`Remote`.

    Returns:
        A ``pathlib.Path``, or a :class:`Remote` where the text begins with ``s3://``.

    Raises:
        UserError: Another kind of address.

    Example:
        >>> location("data/nucla") / "manifest.json"
        PosixPath('data/nucla/manifest.json')
        >>> str(location("s3://bucket/nucla/") / "manifest.json")
        's3://bucket/nucla/manifest.json'
    """
    if isinstance(path, Remote):
        return path
    text = os.fspath(path)
    if text.startswith(_S3):
        return Remote(text)
    if "://" in text:
        raise UserError(f"{text}: expected a folder of this machine or {_S3}bucket/folder")
    return pathlib.Path(text)


def folder(path: str | os.PathLike) -> pathlib.Path:
    """A path to write to, a ``pathlib.Path``; ``UserError`` for an address of a store, or a name that is not UTF-8."""
    if "://" in os.fspath(path):
        raise UserError(f"{path}: results are written to a folder of this machine: give one, and copy it afterwards")
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UserError(f"{shown}: not UTF-8, which TensorFlow requires of names: give another folder") from None
    return pathlib.Path(path)


def hint(path: pathlib.Path | Remote) -> str:
    """Why an existing file may seem to be missing; empty for a folder of this machine."""
    # TensorFlow reports a store that does not respond, or that denies access, as a missing file.
    return _CHECK if isinstance(path, Remote) else ""


class Remote:
    """A folder or file of an object store, with those methods of ``pathlib.Path`` that readers of datasets use.

    Args:
        address: Such as ``s3://bucket/folder``.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def __str__(self) -> str:
        return self.address

    __fspath__ = __str__

    def __repr__(self) -> str:
        return f"Remote({self.address!r})"

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.address}/{name}")

    def resolve(self) -> Remote:
        """Itself: an address is absolute."""
        return self

    def stat(self) -> types.SimpleNamespace:
        """An object with ``st_size``, in bytes."""
        return types.SimpleNamespace(st_size=_call(self, lambda gfile: gfile.stat(self.address).length))

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return _call(self, lambda gfile: gfile.exists(self.address) and not gfile.isdir(self.address))

    def is_dir(self) -> bool:
        """Whether there are files below it."""
        return _call(self, lambda gfile: gfile.isdir(self.address))

    def open(self, mode: str) -> Any:
        """A file object to read bytes from (``mode`` is ``rb``)."""
        return _call(self, lambda gfile: gfile.GFile(self.address, mode))

    def read_bytes(self) -> bytes:
        """The whole content."""
        return _call(self, lambda gfile: gfile.GFile(self.address, "rb").read())

    def read_text(self, encoding: str) -> str:
        """The whole content as text."""
        return self.read_bytes().decode(encoding)


def _call(remote: Remote, function: Callable[[Any], Any]) -> Any:
    """The result of ``function(tf.io.gfile)``; its errors become those of a file system."""
    tf = _tensorflow()
    try:
        return function(tf.io.gfile)
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(remote)) from None
    except tf.errors.OpError as error:
        reason = messages.one_line(error.message)
        raise UserError(f"{remote}: cannot be read ({reason}), {_CHECK}") from None


@functools.cache
def _tensorflow():
    """TensorFlow with the file systems of tensorflow-io."""
    try:
        import tensorflow_io  # noqa: F401 (registers them)
    except ImportError:
        raise UserError(
            f"{_S3} needs tensorflow-io, which later Pythons lack: use Python 3.9 to 3.11 and pip "
            "install 'keras-adl-zoo[s3]', or copy the folder to this machine"
        ) from None
    import tensorflow as tf

    command_line.skip_destructors()
    return tf
