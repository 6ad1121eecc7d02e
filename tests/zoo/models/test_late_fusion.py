"""Late fusion: the normalised product of two networks' scores, each carried over whole; without a pose the video's."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models


@pytest.mark.parametrize(
    ("video_model", "pose_model"),
    [
        ("i3d", "pose_lstm"),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in [("vpn", "pose_gcn"), ("pi3d", "pose_lstm")]),
    ],
)
def test_fusion_of_trained_networks(video_model, pose_model):
    video = tiny_models.options(video_model)
    model = tiny_models.build(
        "late_fusion",
        frames=video["frames"],
        size=video["size"],
        video_model=video_model,
        pose_model=pose_model,
        pose_weight=0.5,
        **_own(video_model, "video_model"),
        **_own(pose_model, "pose_model"),
    )
    features, _ = tiny_models.batch(model)
    features = {**features, "pose": np.array(features["pose"])}
    features["pose"][0] = 0  # nobody's pose is known in the first clip
    scores = []
    for seed, name in enumerate((video_model, pose_model), start=1):
        trained = tiny_models.build(name, **_sizes(model, name))
        tiny_models.randomize(trained, seed)
        assert "classifier" in zoo.transfer_weights(trained, model)
        scores.append(trained({key: features[key] for key in trained.input}).numpy())
    expected = scores[0] * np.sqrt(scores[1])
    expected[0] = scores[0][0]
    np.testing.assert_allclose(model(features), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_the_loss_is_the_cross_entropy_of_the_product():
    """The loss that a part of three networks adds for its own cross-entropy is not added."""
    own = {"video_model": "i3d", "pose_model": "pose_gcn", "pose_model_options": {"networks": 2, "width": 0.2}}
    model = tiny_models.build("late_fusion", **own)
    features, labels = tiny_models.batch(model)
    scores = model(features, training=False).numpy()
    model.compile(loss="sparse_categorical_crossentropy")
    expected = -np.log(scores[np.arange(len(labels)), labels]).mean()
    np.testing.assert_allclose(model.evaluate(features, np.array(labels), verbose=0), expected, rtol=1e-4)


def _own(name, role):
    """Tiny options of a network that are not those of the whole."""
    whole = zoo.registry.options("late_fusion")
    own = {key: value for key, value in tiny_models.options(name).items() if key not in whole and key != "joints"}
    if role == "pose_model" and "width" in zoo.registry.options(name):
        own["width"] = tiny_models.options(name)["width"]
    return {f"{role}_options": own}


def _sizes(model, name):
    """Options of a network that follow from the whole's inputs."""
    joints = {"joints": model.input["pose"].shape[3]}
    return {key: value for key, value in joints.items() if key in zoo.registry.options(name)}


def test_an_option_that_the_whole_decides_is_refused():
    with pytest.raises(zoo.ZooError, match="video_model_options: frames is an option of late_fusion itself"):
        zoo.build("late_fusion", num_classes=3, video_model="vpn", video_model_options={"frames": 8})
    with pytest.raises(zoo.ZooError, match="no option 'networkz', did you mean 'networks'"):
        zoo.build("late_fusion", num_classes=3, pose_model_options={"networkz": 2})
