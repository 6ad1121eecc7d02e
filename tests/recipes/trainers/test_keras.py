"""What follows from the history of a stage, and a stage in which the loss is no longer finite."""

import json
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from recipes import config, run_directory, train
from recipes.trainers import checkpoints as saved
from recipes.trainers import distribution, history, keras, optimisation
from tests.recipes.conftest import TINY
from tests.tfrecords.numbered_frames import NumberedFrames, convert
from tests.zoo import tiny_models
from tfrecords import manifest
from tfrecords.reading import order, pipeline, poses
from zoo import skeletons
from zoo.shared import files
from zoo.shared.errors import UserError


def a_stage(tmp_path, *overrides):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return config.load(path, [f"stages.second.{override}" for override in overrides]).stages[1]


def epochs(accuracies, losses=None):
    losses = losses or [1.0] * len(accuracies)
    return [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in zip(accuracies, losses)]


def test_best_epoch():
    rows = epochs([0.5, 0.7, 0.6, 0.7, 0.7, 0.1], [3.0, 2.0, 1.0, 1.5, 1.5, 9.0])
    assert history.best_epoch(rows, "val_accuracy") == 5  # of equal ones the latest
    assert history.last_improvement(rows, "val_accuracy") == 2
    assert history.best_epoch(rows, "val_loss") == 3
    assert history.best_epoch(rows, "last") == 6
    assert history.best_epoch([], "val_loss") == 0


def rates(stage, accuracies):
    rows = epochs(accuracies, [1 - accuracy for accuracy in accuracies])
    rate = stage.optimizer.learning_rate
    return [rate * history.schedule_factor(stage, rows[:epoch]) for epoch in range(len(rows) + 1)]


def test_schedules(tmp_path):
    rate = "optimizer.learning_rate=0.8"
    falling = [0.9 - 0.1 * epoch for epoch in range(6)]
    assert rates(a_stage(tmp_path, rate, "schedule={name: constant}"), falling) == [0.8] * 7
    step = a_stage(tmp_path, rate, "schedule={name: step, every: 3, factor: 0.5}")
    assert rates(step, falling) == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2])
    cosine = a_stage(tmp_path, rate, "epochs=4", "schedule={name: cosine, final: 0.5}")
    quarter = 0.5**0.5  # cosine of a quarter of the way
    expected = [0.8, 0.4 * (1.5 + 0.5 * quarter), 0.6, 0.4 * (1.5 - 0.5 * quarter), 0.4]
    assert rates(cosine, falling[:4]) == pytest.approx(expected)
    plateau = a_stage(tmp_path, rate, "schedule={name: plateau, patience: 2, factor: 0.5}")
    # best in epoch 1; two epochs without a better one: halved, and again; epoch 6 is better; halved two epochs later
    accuracies = [0.5, 0.4, 0.3, 0.3, 0.3, 0.6, 0.5, 0.5]
    assert rates(plateau, accuracies) == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1])


def test_early_stopping(tmp_path):
    stage = a_stage(tmp_path, "epochs=9", "early_stopping={patience: 2}")
    assert not history.has_ended(stage, epochs([0.5, 0.4]))
    assert history.has_ended(stage, epochs([0.5, 0.4, 0.4], [1.0, 1.0, 1.0]))
    assert history.has_ended(stage, epochs([0.5, 0.4, 0.5], [1.0, 1.0, 0.9]))  # an equal accuracy is not a better one
    assert not history.has_ended(stage, epochs([0.5, 0.4, 0.6], [1.0, 1.0, 0.9]))
    assert history.has_ended(stage, epochs([0.1 * epoch for epoch in range(9)]))


