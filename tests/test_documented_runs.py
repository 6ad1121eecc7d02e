"""The commands and snippets of the pages run, at small size, from the pages' own text and in their order."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests import documented
from tests.documented import ROOT
from tests.documented_runs import NOT_RUN, SNIPPETS_NOT_RUN, not_run
from tests.test_documented_commands import BLOCKS, COMMANDS, PYTHON


def what_runs():
    """Page -> what runs of it, as its results name it."""
    found = {}
    for block in BLOCKS:
        named = [str(command) for command in documented.commands(block) if not not_run(command)]
        if block in PYTHON and block.page not in SNIPPETS_NOT_RUN:
            named.append(block.where)
        if named:
            found.setdefault(block.page, []).extend(named)
    return found


RUNS = what_runs()


def test_what_is_not_run_is_on_a_page():
    """No reason outlives its command."""
    assert [form for form in NOT_RUN if not any(re.search(form, str(command)) for command in COMMANDS)] == []
    assert SNIPPETS_NOT_RUN.keys() <= {block.page for block in PYTHON}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", RUNS)
def test_page(page, tmp_path):
    line = [sys.executable, "-m", "tests.documented_runs", tmp_path, page]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["what"] for result in results] == RUNS[page]
    errors = [f"{result['what']}\n{result['error']}" for result in results if result["error"]]
    assert not errors, "\n\n".join(errors)
