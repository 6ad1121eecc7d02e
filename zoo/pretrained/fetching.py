"""Fetching published weights into a cache: ``python -m zoo.weights``."""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil
import urllib.request
from collections.abc import Sequence

from tqdm import tqdm

from zoo import registry
from zoo.checks import ZooError
from zoo.pretrained import i3d_checkpoint
from zoo.shared import command_line, files

KINETICS400 = "kinetics400"
KINETICS_CLASSES = 400
PUBLISHED = "https://github.com/google-deepmind/kinetics-i3d/raw/master/data/checkpoints/rgb_imagenet"
CHECKPOINT = "model.ckpt"
_FILES = (f"{CHECKPOINT}.data-00000-of-00001", f"{CHECKPOINT}.index")


def cached(name: str) -> pathlib.Path:
    """The cache folder of published weights, below ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "keras-adl-zoo" / name


def fetch(source: str | os.PathLike = PUBLISHED, sha256: str | None = None) -> pathlib.Path:
    """Downloads the published I3D weights into the cache.

    They are kept only after they were read into an I3D without an error.

    Args:
        source: URL or folder of the checkpoint's files.
        sha256: Expected SHA-256 of the data file, in hexadecimal; default: not compared. Damage is noticed without it
            too: the index has a checksum of every variable.

    Returns:
        The folder of the checkpoint.

    Raises:
        ZooError: A file cannot be fetched, has another SHA-256 or is not the published one; the cache is unchanged.
    """
    folder = cached(KINETICS400)
    with files.whole_folder(folder) as partial:
        for name in _FILES:
            digest = _download(f"{_as_url(source)}/{name}", partial / name)
            if sha256 and name == _FILES[0] and digest != sha256.lower():
                raise ZooError(f"{source}/{name}: SHA-256 is {digest}, expected {sha256}: not kept")
        model = registry.get("i3d").builder(num_classes=KINETICS_CLASSES)
        i3d_checkpoint.load(model, partial / CHECKPOINT)
        if folder.exists():
            shutil.rmtree(folder)
    return folder


def _as_url(source):
    return source if "://" in str(source) else pathlib.Path(source).resolve().as_uri()


def _download(url, target):
    """Reads a URL into a file; returns the SHA-256."""
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as response, open(target, "wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            name = url.rpartition("/")[2]
            with tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=None) as bar:
                while block := response.read(1 << 20):
                    digest.update(block)
                    file.write(block)
                    bar.update(len(block))
    except OSError as error:  # URLError among them
        raise ZooError(f"{url} cannot be fetched: {getattr(error, 'reason', error)}") from error
    if size and target.stat().st_size != size:
        raise ZooError(f"{url}: ended after {target.stat().st_size} of {size} bytes: try again")
    return digest.hexdigest()


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m zoo.weights``; returns the exit status."""
    parser = command_line.ArgumentParser(
        prog="python -m zoo.weights",
        description="Fetch the published I3D weights (ImageNet, then Kinetics-400) for weights='kinetics400'.",
        epilog=f"They are published at {PUBLISHED}.",
    )
    parser.add_argument(
        "--source", default=PUBLISHED, metavar="URL|DIR", help="location of the files (default: where published)"
    )
    parser.add_argument("--sha256", metavar="HEX", help="expected SHA-256 of the data file")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    folder = fetch(arguments.source, arguments.sha256)
    print(f"read and kept in {folder}: zoo.build(..., weights='{KINETICS400}')")
    return 0
