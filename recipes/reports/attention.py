"""Attention of a trained model over clips, and a t-SNE of its features."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

import zoo
from recipes.config import Stage
from recipes.reports.scoring import Metrics
from recipes.run_directory import RunDirectory
from tfrecords.reading import pipeline
from zoo import attention_plot, layers, registry, skeletons
from zoo.shared import files
from zoo.shared.errors import UserError

PART_ATTENTION = "part_attention"
FEWEST = 3  # clips that t-SNE can arrange
_PERPLEXITY = 30  # scikit-learn's default; it has to be below the number of clips


def check_attention(model: tf.keras.Model) -> None:
    """Raises ``UserError`` unless a model's attention can be drawn beside the pictures it sees."""
    if not zoo.attention.attention_names(model):
        raise UserError(f"--attention: {model.name} has no attention layer, leave the option out")
    if not skeletons.parts_of(model.input):
        raise UserError(f"--attention: {model.name} takes no pictures to draw attention beside, leave the option out")


def shown_clips(metrics: Metrics, count: int) -> list[int]:
    """Numbers of the clips whose attention is drawn: a wrong and a right one in turn, the highest scores first.

    Args:
        metrics: The :class:`recipes.reports.scoring.Metrics`.
        count: Number of clips; fewer are chosen if there are fewer.

    Returns:
        A list of clip numbers.

    Example:
        >>> from recipes.reports.scoring import Metrics
        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> shown_clips(Metrics(np.array([0, 0, 0]), scores), 3)
        [2, 0, 1]
    """
    right = metrics.predictions == metrics.labels
    surest = np.argsort(-metrics.scores.max(axis=1), kind="stable")
    turns = [[int(clip) for clip in surest if right[clip] == wanted] for wanted in (False, True)]
    found: list[int] = []
    while any(turns) and len(found) < count:
        found += [turn.pop(0) for turn in turns if turn]
    return found[:count]


def draw_attention(
    folder: pathlib.Path,
    clips: Sequence[int],
    *,
    model: tf.keras.Model,
    run: RunDirectory,
    records: pipeline.Records,
    protocol: str,
    split: str,
) -> list[pathlib.Path]:
    """Draws the attention of clips, one picture ``attention_<n>.png`` each, of the clip's middle window.

    Args:
        folder: Where to write.
        clips: Clip numbers, as :func:`shown_clips` gives them.
        model: The run's model.
        run: The :class:`recipes.run_directory.RunDirectory`.
        records: The :class:`tfrecords.reading.pipeline.Records`.
        protocol: The protocol.
        split: The split.

    Returns:
        The files, in the order of ``clips``.
    """
    paths = {clip: folder / f"attention_{number}.png" for number, clip in enumerate(clips, start=1)}
    views = pipeline.evaluation(records, protocol, split, run.inputs, batch=1)
    for clip, (features, _, _) in enumerate(views.take(max(clips, default=-1) + 1)):
        if clip in paths:
            figure = attention_plot.plot_attention(model, features)
            with files.whole_file(paths[clip]) as partial:
                figure.savefig(partial, dpi=80)
    return list(paths.values())


def part_names(run: RunDirectory, model: tf.keras.Model) -> tuple[str, ...]:
    """The body parts that a model's part attention weighs, in its order.

    Args:
        run: The run directory.
        model: Its model.

    Raises:
        UserError: The model has no part attention.
    """
    if PART_ATTENTION not in zoo.attention.attention_names(model):
        raise UserError(f"--parts: {model.name} has no attention over body parts (pi3d has), leave the option out")
    options = {**registry.options(run.recipe.model.name), **run.recipe.model.options}
    return tuple(options["parts"])


def part_attention(model: tf.keras.Model) -> tf.keras.Model:
    """A model whose only output is the part attention ``[B, K]``."""
    return tf.keras.Model(model.input, zoo.attention_maps(model).output[PART_ATTENTION])


def stages_of_parts(run: RunDirectory, parts: Sequence[str]) -> dict[str, Stage]:
    """Body part -> the stage, before the last, whose model sees the pictures of this part alone."""
    found = {}
    for stage in run.recipe.stages[:-1]:
        seen = run.recipe.stage_model(stage).options.get("parts", ())
        if len(seen) == 1 and seen[0] in parts:
            found[seen[0]] = stage
    return found


def penultimate(model: tf.keras.Model) -> tuple[tf.keras.Model, list[str]]:
    """A model of the features that a model classifies: the inputs of its classifiers, averaged over time and space.

    Args:
        model: A model of the zoo. A model with two streams, or made of two models, has two classifiers: their inputs
            are concatenated.

    Returns:
        ``(feature_model, names)``: the ``tf.keras.Model`` inputs -> ``[B, D]`` and the classifiers' names.

    Example:
        >>> model = zoo.build("pose_lstm", num_classes=4, pose_steps=5, joints=13, lstm_units=8)
        >>> features, names = penultimate(model)
        >>> features.output_shape, names
        ((None, 8), ['classifier'])
    """
    found: dict[str, tf.Tensor] = {}
    for layer in model.layers:
        if hasattr(layer, "layers") and isinstance(layer.input, dict):  # a whole model that sees the model's inputs
            inner, names = penultimate(layer)
            joined = inner({name: model.input[name] for name in layer.input})
            found[" and ".join(f"{layer.name}.{name}" for name in names)] = joined
        elif layer.name.rpartition(".")[2] == layers.HEAD:
            found[layer.name] = _mean_over_positions(layer.input)
    tensors = list(found.values())
    features = tensors[0] if len(tensors) == 1 else tf.keras.layers.Concatenate(name="penultimate")(tensors)
    return tf.keras.Model(model.input, features, name=f"{model.name}_features"), list(found)


def _mean_over_positions(tensor: tf.Tensor) -> tf.Tensor:
    """``[B, ..., D]`` as ``[B, D]``."""
    axes = len(tensor.shape) - 2  # of time and space
    if not axes:
        return tensor
    if axes == 1:
        return tf.keras.layers.GlobalAveragePooling1D()(tensor)
    return tf.keras.layers.GlobalAveragePooling3D()(tensor)


def tsne(features: np.ndarray, seed: int) -> np.ndarray:
    """Places clips in the plane, those with similar features close together: t-SNE (van der Maaten, Hinton 2008).

    Args:
        features: ``[N, D]``.
        seed: Seed of the arrangement.

    Returns:
        ``[N, 2]``.

    Raises:
        UserError: There are fewer than three clips, or their features do not differ.
    """
    from sklearn.manifold import TSNE

    if len(features) < FEWEST:
        raise UserError(f"--tsne: {len(features)} clips cannot be arranged, expected at least {FEWEST}")
    if not (features != features[0]).any() or not np.isfinite(features).all():  # scikit-learn crashes on equal ones
        raise UserError("--tsne: the features are equal for all clips, or not finite: the model has not learned")
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-6)
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(scaled.astype(np.float32))
