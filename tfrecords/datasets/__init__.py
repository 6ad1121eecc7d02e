"""One module per dataset: what it contains, how its clips are named, and how its original download is read."""

import importlib

NAMES = ("nucla", "synthetic")


def get(name):
    """The :class:`~tfrecords.datasets.base.Source` class of a dataset.

    Args:
        name: One of :data:`NAMES`.

    Returns:
        The class.
    """
    return importlib.import_module(f"tfrecords.datasets.{name}").SOURCE
