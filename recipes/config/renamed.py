"""Former names of keys, which are still read: in recipes, with ``--set`` and in run directories.

Former names of a model's options stand beside its builder, see :func:`zoo.registry.renamed`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from zoo import registry

STAGE = {"recompute": "gradient_checkpointing", "rates": "layer_learning_rates"}  # old -> new key of a stage


def print_notice(text: str) -> None:
    """Prints one line on stderr."""
    print(f"notice: {text}", file=sys.stderr)


def current(values: Any, notice: Callable[[str], None] = lambda text: None) -> Any:
    """The YAML values of a recipe, with the present names of keys.

    Args:
        values: What a YAML file holds; anything but a mapping is returned as it is.
        notice: Called with one line for every old key.

    Returns:
        A new mapping. If a key occurs under both names, the value of the old name is used: it comes from ``--set``,
        which is applied after the file.

    Example:
        >>> current({"stages": [{"name": "joint", "recompute": True}]}, print)
        stages.joint.recompute is now gradient_checkpointing
        {'stages': [{'name': 'joint', 'gradient_checkpointing': True}]}
    """
    if not isinstance(values, dict):
        return values
    values = dict(values)
    if "model" in values:
        values["model"] = _model(values["model"], "model", notice)
    if isinstance(values.get("stages"), list):
        values["stages"] = [_stage(stage, notice) for stage in values["stages"]]
    return values


def _stage(stage: Any, notice: Callable[[str], None]) -> Any:
    if not isinstance(stage, dict):
        return stage
    path = f"stages.{stage.get('name')}"
    if "least_steps" in stage:
        notice(f"{path}.least_steps is no longer read: least_epoch_steps is the number of an epoch's steps")
        stage = {key: value for key, value in stage.items() if key != "least_steps"}
    stage = _rename(stage, STAGE, path, notice)
    return {**stage, "model": _model(stage["model"], f"{path}.model", notice)} if "model" in stage else stage


def _model(model: Any, path: str, notice: Callable[[str], None]) -> Any:
    if not isinstance(model, dict):
        return model
    name = model.get("name")
    names = registry.renamed(name) if name in registry.list_models() else {}
    return _rename(model, names, path, notice)


def _rename(section: dict, names: dict[str, str], path: str, notice: Callable[[str], None]) -> dict:
    """The section, in its order, with new names."""
    renamed: dict[str, Any] = {}
    for key, value in section.items():
        if key in names:
            notice(f"{path}.{key} is now {names[key]}")
            renamed[names[key]] = _merged(renamed.get(names[key]), value)
        elif key not in renamed:
            renamed[key] = value
    return renamed


def _merged(old: Any, new: Any) -> Any:
    """The new value; ``--set`` of a key inside a mapping leaves the other keys of the mapping as they are."""
    return {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
