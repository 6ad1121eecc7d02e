"""The networks that the benchmarks compare with the zoo's compute the same outputs."""

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models


@pytest.mark.parametrize("size", [32, 48])  # pools and strides whose SAME padding is even, and uneven
def test_i3d_in_pytorch_has_the_same_outputs(size):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[bench]'")
    from benchmarks.alternatives import i3d_pytorch

    model = zoo.build("i3d", num_classes=5, frames=12, size=size, width=0.25)
    tiny_models.randomize(model)
    clip = np.random.default_rng(0).uniform(-1, 1, (2, 12, size, size, 3)).astype("float32")
    expected = model({"rgb": clip}, training=False).numpy()
    assert expected.max() - expected.min() > 0.2  # outputs that depend on the weights
    network = i3d_pytorch.network(i3d_pytorch.weights_of(model))
    with torch.inference_mode():
        for variant in (network, i3d_pytorch.folded(network)):
            output = variant(torch.from_numpy(clip).permute(0, 4, 1, 2, 3)).numpy()
            np.testing.assert_allclose(output, expected, atol=1e-4)
