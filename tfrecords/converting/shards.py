"""Shards: which clips they hold, and how one is written whole.

A shard under its final name is complete, and a side-car in the folder ``.conversion`` proves it. The side-car holds all
that the manifest needs of the shard.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfrecords import protocols, schema
from tfrecords.converting import plausibility
from tfrecords.errors import RejectedClip
from zoo.shared import files, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.datasets.base import Source

CLIPS_PER_SHARD = 128
STATE = ".conversion"  # folder of the plan and the side-cars of a conversion that is not complete
COUNTS = ("per_class", "per_subject", "per_camera")
# Largest number of characters of a split group's name in a file name. With the shard's number and the prefix of a
# temporary name, the file name stays below 255 characters, the limit of file systems.
_LONGEST_STEM = 194


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of the converted dataset and the clips it is to hold.

    Attributes:
        group: Name of the split group.
        number: Number of the shard in the group, from 0.
        total: Shards in the group.
        clips: :class:`~tfrecords.schema.ClipInfo` of its clips, in order.
    """

    group: str
    number: int
    total: int
    clips: tuple[schema.ClipInfo, ...]

    @property
    def file(self) -> str:
        """Name of the file."""
        return f"{_stem(self.group)}-{self.number:05d}-of-{self.total:05d}.tfrecord"


def _stem(group):
    """Beginning of the names of a group's files: the group's name; a hash replaces the end of a long name."""
    if len(group) <= _LONGEST_STEM:
        return group
    digest = hashlib.sha256(group.encode()).hexdigest()[:16]
    return f"{group[: _LONGEST_STEM - len(digest) - 1]}-{digest}"


def plan(
    source: Source,
    clips: Iterable[schema.ClipInfo],
    *,
    shards: int | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> list[Shard]:
    """Which clip goes into which shard: a function of the clips' ids alone.

    The clips of a split group, sorted by id, are dealt to its shards in turn. Ids begin with the class or the setup in
    most datasets, so each shard holds a mixture, which shuffling with a finite buffer relies on.

    Args:
        source: The :class:`~tfrecords.datasets.base.Source` whose protocols divide the clips.
        clips: :class:`~tfrecords.schema.ClipInfo` of every clip.
        shards: Shards per split group (fewer where a group has fewer clips); default: from ``clips_per_shard``.
        clips_per_shard: Largest number of clips in a shard.

    Returns:
        A list of :class:`Shard`.

    Example:
        >>> from tfrecords.datasets.synthetic import SynthADL
        >>> source = SynthADL(subjects=2, repetitions=1)
        >>> clips = [source.parse_id(f"S001C001P002R001A00{activity}") for activity in (1, 2, 3)]
        >>> [len(shard.clips) for shard in plan(source, clips, clips_per_shard=2)]
        [2, 1]
    """
    groups = collections.defaultdict(list)
    for info in sorted(clips, key=lambda info: info.id):
        groups[protocols.split_group_name(source.splits_of(info))].append(info)
    out = []
    for group, members in sorted(groups.items()):
        total = min(shards, len(members)) if shards else -(-len(members) // clips_per_shard)
        out += [Shard(group, number, total, tuple(members[number::total])) for number in range(total)]
    return out


def write_shard(
    source: Source, shard: Shard, directory: pathlib.Path | None, on_clip: Callable[[], object] = lambda: None
) -> dict[str, Any]:
    """Writes one shard, or with ``directory=None`` reads its clips without writing.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        shard: A :class:`Shard`.
        directory: Folder to write to; ``None``: nothing is written.
        on_clip: Called after each clip.

    Returns:
        The shard's report, from which the manifest is made: ``file``, ``clips``, ``bytes``, ``sha256``, ``frames``,
        ``parts``, ``counts`` per class, subject and camera, ``poses`` (the results of
        :func:`tfrecords.converting.plausibility.measure` for its clips), ``rejected``, and ``without_poses``, the
        numbers of the records whose poses are all zeros.
    """
    report: dict[str, Any] = {
        "file": shard.file, "clips": 0, "frames": 0, "parts": list(schema.PARTS), "poses": [], "rejected": [],
        "without_poses": [],
    }  # fmt: skip
    counts: dict[str, collections.Counter] = {name: collections.Counter() for name in COUNTS}

    def records():
        for info in shard.clips:
            try:
                clip = source.read(info)
                yield schema.encode(clip)
            except RejectedClip as reason:
                report["rejected"].append({"id": info.id, "reason": str(reason)})
            except Exception:  # not expected: a report of it needs the id of the clip
                messages.warn(f"the conversion ends with clip {info.id}")
                raise
            else:
                if clip.pose_confidence is not None and not np.any(clip.pose_confidence):
                    report["without_poses"].append(report["clips"])
                report["clips"] += 1
                report["frames"] += clip.num_frames
                report["parts"] = [part for part in report["parts"] if part in clip.images]
                report["poses"] += plausibility.measure(clip.pose_xyz, clip.pose_confidence, clip.layout)
                counts["per_class"][clip.label_text] += 1
                counts["per_subject"][str(info.subject)] += 1
                counts["per_camera"][str(info.camera)] += 1
            on_clip()

    if directory is None:
        collections.deque(records(), maxlen=0)
    else:
        report.update(write_records(directory / shard.file, records()))
    report["counts"] = {name: dict(counter) for name, counter in counts.items()}
    if directory is not None:
        save_report(directory, report)
    return report


def write_records(path: pathlib.Path, records: Iterable[bytes]) -> dict[str, Any]:
    """Writes a TFRecord file whole; returns its size and SHA-256, ``bytes`` and ``sha256``."""
    import tensorflow as tf

    with files.whole_file(path) as partial:
        try:
            with tf.io.TFRecordWriter(str(partial)) as writer:
                for record in records:
                    writer.write(record)
        except tf.errors.ResourceExhaustedError as error:  # TensorFlow's error for a full disk
            raise OSError(errno.ENOSPC, error.message, str(path)) from None
        except tf.errors.OpError as error:
            raise UserError(f"{path}: cannot be written ({error.message})") from None
        digest, size = hashlib.sha256(), 0
        with open(partial, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
                size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}


def save_report(directory: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes a shard's side-car. From now on the shard counts as complete; until now a kill loses its work."""
    files.write_json(_sidecar(directory, report["file"]), report)


def finished(directory: pathlib.Path, file: str) -> dict[str, Any] | None:
    """The report of the shard in a file, if it is complete, else ``None``."""
    try:
        report = json.loads(_sidecar(directory, file).read_text(encoding="utf-8"))
        return report if (directory / file).stat().st_size == report["bytes"] else None
    except FileNotFoundError:
        return None


def _sidecar(directory, file):
    return directory / STATE / f"{file}.json"
