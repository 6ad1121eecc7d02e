"""Some classes, and all others as one."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from zoo.pretrained import grouping


def test_kept_classes_keep_their_probability_and_the_others_are_added():
    model = tiny_models.shared("i3d")
    grouped = grouping.group_classes(model, [2])
    features, _ = tiny_models.batch(model)
    before, after = np.asarray(model(features, training=False)), np.asarray(grouped(features, training=False))
    np.testing.assert_allclose(after, np.stack([before[:, 2], before[:, 0] + before[:, 1]], axis=1), rtol=1e-5)
    layer = grouped.get_layer("logits")
    assert grouping.GroupedLogits.from_config(layer.get_config()).kept == [2]


@pytest.mark.parametrize("kept", [[0, 0], [3], [-1], [0, 1, 2]])
def test_classes_that_cannot_be_kept(kept):
    with pytest.raises(zoo.ZooError, match="expected different ones from 0 to 2, and not all of them"):
        grouping.group_classes(tiny_models.shared("i3d"), kept)
