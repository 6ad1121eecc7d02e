"""Served predictions against the Keras model's, as the demonstration shows it."""

import json
import shutil

import pytest

import zoo
from serving import verify
from tests.serving.conftest import POSE_INPUTS, write_run
from tests.zoo import tiny_models
from zoo.shared import command_line


@pytest.fixture
def arguments(pose_run_folder, dataset, pose_address):
    """Of a model of poses alone, which is quick."""
    return {"--run": pose_run_folder, "--data": dataset, "--server": pose_address, "--model": "pose_lstm"}


def run(arguments):
    return command_line.run(verify.main, [str(word) for pair in arguments.items() for word in pair])


def test_command(command, run_folder, dataset, address):
    line = ["serving.verify", "--run", run_folder, "--data", dataset, "--server", address, "--model", "separable_sta"]
    done = command(*line)
    assert done.returncode == 0, done.stderr
    assert "3 clips of cs test: the same class for 3" in done.stdout
    assert "largest difference of probabilities: " in done.stdout


def test_another_model_is_found_out(arguments, pose_run_folder, tmp_path, capsys):
    other = zoo.load_model(pose_run_folder / "model.keras")
    tiny_models.randomize(other, seed=5)
    arguments["--run"] = write_run(tmp_path / "other", other, POSE_INPUTS)
    assert run({**arguments, "--clips": 2}) == verify.DIFFERENT
    assert "2 clips of cs test" in capsys.readouterr().out
    assert run({**arguments, "--tolerance": 1}) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--protocol": "cv"}, "no protocol 'cv'"),
        ({"--split": "train"}, "has no clips in cs train"),
        ({"--data": "missing"}, "missing: no manifest.json"),
        ({"--model": "other"}, "NOT_FOUND"),
    ],
)
def test_nothing_to_compare(arguments, capsys, change, message):
    assert run({**arguments, **change}) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_server_with_other_classes(arguments, pose_run_folder, tmp_path, capsys):
    arguments["--run"] = shutil.copytree(pose_run_folder, tmp_path / "run")
    (tmp_path / "run" / "labels.txt").write_text("a\nb\nc\n")
    assert run(arguments) == 2
    assert "has other classes than the run" in capsys.readouterr().err


def test_run_without_a_protocol(arguments, pose_run_folder, tmp_path, capsys):
    arguments["--run"] = shutil.copytree(pose_run_folder, tmp_path / "run")
    (tmp_path / "run" / "recipe.yaml").write_text(json.dumps({"model": {}}))
    assert run(arguments) == 2
    assert "give --protocol" in capsys.readouterr().err
