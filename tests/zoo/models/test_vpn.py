"""The equations of VPN (ECCV20), recomputed in NumPy from the layers' weights."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import cross_entropy, outputs, scores, sigmoid, softmax
from zoo import skeletons
from zoo.models import vpn

EMBEDDING, ATTENTION = 0.4, 0.03  # large enough to be seen in the loss
OPTIONS = {"embedding_weight": EMBEDDING, "attention_regularization": ATTENTION, "dropout": 0.0, "lstm_dropout": 0.0}


def _build(**choice):
    return tiny_models.build("vpn", **OPTIONS, **choice)


def _divergence(p, q):
    return (p * (np.log(p) - np.log(q))).sum(axis=1)


def _distance(kind, video, pose):
    if kind == "euclidean":
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (video, pose)]
        return ((unit[0] - unit[1]) ** 2).sum(axis=1)
    video, pose = softmax(video), softmax(pose)
    return {
        "kl_pose_video": _divergence(pose, video),
        "kl_video_pose": _divergence(video, pose),
        "kl_both": _divergence(pose, video) + _divergence(video, pose),
    }[kind]


@pytest.mark.parametrize(
    "choice",
    tiny_models.quick(
        [
            *({"embedding": embedding} for embedding in get_args(vpn.Embedding)),
            {"pose_backbone": "lstm"},
            {"coupler": False},
            {"attention": "spatial"},
        ],
        {"embedding": "euclidean"},
        {"coupler": False},
    ),
    ids=str,
)
def test_predictions_and_training_loss(choice):
    model = _build(**choice)
    features, labels = tiny_models.batch(model, clips=3)
    g, h = outputs(model, ["Mixed_5c", "pose_features"], features)
    batch, t, m, n, _ = g.shape
    z1 = scores(model.get_layer("spatial_scores"), h)
    spatial = sigmoid(z1).reshape(batch, 1, m, n, 1)
    penalty = ATTENTION * (spatial**2).sum() / batch
    temporal = np.ones((batch, t, 1, 1, 1))
    if choice.get("attention") != "spatial":
        temporal = softmax(scores(model.get_layer("temporal_scores"), h)).reshape(batch, t, 1, 1, 1)
        penalty += ATTENTION * ((1 - temporal) ** 2).sum() / batch
    if choice.get("embedding") != "none":
        video_kernel, pose_kernel = model.get_layer("embedding").get_weights()
        distance = _distance(
            choice.get("embedding", "euclidean"),
            g.sum(axis=1).reshape(batch, -1) @ video_kernel,
            sigmoid(z1) @ pose_kernel,
        )
        penalty += EMBEDDING * distance.mean()
    maps = [spatial * temporal * g + g] if choice.get("coupler", True) else [spatial * g, temporal * g]
    pooled = np.concatenate([x.mean(axis=(1, 2, 3)) for x in maps], axis=1)
    kernel, bias = model.get_layer("classifier").get_weights()
    expected = softmax(pooled @ kernel + bias)
    np.testing.assert_allclose(model(features, training=False), expected, rtol=1e-4)
    loss = tiny_models.training_loss(model, features, labels)
    np.testing.assert_allclose(loss, cross_entropy(expected, labels) + penalty, rtol=1e-4)


@pytest.mark.parametrize("layout", skeletons.LAYOUTS)
def test_adjacency(layout):
    """D^-1/2 (E + I) D^-1/2 entry by entry, with 5 for bones, 2 for the rest; two persons are two blocks."""
    joints = skeletons.get(layout).num_joints
    bones = {frozenset(bone) for bone in skeletons.get(layout).bones}
    edges = np.array(
        [[1.0 if i == j else 5.0 if frozenset((i, j)) in bones else 2.0 for j in range(joints)] for i in range(joints)]
    )
    degree = edges.sum(axis=1)
    expected = edges / np.sqrt(degree[:, None] * degree[None])
    both = vpn.adjacency(layout, persons=2)
    np.testing.assert_allclose(both[:joints, :joints], expected, rtol=1e-6)
    np.testing.assert_allclose(both[joints:, joints:], expected, rtol=1e-6)
    assert (both[:joints, joints:] == 0).all()
    assert (both[joints:, :joints] == 0).all()


def test_graph_convolution_of_every_step():
    """P+ = A P W with a W of its own per step, by spektral's GCNConv."""
    model = _build()
    features, _ = tiny_models.batch(model)
    pose = features["pose"].reshape(2, tiny_models.OPTIONS["pose_steps"], -1, 3)
    graph = vpn.adjacency(tiny_models.OPTIONS["layout"], tiny_models.OPTIONS["persons"])
    steps = [f"graph_convolution_{step}" for step in range(1, pose.shape[1] + 1)]
    for step, value in enumerate(outputs(model, steps, features)):
        (kernel,) = model.get_layer(steps[step]).get_weights()
        np.testing.assert_allclose(value, graph @ (pose[:, step] @ kernel), rtol=1e-3, atol=1e-5)


def test_an_absent_person_leaves_the_other_nodes_alone():
    model = _build()
    features, _ = tiny_models.batch(model)
    alone = {**features, "pose": features["pose"].copy()}
    alone["pose"][:, :, 1] = 0
    (both,), (one,) = (outputs(model, ["graph_convolution_1"], x) for x in (features, alone))
    joints = both.shape[1] // 2
    np.testing.assert_array_equal(both[:, :joints], one[:, :joints])
    assert (one[:, joints:] == 0).all()
    assert np.abs(both[:, joints:]).max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding": "kl"}, "embedding is 'kl', expected one of none"),
        ({"pose_backbone": "gnc"}, "did you mean 'gcn'"),
        ({"backbone": "i3dd"}, "did you mean 'i3d'"),
        ({"layout": "kinect"}, "layout is 'kinect', expected one of kinect_v1_20"),
        ({"attention": "spatial", "coupler": False}, "coupler=False separates"),
    ],
)
def test_choices_that_make_no_model(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("vpn", num_classes=3, **options)


@pytest.mark.slow
def test_another_backbone():
    """The feature map of 3D ResNeXt carries the same attention."""
    model = zoo.build(
        "vpn", num_classes=3, backbone="resnext3d101", **tiny_models.options("vpn", size=32, width=0.03125)
    )
    features, _ = tiny_models.batch(model)
    maps = zoo.attention_maps(model)(features)
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "spatial_attention": (2, 1, 1),
        "temporal_attention": (2, 1),
        "spatio_temporal_attention": (2, 1, 1, 1),
    }


def test_embedding_is_sound_at_scores_of_zero_and_leaves_out_clips_without_a_pose():
    """Scores start at zero, where a norm has no gradient."""
    layer = vpn.VideoPoseEmbedding("euclidean", 5, EMBEDDING)
    rng = np.random.default_rng(0)
    g, pose = (rng.normal(size=shape).astype("float32") for shape in ((2, 3, 2, 2, 4), (2, 3, 1, 5, 3)))
    z1 = tf.zeros((2, 4))

    def loss_and_gradient(pose):
        with tf.GradientTape() as tape:
            tape.watch(z1)
            layer([g, z1, pose])
            loss = tf.add_n(layer.losses)
        return float(loss), tape.gradient(loss, z1).numpy()

    both, gradient = loss_and_gradient(pose)
    assert 0 < np.abs(gradient).max() < 10
    pose[1] = 0
    first, gradient = loss_and_gradient(pose)
    assert 0 < first < both
    assert np.any(gradient[0])
    assert not np.any(gradient[1])
