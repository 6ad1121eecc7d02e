"""Served predictions against the Keras model's, as the demonstration shows it."""

import json
import shutil

import pytest

import zoo
from serving import verify
from tests.serving.conftest import POSE_INPUTS, write_run
from tests.zoo import tiny_models


@pytest.fixture
def arguments(linear_run_folder, dataset, linear_address):
    """Options for a linear model, which is quick."""
    return {"--run": linear_run_folder, "--data": dataset, "--server": linear_address, "--model": "pose_lstm"}


@pytest.fixture
def run(run_command):
    """Runs the command: option -> value -> ``(exit status, stdout, stderr)``."""
    return lambda arguments: run_command(verify.main, *(word for pair in arguments.items() for word in pair))


def test_command(run, run_folder, dataset, address):
    line = {"--run": run_folder, "--data": dataset, "--server": address, "--model": "separable_sta"}
    status, out, err = run(line)
    assert status == 0, err
    assert "3 clips of cs test: the same class for 3" in out
    assert "largest difference of probabilities: " in out


def test_another_model_is_found_out(run, arguments, linear_run_folder, tmp_path):
    other = zoo.load_model(linear_run_folder / "model.keras")
    tiny_models.randomize(other, seed=5)
    arguments["--run"] = write_run(tmp_path / "other", other, POSE_INPUTS)
    status, out, _ = run({**arguments, "--clips": 2})
    assert status == verify.DIFFERENT
    assert "2 clips of cs test" in out
    assert run({**arguments, "--clips": 2, "--tolerance": 1})[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--protocol": "cv"}, "no protocol 'cv'"),
        ({"--split": "train"}, "has no clips in cs train"),
        ({"--data": "missing"}, "missing: no manifest.json"),
        ({"--model": "other"}, "NOT_FOUND"),
    ],
)
def test_nothing_to_compare(run, arguments, change, message):
    status, _, err = run({**arguments, **change})
    assert status == 2
    (line,) = err.splitlines()
    assert message in line


def test_server_with_other_classes(run, arguments, linear_run_folder, tmp_path):
    arguments["--run"] = shutil.copytree(linear_run_folder, tmp_path / "run")
    (tmp_path / "run" / "labels.txt").write_text("a\nb\nc\n")
    status, _, err = run(arguments)
    assert status == 2
    assert "has other classes than the run" in err


def test_run_without_a_protocol(run, arguments, linear_run_folder, tmp_path):
    arguments["--run"] = shutil.copytree(linear_run_folder, tmp_path / "run")
    (tmp_path / "run" / "recipe.yaml").write_text(json.dumps({"model": {}}))
    status, _, err = run(arguments)
    assert status == 2
    assert "give --protocol" in err
