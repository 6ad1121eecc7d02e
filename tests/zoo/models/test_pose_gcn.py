"""The pose GCN, recomputed in NumPy from the layers' weights."""

import functools
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import batch_norm, outputs, softmax
from zoo import complexity, skeletons
from zoo.models import pose_gcn

LAYOUT = "lcrnet_13"


def relu(x):
    """Rectified linear unit."""
    return np.maximum(x, 0)


def over_time(x, kernel, dilation=1, stride=1):
    """Convolution of ``[B, V, T, C]`` over time that keeps the length, then every ``stride``-th step."""
    kernel = kernel[0]  # [5, C, F]
    reach = (len(kernel) - 1) * dilation
    # TensorFlow's "same": what a stride leaves over is not padded.
    needed = max((-(-x.shape[2] // stride) - 1) * stride + reach + 1 - x.shape[2], 0)
    padded = np.pad(x, ((0, 0), (0, 0), (needed // 2, needed - needed // 2), (0, 0)))
    steps = padded.shape[2] - reach
    found = sum(padded[:, :, k * dilation : k * dilation + steps] @ kernel[k] for k in range(len(kernel)))
    return found[:, :, ::stride]


def max_of(x, size, stride):
    """Maximum of ``size`` steps."""
    needed = max((-(-x.shape[2] // stride) - 1) * stride + size - x.shape[2], 0)
    pad = ((0, 0), (0, 0), (needed // 2, needed - needed // 2), (0, 0))
    padded = np.pad(x, pad, constant_values=-np.inf)
    steps = padded.shape[2] - size + 1
    return np.max([padded[:, :, k : k + steps] for k in range(size)], axis=0)[:, :, ::stride]


def graph_convolution(layer, x):
    """The sum over the parts of A_k X W_k, joint by joint."""
    kernel, *learned = [np.float64(weight) for weight in layer.get_weights()]
    own = learned.pop(0) if learned else pose_gcn.partitions(layer.layout)
    adjacency = own
    if layer.shared_persons:
        others = learned.pop(0) if learned and layer.persons > 1 else np.zeros_like(own)
        same = np.eye(layer.persons)
        adjacency = np.stack([np.kron(same, a) + np.kron(1 - same, b) for a, b in zip(own, others)])
    samples = []
    for sample in x:  # [V, T, C]
        topology = adjacency
        if layer.topology == "refined":
            correlation, refinement, alpha = learned
            p, q = np.split(sample.mean(axis=1) @ correlation, 2, axis=1)
            refined = np.zeros_like(adjacency)
            for i in range(len(p)):
                for j in range(len(q)):
                    refined[:, i, j] = np.tanh(p[i] - q[j]) @ refinement
            topology = adjacency + alpha * refined
        samples.append(sum(np.einsum("ij,jtc,cf->itf", *three) for three in zip(topology, [sample] * 3, kernel)))
    return np.stack(samples)


def temporal(model, name, x):
    """The four ways of a temporal convolution."""
    x = x @ model.get_layer(f"{name}.conv_1x1").get_weights()[0][0, 0]
    one, two, three, four = np.split(relu(batch_norm(model.get_layer(f"{name}.conv_1x1.batch_norm"), x)), 4, axis=-1)
    one = over_time(one, model.get_layer(f"{name}.conv_1x5_dilation_1").get_weights()[0])
    two = over_time(two, model.get_layer(f"{name}.conv_1x5_dilation_2").get_weights()[0], dilation=2)
    found = np.concatenate([one, two, max_of(three, 3, 1), four], axis=-1)
    return batch_norm(model.get_layer(f"{name}.batch_norm"), found)


def block(model, name, x):
    """A graph convolution and a temporal convolution."""
    shortcut = x
    if any(layer.name == f"{name}.shortcut.conv" for layer in model.layers):
        shortcut = x @ model.get_layer(f"{name}.shortcut.conv").get_weights()[0][0, 0]
        shortcut = batch_norm(model.get_layer(f"{name}.shortcut.batch_norm"), shortcut)
    y = graph_convolution(model.get_layer(f"{name}.graph"), x)
    y = relu(batch_norm(model.get_layer(f"{name}.graph.batch_norm"), y) + shortcut)
    return relu(temporal(model, f"{name}.time", y) + shortcut)


def test_partitions_are_the_bones():
    layout = skeletons.get(LAYOUT)
    own, inwards, outwards = pose_gcn.partitions(LAYOUT)
    np.testing.assert_array_equal(own, np.eye(13))
    for joint in range(13):
        parents = [p for p, c in layout.bones if c == joint]
        children = [c for p, c in layout.bones if p == joint]
        for part, neighbours in ((inwards, parents), (outwards, children)):
            expected = np.isin(range(13), neighbours) / max(len(neighbours), 1)
            np.testing.assert_allclose(part[joint], expected)


@pytest.mark.parametrize("topology", get_args(pose_gcn.Topology))
def test_the_whole_network(topology):
    model = tiny_models.build("pose_gcn", topology=topology, pose_steps=9)
    batch, _ = tiny_models.batch(model, clips=2)
    (x,) = outputs(model, ["streams"], batch)
    x = batch_norm(model.get_layer("input.batch_norm"), x.reshape(2, 9, 2, -1)).reshape(x.shape).swapaxes(1, 2)
    x = over_time(x, model.get_layer("embedding.conv").get_weights()[0], stride=2)
    x = relu(batch_norm(model.get_layer("embedding.batch_norm"), x))
    for number, (_, blocks) in enumerate(pose_gcn.STAGES, start=1):
        x = max_of(x, 2, 2) if number > 1 else x
        for index in range(1, blocks + 1):
            x = block(model, f"block_{number}{index}", x)
    kernel, bias = model.get_layer("classifier").get_weights()
    expected = softmax(x.mean(axis=(1, 2)) @ kernel + bias)
    np.testing.assert_allclose(model(batch, training=False), expected, rtol=2e-3, atol=1e-5)


def test_topologies_start_from_the_skeleton():
    """Learned weights and refinements change nothing before training."""
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 13, 3, 4)).astype("float32"))
    found = []
    for topology in get_args(pose_gcn.Topology):
        layer = pose_gcn.SkeletonConvolution(5, LAYOUT, 1, topology)
        layer.build(x.shape)
        layer.set_weights([np.arange(60).reshape(3, 4, 5) / 60, *layer.get_weights()[1:]])
        found.append(layer(x))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def _shake(model):
    """Gives the weights that start at zero other values."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, pose_gcn.SkeletonConvolution):
            layer.set_weights([w + 0.1 * rng.normal(size=w.shape) * (not w.any()) for w in layer.get_weights()])


@pytest.mark.parametrize("shared_persons", [True, False])
def test_joints_of_another_person_are_neighbours(shared_persons):
    x = np.random.default_rng(0).normal(size=(2, 26, 3, 4)).astype("float32")
    layer = pose_gcn.SkeletonConvolution(5, LAYOUT, 2, "refined", shared_persons)
    layer(x)
    parts = pose_gcn.partitions(LAYOUT)
    expected = parts if shared_persons else np.kron(np.eye(2), parts)
    np.testing.assert_array_equal(layer.get_weights()[1], expected)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    np.testing.assert_allclose(layer(x), graph_convolution(layer, x), rtol=1e-3, atol=1e-3)


def test_the_order_of_persons_has_no_effect():
    model = zoo.build("pose_gcn", num_classes=4, pose_steps=4, persons=2, layout=LAYOUT, width=0.25)
    _shake(model)
    pose = np.random.default_rng(0).normal(size=(2, 4, 2, 13, 3)).astype("float32")
    features = functools.partial(outputs, model, ["pooled"])  # a softmax near 0 and 1 would hide a difference
    (found,) = features({"pose": pose})
    np.testing.assert_allclose(features({"pose": pose[:, :, ::-1]})[0], found, rtol=1e-4, atol=1e-5)
    pose[:, :, 1, :, 0] += 1  # the distance of the persons has one
    assert np.abs(features({"pose": pose})[0] - found).max() > 1e-3 * np.abs(found).max()


def test_several_networks_have_the_mean_of_their_losses():
    options = {"pose_steps": 4, "layout": LAYOUT, "width": 0.25, "dropout": 0.0}
    model = zoo.build("pose_gcn", num_classes=4, networks=2, **options)
    pose = {"pose": np.random.default_rng(0).normal(size=(5, 4, 1, 13, 3)).astype("float32")}
    (scores,) = outputs(model, ["all_scores"], pose)
    each = softmax(scores)  # [5, 2, 4]
    assert np.ptp(each, axis=1).min() > 0
    found = model(pose).numpy()
    geometric = np.exp(np.log(each).mean(axis=1))
    np.testing.assert_allclose(found, geometric / geometric.sum(axis=1, keepdims=True), rtol=1e-4)
    loss = -np.log(found[:, 2]).mean() + float(sum(model.losses))
    assert loss == pytest.approx(-np.log(each[:, :, 2]).mean(), rel=1e-4)

    single = zoo.build("pose_gcn", num_classes=6, **options)  # the first network starts from its weights
    filled = zoo.transfer_weights(single, model)
    assert not any(name.startswith("network_") or name == "classifier" for name in filled)
    np.testing.assert_array_equal(*(m.get_layer("block_11.graph").get_weights()[0] for m in (single, model)))


def test_multiply_accumulates():
    model = zoo.build("pose_gcn", num_classes=4, pose_steps=8, layout=LAYOUT, topology="learned")
    layer = model.get_layer("block_22.graph")  # 64 -> 64 channels, 13 joints, 2 of the 8 steps
    assert complexity.multiply_accumulates(tf.keras.Model(layer.input, layer.output)) == 3 * 26 * 64 * (13 + 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"streams": ("joints",)}, "streams is .*, did you mean 'joint'"),
        ({"streams": ()}, "at least one of joint, bone"),
        ({"streams": ("bone", "bone")}, "each once"),
        ({"topology": "refine"}, "did you mean 'refined'"),
        ({"layout": "kinect"}, "layout is 'kinect', expected one of kinect_v1_20"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("pose_gcn", num_classes=4, **options)
