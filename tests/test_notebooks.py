"""The notebooks: their outputs are stored and small, what they show is right, and they run."""

import ast
import json
import os
import re
import sys

import pytest

from tests import documented
from tests.documented import ROOT, Block
from tests.test_documented_commands import problems, unresolved

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# A path of the machine, or what a program says that is no result.
UNWANTED = re.compile(r"(?<![\w./])/(home|root|tmp|usr|var|Users)/|warning|error:|traceback", re.IGNORECASE)


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    assert request.param.stat().st_size < 300_000
    return request.param, json.loads(request.param.read_text("utf-8"))["cells"]


def test_outputs_are_stored(notebook):
    _, cells = notebook
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert len(outputs) > 3
    assert {output["output_type"] for output in outputs} <= {"display_data", "execute_result", "stream"}
    assert UNWANTED.findall("".join(text for output in outputs for text in output.get("text", []))) == []


def test_what_it_shows_is_right(notebook):
    path, cells = notebook
    for number, cell in enumerate(cells):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
            assert [link for link in links if not (path.parent / link).exists()] == []
        elif text.startswith("%%bash\n"):
            commands = documented.commands(Block(path.name, number, "sh", text.partition("\n")[2]))
            assert [problem for command in commands for problem in problems(command)] == []
        else:
            assert list(unresolved(ast.parse(text))) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, monkeypatch):
    for package in ("ipykernel", "nbclient"):
        pytest.importorskip(package, reason="the extra notebooks is not installed: pip install -e '.[notebooks]'")
    from notebooks import execute

    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    assert '"output_type"' in execute.executed(path)
