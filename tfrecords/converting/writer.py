"""The writer: from a source to shards and a manifest, in parallel and without half-written files if interrupted.

::

    index ─► split groups ─► plan: shard ─► clips       a function of the clips' ids alone
                               │
                  process pool │ one shard at a time per worker
                               ▼
           temporary name ─► fsync ─► rename ─► side-car in .conversion/ ─► ... ─► manifest.json

A conversion that was stopped goes on with the shards that have no side-car. The manifest comes from the side-cars, so
it is the same however often the conversion was stopped and however many workers there were.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tfrecords import manifest, protocols, schema, storage
from tfrecords.converting import plausibility, state
from tfrecords.converting import shards as shard_files
from tfrecords.converting import workers as worker_processes
from tfrecords.converting.shards import CLIPS_PER_SHARD
from tfrecords.manifest import WITHOUT_POSES
from zoo import skeletons
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.datasets.base import Source

Progress = Callable[[int], Any]
"""A function of the number of clips that returns a progress bar (``tqdm``'s interface)."""


def convert(
    source: Source,
    directory: str | os.PathLike,
    *,
    shards: int | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    workers: int | None = None,
    progress: Progress | None = None,
    run: Callable | None = None,
) -> tuple[dict[str, Any], bool]:
    """Converts a source into a folder, or goes on where an earlier call was stopped.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        directory: The folder; made if missing.
        shards: Shards per split group; default: from ``clips_per_shard``.
        clips_per_shard: Largest number of clips in a shard.
        workers: Processes; default: one per core.
        progress: A function of the number of clips that returns a progress bar (``tqdm``'s interface).
        run: Function that writes the shards, such as the result of :func:`tfrecords.converting.beam.run`; default:
            :func:`tfrecords.converting.workers.run`, which uses processes of this machine.

    Returns:
        ``(manifest, written)``: the manifest, and whether this call wrote it (``False``: it was there).

    Raises:
        UserError: The folder holds another conversion or is being written, a worker was killed, or no clip could be
            converted.
    """
    directory = storage.folder(directory)
    index = source.index()
    plan = shard_files.plan(source, index.clips, shards=shards, clips_per_shard=clips_per_shard)
    by_file = {shard.file: shard for shard in plan}
    identity = _identity(source, index, {"shards": shards} if shards else {"clips_per_shard": clips_per_shard})

    def write(missing, bar, lock):
        todo = [by_file[file] for file in missing]
        reports = (run or worker_processes.run)(source, todo, directory, workers, bar, lock)
        return {shard.file: report for shard, report in reports.items()}

    def finish(reports):
        return _manifest(source, index, identity, plan, reports)

    todo = {shard.file: len(shard.clips) for shard in plan}
    out, written = state.fill(directory, identity, todo, write, finish, progress)
    if not out["counts"]["clips"]:
        raise UserError(f"no clip of {source.name} could be converted: {summary_of_rejected(out['rejected'])}")
    return out, written


def rewrite(
    found: dict[str, Any],
    directory: str | os.PathLike,
    encode: Callable[[str], Iterable[bytes]],
    *,
    options: dict[str, Any],
    changes: dict[str, Any],
    progress: Progress | None = None,
) -> tuple[dict[str, Any], bool]:
    """Writes a converted dataset anew into another folder: the same clips in the same shards, other contents.

    As :func:`convert` it goes on where an earlier call was stopped.

    Args:
        found: The manifest of the converted dataset.
        directory: The new folder; made if missing.
        encode: A function of a shard's file name that yields its new records, one per clip.
        options: What the new records depend on besides the old ones, as JSON values.
        changes: Fields in which the new manifest differs.
        progress: As in :func:`convert`.

    Returns:
        ``(manifest, written)`` as :func:`convert`.

    Raises:
        UserError: The folder holds something else or is being written.
    """
    directory = storage.folder(directory)
    shards = manifest.shards(found)
    todo = {shard["file"]: shard["clips"] for shard in shards}
    unposed = {shard["file"]: {key: shard[key] for key in (WITHOUT_POSES,) if key in shard} for shard in shards}
    identity = {
        "schema_version": schema.SCHEMA_VERSION,
        "dataset": found["dataset"],
        "options": json.loads(json.dumps({**found["options"], **options})),
        "source_clips": found["counts"]["clips"],
        "source_sha256": hashlib.sha256("\n".join(shard["sha256"] for shard in shards).encode()).hexdigest(),
    }

    def records(file, bar):
        for record in encode(file):
            yield record
            bar.update(1)

    def write(missing, bar, lock):
        reports = {}
        for file in missing:
            written = shard_files.write_records(directory / file, records(file, bar))
            reports[file] = {"file": file, "clips": todo[file], **written, **unposed[file]}
            shard_files.save_report(directory, reports[file])
        return reports

    def finish(reports):
        cells = {
            name: {**cell, "shards": [reports[shard["file"]] for shard in cell["shards"]]}
            for name, cell in found["cells"].items()
        }
        return {**found, **identity, **changes, "cells": cells}

    return state.fill(directory, identity, todo, write, finish, progress)


def dry_run(source: Source, *, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Reads and checks every clip of a source and writes nothing.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        workers: Processes; default: one per core.
        progress: As in :func:`convert`.

    Returns:
        The manifest that a conversion would write, without sizes and checksums of its shards.
    """
    index = source.index()
    plan = shard_files.plan(source, index.clips)
    with state.progress_bar(progress, len(index.clips)) as bar:
        reports = worker_processes.run(source, plan, None, workers, bar, None)
    by_file = {shard.file: report for shard, report in reports.items()}
    return _manifest(source, index, _identity(source, index, {}), plan, by_file)


def summary_of_rejected(rejected: Sequence[dict[str, str]], first: int = 3) -> str:
    """One line on the clips that were not converted: how many, and the reasons of the first."""
    if not rejected:
        return "0 rejected"
    reasons = "; ".join(f"{entry['id']}: {entry['reason']}" for entry in rejected[:first])
    return f"{len(rejected)} rejected ({reasons}{'; ...' if len(rejected) > first else ''})"


def _identity(source, index, sharding):
    """What distinguishes this conversion from any other; JSON values."""
    ids = "\n".join(info.id for info in index.clips)
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "dataset": source.name,
        "options": json.loads(json.dumps({**source.options(), **sharding})),
        "source_clips": len(index.clips),
        "source_sha256": hashlib.sha256(ids.encode()).hexdigest(),
    }


def _manifest(source, index, identity, plan, reports):
    """The manifest of the shards of a plan from their reports, file name -> report."""
    cells = {}  # the split groups; manifests call them cells
    totals = {name: collections.Counter() for name in shard_files.COUNTS}
    parts = set(schema.PARTS)
    frames, poses = 0, []
    rejected = [{"id": clip, "reason": reason} for clip, reason in index.rejected]
    for shard in plan:
        report = reports[shard.file]
        cell = cells.setdefault(
            shard.group,
            {"splits": source.splits_of(shard.clips[0]), "clips": 0, "per_class": {}, "shards": []},
        )
        cell["clips"] += report["clips"]
        for label, clips in report["counts"]["per_class"].items():
            cell["per_class"][label] = cell["per_class"].get(label, 0) + clips
        kept = {key: report[key] for key in ("file", "clips", "bytes", "sha256") if key in report}
        if report.get(WITHOUT_POSES):
            kept[WITHOUT_POSES] = report[WITHOUT_POSES]
        cell["shards"].append(kept)
        frames += report["frames"]
        poses += report.get("poses", [])  # a conversion that was begun by an earlier version has none
        rejected += report["rejected"]
        for name, total in totals.items():
            total.update(report["counts"][name])
        if report["clips"]:
            parts &= set(report["parts"])
    layout = skeletons.get(source.layout) if source.layout else None
    return {
        **identity,
        "labels": list(source.labels),
        "skeleton_layout": source.layout,
        "persons": source.persons,
        "joints": layout.num_joints if layout else 0,
        "parts": [part for part in schema.PARTS if part in parts],
        "fps": source.fps,
        "poses": plausibility.summary(poses, source.layout),
        "cells": cells,
        "protocols": {name: _protocol(name, facts, cells) for name, facts in source.protocols().items()},
        "counts": {
            "clips": sum(cell["clips"] for cell in cells.values()),
            "frames": frames,
            "per_class": {label: totals["per_class"][label] for label in source.labels},
            "per_subject": _by_number(totals["per_subject"]),
            "per_camera": _by_number(totals["per_camera"]),
        },
        "rejected": sorted(rejected, key=lambda entry: entry["id"]),
    }


def _protocol(name, facts, cells):
    members = {s: [cell for cell, v in cells.items() if v["splits"][name] == s] for s in protocols.SPLITS}
    return {
        **facts,
        **members,
        "clips": {split: sum(cells[cell]["clips"] for cell in members[split]) for split in protocols.SPLITS},
    }


def _by_number(counter):
    return {key: counter[key] for key in sorted(counter, key=int)}
