"""Attention maps come with a live session's answers, from a SavedModel and from a server."""

import numpy as np
import pytest

from serving.live import models
from serving.live.people import Window
from serving.live.settings import LiveSettings

MAPS = ("spatial_attention", "temporal_attention")


@pytest.mark.slow
@pytest.mark.parametrize("served", [False, True])
def test_attention_of_a_model_that_has_it(request, base, clips, served):
    settings = LiveSettings("0", str(base / "separable_sta"))
    if served:
        settings = LiveSettings("0", "separable_sta", server=request.getfixturevalue("address"))
    clip = clips["square"]
    window = Window(3, 0.0, 1.0, {"full_body": clip.images["full_body"]}, clip.pose_xyz)
    with models.load(settings) as model:
        assert model.maps == MAPS
        first, second = model.predict([window, window])
    assert {name: value.ndim for name, value in first.outputs.items()} == dict(zip(MAPS, (2, 1)))
    for name in MAPS:
        np.testing.assert_allclose(first.outputs[name], second.outputs[name], atol=1e-5)
        assert first.outputs[name].max() > 0


def test_a_model_without_attention(linear_version):
    with models.load(LiveSettings("0", str(linear_version))) as model:
        assert model.maps == ()
