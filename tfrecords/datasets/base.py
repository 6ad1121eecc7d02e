"""What a dataset's module provides: the interface between an original download and the writer."""

import abc
import dataclasses

from tfrecords.errors import UserError


@dataclasses.dataclass(frozen=True)
class Index:
    """What a source contains.

    Attributes:
        clips: :class:`~tfrecords.schema.ClipInfo` of every clip to convert, sorted by id, ids unique.
        rejected: ``(id, reason)`` of what looks like a clip and cannot be one.
    """

    clips: tuple
    rejected: tuple = ()


class Source(abc.ABC):
    """A dataset as its authors distribute it, found in a folder.

    A source is pickled into the conversion's worker processes: it holds paths and options, no open files.

    Class attributes:
        name: The dataset's name in commands and manifests.
        labels: Class names; a clip's label is an index into them.
        layout: Skeleton layout, a key of :data:`zoo.skeletons.LAYOUTS`.
        persons: Persons M a pose holds.
        fps: Frames per second.
        help: One line for the command line.
    """

    name: str
    labels: tuple
    layout: str
    persons: int
    fps: float
    help: str

    @classmethod
    @abc.abstractmethod
    def add_arguments(cls, parser):
        """Adds the dataset's own options to ``python -m tfrecords.convert <name>``."""

    @classmethod
    @abc.abstractmethod
    def from_arguments(cls, arguments):
        """The source that parsed arguments describe; :class:`~tfrecords.errors.UserError` when it is not there."""

    @staticmethod
    @abc.abstractmethod
    def parse_id(clip_id):
        """The :class:`~tfrecords.schema.ClipInfo` a clip's id stands for; ``ValueError`` if it is no id."""

    @staticmethod
    def performance(info):
        """What a clip shows, however many clips show it: a key that validation never separates from training.

        By default the same action by the same subject for the same time in the same setup, whichever camera saw it.

        Args:
            info: The clip's :class:`~tfrecords.schema.ClipInfo`.

        Returns:
            Text.
        """
        return f"{info.setup}/{info.label}/{info.subject}/{info.repetition}"

    @abc.abstractmethod
    def options(self):
        """What the records depend on besides the source's files, as JSON values; recorded in the manifest."""

    @abc.abstractmethod
    def index(self):
        """The :class:`Index` of the source: names only, cheap; :class:`~tfrecords.errors.UserError` if empty."""

    @abc.abstractmethod
    def read(self, info):
        """The :class:`~tfrecords.schema.Clip` of one index entry; raises ``RejectedClip`` with the reason."""


def require_folder(path):
    """The path, if it is a readable folder; :class:`~tfrecords.errors.UserError` otherwise."""
    try:
        next(path.iterdir(), None)
    except FileNotFoundError:
        raise UserError(f"--source {path}: no such folder, expected the dataset's download there") from None
    except NotADirectoryError:
        raise UserError(f"--source {path}: is a file, expected the folder that holds the dataset") from None
    except PermissionError:
        raise UserError(f"--source {path}: not readable, check its mode and owner") from None
    return path
