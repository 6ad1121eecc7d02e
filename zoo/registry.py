"""The models: registration and look-up.

A model is a function with keyword-only options, marked with :func:`register`, in a file of :mod:`zoo.models` that has
the model's name. The files are found in that folder and imported when a model is first used: ``import zoo`` does not
import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import keyword
import pkgutil
from collections.abc import Mapping
from typing import Any, Callable

from zoo import models, papers
from zoo.checks import ZooError, option_hints
from zoo.papers import PAPERS, Reported, Row
from zoo.shared import messages

ESTIMATORS: dict[str, str] = {"two_level_fusion": "zoo.fusion.TwoLevelFusion"}
"""Name -> class, of the methods that are scikit-learn estimators."""

_SUFFIX = "_model"  # of files whose model's name is a keyword of Python
_entries: dict[str, Entry] = {}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered model.

    Attributes:
        name: The model's name.
        builder: The function that builds it.
        paper: Citation of its paper.
        reported: The rows of the papers' tables.
        renamed: Former name -> current name, of options that were renamed.
        unstated: Option -> its value in saved models that are older than the option, where it is not the default.
    """

    name: str
    builder: Callable[..., Any]
    paper: str
    reported: tuple[Row, ...]
    renamed: dict[str, str]
    unstated: dict[str, Any]


def register(
    *,
    paper: str,
    reported: Reported = (),
    renamed: Mapping[str, str] | None = None,
    unstated: Mapping[str, Any] | None = None,
) -> Callable[[Callable], Callable]:
    """Marks a function as the builder of a model.

    Args:
        paper: Key of the paper in :data:`zoo.papers.PAPERS`, or its citation.
        reported: The papers' accuracies in percent: ``{"<dataset>/<protocol>": figure}``, or several
            :class:`zoo.papers.Row` where they differ between configurations.
        renamed: Former name -> current name, of options that were renamed; the former names stay valid.
        unstated: Option -> its value in saved models that are older than the option, where it is not the default.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        ValueError: The function does not have the name of its file, or the paper is unknown.
    """
    if paper not in PAPERS and " " not in paper:
        raise ValueError(f"paper {paper!r} is neither a key of zoo.papers.PAPERS nor a citation")

    def decorator(builder: Callable) -> Callable:
        file = builder.__module__.rpartition(".")[2]
        if builder.__name__ != file:
            raise ValueError(f"the builder {builder.__name__} is in {file}.py, expected in {builder.__name__}.py")
        name = _model_name(file)
        citation = PAPERS.get(paper, paper)
        _entries[name] = Entry(
            name, builder, citation, papers.rows(reported), dict(renamed or {}), dict(unstated or {})
        )
        return builder

    return decorator


def list_models() -> list[str]:
    """Names of all models, in alphabetical order.

    Example:
        >>> import zoo
        >>> "separable_sta" in zoo.list_models()
        True
    """
    return sorted(_files())


def get(name: str) -> Entry:
    """The :class:`Entry` of a model; :class:`ZooError` names the nearest model if there is none."""
    if name in ESTIMATORS:
        raise ZooError(f"{name} is a scikit-learn estimator and no Keras model: use {ESTIMATORS[name]}")
    found = _files()
    if name not in found:
        raise ZooError(f"unknown model {name!r}{messages.nearest(name, sorted(found))}")
    module = f"{models.__name__}.{found[name]}"
    importlib.import_module(module)
    if name not in _entries:
        raise ValueError(f"{module} does not register a builder: mark the function {found[name]} with @register")
    return _entries[name]


def estimator(name: str) -> type:
    """The class of one of :data:`ESTIMATORS`."""
    module, _, attribute = ESTIMATORS[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def reported(name: str) -> tuple[Row, ...]:
    """The rows that papers report of a model or estimator."""
    return estimator(name).reported if name in ESTIMATORS else get(name).reported  # type: ignore[attr-defined]


def facts(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that the conditions of :func:`reported` are compared with, as far as they follow from options.

    Args:
        name: The name of a model or an estimator.
        chosen: Option -> value; options left out have their defaults.

    Example:
        >>> facts("temporal", {"backbone": "i3d"})["base_model"]
        'i3d'
    """
    if name in ESTIMATORS:
        return estimator(name).from_options(**chosen).get_params()  # type: ignore[attr-defined]
    known = {**options(name), **current_options(name, chosen)[0]}
    if known.get("backbone"):
        known.setdefault("base_model", known["backbone"])
    return known


def options(name: str) -> dict[str, Any]:
    """Option -> default of a model's builder, without ``num_classes``."""
    parameters = inspect.signature(get(name).builder).parameters
    return {p.name: p.default for p in parameters.values() if p.name != "num_classes"}


def with_option(option: str) -> list[str]:
    """Names of the models that have an option, such as ``fully_convolutional``."""
    return [name for name in list_models() if option in options(name)]


def hints(name: str) -> dict[str, Any]:
    """Option -> type hint of a model's builder, without ``num_classes``."""
    found = option_hints(get(name).builder)
    return {option: found.get(option, Any) for option in options(name)}


def renamed(name: str) -> dict[str, str]:
    """Former name -> current name, of a model's options that were renamed."""
    return {} if name in ESTIMATORS else get(name).renamed


def current_options(name: str, chosen: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Options with former names replaced by current ones.

    Args:
        name: The model's name.
        chosen: Option -> value.

    Returns:
        The options, and a notice of one line for each former name.

    Raises:
        ZooError: An option is given under both names.

    Example:
        >>> current_options("separable_sta", {"strategy": "sa"})
        ({'attention': 'sa'}, ["separable_sta: option 'strategy' is now 'attention'"])
    """
    names = renamed(name)
    current: dict[str, Any] = {}
    for option, value in chosen.items():
        key = names.get(option, option)
        if key in current:
            raise ZooError(f"{name}: {key} is given twice, once under its former name: leave one out")
        current[key] = value
    notices = [f"{name}: option {option!r} is now {names[option]!r}" for option in chosen if option in names]
    return current, notices


def saved_options(name: str, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The options, under their current names, of a saved model whose file states ``stored``.

    An option that the file does not state was added later. It gets the value that gives the same model.

    Example:
        >>> saved_options("temporal", {"granularity_attention": False})
        {'granularity_pooling': 'mean', 'granularity_attention': False}
    """
    return {**get(name).unstated, **current_options(name, stored)[0]}


def _files() -> dict[str, str]:
    """Model -> its file in :mod:`zoo.models`, without suffix."""
    names = [module.name for module in pkgutil.iter_modules(models.__path__)]
    return {_model_name(name): name for name in names if not name.startswith("_")}


def _model_name(file: str) -> str:
    """``global_model`` -> ``global``: a file named after a Python keyword could not be imported by its name."""
    short = file[: -len(_SUFFIX)] if file.endswith(_SUFFIX) else file
    return short if keyword.iskeyword(short) else file
