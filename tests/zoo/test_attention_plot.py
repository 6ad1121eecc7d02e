"""The picture of attention: what is drawn where."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from zoo import attention_plot


def _axes(figure):
    """Axes by what they show: pictures with one image, overlays with two, and bars; colour bars left out."""
    pictures = [axes for axes in figure.axes if len(axes.images) == 1]
    overlays = [axes for axes in figure.axes if len(axes.images) == 2]
    bars = [axes for axes in figure.axes if axes.patches and not axes.images and axes.get_xlim()[0] == -0.5]
    return pictures, overlays, bars


def test_maps_are_drawn_over_and_under_the_frames():
    model = tiny_models.shared("separable_sta")
    features, _ = tiny_models.batch(model)
    maps = zoo.attention_maps(model)(features, training=False)
    pictures, overlays, bars = _axes(attention_plot.plot_attention(model, features, clip=1, pictures=3))
    assert [len(pictures), len(overlays), len(bars)] == [3, 3, 1]
    for axes, frame in zip(pictures, (0, 8, 15)):
        np.testing.assert_allclose(axes.images[0].get_array(), (features["rgb"][1, frame] + 1) / 2, atol=1e-6)
    for axes in overlays:
        np.testing.assert_allclose(axes.images[1].get_array(), maps["spatial_attention"][1], rtol=1e-5)
    heights = [bar.get_height() for bar in bars[0].patches]
    np.testing.assert_allclose(heights, maps["temporal_attention"][1], rtol=1e-5)


def test_a_map_that_changes_in_time_is_shown_as_it_is_at_each_frame():
    model = tiny_models.build("separable_sta", attention="joint")
    features, _ = tiny_models.batch(model, clips=1)
    (value,) = zoo.attention_maps(model)(features, training=False)["spatio_temporal_attention"].numpy()
    _, overlays, bars = _axes(attention_plot.plot_attention(model, features, pictures=16))
    assert not bars
    for frame, axes in enumerate(overlays):
        np.testing.assert_allclose(axes.images[1].get_array(), value[frame // 8], rtol=1e-5)


def test_attention_to_hands_is_a_row_of_bars_for_each():
    model = tiny_models.build("sta_hands", glimpses="frames")
    features, _ = tiny_models.batch(model, clips=1)
    maps = zoo.attention_maps(model)(features, training=False)
    pictures, overlays, bars = _axes(attention_plot.plot_attention(model, features, pictures=2))
    assert [len(pictures), len(overlays)] == [2, 0]
    drawn = {axes.get_ylabel().replace("\n", " "): [bar.get_height() for bar in axes.patches] for axes in bars}
    over_hands = maps["spatial_attention"][0].numpy()  # [T, G], G = 2 persons' left and right hand
    for (label, heights), glimpse in zip(drawn.items(), range(4)):
        person, hand = divmod(glimpse, 2)
        assert label == f"spatial attention {('left', 'right')[hand]} hand of person {person + 1}"
        np.testing.assert_allclose(heights, over_hands[:, glimpse], rtol=1e-5)
    assert len(drawn) == 4 + len(maps) - 1


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("pi3d", {"full body": "rgb", "left hand": "rgb_left_hand", "right hand": "rgb_right_hand"}),
        ("sta_hands", {"left hand": "rgb_left_hand", "right hand": "rgb_right_hand"}),
    ],
)
def test_each_body_part_is_a_row_of_frames(name, inputs):
    model = tiny_models.shared(name)
    features, _ = tiny_models.batch(model, clips=1)
    drawn, overlays, _ = _axes(attention_plot.plot_attention(model, features, pictures=2))
    assert [len(drawn), len(overlays)] == [2 * len(inputs), 0]
    for row, (part, name_of_input) in enumerate(inputs.items()):
        first, last = drawn[2 * row : 2 * row + 2]
        assert first.get_ylabel() == part
        for axes, frame in (first, 0), (last, -1):
            expected = (features[name_of_input][0, frame] + 1) / 2
            np.testing.assert_allclose(axes.images[0].get_array(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 2}, "clip is 2, expected a number from 0 to 1"),
        ({"clip": -1}, "clip is -1, expected a number from 0 to 1"),
        ({"pictures": 0}, "pictures is 0, expected at least 1"),
    ],
)
def test_a_clip_or_pictures_that_are_not_there(options, message):
    features, _ = tiny_models.batch(tiny_models.shared("separable_sta"))
    with pytest.raises(zoo.ZooError, match=message):
        attention_plot.plot_attention(tiny_models.shared("separable_sta"), features, **options)


@pytest.mark.parametrize(("name", "message"), [("pose_lstm", "no pictures"), ("i3d", "no attention")])
def test_models_without_pictures_or_attention_are_refused(name, message):
    features, _ = tiny_models.batch(tiny_models.shared(name))
    with pytest.raises(zoo.ZooError, match=message):
        attention_plot.plot_attention(tiny_models.shared(name), features)
