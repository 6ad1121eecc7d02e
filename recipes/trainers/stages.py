"""The training of one stage: an ordinary ``fit`` that can be killed at any moment and resumed exactly.

At the end of every epoch one folder ``checkpoints/epoch-00012`` appears whole, by being renamed: weights, optimizer
state, dropout's random state (part of the model) and the history of the epochs. Everything else follows from these: the
batches from (seed, epoch), see :func:`tfrecords.reading.pipeline.training`; the learning rate, early stopping and the
best epoch from the history.
"""

import dataclasses
import fnmatch
import json
import math
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

import zoo
from recipes import run_directory
from recipes.config import sections as config
from recipes.reports import scoring
from recipes.trainers import distribution, optimisation
from tfrecords import manifest
from tfrecords.reading import pipeline
from zoo import gradient_checkpointing as recompute
from zoo import registry, skeletons
from zoo.shared import messages
from zoo.shared.errors import UserError

KEPT = 2  # newest checkpoints kept, besides the best

# ------------------------------------------------------------------------------------------------------- the model


def build_model(recipe, stage, records):
    """Builds the model a stage trains.

    Args:
        recipe: A :class:`recipes.config.Recipe`.
        stage: One of its stages.
        records: The converted dataset, which gives classes, persons and joints.

    Returns:
        ``(model, inputs)``: the model and the :class:`tfrecords.reading.pipeline.Inputs` it is fed.

    Raises:
        UserError: An option is wrong, or the recipe's data lacks what the model reads.
    """
    inputs = recipe.data.inputs(records)
    model = recipe.stage_model(stage)
    try:
        options = {**_shared_options(recipe.model, model), **model.options}
        options.update(_data_options(model, inputs))
        built = zoo.build(model.name, num_classes=len(records.labels_of(recipe.data.protocol)), **options)
        _check_inputs(built, inputs)
        if stage.recompute:
            recompute.block_ends(built)
        return built, _inputs_of(built, inputs)
    except zoo.ZooError as error:
        raise UserError(f"recipe {recipe.name}: stages.{stage.name}: {error}") from None


def _shared_options(whole, part):
    """Options of the recipe's model that hold for a part of it too, such as its backbone's width."""
    defaults, others = registry.options(part.name), registry.options(whole.name)
    common = {option for option in defaults if option in others and defaults[option] == others[option]}
    return {option: value for option, value in whole.options.items() if option in common}


def _data_options(model, inputs):
    """Options of a model that the data decide."""
    given = {
        "frames": inputs.frames,
        "size": inputs.size,
        "pose_steps": inputs.pose_steps,
        "granularities": inputs.granularities,
        "feature_size": inputs.feature_size,
        "segment_steps": inputs.segment_steps,
    }
    if inputs.reads_poses:
        given.update(persons=inputs.persons, joints=inputs.joints, layout=inputs.layout)
    valid = registry.options(model.name)
    given = {option: value for option, value in given.items() if value and option in valid}
    for option in given:
        if option in model.options:
            raise zoo.ZooError(f"option {option} of {model.name} follows from the data, leave it out")
    return given


def _check_inputs(model, inputs):
    """Raises :class:`zoo.ZooError` unless the recipe's data feed all inputs of a model."""
    decided_by = {"rgb": "frames", "pose": "pose_steps", "features_g": "granularities", "pose_g": "segment_steps"}
    if _sees_pose_steps(model):
        decided_by["rgb"] = "pose_steps"
    for name in model.input:
        option = decided_by[max((kind for kind in decided_by if name.startswith(kind)), key=len)]
        if not getattr(inputs, option):
            raise zoo.ZooError(f"{model.name} needs {option} for its input {name}, set data.{option}")


def _sees_pose_steps(model):
    """Whether a video model sees the frames of its pose steps, as one without frames of its own does."""
    return "frames" not in registry.options(model.name)


def _inputs_of(model, inputs):
    """What of the recipe's inputs a model reads, by the names of its own."""
    names = set(model.input)
    wanted = tuple(part for part in skeletons.PARTS if skeletons.input_name(part) in names)
    missing = [part for part in wanted if part not in inputs.parts]
    if missing:
        raise zoo.ZooError(f"{model.name} reads pictures of {', '.join(missing)}, add them to data.parts")
    reads_features = any(name.startswith("features_g") for name in names)
    own = {
        "frames": inputs.frames if wanted else 0,
        "parts": wanted or inputs.parts,
        "pose_steps": inputs.pose_steps if "pose" in names else 0,
        "pose_xy": "pose_xy" in names,
        "granularities": inputs.granularities if reads_features else (),
        "feature_size": inputs.feature_size if reads_features else 0,
        "segment_steps": inputs.segment_steps if any(name.startswith("pose_g") for name in names) else 0,
    }
    if wanted and _sees_pose_steps(model):
        own.update(frames=own["pose_steps"], frames_at="pose_steps")
    return dataclasses.replace(inputs, **own)


