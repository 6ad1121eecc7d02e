"""I3D in PyTorch, with the weights of the Keras model: what `benchmarks/` compares the zoo's I3D with.

The same network as :mod:`zoo.models.i3d`, written as PyTorch users write it: modules under the published names, data as
``[B, C, T, H, W]``. With strides, TensorFlow's SAME padding may be uneven, with one step more at the end than at the
start. Here the stem's input is padded explicitly; pools use ``ceil_mode`` instead, which copies nothing.

Example:
    >>> import zoo
    >>> keras = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.125)
    >>> pytorch = network(weights_of(keras))
    >>> clip = np.random.default_rng(0).uniform(-1, 1, (1, 8, 32, 32, 3)).astype("float32")
    >>> with torch.inference_mode():
    ...     probabilities = pytorch(torch.from_numpy(clip).permute(0, 4, 1, 2, 3)).numpy()
    >>> bool(np.allclose(probabilities, keras({"rgb": clip}), atol=1e-4))
    True
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

BATCH_NORM_EPSILON = 1e-3  # Keras's


def same_padding(size, kernel, stride):
    """Steps that TensorFlow's SAME puts before and after an axis.

    Example:
        >>> same_padding(224, 7, 2)
        (2, 3)
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class Unit(nn.Sequential):
    """Convolution, batch normalisation, ReLU.

    Args:
        kernel: The convolution's kernel, ``[out, in, t, h, w]``; only its shape is used.
        stride: Stride, in all three dimensions.
    """

    def __init__(self, kernel, stride=1):
        super().__init__()
        filters, channels, *window = kernel.shape
        # For stride 1 the convolution pads itself; for larger strides SAME depends on the input: see forward().
        padding = window[0] // 2 if stride == 1 else 0
        self.conv_3d = nn.Conv3d(channels, filters, window, stride, padding, bias=False)
        self.batch_norm = nn.BatchNorm3d(filters, BATCH_NORM_EPSILON)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        """``[B, C, T, H, W]`` -> ``[B, filters, T / stride, H / stride, W / stride]``."""
        stride = self.conv_3d.stride[0]
        if stride > 1:
            axes = zip(reversed(x.shape[2:]), reversed(self.conv_3d.kernel_size))
            padding = [side for size, kernel in axes for side in same_padding(size, kernel, stride)]
            x = nn.functional.pad(x, padding)
        return super().forward(x)


class MaxPool(nn.Module):
    """Max pooling, padded as TensorFlow's SAME."""

    def __init__(self, window, stride):
        super().__init__()
        self.window = window
        self.stride = stride

    def forward(self, x):
        """``[B, C, T, H, W]`` -> the same, each axis divided by its stride."""
        before = [same_padding(*axis)[0] for axis in zip(x.shape[2:], self.window, self.stride)]
        return nn.functional.max_pool3d(x, self.window, self.stride, before, ceil_mode=True)


class Inception(nn.Module):
    """One Inception block: four parallel branches, concatenated.

    Args:
        kernels: Path of each of its units, such as ``Branch_0.Conv3d_0a_1x1`` -> kernel.
    """

    def __init__(self, kernels):
        super().__init__()
        for branch in range(4):
            self.add_module(f"Branch_{branch}", nn.Sequential())
        self.Branch_3.add_module("MaxPool3d_0a_3x3", MaxPool((3, 3, 3), (1, 1, 1)))
        for path, kernel in sorted(kernels.items()):  # 0a before 0b, 1x1 before 3x3
            branch, unit = path.split(".")
            self.get_submodule(branch).add_module(unit, Unit(kernel))

    def forward(self, x):
        """``[B, C, T, H, W]`` -> ``[B, filters, T, H, W]``."""
        return torch.cat([self.Branch_0(x), self.Branch_1(x), self.Branch_2(x), self.Branch_3(x)], dim=1)


