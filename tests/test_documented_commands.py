"""What the pages show is right: commands parse and name what exists, and so do snippets of Python.

``tests/test_documented_runs.py`` runs what can run.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import contextlib
import functools
import importlib
import inspect
import io
import json
import re
import runpy
import sys
import textwrap
import warnings

import pytest

import zoo
from adl import commands as adl_commands
from recipes import config
from tests import documented
from tests.documented import CHECKED, PAGES, ROOT, UNCHECKED, Block, Command
from zoo import registry
from zoo.shared import command_line, yaml_text
from zoo.shared.errors import UserError

PACKAGES = ("adl", "recipes", "serving", "tfrecords", "zoo")
SHOWN = [page for page in PAGES if page.name != "CHANGELOG.md"]  # which names what has gone
BLOCKS = [block for page in SHOWN for block in documented.blocks(page)]
COMMANDS = [command for block in BLOCKS for command in documented.commands(block)]
# Names under which the pages publish a run of one's own.
PUBLISHED = {words[words.index("--to") + 1] for words in (c.words for c in COMMANDS) if "recipes/publish.py" in words}
# What a sentence writes in place of an argument that only certain words may be.
PLACEHOLDERS = {"dataset": "nucla", "...": None, "NAME": None, "FILE,": None}


@pytest.fixture(scope="module", autouse=True)
def _modules():
    """Those of scripts in ``benchmarks/`` change the path, which is restored."""
    path = list(sys.path)
    yield
    sys.path[:] = path


def test_every_command_is_right():
    found = [*COMMANDS, *(command for page in SHOWN for command in documented.inline(page))]
    assert len(COMMANDS) > 200  # they are found
    assert [f"{command}\n  {problem}" for command in found for problem in problems(command)] == []


def test_mistakes_are_found():
    wrong = {
        "python -m recipes.trian --list": "no module",
        "python recipes/trian.py --list": "no file",
        "python recipes/train.py --recipe pose_lstm_nuc": "unknown recipe",
        "python recipes/train.py --recipe pose_lstm_nucla --set data.pose_step=3": "unknown key",
        "python -m tfrecords.convert nuclea --source DIR --out OUT": "invalid choice",
        "python -m tfrecords.convert nucla --out OUT": "--source",
        "python -m serving.export --pretrained kinetics --to models": "no weights",
        "adl modls": "no command",
        "adl train --recipe pose_lstm_nucla_v9": "unknown recipe",
        "adl models vnp": "there is no model",
        "make tests": "no target",
        "make test PTYHON=python3.12": "no variable",
        "pip install 'keras-adl-zoo[pose]'": "no extra",
        "docker build -f docker/train.Dockerfile .": "no file",
        "docker run --rm adl-zoo train --recip x": "unknown argument",
        "for x in a b; do\npython recipes/train.py \\\n --recipe vpn_nucla --set data.protocl=$x\ndone": "unknown key",
        "pithon x": "neither checked nor known",
    }
    for text, expected in wrong.items():
        (command, *_) = documented.commands(Block("page.md", 1, "sh", text))
        assert expected in " ".join(problems(command)), text
    sentence = Command("page.md", 1, ("python", "-m", "tfrecords.convert", "nucla", "--sorce"), whole=False)
    assert "unknown argument" in " ".join(problems(sentence))


def problems(command: Command) -> list[str]:
    """What is wrong with a command: a line each."""
    program, *arguments = command.words
    if program not in (*CHECKED, *UNCHECKED):
        return [f"{program} is neither checked nor known not to be: add it to tests/documented.py"]
    check = {"adl": _adl, "docker": _docker, "make": _make, "pip": _pip, "python": _python}.get(program)
    return check(arguments, command.whole) if check else []


def _python(arguments, whole):
    first, *rest = arguments
    if first == "-c":
        compile(rest[0], "-c", "exec")
        return []
    if first == "-m":
        module, *rest = rest
        if module.split(".")[0] not in (*PACKAGES, "benchmarks"):
            return []
        if importlib.util.find_spec(module) is None:
            return [f"there is no module {module}"]
    else:
        if not (ROOT / first).is_file():
            return [f"there is no file {first}"]
        module = first[: -len(".py")].replace("/", ".")
    return _parse(module, rest, whole)


def _adl(arguments, whole):
    name, *rest = arguments
    if name.startswith("-"):
        return [] if name in ("--help", "--version") else [f"adl has no option {name}"]
    if name not in adl_commands.COMMANDS:
        return [f"adl has no command {name}"]
    return _parse(f"adl {name}", rest, whole)


def _docker(arguments, whole):
    files = [after for word, after in zip(arguments, arguments[1:]) if word == "-f" and arguments[0] == "build"]
    missing = [f"there is no file {file}" for file in files if not (ROOT / file).is_file()]
    if arguments[0] == "run" and "adl-zoo" in arguments:  # its entry point is adl
        return _adl(arguments[arguments.index("adl-zoo") + 1 :], whole)
    return missing


def _make(arguments, whole):
    text = (ROOT / "Makefile").read_text("utf-8")
    targets, variables = (set(re.findall(form, text, re.MULTILINE)) for form in (r"^([a-z-]+):", r"^(\w+) \?="))
    variables.add("VIDEO")
    names = [word.partition("=") for word in arguments]
    return [
        *(f"the Makefile has no target {name}" for name, equals, _ in names if not equals and name not in targets),
        *(f"the Makefile has no variable {name}" for name, equals, _ in names if equals and name not in variables),
    ]


def _pip(arguments, whole):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    named = [name for word in arguments for name in re.findall(r"(?:^\.|zoo|whl)\[([^]]+)\]", word)]
    return [f"setup.cfg has no extra {name}" for names in named for name in names.split(",") if name not in extras]


def _parse(name, arguments, whole):
    """What a command's own parser says, and what the names among its arguments mean.

    Args:
        name: The module of ``python -m``, or ``adl`` and one of its commands.
        arguments: What follows.
        whole: False: what the command requires may be missing.
    """
    if not whole:
        arguments = [PLACEHOLDERS.get(word, word) for word in arguments]
        arguments = [word for word in arguments if word]
    parser, said = _parser(name, whole), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            values = parser.parse_args(arguments)
    except SystemExit as leaving:
        error = said.getvalue().strip()
        without_value = re.search(r"expected (one|at least one) argument", error)
        of_sub_command = (match := re.search(r"unknown argument '(.*?)'", error)) and match[1] in parser._options()
        return [error] if leaving.code and (whole or not (without_value or of_sub_command)) else []
    return list(_unknown_names(name, values))


@functools.cache
def _parser(name, whole):
    """The parser of a command; of one that is only named without what it requires."""
    if name.startswith("adl "):
        main = adl_commands.function(name[len("adl ") :])
    else:
        main = functools.partial(_run_module, name)
    parser = command_line.parser_of(main)
    if not whole:
        _require_nothing(parser)
    return parser


def _run_module(name, argv):
    """As ``python -m`` does."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", [name, *argv])
        warnings.simplefilter("ignore", RuntimeWarning)  # that it is imported already
        runpy.run_module(name, run_name="__main__", alter_sys=True)


