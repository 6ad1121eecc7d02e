"""The state of a folder that a conversion fills: what it holds, what is missing, and whether another process writes."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from tfrecords import manifest, schema
from tfrecords.converting import shards
from zoo.shared import files
from zoo.shared.errors import UserError

_LOCK = ".lock"
LOCK_PATIENCE = 10.0  # seconds a killed command's workers may take to end: those that are starting take longest
_WORDS = {"source_clips": "number of clips in the source"}
_CHANGED = {
    "source_sha256": "other ids of the clips in the source",
    "csv": "its CSV had another content",
    "files": "of videos or poses that have changed since, or were not there",
}
_LATER = ("files",)  # keys that earlier versions did not write


def fill(
    directory: pathlib.Path,
    identity: dict[str, Any],
    todo: dict[str, int],
    write: Callable[[Sequence[str], Any, int], dict[str, dict]],
    finish: Callable[[dict[str, dict]], dict[str, Any]],
    progress: Callable[[int], Any] | None,
) -> tuple[dict[str, Any], bool]:
    """Completes a folder, whichever shards it already holds.

    Args:
        directory: The folder; made if missing.
        identity: What distinguishes this dataset from any other, as JSON values.
        todo: File name of each shard -> its number of clips.
        write: Writes the shards that are missing. A function of their file names, a progress bar and the descriptor of
            the lock; returns file name -> report.
        finish: Function of all reports that makes the manifest.
        progress: A function of the number of clips that returns a progress bar (``tqdm``'s interface).

    Returns:
        ``(manifest, written)``: the manifest, and whether this call wrote it; if no clip was written, no file is kept.

    Raises:
        UserError: The folder holds another conversion or is being written.
    """
    complete = _complete(directory, identity)
    if complete:
        return complete, False
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--out {directory}: a file is in the way, expected a folder or a new name") from None
    busy = f"{directory}: another conversion is writing there, wait for it or use another --out"
    with files.locked(directory / _LOCK, busy, LOCK_PATIENCE) as lock:
        complete = _complete(directory, identity)  # another conversion may have ended while this one waited
        if complete:
            return complete, False
        (directory / shards.STATE).mkdir(exist_ok=True)
        _claim(directory, identity)
        _clean(directory, todo)
        found = {file: shards.finished(directory, file) for file in todo}
        missing = [file for file, report in found.items() if report is None]
        with progress_bar(progress, sum(todo.values())) as bar:
            bar.update(sum(clips for file, clips in todo.items() if found[file]))
            try:
                written = write(missing, bar, lock)
            finally:
                _clean(directory, todo)
        out = finish({file: report or written[file] for file, report in found.items()})
        if out["counts"]["clips"]:
            manifest.save(directory, out)
        else:
            for file in todo:
                (directory / file).unlink()
        # Another conversion may find the manifest and remove it as well.
        shutil.rmtree(directory / shards.STATE, ignore_errors=True)
    return out, True


def _complete(directory, identity):
    """The manifest, if the folder holds this conversion and is complete; ``UserError`` if it holds another."""
    if not (directory / schema.MANIFEST).exists():
        return None
    found = manifest.load(directory)
    _require_same(directory, found, identity)
    shutil.rmtree(directory / shards.STATE, ignore_errors=True)  # there if killed after the manifest was written
    return found


def _claim(directory, identity):
    """Writes down what is being converted into the folder; ``UserError`` if it is another conversion."""
    path = directory / shards.STATE / "plan.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        files.write_json(path, identity)
    else:
        _require_same(directory, found, identity)


def _require_same(directory, found, identity):
    """``UserError`` that names the first difference between two identities, if there is one."""

    def flat(values):
        return {**{key: values.get(key) for key in identity if key != "options"}, **values.get("options", {})}

    found, wanted = flat(found), flat(identity)
    for key in sorted({*found, *wanted}, key=lambda key: (key != "dataset", key)):
        if found.get(key) != wanted.get(key) and (key in found or key not in _LATER):
            values = f"{found.get(key, 'not set')}, now {wanted.get(key, 'not set')}"
            what = _CHANGED.get(key) or f"{_WORDS.get(key, key)} {values}"
            raise UserError(
                f"{directory}: holds another conversion ({what}): "
                "use another --out, or remove the folder to convert anew"
            )


def _clean(directory, todo):
    """Removes what a killed conversion left unfinished."""
    for folder in (directory, directory / shards.STATE):
        files.remove_partial(folder)
    for path in directory.glob("*.tmp"):  # of earlier versions
        if path.name.rsplit(".", 2)[0] in todo:
            path.unlink(missing_ok=True)


class _NoBar:
    """Replaces a progress bar where none is wanted."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, _):
        pass


def progress_bar(progress: Callable[[int], Any] | None, total: int) -> Any:
    """The progress bar that ``progress`` makes, or one that shows nothing; used in a ``with``."""
    return progress(total) if progress else _NoBar()
