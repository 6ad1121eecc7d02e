"""MLflow: a training's recipe and every epoch's figures as a run of MLflow (``train.py --callback mlflow``).

MLflow's own variables set the destination: ``MLFLOW_TRACKING_URI`` (default here: the folder ``mlruns``), and
``MLFLOW_EXPERIMENT_NAME`` (default: keras-adl-zoo). The run's id is kept in the run directory, so that a resumed
training continues the same run. MLflow's telemetry is off unless ``MLFLOW_DISABLE_TELEMETRY=false``.
"""

from __future__ import annotations

import json
import os
import pathlib
import time

import tensorflow as tf

# MLflow reads these when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # later versions write to a folder only with this

import mlflow
from mlflow.entities import Metric, Param

from recipes import config, run_directory
from zoo.shared import files, messages
from zoo.shared.errors import UserError

EXPERIMENT = "keras-adl-zoo"
_FILE = "mlflow.json"
_PARAMETERS = 100  # that MLflow takes at a time
_LONGEST = 500  # characters of a parameter that every version of MLflow takes


class Mlflow(tf.keras.callbacks.Callback):
    """Logs a stage's epochs to the MLflow run of its training, which it begins if there is none.

    Metrics are called ``<stage>/<column of history.csv>``, parameters as the recipe's keys. If the server fails during
    the training, a warning is printed and the training continues.

    Args:
        run: The run directory.
        recipe: The recipe.
        stage: Name of the stage.

    Raises:
        UserError: MLflow cannot begin a run, or does not know the one of this training.
    """

    def __init__(self, *, run: pathlib.Path, recipe: config.Recipe, stage: str) -> None:
        super().__init__()
        self._folder, self._stage = run, stage
        # A stage that puts trained networks together has no epochs: no callback is made for it.
        self._is_last = stage == [one.name for one in recipe.stages if one.epochs][-1]
        where = (
            mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else pathlib.Path("mlruns").absolute().as_uri()
        )
        try:
            self._client = mlflow.MlflowClient(where)
            self._id = self._known() or self._begin(recipe)
        except (mlflow.exceptions.MlflowException, OSError) as error:
            reason = messages.one_line(error)
            raise UserError(
                f"--callback mlflow: {messages.without_password(where)}: {reason} (set MLFLOW_TRACKING_URI)"
            ) from None

    def _known(self) -> str | None:
        """The id of the run that an earlier stage, or this training before it was stopped, has begun."""
        path = self._folder / _FILE
        if not path.is_file():
            return None
        try:
            known = json.loads(path.read_text(encoding="utf-8"))["run_id"]
        except (ValueError, TypeError, KeyError) as error:
            raise run_directory.damaged(path, error, "remove it, and MLflow begins another run") from None
        self._client.set_terminated(known, "RUNNING")
        return known

    def _begin(self, recipe: config.Recipe) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        begun = self._client.create_run(number, run_name=self._folder.name).info.run_id
        parameters = [Param(key, str(value)[:_LONGEST]) for key, value in config.flat(recipe).items()]
        for first in range(0, len(parameters), _PARAMETERS):
            self._client.log_batch(begun, params=parameters[first : first + _PARAMETERS])
        files.write_json(self._folder / _FILE, {"run_id": begun})
        return begun

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Logs the epoch's row; its step is the epoch's number from 1."""
        now = int(time.time() * 1000)
        rows = [Metric(f"{self._stage}/{name}", float(value), now, epoch + 1) for name, value in (logs or {}).items()]
        self._try(lambda: self._client.log_batch(self._id, metrics=rows))

    def on_train_end(self, logs: dict | None = None) -> None:
        """Ends the run with the last stage, and stores the recipe and the environment with it."""
        if self._is_last:
            for name in (run_directory.RECIPE, run_directory.ENVIRONMENT):
                self._try(lambda name=name: self._client.log_artifact(self._id, str(self._folder / name)))
            self._try(lambda: self._client.set_terminated(self._id))

    def _try(self, log) -> None:
        try:
            log()
        except (mlflow.exceptions.MlflowException, OSError) as error:
            messages.warn(f"mlflow: {messages.one_line(error)}: the training goes on")
