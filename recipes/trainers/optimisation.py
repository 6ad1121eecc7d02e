"""Optimizers, learning rates of layers, losses, training steps that need less memory, averages of weights.

All of it works on one device and on several replicas, and depends on the recipe alone, so that a resumed training
continues exactly as without the interruption.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import warnings
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.config import Recipe, Stage
from zoo import gradient_checkpointing as checkpointing
from zoo.shared.errors import UserError

_KERAS = {"sgd": tf.keras.optimizers.SGD, "adam": tf.keras.optimizers.Adam}
_COUNTS_LOSS = metadata.version("keras").startswith("2.")  # whether compute_loss updates the metric "loss"
_ADDONS = {"sgdw": "SGDW", "adamw": "AdamW", "lamb": "LAMB"}


# ------------------------------------------------------------------------------------------------------ optimizers


def base_learning_rate(stage: Stage, recipe: Recipe) -> float:
    """Learning rate of a stage before its schedule.

    With ``base_batch`` the recipe's rate is for a batch of that size, and is scaled in proportion to the actual batch
    (Goyal et al., Accurate, large minibatch SGD, 2017, section 2.1).

    Args:
        stage: A :class:`recipes.config.Stage`.
        recipe: Its :class:`recipes.config.Recipe`.

    Example:
        >>> from recipes import config
        >>> recipe = config.load("pose_lstm_nucla", ["stages.pose.base_batch=8", "batch=32"])
        >>> base_learning_rate(recipe.stages[0], recipe) / recipe.stages[0].optimizer.learning_rate
        4.0
    """
    rate = stage.optimizer.learning_rate
    return rate * (stage.batch or recipe.batch) / stage.base_batch if stage.base_batch else rate


def make_optimizer(stage: Stage, model: tf.keras.Model) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a stage.

    Args:
        stage: A :class:`recipes.config.Stage`.
        model: The model it trains; ``stage.layer_learning_rates`` name its layers.

    Returns:
        A ``tf.keras`` optimizer, or one of tensorflow-addons if the stage names it.

    Raises:
        UserError: No layer matches a pattern, or tensorflow-addons is needed and not installed.
    """
    settings = stage.optimizer
    arguments = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name != "name"}
    factors = _factors(stage, model)
    if settings.name in _ADDONS:
        kind = _addons_class(settings.name)
        # The optimizers of tensorflow-addons would take None for a value.
        arguments = {name: value for name, value in arguments.items() if value is not None}
        if settings.name == "lamb":
            arguments["weight_decay_rate"] = arguments.pop("weight_decay")
    else:
        kind = _KERAS[settings.name]
    return _with_rates(kind, factors)(**arguments) if factors else kind(**arguments)


def _addons_class(name):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that it is no longer developed
            import tensorflow_addons as tfa
    except ImportError:
        raise UserError(
            f"optimizer {name} is of tensorflow-addons, which is not installed (it exists for Python 3.9 to 3.11 alone)"
            ": choose adam or sgd, whose weight_decay is decoupled too"
        ) from None
    return getattr(tfa.optimizers, _ADDONS[name])


def _factors(stage, model):
    """Variables and the factors of their learning rates, where these are not 1."""
    factors = {}
    for rate in stage.layer_learning_rates:
        layers = [layer for layer in model.layers if fnmatch.fnmatchcase(layer.name, rate.layers) and layer.weights]
        if not layers:
            names = ", ".join(layer.name for layer in model.layers if layer.weights)
            raise UserError(f"stages.{stage.name}.layer_learning_rates: no layer fits {rate.layers!r}. Valid: {names}")
        for layer in layers:
            factors.update({id(variable): (variable, rate.factor) for variable in layer.trainable_variables})
    return [(variable, factor) for variable, factor in factors.values() if factor != 1]


