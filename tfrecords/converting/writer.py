"""The writer: from a source to shards and a manifest, in parallel, and whole whatever happens on the way.

::

    index ─► cells ─► plan: shard ─► clips       a function of the clips' ids alone
                        │
           process pool │ one shard at a time per worker
                        ▼
             <shard>.<name>.tmp ─► fsync ─► rename ─► side-car in .conversion/ ─► ... ─► manifest.json

A shard under its final name is complete, and a side-car says that it is; a conversion that was stopped goes on with
the shards that have none. The side-cars hold all that the manifest needs, so it comes out the same however often the
conversion was stopped and by however many workers it was done.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
import uuid
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import reduction

from tfrecords import manifest, protocols, schema, storage
from tfrecords.errors import RejectedClip
from zoo import skeletons
from zoo.shared import command_line
from zoo.shared.errors import UserError

CLIPS_PER_SHARD = 128
_STATE = ".conversion"  # plan and side-cars of a conversion that is not complete
_LOCK = ".lock"
# Characters of a cell's name in file names: with the shard's number and the ending of a temporary file, 255 in all, the
# most that file systems take.
_LONGEST_STEM = 194
_LOCK_PATIENCE = 2.0  # seconds a killed conversion's workers may take to end


@dataclasses.dataclass(frozen=True)
class Shard:
    """A file of the converted dataset and the clips it is to hold.

    Attributes:
        cell: Name of the cell.
        number: Number of the shard in the cell, from 0.
        total: Shards in the cell.
        clips: :class:`~tfrecords.schema.ClipInfo` of its clips, in order.
    """

    cell: str
    number: int
    total: int
    clips: tuple

    @property
    def file(self):
        """Name of the file."""
        return f"{_stem(self.cell)}-{self.number:05d}-of-{self.total:05d}.tfrecord"


def _stem(cell):
    """How names of a cell's files begin: its name, of which a sum stands for the end where it is too long."""
    if len(cell) <= _LONGEST_STEM:
        return cell
    digest = hashlib.sha256(cell.encode()).hexdigest()[:16]
    return f"{cell[: _LONGEST_STEM - len(digest) - 1]}-{digest}"


