"""The run directory: what a training leaves behind, and the only thing evaluation and export read of it.

::

    RUN/recipe.yaml        the resolved recipe
        inputs.json        what the model is fed: tfrecords.reading.pipeline.Inputs
        labels.txt         one class per line, in the order of the labels
        environment.json   versions, seed, command, devices, data
        history.csv        one row per stage and epoch
        logs/<stage>/      TensorBoard
        stages/<stage>/    checkpoints while a stage trains, its best model.keras afterwards
        model.keras        the result: the best model of the last stage; written last
        evaluation/<protocol>-<split>/

Every file is written under another name first and takes its own when it is whole.
"""

import contextlib
import csv
import fcntl
import json
import os
import pathlib
import uuid

import yaml

from recipes.config import sections as config
from tfrecords import manifest
from zoo import registry
from zoo.shared.errors import UserError

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

    def __init__(self, path):
        self.path = pathlib.Path(path)
        if not holds_run(self.path):
            raise UserError(f"{self.path}: no run directory ({RECIPE} is missing), expected one recipes/train.py made")
        self.recipe = config.from_dict(yaml.safe_load(self._read(RECIPE)), str(self.path / RECIPE))

    @property
    def inputs(self):
        """What the model is fed: a :class:`tfrecords.reading.pipeline.Inputs`."""
        from tfrecords.reading import pipeline

        return pipeline.Inputs.from_dict(json.loads(self._read(INPUTS)))

    @property
    def labels(self):
        """Class names, in the order of the labels."""
        return tuple(self._read(LABELS).splitlines())

    @property
    def environment(self):
        """Versions, seed, command, devices and data of the training."""
        return json.loads(self._read(ENVIRONMENT))

    @property
    def history(self):
        """Rows of the training's epochs, as dictionaries of numbers (``stage`` is text)."""
        return read_history(self.path)

    def model(self):
        """The trained model, a float32 ``tf.keras.Model``; ``UserError`` while training has not ended."""
        import zoo

        path = self.path / MODEL
        if self.recipe.model.name in registry.ESTIMATORS:
            raise UserError(f"{self.path} holds an estimator of scikit-learn's kind, expected a Keras model's run")
        if not path.is_file():
            raise UserError(f"{path} is missing: the training has not ended, go on with recipes/train.py --resume")
        try:
            return zoo.load_model(path)
        except zoo.ZooError as error:
            raise UserError(str(error)) from None

    def _read(self, name):
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"{self.path / name} is missing: the run directory is not whole, train again") from None


def holds_run(path):
    """Whether a training was started in the folder."""
    return (pathlib.Path(path) / RECIPE).is_file()


def create(path, *, recipe, inputs, labels, environment):
    """Writes what is known before training; the recipe last, which makes the folder a run directory.

    Args:
        path: The folder.
        recipe: A :class:`recipes.config.Recipe`.
        inputs: The final model's :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names.
        environment: JSON values.
    """
    path = pathlib.Path(path)
    manifest.write_json(path / INPUTS, inputs.to_dict())
    write_text(path / LABELS, "".join(f"{label}\n" for label in labels))
    manifest.write_json(path / ENVIRONMENT, environment)
    write_text(path / RECIPE, recipe.to_yaml())


@contextlib.contextmanager
def lock(path):
    """Holds a run directory, made if missing, against a second training.

    The lock is the kernel's: it ends with the process, however that ends.

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
    with open(path / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{path}: another training runs there, wait for it or give another --output") from None
        yield


@contextlib.contextmanager
def whole_file(path):
    """Gives a temporary path to write; it takes the place of ``path`` if the block ends without an error.

    Args:
        path: The file to make or replace; its folder is made if missing.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of its own: two evaluations of a run may write at once. The suffix stays: Keras and matplotlib go by it.
    partial = path.with_name(f".partial-{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield partial
        manifest.sync_folder(partial)  # fsync: of a file, its content
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write does not say of which file it was
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path, text):
    """Writes a text file whole."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_csv(path, rows, columns=None):
    """Writes a CSV file whole.

    Args:
        path: The file.
        rows: Dictionaries with the same keys, or lists of values.
        columns: Names of the columns; needed where there may be no row, and of lists.
    """
    columns = columns or list(rows[0])
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([row[name] for name in columns] if isinstance(row, dict) else row for row in rows)


def write_history(path, stage, rows):
    """Puts a stage's epochs into the run's ``history.csv``, in place of those it holds of that stage.

    Args:
        path: The run directory.
        stage: The stage's name.
        rows: One dictionary of numbers per epoch.
    """
    others = [row for row in read_history(path) if row["stage"] != stage]
    write_csv(pathlib.Path(path) / HISTORY, others + [{"stage": stage, **row} for row in rows])


def read_history(path):
    """The rows of a run's ``history.csv``; none before the first epoch has ended."""
    path = pathlib.Path(path) / HISTORY
    if not path.is_file():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {key: value if key == "stage" else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]  # fmt: skip
