"""Linear SVMs with probabilities, for features that fit into memory and for those that do not."""

import math
from collections.abc import Sequence
from typing import Callable, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.svm import LinearSVC

from zoo.fusion.compute import BATCH, in_batches

SVM = Literal["linear", "sgd"]
"""How an SVM is trained (:class:`CalibratedSVM`)."""

_SGD_EPOCHS = 10


class PrincipalAxesSVC(LinearSVC):
    """``LinearSVC`` on centred features, solved along their principal axes.

    An SVM's normal lies in the space that its samples span, so nothing is lost: for 300 clips, 25,000 features become
    300 to iterate over.
    """

    coef_: np.ndarray
    intercept_: np.ndarray

    def fit(self, X: np.ndarray, y: np.ndarray) -> "PrincipalAxesSVC":
        """Trains; ``coef_`` and ``intercept_`` apply to the original features."""
        axes = PCA(random_state=self.random_state).fit(X)
        super().fit(axes.transform(X), y)
        self.coef_ = self.coef_ @ axes.components_
        self.intercept_ = self.intercept_ - self.coef_ @ axes.mean_
        self.n_features_in_ = X.shape[1]
        return self


class CalibratedSVM:
    """A linear SVM with probabilities, over features that are read by the indices of clips.

    Args:
        kind: ``linear``: ``LinearSVC`` on all features at once, calibrated by cross-validation. ``sgd``: the same
            loss by stochastic gradients over batches, calibrated on a tenth of the clips, left out of the training.
        penalty: The SVM's C.
        random_state: Seed.
    """

    def __init__(self, kind: SVM, penalty: float, random_state: int):
        self.kind, self.penalty, self.random_state = kind, penalty, random_state

    def fit(
        self, read: Callable[[Sequence[int]], np.ndarray], indices: Sequence[int], labels: Sequence[int]
    ) -> "CalibratedSVM":
        """Trains on some clips.

        Args:
            read: A function from indices of clips to their features ``[n, D]``.
            indices: The clips to train on.
            labels: Their classes.

        Returns:
            The SVM.
        """
        (self._fit_linear if self.kind == "linear" else self._fit_sgd)(read, np.asarray(indices), np.asarray(labels))
        return self

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """``[N, classes]`` of features ``[N, D]``."""
        return self.calibrated.predict_proba(self.svm.decision_function(features) if self.svm else features)

    def _fit_linear(self, read, indices, labels):
        folds = StratifiedKFold(min(3, np.unique(labels, return_counts=True)[1].min()))
        svm = PrincipalAxesSVC(C=self.penalty, random_state=self.random_state, max_iter=10_000)
        self.svm = None
        self.calibrated = CalibratedClassifierCV(svm, ensemble=False, cv=folds).fit(read(indices), labels)

    def _fit_sgd(self, read, indices, labels):
        classes = np.unique(labels)
        held_out = max(len(classes), math.ceil(len(labels) / 10))
        split = StratifiedShuffleSplit(1, test_size=held_out, random_state=self.random_state)
        ((train, calibration),) = split.split(labels, labels)
        # LinearSVC's C weighs the sum of losses, SGDClassifier's alpha the regularisation against their mean.
        self.svm = SGDClassifier(
            loss="hinge", alpha=1 / (self.penalty * len(train)), average=True, random_state=self.random_state
        )
        rng = np.random.default_rng(self.random_state)
        for _ in range(_SGD_EPOCHS):
            order = rng.permutation(train)
            for i in range(0, len(order), BATCH):
                batch = order[i : i + BATCH]
                self.svm.partial_fit(read(indices[batch]), labels[batch], classes)
        decisions = in_batches(lambda batch: self.svm.decision_function(read(batch)), indices[calibration])
        everything = np.arange(len(calibration))
        self.calibrated = CalibratedClassifierCV(
            FrozenEstimator(Decisions(classes)), ensemble=False, cv=[(everything, everything)]
        ).fit(decisions, labels[calibration])


class Decisions(ClassifierMixin, BaseEstimator):
    """A classifier whose input is decision values: it passes them on to their calibration."""

    def __init__(self, classes_: np.ndarray):
        self.classes_ = classes_

    def fit(self, X: np.ndarray, y: np.ndarray) -> "Decisions":
        """Does nothing: the decisions are made."""
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """``X``."""
        return X

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The classes decided for."""
        return self.classes_[X.argmax(axis=1) if X.ndim > 1 else (X > 0).astype(int)]