class I3D(nn.Module):
    """I3D, from pictures to probabilities.

    Args:
        kernels: Path of each of its units -> kernel.
        num_classes: Number of classes C.
    """

    def __init__(self, kernels, num_classes):
        super().__init__()

        def inception(name):
            inside = {path: kernel for path, kernel in kernels.items() if path.startswith(f"{name}.")}
            return Inception({path.partition(".")[2]: kernel for path, kernel in inside.items()})

        self.Conv3d_1a_7x7 = Unit(kernels["Conv3d_1a_7x7"], stride=2)
        self.MaxPool3d_2a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = Unit(kernels["Conv3d_2b_1x1"])
        self.Conv3d_2c_3x3 = Unit(kernels["Conv3d_2c_3x3"])
        self.MaxPool3d_3a_3x3 = MaxPool((1, 3, 3), (1, 2, 2))
        self.Mixed_3b, self.Mixed_3c = inception("Mixed_3b"), inception("Mixed_3c")
        self.MaxPool3d_4a_3x3 = MaxPool((3, 3, 3), (2, 2, 2))
        for letter in "bcdef":
            self.add_module(f"Mixed_4{letter}", inception(f"Mixed_4{letter}"))
        self.MaxPool3d_5a_2x2 = MaxPool((2, 2, 2), (2, 2, 2))
        self.Mixed_5b, self.Mixed_5c = inception("Mixed_5b"), inception("Mixed_5c")
        channels = sum(list(branch)[-1].conv_3d.out_channels for branch in self.Mixed_5c.children())
        self.classifier = nn.Conv3d(channels, num_classes, 1)

    def forward(self, x):
        """``[B, 3, T, H, W]`` in [-1, 1] -> softmax ``[B, C]`` float32."""
        for name, module in self.named_children():  # in the order in which they were made
            if name != "classifier":
                x = module(x)
        t, m, n = x.shape[2:]
        # PyTorch has no kernel of this pool in bfloat16; it takes no time.
        pooled = nn.functional.avg_pool3d(x.float(), (min(2, t), min(7, m), min(7, n)), stride=1)
        logits = self.classifier(pooled.to(self.classifier.weight.dtype)).float().mean(dim=(2, 3, 4))
        return logits.softmax(dim=1)


def weights_of(model):
    """The weights of a Keras I3D under the names and in the shapes of PyTorch.

    Args:
        model: A model of ``zoo.build("i3d", ...)`` of any width.

    Returns:
        Name -> array, for :func:`network`.
    """
    weights = {}
    for layer in model.layers:
        if layer.name.endswith(".conv_3d"):
            weights[f"{layer.name}.weight"] = _kernel(layer.get_weights()[0])
        elif layer.name.endswith(".batch_norm"):
            for key, value in zip(("bias", "running_mean", "running_var"), layer.get_weights()):
                weights[f"{layer.name}.{key}"] = value
            weights[f"{layer.name}.weight"] = np.ones_like(value)  # Keras's scale=False
            weights[f"{layer.name}.num_batches_tracked"] = np.array(0)
    kernel, bias = model.get_layer("classifier").get_weights()
    return {**weights, "classifier.weight": _kernel(kernel), "classifier.bias": bias}


def _kernel(kernel):
    """``[t, h, w, in, out]`` -> ``[out, in, t, h, w]``."""
    return np.ascontiguousarray(kernel.transpose(4, 3, 0, 1, 2))


def network(weights):
    """The network with the given weights, ready for inference; their shapes determine its width.

    Args:
        weights: What :func:`weights_of` returned.

    Returns:
        An :class:`I3D` in evaluation mode.
    """
    suffix = ".conv_3d.weight"
    kernels = {name[: -len(suffix)]: value for name, value in weights.items() if name.endswith(suffix)}
    found = I3D(kernels, len(weights["classifier.bias"]))
    found.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return found.eval()


def folded(network):
    """A copy of a network, batch normalisation folded into the convolutions."""
    found = copy.deepcopy(network)
    for unit in found.modules():
        if isinstance(unit, Unit):
            unit.conv_3d = fuse_conv_bn_eval(unit.conv_3d, unit.batch_norm)
            unit.batch_norm = nn.Identity()
    return found
