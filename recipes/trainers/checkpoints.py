"""Checkpoints of a stage: one folder ``epoch-00012`` for each epoch that may still be needed."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import tempfile
from importlib import metadata
from typing import Any

import tensorflow as tf

from zoo.shared import files, messages
from zoo.shared.errors import UserError

_KERAS = metadata.version("keras")


class Checkpoints:
    """The checkpoints of a stage: the newest and the best.

    Args:
        folder: Where they are kept.
        writes: Whether this process keeps them. With several workers only one does; the others must take part in
            saving all the same, since some values are distributed.
    """

    _WEIGHTS = "weights"
    _STATE = "state.json"

    def __init__(self, folder: pathlib.Path, writes: bool = True) -> None:
        self.folder = pathlib.Path(folder)
        self._writes = writes

    def epochs(self) -> list[int]:
        """Numbers of the epochs that have a checkpoint, ascending."""
        return sorted(int(path.name[len("epoch-") :]) for path in self.folder.glob("epoch-*[0-9]"))

    def history(self) -> list[dict[str, float]]:
        """History up to the newest checkpoint; empty without one."""
        epochs = self.epochs()
        return self._state(epochs[-1])["history"] if epochs else []

    def save(self, history: list[dict[str, float]], keep: set[int], **objects: Any) -> None:
        """Writes the checkpoint of the epoch that has just ended, and removes those no longer needed.

        Args:
            history: Rows of all epochs so far.
            keep: Numbers of the epochs whose checkpoints stay, see :func:`recipes.trainers.history.epochs_to_keep`.
            **objects: What ``tf.train.Checkpoint`` saves.

        Raises:
            UserError: The checkpoint could not be written; earlier ones are unchanged.
        """
        if not self._writes:
            with tempfile.TemporaryDirectory() as nowhere:
                tf.train.Checkpoint(**objects).write(os.path.join(nowhere, self._WEIGHTS))
            return
        epoch = len(history)
        partial = self.folder / f"epoch-{epoch:05d}.tmp"
        self._clear(partial)
        partial.mkdir(parents=True)
        try:
            tf.train.Checkpoint(**objects).write(str(partial / self._WEIGHTS))
            files.write_json(partial / self._STATE, {"epoch": epoch, "history": history, "keras": _KERAS})
        except tf.errors.OpError as error:
            self._clear(partial)
            reason = error.message.rsplit("; ", 1)[-1].strip()  # it follows the graph's node and the file
            raise UserError(f"{partial}: cannot be written ({reason}), make space and continue with --resume") from None
        for file in partial.iterdir():
            files.sync(file)
        partial.rename(self._path(epoch))
        files.sync(self.folder)
        self.keep(keep)

    def read(self, epoch: int, **objects: Any) -> None:
        """Restores an epoch's checkpoint into objects whose variables exist."""
        path, written = self._path(epoch), self._state(epoch).get("keras", _KERAS)
        if written.partition(".")[0] != _KERAS.partition(".")[0]:
            raise UserError(
                f"{path}: was written under Keras {written}, a stage cannot go on under Keras {_KERAS}: "
                f"continue with that version, or remove {self.folder} to begin the stage again"
            )
        try:
            status = tf.train.Checkpoint(**objects).read(str(path / self._WEIGHTS))
            status.assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            raise _unreadable(path, error) from None
        status.expect_partial()

    def _state(self, epoch: int) -> dict[str, Any]:
        """The content of the JSON file beside an epoch's weights."""
        path = self._path(epoch)
        try:
            state = json.loads((path / self._STATE).read_text(encoding="utf-8"))
            return {**state, "history": list(state["history"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(path, error) from None

    def keep(self, epochs: set[int]) -> None:
        """Removes the checkpoints of all other epochs."""
        for epoch in set(self.epochs()) - epochs:
            self._clear(self._path(epoch))

    def clear(self) -> None:
        """Removes all checkpoints."""
        self._clear(self.folder)

    def _path(self, epoch: int) -> pathlib.Path:
        return self.folder / f"epoch-{epoch:05d}"

    @staticmethod
    def _clear(path: pathlib.Path) -> None:
        if path.exists():
            shutil.rmtree(path)


def _unreadable(path: pathlib.Path, error: Exception) -> UserError:
    reason = messages.one_line(error)
    return UserError(f"{path}: cannot be read ({reason}), remove it and continue with --resume")
