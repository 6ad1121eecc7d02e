"""The published values themselves: every layer is filled, and real clips are recognised. They are downloaded once."""

import itertools

import cv2
import numpy as np
import pytest

import zoo
from serving.client import clips
from zoo import layers
from zoo.pretrained import catalogue, fetching
from zoo.pretrained.i3d_checkpoint import I3D

pytestmark = pytest.mark.slow
ENTRY = catalogue.get("kinetics400")
SMALL = {"frames": 16, "size": 64}


@pytest.fixture(scope="module", autouse=True)
def _fetched(tmp_path_factory):
    """The weights, from the user's cache or into a temporary one; the tests are skipped where there are none."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            fetching.checkpoint(ENTRY.name)
        except zoo.ZooError:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
            try:
                fetching.fetch(ENTRY.name)
            except zoo.ZooError as error:
                pytest.skip(f"no published weights here: {error}")
        yield


@pytest.fixture(scope="module")
def published():
    """The I3D with its 400 classes, at small size."""
    return zoo.build("i3d", num_classes=400, weights=ENTRY.name, **SMALL)


def _by_variable(model):
    """Published variable -> its values in all towers of a model."""
    found = {}
    for layer in layers.every_layer(model):
        for name, value in zip(I3D.variables(layer), layer.get_weights()):
            found.setdefault(name, []).append(value)
    return found


def test_all_layers_are_filled(published):
    random = zoo.build("i3d", num_classes=400, **SMALL)
    filled = [
        layer.name
        for layer in published.layers
        if layer.weights
        and all(
            not np.array_equal(*pair) for pair in zip(layer.get_weights(), random.get_layer(layer.name).get_weights())
        )
    ]
    assert len(filled) == len([layer for layer in random.layers if layer.weights]) == ENTRY.layers


def test_a_grey_clip_has_the_catalogues_prediction():
    sanity = ENTRY.sanity
    model = zoo.build("i3d", num_classes=400, frames=sanity.frames, size=sanity.size, weights=ENTRY.name)
    grey = np.zeros((1, sanity.frames, sanity.size, sanity.size, 3), np.float32)
    (probabilities,) = np.asarray(model({"rgb": grey}, training=False))
    assert ENTRY.labels[probabilities.argmax()] == sanity.label
    assert probabilities.max() == pytest.approx(sanity.probability, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "options", "towers"),
    [
        ("pi3d", {"aggregate_after": 0}, 3),
        ("separable_sta", {"pose_steps": 4, "joints": 20}, 1),
        ("vpn", {"layout": "kinect_v1_20"}, 1),
        ("i3d_nonlocal", {}, 1),
        ("temporal", {"backbone": "i3d", "frames": 24, "pose_steps": 12, "joints": 20}, 1),
        ("global", {"base_model": "i3d"}, 1),
    ],
)
def test_every_tower_of_every_model_is_filled(published, name, options, towers):
    model = zoo.build(name, num_classes=5, weights=ENTRY.name, **{**SMALL, **options})
    found, expected = _by_variable(model), _by_variable(published)
    assert found.keys() == expected.keys()
    for variable, values in found.items():
        assert len(values) == towers
        for value in values:
            np.testing.assert_array_equal(value, expected[variable][0])


def _picture(frame):
    """As the weights were evaluated: shorter side 256, centre 224, RGB in [-1, 1]."""
    height, width = frame.shape[:2]
    scale = 256 / min(height, width)
    resized = cv2.resize(frame, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
    top, left = (resized.shape[0] - 224) // 2, (resized.shape[1] - 224) // 2
    return resized[top : top + 224, left : left + 224].astype(np.float32) / 127.5 - 1


@pytest.mark.real_data
def test_real_clips_are_recognised(real_data):
    model = zoo.build("i3d", num_classes=400, weights=ENTRY.name)
    for clip, expected in (
        ("demo.mp4", {"arm wrestling": 1.0}),
        ("ucf_ApplyEyeMakeup_g01_c01.avi", {"filling eyebrows": 0.794, "applying cream": 0.201}),
        ("carving_ice.mp4", {"making snowman": 0.529}),
    ):
        frames = itertools.islice(clips.read_video(real_data / "clips" / clip), 64)
        rgb = np.stack([_picture(np.asarray(frame)) for frame in frames])
        (probabilities,) = np.asarray(model({"rgb": rgb[None]}, training=False))
        best = probabilities.argsort()[::-1][: len(expected)]
        assert [ENTRY.labels[index] for index in best] == list(expected)
        assert probabilities[best] == pytest.approx(list(expected.values()), abs=0.02)