def _with_rates(kind, factors):
    """A class of optimizer with other learning rates for some variables.

    Adam's steps do not depend on the scale of the gradients, so scaling these has no effect. The step itself is scaled
    instead, which for every optimizer is the same as another learning rate (and scales its weight decay too).
    """

    # The method that takes the step: in Keras 3 a loss scale (float16) calls apply, as apply_gradients does.
    step = "apply" if hasattr(kind, "apply") else "apply_gradients"

    def scaled_step(self, *args, **kwargs):
        before = [tf.identity(tf.convert_to_tensor(variable)) for variable, _ in factors]
        with tf.control_dependencies(before):
            done = getattr(kind, step)(self, *args, **kwargs)
        context = tf.distribute.get_replica_context()
        if context is None:
            _rescale(None, factors, before)
        else:
            context.merge_call(lambda strategy, old: _rescale(strategy, factors, old), args=(before,))
        return done

    return type("WithRates", (kind,), {step: scaled_step})


def _rescale(strategy, factors, before):
    """Scales the steps that variables have taken from their previous values."""
    for (variable, factor), old in zip(factors, before):
        variable = variable if isinstance(variable, tf.Variable) else variable.value  # Keras 3 wraps it

        def scale(variable, old, factor=factor):
            return variable.assign(old + tf.cast(factor, variable.dtype) * (variable - old))

        if strategy is None:
            scale(variable, old)
        else:
            strategy.extended.update(variable, scale, args=(old,))


# ----------------------------------------------------------------------------------------------------------- losses


@tf.keras.utils.register_keras_serializable(package="adl_zoo")
class CrossEntropy(tf.keras.losses.Loss):
    """Cross-entropy of class numbers, with label smoothing and weights of the classes.

    Args:
        label_smoothing: Fraction of the label's probability that is spread over all classes (Szegedy et al., CVPR 2016,
            section 7).
        class_weights: Weight of each class; default: 1.
        options: Further arguments of ``tf.keras.losses.Loss``.

    Example:
        >>> loss = CrossEntropy(label_smoothing=0.2)
        >>> abs(float(loss([0], [[0.8, 0.2]])) - float(-0.9 * np.log(0.8) - 0.1 * np.log(0.2))) < 1e-6
        True
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | np.ndarray | None = None,
        name: str = "cross_entropy",
        **options: Any,
    ) -> None:
        super().__init__(name=name, **options)
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Loss ``[B]`` of class numbers ``[B]`` (or ``[B, 1]``) and probabilities ``[B, C]``."""
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int32)
        y_pred = tf.convert_to_tensor(y_pred)
        losses = tf.keras.losses.sparse_categorical_crossentropy(labels, y_pred)
        if self.label_smoothing:
            uniform = tf.fill(tf.shape(y_pred), tf.cast(1 / y_pred.shape[-1], y_pred.dtype))
            smoothing = tf.cast(self.label_smoothing, y_pred.dtype)
            losses = (1 - smoothing) * losses + smoothing * tf.keras.losses.categorical_crossentropy(uniform, y_pred)
        if self.class_weights is not None:
            losses *= tf.gather(tf.constant(self.class_weights, losses.dtype), labels)
        return losses

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        own = {"label_smoothing": self.label_smoothing, "class_weights": self.class_weights}
        return {**super().get_config(), **own}


