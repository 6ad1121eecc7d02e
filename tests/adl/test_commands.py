"""The command ``adl``: its table, what it calls and how, and its completion."""

import re
import subprocess
import sys
import types

import pytest

import zoo
from adl import commands
from tests.conftest import REPOSITORY
from zoo.shared.errors import UserError


def test_help_lists_every_command_without_importing_them():
    program = (
        "import sys; from adl import commands; sys.argv[1:] = ['--help']\n"
        "try: commands.script()\n"
        "finally: print('imported:', {'numpy', 'tensorflow', 'recipes', 'serving', 'tfrecords'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    listed = re.findall(r"^  ([a-z-]+)  +\S", done.stdout.partition("commands (")[2], re.MULTILINE)
    assert listed == list(commands.COMMANDS)
    assert "imported: set()" in done.stdout


def test_no_command_needs_what_its_parser_does_not():
    """So that ``python -m`` starts in a base installation, and names the extra in one line.

    The modules of ``serve`` and ``live`` import their extra; their ``__main__`` imports them where the error is a line.
    """
    program = (
        "import sys; from adl import commands; from zoo.shared import command_line, extras\n"
        "for name in commands.COMMANDS.keys() - {'serve', 'live'}: command_line.parser_of(commands.function(name))\n"
        "print({module for module in extras.EXTRAS if module in sys.modules} - {'grpc', 'grpc_health'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("module", ["serving.server", "serving.live"])
def test_a_package_that_a_module_imports_is_missing(module):
    program = (
        "import runpy, sys; sys.modules['starlette'] = None\n"  # as if it were not installed
        f"sys.argv = ['x', '--help']; runpy.run_module('{module}', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the package starlette is not installed, which the extra serving has: pip ")


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_is_that_of_the_command_under_its_name_here(run_command, name):
    """Its options are those of the module's own command; only the name in the line of usage differs."""
    status, out, _ = run_command(commands.main, name, "--help")
    own_status, own, _ = run_command(commands.function(name), "--help")
    assert status == own_status == 0
    assert out.startswith(f"usage: adl {name} ")
    options = [sorted(set(re.findall(r"--[\w-]+", text.partition("\n\n")[2]))) for text in (out, own)]
    assert options[0] == options[1]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train", "--recipe", "pose_lstm_nuc"], 2, "error: unknown recipe 'pose_lstm_nuc', did you mean"),
        (["train", "--recipes", "x"], 2, "adl train: error: unknown argument '--recipes', did you mean --recipe?"),
        (["convert", "nucla", "--out", "x"], 2, "adl convert nucla: error: "),
        (["trian"], 2, "error: adl has no command 'trian', did you mean 'train'?"),
        (["--verison"], 2, "adl: error: unknown argument '--verison', did you mean --version?"),
    ],
)
def test_errors_are_one_line(run_command, arguments, status, message):
    found, out, err = run_command(commands.main, *arguments)
    assert (found, out) == (status, "")
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_the_status_of_a_command_is_its_own(monkeypatch, run_command):
    calls = []

    def main(argv):
        calls.append(argv)
        if argv == ["fail"]:
            raise UserError("it fails")
        return {"differs": 1}.get(argv[0])

    monkeypatch.setitem(sys.modules, "recipes.evaluate", types.SimpleNamespace(main=main))
    statuses = [run_command(commands.main, "evaluate", text)[0] for text in ("differs", "fail", "--")]
    assert statuses == [1, 2, 0]
    assert calls[-1] == ["--"]


def test_version(run_command):
    assert run_command(commands.main, "--version")[:2] == (0, f"adl {zoo.__version__}\n")


def test_recipes_are_found_from_any_folder(run_command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_command(commands.main, "train", "--recipe", "pi3d_nucla", "--print")
    assert status == 0
    assert "name: pi3d_nucla\n" in out
