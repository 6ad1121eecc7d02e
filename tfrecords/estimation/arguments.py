"""The options of every command that estimates poses."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable

from tfrecords.estimation import estimator, recordings
from zoo import skeletons
from zoo.shared.errors import UserError

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(recordings.Settings)}
OPTIONS = ("estimator", "model", "focal_length")


def add(parser: argparse._ActionsContainer, focal_length: bool = True) -> None:
    """Adds ``--estimator``, ``--model`` and ``--focal-length``; an option that is not given is ``None``.

    Args:
        parser: A parser or an argument group.
        focal_length: Whether to add ``--focal-length``; not if the command has its own.
    """
    parser.add_argument(
        "--estimator",
        metavar="NAME",
        help=f"estimator of poses, one of {', '.join(estimator.names())}; default: {_DEFAULTS['estimator']}",
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"the estimator's model: lite, full or heavy, or a file; default: {_DEFAULTS['model']}",
    )
    if focal_length:
        parser.add_argument(
            "--focal-length", type=float, metavar="PIXELS",
            help="focal length of the camera, from which distances follow; default: for 60 degrees of horizontal view, "
            "unless the dataset states it",
        )  # fmt: skip


def refuse(arguments: argparse.Namespace, options: Iterable[str] = OPTIONS) -> None:
    """Raises :class:`UserError` if an option of estimation is given although nothing is estimated."""
    for option in options:
        if getattr(arguments, option) is not None:
            name = f"--{option.replace('_', '-')}"
            raise UserError(f"{name}: poses are not estimated, leave it out or give --poses estimate")


def settings(arguments: argparse.Namespace, *, layout: str, persons: int) -> recordings.Settings:
    """The settings that parsed arguments describe.

    Args:
        arguments: Parsed; those of :func:`add` are read.
        layout: Skeleton layout wanted; empty: the estimator's own.
        persons: Persons M wanted.

    Returns:
        :class:`tfrecords.estimation.recordings.Settings`.

    Raises:
        UserError: A value is out of range, no such estimator or layout, or a package that it needs is not installed.
    """
    given = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    found = recordings.Settings(layout=layout, persons=persons, **given)
    if not 1 <= persons < 1000:
        raise UserError(f"--persons {persons}: expected a number from 1")
    if not (found.focal_length >= 0 and math.isfinite(found.focal_length)):
        raise UserError(f"--focal-length {found.focal_length:g}: expected pixels, a number from 0")
    estimator.get(found.estimator)
    if layout:
        try:
            skeletons.get(layout)
        except ValueError as error:
            raise UserError(f"--layout: {error}") from None
    return found
