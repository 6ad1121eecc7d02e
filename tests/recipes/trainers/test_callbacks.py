"""Further callbacks of a training: how they are found and called; MLflow."""

import json
import sys
import types
from typing import ClassVar

import pytest
import tensorflow as tf

import recipes.train
from recipes import run_directory
from recipes.trainers import callbacks
from tests.recipes.conftest import command
from zoo.shared.errors import UserError


class Notes(tf.keras.callbacks.Callback):
    """Keeps what it was made of and told."""

    made: ClassVar[list] = []
    rows: ClassVar[list] = []
    batches: ClassVar[list] = []

    def __init__(self, *, run, recipe, stage):
        super().__init__()
        self.made.append((run, recipe.name, stage))

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append((epoch, logs["val_accuracy"]))


ONE_STAGE = """
model: {name: pose_cnn, width: 0.1}
data: {dataset: synthetic, protocol: cv, pose_steps: 3, cache: true}
stages:
  - name: pose
    epochs: 2
    least_epoch_steps: 3  # a pass has two
    optimizer: {name: sgd, learning_rate: 0.01}
batch: 44
"""


def test_a_callback_of_ones_own_is_told_every_epoch(written_recipe, dataset, tmp_path):
    line = ["--recipe", written_recipe("one_stage", ONE_STAGE), "--data", dataset, "--output", tmp_path / "run"]
    done = command("train.py", *line, "--callback", f"{__name__}.Notes")
    assert done.returncode == 0, done.stderr
    assert Notes.made == [(tmp_path / "run", "one_stage", "pose")]
    assert "pose: epochs of 3 steps, since a pass over the clips has 2" in done.stdout
    assert Notes.batches == [0, 1, 2] * 2
    rows = run_directory.RunDirectory(tmp_path / "run").history
    assert len(rows) == 2
    assert Notes.rows == [(row["epoch"] - 1, pytest.approx(row["val_accuracy"])) for row in rows]


def test_one_in_the_current_folder_is_found(monkeypatch, tmp_path):
    (tmp_path / "callbacks_of_mine.py").write_text("def make(**_): return 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert callbacks.find("callbacks_of_mine.make")() == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlfow", "expected mlflow or a dotted path"),
        ("..Thing", "expected mlflow or a dotted path"),
        ("no_such.Thing", "no module no_such in /"),
        ("json.Thing", "json has no class or function Thing"),
        ("json.loads", "does not take the keywords run, recipe and stage"),
    ],
)
def test_one_that_is_not_there(name, message):
    with pytest.raises(UserError, match=message):
        callbacks.find(name)


def test_estimators_have_no_epochs():
    recipe = recipes.config.load("two_level_fusion_synthetic")
    with pytest.raises(UserError, match="two_level_fusion is fitted without epochs"):
        recipes.train.train(recipe, data="data", output="run", callbacks=[Notes])


@pytest.mark.slow
def test_mlflow(recipe_file, dataset, tmp_path, monkeypatch):
    """A training of two stages that is stopped and resumed is one run, with all epochs."""
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'keras-adl-zoo[mlflow]'")
    monkeypatch.chdir(tmp_path)
    line = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--resume"]
    line += ["--callback", "mlflow", "--set", "stages.first.epochs=1"]
    for epochs in (1, 2):
        done = command("train.py", *line, f"stages.second.epochs={epochs}")
        assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("keras-adl-zoo")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == json.loads((tmp_path / "run" / "mlflow.json").read_text())["run_id"]
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert run.data.params["stages.second.optimizer.name"] == "adam"
    rows = run_directory.RunDirectory(tmp_path / "run").history
    for stage in ("first", "second"):
        expected = [(row["epoch"], pytest.approx(row["val_loss"])) for row in rows if row["stage"] == stage]
        logged = client.get_metric_history(run.info.run_id, f"{stage}/val_loss")
        assert [(each.step, each.value) for each in logged] == expected
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"recipe.yaml", "environment.json"}


def test_mlflow_ends_with_the_last_stage_that_has_epochs(monkeypatch, tmp_path):
    class Client:
        ended = 0

        def __init__(self, _):
            pass

        def set_terminated(self, run, status="FINISHED"):
            Client.ended += status == "FINISHED"

        def log_artifact(self, *_):
            pass

    entities = types.SimpleNamespace(Metric=None, Param=None)
    known = {"MlflowClient": Client, "is_tracking_uri_set": lambda: False, "entities": entities}
    known["exceptions"] = types.SimpleNamespace(MlflowException=ValueError)
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(**known))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delitem(sys.modules, "recipes.trainers.mlflow", raising=False)
    (tmp_path / "mlflow.json").write_text('{"run_id": "a"}')
    recipe = recipes.config.load("late_fusion_folder")
    make = callbacks.find("mlflow")
    monkeypatch.delitem(sys.modules, "recipes.trainers.mlflow")
    for stage in recipe.stages:
        if stage.epochs:  # those that are trained
            make(run=tmp_path, recipe=recipe, stage=stage.name).on_train_end()
    assert not recipe.stages[-1].epochs
    assert Client.ended == 1


def test_mlflow_without_its_server(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="MLflow is not installed: pip install 'keras-adl-zoo[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    recipe = recipes.config.load("pose_lstm_synthetic")
    with pytest.raises(UserError, match=r"--callback mlflow: http://ada:\*\*\*@127.0.0.1:9: .*MLFLOW_TRACKING_URI"):
        callbacks.find("mlflow")(run=tmp_path, recipe=recipe, stage="pose")
