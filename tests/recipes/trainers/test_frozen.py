"""Stored features of the frozen part: the same training, whole after a kill, refused where it cannot be."""

import collections
import shutil

import numpy as np
import pytest
import tensorflow as tf

import zoo
from recipes.trainers import frozen
from tests.recipes.conftest import command
from zoo import frozen_part

RECIPE = """
model: {name: pose_cnn, width: 0.1}
data: {dataset: synthetic, protocol: cv, pose_steps: 3, balance: classes, augment: {rotation: 20, noise: 0.05}}
stages:
  - name: top
    epochs: 2
    optimizer: {name: adam, learning_rate: 0.01}
    layer_learning_rates: [{layers: "pose_conv_3", factor: 0.5}]
    freeze: ["pose_conv_1", "pose_conv_2"]
    cache_frozen: 2
batch: 12
"""


@pytest.fixture(scope="module")
def recipe_file(written_recipe):
    return written_recipe("tiny", RECIPE)


@pytest.fixture(scope="module")
def stored(recipe_file, dataset, trained_to_the_end):
    """A run trained from stored features, and what it printed."""
    return trained_to_the_end("stored", recipe_file, dataset)


def weights(run):
    return zoo.load_model(run / "model.keras").get_weights()


def history(run):
    rows = (run / "history.csv").read_text().splitlines()
    return [row.split(",")[:6] for row in rows]  # without the seconds


def test_the_size_is_announced_and_nothing_is_left(stored):
    output, printed = stored
    assert "88 clips in 2 views and 12 validation clips" in printed
    assert not (output / "stages" / "top" / "frozen").exists()


def test_it_trains_exactly_as_the_whole_model_does_on_the_same_views(
    stored, recipe_file, dataset, tmp_path, monkeypatch
):
    """Cut at its inputs, nothing is computed beforehand: the whole model, partly frozen, is trained on the views."""
    monkeypatch.setattr(frozen_part, "cut", lambda model, frozen: tf.nest.flatten(model.input))
    result = command("train.py", "--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "whole")
    assert result.returncode == 0, result.stderr
    for ours, whole in zip(weights(stored[0]), weights(tmp_path / "whole")):
        np.testing.assert_allclose(ours, whole, rtol=0, atol=1e-5)
    ours, whole = (np.array(history(run)[1:])[:, 2:].astype(float) for run in (stored[0], tmp_path / "whole"))
    np.testing.assert_allclose(ours, whole, atol=1e-4)


@pytest.mark.slow
def test_killed_while_it_stores_it_computes_only_what_is_missing(stored, recipe_file, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "_BLOCK_CLIPS", 36)
    written, write = collections.Counter(), frozen.StoredFeatures._write
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--resume"]

    def killed_in_the_fifth(self, name, rows):
        if sum(written.values()) == 4:
            raise KeyboardInterrupt
        written[name] += 1
        write(self, name, rows)

    monkeypatch.setattr(frozen.StoredFeatures, "_write", killed_in_the_fifth)
    assert command("train.py", *arguments).returncode == 130
    monkeypatch.setattr(
        frozen.StoredFeatures, "_write", lambda self, name, rows: (written.update([name]), write(self, name, rows))
    )
    assert command("train.py", *arguments).returncode == 0
    assert written == {"train-000": 3, "train-001": 3, "val": 1}
    for ours, undisturbed in zip(weights(tmp_path / "run"), weights(stored[0])):
        np.testing.assert_allclose(ours, undisturbed, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            "stages.top.freeze=[classifier]",
            "stages.top.cache_frozen: pose_cnn has no frozen layer before the first trained",
        ),
        ("stages.top.freeze=[]", "stages.top.cache_frozen: stores the output of frozen layers, name them in freeze"),
        ("stages.top.gradient_checkpointing=true", "does not go with gradient_checkpointing"),
    ],
)
def test_a_model_that_cannot_be_cut_is_refused(change, words, recipe_file, dataset, tmp_path):
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--set", change]
    result = command("train.py", *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_full_disk_is_refused_before_anything_is_computed(recipe_file, dataset, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    result = command("train.py", "--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run")
    assert result.returncode == 2
    assert "are to be stored, but 1.00 kB are free: make space, or set stages.top.cache_frozen" in result.stderr
