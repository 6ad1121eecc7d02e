"""Flat names of the parts' parameters: the options of recipes, and formerly of the constructor."""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from zoo.checks import ZooError

FLAT_OPTIONS = {
    "network": "appearance__network",
    "size": "appearance__size",
    "weights": "appearance__weights",
    "motion_region": "motion__region",
    "track_length": "motion__track_length",
    "sampling_step": "motion__sampling_step",
    "gaussians": "motion__gaussians",
    "samples": "motion__samples",
    "pose_model": "pose__model",
    "pose_steps": "pose__pose_steps",
    "whole_sequences": "pose__whole_sequences",
    "lstm_units": "pose__lstm_units",
    "lstm_dropout": "pose__lstm_dropout",
    "pose_epochs": "pose__epochs",
    "pose_learning_rate": "pose__learning_rate",
    "batch": "pose__batch",
}
"""Flat name -> nested name, as in ``get_params`` of :class:`zoo.fusion.TwoLevelFusion`."""


def nested_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the flat ones under their nested names; :class:`ZooError` if one is given under both.

    Example:
        >>> nested_options({"network": "mobilenet_v2", "penalty": 10.0})
        {'appearance__network': 'mobilenet_v2', 'penalty': 10.0}
    """
    nested = {FLAT_OPTIONS.get(option, option): value for option, value in options.items()}
    for flat, name in FLAT_OPTIONS.items():
        if flat in options and name in options:
            raise ZooError(f"{flat} and {name} are the same option, expected one of them")
    return nested


def warn_of_flat(options: Iterable[str]) -> None:
    """Warns the caller's caller of parameters under their flat names, if there are any."""
    renamed = [f"{option} is now {FLAT_OPTIONS[option]}" for option in options if option in FLAT_OPTIONS]
    if renamed:
        text = f"{', '.join(renamed)}: construct the part, as in TwoLevelFusion(pose=PoseFeatures(lstm_units=512))"
        warnings.warn(text, FutureWarning, stacklevel=3)