def plan(source, clips, *, shards=None, clips_per_shard=CLIPS_PER_SHARD):
    """Which clip goes where: a function of the clips' ids alone.

    A cell's clips, sorted by id, are dealt to its shards in turn. Ids begin with the class or the setup in most
    datasets, so each shard holds a mixture, which shuffling with a finite buffer relies on.

    Args:
        source: The :class:`~tfrecords.datasets.base.Source`, or its class, whose protocols they are divided by.
        clips: :class:`~tfrecords.schema.ClipInfo` of every clip.
        shards: Shards per cell (fewer where a cell has fewer clips); default: as ``clips_per_shard`` says.
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
    cells = collections.defaultdict(list)
    for info in sorted(clips, key=lambda info: info.id):
        cells[protocols.cell_name(source.splits_of(info))].append(info)
    out = []
    for cell, members in sorted(cells.items()):
        total = min(shards, len(members)) if shards else -(-len(members) // clips_per_shard)
        out += [Shard(cell, number, total, tuple(members[number::total])) for number in range(total)]
    return out


def convert(source, directory, *, shards=None, clips_per_shard=CLIPS_PER_SHARD, workers=None, progress=None, run=None):
    """Converts a source into a folder, or goes on where an earlier call was stopped.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        directory: The folder; made if need be.
        shards: Shards per cell; default: as ``clips_per_shard`` says.
        clips_per_shard: Largest number of clips in a shard.
        workers: Processes; default: one per core.
        progress: A function of the number of clips that returns a progress bar (``tqdm``'s interface).
        run: What writes the shards, such as :func:`tfrecords.converting.beam.run` gives; default: processes of this
            machine.

    Returns:
        ``(manifest, written)``: the manifest, and whether this call wrote it (``False``: it was there).

    Raises:
        UserError: The folder holds another conversion or is being written, a worker was killed, or no clip could be
            converted.
    """
    directory = storage.folder(directory)
    index = source.index()
    todo = plan(source, index.clips, shards=shards, clips_per_shard=clips_per_shard)
    identity = _identity(source, index, {"shards": shards} if shards else {"clips_per_shard": clips_per_shard})

    def write(missing, bar, lock):
        return (run or _run)(source, missing, directory, workers, bar, lock)

    def finish(reports):
        return _manifest(source, index, identity, reports)

    out, written = _fill(directory, identity, {s: len(s.clips) for s in todo}, write, finish, progress)
    if not out["counts"]["clips"]:
        raise UserError(f"no clip of {source.name} could be converted: {summary_of_rejected(out['rejected'])}")
    return out, written


def rewrite(found, directory, encode, *, options, changes, progress=None):
    """Writes a converted dataset anew into another folder: the same clips in the same shards, other contents.

    As :func:`convert` it goes on where an earlier call was stopped.

    Args:
        found: The manifest of the converted dataset.
        directory: The new folder; made if need be.
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
    identity = {
        "schema_version": schema.SCHEMA_VERSION,
        "dataset": found["dataset"],
        "options": json.loads(json.dumps({**found["options"], **options})),
        "source_clips": found["counts"]["clips"],
        "source_sha256": hashlib.sha256("\n".join(shard["sha256"] for shard in shards).encode()).hexdigest(),
    }

    def write(missing, bar, lock):
        reports = {}
        for shard in missing:

            def records(shard=shard):
                for record in encode(shard.file):
                    yield record
                    bar.update(1)

            reports[shard] = {
                "file": shard.file,
                "clips": shard.clips,
                **_write_records(directory / shard.file, records()),
            }
            manifest.write_json(_sidecar(directory, shard), reports[shard])
        return reports

    def finish(reports):
        by_file = {report["file"]: report for report in reports.values()}
        cells = {
            name: {**cell, "shards": [by_file[shard["file"]] for shard in cell["shards"]]}
            for name, cell in found["cells"].items()
        }
        return {**found, **identity, **changes, "cells": cells}

    todo = {_Rewritten(shard["file"], shard["clips"]): shard["clips"] for shard in shards}
    return _fill(directory, identity, todo, write, finish, progress)


@dataclasses.dataclass(frozen=True)
class _Rewritten:
    """A shard written anew: its file's name and its number of clips."""

    file: str
    clips: int


def _fill(directory, identity, todo, write, finish, progress):
    """Brings a folder to completion, whatever of it is there.

    Args:
        directory: The folder; made if need be.
        identity: What makes the dataset this one and no other (:func:`_identity`).
        todo: Shard -> number of clips.
        write: Function of the shards that are missing, a progress bar and the lock that writes them; shard -> report.
        finish: Function of all reports that makes the manifest.
        progress: As in :func:`convert`.

    Returns:
        ``(manifest, written)``; without a clip, nothing is kept.
    """
    complete = _complete(directory, identity)
    if complete:
        return complete, False
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--out {directory}: a file is in the way, expected a folder or a new name") from None
    with _Lock(directory / _LOCK) as lock:
        complete = _complete(directory, identity)  # another conversion may have ended while this one waited
        if complete:
            return complete, False
        (directory / _STATE).mkdir(exist_ok=True)
        _claim(directory, identity)
        _clean(directory, todo)
        reports = {shard: finished(directory, shard) for shard in todo}
        missing = [shard for shard, report in reports.items() if report is None]
        with _bar(progress, sum(todo.values())) as bar:
            bar.update(sum(clips for shard, clips in todo.items() if reports[shard]))
            try:
                reports.update(write(missing, bar, lock))
            finally:
                _clean(directory, todo)
        out = finish(reports)
        if out["counts"]["clips"]:
            manifest.save(directory, out)
        else:
            for shard in todo:
                (directory / shard.file).unlink()
        # Another conversion may find the manifest and remove it as well.
        shutil.rmtree(directory / _STATE, ignore_errors=True)
    return out, True


def dry_run(source, *, workers=None, progress=None):
    """Reads and checks every clip of a source and writes nothing.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        workers: Processes; default: one per core.
        progress: As in :func:`convert`.

    Returns:
        The manifest a conversion would write, its shards without sizes and sums.
    """
    index = source.index()
    todo = plan(source, index.clips)
    with _bar(progress, len(index.clips)) as bar:
        reports = _run(source, todo, None, workers, bar, None)
    return _manifest(source, index, _identity(source, index, {}), {shard: reports[shard] for shard in todo})


def summary_of_rejected(rejected, first=3):
    """One line on the clips that were not converted: how many, and the reasons of the first."""
    if not rejected:
        return "0 rejected"
    reasons = "; ".join(f"{entry['id']}: {entry['reason']}" for entry in rejected[:first])
    return f"{len(rejected)} rejected ({reasons}{'; ...' if len(rejected) > first else ''})"


# ------------------------------------------------------------------------------------------- one shard, in a worker


def write_shard(source, shard, directory, on_clip=lambda: None):
    """Writes one shard, or with ``directory=None`` reads its clips without writing.

    Args:
        source: A :class:`~tfrecords.datasets.base.Source`.
        shard: A :class:`Shard`.
        directory: Where to, a path; ``None``: nowhere.
        on_clip: Called after each clip.

    Returns:
        The shard's report, what the manifest says of it: ``file``, ``clips``, ``bytes``, ``sha256``, ``frames``,
        ``parts``, ``counts`` per class, subject and camera, and ``rejected``.
    """
    report = {"file": shard.file, "clips": 0, "frames": 0, "parts": list(schema.PARTS), "rejected": []}
    counts = {name: collections.Counter() for name in ("per_class", "per_subject", "per_camera")}

    def records():
        for info in shard.clips:
            try:
                clip = source.read(info)
                yield schema.encode(clip)
            except RejectedClip as reason:
                report["rejected"].append({"id": info.id, "reason": str(reason)})
            else:
                report["clips"] += 1
                report["frames"] += clip.num_frames
                report["parts"] = [part for part in report["parts"] if part in clip.images]
                counts["per_class"][clip.label_text] += 1
                counts["per_subject"][str(info.subject)] += 1
                counts["per_camera"][str(info.camera)] += 1
            on_clip()

    if directory is None:
        collections.deque(records(), maxlen=0)
    else:
        report.update(_write_records(directory / shard.file, records()))
    report["counts"] = {name: dict(counter) for name, counter in counts.items()}
    if directory is not None:
        # Only now does the shard count as done: a kill before this line leaves work to repeat, never to trust.
        manifest.write_json(_sidecar(directory, shard), report)
    return report


def _write_records(path, records):
    """Writes a TFRecord file under a temporary name and renames it; its size and SHA-256."""
    import tensorflow as tf

    # A name of its own keeps apart the files of a killed conversion's last worker and of the run that takes over, and
    # those of workers on several machines, where process ids may be equal.
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        try:
            with tf.io.TFRecordWriter(str(temporary)) as writer:
                for record in records:
                    writer.write(record)
        except tf.errors.ResourceExhaustedError as error:
            raise OSError(errno.ENOSPC, error.message, str(path)) from None  # what the system had told TensorFlow
        except tf.errors.OpError as error:
            raise UserError(f"{path}: cannot be written ({error.message})") from None
        digest, size = hashlib.sha256(), 0
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
                size += len(block)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    manifest.sync_folder(path.parent)
    return {"bytes": size, "sha256": digest.hexdigest()}


# ------------------------------------------------------------------------------------------------------- the pool


@dataclasses.dataclass
class _Worker:
    """What a worker process knows: set once when it starts."""

    source: object
    directory: object
    done: object  # clips done by all workers

    def on_clip(self):
        with self.done.get_lock():
            self.done.value += 1


_worker = None


def _start_worker(lock, *args):
    """Runs first in every worker process."""
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Kept open for as long as the process lives: the folder stays locked until the last worker has gone.
    _start_worker.lock = lock
    # One thread per worker, as the workers share the cores; read by OpenCV and TensorFlow when they are loaded.
    os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
    command_line.quiet_tensorflow()
    _worker = _Worker(*args)


def _end_with_parent():
    """Ends this process as soon as its parent is gone, even by SIGKILL: an orphan must not write on."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(shard):
    return write_shard(_worker.source, shard, _worker.directory, _worker.on_clip)


def _run(source, shards, directory, workers, bar, lock):
    """Writes shards in worker processes; shard -> report."""
    if not shards:
        return {}
    context = multiprocessing.get_context("spawn")  # TensorFlow's threads do not survive a fork
    done = context.Value("L", 0)
    others = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(
        max_workers=min(workers or _cores(), len(shards)),
        mp_context=context,
        initializer=_start_worker,
        initargs=(lock, source, directory, done),
    )
    reports, shown = {}, 0
    try:
        with _ctrl_c_held():  # workers inherit it: ctrl-C reaches the whole group, and ending them is our task
            futures = {pool.submit(_work, shard): shard for shard in shards}
        pending = set(futures)
        while pending:
            finished, pending = concurrent.futures.wait(
                pending, timeout=0.2, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in finished:
                reports[futures[future]] = future.result()
            # Read without its lock, which a killed worker may hold.
            now = done.get_obj().value
            bar.update(now - shown)
            shown = now
    except BaseException as error:
        # At once: a worker may be in the middle of a long clip. Nothing it leaves counts as complete.
        for worker in set(multiprocessing.active_children()) - others:
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "a worker process was killed (out of memory?); complete shards are kept, run the same command to go "
                "on, with fewer --workers if memory is short"
            ) from None
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return reports


def _cores():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


@contextlib.contextmanager
def _ctrl_c_held():
    """Holds ctrl-C back inside a ``with`` block; it is delivered at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _NoBar:
    """Stands in for a progress bar nobody asked for."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, _):
        pass


def _bar(progress, total):
    return progress(total) if progress else _NoBar()


# ------------------------------------------------------------------------------------------------- the folder's state


class _Lock:
    """An exclusive lock on a folder, held until its process and every worker that inherited it are gone."""

    def __init__(self, path):
        self._path = path

    def __enter__(self):
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        until = time.monotonic() + _LOCK_PATIENCE
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                if time.monotonic() > until:
                    os.close(self._file)
                    raise UserError(
                        f"{self._path.parent}: another conversion is writing there, wait for it or use another --out"
                    ) from None
                time.sleep(0.05)
            except OSError as error:
                os.close(self._file)
                raise UserError(
                    f"{self._path.parent}: its file system has no locks ({error.strerror}): use another --out"
                ) from None

    def __exit__(self, *_):
        os.close(self._file)

    def __getstate__(self):
        # A duplicate of the descriptor shares the lock itself: flock's belongs to the open file, not to the process.
        return reduction.DupFd(self._file)

    def __setstate__(self, duplicate):
        self._file = duplicate.detach()


def _identity(source, index, sharding):
    """What makes a conversion this one and no other; JSON values."""
    ids = "\n".join(info.id for info in index.clips)
    return {
        "schema_version": schema.SCHEMA_VERSION,
        "dataset": source.name,
        "options": json.loads(json.dumps({**source.options(), **sharding})),
        "source_clips": len(index.clips),
        "source_sha256": hashlib.sha256(ids.encode()).hexdigest(),
    }


def _complete(directory, identity):
    """The manifest, if the folder holds this very conversion, complete; ``UserError`` if it holds another."""
    if not (directory / schema.MANIFEST).exists():
        return None
    found = manifest.load(directory)
    _same(directory, found, identity)
    shutil.rmtree(directory / _STATE, ignore_errors=True)  # left when a kill hit between the manifest and this
    return found


def _claim(directory, identity):
    """Notes what is being converted here; ``UserError`` if something else is."""
    path = directory / _STATE / "plan.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        manifest.write_json(path, identity)
    else:
        _same(directory, found, identity)


def _same(directory, found, identity):
    def flat(values):
        return {**{key: values.get(key) for key in identity if key != "options"}, **values.get("options", {})}

    found, wanted = flat(found), flat(identity)
    names = {"source_clips": "number of clips in the source", "source_sha256": "ids of the clips in the source"}
    for key in sorted({*found, *wanted}, key=lambda key: (key != "dataset", key)):
        if found.get(key) != wanted.get(key):
            values = f"{found.get(key, 'not set')}, now {wanted.get(key, 'not set')}"
            what = f"{names.get(key, key)} {values}" if key != "source_sha256" else f"other {names[key]}"
            raise UserError(
                f"{directory}: holds another conversion ({what}): "
                "use another --out, or remove the folder to convert anew"
            )


def _clean(directory, shards):
    """Removes what a killed conversion left unfinished."""
    mine = {shard.file for shard in shards}
    for path in [*directory.glob("*.tmp"), *(directory / _STATE).glob("*.tmp")]:
        name = path.name.rsplit(".", 2)[0]
        if name in mine or path.parent.name == _STATE or name == schema.MANIFEST:
            path.unlink(missing_ok=True)


def _sidecar(directory, shard):
    return directory / _STATE / f"{shard.file}.json"


def finished(directory, shard):
    """The report of a shard that is complete in a folder, else ``None``."""
    try:
        report = json.loads(_sidecar(directory, shard).read_text(encoding="utf-8"))
        return report if (directory / shard.file).stat().st_size == report["bytes"] else None
    except FileNotFoundError:
        return None


# ------------------------------------------------------------------------------------------------------- the manifest


def _manifest(source, index, identity, reports):
    """The manifest from the shards' reports; ``reports`` in the order of the plan."""
    cells = {}
    totals = {name: collections.Counter() for name in ("per_class", "per_subject", "per_camera")}
    parts = set(schema.PARTS)
    frames = 0
    rejected = [{"id": clip, "reason": reason} for clip, reason in index.rejected]
    for shard, report in reports.items():
        cell = cells.setdefault(
            shard.cell,
            {"splits": source.splits_of(shard.clips[0]), "clips": 0, "shards": []},
        )
        cell["clips"] += report["clips"]
        cell["shards"].append({key: report[key] for key in ("file", "clips", "bytes", "sha256") if key in report})
        frames += report["frames"]
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
