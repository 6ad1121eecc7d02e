"""Estimators of poses: what each returns for a frame, and how to add a new one.

An estimator is a class in a module of this package, registered under a name::

    @register("blazepose")
    class BlazePose(Estimator):
        layout = "blazepose_33"

        def persons(self, frame, seconds):
            ...
"""

from __future__ import annotations

import abc
import dataclasses
import importlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from zoo.shared import messages
from zoo.shared.errors import UserError

_MODULES = {"blazepose": "tfrecords.estimation.blazepose"}  # imported on demand: each brings a package of its own
_REGISTERED: dict[str, type[Estimator]] = {}
_Closing = TypeVar("_Closing", bound="Closing")
_Class = TypeVar("_Class", bound="type[Estimator]")


class NoEstimator(UserError):
    """An estimator cannot be made: what it needs is missing or damaged, or an argument is wrong."""


@dataclasses.dataclass(frozen=True, eq=False)
class Person:
    """A person in one frame.

    Attributes:
        xyz: ``[J, 3]`` float32, metres from the middle of the hips; x to the right of the picture, y upwards, z away
            from the camera.
        xy: ``[J, 2]`` float32, pixels of the frame, x to the right and y downwards; may lie outside it.
        confidence: ``[J]`` float32, 0 (not seen) to 1.
        instead_of: The wrong pose of the same body that this pose replaces, if any.
    """

    xyz: np.ndarray
    xy: np.ndarray
    confidence: np.ndarray
    instead_of: Person | None = None


class Closing(abc.ABC):
    """A context manager that calls :meth:`close` when it ends."""

    @abc.abstractmethod
    def close(self) -> None:
        """Frees what it holds."""

    def __enter__(self: _Closing) -> _Closing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Estimator(Closing):
    """Finds the persons in the frames of one recording, frame after frame; a context manager.

    Class attributes:
        layout: Skeleton layout of its joints, a key of :data:`zoo.skeletons.LAYOUTS`.
    """

    layout: str

    @abc.abstractmethod
    def persons(self, frame: np.ndarray, seconds: float) -> list[Person]:
        """The persons in the next frame of the recording, in no particular order.

        Args:
            frame: ``[H, W, 3]`` uint8, RGB.
            seconds: The frame's time stamp from the recording's beginning; later than that of the frame before.

        Returns:
            A list of :class:`Person`; empty where nobody is found.
        """

    def forget(self) -> None:
        """Forgets the persons it follows: the next frame is the first of a new recording, whose time begins anew."""

    def find_anew(self) -> None:
        """Finds all persons anew in the next frame, because the poses that it follows are wrong."""
        self.forget()


def register(name: str) -> Callable[[_Class], _Class]:
    """Registers an estimator's class under a name, as a decorator."""

    def add(estimator: _Class) -> _Class:
        _REGISTERED[name] = estimator
        return estimator

    return add


def names() -> tuple[str, ...]:
    """Names of all estimators."""
    return tuple(sorted({*_MODULES, *_REGISTERED}))


def get(name: str) -> type[Estimator]:
    """The class of an estimator.

    Args:
        name: One of :func:`names`.

    Returns:
        The class; its arguments are its own.

    Raises:
        UserError: No estimator of that name, or a package that it needs is not installed.

    Example:
        >>> get("blazepose").layout  # doctest: +SKIP
        'blazepose_33'
    """
    if name not in names():
        raise UserError(f"unknown estimator of poses {name!r}{messages.nearest(name, names())}")
    if name not in _REGISTERED:
        importlib.import_module(_MODULES[name])
    return _REGISTERED[name]


def create(name: str, **options: Any) -> Estimator:
    """An estimator for one recording; ``options`` are its class's arguments. Raises :class:`NoEstimator`."""
    try:
        return get(name)(**options)
    except UserError as error:
        raise NoEstimator(str(error)) from error
