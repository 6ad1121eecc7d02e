"""Recipes: one flat YAML file states what is trained, on what and how. There is no inheritance.

* :mod:`~recipes.config.sections`: the keys, their types and defaults.
* :mod:`~recipes.config.reading`: from YAML and ``--set`` to a :class:`Recipe`.
* :mod:`~recipes.config.rules`: what must fit together.
* :mod:`~recipes.config.renamed`: former names of keys.

>>> recipe = load("pose_lstm_nucla", overrides=["stages.pose.epochs=5"])
>>> recipe.model.name, recipe.stages[-1].epochs
('pose_lstm', 5)
"""

from recipes.config.reading import CONFIGS, differences, flat, from_dict, load, names
from recipes.config.rules import unknown
from recipes.config.sections import (
    LAMB,
    MODEL_FILE,
    OF_A_RUN,
    SGD,
    SGDW,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Data,
    EarlyStopping,
    Evaluate,
    Model,
    Plateau,
    Rate,
    Recipe,
    Stage,
    Step,
    WeightAverage,
    is_path,
)

__all__ = [
    "CONFIGS",
    "LAMB",
    "MODEL_FILE",
    "OF_A_RUN",
    "SGD",
    "SGDW",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Data",
    "EarlyStopping",
    "Evaluate",
    "Model",
    "Plateau",
    "Rate",
    "Recipe",
    "Stage",
    "Step",
    "WeightAverage",
    "differences",
    "flat",
    "from_dict",
    "is_path",
    "load",
    "names",
    "unknown",
]
