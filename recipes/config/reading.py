"""Reading a recipe: YAML, ``--set`` overrides, and values checked against the types of the sections.

A mistake is reported in one line that names the key, what was expected and the nearest valid name.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import operator
import pathlib
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

from recipes.config import renamed, rules
from recipes.config.rules import Invalid, unknown
from recipes.config.sections import Model, Recipe
from tfrecords import protocols
from zoo import registry
from zoo.shared import yaml_text
from zoo.shared.errors import UserError

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

_LIMITS = {"above": operator.gt, "at_least": operator.ge, "at_most": operator.le, "below": operator.lt}


def names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def load(recipe: str | pathlib.Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        recipe: Name of a recipe in ``recipes/configs``, or path of a YAML file. A name may end in a protocol of the
            recipe's dataset, such as ``vpn_ntu60_cv``.
        overrides: ``key=value`` strings. Keys are dotted, with the name of a stage in place of its index; values are as
            in YAML. ``model.weights`` also replaces the starting weights of the stages' models; ``null``: random
            weights.

    Returns:
        A :class:`Recipe`.

    Raises:
        UserError: There is no such recipe, or a key or value is wrong.
    """
    path, protocol = _find(recipe)
    values = yaml_text.read(path, f"recipe {recipe}")
    if isinstance(values, dict):
        values = renamed.current(values, renamed.print_notice)
        chosen = [*([f"data.protocol={protocol}"] if protocol else []), *overrides]
        values = _of_protocol(values, chosen, f"recipe {recipe}")
        for override in chosen:
            _override(values, override)
            values = renamed.current(values, renamed.print_notice)
        values.setdefault("name", f"{path.stem}_{protocol}" if protocol else path.stem)
    return from_dict(values, f"recipe {recipe}")


def from_dict(values: Any, where: str = "recipe") -> Recipe:
    """The recipe of YAML values; the inverse of :meth:`Recipe.to_dict`.

    Args:
        values: A mapping as a YAML file holds it; old names of keys are read too.
        where: What error messages start with.

    Returns:
        A :class:`Recipe`.

    Raises:
        UserError: A key or value is wrong.
    """
    try:
        recipe = _read(Recipe, renamed.current(values), "")
        rules.check(recipe)
    except Invalid as error:
        raise UserError(f"{where}: {error}") from None
    return recipe


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Dotted keys in which two recipes differ, stages by their names."""
    missing = object()
    before, after = flat(old), flat(new)
    return [key for key in {**before, **after} if before.get(key, missing) != after.get(key, missing)]


def flat(recipe: Recipe) -> dict[str, Any]:
    """Dotted key -> value of a recipe, stages by their names.

    Example:
        >>> flat(load("pose_lstm_nucla"))["stages.pose.optimizer.name"]
        'adam'
    """

    def leaves(value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = {item.get("name", number): item for number, item in enumerate(value)}
        if isinstance(value, dict):
            return {k: v for key, item in value.items() for k, v in leaves(item, f"{path}.{key}").items()}
        return {path[1:]: value}

    return leaves(recipe.to_dict(), "")


def _find(recipe: str | pathlib.Path) -> tuple[pathlib.Path, str | None]:
    """Path of a recipe, and the protocol that its name ends in (``None``: the recipe's own protocol)."""
    path, protocol = pathlib.Path(recipe), None
    if path.suffix not in (".yaml", ".yml"):
        name = str(recipe)
        if name not in names():
            name, protocol = _without_protocol(name)
        path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"recipe {recipe}: no such file, expected a YAML file or one of {_listed(names())}")
    return path, protocol


def _without_protocol(name: str) -> tuple[str, str]:
    """``(recipe, protocol)`` of a name such as ``vpn_ntu60_cv``."""
    for recipe in names():
        if name.startswith(f"{recipe}_"):
            path, protocol = CONFIGS / f"{recipe}.yaml", name[len(recipe) + 1 :]
            dataset = yaml_text.read(path, f"recipe {recipe}")["data"]["dataset"]
            if protocol in protocols.PROTOCOLS.get(dataset, ()):
                return recipe, protocol
    raise UserError(unknown("unknown recipe", name, names()))