@pytest.fixture
def quick(tmp_path):
    """A recipe of one stage for this process; function of overrides.

    Not deterministic: determinism is for a whole process, and other tests must not get it.
    """
    path = tmp_path / "quick.yaml"
    path.write_text(TINY)
    stage = "{name: only, epochs: 3, optimizer: {name: sgd, learning_rate: 0.05}}"
    return lambda *overrides: config.load(path, ["deterministic=false", f"stages=[{stage}]", *overrides])


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_and_the_last_epoch_is_usable(
    quick, tmp_path, dataset, two_replicas, monkeypatch, capsys
):
    recipe, output, rate = quick(), tmp_path / "run", history.schedule_factor
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "local_strategy", lambda: two_replicas)
        patch.setattr(history, "schedule_factor", lambda stage, history: 1e39 if history else rate(stage, history))
        with pytest.raises(UserError, match=r"stage only: the .*loss became .* in epoch 2, epoch 1 is kept.*--resume"):
            train.train(recipe, data=dataset, output=output)
    checkpoints = keras.stage_checkpoints(output, recipe.stages[0])
    assert checkpoints.epochs() == [1]
    assert len(run_directory.RunDirectory(output).environment["devices"]) == 2
    one = tf.distribute.MirroredStrategy(["CPU:0"])  # a checkpoint does not depend on the devices
    monkeypatch.setattr(distribution, "local_strategy", lambda: one)

    smaller = quick("stages.only.optimizer.learning_rate=0.01")
    with monkeypatch.context() as patch:  # stop before the stage is finished
        patch.setattr(keras, "save_best", lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.train(smaller, data=dataset, output=output, resume=True)
    assert "stages.only.optimizer.learning_rate differs" in capsys.readouterr().out
    assert checkpoints.epochs()[-1] == 3

    damaged = checkpoints.folder / "epoch-00003"
    (weights,) = damaged.glob("weights.data*")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match=r"epoch-00003: cannot be read .* remove it"):
        train.train(smaller, data=dataset, output=output, resume=True)
    shutil.rmtree(damaged)

    run = train.train(smaller, data=dataset, output=output, resume=True)
    assert [(row["epoch"], row["learning_rate"]) for row in run.history] == [(1, 0.05), (2, 0.01), (3, 0.01)]
    assert run.recipe == smaller
    assert all(np.isfinite(weight).all() for weight in run.model().get_weights())
    best = history.best_epoch(run.history, "val_accuracy")
    assert checkpoints.epochs() == sorted({best, 3})  # what more epochs need


