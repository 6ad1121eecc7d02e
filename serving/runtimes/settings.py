"""The recorded properties of a version in a format other than SavedModel, and the packages that it needs."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from zoo.shared import extras, files, messages
from zoo.shared.errors import UserError

FILE = "assets/runtime.json"
_printing = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Settings:
    """The recorded properties of a version in a format other than SavedModel.

    Attributes:
        outputs: Output name -> shape without the batch axis.
        compute: Type that the network is computed in, ``float32`` or ``bfloat16``.
        int8: How a network in 8-bit integers was made and its loss of accuracy; empty for other networks.
    """

    outputs: dict[str, tuple[int, ...]]
    compute: str = "float32"
    int8: dict[str, Any] = dataclasses.field(default_factory=dict)

    def write(self, version_folder: pathlib.Path) -> None:
        """Writes the file of a version under construction."""
        files.write_json(version_folder / FILE, dataclasses.asdict(self))


def read(version_folder: str | os.PathLike) -> Settings:
    """The :class:`Settings` of a version; ``UserError`` if they are missing or damaged."""
    path = pathlib.Path(version_folder) / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        shapes = {str(name): tuple(int(size) for size in shape) for name, shape in values["outputs"].items()}
        return Settings(outputs=shapes, compute=str(values["compute"]), int8=dict(values["int8"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = messages.one_line(error)
        raise UserError(f"{path} is missing or damaged ({reason}), expected an export of serving.export") from error


def imported(module: str) -> Any:
    """Imports a module of an optional package, which belongs to an extra.

    Raises:
        UserError: The package is not installed, or cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == package:
            extra = f"{extras.PROJECT}[{extras.EXTRAS[package]}]"
            raise UserError(f"this needs the package {package}: pip install '{extra}'") from error
        raise UserError(f"{package} cannot be imported: {messages.one_line(error)}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops all output while it is active, that of C++ too: converters and interpreters have no option for this."""
    with _printing, open(os.devnull, "wb") as nothing:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(nothing.fileno(), number)
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, original in zip((1, 2), kept):
                os.dup2(original, number)
                os.close(original)
