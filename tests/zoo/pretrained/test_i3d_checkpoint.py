"""The published I3D checkpoint: names, shapes, and values that land where they belong."""

import functools
import types

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.zoo import tiny_models
from zoo import layers
from zoo.pretrained import i3d_checkpoint
from zoo.pretrained.i3d_checkpoint import I3D, INCEPTION_V1


@functools.cache
def checkpoint_shapes(num_classes=400, width=1.0, naming=I3D):
    """Name -> shape of the published variables, for a network of some width."""
    model = zoo.build("i3d", num_classes=num_classes, frames=8, size=32, width=width)
    shapes = {}
    for layer in model.layers:
        for name, weight in zip(naming.variables(layer), layer.weights):
            shapes[name] = naming.shape(weight)
    head = model.get_layer("classifier").weights
    shapes.update((name, naming.shape(weight)) for name, weight in zip(naming.head, head))
    return types.MappingProxyType(shapes)


def write_checkpoint(path, shapes, seed=0):
    """A checkpoint of random values, written the way TensorFlow 1 named its variables."""
    rng = np.random.default_rng(seed)
    values = {name: rng.uniform(0.01, 0.02, shape).astype("float32") for name, shape in shapes.items()}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = [tf.compat.v1.get_variable(name, initializer=value) for name, value in values.items()]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables).save(session, str(path), write_meta_graph=False)
    return values


@pytest.mark.real_data
def test_every_published_variable_is_mapped(real_data):
    """The real index of the published checkpoint: 230 entries, none left over."""
    published = dict(tf.train.list_variables(str(real_data / "i3d" / "rgb_imagenet.ckpt")))
    assert len(published) == 230
    assert {name: tuple(shape) for name, shape in published.items()} == checkpoint_shapes()


def test_values_land_where_they_belong(tmp_path):
    """Every tower of P-I3D gets them; the forward pass of the first unit agrees with NumPy."""
    width = tiny_models.OPTIONS["width"]
    values = write_checkpoint(tmp_path / "model.ckpt", checkpoint_shapes(tiny_models.CLASSES, width))
    model = zoo.build(
        "pi3d", num_classes=tiny_models.CLASSES, **tiny_models.options("pi3d", frames=8, size=32, aggregate_after=1)
    )
    i3d_checkpoint.load(model, tmp_path / "model.ckpt")
    unit = f"{I3D.scope}/Conv3d_2b_1x1"
    for part in ("full_body.", "left_hand.", "right_hand."):
        names = [f"{part}MaxPool3d_2a_3x3", f"{part}Conv3d_2b_1x1.relu"]
        inside = tf.keras.Model(model.input, [model.get_layer(name).output for name in names])
        x, y = inside(tiny_models.batch(model)[0], training=False)
        beta, mean, variance = (
            values[f"{unit}/batch_norm/{name}"] for name in ("beta", "moving_mean", "moving_variance")
        )
        expected = (np.asarray(x) @ values[f"{unit}/conv_3d/w"][0, 0, 0] - mean) / np.sqrt(variance + 1e-3) + beta
        np.testing.assert_allclose(y, np.maximum(expected, 0), rtol=1e-3, atol=1e-4)
    joined = model.get_layer("joined.Mixed_5c.Branch_0.Conv3d_0a_1x1.conv_3d").get_weights()[0]
    np.testing.assert_array_equal(joined, values[f"{I3D.scope}/Mixed_5c/Branch_0/Conv3d_0a_1x1/conv_3d/w"])


@pytest.mark.parametrize(
    ("name", "options", "has_its_classifier"),
    [
        ("temporal", {"backbone": "i3d", "frames": 24, "size": 32, "pose_steps": 6}, False),  # reads other features
        # The classifier of the I3D is read; that of temporal keeps its weights.
        pytest.param("global", {"base_model": "i3d", "frames": 8, "size": 32}, True, marks=pytest.mark.slow),
    ],
)
def test_networks_inside_a_model_are_read_too(tmp_path, name, options, has_its_classifier):
    width = tiny_models.OPTIONS["width"]
    values = write_checkpoint(tmp_path / "model.ckpt", checkpoint_shapes(tiny_models.CLASSES, width))
    model = zoo.build(name, num_classes=tiny_models.CLASSES, **tiny_models.options(name, **options))
    assert i3d_checkpoint.load(model, tmp_path / "model.ckpt") == has_its_classifier
    (first,) = (layer for layer in layers.every_layer(model) if layer.name == "Conv3d_1a_7x7.conv_3d")
    np.testing.assert_array_equal(first.get_weights()[0], values[f"{I3D.scope}/Conv3d_1a_7x7/conv_3d/w"])


