"""Published weights for export: a model that recognises its classes without any training."""

from __future__ import annotations

import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import zoo
from zoo.pretrained import catalogue
from zoo.shared import files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfrecords.reading.pipeline import Inputs

ALL = "all"
CLASSES = (ALL, catalogue.ADL)
_STRIDE = 1  # the networks were trained on consecutive frames


def find(source: str | os.PathLike, **chosen: Any) -> Published | PublishedFolder:
    """What an export needs from published weights or from a published model.

    Args:
        source: A name of :func:`zoo.list_pretrained`, a folder of :func:`zoo.save_pretrained`, or a model of a hub.
        **chosen: ``frames``, ``size`` and ``classes`` of :class:`Published`.

    Raises:
        UserError: There is no such model, or it cannot be given other frames, sizes or classes.
    """
    if isinstance(catalogue.list_pretrained().get(str(source)), catalogue.Pretrained):
        return Published(str(source), **chosen)
    folder = PublishedFolder(source)
    if chosen:
        raise UserError(f"--{next(iter(chosen))}: {source} has its own classes, frames and size, leave it out")
    return folder


class PublishedFolder:
    """What an export needs from a folder of :func:`zoo.save_pretrained`.

    Args:
        source: What :func:`zoo.from_pretrained` takes.

    Attributes:
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names, in the order of the softmax.

    Raises:
        UserError: There is no such folder, or it does not state the model's inputs and classes.
    """

    inputs: Inputs
    labels: list[str]

    def __init__(self, source: str | os.PathLike):
        from tfrecords.reading.pipeline import Inputs
        from zoo.pretrained import model_folder

        self._folder = model_folder.ModelFolder(model_folder.find(source))
        missing = model_folder.INPUTS if self._folder.inputs is None else model_folder.LABELS
        if self._folder.inputs is None or not self._folder.labels:
            raise UserError(f"{self._folder.path} has no {missing}: write the folder with recipes/publish.py")
        try:
            self.inputs = Inputs.from_dict(self._folder.inputs)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{self._folder.path / model_folder.INPUTS} is damaged: {error}; get it again") from error
        self.labels = list(self._folder.labels)

    def model(self) -> tf.keras.Model:
        """The ``tf.keras.Model`` with its weights."""
        return self._folder.model()

    def write_assets(self, folder: pathlib.Path) -> None:
        """Copies the files that accompany the model."""
        from zoo.pretrained import model_folder

        for name in (model_folder.LABELS, model_folder.INPUTS, model_folder.CARD):
            if (self._folder.path / name).is_file():
                shutil.copyfile(self._folder.path / name, folder / name)


class Published:
    """What an export needs from published weights.

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

        self._entry = catalogue.get_published(name)
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
        """Writes the files that accompany the model."""
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
