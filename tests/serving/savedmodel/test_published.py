"""Published weights become a served model, without any training."""

import json
import re

import numpy as np
import pytest

from serving import export, predict
from serving.savedmodel import published
from tests.zoo.pretrained.test_i3d_checkpoint import checkpoint_shapes
from zoo.pretrained import catalogue, fetching, i3d_checkpoint
from zoo.shared import files

NAME = "kinetics400"


def test_labels_and_inputs_are_those_of_the_catalogue():
    entry = catalogue.get(NAME)
    whole = published.Published(NAME)
    assert whole.labels == list(entry.labels)
    assert (whole.inputs.frames, whole.inputs.stride, whole.inputs.size) == (64, 1, 224)
    daily = published.Published(NAME, frames=16, size=64, classes="adl")
    assert daily.labels == [*entry.group("adl"), "other"]
    assert (daily.inputs.frames, daily.inputs.size) == (16, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pretrained", "kinetics40"], "kinetics40: no such folder and no such weights, did you mean 'kinetics400'"),
        (["--pretrained", NAME], "not in .*: fetch them with python -m zoo.weights kinetics400"),
        (["--run", "runs/i3d", "--classes", "adl"], "--classes is for --pretrained"),
        (["--run", "runs/i3d", "--pretrained", NAME], "not allowed with argument"),
        ([], "one of the arguments --run --pretrained is required"),
    ],
)
def test_what_cannot_be_exported(arguments, message, tmp_path, monkeypatch, run_command):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, _, errors = run_command(export.main, *arguments, "--to", tmp_path / "models")
    assert status == 2
    assert re.search(message, errors)
    assert not (tmp_path / "models").exists()


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Published names and shapes in the cache, with random values."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    folder = fetching.cached(NAME)
    folder.mkdir(parents=True)
    values = {name: rng.uniform(0.01, 0.02, shape).astype("float32") for name, shape in checkpoint_shapes().items()}
    i3d_checkpoint.write(folder / fetching.CHECKPOINT, values)
    files.write_json(folder / "source.json", {"values_sha256": i3d_checkpoint.digest(folder / fetching.CHECKPOINT)})


@pytest.mark.slow
def test_daily_activities_of_published_weights_are_served(fetched, tmp_path, run_command):
    size = ["--frames", 8, "--size", 32]
    status, _, errors = run_command(
        export.main, "--pretrained", NAME, "--to", tmp_path, "--classes", "adl", *size, "--freeze"
    )
    assert status == 0, errors
    assets = tmp_path / "i3d" / "1" / "assets"
    labels = (assets / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == published.Published(NAME, classes="adl").labels
    assert json.loads((assets / "pretrained.json").read_text())["licence"] == "Apache-2.0"
    predictor = predict.Predictor(tmp_path / "i3d")
    assert predictor.inputs.frames == 8
    predicted = predictor.predict(np.zeros((8, 40, 48, 3), np.uint8))
    assert sorted(predicted.labels) == sorted(labels)
    assert sum(predicted.probabilities) == pytest.approx(1, abs=1e-5)
