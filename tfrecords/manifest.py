"""The manifest of a converted dataset: what its shards hold, written once they are all complete.

Without ``manifest.json`` a folder is no dataset, however many shards it holds. See ``docs/data.md`` for its fields.
"""

from __future__ import annotations

import collections
import concurrent.futures
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords import protocols, schema, storage
from zoo.shared import files, messages
from zoo.shared.errors import UserError

SPLIT_GROUPS = "cells"  # the manifest's key of the split groups: name -> splits, clips and shards

WITHOUT_POSES = "without_poses"  # key of a shard: numbers of the records whose poses are all zeros, if there are any

_FIELDS = (
    *("schema_version", "dataset", "labels", "skeleton_layout", "persons", "joints", "parts", "fps"),
    *(SPLIT_GROUPS, "protocols", "counts", "options", "rejected"),
)


def load(directory: str | os.PathLike | storage.Remote) -> dict[str, Any]:
    """Reads the manifest of a converted dataset and checks that every shard it lists exists and has its full size.

    Args:
        directory: Folder written by ``python -m tfrecords.convert``, or its address, see :mod:`tfrecords.storage`.

    Returns:
        The manifest as a dictionary.

    Raises:
        UserError: No manifest, not readable, of another schema version, or a shard is missing or of another size.

    Example:
        >>> load("no_such_folder")
        Traceback (most recent call last):
        ...
        zoo.shared.errors.UserError: no_such_folder: no manifest.json there, expected a folder written by ...
    """
    directory = storage.location(directory)
    path = directory / schema.MANIFEST
    again = "convert the dataset again into another folder"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        hint = storage.hint(directory) or "a conversion that was interrupted has none: run it again"
        raise UserError(
            f"{directory}: no {schema.MANIFEST} there, expected a folder written by `python -m tfrecords.convert` "
            f"({hint})"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), check its mode and owner") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), {again}") from None
    version = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if version != schema.SCHEMA_VERSION:
        raise UserError(f"{path}: schema version {version}, expected {schema.SCHEMA_VERSION}: {again}")
    missing = [field for field in _FIELDS if field not in manifest]
    if missing:
        raise UserError(f"{path}: without {', '.join(missing)}: {again}")
    # In parallel: an object store answers sixteen requests in the time of one.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        problems = pool.map(lambda shard: _wrong_with(directory / shard["file"], shard["bytes"]), shards(manifest))
    for problem in filter(None, problems):
        raise UserError(f"{problem}: {again}")
    return manifest


def _wrong_with(path, expected):
    """What is wrong with a shard's size, in words; ``None`` if nothing is."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"{path}: {error.strerror}, the manifest lists it"
    return None if size == expected else f"{path}: {size} bytes, expected {expected}"


def save(directory: str | os.PathLike, manifest: dict[str, Any]) -> None:
    """Writes the manifest; a reader finds the old one, none, or the whole new one.

    Args:
        directory: The converted dataset's folder.
        manifest: The manifest as a dictionary.
    """
    files.write_json(pathlib.Path(directory) / schema.MANIFEST, manifest)


def class_counts(manifest: Mapping[str, Any], protocol: str, splits: Sequence[str]) -> dict[str, int] | None:
    """Class -> clips in some splits of a protocol; a class without a clip is not in it.

    Args:
        manifest: The manifest.
        protocol: One of its protocols.
        splits: Some of ``train``, ``val`` and ``test``.

    Returns:
        A dictionary; ``None`` where an earlier version converted the dataset and did not count.
    """
    found: collections.Counter = collections.Counter()
    for group in (manifest[SPLIT_GROUPS][name] for split in splits for name in manifest["protocols"][protocol][split]):
        if "per_class" not in group:
            return None
        found.update(group["per_class"])
    return dict(found)


def clips_without_poses(manifest: Mapping[str, Any], protocol: str) -> dict[str, int]:
    """Split -> its clips in which nobody's pose is known; splits without such clips are left out.

    Args:
        manifest: The manifest.
        protocol: One of its protocols.
    """
    found = {}
    for split in protocols.SPLITS:
        groups = [manifest[SPLIT_GROUPS][name] for name in manifest["protocols"][protocol][split]]
        found[split] = sum(len(shard.get(WITHOUT_POSES, ())) for group in groups for shard in group["shards"])
    return {split: count for split, count in found.items() if count}


def warn_of_classes(directory: object, lacking: Mapping[str, Sequence[str]]) -> None:
    """Prints one line on stderr where classes have no clip to train on.

    Args:
        directory: The dataset's folder.
        lacking: Protocol -> classes without a clip to train on.
    """
    protocols = collections.defaultdict(list)  # the same classes under several protocols are named once
    for protocol, labels in lacking.items():
        protocols[messages.first_of(labels)].append(protocol)
    text = "; ".join(f"{labels} under {messages.first_of(names)}" for labels, names in protocols.items() if labels)
    if text:
        messages.warn(f"{directory}: no clip to train on of the classes {text}: a model cannot learn them")


def shards(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """All shards of a manifest, in order: dictionaries with ``file``, ``clips``, ``bytes`` and ``sha256``."""
    return [shard for group in manifest[SPLIT_GROUPS].values() for shard in group["shards"]]
