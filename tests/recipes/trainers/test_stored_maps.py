"""Maps of frozen networks of pictures: read by later runs, computed again where they are missing or damaged."""

import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

import zoo
from recipes import config
from recipes.trainers import stored_maps
from tests.recipes.conftest import command

RECIPE = """
model: {name: i3d, width: 0.1}
data: {dataset: synthetic, protocol: cv, frames: 8, size: 32}
stages:
  - name: top
    epochs: 0
    optimizer: {name: adam, learning_rate: 0.01}
    freeze: ["Conv3d_*", "Mixed_*"]
    cache_frozen: 1
    linear_probe: 0.5
evaluate: {flip: true}
batch: 12
"""


@pytest.fixture(scope="module")
def recipe_file(written_recipe):
    return written_recipe("probe", RECIPE)


def trained(recipe_file, dataset, output, *settings):
    """Trains and scores the test split; what was printed."""
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", output]
    result = command("train.py", *arguments, *(["--set", *settings] if settings else []))
    assert result.returncode == 0, result.stderr
    scored = command("evaluate.py", "--run", output, "--data", dataset)
    assert scored.returncode == 0, scored.stderr
    return result.stderr + scored.stderr


def results(run):
    (scores,) = run.glob("evaluation/*/scores.npz")
    return [*zoo.load_model(run / "model.keras").get_weights(), np.load(scores)["scores"]]


@pytest.fixture(scope="module")
def first(recipe_file, dataset, tmp_path_factory):
    """A run that stores its maps, and their folder."""
    folder = tmp_path_factory.mktemp("stored")
    trained(recipe_file, dataset, folder / "run", f"stored_maps={folder / 'maps'}")
    return folder / "run", folder / "maps"


@pytest.mark.slow
def test_a_run_with_stored_maps_is_that_without(first, recipe_file, dataset, tmp_path):
    trained(recipe_file, dataset, tmp_path / "run")
    for ours, expected in zip(results(first[0]), results(tmp_path / "run")):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.slow
def test_trainings_and_evaluations_share_maps(first, recipe_file, dataset, tmp_path, monkeypatch):
    assert len(list(first[1].glob("*/*.npy"))) == 88 + 2 * 50  # a view of each training clip, two of each test clip
    monkeypatch.setattr(stored_maps._Network, "_write", lambda *args: pytest.fail(f"{args[1]} was computed again"))
    trained(recipe_file, dataset, tmp_path / "run", f"stored_maps={first[1]}")
    for ours, expected in zip(results(tmp_path / "run"), results(first[0])):
        np.testing.assert_array_equal(ours, expected)


def test_maps_that_are_missing_damaged_or_of_other_weights_are_computed_again(tmp_path, monkeypatch):
    inputs = tf.keras.Input((2, 4, 4, 3), name="rgb")
    x = tf.keras.layers.Conv3D(5, 1, name="frozen")(inputs)
    x = tf.keras.layers.GlobalAveragePooling3D()(x)
    model = tf.keras.Model({"rgb": inputs}, tf.keras.layers.Dense(2, name="classifier")(x))
    pictures = np.random.default_rng(0).uniform(-1, 1, (5, 2, 4, 4, 3)).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(({"rgb": pictures}, np.arange(5))).batch(2)
    written, write = [], stored_maps._Network._write
    monkeypatch.setattr(stored_maps._Network, "_write", lambda *args: (written.append(args[1]), write(*args)))

    def answers():
        written.clear()
        stage = types.SimpleNamespace(name="top", freeze=["frozen"])
        stored = stored_maps.of_stage(model, stage, str(tmp_path))
        return np.concatenate([stored.model(features) for features, _ in stored.read(data)])

    np.testing.assert_allclose(answers(), model({"rgb": pictures}), atol=1e-6)
    files = sorted(written)
    assert len(files) == 5
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    np.testing.assert_allclose(answers(), model({"rgb": pictures}), atol=1e-6)
    assert sorted(written) == files[:2]
    model.get_layer("frozen").set_weights([2 * value for value in model.get_layer("frozen").get_weights()])
    np.testing.assert_allclose(answers(), model({"rgb": pictures}), atol=1e-6)
    assert len(written) == 5


def test_a_full_disk_is_said_once_and_the_run_goes_on(recipe_file, dataset, tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored_maps.files, "whole_file", full)
    network = stored_maps._Network.__new__(stored_maps._Network)
    network._is_full = False
    warned = []
    monkeypatch.setattr(stored_maps.messages, "warn", warned.append)
    for name in ("a.npy", "b.npy"):
        network._write(pathlib.Path("maps") / name, np.zeros(3))
    assert warned == ["maps: no further maps are stored (No space left on device), make space for the next run"]


def test_a_part_of_a_model_need_not_have_all_frozen_layers(tmp_path):
    """As the features do, in which the frozen classifier is left out."""
    rgb = tf.keras.Input((8, 32, 32, 3), name="rgb")
    features = tf.keras.layers.GlobalAveragePooling3D(name="pool")(tf.keras.layers.Conv3D(2, 1, name="Conv3d_1a")(rgb))
    part = tf.keras.Model({"rgb": rgb}, features)
    stage = config.load("i3d_nonlocal_jhmdb").stages[-1]
    assert "classifier" in stage.freeze
    for folder in ("", str(tmp_path)):
        maps = stored_maps.of_stage(part, stage, folder)
        assert maps.model.output_shape == (None, 2)
