"""Scores of a model on clips, and their metrics.

A clip may be seen in several views (windows in time, crops in space); their scores are pooled into one row per clip.

A network of poses alone cannot classify a clip without any known pose. It abstains: the clip's scores are all zeros.
Such a clip stays in every figure and counts as wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from recipes.trainers import distribution
from zoo import layers
from zoo.shared.errors import UserError
from zoo.shared.probabilities import logarithms, softmax

TOP = 5


class Scorer:
    """Computes a model's scores of every clip of a dataset, on all devices of a strategy.

    Args:
        model: A model of the zoo.
        strategy: A ``tf.distribute.Strategy``; the model was built in its scope.
        data: Batches ``(features, label, clip_number)``, as :func:`tfrecords.reading.pipeline.evaluation` gives them.
        count: Number of clips N.
        batch: Views per batch; the last batch is padded, so that every device gets the same number of views.
        pool: How the scores of views are combined: ``mean_softmax``, ``max_softmax`` or ``mean_logits``.

    Call arguments:
        on_clips: Called with the number of clips whose first view was scored, after every batch.

    Returns:
        ``(labels [N] int64, scores [N, C] float64)``: softmax scores; with ``max_softmax`` the largest over the views,
        divided by their sum. For a network of poses alone, views without a pose are left out, and a clip without any
        pose has scores of zero.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        strategy: tf.distribute.Strategy,
        data: tf.data.Dataset,
        *,
        count: int,
        batch: int,
        pool: str = "mean_softmax",
    ) -> None:
        self.count = count
        self.pool = pool
        self.strategy = strategy
        data = data.map(lambda *views: _fill_up(views, batch))
        if distribution.workers(strategy)[1] == 1:
            self.data = strategy.experimental_distribute_dataset(data)
        else:  # every worker scores all clips, so workers need not exchange results
            own = batch * distribution.workers(strategy)[1] // strategy.num_replicas_in_sync
            self.data = strategy.distribute_datasets_from_function(lambda context: data.unbatch().batch(own, True))
        with strategy.scope():
            output = model.get_layer("logits").output if pool == "mean_logits" else model.output
            scorer = tf.keras.Model(model.input, output)
        self.classes = output.shape[-1]
        names = list(model.input) if isinstance(model.input, dict) else []
        poses = names if all(name.startswith("pose") for name in names) else []

        @tf.function(reduce_retracing=True)  # pictures of one split may have several sizes
        def score(batch):
            def on_replica(features, labels, numbers):
                answers = layers.has_pose([features[name] for name in poses]) if poses else tf.ones_like(labels, bool)
                return scorer(features, training=False), answers, labels, numbers

            return strategy.run(on_replica, args=batch)

        self._score = score

    def __call__(self, on_clips: Callable[[int], object] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores all clips with the model's current weights; see the class."""
        labels, views, answered = (np.zeros(self.count, np.int64) for _ in range(3))
        pooled = np.zeros((self.count, self.classes))
        for batch in self.data:
            replicas = zip(*(self.strategy.experimental_local_results(part) for part in self._score(batch)))
            for replica in replicas:
                scores, answers, label, number = (tensor.numpy() for tensor in replica)
                real = number >= 0
                scores, answers, label, number = (values[real] for values in (scores, answers, label, number))
                answers = answers.astype(np.int64)
                scores = np.where(answers[:, np.newaxis], scores.astype(np.float64), 0.0)
                (np.maximum if self.pool == "max_softmax" else np.add).at(pooled, number, scores)
                np.add.at(answered, number, answers)
                labels[number] = label
                started = np.count_nonzero(views)
                np.add.at(views, number, 1)
                if on_clips:
                    on_clips(int(np.count_nonzero(views) - started))
        if self.pool == "max_softmax":
            return labels, normalised(pooled)
        pooled /= np.maximum(answered, 1)[:, np.newaxis]
        if self.pool == "mean_logits":
            pooled = np.where(answered[:, np.newaxis] > 0, softmax(pooled), 0.0)
        return labels, pooled


def _fill_up(views, batch):
    """Adds zeros at the end of a batch until it has ``batch`` views; their clip number is -1."""
    features, labels, numbers = views
    missing = batch - tf.shape(numbers)[0]

    def filled(tensor, value=0):
        paddings = [[0, missing]] + [[0, 0]] * (len(tensor.shape) - 1)
        return tf.ensure_shape(tf.pad(tensor, paddings, constant_values=value), (batch, *tensor.shape[1:]))

    return {name: filled(tensor) for name, tensor in features.items()}, filled(labels), filled(numbers, -1)


def normalised(scores: np.ndarray) -> np.ndarray:
    """Rows scaled to the sum 1; a row of zeros, where the model abstains, stays.

    Example:
        >>> normalised(np.array([[0.75, 0.75], [0.0, 0.0]])).tolist()
        [[0.5, 0.5], [0.0, 0.0]]
    """
    sums = scores.sum(axis=1, keepdims=True)
    return np.divide(scores, sums, out=np.zeros_like(scores), where=sums > 0)


def product(*scores: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """The product of several models' scores, normalised: late fusion (WACV20).

    Args:
        scores: ``[N, C]`` of each model; for each clip, models that abstain are left out.
        weights: Exponent of each model's scores, with the sum 1; default: 1 each.

    Returns:
        ``[N, C]``, each row with the sum 1; zeros where all abstain.

    Example:
        >>> product(np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])).tolist()
        [[0.5, 0.5]]
    """
    answered = np.any(scores, axis=2)  # [K, N]
    exponents = answered if weights is None else _of_answering(weights, answered)
    fused = softmax(np.einsum("kn,knc->nc", exponents, logarithms(np.stack(scores))))
    return np.where(answered.any(axis=0)[:, np.newaxis], fused, 0.0)


def mean(*scores: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """The mean of several models' scores: fusion of streams (Shi et al., 2020, section 3.4).

    Args:
        scores: ``[N, C]`` of each model; for each clip, models that abstain are left out.
        weights: Weight of each model, with the sum 1; default: all are equal.

    Returns:
        ``[N, C]``; zeros where all abstain.

    Example:
        >>> mean(np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]])).tolist()
        [[0.5, 0.5]]
        >>> mean(np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]]), weights=[0.5, 0.5]).tolist()
        [[0.5, 0.5]]
    """
    answered = np.any(scores, axis=2)  # [K, N]
    if weights is None:
        return np.sum(scores, axis=0) / np.maximum(answered.sum(axis=0), 1)[:, np.newaxis]
    return np.einsum("kn,knc->nc", _of_answering(weights, answered), np.stack(scores))


def _of_answering(weights, answered):
    """``[K, N]``: each clip's weights of the models that do not abstain, with the sum 1; equal if all theirs are 0."""
    own = np.asarray(weights, float)[:, np.newaxis] * answered
    own = np.where(own.sum(axis=0) > 0, own, answered)
    return own / np.maximum(own.sum(axis=0), np.finfo(float).tiny)


def cross_entropy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean of -log of the true class's score; NaN if a score is. Abstaining counts as equal scores of all classes."""
    answered = scores.any(axis=1)
    true = np.where(answered, scores[np.arange(len(labels)), labels], 1.0 / scores.shape[1])
    return float(-np.mean(np.log(np.maximum(true, 1e-12))))


def require_finite(values: np.ndarray, what: str) -> None:
    """Raises ``UserError`` where a model's outputs are not finite: they would count as an arbitrary class.

    Args:
        values: ``[N, ...]``.
        what: What the outputs are of, for the message.
    """
    wrong = int(np.sum(~np.isfinite(values).reshape(len(values), -1).all(axis=1)))
    if wrong:
        raise UserError(
            f"{what}: the model's outputs are not finite for {wrong} of {len(values)}: train it again, or look for "
            "damaged clips with python -m tfrecords.inspect DIR --verify"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Metrics:
    """The metrics of the scores of N clips.

    Attributes:
        labels: ``[N]`` true classes.
        scores: ``[N, C]``; zeros: the model abstains, which counts as wrong.
    """

    labels: np.ndarray
    scores: np.ndarray

    @property
    def abstained(self) -> np.ndarray:
        """``[N]`` bool: whether the model has no answer for the clip."""
        return ~self.scores.any(axis=1)

    @property
    def predictions(self) -> np.ndarray:
        """``[N]`` classes with the largest score; the lower class among equal scores; -1 where the model abstains."""
        return np.where(self.abstained, -1, self.scores.argmax(axis=1))

    @property
    def top1(self) -> float:
        """Fraction of clips whose true class has the largest score."""
        return float(np.mean(self.predictions == self.labels))

    @property
    def top5(self) -> float:
        """Fraction of clips whose true class is among the five largest scores (1 with five classes or fewer)."""
        best = np.argsort(-self.scores, axis=1, kind="stable")[:, :TOP]
        return float(np.mean((best == self.labels[:, np.newaxis]).any(axis=1) & ~self.abstained))

    @property
    def clips(self) -> np.ndarray:
        """``[C]`` clips of every true class."""
        return np.bincount(self.labels, minlength=self.scores.shape[1])

    @property
    def confusion(self) -> np.ndarray:
        """``[C, C]`` clips by true class (row) and predicted class (column); abstained clips are left out."""
        classes = self.scores.shape[1]
        confusion = np.zeros((classes, classes), np.int64)
        answered = ~self.abstained
        np.add.at(confusion, (self.labels[answered], self.predictions[answered]), 1)
        return confusion

    @property
    def class_accuracies(self) -> np.ndarray:
        """``[C]`` fraction of a class's clips that are recognised; NaN for a class without clips."""
        clips = self.clips
        return np.where(clips > 0, np.diag(self.confusion) / np.maximum(clips, 1), np.nan)

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of the class accuracies over the classes that have clips."""
        return float(np.nanmean(self.class_accuracies))
