"""Two-level fusion: appearance, motion and poses, each by its own features, fused early and late by SVMs.

Das et al., MMM 2019 (MMM19) and AVSS 2018 (AVSS18); PhD20 chapter 3. This method is no network but a scikit-learn
estimator, :class:`TwoLevelFusion`.

TensorFlow is imported when features are first computed, not here.
"""

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from typing import Annotated, Any, Callable, ClassVar, Literal, Optional, Union

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit
from sklearn.utils.validation import check_is_fitted

from zoo.checks import Constraint, Multiplier, Weight, ZooError, check_choice
from zoo.fusion.appearance import AppearanceFeatures
from zoo.fusion.clip import Clip, Region
from zoo.fusion.compute import BATCH, Cache, Seed, check_parameters, in_batches
from zoo.fusion.motion import MotionFeatures
from zoo.fusion.options import FLAT_OPTIONS, nested_options, warn_of_flat
from zoo.fusion.pose import PoseFeatures
from zoo.fusion.svm import SVM, CalibratedSVM
from zoo.papers import Row
from zoo.shared import messages

Cue = Literal["appearance", "motion", "pose"]
CUES: tuple[Cue, ...] = ("appearance", "motion", "pose")
Fusion = Literal["two_level", "early"]
FEATURE_SETS = (*CUES, "early_fusion")
"""What an SVM can be trained on: one cue's features, or appearance and motion side by side."""

PARTS = {"appearance": AppearanceFeatures, "motion": MotionFeatures, "pose": PoseFeatures}
"""Cue -> class of its transformer."""

_ALPHAS = np.linspace(0, 1, 21)


def _splits(value):
    return hasattr(value, "split") and not isinstance(value, str)


Fraction = Annotated[float, Constraint("a fraction between 0 and 1", lambda value: 0 < value < 1)]
Splitter = Annotated[Any, Constraint("a splitter", _splits)]
Validation = Union[Fraction, Splitter]
"""Which clips validate: a fraction, or a splitter of ``sklearn.model_selection``."""


def late_fusion(early: np.ndarray, pose: np.ndarray, alpha: float) -> np.ndarray:
    """s = alpha P1 + (1 - alpha) P3 (MMM19), with P1 from the early fusion and P3 from the poses, ``[N, C]`` each.

    s = P1 where P3 is all zeros, that is for a clip without a pose.

    Example:
        >>> late_fusion(np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]]), 0.75).round(3).tolist()
        [[0.7, 0.3]]
    """
    return np.where(pose.any(axis=1, keepdims=True), alpha * early + (1 - alpha) * pose, early)


def _has_pose(clips):
    """``[N]`` bool: whether a clip has a known pose."""
    return np.array([np.any(clip.poses) for clip in clips])


def confused_pairs(confusion: np.ndarray, threshold: float) -> list[tuple[int, int, float]]:
    """Pairs of similar classes: those with C(i, j) + C(j, i) >= threshold (MMM19).

    Args:
        confusion: ``[C, C]`` fractions of each true class (row) that are recognised as each class (column).
        threshold: The papers' epsilon.

    Returns:
        ``[(i, j, C(i, j) + C(j, i))]`` with i < j, the most confused first.

    Example:
        >>> confused_pairs(np.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]]), 0.44)
        [(0, 1, 0.5)]
    """
    both = confusion + confusion.T
    pairs = [(int(i), int(j), float(both[i, j])) for i, j in zip(*np.triu_indices_from(both, 1))]
    # Rounding may put a sum of fractions such as 0.1 + 0.2 below a threshold that it should equal.
    return sorted((pair for pair in pairs if pair[2] >= threshold - 1e-9), key=lambda pair: -pair[2])


