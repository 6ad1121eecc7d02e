"""Trainers: one interface, two ways to train.

* :mod:`~recipes.trainers.base`: the interface.
* :mod:`~recipes.trainers.keras`: stages of Keras models: ``fit``, validation, resuming, scores.
* :mod:`~recipes.trainers.models`, :mod:`~recipes.trainers.history`, :mod:`~recipes.trainers.checkpoints`: a stage's
  model; best epoch, schedule and early stop from the history of epochs; checkpoints.
* :mod:`~recipes.trainers.callbacks`: further callbacks; :mod:`~recipes.trainers.mlflow` is one.
* :mod:`~recipes.trainers.frozen`: stored features of a stage's frozen layers.
* :mod:`~recipes.trainers.optimisation`: optimizers, losses, memory, averages of weights.
* :mod:`~recipes.trainers.distribution`: devices and machines.
* :mod:`~recipes.trainers.fusion`: two-level fusion.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.run_directory import RunDirectory
    from recipes.trainers.base import Trainer

KERAS = "recipes.trainers.keras.KerasTrainer"
ESTIMATORS = {"two_level_fusion": "recipes.trainers.fusion.FusionTrainer"}  # all other models are Keras models


def of(recipe: Recipe) -> Trainer:
    """The trainer of a recipe's model; only its module is imported."""
    module, _, name = ESTIMATORS.get(recipe.model.name, KERAS).rpartition(".")
    return getattr(importlib.import_module(module), name)()


def of_run(run: RunDirectory) -> Trainer:
    """The trainer that made a run directory."""
    return of(run.recipe)
