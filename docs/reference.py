"""The pages of the API reference, one per package, made from the sources: new public names appear automatically.

The sources are read, not imported. A page consists of the directives with which Sphinx renders the docstrings.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import functools
import inspect
import pathlib
import re
import typing
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("zoo", "tfrecords", "recipes", "serving", "adl")
# Names in roles and type hints that other projects document: Python's own names, and dotted names of any package other
# than the project's.
NAMES_OF_OTHERS = (
    rf"(?!(?:{'|'.join(PACKAGES)})\b)(?:\w+(?:\.\w+)+|{'|'.join([*dir(builtins), *typing.__all__])}|optional)"
)
_ROLE = re.compile(r":(?:py:)?(class|func|meth|data|mod|exc|obj|attr):`(~?)([\w.]+)`")
_WORDS = re.compile(r"\S(?:.*\S)?")  # without the spaces around them
_LONGEST_VALUE = 60  # characters; a longer value of a constant is left out


@dataclasses.dataclass(frozen=True)
class Module:
    """A public module, read from its file.

    Attributes:
        name: Its dotted name.
        is_package: Whether it is the ``__init__.py`` of a package.
        defined: Public name -> the statement that defines it.
        imported: Public name -> the dotted name that it is imported from; only names of the project.
        listed: The names in ``__all__``, if it has one.
        body: Its statements.
        source: The file's text.
    """

    name: str
    is_package: bool
    defined: dict[str, ast.stmt]
    imported: dict[str, str]
    listed: tuple[str, ...] | None
    body: list[ast.stmt]
    source: str

    @property
    def public(self) -> list[str]:
        """Its public names: those in ``__all__``, else those that it defines."""
        names = self.defined if self.listed is None else self.listed
        return [name for name in names if not name.startswith("_")]


@functools.lru_cache(maxsize=1)
def modules() -> dict[str, Module]:
    """Dotted name -> module, of all public modules; a package comes before what is in it."""
    found = {}
    for package in PACKAGES:
        for path in sorted(
            (ROOT / package).rglob("*.py"), key=lambda path: (path.parent, path.name != "__init__.py", path)
        ):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            parts = parts[:-1] if is_package else parts
            if not any(part.startswith("_") for part in parts):
                found[".".join(parts)] = _read(".".join(parts), is_package, path.read_text("utf-8"))
    return found


def _read(name: str, is_package: bool, source: str) -> Module:
    tree = ast.parse(source)
    defined: dict[str, ast.stmt] = {}
    imported: dict[str, str] = {}
    listed = None
    statements = [inner for outer in tree.body for inner in (outer.body if isinstance(outer, ast.If) else [outer])]
    for statement in statements:  # also those under ``if TYPE_CHECKING:``
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            defined[statement.name] = statement
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            if isinstance(target, ast.Name) and target.id == "__all__":
                listed = tuple(ast.literal_eval(statement.value))
            else:  # ``FIRST, SECOND = ...`` are two names
                targets = target.elts if isinstance(target, ast.Tuple) else [target]
                defined |= {name.id: statement for name in targets if isinstance(name, ast.Name)}
        elif isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] in PACKAGES:
            imported |= {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}
    defined = {key: value for key, value in defined.items() if not key.startswith("_")}
    return Module(name, is_package, defined, imported, listed, tree.body, source)


@functools.lru_cache(maxsize=1)
def homes() -> dict[str, str]:
    """Dotted name -> the name it is documented under: that of the outermost package that lists it in ``__all__``."""
    found: dict[str, str] = {}
    for module in modules().values():
        for name in module.listed or () if module.is_package else ():
            found.setdefault(_definition(f"{module.name}.{name}"), f"{module.name}.{name}")
    for module in modules().values():
        for name in [*module.defined, *module.imported]:
            defined_as = _definition(f"{module.name}.{name}")
            found.setdefault(f"{module.name}.{name}", found.get(defined_as, defined_as))
    return found


def _definition(name: str) -> str:
    """The dotted name under which something is defined; imports are followed to the definition."""
    module, _, last = name.rpartition(".")
    if module in modules() and last not in modules()[module].defined and last in modules()[module].imported:
        return _definition(modules()[module].imported[last])
    return name


def pages() -> dict[str, str]:
    """Package -> the reStructuredText of its page."""
    return {module.name: _page(module) for module in modules().values() if module.is_package}


def _page(package: Module) -> str:
    inner = [module for module in modules().values() if module.name.rpartition(".")[0] == package.name]
    packages = [module.name for module in inner if module.is_package]
    contents = "\n".join([".. toctree::\n   :maxdepth: 1\n", *(f"   {name}" for name in packages)]) if packages else ""
    blocks = [_heading(package.name, "="), _section(package, contents)]
    blocks += [f"{_heading(module.name, '-')}\n\n{_section(module)}" for module in inner if not module.is_package]
    return "\n\n".join(blocks) + "\n"


def _section(module: Module, contents: str = "") -> str:
    """The description of a module: its docstring, links to the packages in it, its names."""
    names = {name: homes()[f"{module.name}.{name}"] for name in module.public}
    here = [home for name, home in names.items() if home == f"{module.name}.{name}"]
    moved = {name: home for name, home in names.items() if home not in here}
    blocks = [f".. automodule:: {module.name}", *filter(None, [contents])]
    for text, found in (
        ("Documented as names of the package", {name: home for name, home in moved.items() if name in module.defined}),
        ("Importable from here too", {name: home for name, home in moved.items() if name not in module.defined}),
    ):
        if found:
            blocks.append(f"{text}: {', '.join(f':py:obj:`{name} <{home}>`' for name, home in found.items())}.")
    return "\n\n".join([*blocks, *map(_directive, here)])


def _directive(home: str) -> str:
    origin, _, name = _definition(home).rpartition(".")
    module = modules()[origin]
    statement = module.defined[name]
    if isinstance(statement, ast.ClassDef):
        private = any(isinstance(base, ast.Name) and base.id.startswith("_") for base in statement.bases)
        return f".. autoclass:: {home}\n   :members:\n   :{'inherited-members' if private else 'show-inheritance'}:"
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return f".. autofunction:: {home}"
    return _constant(home, module, statement)


def _constant(home: str, module: Module, statement: ast.stmt) -> str:
    """A module's constant: its value if that is short, and the docstring or comment at it."""
    context, _, name = home.rpartition(".")
    lines = [f".. py:data:: {name}", f"   :module: {context}"]
    value = ast.unparse(statement.value) if statement.value is not None and not _is_tuple(statement) else ""
    if 0 < len(value) <= _LONGEST_VALUE:
        lines.append(f"   :value: {value}")
    after = next((next_ for this, next_ in zip(module.body, module.body[1:]) if this is statement), None)
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        lines += ["", *(f"   {line}" for line in after.value.value.splitlines())]
    elif comment := re.search(r"  # (.+)", module.source.splitlines()[statement.end_lineno - 1]):
        lines += ["", f"   {comment[1][0].upper()}{comment[1][1:].rstrip('.')}."]
    return _ROLE.sub(functools.partial(_linked, module, context), "\n".join(lines))