def initialise(model, stage, earlier):
    """Copies into a stage's model the weights it starts from.

    Args:
        model: The stage's model.
        stage: The stage.
        earlier: Function from an earlier stage's name to its model.

    Raises:
        UserError: A model is not there, or does not fit.
    """
    for source in stage.init:
        try:
            zoo.transfer_weights(_trained(source, earlier), model)
        except zoo.ZooError as error:
            raise UserError(f"stages.{stage.name}.init: {error}") from None


def _trained(source, earlier):
    """The model that an item of ``init`` names."""
    if source.endswith(config.MODEL_FILE):
        return zoo.load_model(source)
    return run_directory.RunDirectory(source).model() if config.is_path(source) else earlier(source)


def frozen_layers(model, stage):
    """The layers that a stage excludes from training.

    Args:
        model: The stage's model.
        stage: The stage; its patterns are those of shell file names.

    Raises:
        UserError: A pattern fits no layer.
    """
    found = []
    for pattern in stage.freeze:
        fitting = [layer for layer in model.layers if fnmatch.fnmatchcase(layer.name, pattern)]
        if not fitting:
            layers = [layer.name for layer in model.layers if layer.weights]
            raise UserError(f"stages.{stage.name}.freeze: {config.unknown('no layer fits', pattern, layers)}")
        found += fitting
    return found


def freeze(model, stage):
    """Excludes the :func:`frozen_layers` from training."""
    for layer in frozen_layers(model, stage):
        layer.trainable = False


# ------------------------------------------------------------------------------------- what follows from the history


def best_epoch(history, monitor):
    """Number (from 1) of the best epoch on validation, or the last where ``monitor`` is ``last``; 0 without epochs.

    Of equal ones it is the latest: it had more of a falling learning rate, and small validation splits have many equal
    accuracies.

    Args:
        history: One row per epoch with ``val_accuracy`` and ``val_loss``.
        monitor: ``val_accuracy``, ``val_loss`` or ``last``.
    """
    return max(range(1, len(history) + 1), key=lambda epoch: (_goodness(history[epoch - 1], monitor), epoch), default=0)


def epochs_to_keep(history, monitor):
    """Numbers of the epochs whose checkpoints may still be needed.

    They are the newest ones, and the best: of all, and of those before the newest, should that turn out to be damaged.

    Example:
        >>> accuracies = [0.5, 0.4, 0.3, 0.2, 0.6]
        >>> sorted(epochs_to_keep([{"val_accuracy": value} for value in accuracies], "val_accuracy"))
        [1, 4, 5]
    """
    newest = range(max(len(history) - KEPT, 0) + 1, len(history) + 1)
    return {*newest, *(best_epoch(history[:epoch], monitor) for epoch in newest)}


def last_improvement(history, monitor):
    """Number (from 1) of the last epoch that was better on validation than all before it; 0 without epochs."""
    return max(
        range(1, len(history) + 1), key=lambda epoch: (_goodness(history[epoch - 1], monitor), -epoch), default=0
    )


def _goodness(row, monitor):
    if monitor == "last":
        return 0  # all are equal, and of equal ones the latest is taken
    return -row["val_loss"] if monitor == "val_loss" else row["val_accuracy"]


def schedule_factor(stage, history):
    """What the learning rate is multiplied by in the epoch that follows a history.

    Example:
        >>> from recipes import config
        >>> stage = config.load("pose_lstm_nucla", ["stages.pose.schedule={name: step, every: 2}"]).stages[-1]
        >>> [round(schedule_factor(stage, [{}] * epoch), 4) for epoch in range(5)]
        [1.0, 1.0, 0.1, 0.1, 0.01]
    """
    schedule, epoch = stage.schedule, len(history)
    if schedule.name == "step":
        return schedule.factor ** (epoch // schedule.every)
    if schedule.name == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * epoch / stage.epochs))
        return schedule.final + (1 - schedule.final) * share
    if schedule.name == "plateau":
        return schedule.factor ** _plateaus(stage, history)
    return 1.0


