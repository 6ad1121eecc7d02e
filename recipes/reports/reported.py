"""The papers' figures beside a run's: which are shown, and which are of the run's own method and configuration."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfrecords import protocols
from zoo import papers, registry
from zoo.papers import OTHERS_REPORTED, Row
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Figure:
    """An accuracy that a paper reports.

    Attributes:
        method: The method's name.
        percent: The accuracy.
        row: The row of the paper's table that it is from.
        own: Whether it is of the run's method in the run's configuration.
        possible: Whether it may be ``own``: nothing that is known about the run contradicts it.
    """

    method: str
    percent: float
    row: Row
    own: bool = False
    possible: bool = False

    @property
    def name(self) -> str:
        """``vpn (3D ResNeXt-101)``."""
        return self.row.noted(self.method)

    @property
    def text(self) -> str:
        """``95.5% (3D ResNeXt-101)``."""
        return self.row.noted(self.bare)

    @property
    def bare(self) -> str:
        """``95.5%``."""
        return f"{papers.percent(self.percent)}%"


def reported_key(dataset: str, protocol: str) -> str:
    """``<dataset>/<protocol>`` of the registry; a mean over subjects or folds is named without a number."""
    return f"{dataset}/{protocol.partition('_')[0] if protocols.folds(dataset, protocol) else protocol}"


def figures(recipe: Recipe, protocol: str, split: str = "test", basis: Mapping[str, Any] | None = None) -> list[Figure]:
    """What papers report for the test split of a protocol, for all methods; empty for other splits.

    For leave-one-subject-out and folds, papers report only the mean over all subjects or folds. It is given for each of
    them, and :func:`recipes.reports.tables.mean_note` says so.

    Args:
        recipe: The run's recipe.
        protocol: The protocol that was evaluated.
        split: The split that was evaluated.
        basis: What :func:`basis_of` gives of the run; default: what the recipe alone shows.
    """
    if split != "test":
        return []
    key = reported_key(recipe.data.dataset, protocol)
    basis = basis_of(recipe) if basis is None else basis
    method, facts = _method(recipe.model.name, basis), {**_facts(recipe), **basis}
    found = [Figure(name, percent, Row({key: percent})) for name, percent in OTHERS_REPORTED.get(key, {}).items()]
    for name in _methods():
        for row in registry.reported(name):
            if key in row.figures:
                matches = {"own": row.holds(facts), "possible": row.may_hold(facts)} if name == method else {}
                found.append(Figure(name, row.figures[key], row, **matches))
    return found


def others(figures: Iterable[Figure]) -> list[Figure]:
    """The figures that are not ``own``, ascending."""
    return sorted((figure for figure in figures if not figure.own), key=lambda figure: figure.percent)


def basis_of(recipe: Recipe, manifest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a run is based on besides its options, as far as it is known.

    Args:
        recipe: The run's recipe.
        manifest: The manifest of the data; with stored features it names the network that computed them.

    Returns:
        ``pretrained_on``: the other dataset on which its starting weights were trained, or ``None``; ``base_model``:
        the network whose features it reads.
    """
    known: dict[str, Any] = {}
    before = [found for _, found in started_from(recipe)]
    if None not in before:
        first = {found.data.dataset for found in before if found and found.data.dataset != recipe.data.dataset}
        known["pretrained_on"] = ", ".join(sorted(first)) or None
    network = (manifest or {}).get("options", {}).get("features_model")
    if network and recipe.data.granularities:
        known["base_model"] = network
    return known


def _methods() -> tuple[str, ...]:
    return (*registry.list_models(), *registry.ESTIMATORS)


def _method(model: str, basis: Mapping[str, Any]) -> str:
    """The model's method; the product of the scores of a temporal model and its base model is ``global``."""
    return "global" if model == f"temporal x {basis.get('base_model')}" else model


def _facts(recipe: Recipe) -> dict[str, Any]:
    """The facts that follow from the options; none for several runs whose scores are fused."""
    return registry.facts(recipe.model.name, recipe.model.options) if recipe.model.name in _methods() else {}


def started_from(recipe: Recipe, seen: tuple[str, ...] = ()) -> Iterator[tuple[str, Recipe | None]]:
    """The runs that a recipe starts from, directly or through other runs.

    Args:
        recipe: The recipe.
        seen: Sources that are known already.

    Yields:
        The source in ``init``, and the recipe of its run; ``None``: not known.
    """
    from recipes.config import sections

    for stage in recipe.stages:
        for source in stage.init:
            if sections.is_path(source) and source not in seen:
                found = _recipe_of(source)
                yield source, found
                if found is not None:
                    yield from started_from(found, (*seen, source))


def run_of(source: str) -> RunDirectory | None:
    """The run that a path lies in."""
    from recipes import run_directory

    path = pathlib.Path(source)
    folders = (folder for folder in (path, *path.parents) if run_directory.holds_run(folder))
    return next(map(run_directory.RunDirectory, folders), None)


def _recipe_of(source: str) -> Recipe | None:
    """The recipe of the run that a path lies in; if there is no such run, the recipe of the path's name."""
    from recipes import config

    try:
        run = run_of(source)
        return run.recipe if run else config.load(pathlib.Path(source).name)
    except UserError:
        return None