def _is_tuple(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Tuple)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"


def complete(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Completes a docstring before it is rendered: roles get full names, and arguments the types of the signature."""
    module, node = _source(name)
    lines[:] = [_ROLE.sub(functools.partial(_linked, module, _context(name)), line) for line in lines]
    types = _annotations(module, node)
    if what in ("attribute", "data", "property") and lines:
        lines[0] = f"{types.get('return', '')}: {lines[0]}"
    section = ""
    for number, line in enumerate(lines):
        if header := re.fullmatch(r"([A-Z]\w+):", line):
            section = header[1]
        elif section in ("Args", "Attributes") and (entry := re.match(r" {4}\*{0,2}(\w+):", line)):
            if text := types.get(entry[1]):
                lines[number] = f"{entry[0][:-1]} ({text}):{line[entry.end() :]}"
        elif section == "Raises" and (entry := re.match(r" {4}(\w+):", line)):
            lines[number] = f"    {_home(module, entry[1]) or entry[1]}:{line[entry.end() :]}"
        elif section in ("Returns", "Yields") and line.strip():
            # Without this prefix, Sphinx would take a colon in the text for the end of the type.
            lines[number] = f"    {types.get('return', '')}: {line.strip()}"
            section = ""


def _source(name: str) -> tuple[Module, ast.AST | None]:
    """The module that defines a documented name, and the defining statement; ``None`` if the name is a module's."""
    parts = name.split(".")
    split = next(number for number in range(len(parts), 0, -1) if ".".join(parts[:number]) in modules())
    if split == len(parts):
        return modules()[name], None
    origin, _, last = _definition(".".join(parts[: split + 1])).rpartition(".")
    module = modules()[origin]
    return module, _member(module, module.defined[last], parts[split + 1 :])


def _member(module: Module, node: ast.AST, path: list[str]) -> ast.AST | None:
    """The statement of a class's member; a base class in the same file may define it."""
    for name in path:
        if not isinstance(node, ast.ClassDef):
            return None
        classes = [node, *_bases(module, node)]
        found = [inner for outer in classes for inner in outer.body if getattr(inner, "name", None) == name]
        if not found:
            return None
        node = found[0]
    return node


def _bases(module: Module, node: ast.ClassDef) -> list[ast.ClassDef]:
    """The bases of a class that are defined in the same file."""
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return [outer for outer in module.body if isinstance(outer, ast.ClassDef) and outer.name in names]


def _annotations(module: Module, node: ast.AST | None) -> dict[str, str]:
    """Argument or attribute, or ``return`` -> its type as reStructuredText."""
    found: dict[str, ast.expr | None] = {}
    if isinstance(node, ast.ClassDef):
        for inner in [inner for outer in [*_bases(module, node), node] for inner in outer.body]:
            if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                found[inner.target.id] = inner.annotation
            elif isinstance(inner, ast.FunctionDef):
                found |= {inner.name: inner.returns} if inner.decorator_list else {}
                found |= _arguments(inner) if inner.name == "__init__" else {}
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        found = {**_arguments(node), "return": node.returns}
    return {name: _typed(module, annotation) for name, annotation in found.items() if annotation is not None}


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr | None]:
    all_ = function.args
    arguments = [*all_.posonlyargs, *all_.args, *all_.kwonlyargs, all_.vararg, all_.kwarg]
    return {argument.arg: argument.annotation for argument in arguments if argument}


