"""Datasets: what each contains, how its clips are named, and how its original download is read.

* :mod:`~tfrecords.datasets.base`: the interface, :class:`~tfrecords.datasets.base.Source`, and what readers share.
* :mod:`~tfrecords.datasets.openni`: what datasets recorded with OpenNI share.
* One module per dataset, or per group of datasets that differ in little but their clips. A dataset is found by the
  ``name`` of its class.
"""

from __future__ import annotations

import ast
import importlib
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfrecords.datasets.base import Source

_FIRST = ("ntu", "smarthome", "nucla", "cad", "msr_daily", "sbu")  # the order of lists; other modules follow by name


def _declared(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """``(dataset, class)`` of each class with a ``name``; the module is not imported, which would load OpenCV."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "name":
                    yield ast.literal_eval(line.value), node.name


def _find() -> dict[str, tuple[str, str]]:
    """Dataset -> module and class."""
    paths = {path.stem: path for path in sorted(pathlib.Path(__file__).parent.glob("*.py"))}
    modules = [*_FIRST, *(module for module in paths if module not in _FIRST)]
    return {
        dataset: (module, source)
        for module in modules
        for dataset, source in sorted(_declared(paths[module]), key=lambda found: (len(found[0]), found[0]))
    }


_SOURCES = _find()
NAMES = tuple(_SOURCES)


def get(name: str) -> type[Source]:
    """The :class:`~tfrecords.datasets.base.Source` class of a dataset.

    Args:
        name: One of :data:`NAMES`.

    Returns:
        The class.
    """
    module, source = _SOURCES[name]
    return getattr(importlib.import_module(f"tfrecords.datasets.{module}"), source)
