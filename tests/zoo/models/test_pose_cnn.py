"""The pose CNN (BMVC18), recomputed in NumPy from the layers' weights."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from tests.zoo.numpy_layers import outputs, softmax
from zoo import skeletons


def pose_tensor(pose, order):
    """Positions, velocities and accelerations, coordinate by coordinate: ``[B, tp, M * N * 3, 3]``."""
    batch, steps, persons, _, _ = pose.shape
    width = persons * len(order) * 3
    x = np.zeros((batch, steps, width, 3))
    for person in range(persons):
        for index, joint in enumerate(order):
            for axis in range(3):
                column = (person * len(order) + index) * 3 + axis
                x[:, :, column, 0] = pose[:, :, person, joint, axis]
    for t in range(1, steps):
        x[:, t, :, 1] = x[:, t, :, 0] - x[:, t - 1, :, 0]
    for t in range(2, steps):
        x[:, t, :, 2] = x[:, t, :, 1] - x[:, t - 1, :, 1]
    return x


def convolve(x, kernel, bias):
    """2D convolution that keeps the size (zeros around; for even kernels one more after than before)."""
    rows, columns, _, filters = kernel.shape
    top, left = (rows - 1) // 2, (columns - 1) // 2
    padded = np.pad(x, ((0, 0), (top, rows - 1 - top), (left, columns - 1 - left), (0, 0)))
    result = np.zeros((*x.shape[:3], filters)) + bias
    for i in range(rows):
        for j in range(columns):
            result += padded[:, i : i + x.shape[1], j : j + x.shape[2]] @ kernel[i, j]
    return result


def max_pool(x):
    """Largest of 2 x 2 values; an odd row or column at the end is pooled alone."""
    _, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), constant_values=-np.inf)
    return np.max([padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)


@pytest.mark.parametrize("joint_order", skeletons.JOINT_ORDERS)
def test_features_and_predictions(joint_order):
    model = tiny_models.build("pose_cnn", joint_order=joint_order, pose_steps=5)
    batch, _ = tiny_models.batch(model, clips=3)
    x = pose_tensor(batch["pose"], skeletons.get("lcrnet_13").joint_order(joint_order))
    tensor, s = outputs(model, ["pose_tensor", "pose_features"], batch)
    np.testing.assert_allclose(tensor, x, atol=1e-6)
    for name in ("pose_conv_1", "pose_conv_2"):
        x = max_pool(np.maximum(convolve(x, *model.get_layer(name).get_weights()), 0))
    kernel, bias = model.get_layer("pose_conv_3").get_weights()
    assert kernel.shape[:2] == x.shape[1:3], "the last kernel covers the whole map"
    expected = np.maximum(np.einsum("bijc,ijcf->bf", x, kernel) + bias, 0)
    np.testing.assert_allclose(s, expected, rtol=1e-3, atol=1e-5)
    kernel, bias = model.get_layer("classifier").get_weights()
    np.testing.assert_allclose(model(batch, training=False), softmax(expected @ kernel + bias), rtol=1e-3)


def test_published_sizes():
    """BMVC18: 20 x 300 x 3, then maps of 10 x 150, 5 x 75 and 1 x 1 x 1024."""
    model = zoo.build("pose_cnn", num_classes=60)
    shapes = [model.get_layer(name).output.shape[1:] for name in ("pose_tensor", "pose_pool_1", "pose_pool_2")]
    assert [tuple(shape) for shape in shapes] == [(20, 300, 3), (10, 150, 64), (5, 75, 64)]
    assert tuple(model.get_layer("pose_conv_3").output.shape[1:]) == (1, 1, 1024)
    kernels = [tuple(model.get_layer(f"pose_conv_{n}").get_weights()[0].shape[:2]) for n in (1, 2, 3)]
    assert kernels == [(8, 3), (8, 3), (5, 75)]


@pytest.mark.parametrize("pose_steps", [1, 2, 7])
@pytest.mark.parametrize("layout", skeletons.LAYOUTS)
def test_any_skeleton_and_number_of_steps(layout, pose_steps):
    model = tiny_models.build("pose_cnn", layout=layout, pose_steps=pose_steps, persons=1)
    batch, _ = tiny_models.batch(model)
    (tensor,) = outputs(model, ["pose_tensor"], batch)
    np.testing.assert_allclose(tensor, pose_tensor(batch["pose"], skeletons.get(layout).tour), atol=1e-6)
    assert model.get_layer("pose_conv_3").output.shape[1:3] == (1, 1)


def test_an_absent_person_is_zero_in_all_channels():
    model = tiny_models.shared("pose_cnn")
    batch, _ = tiny_models.batch(model)
    (both,) = outputs(model, ["pose_tensor"], batch)
    batch["pose"][:, :, 1] = 0
    (alone,) = outputs(model, ["pose_tensor"], batch)
    half = both.shape[2] // 2
    np.testing.assert_array_equal(alone[:, :, :half], both[:, :, :half])
    assert not alone[:, :, half:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"joint_order": "tour"}, "joint_order is 'tour', expected one of topological_doubles"),
        ({"layout": "kinect_v2"}, "did you mean 'kinect_v2_25'"),
        ({"pose_steps": 0}, "pose_steps is 0"),
    ],
)
def test_choices_that_make_no_model(options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build("pose_cnn", num_classes=3, **options)
