"""Options: the kinds of values they take, as type hints, and the checks that raise :class:`ZooError`.

A builder states the kind of each option in its signature, such as ``frames: Size = 64`` or
``attention: Literal["full", "spatial"] = "full"``; :func:`check_options` compares the values with these hints.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Union

from zoo import skeletons
from zoo.shared import messages
from zoo.shared.errors import UserError


class ZooError(UserError, ValueError):
    """An unknown model or option, or options that do not fit together; the message says what is valid."""


class WeightsError(ZooError):
    """The weights that a model was to start from cannot be read, or do not fit it."""


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A condition that a value must meet besides having the right type.

    Attributes:
        words: The valid values in words, for messages.
        holds: Function that tells whether a value is valid.
        choices: All valid values, where they are few.
    """

    words: str
    holds: Callable[[Any], bool]
    choices: tuple[str, ...] = ()


Size = Annotated[int, Constraint("a whole number from 1", lambda value: value >= 1)]
"""A number of things, or a length."""
Rate = Annotated[float, Constraint("a number from 0 to less than 1", lambda value: 0 <= value < 1)]
"""A fraction that is dropped."""
Weight = Annotated[float, Constraint("a number of at least 0", lambda value: 0 <= value < math.inf)]
"""The weight of a term of the training loss."""
Multiplier = Annotated[float, Constraint("a number above 0", lambda value: 0 < value < math.inf)]
"""A factor, such as that of the number of filters."""
Exponent = Annotated[float, Constraint("a number above 0, at most 1", lambda value: 0 < value <= 1)]
"""The power that features are raised to."""
_LAYOUTS = tuple(skeletons.LAYOUTS)
Layout = Annotated[str, Constraint(f"one of {', '.join(_LAYOUTS)}", lambda value: value in _LAYOUTS, _LAYOUTS)]
"""Name of a skeleton layout."""

# Type of a hint -> the types of values that it accepts, and the hint in words.
_TYPES: dict[Any, tuple[Any, str]] = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: ((str, os.PathLike), "a text"),
    os.PathLike: (os.PathLike, "a path"),
    dict: (dict, "a dictionary"),
    type(None): (type(None), "None"),
}


def option_hints(function: Callable) -> dict[str, Any]:
    """Parameter -> type hint of a function, constraints included."""
    return {
        name: hint for name, hint in typing.get_type_hints(function, include_extras=True).items() if name != "return"
    }


def check_options(name: str, chosen: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Raises :class:`ZooError` unless all chosen options exist and have values that fit their type hints.

    NumPy's numbers count as numbers; a list is accepted for a tuple, and a path for a string. ``True`` and ``False`` do
    not count as numbers.

    Args:
        name: Name of the model, for messages.
        chosen: Option -> value.
        hints: Option -> type hint, for all existing options.

    Example:
        >>> check_options("i3d", {"dropout": 1.5}, {"dropout": Rate})
        Traceback (most recent call last):
        zoo.checks.ZooError: i3d: dropout is 1.5, expected a number from 0 to less than 1
    """
    for option, value in chosen.items():
        if option not in hints:
            raise ZooError(f"{name} has no option {option!r}{messages.nearest(option, hints)}")
        hint = hints[option]
        if not _fits(value, hint):
            raise ZooError(f"{name}: {option} is {value!r}, expected {accepted_values(hint)}{_nearest(value, hint)}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is one that a type hint accepts."""
    kind, arguments = _parts(hint)
    if hint is Any:
        return True
    if kind is Annotated:
        base, *constraints = arguments
        return _fits(value, base) and all(constraint.holds(value) for constraint in constraints)
    if kind is Literal:
        return any(value == choice and _fits(value, type(choice)) for choice in arguments)
    if kind is Union:
        return any(_fits(value, argument) for argument in arguments)
    if kind is tuple:
        elements = _elements(value, arguments)
        return elements is not None and all(_fits(element, each) for element, each in zip(value, elements))
    accepted = _TYPES[kind][0] if kind in _TYPES else kind
    return isinstance(value, accepted) and (kind is bool or not isinstance(value, bool))


def accepted_values(hint: Any) -> str:
    """What a type hint accepts, in words.

    Example:
        >>> accepted_values(Union[Size, None])
        'a whole number from 1 or None'
    """
    kind, arguments = _parts(hint)
    if kind is Annotated:
        return arguments[-1].words
    if kind is Literal:
        return f"one of {', '.join(map(str, arguments))}" if len(arguments) > 1 else str(arguments[0])
    if kind is Union:
        return " or ".join(accepted_values(argument) for argument in arguments)
    if kind is tuple:
        several = len(arguments) == 2 and arguments[1] is Ellipsis
        count = "values" if several else f"{len(arguments)} values"
        return f"a list of {count}, each {accepted_values(arguments[0])}"
    return _TYPES[kind][1] if kind in _TYPES else getattr(kind, "__name__", str(kind))


def _parts(hint: Any) -> tuple[Any, tuple]:
    """The kind of a type hint and its arguments; ``X | Y`` counts as ``Union``."""
    if hasattr(hint, "__metadata__"):
        return Annotated, (hint.__origin__, *hint.__metadata__)
    kind = typing.get_origin(hint) or hint
    if kind is getattr(types, "UnionType", Union):
        kind = Union
    if kind is Sequence:
        return tuple, (*typing.get_args(hint), Ellipsis)
    return kind, typing.get_args(hint)


def _elements(value: Any, arguments: Sequence) -> list | None:
    """The hint of each element of a tuple or list; ``None`` where the value is neither, or has another length."""
    if not isinstance(value, (tuple, list)):
        return None
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return [arguments[0]] * len(value)
    return list(arguments) if len(value) == len(arguments) else None


def _nearest(value: Any, hint: Any) -> str:
    """``, did you mean x?`` for the choice nearest to a string, or to the first wrong string of a list."""
    kind, arguments = _parts(hint)
    choices = arguments if kind is Literal else getattr(arguments[-1], "choices", ()) if kind is Annotated else ()
    if choices:
        return messages.nearest(value, choices).partition(" Valid: ")[0].rstrip(".")
    if kind is tuple and isinstance(value, (tuple, list)):
        return next((_nearest(each, arguments[0]) for each in value if not _fits(each, arguments[0])), "")
    if kind is Union:
        return next((text for argument in arguments if (text := _nearest(value, argument))), "")
    return ""


def layout_of(name: str) -> skeletons.Layout:
    """The skeleton layout of a name; :class:`ZooError` if there is none."""
    try:
        return skeletons.get(name)
    except ValueError as error:
        raise ZooError(str(error)) from None


def check_choice(option: str, value: Any, valid: Collection) -> None:
    """Raises :class:`ZooError` unless an option's value is one of the valid ones."""
    if value not in list(valid):  # a list can be searched for any value, a dictionary only for hashable ones
        raise ZooError(f"{option} {value!r} is unknown{messages.nearest(value, valid)}")


def check_minimum(minimum: float, **values: float) -> None:
    """Raises :class:`ZooError` unless all named values are at least ``minimum``."""
    for option, value in values.items():
        if value < minimum:
            raise ZooError(f"{option} is {value}, expected at least {minimum}")
