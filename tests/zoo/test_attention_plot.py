"""The picture of attention: what is drawn where."""

import numpy as np
import pytest

import zoo
from tests.zoo import small
from zoo import attention_plot


def _axes(figure):
    """Axes by what they show: pictures with one image, overlays with two, and bars; colour bars left out."""
    pictures = [axes for axes in figure.axes if len(axes.images) == 1]
    overlays = [axes for axes in figure.axes if len(axes.images) == 2]
    bars = [axes for axes in figure.axes if axes.patches and not axes.images and axes.get_xlim()[0] == -0.5]
    return pictures, overlays, bars


def test_maps_are_drawn_over_and_under_the_frames():
    model = small.shared("separable_sta")
    features, _ = small.batch(model)
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
    model = small.build("separable_sta", strategy="joint")
    features, _ = small.batch(model, clips=1)
    (value,) = zoo.attention_maps(model)(features, training=False)["spatio_temporal_attention"].numpy()
    _, overlays, bars = _axes(attention_plot.plot_attention(model, features, pictures=16))
    assert not bars
    for frame, axes in enumerate(overlays):
        np.testing.assert_allclose(axes.images[1].get_array(), value[frame // 8], rtol=1e-5)


@pytest.mark.parametrize(("name", "message"), [("pose_lstm", "no frames"), ("i3d", "no attention")])
def test_models_without_frames_or_attention_are_refused(name, message):
    features, _ = small.batch(small.shared(name))
    with pytest.raises(zoo.ZooError, match=message):
        attention_plot.plot_attention(small.shared(name), features)
