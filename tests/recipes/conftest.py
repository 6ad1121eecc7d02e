"""A small converted dataset, and the commands as a user runs them."""

import contextlib
import functools
import io
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from recipes import average, evaluate, extract_features, model_card, train
from recipes.trainers import distribution
from tfrecords import convert
from zoo.shared import command_line

ROOT = pathlib.Path(__file__).resolve().parents[2]

MAINS = {
    "average.py": average.main,
    "train.py": train.main,
    "evaluate.py": evaluate.main,
    "extract_features.py": extract_features.main,
    "model_card.py": model_card.main,
}

# Two stages of the pose network that is traced fastest: an LSTM takes three times as long.
TINY = """
model: {name: pose_cnn, width: 0.1}
data: {dataset: synthetic, protocol: cv, pose_steps: 3, augment: {rotation: 20, noise: 0.05}, cache: true}
stages:
  - name: first
    model: pose_cnn
    epochs: 3
    optimizer: {name: sgd, learning_rate: 0.05, momentum: 0.9}
  - name: second
    init: [first]
    epochs: 3
    optimizer: {name: adam, learning_rate: 1e-2, clipnorm: 1}
    schedule: {name: plateau, patience: 2, factor: 0.5}
    layer_learning_rates: [{layers: "pose_conv_*", factor: 0.5}]
    accumulate: 3
    label_smoothing: 0.1
    average: {momentum: 0.9}
evaluate: {clips: 2}
batch: 6
seed: 3
"""


@pytest.fixture(scope="session")
def small_synthadl(tmp_path_factory):
    """Converts small sets of SynthADL: ``small_synthadl(subjects=5)`` gives the folder of 30 clips for each subject.

    Clips have about 15 frames and pictures of 32 pixels; the options are those of ``python -m tfrecords.convert``.
    """

    def converted(**options):
        folder = tmp_path_factory.mktemp("converted") / "synthetic"
        options = {"repetitions": 1, "frames": 15, "size": 32, "workers": 1, **options}
        line = ["synthetic", "--out", str(folder), *(f"--{name}={value}" for name, value in options.items())]
        assert convert.main(line) == 0
        return folder

    return converted


@pytest.fixture(scope="session")
def dataset(small_synthadl):
    """SynthADL in 150 clips: 88 train, 12 validate, 50 test in protocol cv."""
    return small_synthadl(subjects=5)


@pytest.fixture(scope="session")
def written_recipe(tmp_path_factory):
    """A function ``(name, text)`` that writes a recipe's file."""

    def write(name, text):
        path = tmp_path_factory.mktemp("recipe") / f"{name}.yaml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def trained_to_the_end(tmp_path_factory):
    """A function ``(name, recipe_file, data)`` that trains; it gives the run directory and what was printed."""

    def train_whole(name, recipe_file, data):
        output = tmp_path_factory.mktemp("runs") / name
        result = command("train.py", "--recipe", recipe_file, "--data", data, "--output", output)
        assert result.returncode == 0, result.stderr
        return output, result.stdout

    return train_whole


@pytest.fixture(scope="session")
def recipe_file(written_recipe):
    return written_recipe("tiny", TINY)


@pytest.fixture(scope="session")
def trained(trained_to_the_end, dataset, recipe_file):
    """A run directory: the recipe trained from start to end. All modules share it: tests that write use a copy."""
    return trained_to_the_end("undisturbed", recipe_file, dataset)[0]


def start(script, *arguments, **options):
    """Starts a script of ``recipes/`` as the documentation does; text output is captured."""
    return subprocess.Popen(
        [sys.executable, f"recipes/{script}", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def command(script, *arguments):
    """Runs a script to its end in this process: a process of its own costs seconds to import TensorFlow.

    Trainings run on one device, and without determinism, which would hold for all later tests.
    """
    arguments = [str(argument) for argument in arguments]
    line = [f"recipes/{script}", *arguments]
    if script == "train.py":
        arguments += ["--set", "deterministic=false"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", line)
        patch.setattr(distribution, "local_strategy", one_device)
        try:
            status = command_line.run(MAINS[script], arguments)
        except SystemExit as leaving:  # argparse's own errors
            status = leaving.code
    return subprocess.CompletedProcess(line, status, out.getvalue(), err.getvalue())


def run_process(script, *arguments):
    """Runs a script to its end in a process of its own."""
    return finished(start(script, *arguments))


@functools.lru_cache(maxsize=1)
def one_device():
    """A strategy over one of the two logical processors."""
    return tf.distribute.MirroredStrategy(["CPU:0"])


def finished(process):
    """Waits for the end of a script that was started."""
    stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def error_of(result):
    """The one line a user's error prints."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1, result.stderr
    return lines[0]
