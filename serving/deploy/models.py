"""Exported models: their versions, labels, inputs and an estimate of their memory."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from serving.savedmodel import batching_parameters, versions
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from tfrecords.reading.pipeline import Inputs

_ACTIVATIONS = 16  # estimated memory of a network for a clip, as a multiple of the clip in float32


class Model:
    """An exported model to be served.

    Args:
        folder: ``BASE/<model>``.
        stable: Version that has the label ``stable``; default: the newest other than the canary.
        canary: Version that has the label ``canary``; default: none.

    Raises:
        UserError: There is no such version, or one version would have both labels.

    Attributes:
        name: The model's name.
        versions: Version -> folder.
        labels: Label -> version.
        stable: Folder of the stable version.
        format: Its format, one of :data:`serving.savedmodel.versions.MODEL_FILES`.
        inputs: Its inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        batching: Its ``BatchingParameters``, or ``None``.
    """

    name: str
    versions: dict[int, pathlib.Path]
    labels: dict[str, int]
    stable: pathlib.Path
    format: str | None
    inputs: Inputs
    batching: Message | None

    def __init__(self, folder: pathlib.Path, *, stable: int | None = None, canary: int | None = None):
        self.name = folder.name
        self.versions = versions.require(folder)
        others = [version for version in self.versions if version != canary]
        stable = stable if stable is not None else max(others, default=None)
        if stable is None or stable == canary:
            raise UserError(
                f"--canary {self.name}={canary}: it is the stable version too, export another and give that one"
            )
        self.labels = {"stable": stable, **({} if canary is None else {"canary": canary})}
        for label, version in self.labels.items():
            if version not in self.versions:
                existing = ", ".join(map(str, self.versions))
                raise UserError(
                    f"--{label} {self.name}={version}: there is no such version in {folder}, only {existing}"
                )
        self.stable = self.versions[stable]
        self.format = versions.format_of(self.stable)
        self.inputs, self.batching = _read(self.stable)

    @property
    def bytes(self) -> int:
        """Estimated memory that a server needs for the model.

        The sum of: graph and weights of the versions that have a label, and of one more while it is loaded; a running
        batch; as many waiting requests as ``max_enqueued_batches`` allows.
        """
        folders = [self.versions[version] for version in self.labels.values()]
        sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
        batch = self.batching.max_batch_size.value if self.batching else 1
        waiting = self.batching.max_enqueued_batches.value if self.batching else 1
        clip = batching_parameters.clip_bytes(self.inputs)
        return sum(sizes) + max(sizes) + batch * clip * (4 * _ACTIVATIONS + waiting)


def _read(folder: pathlib.Path) -> tuple[Inputs, Message | None]:
    """``(inputs, batching)`` of a version, from the files that its export left in it."""
    from tfrecords.reading.pipeline import Inputs

    try:
        values = json.loads((folder / versions.INPUTS).read_text(encoding="utf-8"))
        return Inputs.from_dict(values), batching_parameters.read(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} was not made by serving.export, or is damaged: {error}") from error


def find(
    base: str | os.PathLike, *, stable: Mapping[str, int] | None = None, canary: Mapping[str, int] | None = None
) -> list[Model]:
    """The models of a folder.

    Args:
        base: Folder of all models.
        stable: Model's name -> version with the label ``stable``.
        canary: Model's name -> version with the label ``canary``.

    Returns:
        A list of :class:`Model`, sorted by name.

    Raises:
        UserError: There is no model, or a given version does not exist.
    """
    base = pathlib.Path(base)
    stable, canary = stable or {}, canary or {}
    names = sorted(path.name for path in base.iterdir() if versions.find(path)) if base.is_dir() else []
    if not names:
        raise UserError(
            f"{base} holds no models, expected BASE/<model>/<version> as python -m serving.export writes it"
        )
    for label, chosen in (("stable", stable), ("canary", canary)):
        for name in chosen:
            if name not in names:
                raise UserError(f"--{label} {name}: no such model in {base}, valid: {', '.join(names)}")
    return [Model(base / name, stable=stable.get(name), canary=canary.get(name)) for name in names]
