"""One page per method: its card from ``docs/models``, and its options, trained weights and recipes from the sources."""

from __future__ import annotations

import inspect
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import recipes.config
import zoo
from zoo import checks, registry
from zoo.pretrained import catalogue

CARDS = pathlib.Path(__file__).with_name("models")
_FIGURES = "\n## Figures\n"  # the first section of a card
_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)
_ROLE = re.compile(r":\w+:`~?([^`]*)`")


def pages() -> dict[str, str]:
    """Method -> the Markdown of its page."""
    recipes_of = _recipes()
    return {name: _page(name, recipes_of[name]) for name in methods()}


def methods() -> list[str]:
    """The models of the zoo and its estimators."""
    return [*zoo.list_models(), *registry.ESTIMATORS]


def _page(name: str, trained_by: list[str]) -> str:
    head, _, figures = (CARDS / f"{name}.md").read_text("utf-8").partition(_FIGURES)
    sections = [head.rstrip(), _built(name), "## Options", _options(name)]
    if weights := _weights(name):
        sections += ["## Trained weights", weights]
    return "\n\n".join([*sections, "## Recipes", "\n".join(trained_by), f"{_FIGURES.lstrip()}{figures}"])


def _built(name: str) -> str:
    """How the method is built, and where its equations and an example are documented."""
    if name in registry.ESTIMATORS:
        return f"A scikit-learn estimator: {{py:class}}`{registry.ESTIMATORS[name]}` has its equations and an example."
    builder = registry.get(name).builder
    return (
        f'`zoo.build("{name}", num_classes=C)` builds it with the options below; '
        f"{{py:func}}`{builder.__module__}.{builder.__name__}` has its equations, inputs and an example."
    )


def _options(name: str) -> str:
    """A table of the options: defaults and values from the signature, meanings from the docstring."""
    if name in registry.ESTIMATORS:
        documented = registry.estimator(name)
        called: Any = documented.__init__  # type: ignore[misc]
    else:
        documented = called = registry.get(name).builder
    hints = checks.option_hints(called)
    meanings = _arguments(inspect.getdoc(documented) or "")
    lines = ["| option | default | what it is | values |", "| --- | --- | --- | --- |"]
    for parameter in inspect.signature(called).parameters.values():
        if parameter.name in meanings and parameter.name != "num_classes" and parameter.kind != parameter.VAR_KEYWORD:
            default = "" if parameter.default is parameter.empty else f"`{parameter.default!r}`"
            cells = [f"`{parameter.name}`", default, meanings[parameter.name], _values(hints[parameter.name])]
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _values(hint: Any) -> str:
    """The values of an option; empty where its type is ``Any`` or a mapping, whose values its meaning states."""
    return "" if hint is Any or hint is Mapping else checks.accepted_values(hint)


def _arguments(docstring: str) -> dict[str, str]:
    """Argument -> its text in the docstring, as Markdown."""
    section = docstring.partition("\nArgs:\n")[2].partition("\n\n")[0]
    texts = {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(section)}
    return {name: _ROLE.sub(r"`\1`", text).replace("``", "`") for name, text in texts.items()}


def _weights(name: str) -> str:
    lines = []
    for key, entry in zoo.list_pretrained().items():
        if entry.model == name:
            weights = entry.data if isinstance(entry, catalogue.Shipped) else key
            classes = f"{len(entry.labels)} classes; trained on {entry.trained_on}; {entry.licence}"
            lines.append(f'- `zoo.build("{name}", weights="{weights}")`: {classes}')
    return "\n".join(lines)


def _recipes() -> dict[str, list[str]]:
    """Method -> lines about the recipes that train it, also as a stage of another method."""
    trained: dict[str, list[str]] = {name: [] for name in methods()}
    within: dict[str, list[str]] = {name: [] for name in methods()}
    for name in recipes.config.names():
        recipe = recipes.config.load(name)
        method = recipe.model.name
        title = _title(name)
        trained[method].append(f"- `adl train --recipe {name}`: {title}")
        for stage in {stage.model.name for stage in recipe.stages if stage.model} - {method}:
            within[stage].append(f"`{name}`")
    for name, found in within.items():
        if found:
            trained[name].append(f"\nIt is a stage of {', '.join(found)}.")
        if not trained[name]:
            trained[name].append("None; [training](/training.md) tells how to write one.")
    return trained


def _title(recipe: str) -> str:
    """The first sentence of the comment at the head of a recipe."""
    comment = (recipes.config.CONFIGS / f"{recipe}.yaml").read_text("utf-8").partition("\n#\n")[0]
    return " ".join(line.lstrip("# ") for line in comment.splitlines()).rstrip(":.") + "."
