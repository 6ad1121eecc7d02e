"""Every recipe starts, takes a step in each of its stages and evaluates, on data of its dataset's true form."""

import json
import os
import subprocess
import sys
from importlib import metadata

import pytest

from recipes import config, run_directory
from tests.recipes.conftest import ROOT
from zoo import registry

# Recipes are the same on both rows; models and training are tested on both elsewhere.
pytestmark = pytest.mark.skipif(metadata.version("keras").startswith("3."), reason="run on the reference row")


QUICK = ("pose_lstm_ntu60",)  # `make demo` takes one of video and poses through all steps


def run(folder, names):
    """Recipe -> its output and its error."""
    line = [sys.executable, "-m", "tests.recipes.run_recipes", folder, *names]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return {result["recipe"]: result for result in results}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """``(folder, results)`` of the recipes that are quick together."""
    folder = tmp_path_factory.mktemp("recipes")
    return folder, run(folder, QUICK)


@pytest.mark.timeout(1800)  # the first one waits for all
@pytest.mark.parametrize("name", QUICK)
def test_recipe(quick, name):
    folder, results = quick
    check(folder, name, results[name])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_recipes(tmp_path):
    results = run(tmp_path, config.names())
    assert set(results) == set(config.names())
    for name, result in results.items():
        check(tmp_path, name, result)


def check(folder, name, result):
    """Every stage took its step, and the evaluation's figures are of the test clips."""
    assert result["error"] is None, result["error"]
    run = run_directory.RunDirectory(folder / "runs" / name)
    trained = [stage.name for stage in run.recipe.stages if stage.epochs]
    assert [(row["stage"], row["epoch"]) for row in run.history] == [(stage, 1) for stage in trained]
    (metrics,) = (json.loads(path.read_text()) for path in run.path.glob("evaluation/*/metrics.json"))
    assert metrics["clips"] > 0
    assert 0 <= metrics["top1"] <= 1
    assert (
        f"{name}, {run.recipe.data.dataset} {run.recipe.data.protocol} test: {metrics['top1']:.1%}" in result["stdout"]
    )
    if run.recipe.model.name not in registry.ESTIMATORS:
        assert run.model().name == run.recipe.model.name