def balanced_weights(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Weights with which every class counts the same in the loss: ``n / (C n_c)``, 0 for a class without clips.

    Args:
        counts: Training clips of each class.

    Example:
        >>> balanced_weights([30, 10, 0]).round(2).tolist()
        [0.67, 2.0, 0.0]
    """
    clips = np.asarray(counts, float)
    present = clips > 0
    return np.divide(clips.sum() / present.sum(), clips, out=np.zeros_like(clips), where=present)


# ------------------------------------------------------------------------------------------ a step of less memory


def save_memory(model: tf.keras.Model, *, parts: int = 1, gradient_checkpointing: bool = False) -> None:
    """Makes a compiled model's training step take less memory, and more time.

    A step in parts gives the gradients of the whole batch but needs the memory of one part. Batch normalisation uses
    the statistics of each part, as it does with those of each replica, and updates its moving averages once per part.

    Args:
        model: A compiled ``tf.keras.Model``.
        parts: Number of parts of a batch that are computed one after another, their gradients added up; it divides
            the batch of a replica.
        gradient_checkpointing: Compute the activations inside the video network's blocks again in the backward pass,
            see :mod:`zoo.gradient_checkpointing`.

    Raises:
        zoo.ZooError: There is no video network whose activations could be computed again.
    """
    call = checkpointing.training_call(model) if gradient_checkpointing else functools.partial(model, training=True)

    def train_step(data):
        x, y, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        variables = model.trainable_variables

        def part(x, y):
            """Loss, gradients and scores of a part."""
            with tf.GradientTape() as tape:
                predicted = call(x)
                # The mean over a part, divided by the number of parts: the sum over parts is the loss of the batch.
                loss = model.compute_loss(x=x, y=y, y_pred=predicted) / parts
            zero = tf.UnconnectedGradients.ZERO
            return loss, tape.gradient(loss, variables, unconnected_gradients=zero), predicted

        if parts == 1:
            loss, gradients, scores = part(x, y)
        else:
            loss, gradients, scores = _in_turn(part, parts, x, y, variables, model.outputs[0])
            y = y[: tf.shape(scores)[0]]
        model.optimizer.apply_gradients(zip(gradients, variables))
        if not _COUNTS_LOSS:
            (shown,) = [metric for metric in model.metrics if metric.name == "loss"]
            # Each replica's loss is divided by their number, so the batch's is the sum.
            shown.update_state(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, loss))
        return model.compute_metrics(x, y, scores, None)

    model.train_step = train_step


def _in_turn(part, parts, x, y, variables, output):
    """Sums of the losses and gradients of a batch's parts, and the scores of all."""
    size = tf.shape(y)[0] // parts

    def following(number, loss, gradients, scores):
        start = number * size
        some_x, some_y = tf.nest.map_structure(lambda value: value[start : start + size], (x, y))
        part_loss, new, predicted = part(some_x, some_y)
        gradients = [old + gradient for old, gradient in zip(gradients, new)]
        return number + 1, loss + part_loss, gradients, scores.write(number, predicted)

    zeros = [tf.zeros_like(tf.convert_to_tensor(variable)) for variable in variables]
    scores = tf.TensorArray(output.dtype, parts, element_shape=[None, *output.shape[1:]])
    _, loss, gradients, scores = tf.while_loop(
        lambda number, *_: number < parts,
        following,
        (tf.constant(0), tf.constant(0.0), zeros, scores),
        parallel_iterations=1,  # one after another, or nothing is saved
    )
    return loss, gradients, scores.concat()


# ----------------------------------------------------------------------------------------------- averages of weights


class WeightAverage(tf.Module):
    """The exponential moving average of a model's trained weights (Polyak, Juditsky 1992).

    Args:
        model: The model, built.
        momentum: Fraction of the average that stays at a step.
    """

    def __init__(self, model: tf.keras.Model, momentum: float) -> None:
        super().__init__()
        variables, self._momentum = model.trainable_variables, momentum
        self._variables = lambda: variables  # a module saves its attributes, but the model is saved separately
        self._averages = [tf.Variable(tf.convert_to_tensor(variable), trainable=False) for variable in variables]
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    @tf.function
    def update(self) -> None:
        """Moves the average a step towards the weights; the first steps are larger, as it then covers few steps."""
        self._steps.assign_add(1)
        steps = tf.cast(self._steps, tf.float32)
        momentum = tf.minimum(self._momentum, (1 + steps) / (10 + steps))
        for average, variable in zip(self._averages, self._variables()):
            rate = tf.cast(1 - momentum, average.dtype)
            average.assign_add(rate * (tf.convert_to_tensor(variable) - average))

    def exchange(self) -> None:
        """Swaps the model's weights and the average."""
        for average, variable in zip(self._averages, self._variables()):
            kept = tf.identity(tf.convert_to_tensor(variable))
            variable.assign(tf.identity(average))
            average.assign(kept)
