"""Published weights as something to export: a model that recognises its classes without any training."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import zoo
from zoo.pretrained import catalogue
from zoo.shared import files

if TYPE_CHECKING:
    import tensorflow as tf

    from tfrecords.reading.pipeline import Inputs

ALL = "all"
CLASSES = (ALL, catalogue.ADL)
_STRIDE = 1  # the networks were trained on consecutive frames


class Published:
    """What an export needs of published weights.

    Args:
        name: A name of :func:`zoo.list_pretrained`; its weights were fetched (``python -m zoo.weights``).
        frames: Frames of a clip; default: as in the published training.
        size: Height and width of a frame in pixels; default: as in the published training.
        classes: ``"all"``, or ``"adl"``: the activities of daily living, and all other classes as ``other``.

    Attributes:
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names, in the order of the softmax.

    Raises:
        ZooError: There are no such weights or no such group of classes.
    """

    inputs: Inputs
    labels: list[str]

    def __init__(self, name: str, *, frames: int | None = None, size: int | None = None, classes: str = ALL):
        from tfrecords.reading.pipeline import Inputs

        self._entry = catalogue.get(name)
        self._kept = None if classes == ALL else self._entry.group(classes)
        self.inputs = Inputs(frames=frames or self._entry.frames, stride=_STRIDE, size=size or self._entry.size)
        self.labels = list(self._entry.labels) if self._kept is None else [*self._kept, catalogue.OTHER]

    def model(self) -> tf.keras.Model:
        """The ``tf.keras.Model`` with its published weights; :class:`zoo.ZooError` if they were not fetched."""
        entry = self._entry
        model = zoo.build(
            entry.model,
            num_classes=len(entry.labels),
            frames=self.inputs.frames,
            size=self.inputs.size,
            weights=entry.name,
        )
        if self._kept is None:
            return model
        from zoo.pretrained import grouping

        return grouping.group_classes(model, [entry.labels.index(label) for label in self._kept])

    def write_assets(self, folder: pathlib.Path) -> None:
        """Writes the files that travel with the model."""
        entry = self._entry
        files.write_text(folder / "labels.txt", "".join(f"{label}\n" for label in self.labels))
        files.write_json(folder / "inputs.json", self.inputs.to_dict())
        files.write_json(
            folder / "pretrained.json",
            {
                "name": entry.name,
                "model": entry.model,
                "trained_on": entry.trained_on,
                "classes": ALL if self._kept is None else catalogue.ADL,
                "licence": entry.licence,
                "citation": entry.citation,
            },
        )
