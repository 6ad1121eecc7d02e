"""Linear probe: the classifier of a frozen network, fitted by logistic regression (``linear_probe``).

::

    stored features of all clips and views ─► mean over positions ─► standardised ─► logistic regression
                                                                                        │
    classifier of the stage's model ◄─ its weights, of features that are not standardised ◄─┘
                                       divided by the temperature

Logistic regression has one optimum, needs no learning rate, and with strong regularisation it is hard to beat with
few clips. The penalty makes its probabilities far too low; where no epochs follow they are calibrated by a temperature
(Guo et al., ICML 2017), fitted to clips held out in cross-validation. Epochs that follow start from the fitted
classifier: probing first keeps fine-tuning from distorting the features (Kumar et al., ICLR 2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from recipes.config import Recipe, Stage
from recipes.reports import calibration
from recipes.trainers import frozen
from zoo import layers
from zoo.shared.errors import UserError

_FOLDS = 5  # of the cross-validation


def check(model: tf.keras.Model, stage: Stage) -> None:
    """Raises ``UserError`` if a stage has a linear probe and its model has no single linear classifier at its end."""
    heads = _heads(model)
    if stage.linear_probe and not (_is_linear(heads) and heads[0] in model.layers):  # not in a network inside it
        raise UserError(
            f"stages.{stage.name}.linear_probe: {model.name} has no single linear classifier at its end, set it to 0"
        )


def fit(model: tf.keras.Model, stored: frozen.StoredFeatures, stage: Stage, recipe: Recipe) -> None:
    """Fits the classifier of a stage's model to the stored features of all training clips and views.

    Args:
        model: The stage's model; the weights of its classifier change.
        stored: The stored features.
        stage: The stage; ``linear_probe`` is the inverse weight of the L2 penalty, per clip.
        recipe: Its recipe.
    """
    (classifier,) = _heads(model)
    features, labels = stored.read_by(classifier)  # [V * N, D], [V * N]
    if len(np.unique(labels)) < 2:
        raise UserError(
            f"stages.{stage.name}.linear_probe: all training clips are of one class, convert clips of another"
        )
    is_balanced = recipe.data.balance == "classes" or stage.class_weights == "balanced"
    probe = regression(stage.linear_probe, stage.cache_frozen, is_balanced)
    temperature = 1.0
    if not stage.epochs:  # further epochs change the scale, and high probabilities would leave them little to learn
        temperature = cross_validated_temperature(probe, features, labels, views=stage.cache_frozen)
    fitted = probe.fit(features, labels)
    print(
        f"{stage.name}: classifier fitted by logistic regression to {len(labels) // stage.cache_frozen} clips in "
        f"{stage.cache_frozen} views, {100 * fitted.score(features, labels):.1f} % of them right, "
        f"temperature {temperature:.2f}",
        flush=True,
    )
    scaler, logistic = (step for _, step in fitted.steps)
    weights = _rows(logistic, classifier.get_weights()[1].size)
    kernel, bias = unstandardised(*weights, mean=scaler.mean_, scale=scaler.scale_)
    shape = classifier.get_weights()[0].shape
    classifier.set_weights([kernel.reshape(shape) / temperature, bias / temperature])


def regression(inverse_weight: float, views: int, is_balanced: bool) -> Any:
    """Logistic regression of standardised features, a scikit-learn pipeline that is not fitted yet.

    Args:
        inverse_weight: Inverse weight of the L2 penalty, per clip.
        views: Number of views of a clip; the penalty per clip does not depend on it.
        is_balanced: Whether every class weighs the same, however many clips it has.
    """
    from sklearn import linear_model, pipeline, preprocessing

    weights = "balanced" if is_balanced else None
    logistic = linear_model.LogisticRegression(C=inverse_weight / views, class_weight=weights, max_iter=1000)
    return pipeline.make_pipeline(preprocessing.StandardScaler(), logistic)


def cross_validated_temperature(model: Any, features: np.ndarray, labels: np.ndarray, *, views: int) -> float:
    """The temperature that calibrates a classifier on clips that it was not fitted to.

    Args:
        model: A scikit-learn classifier; it is fitted anew in each fold.
        features: ``[V * N, D]``, view after view.
        labels: ``[V * N]``.
        views: Views V of a clip; all of them are in one fold.

    Returns:
        T; 1 where a class has a single clip. Where all held-out clips are right, it is the lowest of the search, which
        fits them better than 1 if the penalty is strong.
    """
    from sklearn import base, model_selection

    count = len(labels) // views
    folds = min(_FOLDS, *np.unique(labels[:count], return_counts=True)[1])
    if folds < 2:
        return 1.0
    clips = np.tile(np.arange(count), views)
    scores = np.zeros((len(labels), labels.max() + 1))
    splits = model_selection.StratifiedKFold(folds, shuffle=True, random_state=0).split(clips[:count], labels[:count])
    for _, held_out in splits:
        is_held_out = np.isin(clips, held_out)
        fitted = base.clone(model).fit(features[~is_held_out], labels[~is_held_out])
        scores[np.ix_(is_held_out, fitted.classes_)] = fitted.predict_proba(features[is_held_out])
    return calibration.fit_temperature(labels, scores)


def unstandardised(
    kernel: np.ndarray, bias: np.ndarray, *, mean: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The linear map of features that equals the map ``kernel``, ``bias`` of their standardised values.

    Args:
        kernel: ``[D, C]``.
        bias: ``[C]``.
        mean: Mean of the features, ``[D]``.
        scale: Their standard deviation, ``[D]``.

    Returns:
        ``[D, C]`` and ``[C]``.

    Example:
        >>> kernel, bias = unstandardised(np.ones((1, 1)), np.zeros(1), mean=np.array([4.0]), scale=np.array([2.0]))
        >>> kernel.tolist(), bias.tolist()  # (x - 4) / 2
        ([[0.5]], [-2.0])
    """
    kernel = kernel / scale[:, np.newaxis]
    return kernel, bias - mean @ kernel


def _heads(model):
    return [layer for layer in layers.every_layer(model) if layers.is_head(layer)]


def _is_linear(heads):
    """Whether there is one head, a Dense layer or a convolution of single positions."""
    if len(heads) != 1 or len(heads[0].get_weights()) != 2:
        return False
    (head,) = heads
    return isinstance(head, tf.keras.layers.Dense) or (
        isinstance(head, tf.keras.layers.Conv3D) and set(head.kernel_size) == {1}
    )


def _rows(regression, num_classes):
    """Kernel ``[D, C]`` and bias ``[C]``; scikit-learn has one row for two classes, none for a class without clips."""
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(coefficients) == 1:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    kernel = np.zeros((coefficients.shape[1], num_classes))
    bias = np.full(num_classes, intercepts.min() - 10.0)  # of a class that no clip shows
    kernel[:, regression.classes_] = coefficients.T
    bias[regression.classes_] = intercepts
    return kernel, bias
