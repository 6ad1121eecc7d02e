"""What a model's options must be: the error, and the checks that raise it."""

import math
import numbers
import os

from zoo import skeletons
from zoo.shared import messages
from zoo.shared.errors import UserError

# What stands in for a default that tells no type, as it is None.
_EXAMPLES = {
    "backbone": "i3d",
    "basic_options": {"attention": "full"},
    "layout": "kinect_v2_25",
    "network_weights": "imagenet",
    "pose_model": "model.keras",
    "regions": ("full_body",),
}
_MAY_BE_NONE = ("weights",)  # beside the options whose default is None: None is random weights
# What is accepted for a default of a type: any whole number, any real one, and a path as well as its text.
_ACCEPTED = {int: numbers.Integral, float: numbers.Real, str: (str, os.PathLike), tuple: (tuple, list)}


class ZooError(UserError, ValueError):
    """An unknown model or option, or options that do not fit together; the message says what is valid."""


def check_options(name, chosen, valid):
    """Raises :class:`ZooError` unless all chosen options are among a method's, of their types and not too small.

    Args:
        name: The method's name.
        chosen: Option -> value.
        valid: Option -> default.
    """
    for option, value in chosen.items():
        if option not in valid:
            raise ZooError(f"{name} has no option {option!r}{messages.nearest(option, valid)}")
        default = valid[option]
        if value is None and (default is None or option in _MAY_BE_NONE):
            continue
        _check_type(name, option, value, _EXAMPLES[option] if default is None else default)
        _check_range(name, option, value, default)
        if option == "layout":  # not every builder looks at it
            layout_of(value)


def _check_type(name, option, value, example):
    """An option's value must be of the type of an example: its default or, where that is None, another."""
    if not _is_like(value, example):
        kind = type(example).__name__
        raise ZooError(f"{name}: {option} is {value!r}, expected {kind} such as {example!r}")


def _is_like(value, example):
    """Whether a value is of an example's type, and those inside a tuple of the type of those in the example."""
    if isinstance(value, bool) or isinstance(example, bool):  # a truth value is an int to Python, but no number
        return isinstance(value, bool) and isinstance(example, bool)
    if not isinstance(value, _ACCEPTED.get(type(example), type(example))):
        return False
    return not isinstance(example, tuple) or all(_is_like(element, example[0]) for element in value)


def layout_of(name):
    """The skeleton layout of a name; :class:`ZooError` if there is none."""
    try:
        return skeletons.get(name)
    except ValueError as error:
        raise ZooError(str(error)) from None


def _check_range(name, option, value, default):
    """Sizes are at least 1, multipliers above 0, weights of losses at least 0, and shares that are dropped below 1."""
    if isinstance(default, int) and not isinstance(default, bool) and default > 0:
        check_minimum(1, **{f"{name}: {option}": value})
    if isinstance(default, float):
        if option.endswith("dropout") and not 0 <= value < 1:
            raise ZooError(f"{name}: {option} is {value}, expected a share from 0 to less than 1")
        if option == "width" and not 0 < value < math.inf:
            raise ZooError(f"{name}: {option} is {value}, expected a multiplier above 0")
        if not 0 <= value < math.inf:
            raise ZooError(f"{name}: {option} is {value}, expected at least 0")


def check_choice(option, value, valid):
    """Raises :class:`ZooError` unless an option's value is one of the valid ones."""
    if value not in list(valid):  # a list compares with whatever is given, a dictionary only with what can be a key
        raise ZooError(f"{option} {value!r} is unknown{messages.nearest(value, valid)}")


def check_minimum(minimum, **values):
    """Raises :class:`ZooError` unless all named values are at least ``minimum``."""
    for option, value in values.items():
        if value < minimum:
            raise ZooError(f"{option} is {value}, expected at least {minimum}")
