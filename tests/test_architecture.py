"""Imports form no cycle and run one way (serving, recipes -> tfrecords -> parts of zoo); public names have hints."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Package -> what its modules may import of the project.
ALLOWED = {
    "zoo": ("zoo",),
    "tfrecords": ("tfrecords", "zoo.shared", "zoo.skeletons"),
    "recipes": ("recipes", "tfrecords", "zoo"),
    "serving": ("serving", "tfrecords", "zoo"),
    "adl": ("adl", "recipes", "serving", "tfrecords", "zoo"),
}
# Room -> modules of its own package that it must not import: those that build upon it.
BELOW = {
    "zoo.shared": ("zoo",),
    "zoo.models": ("zoo.fusion",),
    "zoo.pretrained": ("zoo.factory", "zoo.fusion"),
    "tfrecords.reading": ("tfrecords.converting", "tfrecords.datasets", "tfrecords.estimation", "tfrecords.synthadl"),
    "tfrecords.synthadl": ("tfrecords.reading", "tfrecords.converting", "tfrecords.datasets"),
    "serving.savedmodel": ("serving.client", "serving.server", "serving.deploy"),
    "serving.client": ("serving.server", "serving.deploy"),
}


def _modules(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """Module -> file, of the four packages below a folder."""
    found = {}
    for package in ALLOWED:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _nodes(node)


def import_graph(root: pathlib.Path) -> dict[str, set[str]]:
    """Module -> modules of the project that it imports, inside functions too.

    A package counts as imported where something that only its ``__init__`` has is imported of it.
    """
    modules = _modules(root)
    graph = {}
    for module, path in modules.items():
        names = set()
        for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                full = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                names.update(name if name in modules else node.module for name in full.values())
        graph[module] = (names & set(modules)) - {module}
    return graph


def import_cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one cycle, the first again at the end; empty if there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for imported in sorted(graph[module]):
            if cycle := visit(imported, [*path, module]):
                return cycle
        done.add(module)
        return []

    return next((cycle for module in graph if (cycle := visit(module, []))), [])


def _is_below(name: str, parents: tuple[str, ...]) -> bool:
    return any(f"{name}.".startswith(f"{parent}.") for parent in parents)


def imports_against_the_direction(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Pairs ``(module, what it must not import)``."""
    wrong = []
    for module, imported in graph.items():
        allowed = ALLOWED[module.partition(".")[0]]
        wrong += [(module, name) for name in sorted(imported) if not _is_below(name, allowed)]
        for room, forbidden in BELOW.items():
            if _is_below(module, (room,)):
                outside = [name for name in sorted(imported) if not _is_below(name, (room,))]
                wrong += [(module, name) for name in outside if _is_below(name, forbidden)]
    return wrong


@pytest.fixture(scope="module")
def graph():
    return import_graph(ROOT)


def test_no_import_cycle(graph):
    assert len(graph) > 100
    assert not import_cycle(graph)


def test_imports_run_one_way(graph):
    assert not imports_against_the_direction(graph)


@pytest.mark.parametrize(
    ("files", "cycle", "wrong"),
    [
        ({"zoo/a.py": "from zoo.b import f", "zoo/b.py": "def f():\n    import zoo.a"}, ["zoo.a", "zoo.b"], []),
        ({"zoo/a.py": "from tfrecords import b", "tfrecords/b.py": ""}, [], [("zoo.a", "tfrecords.b")]),
        ({"tfrecords/a.py": "import zoo.b", "zoo/b.py": ""}, [], [("tfrecords.a", "zoo.b")]),
        ({"zoo/shared/a.py": "from zoo import b", "zoo/b.py": ""}, [], [("zoo.shared.a", "zoo.b")]),
    ],
)
def test_a_planted_one_is_found(tmp_path, files, cycle, wrong):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    planted = import_graph(tmp_path)
    assert import_cycle(planted)[:-1] == cycle
    assert imports_against_the_direction(planted) == wrong


# ----------------------------------------------------------------------------------------------------- type hints


def _public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Name -> function, of a module's public functions and the public methods of its public classes."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in tree.body:
        if isinstance(node, functions) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, functions) and (method.name == "__init__" or not method.name.startswith("_")):
                    yield f"{node.name}.{method.name}", method


def _lacks_hints(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    bare = [a.arg for a in arguments if a is not None and a.annotation is None and a.arg not in ("self", "cls")]
    return bool(bare) or (function.returns is None and function.name != "__init__")


@pytest.mark.parametrize("package", ALLOWED)
def test_public_functions_have_type_hints(package):
    bare = []
    for module, path in _modules(ROOT).items():
        if _is_below(module, (package,)) and not any(part.startswith("_") for part in module.split(".")):
            functions = _public_functions(ast.parse(path.read_text(encoding="utf-8")))
            bare += [f"{module}.{name}" for name, function in functions if _lacks_hints(function)]
    assert not bare