def test_a_network_of_pictures_gets_sums_over_time(tmp_path):
    """However an I3D's weights come into an ``lrcn``."""
    small = {"frames": 8, "size": 32, "lstm_units": 4}
    model = zoo.build("lrcn", num_classes=2, network="inception_v1", **small)
    video = zoo.build("i3d", num_classes=2, frames=8, size=32)
    values = write_checkpoint(tmp_path / "model.ckpt", checkpoint_shapes(2))
    i3d_checkpoint.load(video, tmp_path / "model.ckpt")
    name = "Mixed_4c.Branch_1.Conv3d_0b_3x3.conv_3d"
    kernel = values[f"{I3D.scope}/{name.replace('.', '/')}/w"]
    expected = np.stack([np.zeros_like(kernel[0]), kernel.sum(axis=0), np.zeros_like(kernel[0])])
    for fill in (i3d_checkpoint.load, lambda model, path: zoo.transfer_weights(video, model)):
        fill(model, tmp_path / "model.ckpt")
        (found,) = model.get_layer("frame_network").get_layer(name).get_weights()
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "num_classes", tiny_models.quick([tiny_models.CLASSES, tiny_models.CLASSES + 1], tiny_models.CLASSES + 1)
)
def test_another_number_of_classes_keeps_its_head(tmp_path, num_classes):
    values = write_checkpoint(
        tmp_path / "model.ckpt", checkpoint_shapes(tiny_models.CLASSES, tiny_models.OPTIONS["width"])
    )
    model = zoo.build("i3d", num_classes=num_classes, **tiny_models.options("i3d"))
    before = model.get_layer("classifier").get_weights()
    same = num_classes == tiny_models.CLASSES
    assert i3d_checkpoint.load(model, tmp_path / "model.ckpt") == same
    kernel = values[I3D.head[0]] if same else before[0]
    np.testing.assert_array_equal(model.get_layer("classifier").get_weights()[0], kernel)


def test_inception_v1_is_inflated(tmp_path):
    """Away from the ends in time, a video of one still picture has the values of the network of pictures."""
    width = tiny_models.OPTIONS["width"]
    shapes = checkpoint_shapes(11, width, INCEPTION_V1)
    assert shapes["InceptionV1/Mixed_5b/Branch_2/Conv2d_0a_3x3/weights"][:2] == (3, 3)
    values = write_checkpoint(tmp_path / "inception_v1.ckpt", shapes)
    options = tiny_models.options("i3d", frames=32)
    model = zoo.build("i3d", num_classes=tiny_models.CLASSES, weights=tmp_path / "inception_v1.ckpt", **options)
    inside = tf.keras.Model(model.input, model.get_layer("Conv3d_1a_7x7.batch_norm").output)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 1, options["size"], options["size"], 3)).astype("float32")
    video = inside({"rgb": np.repeat(picture, 32, axis=1)}, training=False)
    unit = "InceptionV1/Conv2d_1a_7x7"
    beta, mean, variance = (values[f"{unit}/BatchNorm/{name}"] for name in ("beta", "moving_mean", "moving_variance"))
    still = tf.nn.conv2d(picture[:, 0], values[f"{unit}/weights"], 2, "SAME")
    expected = (still - mean) / np.sqrt(variance + 1e-3) + beta
    for step in range(2, 14):
        np.testing.assert_allclose(video[:, step], expected, rtol=1e-4, atol=1e-4)


KERNEL = "RGB/inception_i3d/Mixed_4c/Branch_1/Conv3d_0b_3x3/conv_3d/w"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda shapes: shapes.pop(KERNEL), f"lacks {KERNEL}"),
        (lambda shapes: shapes.update({"Flow/inception_i3d/w": (2,)}), "has the unknown Flow/inception_i3d/w"),
        (lambda shapes: shapes.update({KERNEL: (1, 1, 1, 4, 5)}), f"{KERNEL} is .*expects"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, change, message):
    shapes = dict(checkpoint_shapes(tiny_models.CLASSES, tiny_models.OPTIONS["width"]))
    change(shapes)
    write_checkpoint(tmp_path / "model.ckpt", shapes)
    model = tiny_models.shared("i3d")
    before = model.get_weights()
    with pytest.raises(zoo.ZooError, match=message):
        i3d_checkpoint.load(model, tmp_path / "model.ckpt")
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_no_checkpoint(tmp_path):
    model = tiny_models.shared("i3d")
    with pytest.raises(zoo.ZooError, match="not a TensorFlow checkpoint"):
        i3d_checkpoint.load(model, tmp_path / "model.ckpt")
    write_checkpoint(tmp_path / "model.ckpt", {"weights": (2,)})
    with pytest.raises(zoo.ZooError, match="no I3D layers"):
        i3d_checkpoint.load(tiny_models.shared("pose_cnn"), tmp_path / "model.ckpt")