@pytest.mark.slow
def test_killed_before_its_row_is_written_an_epoch_has_one_after_resuming(quick, tmp_path, dataset, monkeypatch):
    one, output, write = tf.distribute.MirroredStrategy(["CPU:0"]), tmp_path / "run", run_directory.write_history
    monkeypatch.setattr(distribution, "local_strategy", lambda: one)
    stage = ["epochs=2", "freeze=[pose_conv_1]", "average={momentum: 0.9}"]
    recipe = quick(*(f"stages.only.{key}" for key in stage))

    def killed(run, stage, rows):
        if len(rows) == 2:
            raise KeyboardInterrupt
        write(run, stage, rows)

    with monkeypatch.context() as patch:
        patch.setattr(run_directory, "write_history", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train(recipe, data=dataset, output=output)
    run = train.train(recipe, data=dataset, output=output, resume=True)
    assert [row["epoch"] for row in run.history] == [1, 2]
    frozen, trained = (run.model().get_layer(name) for name in ("pose_conv_1", "pose_conv_2"))
    assert not frozen.bias.numpy().any()  # as it began
    assert trained.bias.numpy().any()
    assert frozen.trainable


def test_class_weights_are_of_the_clips_that_are_trained_on(quick, dataset):
    recipe, records = quick("stages.only.class_weights=balanced"), pipeline.Records(dataset)
    (stage,), clips = recipe.stages, records.class_counts("cv", "train")
    group = records.manifest["protocols"]["cv"]["train"][0]
    records.manifest[manifest.SPLIT_GROUPS][group]["shards"][0][manifest.WITHOUT_POSES] = [0]
    clips[order.Index.of(records.shards("cv", "train")).label[0]] -= 1
    model = tf.keras.Sequential([tf.keras.Input([2]), tf.keras.layers.Dense(10)])
    keras.compile_model(model, stage, recipe, records, recipe.data.inputs(records))
    np.testing.assert_allclose(model.loss.class_weights, optimisation.balanced_weights(clips))
    # With the classes sampled equally often, the same weights would make rare classes outweigh all others.
    recipe = quick("stages.only.class_weights=balanced", "data.balance=classes")
    keras.compile_model(model, stage, recipe, records, recipe.data.inputs(records))
    assert model.loss.class_weights is None


def test_a_finished_stage_that_cannot_go_on(tmp_path):
    stage = a_stage(tmp_path, "epochs=9", "early_stopping={patience: 2}")
    with pytest.raises(UserError, match=r"keeps no checkpoint.*give another --output \(--set stages.second.init=\["):
        keras._reopen(tmp_path, stage, "stages.second.epochs", later=())
    keras.stage_checkpoints(tmp_path, stage).save(epochs([0.5, 0.4, 0.4]), {3}, variable=tf.Variable(0.0))
    with pytest.raises(UserError, match=r"stopped early after 3 epochs: set stages.second.early_stopping to null"):
        keras._reopen(tmp_path, stage, "stages.second.epochs", later=())


def test_the_best_epoch_is_one_whose_checkpoint_is_there(tmp_path, capsys):
    """One that was damaged is removed, as the message of its damage says."""
    stage = a_stage(tmp_path, "epochs=4")
    rows, kept = epochs([0.6, 0.4, 0.5, 0.3]), keras.stage_checkpoints(tmp_path, stage)
    for last in range(1, 5):
        kept.save(rows[:last], {1, 3, 4}, variable=tf.Variable(0.0))
    assert keras._best_kept(rows, stage, kept) == 1
    shutil.rmtree(kept.folder / "epoch-00001")
    assert keras._best_kept(rows, stage, kept) == 3
    assert "the best epoch, 1, is not there: epoch 3 takes its place" in capsys.readouterr().err


def test_two_writers_of_a_file_do_not_meet(tmp_path):
    path = tmp_path / "file.txt"
    with files.whole_file(path) as first, files.whole_file(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # renamed last


def test_whole_files(tmp_path):
    path = tmp_path / "folder" / "file.txt"
    files.write_text(path, "old")

    def write_half():
        with files.whole_file(path) as partial:
            partial.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]


def test_history_holds_an_epoch_once(tmp_path):
    run_directory.write_history(tmp_path, "pose", [{"epoch": 1, "loss": 0.1}])
    run_directory.write_history(tmp_path, "joint", [{"epoch": 1, "loss": 0.2}])
    run_directory.write_history(tmp_path, "joint", [{"epoch": 1, "loss": 0.2}, {"epoch": 2, "loss": 1 / 3}])
    rows = run_directory.read_history(tmp_path)
    assert [tuple(row.values()) for row in rows] == [("pose", 1, 0.1), ("joint", 1, 0.2), ("joint", 2, 1 / 3)]


def test_a_newer_state_survives_json_exactly(tmp_path):
    checkpoints = saved.Checkpoints(tmp_path)
    history, variable = [], tf.Variable(0.0)
    for epoch in range(1, 6):
        history.append({"epoch": epoch, "loss": 1 / epoch, "val_loss": 0.1 * epoch, "val_accuracy": 0.1})
        variable.assign(float(epoch))
        checkpoints.save(history, keep={1, epoch - 1, epoch}, variable=variable)
    assert checkpoints.epochs() == [1, 4, 5]
    (tmp_path / "epoch-00006.tmp").mkdir()  # a kill while writing leaves this
    assert saved.Checkpoints(tmp_path).history() == history == json.loads(json.dumps(history))
    checkpoints.read(1, variable=variable)
    assert variable.numpy() == 1.0


def test_an_unfinished_stage_goes_on_under_the_same_keras_alone(tmp_path, monkeypatch):
    checkpoints, variable = saved.Checkpoints(tmp_path), tf.Variable(0.0)
    checkpoints.save([{"epoch": 1}], keep={1}, variable=variable)
    monkeypatch.setattr(saved, "_KERAS", "9.1.0")
    with pytest.raises(
        UserError, match=r"epoch-00001: was written under Keras [23]\..*a stage cannot go on under Keras 9\.1\.0"
    ):
        checkpoints.read(1, variable=variable)


@pytest.mark.parametrize("content", ["{", "[]", '{"epoch": 1}'])
def test_a_damaged_state_is_one_line(tmp_path, content):
    checkpoints, variable = saved.Checkpoints(tmp_path), tf.Variable(0.0)
    checkpoints.save([{"epoch": 1}], keep={1}, variable=variable)
    (tmp_path / "epoch-00001" / "state.json").write_text(content)
    for read in (checkpoints.history, lambda: checkpoints.read(1, variable=variable)):
        with pytest.raises(UserError, match=r"epoch-00001: cannot be read .* remove it and continue with --resume"):
            read()


NOTHING_FROZEN = types.SimpleNamespace(name="only", freeze=())


@pytest.mark.slow
def test_the_whole_of_a_square_scores_as_its_centre(tmp_path):
    """To the last bit: batches are the same, and so is the network."""
    convert(NumberedFrames(), tmp_path, clips_per_shard=20)
    records = pipeline.Records(tmp_path)
    model = tiny_models.build("i3d", frames=8, size=32)

    def scores(crops):
        recipe = types.SimpleNamespace(evaluate=config.Evaluate(clips=2, crops=crops), batch=8, stored_maps=None)
        inputs = pipeline.Inputs(frames=8, stride=1, size=32)
        run = types.SimpleNamespace(recipe=recipe, stage=NOTHING_FROZEN, inputs=inputs, model=lambda: model)
        return keras.outputs(run, records, "v3_12", "test", "max_softmax")

    for whole, centre in zip(scores("full"), scores(1)):
        np.testing.assert_array_equal(whole, centre)


@pytest.mark.slow
def test_mirrored_views_are_scored_as_mirrored_inputs(tmp_path):
    """Of a network of video and poses: the mean of its scores of every view and of the view's mirror image."""
    convert(NumberedFrames(), tmp_path, clips_per_shard=20)
    records, layout = pipeline.Records(tmp_path), "kinect_v1_20"
    steps = poses.Normalisation(axes="camera", scale=False)
    inputs = pipeline.Inputs(frames=2, size=32, pose_steps=3, layout=layout, normalisation=steps)
    layers = tf.keras.layers
    fed = {name: tf.keras.Input(spec.shape, name=name) for name, spec in inputs.signature().items()}
    flat = layers.Concatenate()([layers.Flatten()(tensor) for tensor in fed.values()])
    logits = layers.Dense(3, kernel_initializer=tf.keras.initializers.RandomNormal(seed=0), name="logits")(flat)
    model = tf.keras.Model(fed, layers.Softmax(name="predictions")(logits))

    def views(flip):
        return types.SimpleNamespace(evaluate=config.Evaluate(clips=2, crops=3, flip=flip), batch=8, stored_maps=None)

    run = types.SimpleNamespace(recipe=views(True), stage=NOTHING_FROZEN, inputs=inputs, model=lambda: model)
    labels, scores = keras.outputs(run, records, "v3_12", "test", "mean_softmax")
    found = [[] for _ in labels]
    for features, _, numbers in pipeline.evaluation(records, "v3_12", "test", inputs, batch=8, clips=2, crops=3):
        mirrored = {
            "rgb": features["rgb"][:, :, :, ::-1],
            "pose": tf.gather(features["pose"], skeletons.get(layout).mirrored, axis=3) * [-1.0, 1.0, 1.0],
        }
        for seen in (features, mirrored):
            for number, score in zip(numbers.numpy(), model(seen).numpy()):
                found[number].append(score)
    np.testing.assert_allclose(scores, [np.mean(each, axis=0) for each in found], atol=1e-5)
    run.recipe = views(False)
    assert np.abs(keras.outputs(run, records, "v3_12", "test", "mean_softmax")[1] - scores).max() > 1e-3
