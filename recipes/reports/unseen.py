"""Whether a run was trained on the clips that it is evaluated on, where the data differ from the training's."""

from __future__ import annotations

import concurrent.futures
import itertools

from recipes.run_directory import RunDirectory
from tfrecords import protocols
from tfrecords.reading import random_access
from tfrecords.reading.pipeline import Records
from tfrecords.reading.random_access import Location
from zoo.shared import messages
from zoo.shared.errors import UserError

_SHARDS = 16  # that are read at once


def check(run: RunDirectory, records: Records, protocol: str, split: str) -> None:
    """Compares the clips of a split with those of the training, and warns where they cannot be compared.

    Ids of your own clips are names of files, which may occur in another folder too. So two clips are the same if their
    records are. Where only their ids are the same, a warning says so.

    Args:
        run: The run directory.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.

    Raises:
        UserError: The run was trained on some of the clips.
    """
    data, stated = run.recipe.data, run.environment["data"]
    if records.sha256 == stated["manifest_sha256"] or (protocol, split) == (data.protocol, "train"):
        return
    if split == "test" and data.protocol in records.protocols and protocols.follow_from_ids(records.dataset):
        return  # every conversion tests the same clips
    clips = f"{protocol} {split} clips of {records.directory}"
    trained = _training_data(stated)
    if trained is None:
        messages.warn(
            f"{run.path}: the data of its training ({stated['path']}) are gone or were changed, so that it may have "
            f"been trained on {clips}"
        )
        return
    seen, tested = _clips(trained, data.protocol, data.train_on), _clips(records, protocol, split)
    named = [clip for clip in tested if clip in seen]
    same = [clip for clip in named if tested[clip].checksum() == seen[clip].checksum()]
    if same:
        raise UserError(
            f"{run.path} was trained on {len(same)} of the {len(tested)} {clips}, such as {same[0]}: evaluate data "
            "without them, or train on these data"
        )
    if named:
        messages.warn(
            f"{run.path} was trained on clips with the names of {len(named)} of the {len(tested)} {clips}, such as "
            f"{named[0]}, and other content: unless they are others, the figures are too good"
        )


def _training_data(stated: dict[str, str]) -> Records | None:
    """The data of a training as they were; ``None`` where they are gone or were changed."""
    try:
        found = Records(stated["path"])
    except UserError:
        return None
    return found if found.sha256 == stated["manifest_sha256"] else None


def _clips(records: Records, protocol: str, split: str) -> dict[str, Location]:
    """Id of each clip of a split -> the location of its record, of which only a few bytes are read."""
    with concurrent.futures.ThreadPoolExecutor(_SHARDS) as pool:
        shards = pool.map(random_access.outlines, records.shards(protocol, split))
        return {clip.info.id: place for place, clip in itertools.chain.from_iterable(shards)}
