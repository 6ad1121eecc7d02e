"""Weights to start from: what ``build(weights=...)`` reads, and what it refuses."""

from importlib import metadata

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _equal(model, other):
    """Names of the layers with weights in which two models of the same layers agree."""
    return {
        layer.name
        for layer in model.layers
        if layer.weights
        and all(np.array_equal(*pair) for pair in zip(layer.get_weights(), other.get_layer(layer.name).get_weights()))
    }


def _with_weights(model):
    return {layer.name for layer in model.layers if layer.weights}


@pytest.mark.parametrize(
    "classes", tiny_models.quick([tiny_models.CLASSES, tiny_models.CLASSES + 2], tiny_models.CLASSES + 2)
)
def test_a_keras_model_gives_all_but_a_head_of_another_size(tmp_path, classes):
    trained = tiny_models.shared("separable_sta")
    trained.save(tmp_path / "model.keras")
    options = tiny_models.options("separable_sta")
    model = zoo.build("separable_sta", num_classes=classes, weights=tmp_path / "model.keras", **options)
    anew = set() if classes == tiny_models.CLASSES else {"classifier"}
    assert _equal(trained, model) == _with_weights(trained) - anew


def test_a_fusion_gives_its_parts_to_one_of_other_classes(tmp_path):
    own = {"video_model": "i3d", "pose_model": "pose_lstm", "pose_model_options": {"lstm_units": 4}}
    options = tiny_models.options("late_fusion", **own)
    trained = zoo.build("late_fusion", num_classes=tiny_models.CLASSES, **options)
    tiny_models.randomize(trained)
    trained.save(tmp_path / "model.keras")
    for classes in (tiny_models.CLASSES, tiny_models.CLASSES + 2):
        model = zoo.build("late_fusion", num_classes=classes, weights=tmp_path / "model.keras", **options)
        for part in ("i3d", "pose_lstm"):
            before, after = trained.get_layer(part), model.get_layer(part)
            anew = set() if classes == tiny_models.CLASSES else {"classifier"}
            assert _equal(before, after) == _with_weights(before) - anew


@pytest.mark.parametrize("shared", tiny_models.quick([0, 1], 1))
def test_an_i3d_goes_to_the_full_body_tower(shared):
    trained = tiny_models.shared("i3d")
    model = tiny_models.build("pi3d", aggregate_after=shared)
    last = "joined." if shared else "full_body."
    zoo.transfer_weights(trained, model)
    for name, prefix in (("Conv3d_1a_7x7", "full_body."), ("Mixed_5c.Branch_0.Conv3d_0a_1x1", last)):
        copied = model.get_layer(f"{prefix}{name}.conv_3d").get_weights()
        np.testing.assert_array_equal(copied, trained.get_layer(f"{name}.conv_3d").get_weights())


def test_a_weights_file_of_the_same_architecture(tmp_path):
    trained = tiny_models.build("pose_lstm")
    trained.save_weights(tmp_path / "trained.weights.h5")
    options = tiny_models.options("pose_lstm")
    path = tmp_path / "trained.weights.h5"
    model = zoo.build("pose_lstm", num_classes=tiny_models.CLASSES, weights=str(path), **options)
    assert _equal(trained, model) == _with_weights(trained)
    with pytest.raises(zoo.ZooError, match=r"trained.weights.h5: does not fit pose_lstm"):
        zoo.build("pose_lstm", num_classes=tiny_models.CLASSES, weights=path, **{**options, "lstm_units": 3})


@pytest.mark.skipif(metadata.version("keras").startswith("2."), reason="Keras 2 keeps no names of layers")
def test_a_weights_file_with_layers_of_the_same_shapes_in_another_order(tmp_path):
    path = tmp_path / "trained.weights.h5"
    tiny_models.build("separable_sta", attention="sa_ta").save_weights(path)
    model = tiny_models.build("separable_sta", attention="ta_sa")
    before = model.get_weights()
    with pytest.raises(zoo.ZooError, match="a layer 'spatial_scores' in the place of 'temporal_scores'"):
        zoo.load_weights(model, path)
    for expected, actual in zip(before, model.get_weights()):
        np.testing.assert_array_equal(expected, actual)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("kinetics400", "not in .*kinetics400: fetch them with python -m zoo.weights kinetics400"),
        ("kinetics600", "'kinetics600' are neither 'kinetics400', 'pose_gcn_nucla', .* nor a file"),
        ("absent.keras", "absent.keras: no such file"),
        ("absent.weights.h5", "absent.weights.h5: no such file"),
        ("", "'' are neither"),
        (3, "weights is 3, expected 'kinetics400', .* or the path of a file"),
    ],
)
def test_weights_that_are_not_there_are_refused(given, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("i3d", num_classes=tiny_models.CLASSES, weights=given, **tiny_models.options("i3d"))


def test_functions_are_still_found_in_zoo_weights():
    from zoo import weights
    from zoo.pretrained import reading, transfer

    assert weights.load_model is reading.load_model
    assert weights.transfer_weights is transfer.transfer_weights
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        _ = weights.unknown
