"""How features are computed: in batches, and only once, because a cache keeps them."""

import pathlib
from collections.abc import Sequence
from typing import Annotated, Any, Callable, Optional

import numpy as np
from sklearn.utils.validation import check_memory

from zoo import checks
from zoo.checks import Constraint

BATCH = 64
"""Frames, clips or pose sequences that are computed at once."""


def _is_cache(value):
    return value is None or isinstance(value, (str, pathlib.Path)) or hasattr(value, "cache")


Cache = Annotated[Any, Constraint("a folder or a joblib.Memory or None", _is_cache)]
"""Where features are kept."""
Seed = Annotated[int, Constraint("a whole number from 0 to less than 2^32", lambda value: 0 <= value < 2**32)]
"""A seed as scikit-learn takes it."""


def in_batches(function: Callable[[Any], Any], items: Sequence) -> np.ndarray:
    """The results of a function of batches of items, joined.

    Example:
        >>> in_batches(np.negative, np.arange(100)).shape
        (100,)
    """
    return np.concatenate([function(items[i : i + BATCH]) for i in range(0, len(items), BATCH)])


def cached(memory: Cache, function: Callable, ignored: Sequence[str]) -> Callable:
    """A function whose results are kept on disk; a file is complete or absent.

    Args:
        memory: Folder of the cache, or a ``joblib.Memory``; ``None``: nothing is kept.
        function: A function of a module. joblib drops its results when its source text changes, even in a comment.
        ignored: Arguments that results do not depend on.
    """
    # joblib names the folder of results after the module: under its former name, existing caches stay valid.
    function.__module__ = "zoo.two_level_fusion"
    memory = str(memory) if isinstance(memory, pathlib.Path) else memory
    return check_memory(memory).cache(function, ignore=list(ignored))


def seed_of(random_state: Optional[Seed]) -> int:
    """The seed of a transformer: 0 where none is set."""
    return 0 if random_state is None else random_state


def check_parameters(name: str, estimator: Any) -> None:
    """Raises :class:`zoo.ZooError` unless an estimator's parameters fit the type hints of its constructor.

    Args:
        name: The estimator's name, for messages.
        estimator: A scikit-learn estimator.
    """
    checks.check_options(name, estimator.get_params(deep=False), checks.option_hints(type(estimator).__init__))
