"""The model of a stage: built from the recipe and the data, started from earlier ones, partly frozen."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

import zoo
from recipes import config, run_directory
from recipes.config import Model, Recipe, Stage
from tfrecords.reading import pipeline
from zoo import gradient_checkpointing, registry, skeletons
from zoo.checks import WeightsError
from zoo.shared.errors import UserError


def build_model(recipe: Recipe, stage: Stage, records: pipeline.Records) -> tuple[tf.keras.Model, pipeline.Inputs]:
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
        if stage.gradient_checkpointing:
            gradient_checkpointing.block_ends(built)
        return built, inputs_of(built, inputs)
    except zoo.ZooError as error:
        instead = "; or start from random ones: --set model.weights=null" if isinstance(error, WeightsError) else ""
        raise UserError(f"recipe {recipe.name}: stages.{stage.name}: {error}{instead}") from None


def _shared_options(whole: Model, part: Model) -> dict[str, Any]:
    """Options of the recipe's model that apply to a part of it too, such as its backbone's width."""
    defaults, others = registry.options(part.name), registry.options(whole.name)
    common = {option for option in defaults if option in others and defaults[option] == others[option]}
    return {option: value for option, value in whole.options.items() if option in common}


def _data_options(model: Model, inputs: pipeline.Inputs) -> dict[str, Any]:
    """Options of a model that follow from the data."""
    given: dict[str, Any] = {
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


def _check_inputs(model: tf.keras.Model, inputs: pipeline.Inputs) -> None:
    """Raises :class:`zoo.ZooError` unless the recipe's data feed all inputs of a model."""
    decided_by = {"rgb": "frames", "pose": "pose_steps", "features_g": "granularities", "pose_g": "segment_steps"}
    if _sees_pose_steps(model):
        decided_by["rgb"] = "pose_steps"
    for name in model.input:
        option = decided_by[max((kind for kind in decided_by if name.startswith(kind)), key=len)]
        if not getattr(inputs, option):
            raise zoo.ZooError(f"{model.name} needs {option} for its input {name}, set data.{option}")


def _sees_pose_steps(model: tf.keras.Model) -> bool:
    """Whether a video model has no option ``frames``: it sees the frames of its pose steps."""
    return "frames" not in registry.options(model.name)


def inputs_of(model: tf.keras.Model, inputs: pipeline.Inputs) -> pipeline.Inputs:
    """The part of the recipe's inputs that a model reads, found by the names of the model's inputs."""
    names = set(model.input)
    wanted = skeletons.parts_of(names)
    # Without pictures of the full body, a network of one video is fed the whole image.
    whole_frames = wanted == ("full_body",) and skeletons.FULL_IMAGE in inputs.parts and "full_body" not in inputs.parts
    missing = [part for part in wanted if part not in inputs.parts and not whole_frames]
    if missing:
        raise zoo.ZooError(f"{model.name} reads pictures of {', '.join(missing)}, add them to data.parts")
    reads_features = any(name.startswith("features_g") for name in names)
    own: dict[str, Any] = {
        "frames": inputs.frames if wanted else 0,
        "parts": wanted or inputs.parts,
        "whole_frames": whole_frames,
        "pose_steps": inputs.pose_steps if "pose" in names else 0,
        "pose_xy": "pose_xy" in names,
        "granularities": inputs.granularities if reads_features else (),
        "feature_size": inputs.feature_size if reads_features else 0,
        "segment_steps": inputs.segment_steps if any(name.startswith("pose_g") for name in names) else 0,
    }
    if wanted and _sees_pose_steps(model):
        own.update(frames=own["pose_steps"], frames_at="pose_steps")
    return dataclasses.replace(inputs, **own)


def initialise(model: tf.keras.Model, stage: Stage, earlier: Callable[[str], tf.keras.Model]) -> None:
    """Copies into a stage's model the weights it starts from.

    Args:
        model: The stage's model.
        stage: The stage.
        earlier: Function from an earlier stage's name to its model.

    Raises:
        UserError: A model is missing, or does not fit.
    """
    for source in stage.init:
        try:
            zoo.transfer_weights(_trained(source, earlier), model)
        except UserError as error:
            raise UserError(f"stages.{stage.name}.init: {error}") from None


def _trained(source: str, earlier: Callable[[str], tf.keras.Model]) -> tf.keras.Model:
    """The model that an item of ``init`` names."""
    if source.endswith(config.MODEL_FILE):
        return zoo.load_model(source)
    return run_directory.RunDirectory(source).model() if config.is_path(source) else earlier(source)


def frozen_layers(model: tf.keras.Model, stage: Stage) -> list[tf.keras.layers.Layer]:
    """The layers that a stage excludes from training.

    Args:
        model: The stage's model.
        stage: The stage; its patterns match as those of file names do in a shell.

    Raises:
        UserError: A pattern fits no layer.
    """
    found: list[tf.keras.layers.Layer] = []
    for pattern in stage.freeze:
        fitting = matching(model, [pattern])
        if not fitting:
            layers = [layer.name for layer in model.layers if layer.weights]
            raise UserError(f"stages.{stage.name}.freeze: {config.unknown('no layer fits', pattern, layers)}")
        found += fitting
    return found


def matching(model: tf.keras.Model, patterns: Sequence[str]) -> list[tf.keras.layers.Layer]:
    """The layers whose names fit one of the patterns."""
    return [layer for layer in model.layers if any(fnmatch.fnmatchcase(layer.name, each) for each in patterns)]


def freeze(model: tf.keras.Model, stage: Stage) -> None:
    """Excludes the :func:`frozen_layers` from training."""
    for layer in frozen_layers(model, stage):
        layer.trainable = False