def _of_protocol(values: dict[str, Any], overrides: Iterable[str], where: str) -> dict[str, Any]:
    """The recipe's YAML values, with its section ``protocols`` applied for the protocol that it is trained on.

    Args:
        values: YAML values, maybe with ``protocols``: protocol -> dotted key -> value that replaces the recipe's.
        overrides: The overrides of :func:`load`, which may choose the protocol.
        where: What error messages start with.
    """
    sections = values.get("protocols")
    values = {key: value for key, value in values.items() if key != "protocols"}
    if sections is None:
        return values
    changed = copy.deepcopy(values)
    for override in overrides:
        _override(changed, override)
    data = changed.get("data")
    dataset, protocol = (data.get(key) if isinstance(data, dict) else None for key in ("dataset", "protocol"))
    if not isinstance(sections, dict):
        raise UserError(f"{where}: protocols: expected {{cv1: {{model.dropout: 0.5}}}}, found {_shown(sections)}")
    for name, settings in sections.items():
        if dataset in protocols.PROTOCOLS and name not in protocols.PROTOCOLS[dataset]:
            raise UserError(f"{where}: protocols: {unknown('unknown protocol', name, protocols.PROTOCOLS[dataset])}")
        if not isinstance(settings, dict):
            raise UserError(f"{where}: protocols.{name}: expected {{model.dropout: 0.5}}, found {_shown(settings)}")
        if name == protocol:
            for key, value in settings.items():
                _assign(values, str(key), value, f"{where}: protocols.{name}: {key}")
    return values


def _override(values: dict[str, Any], override: str) -> None:
    """Applies one ``key=value`` to the recipe's YAML values."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UserError(f"--set {override}: expected key=value, such as stages.pose.epochs=50")
    _assign(values, key.strip(), yaml_text.parse(text, f"--set {override}"), f"--set {override}")


def _assign(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Gives a dotted key a value in the recipe's YAML values; ``where`` is what error messages start with."""
    path = key.split(".")
    section: Any = values
    for depth, step in enumerate(path[:-1]):
        if step == "model" and isinstance(section, dict) and isinstance(section.get(step), str):
            section[step] = {"name": section[step]}  # a model may be its name alone
        if isinstance(section, dict):
            section = section.setdefault(step, {})
        elif isinstance(section, list):
            section = _named(section, step, ".".join(path[:depth]), where)
        if section is None or not isinstance(section, (dict, list)):
            raise UserError(
                f"{where}: {'.'.join(path[: depth + 1])} is {_shown(section)}, expected a section with keys"
            )
    if isinstance(section, list):
        raise UserError(f"{where}: name a key of the stage too, such as {key}.epochs=50")
    if path == ["model", "weights"]:
        for backbone in _starting(values):
            backbone["weights"] = value
        if _starting(values) and "weights" not in section:
            return
    section[path[-1]] = value