def _plateaus(stage, history):
    """How often ``patience`` epochs have passed without a better one."""
    plateaus = waited = 0
    for epoch in range(1, len(history) + 1):
        waited = 0 if last_improvement(history[:epoch], stage.monitor) == epoch else waited + 1
        if waited == stage.schedule.patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def has_ended(stage, history):
    """Whether a stage has had all its epochs, or stops early."""
    if len(history) >= stage.epochs:
        return True
    patience = stage.early_stopping.patience if stage.early_stopping else math.inf
    return len(history) - last_improvement(history, stage.monitor) >= patience


# ----------------------------------------------------------------------------------------------------- checkpoints


class Checkpoints:
    """The checkpoints of a stage: the newest and the best.

    Args:
        folder: Where they are kept.
        writes: Whether this process keeps them. With several workers one does, and the others only take part: what a
            checkpoint holds is of all of them.
    """

    _WEIGHTS = "weights"
    _STATE = "state.json"

    def __init__(self, folder, writes=True):
        self.folder = pathlib.Path(folder)
        self._writes = writes

    def epochs(self):
        """Numbers of the epochs that have one, ascending."""
        return sorted(int(path.name[len("epoch-") :]) for path in self.folder.glob("epoch-*[0-9]"))

    def history(self):
        """History up to the newest checkpoint; empty without one."""
        epochs = self.epochs()
        if not epochs:
            return []
        return json.loads((self._path(epochs[-1]) / self._STATE).read_text(encoding="utf-8"))["history"]

    def save(self, history, keep, **objects):
        """Writes the checkpoint of the epoch that has just ended, and removes those no longer needed.

        Args:
            history: Rows of all epochs so far.
            keep: Numbers of the epochs whose checkpoints stay, see :func:`epochs_to_keep`.
            **objects: What ``tf.train.Checkpoint`` saves.

        Raises:
            UserError: It could not be written; the earlier ones are as they were.
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
            manifest.write_json(partial / self._STATE, {"epoch": epoch, "history": history})
        except tf.errors.OpError as error:
            self._clear(partial)
            reason = error.message.rsplit("; ", 1)[-1].strip()  # after where in the graph, and which file
            raise UserError(f"{partial}: cannot be written ({reason}), make space and go on with --resume") from None
        for file in partial.iterdir():
            manifest.sync_folder(file)
        partial.rename(self._path(epoch))
        manifest.sync_folder(self.folder)
        for epoch in set(self.epochs()) - set(keep):
            self._clear(self._path(epoch))

    def read(self, epoch, **objects):
        """Restores an epoch's checkpoint into objects whose variables exist."""
        path = self._path(epoch)
        try:
            status = tf.train.Checkpoint(**objects).read(str(path / self._WEIGHTS))
            status.assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            reason = messages.one_line(error)
            raise UserError(f"{path}: cannot be read ({reason}), remove it and go on with --resume") from None
        status.expect_partial()

    def clear(self):
        """Removes all checkpoints."""
        self._clear(self.folder)

    def _path(self, epoch):
        return self.folder / f"epoch-{epoch:05d}"

    @staticmethod
    def _clear(path):
        if path.exists():
            shutil.rmtree(path)


# -------------------------------------------------------------------------------------------------------- training


def train(stage, *, recipe, model, inputs, records, strategy, run):
    """Trains a stage from its newest checkpoint, or from the model's weights, to its end.

    Args:
        stage: The :class:`recipes.config.Stage`.
        recipe: Its recipe.
        model: The stage's model, built in the strategy's scope.
        inputs: What the model is fed.
        records: The converted dataset.
        strategy: A ``tf.distribute.Strategy``.
        run: Path of the run directory.

    Returns:
        Number of the best epoch on validation; its weights are in the stage's checkpoints. 0 without epochs.

    Raises:
        UserError: The loss is no longer finite, a shard is damaged or a checkpoint cannot be written.
    """
    checkpoints = stage_checkpoints(run, stage, writes=distribution.is_chief(strategy))
    history = checkpoints.history()
    if not stage.epochs:
        return 0
    if history and distribution.is_chief(strategy):
        run_directory.write_history(run, stage.name, history)  # a kill may have come between the checkpoint and this
    batch, protocol = stage.batch or recipe.batch, recipe.data.protocol
    with strategy.scope():
        average = _average(model, stage)  # of frozen weights too, which stay: save_best's model has none frozen
        freeze(model, stage)
        compile_model(model, stage, recipe, records)
        if history:
            checkpoints.read(len(history), model=model, optimizer=model.optimizer, **average)
    data = _training_data(stage, recipe, records, inputs, strategy, first_epoch=len(history))
    validation = pipeline.evaluation(records, protocol, "val", inputs, batch=batch)
    validate = scoring.Scorer(model, strategy, validation, count=records.count(protocol, "val"), batch=batch)
    steps = records.steps(protocol, recipe.data.train_on, batch)
    rate = optimisation.base_learning_rate(stage, recipe)
    epochs = _Epochs(
        stage, history, checkpoints, run, strategy, clips=steps * batch, validate=validate, rate=rate, **average
    )
    if not has_ended(stage, history):
        try:
            with distribution.together():
                model.fit(
                    data,
                    initial_epoch=len(history),
                    epochs=stage.epochs,
                    steps_per_epoch=steps,
                    callbacks=[epochs],
                    shuffle=False,  # the data come shuffled
                    verbose=0,
                )
        except tf.errors.DataLossError as error:
            raise UserError(f"{records.directory}: a shard is damaged ({error.message}), convert again") from None
    return best_epoch(history, stage.monitor)


