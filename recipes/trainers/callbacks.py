"""Further callbacks of a training: trackers of experiments, and code of your own (``train.py --callback NAME``).

At the beginning of each stage, ``train.py`` calls the named class or function with keywords, and passes the callback
that it returns to ``fit``::

    class Notify(tf.keras.callbacks.Callback):
        def __init__(self, *, run, recipe, stage):      # RUN, a recipes.config.Recipe, name of the stage
            super().__init__()

        def on_epoch_end(self, epoch, logs=None):       # the row of history.csv: loss, val_accuracy, ...
            print(logs["val_accuracy"])

The callback runs after the trainer's own: at the end of an epoch the checkpoint is already written. The first epoch is
number 0.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pathlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

MakesCallback = Callable[..., "tf.keras.callbacks.Callback"]
"""A class or function that makes a stage's callback from the keywords ``run``, ``recipe`` and ``stage``."""

_HOW = "docs/training.md, Trackers and callbacks of your own"
NAMED = {"mlflow": "recipes.trainers.mlflow.Mlflow"}
"""Callbacks of the project: name -> class."""


def find(name: str) -> MakesCallback:
    """The class or function of a name, which makes callbacks.

    Args:
        name: One of :data:`NAMED`, or the dotted path of a class or function in a module that can be imported, such as
            ``my_callbacks.Notify``; the current folder is searched too.

    Raises:
        UserError: There is no such module, the module has nothing of that name, or it takes other arguments.
    """
    path = NAMED.get(name, name)
    module, _, attribute = path.rpartition(".")
    if not module or not all(part.isidentifier() for part in path.split(".")):
        raise UserError(f"--callback {name}: expected {', '.join(NAMED)} or a dotted path such as my_callbacks.Notify")
    if os.getcwd() not in sys.path:  # for an installed command, it has the command's folder
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module is there, but one that it imports is missing
        folder = pathlib.Path.cwd()
        raise UserError(f"--callback {name}: no module {error.name} in {folder} or on Python's path") from None
    if not callable(found):
        raise UserError(f"--callback {name}: {module} has no class or function {attribute}")
    try:
        inspect.signature(found).bind(run=None, recipe=None, stage=None)
    except TypeError:
        raise UserError(f"--callback {name}: does not take the keywords run, recipe and stage, see {_HOW}") from None
    except ValueError:  # of a function written in C
        pass
    return found
