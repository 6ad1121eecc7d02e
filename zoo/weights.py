"""``python -m zoo.weights`` fetches published weights; the module also offers functions of :mod:`zoo.pretrained`."""

import importlib
import sys
from typing import Any

from zoo.shared import command_line

_MODULES = {
    "cached": "zoo.pretrained.fetching",
    "fetch": "zoo.pretrained.fetching",
    "main": "zoo.pretrained.fetching",
    "initialise": "zoo.pretrained.reading",
    "load_model": "zoo.pretrained.reading",
    "load_weights": "zoo.pretrained.reading",
    "transfer_weights": "zoo.pretrained.transfer",
}


def __getattr__(name: str) -> Any:
    """A function of :mod:`zoo.pretrained`: TensorFlow is imported when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


if __name__ == "__main__":
    command_line.quiet_tensorflow()
    from zoo.pretrained.fetching import main

    sys.exit(command_line.run(main))
