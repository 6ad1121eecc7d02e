"""The equations of the temporal model (WACV20), recomputed in NumPy from the layers' weights."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import cross_entropy, gru, softmax
from zoo import complexity
from zoo.models import temporal as module

NO_DROPOUT = {"dropout": 0.0}
END_TO_END = {"backbone": "i3d", "frames": 12, "segment_frames": 8, "size": 32, "pose_steps": 12}


def expected(
    model, features, granularities, segment_attention=True, granularity_attention=True, granularity_pooling="sum"
):
    """``(predictions, alpha by granularity, beta)`` by the paper's equations."""
    alphas, vectors, states = {}, [], []
    for g in granularities:
        u = gru(model.get_layer(f"g{g}.gru"), features[f"features_g{g}"])  # [B, G, units]
        alphas[g] = np.full((len(u), g), 1 / g)
        if segment_attention or granularity_attention:
            pose = features[f"pose_g{g}"]
            pose = pose.reshape(*pose.shape[:3], -1)  # [B, G, S, M*J*3]
            last = [gru(model.get_layer(f"g{g}.pose_gru_{j + 1}"), pose[:, j])[:, -1] for j in range(g)]
            states.append(gru(model.get_layer(f"g{g}.segment_gru"), np.stack(last, axis=1))[:, -1])  # Y_G
        if segment_attention:
            kernel, bias = model.get_layer(f"g{g}.segment_scores").get_weights()
            alphas[g] = softmax(states[-1] @ kernel + bias)
        vectors.append(sum(alphas[g][:, j, None] * u[:, j] for j in range(g)))
    beta = np.full((len(u), len(granularities)), 1 / len(granularities) if granularity_pooling == "mean" else 1)
    if granularity_attention:
        kernel, bias = model.get_layer("granularity_scores").get_weights()
        beta = softmax(np.concatenate(states, axis=1) @ kernel + bias)
    joined = sum(weight[:, None] * vector for weight, vector in zip(beta.T, vectors))
    kernel, bias = model.get_layer("classifier").get_weights()
    return softmax(joined @ kernel + bias), alphas, beta


@pytest.mark.parametrize(
    "choice",
    tiny_models.quick(
        [
            {"granularities": (2, 3, 4)},
            {"granularities": (5, 2), "segment_attention": False},
            {"granularities": (2, 3), "granularity_attention": False},
            {"granularities": (3,), "granularity_attention": False},
            {"granularities": (2, 3), "segment_attention": False, "granularity_attention": False},
            {"granularities": (2, 3), "granularity_attention": False, "granularity_pooling": "mean"},
        ],
        {"granularities": (2, 3, 4)},
        {"granularities": (2, 3), "segment_attention": False, "granularity_attention": False},
    ),
)
def test_predictions_attention_and_loss(choice):
    model = tiny_models.build("temporal", **NO_DROPOUT, **choice)
    features, labels = tiny_models.batch(model, clips=3)
    predictions, alphas, beta = expected(model, features, **choice)
    np.testing.assert_allclose(model(features), predictions, rtol=1e-4)
    shown = {f"g{g}.segment_attention": alpha for g, alpha in alphas.items() if choice.get("segment_attention", True)}
    if choice.get("granularity_attention", True):
        shown["granularity_attention"] = beta
    if shown:
        maps = zoo.attention_maps(model)(features)
        assert maps.keys() == shown.keys()
        for name, weights in shown.items():
            np.testing.assert_allclose(maps[name], weights, rtol=1e-4)
            assert np.ptp(weights) > 0.01  # so that equal weights would not pass
    else:
        assert not [name for name in model.input if name.startswith("pose")]
    loss = cross_entropy(model(features).numpy(), labels) + sum(map(float, model.losses))
    np.testing.assert_allclose(loss, cross_entropy(predictions, labels), rtol=1e-4)  # and no other term


def test_attention_starts_equal():
    model = zoo.build("temporal", num_classes=3, **tiny_models.options("temporal"))
    features, _ = tiny_models.batch(model)
    maps = zoo.attention_maps(model)(features)
    for name, count in (("g2.segment_attention", 2), ("g3.segment_attention", 3), ("granularity_attention", 2)):
        np.testing.assert_allclose(maps[name], 1 / count, rtol=1e-6)


def test_dropout_follows_every_gru():
    model = tiny_models.shared("temporal")
    networks = [layer.name for layer in model.layers if hasattr(layer, "recurrent_activation")]
    assert {model.get_layer(f"{name}_dropout").rate for name in networks} == {0.6}


@pytest.mark.parametrize("granularities", tiny_models.quick([(2,), (2, 3), (2, 3, 4), (2, 4, 6)], (2,), (2, 3)))
def test_number_of_recurrent_networks_and_parameters(granularities):
    """One GRU over features, G over poses, one over segments each; and the two attentions' and the classifier's."""
    classes, d, units, pose_units, coordinates = 7, 20, 9, 4, 2 * 5 * 3

    def parameters(inputs, hidden):
        return 3 * hidden * (inputs + hidden + 2)  # Keras's GRU has a bias of the input and one of the state

    model = zoo.build(
        "temporal",
        num_classes=classes,
        granularities=granularities,
        feature_size=d,
        gru_units=units,
        pose_units=pose_units,
        persons=2,
        joints=5,
        granularity_attention=len(granularities) > 1,
    )
    networks = [layer for layer in model.layers if hasattr(layer, "recurrent_activation")]
    assert len(networks) == sum(g + 2 for g in granularities) == module.recurrent_networks(granularities)
    recurrent = sum(
        parameters(d, units) + g * parameters(coordinates, pose_units) + parameters(pose_units, pose_units)
        for g in granularities
    )
    assert sum(layer.count_params() for layer in networks) == recurrent
    count = len(granularities)
    segment = sum((pose_units + 1) * g for g in granularities)
    granularity = (count * pose_units + 1) * count if count > 1 else 0
    assert model.count_params() == recurrent + segment + granularity + (units + 1) * classes


