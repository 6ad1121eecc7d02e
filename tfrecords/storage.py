"""Where a converted dataset lies: a folder of this machine, or ``s3://bucket/folder``.

Readers take either; what is written goes to a folder, from which it can be copied. TensorFlow reads S3 with
tensorflow-io, which is loaded when the first such address is opened.
"""

import errno
import functools
import os
import pathlib
import types

from zoo.shared import command_line
from zoo.shared.errors import UserError

_S3 = "s3://"
_CHECK = "check the address and what the environment says: AWS_REGION, AWS_ACCESS_KEY_ID, ..., or S3_ENDPOINT"


def location(path):
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


def folder(path):
    """A path to write to, a ``pathlib.Path``; ``UserError`` for an address of a store, or a name that is no UTF-8."""
    if "://" in os.fspath(path):
        raise UserError(f"{path}: results are written to a folder of this machine: give one, and copy it afterwards")
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        raise UserError(f"{shown}: not UTF-8, which TensorFlow wants of names: give another folder") from None
    return pathlib.Path(path)


def hint(path):
    """Why a file may seem to be missing though it is there, in words; empty for a folder of this machine."""
    # TensorFlow's file system says of a store that does not answer, or not to us, what it says of a missing file.
    return _CHECK if isinstance(path, Remote) else ""


class Remote:
    """A folder or file of an object store, with those methods of ``pathlib.Path`` that readers of datasets use.

    Args:
        address: Such as ``s3://bucket/folder``.
    """

    def __init__(self, address):
        self.address = address.rstrip("/")

    def __str__(self):
        return self.address

    __fspath__ = __str__

    def __repr__(self):
        return f"Remote({self.address!r})"

    def __truediv__(self, name):
        return Remote(f"{self.address}/{name}")

    def resolve(self):
        """Itself: an address is absolute."""
        return self

    def stat(self):
        """An object with ``st_size``, in bytes."""
        return types.SimpleNamespace(st_size=_call(self, lambda gfile: gfile.stat(self.address).length))

    def is_file(self):
        """Whether there is such a file."""
        return _call(self, lambda gfile: gfile.exists(self.address) and not gfile.isdir(self.address))

    def is_dir(self):
        """Whether there are files below it."""
        return _call(self, lambda gfile: gfile.isdir(self.address))

    def open(self, mode):
        """A file object to read bytes from (``mode`` is ``rb``)."""
        return _call(self, lambda gfile: gfile.GFile(self.address, mode))

    def read_bytes(self):
        """The whole content."""
        return _call(self, lambda gfile: gfile.GFile(self.address, "rb").read())

    def read_text(self, encoding):
        """The whole content as text."""
        return self.read_bytes().decode(encoding)


def _call(remote, function):
    """What ``function`` makes of ``tf.io.gfile``; its errors become those of a file system."""
    tf = _tensorflow()
    try:
        return function(tf.io.gfile)
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(remote)) from None
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())[:200]
        raise UserError(f"{remote}: cannot be read ({reason}), {_CHECK}") from None


@functools.cache
def _tensorflow():
    """TensorFlow with the file systems of tensorflow-io."""
    try:
        import tensorflow_io  # noqa: F401 (registers them)
    except ImportError:
        raise UserError(
            f"{_S3} needs tensorflow-io, which has no build for this Python's TensorFlow: use Python 3.9 to 3.11 "
            "(pip install tensorflow-io), or copy the folder to this machine"
        ) from None
    import tensorflow as tf

    command_line.skip_destructors()
    return tf