def _typed(module: Module, annotation: ast.expr) -> str:
    """A type in italics, in which the project's names are links."""
    quoted = isinstance(annotation, ast.Constant) and isinstance(annotation.value, str)
    text = annotation.value if quoted else ast.unparse(annotation)  # type: ignore[attr-defined]
    pieces = [""]
    for number, piece in enumerate(re.split(r"(?<![\w.'\"])([A-Za-z_][\w.]*)(?![\w'\"])", text)):
        if number % 2 and (home := _home(module, piece)):
            pieces += [f":py:obj:`{piece} <{home}>`", ""]
        else:
            pieces[-1] += piece
    in_italics = [piece if piece.startswith(":py:obj:") else _WORDS.sub(r"*\g<0>*", piece) for piece in pieces if piece]
    return r"\ ".join(in_italics)


def _home(module: Module, name: str) -> str | None:
    """The name under which a project name in a module's text is documented; ``None`` for names of other projects."""
    first, _, rest = name.partition(".")
    if first in module.defined:
        first = f"{module.name}.{first}"
    elif first in module.imported:
        first = module.imported[first]
    elif first not in PACKAGES:
        return None
    parts = f"{first}.{rest}".rstrip(".").split(".")
    for split in range(len(parts), 0, -1):
        known = ".".join(parts[:split])
        if known in homes():
            return ".".join([homes()[known], *parts[split:]])
    return ".".join(parts)


def _linked(module: Module, context: str, role: re.Match[str]) -> str:
    """A role with the full name of its target, where Sphinx would not find the short name from the page's module."""
    kind, tilde, name = role.groups()
    home = _home(module, name)
    if home in (None, name, f"{context}.{name}"):
        return role[0]
    return f":{kind}:`{name.rpartition('.')[2] if tilde else name} <{home}>`"


def _context(name: str) -> str:
    """The module in the name under which something is documented."""
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def skip(app: Any, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """Leaves out members that a class inherits from another package."""
    module = getattr(inspect.unwrap(thing), "__module__", None)
    return True if isinstance(module, str) and module.partition(".")[0] not in PACKAGES else None
