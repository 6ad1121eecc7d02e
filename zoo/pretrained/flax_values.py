"""The values of I3D's port to Flax, under the names of the published checkpoint.

The port's file is a pickle of nested dictionaries: collection, endpoint, layer, and the arrays::

    {"params":      {"Conv3d_1a_7x7": {"Conv_0": {"kernel": [7,7,7,3,64]}, "BatchNorm_0": {"bias": [64]}}, ...},
     "batch_stats": {"Conv3d_1a_7x7": {"BatchNorm_0": {"mean": [1,1,1,1,64], "var": [1,1,1,1,64]}}, ...}}
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zoo.checks import ZooError
from zoo.pretrained.i3d_checkpoint import I3D
from zoo.shared import messages

# What a pickled array names. A pickle may name any function to be called: reading calls only these.
_ALLOWED = {
    # NumPy 1 and 2 have different names for the same function; the version decides which one can be imported.
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
# (layer, array) -> the variable below its endpoint.
_VARIABLES = {
    ("Conv_0", "kernel"): I3D.convolution,
    ("Conv_0", "bias"): "conv_3d/b",  # of the classifier alone
    ("BatchNorm_0", "bias"): f"{I3D.normalisation}/beta",
    ("BatchNorm_0", "mean"): f"{I3D.normalisation}/moving_mean",
    ("BatchNorm_0", "var"): f"{I3D.normalisation}/moving_variance",
}
# The one endpoint whose name in the published checkpoint is irregular.
_RENAMED = {"Mixed_5b/Branch_2/Conv3d_0b_3x3": "Mixed_5b/Branch_2/Conv3d_0a_3x3"}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def read(content: bytes) -> dict[str, np.ndarray]:
    """Reads the port's file.

    Args:
        content: The file's bytes. Of the functions that they name, reading calls only the constructors of arrays.

    Returns:
        Variable of the published checkpoint -> value, float32. Statistics have the checkpoint's shape ``[C]``.

    Raises:
        ZooError: It is no pickle of arrays, or has an array that the checkpoint does not have.

    Example:
        >>> kernel = np.zeros((1, 1, 1, 64, 64), np.float32)
        >>> [name] = read(pickle.dumps({"params": {"Conv3d_2b_1x1": {"Conv_0": {"kernel": kernel}}}}, protocol=4))
        >>> name
        'RGB/inception_i3d/Conv3d_2b_1x1/conv_3d/w'
    """
    try:
        tree = _ArraysOnly(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle raises errors of any kind
        raise ZooError(f"not a pickle of arrays: {messages.one_line(error)}") from error
    values = {}
    for path, value in _arrays(tree):
        _, *endpoint, layer, array = path
        endpoint_name = "/".join(endpoint)
        variable = _VARIABLES.get((layer, array))
        if variable is None or not isinstance(value, np.ndarray) or value.dtype != np.float32:
            raise ZooError(f"{'/'.join(path)} is no array of I3D")
        flat = value.reshape(-1) if layer == "BatchNorm_0" else value  # [1, 1, 1, 1, C] -> [C]
        values[f"{I3D.scope}/{_RENAMED.get(endpoint_name, endpoint_name)}/{variable}"] = flat
    return values


def _arrays(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Path -> leaf, of nested dictionaries."""
    if not isinstance(tree, Mapping):
        if len(path) < 4:
            raise ZooError(f"{'/'.join(path) or 'the whole'} is no dictionary of arrays")
        yield path, tree
        return
    for key, branch in tree.items():
        yield from _arrays(branch, (*path, str(key)))
