"""The run directory: what a training leaves behind, and all that evaluation and export read.

::

    RUN/recipe.yaml        the resolved recipe
        inputs.json        the model's inputs: tfrecords.reading.pipeline.Inputs
        labels.txt         one class per line, in the order of the labels
        environment.json   versions, seed, command, devices, data
        history.csv        one row per stage and epoch
        logs/<stage>/      TensorBoard
        stages/<stage>/    checkpoints until the next stage begins; the best model.keras once it has ended
        model.keras        the result: the best model of the last stage; written last
        mlflow.json        the id of the run in MLflow; with train.py --callback mlflow
        calibration.json   temperature and threshold; with evaluate.py --calibrate
        evaluation/<protocol>-<split>/

Every file is written under another name first and is renamed when it is complete.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, Union

from recipes import config
from zoo.shared import files, messages, yaml_text
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from tfrecords.reading.pipeline import Inputs

Path = Union[str, os.PathLike]
_T = TypeVar("_T")

RECIPE = "recipe.yaml"
INPUTS = "inputs.json"
LABELS = "labels.txt"
ENVIRONMENT = "environment.json"
HISTORY = "history.csv"
MODEL = "model.keras"


class RunDirectory:
    """The run directory of a training.

    Args:
        path: The folder.

    Raises:
        UserError: No training was started there.

    Example:
        >>> run = RunDirectory("runs/pose_lstm_nucla")  # doctest: +SKIP
        >>> run.recipe.model.name, run.labels[0]  # doctest: +SKIP
        ('pose_lstm', 'pick up with one hand')
    """

    def __init__(self, path: Path) -> None:
        self.path = pathlib.Path(path)
        if not holds_run(self.path):
            raise UserError(f"{self.path}: no run directory ({RECIPE} is missing), expected one recipes/train.py made")
        recipe = self.path / RECIPE
        self.recipe = config.from_dict(yaml_text.read(recipe, str(recipe)), str(recipe))

    @property
    def inputs(self) -> Inputs:
        """What the model is fed: a :class:`tfrecords.reading.pipeline.Inputs`."""
        from tfrecords.reading import pipeline

        return self._parsed(INPUTS, pipeline.Inputs.from_dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self._read(LABELS).splitlines())

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, seed, command, devices and data of the training."""
        return self._parsed(ENVIRONMENT, _with_data)

    @property
    def history(self) -> list[dict[str, Any]]:
        """Rows of the training's epochs, as dictionaries of numbers (``stage`` is text)."""
        return read_history(self.path)

    @property
    def stage(self) -> config.Stage:
        """The stage whose model is the run's; an estimator has none."""
        return self.recipe.stages[-1]

    @property
    def model_path(self) -> pathlib.Path:
        """The trained model's file."""
        return self.path / MODEL

    def model(self) -> tf.keras.Model:
        """The trained model, a float32 ``tf.keras.Model``; ``UserError`` while training has not ended."""
        import zoo

        path = self.model_path
        if self.recipe.is_estimator:
            raise UserError(f"{self.path} holds a scikit-learn estimator, expected a Keras model's run")
        if not path.is_file():
            raise UserError(f"{path} is missing: the training has not ended, go on with recipes/train.py --resume")
        try:
            return zoo.load_model(path)
        except zoo.ZooError as error:
            raise UserError(str(error)) from None

    def _parsed(self, name: str, read: Callable[[Any], _T]) -> _T:
        """The result of a function of the value in a JSON file."""
        try:
            return read(json.loads(self._read(name)))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise damaged(self.path / name, error, "get it from a copy, or train again") from None

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"{self.path / name} is missing: the run directory is not whole, train again") from None
        except UnicodeDecodeError as error:
            raise damaged(self.path / name, error, "get it from a copy, or train again") from None


def damaged(path: pathlib.Path, error: Exception, remedy: str) -> UserError:
    """The error for a file whose content is damaged."""
    return UserError(f"{path} is damaged ({messages.one_line(error)}): {remedy}")


def _with_data(environment: dict[str, Any]) -> dict[str, Any]:
    """What ``environment.json`` holds; ``KeyError`` or ``TypeError`` if it does not name the data."""
    data = environment["data"]
    return {**environment, "data": {**data, "path": data["path"], "manifest_sha256": data["manifest_sha256"]}}


def holds_run(path: Path) -> bool:
    """Whether a training was started in the folder."""
    return (pathlib.Path(path) / RECIPE).is_file()


def stage_folder(path: Path, stage: str) -> pathlib.Path:
    """Folder of a stage in a run directory."""
    return pathlib.Path(path) / "stages" / stage


def stage_is_finished(path: Path, stage: str) -> bool:
    """Whether a stage has ended: its best model is saved."""
    return (stage_folder(path, stage) / MODEL).is_file()


def create(
    path: Path, *, recipe: config.Recipe, inputs: Inputs, labels: Sequence[str], environment: dict[str, Any]
) -> None:
    """Writes what is known before training; the recipe last, which makes the folder a run directory.

    Args:
        path: The folder.
        recipe: A :class:`recipes.config.Recipe`.
        inputs: The final model's :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names.
        environment: JSON values.
    """
    path = pathlib.Path(path)
    files.write_json(path / INPUTS, inputs.to_dict())
    files.write_text(path / LABELS, "".join(f"{label}\n" for label in labels))
    files.write_json(path / ENVIRONMENT, environment)
    files.write_text(path / RECIPE, recipe.to_yaml())


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Locks a run directory, which is made if missing, against a second training.

    Args:
        path: The folder.

    Raises:
        UserError: Another process trains there.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--output {path}: is or lies under a file, expected a folder") from None
    running = f"{path}: another training runs there, wait for it or give another --output"
    with files.locked(path / ".lock", running):
        yield


def write_csv(path: Path, rows: Sequence, columns: Sequence[str] | None = None) -> None:
    """Writes a CSV file, whole or not at all.

    Args:
        path: The file.
        rows: Dictionaries with the same keys, or lists of values.
        columns: Names of the columns; needed if there may be no rows, or if rows are lists.
    """
    columns = columns or list(rows[0])
    with files.whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([row[name] for name in columns] if isinstance(row, dict) else row for row in rows)


def write_history(path: Path, stage: str, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes a stage's epochs to the run's ``history.csv``; they replace the stage's earlier rows.

    Args:
        path: The run directory.
        stage: The stage's name.
        rows: One dictionary of numbers per epoch.
    """
    others = [row for row in read_history(path) if row["stage"] != stage]
    write_csv(pathlib.Path(path) / HISTORY, others + [{"stage": stage, **row} for row in rows])


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``history.csv``; none before the first epoch has ended."""
    path = pathlib.Path(path) / HISTORY
    if not path.is_file():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [
                {key: value if key == "stage" else float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]  # fmt: skip
    except (ValueError, TypeError) as error:
        raise damaged(path, error, "get it from a copy, or remove it") from None
