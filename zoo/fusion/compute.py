"""How features are computed: in batches, and once, as a cache keeps them."""

import pathlib
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np
from sklearn.utils.validation import check_memory

from zoo import checks
from zoo.checks import ZooError

BATCH = 64
"""Frames, clips or pose sequences that are computed at once."""


def in_batches(function: Callable[[Any], Any], items: Sequence) -> np.ndarray:
    """The results of a function of batches of items, joined.

    Example:
        >>> in_batches(np.negative, np.arange(100)).shape
        (100,)
    """
    return np.concatenate([function(items[i : i + BATCH]) for i in range(0, len(items), BATCH)])


def cached(memory: Any, function: Callable, ignored: Sequence[str]) -> Callable:
    """A function whose results are kept on disk; a file is complete or absent.

    Args:
        memory: Folder of the cache, or a ``joblib.Memory``; ``None``: nothing is kept.
        function: A function of a module. joblib drops its results when its text changes, a comment included.
        ignored: Arguments that results do not depend on.
    """
    # joblib names the folder of results after the module: caches made before stay valid.
    function.__module__ = "zoo.two_level_fusion"
    memory = str(memory) if isinstance(memory, pathlib.Path) else memory
    return check_memory(memory).cache(function, ignore=list(ignored))


def check_cache(memory: Any) -> None:
    """Raises :class:`ZooError` unless a cache is a folder, a ``joblib.Memory`` or ``None``."""
    if not (memory is None or isinstance(memory, (str, pathlib.Path)) or hasattr(memory, "cache")):
        raise ZooError(f"memory is {memory!r}, expected a folder or a joblib.Memory")


def check_seed(random_state: Optional[int]) -> None:
    """Raises :class:`ZooError` unless a seed is one that scikit-learn takes, or ``None``."""
    if random_state is not None and not 0 <= random_state < 2**32:
        raise ZooError(f"random_state is {random_state}, expected from 0 to less than 2^32")


def seed_of(random_state: Optional[int]) -> int:
    """The seed of a transformer: 0 where none is set."""
    return 0 if random_state is None else random_state


def check_types(name: str, estimator: Any, **examples: Any) -> None:
    """Raises :class:`ZooError` unless an estimator's parameters are of their types and in range.

    Args:
        name: What the message names.
        estimator: A scikit-learn estimator.
        **examples: Values of parameters whose default is ``None``.
    """
    chosen, valid = estimator.get_params(deep=False), {**type(estimator)().get_params(deep=False), **examples}
    given = {key: value for key, value in chosen.items() if value is not None or valid[key] is not examples.get(key)}
    known = {key: value for key, value in given.items() if valid[key] is not None}
    checks.check_options(name, known, valid)
