"""TFRecords of activities of daily living: converters, the data contract and the ``tf.data`` reader.

* :mod:`tfrecords.schema`, :mod:`tfrecords.manifest`, :mod:`tfrecords.storage`: what a dataset holds.
* :mod:`tfrecords.protocols`: which clips train, validate and test.
* :mod:`tfrecords.datasets`: one reader of an original download per dataset; :mod:`tfrecords.synthadl` generates one.
* :mod:`tfrecords.converting`: videos, persons, crops, the writer of shards; :mod:`tfrecords.errors`: rejected clips.
* :mod:`tfrecords.estimation`: poses from plain video.
* :mod:`tfrecords.reading`: from shards to batches that a model accepts.
* :mod:`tfrecords.convert`, :mod:`tfrecords.estimate`, :mod:`tfrecords.inspect`: the commands.
"""

from __future__ import annotations

import importlib
import types

_MOVED = ("augmentation", "pipeline")  # to tfrecords.reading; ``from tfrecords import pipeline`` still works


def __getattr__(name: str) -> types.ModuleType:
    if name in _MOVED:
        return importlib.import_module(f"tfrecords.reading.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