def test_size_of_the_published_model():
    """The papers state 80 M for Global (P-I3D) and 42 M for P-I3D: 38 M for what is between them."""
    known = zoo.describe("temporal", num_classes=60, persons=2)
    assert 36e6 < known["parameters"] < 39e6
    assert known["inputs"]["features_g4"] == (4, 7168)


def test_multiply_accumulates():
    model = tiny_models.shared("temporal")
    d, units, pose_units, steps, coordinates = 9, 8, 6, 3, 2 * 5 * 3
    total = sum(
        3 * units * g * (d + units)
        + g * 3 * pose_units * steps * (coordinates + pose_units)
        + 3 * pose_units * g * 2 * pose_units
        + pose_units * g
        for g in (2, 3)
    )
    total += 2 * pose_units * 2 + units * tiny_models.CLASSES
    assert complexity.multiply_accumulates(model) == total
    options = tiny_models.options("temporal", **END_TO_END)
    whole = zoo.build("temporal", num_classes=3, **options)
    network = whole.get_layer("backbone")
    size = network.output_shape[-1]
    rest = total + sum(3 * units * g * (size - d) for g in (2, 3))
    assert complexity.multiply_accumulates(whole) == 5 * complexity.multiply_accumulates(network) + rest


# ---------------------------------------------------------------------------------------------------- end to end


def middles(length, segments, steps):
    """The middle of each of ``segments * steps`` equal parts of a sequence, by segment."""
    return ((np.arange(segments * steps) + 0.5) / (segments * steps) * length).astype(int).reshape(segments, steps)


def test_end_to_end_is_features_of_cut_segments():
    backbone = tiny_models.build("i3d", frames=8, size=32)
    extractor = module.segment_features(backbone)
    model = tiny_models.build("temporal", **END_TO_END, **NO_DROPOUT)
    parts = tiny_models.build("temporal", feature_size=extractor.output_shape[-1], **NO_DROPOUT)
    tiny_models.randomize(parts, seed=1)
    copied = zoo.transfer_weights(backbone, model)
    assert copied == [layer.name for layer in backbone.layers if layer.weights and layer.name != "classifier"]
    zoo.transfer_weights(parts, model)
    model.get_layer("classifier").set_weights(parts.get_layer("classifier").get_weights())

    clip, _ = tiny_models.batch(model, clips=2)
    features = {}
    for g in (2, 3):
        segments = clip["rgb"][:, middles(12, g, 8)]  # [B, G, 8, H, W, 3]
        features[f"features_g{g}"] = np.stack([extractor({"rgb": segments[:, j]}) for j in range(g)], axis=1)
        features[f"pose_g{g}"] = clip["pose"][:, middles(12, g, 3)]
    np.testing.assert_allclose(model(clip), parts(features), rtol=1e-4)


def test_the_feature_is_what_is_classified():
    model = tiny_models.build("separable_sta", frames=8, size=32)
    extractor = module.segment_features(model)
    features, _ = tiny_models.batch(model)
    kernel, bias = model.get_layer("classifier").get_weights()
    np.testing.assert_allclose(softmax(extractor(features).numpy() @ kernel + bias), model(features), rtol=1e-4)


@pytest.mark.parametrize(
    "name", tiny_models.quick(["pose_lstm", "temporal", "global", "sta_hands"], "pose_lstm", "temporal")
)
def test_models_without_features_of_segments(name):
    with pytest.raises(zoo.ZooError, match="expected a video model"):
        module.segment_features(tiny_models.shared(name))


@pytest.mark.slow
def test_another_backbone():
    model = tiny_models.build("temporal", **{**END_TO_END, "backbone": "resnext3d101"})
    features, _ = tiny_models.batch(model)
    assert model(features).shape == (2, tiny_models.CLASSES)
    trained = zoo.build("resnext3d101", num_classes=5, frames=8, size=32, width=0.0625)
    assert "stage_4.block_3.conv_3" in zoo.transfer_weights(trained, model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularities": ()}, "expected one or more numbers of segments"),
        ({"granularities": (2, 2)}, "each once"),
        (
            {"granularities": (1, 2)},
            r"granularities is \(1, 2\), expected a list of values, each a whole",
        ),
        ({"granularities": (3,)}, "attention over one granularity is always 1"),
        ({"backbone": "i3e"}, "did you mean 'i3d'"),
        ({"backbone": "i3d", "frames": 64}, r"frames is 64, which cannot be cut into 2, 3, 4 equal .* n \* 12"),
        ({"backbone": "i3d", "pose_steps": 20, "size": 32}, "pose_steps is 20, which cannot be cut"),
        ({"backbone": "i3d", "segment_frames": 4}, "segment_frames is 4, expected at least 8"),
        ({"segment_steps": 0}, "segment_steps is 0"),
    ],
)
def test_choices_that_make_no_model(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("temporal", num_classes=3, **options)
