"""YAML that people write: a mistake becomes an error of one line."""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any

import yaml

from zoo.shared import messages
from zoo.shared.errors import UserError

_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """YAML with numbers such as ``1e-4`` (text in YAML 1.1), and without silently repeated keys."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Adds what ``<<`` merges into a mapping; an error if one of its own keys comes twice."""
        if id(node) not in self._checked:  # later the node also has merged keys, which its own replace
            self._checked.add(id(node))
            keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key!r} comes twice", node.start_mark)
        super().flatten_mapping(node)


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


def read(path: str | os.PathLike, where: str) -> Any:
    """The value of a YAML file.

    Args:
        path: The file.
        where: What error messages start with.

    Raises:
        UserError: It cannot be read, is no text in UTF-8, or as :func:`parse`.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({error.strerror}), expected a YAML file") from None
    except UnicodeDecodeError:
        raise UserError(f"{where}: is no text in UTF-8, save the file in that encoding") from None
    return parse(text, where)
