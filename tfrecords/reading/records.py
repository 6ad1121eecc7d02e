"""An opened converted dataset: its protocols, its shards, and whether it can feed a model."""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecords import manifest, protocols, schema, storage
from tfrecords.reading import order
from tfrecords.reading.inputs import Inputs
from zoo.shared.errors import UserError

_FRAMED_CLIPS = 64  # clips of a split that are read: enough to find a person in one of them
TRAIN_AND_VAL = "train_and_val"  # both splits as one, for training when no epoch or parameter is to be chosen


class Records:
    """An opened converted dataset.

    Args:
        directory: Folder with shards and manifest, or its address ``s3://bucket/folder``.

    Raises:
        UserError: No complete dataset is there.
    """

    def __init__(self, directory: str | os.PathLike | storage.Remote) -> None:
        self.directory = storage.location(directory)
        self.manifest = manifest.load(self.directory)

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.manifest["dataset"]

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest, which holds the SHA-256 of all shards; it identifies the conversion."""
        return hashlib.sha256((self.directory / schema.MANIFEST).read_bytes()).hexdigest()

    @property
    def layout(self) -> str:
        """Skeleton layout; empty without poses."""
        return self.manifest["skeleton_layout"]

    @property
    def persons(self) -> int:
        """Persons M in the stored poses."""
        return self.manifest["persons"]

    @property
    def parts(self) -> tuple[str, ...]:
        """Body parts whose pictures are stored."""
        return tuple(self.manifest["parts"])

    @property
    def granularities(self) -> tuple[int, ...]:
        """Numbers of segments G whose features are stored."""
        return tuple(self.manifest.get("features", {}).get("granularities", ()))

    @property
    def feature_size(self) -> int:
        """Values D of a stored segment's feature; 0 without features."""
        return self.manifest.get("features", {}).get("size", 0)

    @property
    def protocols(self) -> tuple[str, ...]:
        """Names of the evaluation protocols."""
        return tuple(self.manifest["protocols"])

    def framing(self, protocol: str, split: str, part: str = "full_body") -> str:
        """How the pictures of a body part were cut out of the frames, one of :data:`.pictures.FRAMINGS`.

        The boxes of the split's first clips show it. If some clips are person crops, clips of whole frames are those in
        which nobody was found. Of a whole frame that is not a square (the part ``full_image``) the model is fed the
        centre.
        """
        spec = {f"box/{part}": tf.io.FixedLenSequenceFeature([4], tf.float32, allow_missing=True)}
        shards = [str(path) for path in self.shards(protocol, split)]
        clips = order.read(shards).take(_FRAMED_CLIPS) if shards else ()
        found = "centre"  # where no box is stored, nothing is known
        for record in clips:
            boxes = tf.io.parse_single_sequence_example(record, {}, spec)[1][f"box/{part}"].numpy()
            if len(boxes):
                if schema.follow_persons(boxes):
                    return "person"
                left, top, right, bottom = boxes[0]
                found = "whole" if right - left == bottom - top else "centre"
        return found

    def _protocol(self, protocol: str) -> dict[str, Any]:
        if protocol not in self.manifest["protocols"]:
            raise UserError(f"{self.dataset} has no protocol {protocol!r}, valid: {', '.join(self.protocols)}")
        return self.manifest["protocols"][protocol]

    def has_seen(self, other: str, protocol: str, split: str) -> bool:
        """Whether a run under ``other`` was trained, or chosen, on some of the clips of a protocol's split."""
        seen, tested = self._protocol(other), self._protocol(protocol)  # split -> its split groups
        return bool({*seen["train"], *seen["val"]} & {*tested[split]})

    def labels_of(self, protocol: str) -> tuple[str, ...]:
        """Names of a protocol's classes, in the order of its label numbers: all of the dataset's, or a part."""
        return tuple(self._protocol(protocol).get("labels", self.manifest["labels"]))

    def label_numbers(self, protocol: str) -> tuple[int, ...]:
        """The protocol's number of every stored label; -1 where it does not use the class."""
        numbers = {name: number for number, name in enumerate(self.labels_of(protocol))}
        return tuple(numbers.get(name, -1) for name in self.manifest["labels"])

    def _split_groups(self, protocol: str, split: str) -> list[dict[str, Any]]:
        found, groups = self._protocol(protocol), self.manifest[manifest.SPLIT_GROUPS]
        if split == TRAIN_AND_VAL:
            return [groups[name] for part in ("train", "val") for name in found[part]]
        if split not in protocols.SPLITS:
            raise UserError(f"no split {split!r}, valid: {', '.join(protocols.SPLITS)}")
        return [groups[name] for name in found[split]]

    def shards(self, protocol: str, split: str) -> list[pathlib.Path | storage.Remote]:
        """Paths of the shards of one split of a protocol."""
        files = [shard["file"] for group in self._split_groups(protocol, split) for shard in group["shards"]]
        return [self.directory / file for file in files]

    def count(self, protocol: str, split: str, inputs: Inputs | None = None) -> int:
        """Clips in one split of a protocol.

        Args:
            protocol: The protocol.
            split: One of its splits, or :data:`TRAIN_AND_VAL`.
            inputs: Count the clips that a model with such inputs is trained on: where it is fed poses alone, those in
                which somebody's pose is known.
        """
        return sum(self.shard_counts(protocol, split, inputs))

    def class_counts(self, protocol: str, split: str, inputs: Inputs | None = None) -> np.ndarray:
        """Clips of each of :meth:`labels_of` in one split; ``inputs`` as for :meth:`count`."""
        splits = ("train", "val") if split == TRAIN_AND_VAL else (split,)
        counted = manifest.class_counts(self.manifest, protocol, splits)
        left_out = self.left_out(protocol, split, inputs)
        if counted is not None and not any(left_out):
            return np.array([counted.get(label, 0) for label in self.labels_of(protocol)])
        # The manifest of an earlier version, or one with records left out: a few bytes of every record are read.
        stored = order.Index.of(self.shards(protocol, split), left_out).label
        numbers = np.asarray(self.label_numbers(protocol))[stored]
        return np.bincount(numbers, minlength=len(self.labels_of(protocol)))

    def warn_of_classes(self, protocol: str, split: str, inputs: Inputs) -> None:
        """Prints one line on stderr that names the classes without a clip in the split that is trained on.

        ``inputs`` as for :meth:`count`.
        """
        clips = self.class_counts(protocol, split, inputs)
        lacking = [label for label, count in zip(self.labels_of(protocol), clips) if not count]
        manifest.warn_of_classes(self.directory, {protocol: lacking})

    def left_out(self, protocol: str, split: str, inputs: Inputs | None) -> list[list[int]]:
        """For each of :meth:`shards` the numbers of the records that :meth:`count` does not count."""
        shards = [shard for group in self._split_groups(protocol, split) for shard in group["shards"]]
        poses_alone = inputs is not None and inputs.poses_alone
        return [shard.get(manifest.WITHOUT_POSES, []) if poses_alone else [] for shard in shards]

    def shard_counts(self, protocol: str, split: str, inputs: Inputs | None = None) -> list[int]:
        """Clips in each of :meth:`shards`; ``inputs`` as for :meth:`count`."""
        counts = [shard["clips"] for group in self._split_groups(protocol, split) for shard in group["shards"]]
        return [count - len(numbers) for count, numbers in zip(counts, self.left_out(protocol, split, inputs))]

    def steps(self, protocol: str, split: str, batch: int, workers: int = 1, inputs: Inputs | None = None) -> int:
        """Batches of an epoch of :func:`~tfrecords.reading.pipeline.training`, for each of the workers.

        ``inputs`` as for :meth:`count`.
        """
        return self.count(protocol, split, inputs) // (batch * workers)

    def check(self, inputs: Inputs, protocol: str, split: str) -> None:
        """Raises :class:`~zoo.shared.errors.UserError` unless this dataset can feed such a model from that split."""
        self.check_stored(inputs)
        trained = self.manifest.get("features", {}).get("trained_under") if inputs.granularities else None
        if trained and trained != protocol:
            raise UserError(
                f"{self.directory} holds features of a network that was trained under {trained}, so they must not "
                f"be tested under {protocol}: extract features with a network trained under {protocol}"
            )
        if not self.count(protocol, split):
            raise UserError(f"{self.directory} has no clips in {protocol} {split}: convert more of the dataset")
        if inputs.reads_poses or inputs.pose_xy:
            clip = schema.decode(
                next(order.read([str(path) for path in self.shards(protocol, split)]).take(1).as_numpy_iterator())
            )
            if inputs.reads_poses and clip.pose_xyz is None:
                raise UserError(
                    f"{self.directory} has joints in pixels alone (clip {clip.info.id}), the model reads metres: "
                    "convert files of poses that have xyz, or estimate poses from the videos"
                )
            if inputs.pose_xy and (clip.pose_xy is None or inputs.stored_part("full_body") not in clip.boxes):
                raise UserError(
                    f"{self.directory} has no pixel coordinates of joints (clip {clip.info.id}), which the model "
                    "reads: convert a dataset that has pose/xy, or choose a model that does not read pose_xy"
                )

    def check_stored(self, inputs: Inputs) -> None:
        """Raises :class:`~zoo.shared.errors.UserError` unless this dataset stores what such a model is fed."""
        needed = [inputs.stored_part(part) for part in inputs.parts]
        missing = sorted(set(needed) - set(self.parts)) if inputs.frames else []
        if missing:
            stored = ", ".join(self.parts) or "none"
            raise UserError(
                f"{self.directory} stores no pictures of {', '.join(missing)} (stored: {stored}): "
                f"convert again with --parts {','.join(needed)}"
            )
        missing = [str(g) for g in inputs.granularities if g not in self.granularities]
        if missing:
            stored = ", ".join(map(str, self.granularities)) or "none"
            wanted = ",".join(map(str, inputs.granularities))
            raise UserError(
                f"{self.directory} stores no features of {', '.join(missing)} segments (stored: {stored}): "
                f"make them with recipes/extract_features.py --granularities {wanted}"
            )
        if inputs.granularities and inputs.feature_size != self.feature_size:
            sizes = f"of {self.feature_size} values, the model expects {inputs.feature_size}"
            raise UserError(f"{self.directory} has features {sizes}: extract them with the same network")
        persons, layout = inputs.stored_pose
        if inputs.reads_poses and layout != self.layout:
            raise UserError(f"{self.directory} has {self.layout or 'no'} skeletons, the model expects {layout}")
        if inputs.reads_poses and persons != self.persons:
            raise UserError(f"{self.directory} has poses of {self.persons} persons, the model expects {persons}")