def _quality(labels, probabilities, classes):
    """The criterion of all choices: accuracy on validation clips; if equal, the smaller cross-entropy."""
    cross_entropy = log_loss(labels, np.clip(probabilities, 1e-12, 1), labels=classes)
    return accuracy_score(labels, classes[probabilities.argmax(axis=1)]), -cross_entropy


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two classes with an SVM of their own.

    Attributes:
        first: A class.
        second: The other class.
        confusion: C(i, j) + C(j, i) on validation.
        features: Which of :data:`FEATURE_SETS` separates the two classes best on validation; ``late_fusion`` if none is
            as good as the late fusion, whose decision then stays.
        accuracy: Accuracy of ``features`` on the two classes' validation clips.
    """

    first: Any
    second: Any
    confusion: float
    features: str
    accuracy: float


class TwoLevelFusion(ClassifierMixin, BaseEstimator):
    """Two-level fusion of appearance, short-term motion and poses, with an SVM for each pair of similar classes.

    Das et al., MMM 2019; PhD20 chapter 3.
    ::

        pictures ─► 2D CNN, best region ──► F1 ─┐
        pictures ─► dense trajectories ───► F2 ─┴─► SVM ─► P1 ─┐
        poses    ─► LSTMs ────────────────► F3 ───► SVM ─► P3 ─┴─► s = a P1 + (1 - a) P3 ─► one of a similar pair?
                                                                                            its own SVM decides

    The region of F1, the weight a, the similar pairs and the features of their SVMs are chosen on validation clips,
    which are set aside from the training clips; between equal accuracies the smaller cross-entropy decides. A pair's
    SVM is not used if it separates the two classes worse on these clips than the late fusion does; the papers do not
    mention this. A class that belongs to several pairs is first compared with the partner that has the highest score.
    Decisions are repeated until no pair applies to the chosen class (PhD20 section 3.3.3). Each pair's SVM decides at
    most once about a clip, so three classes cannot beat each other in a cycle.

    Args:
        appearance: The features F1, whose region is chosen from ``regions``; ``None``: :class:`AppearanceFeatures` with
            its defaults.
        motion: The features F2; ``None``: :class:`MotionFeatures` with its defaults.
        pose: The features F3; ``None``: :class:`PoseFeatures` with its defaults.
        fusion: ``two_level``; or ``early``, a baseline (PhD20 table 3.2): one SVM on the concatenated features of all
            cues, without late fusion and similar pairs.
        cues: The cues whose features ``early`` concatenates. For a single cue, such as ``("motion",)``, the SVM is
            trained on its features alone.
        regions: Regions that F1 is chosen from; ``None``: those of the first clip.
        svm: ``linear``: scikit-learn's ``LinearSVC`` with all features in memory. ``sgd``: stochastic gradients over
            batches read from the cache, for sets that do not fit into memory; it needs ``memory``.
        penalty: The SVMs' C.
        epsilon: Confusion from which two classes are similar: 0.1 on NTU RGB+D, 0.44 on CAD-120 (MMM19).
        validation: Fraction of the clips to set aside: stratified, with at least one clip per class; or whole groups if
            ``fit`` is given groups. Or a splitter of ``sklearn.model_selection``, whose first split is used.
        memory: Folder of the cache, or a ``joblib.Memory``, for the parts that have no cache of their own. Features are
            stored by clip and by the parameters that they depend on, and are never computed twice; a file is complete
            or absent. ``None``: only a temporary cache while fitting.
        random_state: Seed of all random draws, also for the parts that have no seed of their own.
        **flat: Parameters of the parts by their former names (:data:`zoo.fusion.options.FLAT_OPTIONS`); they give a
            ``FutureWarning``.

    Attributes:
        classes_: The classes.
        region_: The region of F1; ``None`` without it.
        region_scores_: Region -> accuracy of F1's SVM on validation.
        alpha_: Weight a of the early fusion; ``None`` without late fusion.
        pairs_: The similar classes, a list of :class:`Pair`.
        cue_scores_: Accuracy on validation of ``appearance``, ``motion``, ``pose``, ``early_fusion``,
            ``late_fusion`` and ``two_level_fusion`` (with the pairs' SVMs), as far as the estimator has them.
        validation_: Indices of the validation clips.
        appearance_: The fitted transformer of F1; ``None`` if the cue is not used.
        motion_: The fitted transformer of F2; ``None`` if the cue is not used.
        pose_: The fitted transformer of F3; ``None`` if the cue is not used.

    Example:
        >>> estimator = TwoLevelFusion(AppearanceFeatures(network="mobilenet_v2"), epsilon=0.44)
        >>> estimator = clone(estimator).set_params(penalty=10.0, pose__lstm_units=128)
        >>> estimator.get_params()["appearance__network"], estimator.penalty, estimator.pose.lstm_units
        ('mobilenet_v2', 10.0, 128)
        >>> estimator.fit(clips, labels).predict(more_clips)  # doctest: +SKIP
        array(['drink', 'phone call', ...
    """

    paper: ClassVar[str] = "MMM19"
    """Key of :data:`zoo.papers.PAPERS`."""

    reported: ClassVar[tuple[Row, ...]] = (
        Row({"cad60/loso": 98.52, "cad120/loso": 94.40, "msr_daily/loso": 97.81}, when={"fusion": "two_level"}),
        Row({"ntu60/cs": 87.09}, when={"fusion": "two_level", "appearance__network": "resnet152_v2"}),
        Row({"ntu60/cs": 84.95}, of="without the SVMs of similar pairs", when=None),
        Row(
            {"ntu60/cs": 92.2},
            of="appearance by I3D",
            source="PhD20",
            when={"fusion": "two_level", "appearance__network": "i3d"},
        ),
        Row(
            {"smarthome/cs": 41.9, "smarthome/cv1": 20.9, "smarthome/cv2": 23.7},
            of="dense trajectories alone",
            when={"fusion": "early", "cues": ("motion",)},
        ),
    )
    """The rows that the papers report."""

    def __init__(
        self,
        appearance: Optional[AppearanceFeatures] = None,
        motion: Optional[MotionFeatures] = None,
        pose: Optional[PoseFeatures] = None,
        *,
        fusion: Fusion = "two_level",
        cues: tuple[Cue, ...] = CUES,
        regions: Optional[tuple[Region, ...]] = None,
        svm: SVM = "linear",
        penalty: Multiplier = 1.0,
        epsilon: Weight = 0.1,
        validation: Validation = 0.1,
        memory: Cache = None,
        random_state: Seed = 0,
        **flat: Any,
    ):
        self.appearance = appearance
        self.motion = motion
        self.pose = pose
        self.fusion = fusion
        self.cues = cues
        self.regions = regions
        self.svm = svm
        self.penalty = penalty
        self.epsilon = epsilon
        self.validation = validation
        self.memory = memory
        self.random_state = random_state
        if flat:
            for option in flat:
                check_choice("parameter", option, [*self.get_params(deep=False), *FLAT_OPTIONS])
            warn_of_flat(flat)
            self._set(flat)

    @classmethod
    def from_options(cls, **options: Any) -> "TwoLevelFusion":
        """The estimator of a recipe's options, by flat names (:data:`zoo.fusion.options.FLAT_OPTIONS`) or nested ones.

        Raises:
            ZooError: There is no such option, or one is given twice.

        Example:
            >>> TwoLevelFusion.from_options(network="mobilenet_v2", epsilon=0.44)
            TwoLevelFusion(appearance=AppearanceFeatures(network='mobilenet_v2'),
                           epsilon=0.44)
        """
        estimator = cls()
        valid = estimator.get_params()
        for option in options:
            if option not in valid and option not in FLAT_OPTIONS:
                own = [name for name in valid if "__" not in name and name not in PARTS]
                names = valid if "__" in option else [*FLAT_OPTIONS, *own]
                raise ZooError(f"two_level_fusion has no option {option!r}{messages.nearest(option, names)}")
        return estimator._set(options)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters; with ``deep`` also those of the parts, which for a part that is ``None`` are the defaults."""
        params = super().get_params(deep)
        if deep:
            for name, part in PARTS.items():
                if params[name] is None:
                    params.update({f"{name}__{option}": value for option, value in part().get_params().items()})
        return params

    def set_params(self, **params: Any) -> "TwoLevelFusion":
        """Sets parameters, also those of the parts, such as ``pose__lstm_units``."""
        warn_of_flat(params)
        return self._set(params)

    def _set(self, options):
        """Sets parameters by flat or nested names; a part that is ``None`` becomes the default one first."""
        params = nested_options(options)
        for name, part in PARTS.items():
            nested = any(option.startswith(f"{name}__") for option in params)
            if nested and params.get(name, getattr(self, name)) is None:
                params[name] = part()
        return super().set_params(**params)

    def __setstate__(self, state):
        """Also reads an estimator that an earlier version saved, which had its parts' parameters itself."""
        flat = {option: value for option, value in state.items() if option in FLAT_OPTIONS}
        if flat:
            parts = TwoLevelFusion.from_options(**flat)
            kept = {name: value for name, value in state.items() if name not in flat}
            state = {**{name: getattr(parts, name) for name in PARTS}, **kept}
        super().__setstate__({"fusion": "two_level", "cues": CUES, **state})

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags

    # ---- fitting

    def fit(
        self, X: Sequence[Clip], y: Union[Sequence, np.ndarray], groups: Union[Sequence, np.ndarray, None] = None
    ) -> "TwoLevelFusion":
        """Trains the estimator.

        Args:
            X: Sequence of N :class:`Clip`.
            y: ``[N]`` classes, of any type.
            groups: ``[N]`` groups of the clips, such as subjects: no group is on both sides of the validation split.

        Returns:
            The estimator.

        Raises:
            ZooError: A parameter is wrong, the clips lack a region, or there are too few of them.
        """
        clips = list(X)
        self._check(clips, y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        train, self.validation_ = self._split(codes, groups)
        with tempfile.TemporaryDirectory() as folder:
            memory = folder if self.memory is None else self.memory
            self._fit_cues(clips, codes, train, memory)
            self._fit_fusion(clips, codes, train)
        self._use_memory()
        return self

    def prepare(self, X: Sequence[Clip], on_clip: Optional[Callable[[], Any]] = None) -> None:
        """Fills the cache with what depends on clips but not on training: features of frames, and trajectories.

        Args:
            X: Sequence of :class:`Clip`.
            on_clip: Called without arguments after every clip.

        Raises:
            ZooError: There is no cache, or a parameter is wrong.
        """
        if self.memory is None:
            raise ZooError("memory is None, expected the folder of a cache that features are prepared in")
        clips = list(X)
        self._check(clips)
        appearance = self._part("appearance", self.memory)
        extractors = [clone(appearance).set_params(region=region) for region in self._regions(clips)]
        if "motion" in self.cues:
            extractors.append(self._part("motion", self.memory))
        for clip in clips:
            for extractor in extractors:
                extractor.extract(clip)
            if on_clip:
                on_clip()

    def check_parameters(self) -> "TwoLevelFusion":
        """Returns the estimator itself; raises ``ZooError`` if a parameter is wrong, and the message names it."""
        check_parameters("two_level_fusion", self)
        if self.svm == "sgd" and self.memory is None:
            raise ZooError("svm sgd reads features from the cache again and again: set memory to its folder")
        if not self.cues or len(set(self.cues)) < len(self.cues):
            raise ZooError(f"cues is {list(self.cues)}, expected one or more of {', '.join(CUES)}, each once")
        if self.fusion == "two_level" and set(self.cues) != set(CUES):
            raise ZooError(f"fusion two_level has all cues, {', '.join(CUES)}: leave cues out, or set fusion to early")
        for name in self.cues:
            self._part(name).check_parameters()
        return self

    @property
    def level(self) -> str:
        """The level of fusion, or the only cue, whose scores the estimator returns: a key of ``cue_scores_``."""
        if self.fusion == "two_level":
            return "two_level_fusion"
        return "early_fusion" if len(self.cues) > 1 else self.cues[0]

    def _feature_sets(self):
        """The feature sets that SVMs are trained on: each cue's features, and the concatenated ones of several cues."""
        return tuple(dict.fromkeys((*self.cues, "early_fusion" if self.fusion == "two_level" else self.level)))

    def _part(self, name, memory=None):
        """An unfitted copy of a part, with the cache and the seed of the whole if it has none of its own."""
        chosen = getattr(self, name)
        part = PARTS[name]() if chosen is None else clone(chosen)
        own = part.get_params(deep=False)
        shared = {"memory": memory, "random_state": self.random_state}
        return part.set_params(**{key: value for key, value in shared.items() if key in own and own[key] is None})

    def _check(self, clips, y=None):
        """Checks parameters, clips and labels before the computation, which may take hours, begins."""
        self.check_parameters()
        needed = {*self._regions(clips), *([self._part("motion").region] if "motion" in self.cues else [])}
        for clip in clips:
            missing = needed - set(clip.regions)
            if missing:
                raise ZooError(
                    f"clip {clip.id} has no region {sorted(missing)[0]!r}, set regions to those that all clips have"
                )
        ids = {clip.id for clip in clips}
        if len(ids) != len(clips):
            raise ZooError(f"{len(clips)} clips have {len(ids)} ids, expected one for each: the cache is named by them")
        if y is None:
            return
        if len(y) != len(clips):
            raise ZooError(f"{len(clips)} clips but {len(y)} labels: give one label per clip")
        classes, counts = np.unique(y, return_counts=True)
        if len(classes) < 2:
            raise ZooError(f"the labels hold {len(classes)} class, expected at least 2")
        if counts.min() < 3:
            rare = classes[counts.argmin()]
            raise ZooError(
                f"class {rare!r} has {counts.min()} clips, expected at least 3: 2 to train and 1 to validate"
            )

    def _regions(self, clips):
        """The regions that F1 is chosen from."""
        if not clips:
            raise ZooError("there are no clips, expected at least some of every class")
        return tuple(self.regions or clips[0].regions) if "appearance" in self.cues else ()

    def _split(self, codes, groups):
        """Indices of the clips to train on and to validate on."""
        splitter = self.validation
        if not hasattr(splitter, "split"):
            fraction = max(math.ceil(splitter * len(codes)), len(self.classes_)) / len(codes)
            kind = StratifiedShuffleSplit if groups is None else GroupShuffleSplit
            size = splitter if groups is not None else round(fraction * len(codes))
            splitter = kind(1, test_size=size, random_state=self.random_state)
        train, validation = next(splitter.split(np.zeros((len(codes), 1)), codes, groups))
        counts = np.bincount(codes[train], minlength=len(self.classes_))
        if counts.min() < 2:
            rare = self.classes_[counts.argmin()]
            raise ZooError(f"class {rare!r} has {counts.min()} training clips beside validation, expected at least 2")
        return train, validation

    def _fit_cues(self, clips, codes, train, memory):
        """Fits the cues' features, and chooses the region of F1."""
        seen = [clips[i] for i in train]
        self.appearance_ = self.motion_ = self.pose_ = self.region_ = None
        if "pose" in self.cues:
            posed = self._posed(clips, codes, train)
            self.pose_ = self._part("pose").fit([clips[i] for i in posed], codes[posed])
        if "motion" in self.cues:
            self.motion_ = self._part("motion", memory).fit(seen)
        appearance = self._part("appearance", memory)
        qualities, candidates = {}, {}
        for region in self._regions(clips):
            candidates[region] = clone(appearance).set_params(region=region).fit(seen)
            read = self._reader([candidates[region]], clips)
            svm = self._svm().fit(read, train, codes[train])
            scores = in_batches(lambda batch: svm.probabilities(read(batch)), self.validation_)  # noqa: B023
            qualities[region] = _quality(codes[self.validation_], scores, np.arange(len(self.classes_)))
        self.region_scores_ = {region: quality[0] for region, quality in qualities.items()}
        if qualities:
            self.region_ = max(qualities, key=qualities.get)
            self.appearance_ = candidates[self.region_]

    def _fit_fusion(self, clips, codes, train):
        """Fits the SVMs of the cues and of the early fusion, the weight a, and the similar pairs' SVMs."""
        sets = self._feature_sets()
        read = {name: self._reader(self._transformers(name), clips) for name in sets}
        of = {name: self._posed(clips, codes, train) if name == "pose" else train for name in sets}
        self.svms_ = {name: self._svm().fit(read[name], of[name], codes[of[name]]) for name in sets}
        classes, labels = np.arange(len(self.classes_)), codes[self.validation_]
        scores = {
            name: in_batches(lambda batch: self.svms_[name].probabilities(read[name](batch)), self.validation_)  # noqa: B023
            for name in sets
        }
        if self.fusion == "early":
            self.alpha_, self.pairs_, self.discriminators_ = None, [], {}
            self.cue_scores_ = {name: accuracy_score(labels, s.argmax(axis=1)) for name, s in scores.items()}
            return
        has_pose = _has_pose([clips[i] for i in self.validation_])
        scores["pose"][~has_pose] = 0.0
        early, pose = scores["early_fusion"], scores["pose"]
        qualities = [_quality(labels, late_fusion(early, pose, alpha), classes) for alpha in _ALPHAS]
        self.alpha_ = float(_ALPHAS[max(range(len(_ALPHAS)), key=qualities.__getitem__)])
        late = late_fusion(early, pose, self.alpha_)
        confusion = confusion_matrix(labels, late.argmax(axis=1), labels=classes, normalize="true")
        self.pairs_, self.discriminators_, self.repeats_ = [], {}, True
        for first, second, confused in confused_pairs(confusion, self.epsilon):
            pair = [first, second]
            features, accuracy, svm = self._discriminator(read, codes, of, pair)
            of_pair = np.isin(labels, pair)
            without = accuracy_score(labels[of_pair], np.take(pair, late[of_pair][:, pair].argmax(axis=1)))
            if accuracy >= without:
                self.discriminators_[first, second] = features, svm
            else:
                features, accuracy = "late_fusion", without
            names = self.classes_[first], self.classes_[second]
            self.pairs_.append(Pair(*names, confusion=confused, features=features, accuracy=accuracy))
        features = {name: read[name](self.validation_) for name in {f for f, _ in self.discriminators_.values()}}
        scores.update(late_fusion=late, two_level_fusion=self._discriminate(late, features, has_pose))
        self.cue_scores_ = {name: accuracy_score(labels, s.argmax(axis=1)) for name, s in scores.items()}

    def _posed(self, clips, codes, train):
        """The training clips that have a pose; the pose cue is trained on these."""
        posed = train[_has_pose([clips[i] for i in train])]
        counts = np.bincount(codes[posed], minlength=len(self.classes_))
        if counts.min() < 2:
            rare = self.classes_[counts.argmin()]
            raise ZooError(f"class {rare!r} has {counts.min()} training clips with a pose, expected at least 2")
        return posed

    def _discriminator(self, read, codes, train, pair):
        """``(feature set, its accuracy, SVM)`` that separates two classes best; ``train``: feature set -> clips."""
        best = None
        for name in FEATURE_SETS:
            of_pair = [indices[np.isin(codes[indices], pair)] for indices in (train[name], self.validation_)]
            svm = self._svm().fit(read[name], of_pair[0], codes[of_pair[0]])
            scores = svm.probabilities(read[name](of_pair[1]))
            quality = _quality(codes[of_pair[1]], scores, np.array(pair))
            if best is None or quality > best[0]:
                best = quality, name, svm
        return best[1], best[0][0], best[2]

    def _svm(self):
        return CalibratedSVM(self.svm, self.penalty, self.random_state)

    def _transformers(self, name):
        fitted = {"appearance": self.appearance_, "motion": self.motion_, "pose": self.pose_}
        if name != "early_fusion":
            return [fitted[name]]
        joined = self.cues if self.fusion == "early" else CUES[:2]
        return [fitted[cue] for cue in CUES if cue in joined]

    def _reader(self, transformers, clips):
        """A function from indices of clips to their features, side by side ``[n, D]``."""

        def read(indices):
            chosen = [clips[i] for i in indices]
            return np.hstack([transformer.transform(chosen) for transformer in transformers])

        if self.svm == "sgd":
            return read
        features = read(range(len(clips)))
        return features.__getitem__

    # ---- predicting

    def predict(self, X: Sequence[Clip]) -> np.ndarray:
        """``[N]`` classes of N clips."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: Sequence[Clip]) -> np.ndarray:
        """``[N, C]`` scores that add up to 1, columns in the order of ``classes_``.

        Where a pair's SVM contradicts the late fusion, the two classes' scores are exchanged, once per such decision.
        """
        return self.cue_probabilities(X)[self.level]

    def cue_probabilities(self, X: Sequence[Clip]) -> dict[str, np.ndarray]:
        """The scores of every cue and of every level of fusion.

        Args:
            X: Sequence of N :class:`Clip`.

        Returns:
            ``appearance``, ``motion``, ``pose``, ``early_fusion``, ``late_fusion``, ``two_level_fusion`` -> ``[N, C]``;
            with ``fusion="early"`` only the chosen cues, and ``early_fusion`` if there are several.
        """
        check_is_fitted(self)
        self._use_memory()
        clips = list(X)
        parts = [self._batch_probabilities(clips[i : i + BATCH]) for i in range(0, len(clips), BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _batch_probabilities(self, clips):
        features = {cue: self._transformers(cue)[0].transform(clips) for cue in CUES if cue in self.cues}
        joined = [cue for cue in features if self.fusion == "early" or cue != "pose"]
        features["early_fusion"] = np.hstack([features[cue] for cue in joined])
        scores = {name: self.svms_[name].probabilities(features[name]) for name in self._feature_sets()}
        if self.fusion == "early":
            return scores
        has_pose = _has_pose(clips)
        scores["pose"][~has_pose] = 0.0
        scores["late_fusion"] = late_fusion(scores["early_fusion"], scores["pose"], self.alpha_)
        scores["two_level_fusion"] = self._discriminate(scores["late_fusion"], features, has_pose)
        return scores

    def _discriminate(self, scores, features, has_pose):
        """Late fusion's scores after the similar pairs' SVMs have decided.

        Args:
            scores: ``[N, C]``.
            features: Feature set -> ``[N, D]``.
            has_pose: ``[N]`` bool; for a clip without a pose, an SVM on pose features decides nothing.

        Returns:
            ``[N, C]``.
        """
        out = scores.copy()
        for row, found in enumerate(scores.argmax(axis=1)):
            left = list(self.discriminators_)
            while pairs := [pair for pair in left if found in pair]:
                partners = [scores[row, sum(pair) - found] for pair in pairs]
                pair = pairs[int(np.argmax(partners))]
                left.remove(pair)
                name, svm = self.discriminators_[pair]
                if name != "pose" or has_pose[row]:
                    decided = pair[int(svm.probabilities(features[name][row : row + 1]).argmax())]
                    out[row, [found, decided]] = out[row, [decided, found]]
                    found = decided
                if not getattr(self, "repeats_", False):  # fitted by an earlier version, which decided once
                    break
        return out

    def _use_memory(self):
        """Gives the fitted parts the cache that is currently set."""
        for name, transformer in (("appearance", self.appearance_), ("motion", self.motion_)):
            if transformer is not None:
                transformer.set_params(memory=self._part(name, self.memory).memory)