def _starting(values: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages' models that name weights to start from; ``--set model.weights`` applies to them too."""
    stages = values.get("stages")
    found = [stage.get("model") for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []
    return [model for model in found if isinstance(model, dict) and "weights" in model]


def _named(stages: list, name: str, path: str, where: str) -> dict[str, Any]:
    """The stage of that name in a YAML list of stages."""
    by_name = {str(stage.get("name")): stage for stage in stages if isinstance(stage, dict)}
    if name not in by_name:
        raise UserError(f"{where}: {unknown(f'{path} has no stage', name, by_name)}")
    return by_name[name]


def _read(annotation: Any, value: Any, path: str, limits: Mapping[str, float] | None = None) -> Any:
    """A YAML value as the annotated type.

    Args:
        annotation: A dataclass, a basic type, or ``Optional``, ``Union``, ``Literal`` or ``tuple[X, ...]`` of them.
        value: The value in YAML.
        path: Dotted keys of the value, for errors.
        limits: Restrictions of numbers, as the sections declare them.

    Returns:
        The value.

    Raises:
        Invalid: It is of another type, unknown or out of its range.
    """
    if typing.get_origin(annotation) is Union:
        annotation = _alternative(typing.get_args(annotation), value, path)
    if annotation is Model:
        return _read_model(value, path)
    if dataclasses.is_dataclass(annotation):
        return _read_section(annotation, value, path)
    if not _fits(annotation, value):
        raise Invalid(path, f"expected {_expected(annotation)}, found {_shown(value)}")
    if isinstance(value, list):
        items = (typing.get_args(annotation) or (str,))[0]
        return tuple(_read(items, item, _item_path(path, item, n)) for n, item in enumerate(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_limits(value, path, limits or {})
    return float(value) if annotation is float else value


def _alternative(annotations: tuple, value: Any, path: str) -> Any:
    """The type of a union that a value is meant for; sections are told apart by their ``name``."""
    sections = [a for a in annotations if dataclasses.is_dataclass(a)]
    fitting = [a for a in annotations if a not in sections and _fits(a, value)]
    if fitting:
        return fitting[0]
    if len(sections) == 1:
        return sections[0]
    if not sections:
        raise Invalid(path, f"expected {' or '.join(map(_expected, annotations))}, found {_shown(value)}")
    by_name = {typing.get_args(_types(section)["name"])[0]: section for section in sections}
    if not isinstance(value, dict) or "name" not in value:
        raise Invalid(path, f"expected {{name: {' or '.join(by_name)}, ...}}, found {_shown(value)}")
    name = str(value["name"])
    if name not in by_name:
        raise Invalid(_join(path, "name"), unknown("unknown name", name, by_name))
    return by_name[name]


def _fits(annotation: Any, value: Any) -> bool:
    """Whether a value other than a mapping is of a type."""
    if typing.get_origin(annotation) is Literal:
        return any(type(value) is type(valid) and value == valid for valid in typing.get_args(annotation))
    if annotation is tuple or typing.get_origin(annotation) is tuple:
        return isinstance(value, list)
    if isinstance(value, bool):  # an int to Python, but not to a reader
        return annotation is bool
    return isinstance(value, (int, float) if annotation is float else annotation)


def _read_model(value: Any, path: str) -> Model:
    """A model: a name alone, or ``{name, options...}``; :mod:`zoo` checks the options."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise Invalid(path, f"expected a model such as {{name: pose_lstm, lstm_units: 128}}, found {_shown(value)}")
    options = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items() if key != "name"}
    if options.get("weights", "") is None and value["name"] not in registry.ESTIMATORS:
        del options["weights"]  # null is a network's default
    return Model(value["name"], options)


def _read_section(section: Any, value: Any, path: str) -> Any:
    """A dataclass from a mapping: unknown and missing keys are errors."""
    types = _types(section)
    if not isinstance(value, dict):
        raise Invalid(path, f"expected {_expected(section)}, found {_shown(value)}")
    for key in value:
        if key not in types:
            raise Invalid(path, unknown("unknown key", key, types))
    arguments = {}
    for field in dataclasses.fields(section):
        key = _join(path, field.name)
        if field.name in value:
            arguments[field.name] = _read(types[field.name], value[field.name], key, field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Invalid(key, f"missing, expected {_expected(types[field.name])}")
    try:
        return section(**arguments)
    except ValueError as error:  # restrictions that a section of another package checks itself
        raise Invalid(path, str(error)) from None


def _check_limits(value: float, path: str, limits: Mapping[str, float]) -> None:
    try:
        finite = math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        finite = False
    if not finite or not all(_LIMITS[name](value, limit) for name, limit in limits.items()):
        words = " and ".join(f"{name.replace('_', ' ')} {limit:g}" for name, limit in limits.items())
        raise Invalid(path, f"expected a number {words or 'that is finite'}, found {value!r}")


def _types(section: Any) -> dict[str, Any]:
    """Key -> annotation of a section's fields."""
    hints = typing.get_type_hints(section)
    return {field.name: hints[field.name] for field in dataclasses.fields(section)}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _item_path(path: str, item: Any, number: int) -> str:
    """``stages.pose`` for a named item of a list, ``init.0`` for an item without a name."""
    return _join(path, item.get("name", number) if isinstance(item, dict) else number)


def _listed(valid: Iterable) -> str:
    return ", ".join(map(str, valid))


def _expected(annotation: Any) -> str:
    """A type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is Union:
        return " or ".join(map(_expected, arguments))
    if origin is tuple:
        return f"a list of {_expected(arguments[0])}"
    if dataclasses.is_dataclass(annotation):
        return f"{{{_listed(_types(annotation))}}}"
    words: dict[Any, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    words[type(None)] = "null"
    return words.get(annotation, "a list")


def _shown(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"
