"""YAML that people write: a mistake is one line."""

from __future__ import annotations

import re
from typing import Any

import yaml

from zoo.shared import messages
from zoo.shared.errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML with numbers such as ``1e-4`` (text in YAML 1.1), and without silently repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping; an error if a key comes twice."""
        mapping = super().construct_mapping(node, deep)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} comes twice", node.start_mark)
        return mapping


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: The text.
        where: What error messages start with.

    Raises:
        UserError: It is no YAML, or a key comes twice.

    Example:
        >>> parse("{learning_rate: 1e-4}", "recipe.yaml")
        {'learning_rate': 0.0001}
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = messages.one_line(getattr(error, "problem", None) or error)
        raise UserError(f"{where}{line}: not valid YAML: {problem}") from None
