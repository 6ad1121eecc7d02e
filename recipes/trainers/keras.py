"""Training of Keras models in stages, each an ordinary ``fit`` that can be killed at any moment and resumed exactly.

At the end of every epoch a folder such as ``checkpoints/epoch-00012`` is written and renamed when it is complete. It
holds weights, optimizer state, dropout's random state (part of the model) and the history of the epochs. Everything
else follows from these: the batches from (seed, epoch), see :func:`tfrecords.reading.pipeline.training`; the learning
rate, early stopping and the best epoch from the history.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import zoo
from recipes import run_directory
from recipes.config import Recipe, Stage
from recipes.reports import scoring
from recipes.run_directory import RunDirectory
from recipes.trainers import distribution, epochs, frozen, history, linear_probe, models, optimisation, stored_maps
from recipes.trainers.base import Prepared, Scored, Trainer
from recipes.trainers.callbacks import MakesCallback
from recipes.trainers.checkpoints import Checkpoints
from tfrecords.reading import pipeline
from zoo import built_model
from zoo.shared import command_line, files, messages
from zoo.shared.errors import UserError


class KerasTrainer(Trainer):
    """Trains the stages of a recipe one after the other; a finished stage is not repeated."""

    has_layers = True

    def check(self, recipe: Recipe, records: pipeline.Records, strategy: tf.distribute.Strategy) -> None:
        """Batches must fit the clips, the devices and the parts they are computed in; precision must fit the device."""
        clips = records.count(recipe.data.protocol, recipe.data.train_on)
        replicas = strategy.num_replicas_in_sync
        for stage in recipe.stages:
            _check_batch(recipe, stage, clips, replicas)  # again in prepare(), which knows the clips a stage reads
            if stage.cache_frozen and distribution.workers(strategy)[1] > 1:
                raise UserError(f"stages.{stage.name}.cache_frozen: works on one machine only, set it to 0")
        if recipe.xla and replicas > 1:
            raise UserError(f"xla does not work on {replicas} devices: set it to false")
        if recipe.mixed_precision == "float16" and not distribution.on_gpu(strategy):
            raise UserError(
                "mixed_precision float16 needs a GPU (3D pooling has no float16 kernel on CPU): set bfloat16"
            )

    def prepare(
        self, recipe: Recipe, records: pipeline.Records, strategy: tf.distribute.Strategy, run: pathlib.Path
    ) -> Prepared:
        """Builds the models of all stages and connects them once, so that a mistake shows before hours of training.

        ``models`` of the result: stage name -> ``(model, inputs)``.
        """
        planned: dict[str, tuple[tf.keras.Model, pipeline.Inputs]] = {}
        for stage in recipe.stages:
            tf.keras.utils.set_random_seed(stage_seed(recipe, stage))
            with strategy.scope():
                model, inputs = models.build_model(recipe, stage, records)
                if not _has_weights(run, stage):
                    models.initialise(model, stage, lambda source: planned[source][0])
                models.frozen_layers(model, stage)  # checks that its patterns match layers
                frozen.check(model, stage)
                linear_probe.check(model, stage)
                optimisation.make_optimizer(stage, model)  # checks its patterns, and that its package is installed
            clips = records.count(recipe.data.protocol, recipe.data.train_on, inputs)
            _check_batch(recipe, stage, clips, strategy.num_replicas_in_sync)
            for split in ("train", "val"):
                records.check(inputs, recipe.data.protocol, split)
            planned[stage.name] = model, inputs
        return Prepared(planned[recipe.stages[-1].name][1], planned)

    def train(
        self,
        recipe: Recipe,
        records: pipeline.Records,
        prepared: Prepared,
        strategy: tf.distribute.Strategy,
        run: pathlib.Path,
        callbacks: Sequence[MakesCallback] = (),
    ) -> None:
        """Trains all stages; the model of the last one is the run's."""
        is_chief = distribution.is_chief(strategy)
        for number, stage in enumerate(recipe.stages):
            saved = run_directory.stage_folder(run, stage.name) / run_directory.MODEL
            distribution.wait(strategy)
            if saved.is_file():
                frozen.clear(run, stage)  # a kill may have come before this
                _print(f"{stage.name}: finished before, not repeated", is_chief)
                continue
            if is_chief:
                for earlier in recipe.stages[:number]:  # from here on they cannot be trained further
                    stage_checkpoints(run, earlier).clear()
            model, inputs = prepared.models.pop(stage.name)
            if not _has_weights(run, stage):
                _initialise(model, stage, run, strategy)
            best = train_stage(
                stage,
                recipe=recipe,
                model=model,
                inputs=inputs,
                records=records,
                strategy=strategy,
                run=run,
                callbacks=callbacks,
            )
            if is_chief:
                save_best(stage, best, trained=model, run=run)
                frozen.clear(run, stage)
            why = "the last" if stage.monitor == "last" else "the best on validation"
            which = f"epoch {best} is {why}" if best else _without_epochs(stage)
            _print(f"{stage.name}: {which}, saved as {saved}", is_chief)
        if is_chief:
            with files.whole_file(run / run_directory.MODEL) as partial:
                shutil.copyfile(saved, partial)
        distribution.wait(strategy)

    def change(self, recipe: Recipe, keys: Sequence[str], run: pathlib.Path) -> None:
        """Reopens a finished stage if the new values give it more epochs and no later stage has begun."""
        for number, stage in enumerate(recipe.stages):
            changed = [key for key in keys if key.startswith(f"stages.{stage.name}.")]
            if changed and run_directory.stage_is_finished(run, stage.name):
                _reopen(run, stage, changed[0], later=recipe.stages[number + 1 :])
            elif changed and stage.epochs < (trained := len(stage_checkpoints(run, stage).history())):
                raise UserError(
                    f"stages.{stage.name}.epochs {stage.epochs}: {trained} are trained already, set no less"
                )

    def load(self, run: RunDirectory) -> tf.keras.Model:
        """The trained model, in float32."""
        return run.model()

    def score(self, run: RunDirectory, records: pipeline.Records, protocol: str, split: str) -> Scored:
        """Scores every clip in the views of the recipe."""
        return Scored(scoring.Metrics(*outputs(run, records, protocol, split, run.recipe.evaluate.pool)))

    def model_file(self, run: RunDirectory) -> pathlib.Path:
        """The saved model."""
        return run.model_path

    def views(self, recipe: Recipe) -> str:
        """Windows, crops and how their scores are pooled."""
        views = recipe.evaluate
        parts = f" of {views.pose_crop:g} to 1 of it" if views.pose_crop < 1 else ""
        orders = " in both orders of the persons" if views.swap_persons else ""
        mirrored = ", as they are and mirrored" if views.flip else ""
        crops = "the whole picture" if views.crops == pipeline.FULL else f"{views.crops} crops"
        return f"per clip {views.clips} windows{parts}{orders}, {crops}{mirrored}, pooled by {views.pool}"