def _require_nothing(parser):
    for group in [parser, *parser._mutually_exclusive_groups]:
        group.required = False
    for action in parser._actions:
        action.required = False
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                _require_nothing(one)


def _unknown_names(command, values):
    """Recipes, their keys, models and weights that do not exist."""
    if command in ("recipes.train", "adl train") and values.recipe:
        try:
            _load(values.recipe, tuple(values.set))
        except UserError as error:
            yield str(error)
    weights = getattr(values, "pretrained", None)
    if command in ("zoo.weights", "adl weights"):
        weights = values.name
    if weights and weights not in zoo.list_pretrained() and weights not in PUBLISHED:
        yield f"there are no weights {weights}"
    if command in ("zoo", "adl models"):
        yield from (f"there is no model {name}" for name in values.models if name not in zoo.list_models())


@functools.cache
def _load(recipe, overrides):
    return config.load(recipe, overrides)


# ----------------------------------------------------------------------------------------------------- Python


PYTHON = [block for block in BLOCKS if block.language in ("python", "py")]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.where)
def test_python(block):
    tree = ast.parse(textwrap.dedent(block.text))
    assert list(unresolved(tree)) == []


def test_mistakes_in_python_are_found():
    text = """
        import zoo
        from serving.client import Client, read_vidoe
        from tfrecords.reading import pipeline
        zoo.buidl("i3d")
        zoo.build("i3d", num_classes=3, widht=1)
        zoo.build("i4d", num_classes=3)
        pipeline.Inputs(frame=3)
        Client("address", "model").predict(frames=None)
        zoo.nothing.at_all()
    """
    found = list(unresolved(ast.parse(textwrap.dedent(text))))
    expected = ["argument frame", "argument widht", "model i4d", "read_vidoe", "zoo.buidl", "zoo.nothing"]
    assert sorted(name for name in expected for problem in found if name in problem) == expected
    assert len(found) == len(expected)


def unresolved(tree):
    """What a snippet imports, calls and passes that this project does not have: a line each."""
    known = {package: importlib.import_module(package) for package in PACKAGES}
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES:
            for alias in node.names:
                try:
                    known[alias.asname or alias.name] = _member(importlib.import_module(node.module), alias.name)
                except (ImportError, AttributeError) as error:
                    yield str(error)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in PACKAGES:
                    importlib.import_module(alias.name)
    for node in nodes:
        if isinstance(node, ast.Attribute) and _resolve(node, known) is False:
            yield f"there is no {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and (function := _resolve(node.func, known)) and callable(function):
            yield from _wrong_arguments(node, function)


def _resolve(node, known):
    """The object that a dotted name of this project stands for, False if it has none; None: it is of something else."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    owner = _resolve(node.value, known)
    if not owner or not inspect.ismodule(owner):
        return None
    try:
        return _member(owner, node.attr)
    except AttributeError:
        return False


def _member(module, name):
    try:
        return getattr(module, name)
    except AttributeError:
        with contextlib.suppress(ModuleNotFoundError):
            return importlib.import_module(f"{module.__name__}.{name}")
        raise


def _wrong_arguments(call, function):
    """Keyword arguments that a function, or a model's builder, does not take."""
    text = ast.unparse(call.func)
    parameters = inspect.signature(function).parameters
    named = {keyword.arg for keyword in call.keywords if keyword.arg}
    known = set(parameters)
    if function is zoo.build and isinstance(call.args[0], ast.Constant):
        model = call.args[0].value
        if model not in zoo.list_models():
            yield f"there is no model {model}"
            return
        known |= set(registry.options(model))
    elif any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    yield from (f"{text} has no argument {name}" for name in sorted(named - known))


# ------------------------------------------------------------------------------------------------ other languages


DATA = [block for block in BLOCKS if block.language in ("json", "yaml")]


@pytest.mark.parametrize("block", DATA, ids=lambda block: block.where)
def test_data(block):
    values = json.loads(block.text) if block.language == "json" else yaml_text.parse(block.text, block.where)
    if isinstance(values, dict) and {"model", "data", "stages"} <= values.keys():  # a recipe
        config.from_dict(values)


def test_every_block_is_of_a_language_that_is_checked():
    languages = {"", "console", "json", "py", "python", "sh", "yaml"}
    assert [block.where for block in BLOCKS if block.language not in languages] == []
