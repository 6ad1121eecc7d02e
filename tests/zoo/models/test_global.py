"""The global model (WACV20): the normalised product of two models' scores, each carried over whole."""

from typing import get_args

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from zoo import registry
from zoo.models import global_model

SMALL = {"frames": 8, "size": 32}
OWN = {"attention_units": 7, "embedding_units": 5}  # options of base models that global does not have


@pytest.mark.parametrize("base_model", tiny_models.quick(get_args(global_model.BaseModel), "i3d"))
def test_fusion_of_trained_models_is_the_normalised_product_of_their_scores(base_model):
    own = {option: value for option, value in OWN.items() if option in registry.options(base_model)}
    model = tiny_models.build("global", base_model=base_model, base_model_options=own, **SMALL)
    joints = {"joints": 13} if "joints" in registry.options(base_model) else {}
    parts = {
        "temporal": tiny_models.build("temporal", joints=13),
        base_model: tiny_models.build(base_model, **joints, **SMALL),
    }
    features, _ = tiny_models.batch(model)
    assert set(model.input) == {name for part in parts.values() for name in part.input}
    product = 1.0
    for seed, trained in enumerate(parts.values(), start=1):
        tiny_models.randomize(trained, seed)
        assert "classifier" in zoo.transfer_weights(trained, model)
        scores = trained({key: features[key] for key in trained.input}).numpy()
        product = product * scores
        if zoo.attention.attention_names(trained):
            maps = zoo.attention_maps(trained)({key: features[key] for key in trained.input})
            fused = zoo.attention_maps(model)(features)
            for key, weights in maps.items():
                np.testing.assert_allclose(fused[key], weights, rtol=1e-5)
    expected = product / product.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model(features), expected, rtol=1e-4)


@pytest.mark.slow
def test_both_models_from_the_same_frames():
    shared = {"frames": 12, "size": 32, "pose_steps": 12}
    model = tiny_models.build("global", base_model="separable_sta", backbone="i3d", segment_frames=8, **shared)
    features, _ = tiny_models.batch(model)
    assert {name: value.shape[1] for name, value in features.items()} == {"rgb": 12, "pose": 12}
    assert model(features).shape == (2, tiny_models.CLASSES)
    trained = tiny_models.build("i3d", frames=8, size=32)
    with pytest.raises(zoo.ZooError, match=r"has 2 layers 'Conv3d_1a_7x7\.conv_3d'"):
        zoo.transfer_weights(trained, model)


def test_options_of_the_base_model():
    model = tiny_models.build("global", base_model="separable_sta", base_model_options={"attention": "sa"}, **SMALL)
    assert "spatial_attention" in zoo.attention.attention_names(model)
    assert "temporal_attention" not in zoo.attention.attention_names(model)
    with pytest.warns(FutureWarning, match="base_model_options: separable_sta: option 'strategy' is now 'attention'"):
        renamed = tiny_models.build(
            "global", base_model="separable_sta", base_model_options={"strategy": "sa"}, **SMALL
        )
    assert zoo.attention.attention_names(renamed) == zoo.attention.attention_names(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_model": "pose_lstm"}, "base_model is 'pose_lstm', expected one of i3d, pi3d, separable_sta, vpn"),
        ({"base_model": "separable_sta", "base_model_options": {"atention": "sa"}}, "did you mean 'attention'"),
        ({"base_model_options": {"frames": 8}}, "frames is an option of global itself"),
        ({"base_model_options": {"joints": 13}}, "joints follows from layout of global"),
        ({"base_model_options": {"lstm_dropout": 0.1}}, "lstm_dropout follows from dropout of global"),
        ({"base_model_options": {1: 3}}, "vpn has no option 1"),
        ({"layout": "kinect_v1"}, "did you mean 'kinect_v1_20'"),
        ({"base_model": "i3d", "granularities": (2, 2), **SMALL}, "each once"),
    ],
)
def test_choices_that_make_no_model(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("global", num_classes=3, **options)
