"""Scores of a model on clips, and the metrics of them.

A clip may be seen in several views (windows in time, crops in space); their scores are pooled into one row per clip.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from recipes.trainers import distribution

TOP = 5


class Scorer:
    """Computes a model's scores of every clip of a dataset, on all devices of a strategy.

    Args:
        model: A model of the zoo.
        strategy: A ``tf.distribute.Strategy``; the model was built in its scope.
        data: Batches ``(features, label, clip_number)``, as :func:`tfrecords.reading.pipeline.evaluation` gives them.
        count: Number of clips N.
        batch: Views per batch; the last one is filled up, so that every device has as many.
        pool: How views become one: ``mean_softmax``, ``max_softmax`` or ``mean_logits``.

    Call arguments:
        on_clips: Called with the number of clips whose first view was scored, after every batch.

    Returns:
        ``(labels [N] int64, scores [N, C] float64)``; the softmax's scores, of ``max_softmax`` the largest.
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
        else:  # every worker scores all clips: their results need not travel
            own = batch * distribution.workers(strategy)[1] // strategy.num_replicas_in_sync
            self.data = strategy.distribute_datasets_from_function(lambda context: data.unbatch().batch(own, True))
        with strategy.scope():
            output = model.get_layer("logits").output if pool == "mean_logits" else model.output
            scorer = tf.keras.Model(model.input, output)
        self.classes = output.shape[-1]

        @tf.function
        def score(batch):
            def on_replica(features, labels, numbers):
                return scorer(features, training=False), labels, numbers

            return strategy.run(on_replica, args=batch)

        self._score = score

    def __call__(self, on_clips: Callable[[int], object] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scores all clips with the model's current weights; see the class."""
        labels, views = np.zeros(self.count, np.int64), np.zeros(self.count, np.int64)
        pooled = np.zeros((self.count, self.classes))
        for batch in self.data:
            replicas = zip(*(self.strategy.experimental_local_results(part) for part in self._score(batch)))
            for scores, label, number in replicas:
                scores, label, number = scores.numpy().astype(np.float64), label.numpy(), number.numpy()
                real = number >= 0
                scores, label, number = scores[real], label[real], number[real]
                (np.maximum if self.pool == "max_softmax" else np.add).at(pooled, number, scores)
                labels[number] = label
                started = np.count_nonzero(views)
                np.add.at(views, number, 1)
                if on_clips:
                    on_clips(int(np.count_nonzero(views) - started))
        if self.pool != "max_softmax":
            pooled /= views[:, np.newaxis]
        return labels, _softmax(pooled) if self.pool == "mean_logits" else pooled


def _fill_up(views, batch):
    """Adds zeros at the end of a batch until it has ``batch`` views; their clip number is -1."""
    features, labels, numbers = views
    missing = batch - tf.shape(numbers)[0]

    def filled(tensor, value=0):
        paddings = [[0, missing]] + [[0, 0]] * (len(tensor.shape) - 1)
        return tf.ensure_shape(tf.pad(tensor, paddings, constant_values=value), (batch, *tensor.shape[1:]))

    return {name: filled(tensor) for name, tensor in features.items()}, filled(labels), filled(numbers, -1)


def _softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def product(*scores: np.ndarray) -> np.ndarray:
    """The product of several models' scores, normalised: late fusion (WACV20).

    Args:
        scores: ``[N, C]`` of each model.

    Returns:
        ``[N, C]``, each row with the sum 1.

    Example:
        >>> product(np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])).tolist()
        [[0.5, 0.5]]
    """
    logarithms = [np.log(np.maximum(part, np.finfo(np.float64).tiny)) for part in scores]
    return _softmax(sum(logarithms))


def mean(*scores: np.ndarray) -> np.ndarray:
    """The mean of several models' scores, equally weighted: fusion of streams (Shi et al., 2020, section 3.4).

    Args:
        scores: ``[N, C]`` of each model.

    Returns:
        ``[N, C]``.

    Example:
        >>> mean(np.array([[0.75, 0.25]]), np.array([[0.25, 0.75]])).tolist()
        [[0.5, 0.5]]
    """
    return np.mean(scores, axis=0)


def cross_entropy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean of -log of the true class's score; NaN if a score is."""
    true = scores[np.arange(len(labels)), labels]
    return float(-np.mean(np.log(np.maximum(true, 1e-12))))


@dataclasses.dataclass(frozen=True, eq=False)
class Metrics:
    """The metrics of the scores of N clips.

    Attributes:
        labels: ``[N]`` true classes.
        scores: ``[N, C]``.
    """

    labels: np.ndarray
    scores: np.ndarray

    @property
    def predictions(self) -> np.ndarray:
        """``[N]`` classes with the largest score; the lower class among equal scores."""
        return self.scores.argmax(axis=1)

    @property
    def top1(self) -> float:
        """Fraction of clips whose true class has the largest score."""
        return float(np.mean(self.predictions == self.labels))

    @property
    def top5(self) -> float:
        """Fraction of clips whose true class is among the five largest scores (1 with five classes or fewer)."""
        best = np.argsort(-self.scores, axis=1, kind="stable")[:, :TOP]
        return float(np.mean((best == self.labels[:, np.newaxis]).any(axis=1)))

    @property
    def confusion(self) -> np.ndarray:
        """``[C, C]`` clips by true class (row) and predicted class (column)."""
        classes = self.scores.shape[1]
        confusion = np.zeros((classes, classes), np.int64)
        np.add.at(confusion, (self.labels, self.predictions), 1)
        return confusion

    @property
    def class_accuracies(self) -> np.ndarray:
        """``[C]`` fraction of a class's clips that are recognised; NaN for a class without clips."""
        clips = self.confusion.sum(axis=1)
        return np.where(clips > 0, np.diag(self.confusion) / np.maximum(clips, 1), np.nan)

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of the class accuracies over the classes that have clips."""
        return float(np.nanmean(self.class_accuracies))