class StageRun(RunDirectory):
    """A run directory with the model of an earlier stage in place of the last one's, to score that part alone.

    Args:
        run: The run directory.
        stage: One of its recipe's stages.
        records: The converted dataset.
    """

    def __init__(self, run: RunDirectory, stage: Stage, records: pipeline.Records) -> None:
        super().__init__(run.path)
        self.name, self._stage = stage.name, stage
        self._inputs = models.inputs_of(self.model(), self.recipe.data.inputs(records))

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self._stage

    @property
    def inputs(self) -> pipeline.Inputs:
        """What the stage's model is fed."""
        return self._inputs

    @property
    def model_path(self) -> pathlib.Path:
        """The stage's model."""
        return run_directory.stage_folder(self.path, self.name) / run_directory.MODEL


def outputs(
    run: RunDirectory,
    records: pipeline.Records,
    protocol: str,
    split: str,
    pool: str,
    change: Callable[[tf.keras.Model], tf.keras.Model] = lambda model: model,
    change_poses: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    mirrored: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """``(labels, outputs)`` of a run's model for every clip of a split, its views pooled.

    Args:
        run: The run directory.
        records: The converted dataset.
        protocol: Evaluation protocol.
        split: ``train``, ``val`` or ``test``.
        pool: How the outputs for views are combined, see :class:`recipes.reports.scoring.Scorer`.
        change: Makes another model from the run's, such as a model of its features.
        change_poses: Changes the clips' poses, see :func:`tfrecords.reading.pipeline.evaluation`.
        mirrored: Whether the mirrored views count too, if the recipe has them; not for outputs of a left and a right
            joint or hand, which such views exchange.
    """
    views, strategy = run.recipe.evaluate, distribution.local_strategy()
    batch, count = run.recipe.batch, records.count(protocol, split)
    names = ("clips", "crops", "pose_crop", "swap_persons", "flip")
    shown: dict[str, Any] = {name: getattr(views, name) for name in names}
    shown["flip"] &= mirrored
    data = pipeline.evaluation(records, protocol, split, run.inputs, batch=batch, change_poses=change_poses, **shown)
    with strategy.scope():
        model = run.model()
        if views.crops == pipeline.FULL and run.inputs.frames:  # a stage of poses alone sees no pictures
            model = zoo.fully_convolutional(model)
        model = change(model)
        if pool != "mean_logits":  # logits are the output of an inner layer
            maps = stored_maps.of_stage(model, run.stage, run.recipe.stored_maps)
            model, data = maps.model, maps.read(data)
        scorer = scoring.Scorer(model, strategy, data, count=count, batch=batch, pool=pool)
    with command_line.progress(count, f"{protocol} {split}") as bar:
        labels, found = scorer(on_clips=bar.update)
    scoring.require_finite(found, f"clips of {records.dataset} {protocol} {split}")
    return labels, found


def _check_batch(recipe: Recipe, stage: Stage, clips: int, replicas: int) -> None:
    batch, path = stage.batch or recipe.batch, f"stages.{stage.name}.accumulate"
    if batch > clips:
        raise UserError(
            f"batch {batch} is larger than {recipe.data.protocol} train, which has {clips} clips: set a smaller"
        )
    if batch % replicas:
        raise UserError(f"batch {batch} cannot be shared by {replicas} devices, expected a multiple of {replicas}")
    if batch // replicas % stage.accumulate:
        part = f"a device's part of batch {batch}, {batch // replicas}"
        raise UserError(f"{path} {stage.accumulate}: does not divide {part}")
    if stage.accumulate > 1 and recipe.mixed_precision == "float16":
        raise UserError(f"{path} does not go with mixed_precision float16: set bfloat16")


def _has_weights(run: pathlib.Path, stage: Stage) -> bool:
    """Whether a run has weights of a stage. Then the weights that it starts from are not needed, and may be gone."""
    return run_directory.stage_is_finished(run, stage.name) or bool(stage_checkpoints(run, stage).epochs())


def _initialise(model: tf.keras.Model, stage: Stage, run: pathlib.Path, strategy: tf.distribute.Strategy) -> None:
    """Gives a stage's model the weights of the finished stages, and of other runs, that it starts from."""
    folder = run_directory.stage_folder(run, stage.name).parent
    with strategy.scope():
        models.initialise(model, stage, lambda source: zoo.load_model(folder / source / run_directory.MODEL))


def _reopen(run: pathlib.Path, stage: Stage, key: str, later: Sequence[Stage]) -> None:
    """Turns a finished stage into one that was stopped after its last epoch, by removing its models."""
    ended, instead = f"stage {stage.name} has ended in {run}", f"{key} cannot change now: give another --output"
    for other in later:
        if run_directory.stage_folder(run, other.name).exists():
            raise UserError(f"{ended} and {other.name} has begun, {instead}")
    rows = stage_checkpoints(run, stage).history()
    if not rows:
        begin = f"--set stages.{stage.name}.init=[{run}] begins with its weights"
        raise UserError(f"{ended} and keeps no checkpoint, {instead} ({begin})")
    if len(rows) >= stage.epochs:
        raise UserError(f"{ended} after {len(rows)} epochs: set stages.{stage.name}.epochs to more, or {instead}")
    if history.has_ended(stage, rows):
        patience = f"stages.{stage.name}.early_stopping"
        raise UserError(f"{ended}, stopped early after {len(rows)} epochs: set {patience} to null or more patience")
    _print(f"{stage.name}: goes on after epoch {len(rows)}; evaluate and export the run again afterwards", True)
    for folder in (run, run_directory.stage_folder(run, stage.name)):
        (folder / run_directory.MODEL).unlink(missing_ok=True)


def _without_epochs(stage: Stage) -> str:
    return "only the classifier is fitted" if stage.linear_probe else "put together, not trained"


def _print(text: str, is_chief: bool) -> None:
    if is_chief:
        print(text, flush=True)


# -------------------------------------------------------------------------------------------------------- one stage


def train_stage(
    stage: Stage,
    *,
    recipe: Recipe,
    model: tf.keras.Model,
    inputs: pipeline.Inputs,
    records: pipeline.Records,
    strategy: tf.distribute.Strategy,
    run: pathlib.Path,
    callbacks: Sequence[MakesCallback] = (),
) -> int:
    """Trains a stage from its newest checkpoint, or from the model's weights, to its end.

    Args:
        stage: The :class:`recipes.config.Stage`.
        recipe: Its recipe.
        model: The stage's model, built in the strategy's scope.
        inputs: What the model is fed.
        records: The converted dataset.
        strategy: A ``tf.distribute.Strategy``.
        run: Path of the run directory.
        callbacks: Makers of further callbacks, see :mod:`recipes.trainers.callbacks`; only the first of several
            machines calls them.

    Returns:
        Number of the best epoch on validation; its weights are in the stage's checkpoints. 0 without epochs.

    Raises:
        UserError: The loss is no longer finite, or a checkpoint cannot be written.
    """
    checkpoints = stage_checkpoints(run, stage, writes=distribution.is_chief(strategy))
    rows = checkpoints.history()
    if not stage.epochs and not stage.linear_probe:
        return 0
    if rows and distribution.is_chief(strategy):
        run_directory.write_history(run, stage.name, rows)  # a kill may have come between the checkpoint and this
    batch, protocol = stage.batch or recipe.batch, recipe.data.protocol
    with strategy.scope():
        average = _average(model, stage)  # before freezing, as in save_best, whose model has no frozen weights
        models.freeze(model, stage)
        stored = None
        if stage.cache_frozen:
            seed = stage_seed(recipe, stage)
            stored = frozen.StoredFeatures(
                stage, recipe=recipe, model=model, inputs=inputs, records=records, run=run, seed=seed
            )
        trained = stored.model if stored else model
        compile_model(trained, stage, recipe, records, inputs, model)
        if rows:
            checkpoints.read(len(rows), model=model, optimizer=trained.optimizer, **average)
    further = []
    if distribution.is_chief(strategy) and not history.has_ended(stage, rows):
        further = [make(run=run, recipe=recipe, stage=stage.name) for make in callbacks]
    pass_steps = records.steps(protocol, recipe.data.train_on, batch, inputs=inputs)
    steps = max(pass_steps, stage.least_epoch_steps)
    passes = _Passes.of(stage.epochs, steps=steps, pass_steps=pass_steps, epochs_before=len(rows))
    if distribution.is_chief(strategy):
        _print_clips_without_poses(stage, recipe, records, inputs)
        if steps > pass_steps:
            print(f"{stage.name}: epochs of {steps} steps, since a pass over the clips has {pass_steps}", flush=True)
    if stored:
        stored.store()
        if stage.linear_probe and not rows:
            linear_probe.fit(model, stored, stage, recipe)
        if not stage.epochs:
            return 0
        data = stored.training(pass_steps, passes.first, passes.end).skip(passes.seen)
        validation = stored.validation()
    else:
        data = _training_data(stage, recipe, records, inputs, strategy, passes)
        validation = pipeline.evaluation(records, protocol, "val", inputs, batch=batch)
    validate = scoring.Scorer(trained, strategy, validation, count=records.count(protocol, "val"), batch=batch)
    rate = optimisation.base_learning_rate(stage, recipe)
    callback = epochs.Epochs(
        stage,
        rows,
        checkpoints,
        run,
        strategy,
        clips=steps * batch,
        validate=validate,
        rate=rate,
        model=model,
        **average,
    )
    if not history.has_ended(stage, rows):
        _fit(trained, data, stage, first_epoch=len(rows), steps=steps, callbacks=[callback, *further])
    return _best_kept(rows, stage, checkpoints)


def _best_kept(rows: list[dict[str, float]], stage: Stage, checkpoints: Checkpoints) -> int:
    """The best epoch; if its checkpoint was removed, for example as damaged, the best epoch that has a checkpoint."""
    best, kept = history.best_epoch(rows, stage.monitor), checkpoints.epochs()
    if not kept or best in kept:  # only one of several workers keeps them
        return best
    instead = history.best_epoch(rows, stage.monitor, among=kept)
    messages.warn(f"{checkpoints.folder}: the best epoch, {best}, is not there: epoch {instead} takes its place")
    return instead


def _print_clips_without_poses(
    stage: Stage, recipe: Recipe, records: pipeline.Records, inputs: pipeline.Inputs
) -> None:
    """Prints how many training clips a stage of poses alone leaves out, if there are any."""
    protocol, split = recipe.data.protocol, recipe.data.train_on
    clips = records.count(protocol, split)
    without = clips - records.count(protocol, split, inputs)
    if without:
        print(f"{stage.name}: {without} of {clips} training clips have no pose: trained without them", flush=True)


def _fit(
    model: tf.keras.Model,
    data: Any,
    stage: Stage,
    *,
    first_epoch: int,
    steps: int,
    callbacks: list[tf.keras.callbacks.Callback],
) -> None:
    """Trains the remaining epochs of a stage; a lost worker gives an error of one line."""
    with distribution.together():
        model.fit(
            data,
            initial_epoch=first_epoch,
            epochs=stage.epochs,
            steps_per_epoch=steps,
            callbacks=callbacks,
            shuffle=False,  # the data come shuffled
            verbose=0,
        )


class _Passes(NamedTuple):
    """The passes over the training clips that make up the epochs, or the remaining epochs, of a stage.

    Attributes:
        first: Number of the first pass.
        end: Number after the last pass.
        seen: Batches of the first pass that earlier epochs have seen.
    """

    first: int
    end: int
    seen: int

    @classmethod
    def of(cls, epochs: int, *, steps: int, pass_steps: int, epochs_before: int) -> _Passes:
        """The passes of a stage whose epochs have ``steps`` steps; a pass over the clips has ``pass_steps``."""
        first, seen = divmod(epochs_before * steps, max(pass_steps, 1))
        return cls(first, -(-epochs * steps // max(pass_steps, 1)), seen)


def _training_data(
    stage: Stage,
    recipe: Recipe,
    records: pipeline.Records,
    inputs: pipeline.Inputs,
    strategy: tf.distribute.Strategy,
    passes: _Passes,
) -> Any:
    """Batches of a stage: global batches, or with several workers the batches of each replica."""
    index, workers = distribution.workers(strategy)
    batch = stage.batch or recipe.batch

    def read(batch, shard):
        data = pipeline.training(
            records,
            recipe.data.protocol,
            inputs,
            split=recipe.data.train_on,
            batch=batch,
            seed=stage_seed(recipe, stage),
            epochs=passes.end,
            first_epoch=passes.first,
            augment=recipe.data.augment,
            cache=recipe.data.cache,
            balance=recipe.data.balance,
            shard=shard,
            deterministic=recipe.deterministic is not False,
        )
        return data.skip(passes.seen)

    if workers == 1:
        return read(batch, (0, 1))

    def of_worker(context):
        # A worker's batch in the parts that its replicas take in turn.
        return read(batch // workers, (index, workers)).unbatch().batch(context.get_per_replica_batch_size(batch), True)

    return strategy.distribute_datasets_from_function(of_worker)


def compile_model(
    model: tf.keras.Model,
    stage: Stage,
    recipe: Recipe,
    records: pipeline.Records,
    inputs: pipeline.Inputs,
    whole: tf.keras.Model | None = None,
) -> None:
    """Gives a model its loss, its metric and its optimizer, whose variables exist afterwards.

    Args:
        model: What is trained.
        stage: The stage.
        recipe: Its recipe.
        records: The converted dataset.
        inputs: What the stage's model is fed.
        whole: The model whose layers the stage names, where ``model`` is a part of it.
    """
    weights = None
    # With data.balance classes, all classes are sampled equally often: weights would let rare ones outweigh the others.
    if stage.class_weights == "balanced" and recipe.data.balance != "classes":
        clips = records.class_counts(recipe.data.protocol, recipe.data.train_on, inputs)
        weights = optimisation.balanced_weights(clips)
    model.compile(
        optimisation.make_optimizer(stage, whole or model),  # its learning rate is set at every epoch's beginning
        loss=optimisation.CrossEntropy(stage.label_smoothing, weights),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=recipe.xla,  # on CPU it slows 3D convolutions down
    )
    if stage.accumulate > 1 or stage.gradient_checkpointing:
        optimisation.save_memory(model, parts=stage.accumulate, gradient_checkpointing=stage.gradient_checkpointing)
    if hasattr(model.optimizer, "build"):  # optimizers of tensorflow-addons do this at the first step
        model.optimizer.build(model.trainable_variables)  # a checkpoint's values need variables to go to


def _average(model: tf.keras.Model, stage: Stage) -> dict[str, optimisation.WeightAverage]:
    """``{"average": WeightAverage}`` of a stage that uses it, else nothing."""
    return {"average": optimisation.WeightAverage(model, stage.average.momentum)} if stage.average else {}


def save_best(stage: Stage, epoch: int, *, trained: built_model.BuiltModel, run: pathlib.Path) -> None:
    """Saves a stage's model with the weights of its best epoch, which finishes the stage.

    The best and the newest checkpoint stay, so that the stage can be given more epochs until the next stage begins.

    The saved model computes in float32, whatever precision it was trained in, so that it runs on every device.

    Args:
        stage: The stage, trained.
        epoch: Number of the best epoch; 0 for a stage without epochs.
        trained: The stage's model; that of a stage without epochs is saved as it is.
        run: Path of the run directory.
    """
    with built_model.precision("float32"):
        model = built_model.rebuilt(trained)  # without the weights that the stage started from
    checkpoints = stage_checkpoints(run, stage)
    if epoch:
        average = _average(model, stage)
        checkpoints.read(epoch, model=model, **average)
        for weights in average.values():
            weights.exchange()
    else:
        model.set_weights(trained.get_weights())
    with files.whole_file(run_directory.stage_folder(run, stage.name) / run_directory.MODEL) as partial:
        model.save(partial)
    checkpoints.keep({epoch, *checkpoints.epochs()[-1:]})


def stage_checkpoints(run: pathlib.Path, stage: Stage, writes: bool = True) -> Checkpoints:
    """The checkpoints of a stage of a run."""
    return Checkpoints(run_directory.stage_folder(run, stage.name) / "checkpoints", writes)


def stage_seed(recipe: Recipe, stage: Stage) -> int:
    """Seed of a stage: each has its own, so that a resumed stage does not depend on what ran before it."""
    return recipe.seed + recipe.stages.index(stage) + 1