def _training_data(stage, recipe, records, inputs, strategy, first_epoch):
    """Batches of a stage: global ones, or where there are several workers each replica's own."""
    index, workers = distribution.workers(strategy)
    batch = stage.batch or recipe.batch

    def read(batch, shard):
        return pipeline.training(
            records,
            recipe.data.protocol,
            inputs,
            split=recipe.data.train_on,
            batch=batch,
            seed=stage_seed(recipe, stage),
            epochs=stage.epochs,
            first_epoch=first_epoch,
            augment=recipe.data.augment,
            cache=recipe.data.cache,
            balance=recipe.data.balance,
            shard=shard,
            deterministic=recipe.deterministic is not False,
        )

    if workers == 1:
        return read(batch, (0, 1))

    def of_worker(context):
        # A worker's batch in the parts that its replicas take in turn.
        return read(batch // workers, (index, workers)).unbatch().batch(context.get_per_replica_batch_size(batch), True)

    return strategy.distribute_datasets_from_function(of_worker)


def compile_model(model, stage, recipe, records):
    """Gives a model its optimizer, whose variables exist from here on, its loss and its metric."""
    weights = None
    if stage.class_weights == "balanced":
        weights = optimisation.balanced_weights(records.class_counts(recipe.data.protocol, recipe.data.train_on))
    model.compile(
        optimisation.make_optimizer(stage, model),  # its learning rate is set at every epoch's beginning
        loss=optimisation.CrossEntropy(stage.label_smoothing, weights),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=recipe.xla,  # on CPU it slows 3D convolutions down
    )
    if stage.accumulate > 1 or stage.recompute:
        optimisation.save_memory(model, parts=stage.accumulate, recompute=stage.recompute)
    if hasattr(model.optimizer, "build"):  # those of tensorflow-addons make theirs at the first step
        model.optimizer.build(model.trainable_variables)  # a checkpoint's values need variables to go to


def _average(model, stage):
    """``{"average": WeightAverage}`` of a stage that uses it, else nothing."""
    return {"average": optimisation.WeightAverage(model, stage.average.momentum)} if stage.average else {}


def save_best(stage, epoch, *, trained, recipe, records, run):
    """Saves a stage's model with the weights of its best epoch and removes its checkpoints: the stage is finished.

    The saved model computes in float32, whatever precision it was trained in, so that it runs on every device.

    Args:
        stage: The stage, trained.
        epoch: Number of the best epoch; 0 for a stage without epochs.
        trained: The stage's model; that of a stage without epochs is saved as it is.
        recipe: Its recipe.
        records: The converted dataset.
        run: Path of the run directory.
    """
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    model, _ = build_model(recipe, stage, records)
    tf.keras.mixed_precision.set_global_policy(policy)
    checkpoints = stage_checkpoints(run, stage)
    if epoch:
        average = _average(model, stage)
        checkpoints.read(epoch, model=model, **average)
        for weights in average.values():
            weights.exchange()
    else:
        model.set_weights(trained.get_weights())
    with run_directory.whole_file(stage_folder(run, stage) / run_directory.MODEL) as partial:
        model.save(partial)
    checkpoints.clear()


def stage_checkpoints(run, stage, writes=True):
    """The :class:`Checkpoints` of a stage of a run."""
    return Checkpoints(stage_folder(run, stage) / "checkpoints", writes)


def stage_folder(run, stage):
    """Folder of a stage in a run directory."""
    return pathlib.Path(run) / "stages" / stage.name


def stage_seed(recipe, stage):
    """Seed of a stage: each has its own, so that a resumed stage starts as it did, whatever came before it."""
    return recipe.seed + recipe.stages.index(stage) + 1


class _Epochs(tf.keras.callbacks.Callback):
    """What happens around an epoch: learning rate, validation, records of it, checkpoint, the end.

    Args:
        stage: The stage.
        history: Rows of the epochs so far; one is appended at the end of every epoch.
        checkpoints: Where the stage is saved.
        run: Path of the run directory.
        strategy: The training's strategy.
        clips: Training clips in an epoch.
        validate: Function that returns the labels and scores of the validation clips.
        rate: Learning rate before the schedule.
        average: The moving average of the weights, if the stage uses it.
    """

    def __init__(self, stage, history, checkpoints, run, strategy, clips, validate, rate, average=None):
        super().__init__()
        self.strategy = strategy
        self.is_chief = distribution.is_chief(strategy)
        self.rate = rate
        self.average = average
        self.stage = stage
        self.history = history
        self.checkpoints = checkpoints
        self.run = pathlib.Path(run)
        self.clips = clips
        self.validate = validate
        if self.is_chief:
            self.writer = tf.summary.create_file_writer(str(self.run / "logs" / stage.name))

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the learning rate and starts the clock."""
        self.learning_rate = self.rate * schedule_factor(self.stage, self.history)
        self.model.optimizer.learning_rate = self.learning_rate
        self.started = time.perf_counter()
        self.bar = tqdm(
            total=self.params["steps"],
            desc=f"{self.stage.name} {epoch + 1}/{self.stage.epochs}",
            unit="step",
            leave=False,
            dynamic_ncols=True,
            disable=None if self.is_chief else True,  # no bar where there is no terminal
        )

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar; stops if the loss is not finite."""
        self._require_finite(logs["loss"], "loss")
        if self.average:
            self.average.update()
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['accuracy']:.3f}", refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        """Validates and records the epoch, and decides whether there is another one."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        if self.average:
            self.average.exchange()
        distribution.share_statistics(self.strategy, self.model)
        labels, scores = self.validate()
        if self.average:
            self.average.exchange()
        # Workers validate on the same clips; the last bits of what they find may differ, what they decide must not.
        found = [scoring.cross_entropy(labels, scores), scoring.Metrics(labels, scores).top1]
        val_loss, val_accuracy = distribution.agree(self.strategy, found)
        self._require_finite(val_loss, "validation loss")
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": self.learning_rate,
            "seconds": round(seconds, 3),
            "clips_per_second": round(self.clips / seconds, 1),
        }
        self.history.append(row)
        keep = epochs_to_keep(self.history, self.stage.monitor)
        average = {"average": self.average} if self.average else {}
        self.checkpoints.save(self.history, keep, model=self.model, optimizer=self.model.optimizer, **average)
        if self.is_chief:
            self._log(row)
            run_directory.write_history(self.run, self.stage.name, self.history)
            print(self._line(row), flush=True)
        distribution.wait(self.strategy)  # until the checkpoint is there for all
        self.model.stop_training = has_ended(self.stage, self.history)

    def _log(self, row):
        with self.writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, value)
        self.writer.flush()

    def _line(self, row):
        best = best_epoch(self.history, self.stage.monitor)
        best_accuracy = self.history[best - 1]["val_accuracy"]
        return (
            f"{self.stage.name} {row['epoch']}/{self.stage.epochs}  loss {row['loss']:.4f}  "
            f"accuracy {row['accuracy']:.1%}  validation loss {row['val_loss']:.4f}  "
            f"accuracy {row['val_accuracy']:.1%} (best {best_accuracy:.1%} in {best})  "
            f"learning rate {row['learning_rate']:.2g}  "
            f"{row['seconds']:.1f} s  {row['clips_per_second']:.0f} clips/s"
        )

    def _require_finite(self, value, name):
        if np.isfinite(value):
            return
        self.bar.close()
        done = len(self.history)
        kept = f"epoch {done} is kept" if done else "no epoch has ended yet"
        raise UserError(
            f"stage {self.stage.name}: the {name} became {value} in epoch {done + 1}, {kept}: go on with --resume and "
            f"a smaller --set stages.{self.stage.name}.optimizer.learning_rate=..., or clip gradients with clipnorm"
        )
