"""Imports run one way: serving and recipes -> tfrecords -> some modules of zoo; zoo imports none of the others."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = {"zoo", "tfrecords", "recipes", "serving"}
ALLOWED = {
    "zoo": {"zoo"},
    "tfrecords": {"tfrecords", "zoo.shared", "zoo.skeletons"},
    "recipes": {"recipes", "tfrecords", "zoo"},
    "serving": {"serving", "tfrecords", "zoo"},
}


def _imports(path):
    """Full names of what a file imports from our packages."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = []
        yield from (name for name in names if name.partition(".")[0] in PACKAGES)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for name in _imports(path):
            allowed = any(f"{name}.".startswith(f"{target}.") for target in ALLOWED[package])
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"
