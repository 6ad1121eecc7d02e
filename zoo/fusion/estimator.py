"""Two-level fusion: appearance, motion and poses, each by its own features, fused early and late by SVMs.

Das et al., MMM 2019 (MMM19) and AVSS 2018 (AVSS18); PhD20 chapter 3. This method is no network but an estimator of
scikit-learn's kind; :class:`TwoLevelFusion` is its entry point.

TensorFlow is imported when features are first computed, not here.
"""

import dataclasses
import functools
import hashlib
import math
import pathlib
import tempfile
from collections.abc import Mapping

import joblib
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from sklearn.model_selection import GroupShuffleSplit, StratifiedKFold, StratifiedShuffleSplit
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted, check_memory

from zoo import checks
from zoo.checks import ZooError, check_choice
from zoo.fusion import dense_trajectories

REGIONS = ("left_hand", "right_hand", "upper_body", "full_body", "full_image")
CUES = ("appearance", "motion", "pose")
FEATURE_SETS = (*CUES, "early_fusion")
"""What an SVM can be trained on: one cue's features, or appearance and motion side by side."""

SVMS = ("linear", "sgd")
DIFFERENCE = 4  # frames between which features are subtracted (P-CNN: Chéron et al., ICCV 2015, section 3)
_DESCRIPTORS = tuple(dense_trajectories.HISTOGRAMS)
_BATCH = 64  # frames, clips or pose sequences computed at once
_ALPHAS = np.linspace(0, 1, 21)
_SGD_EPOCHS = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
    """One clip: an item of ``X``.

    Attributes:
        id: Names the clip in the cache; no other clip of whatever dataset may have it.
        regions: Name (of :data:`REGIONS`) -> pictures ``[T, H, W, 3]`` uint8 RGB, or a function without arguments
            that gives them. They are asked for only when a feature is not in the cache.
        poses: ``[T, M, J, 3]`` float32, normalised; every frame's.

    Example:
        >>> still = np.zeros((5, 32, 32, 3), "uint8")
        >>> clip = Clip("a01", {"full_body": lambda: still}, np.zeros((5, 1, 20, 3), "float32"))
        >>> clip.frames("full_body").shape
        (5, 32, 32, 3)
    """

    id: str
    regions: Mapping
    poses: np.ndarray

    def frames(self, region):
        """The pictures of a region; ``ZooError`` if the clip has none."""
        if region not in self.regions:
            raise ZooError(f"clip {self.id} has no region {region!r}, it has {', '.join(self.regions) or 'none'}")
        frames = self.regions[region]
        return frames() if callable(frames) else frames


# -------------------------------------------------------------------------------------------------- F1: appearance


def pool_frames(features):
    """A clip's descriptor from its frames' features (P-CNN: Chéron et al., ICCV 2015, section 3).

    Args:
        features: ``[T, D]``.

    Returns:
        ``[4 D]``: minimum and maximum over time of the features, then of their differences over 4 frames (in a
        shorter clip over as many as there are).

    Example:
        >>> pool_frames(np.array([[0.0], [1.0], [4.0], [2.0], [1.0], [3.0]])).tolist()
        [0.0, 4.0, 1.0, 2.0]
    """
    step = min(DIFFERENCE, len(features) - 1)
    differences = features[step:] - features[: len(features) - step]
    return np.concatenate([pool(x, axis=0) for x in (features, differences) for pool in (np.min, np.max)])


@functools.lru_cache(maxsize=2)
def _frame_features(network, size, weights, seed):
    """A function from pictures ``[T, H, W, 3]`` to features ``[T, D]``."""
    import cv2
    import tensorflow as tf

    from zoo.models import lrcn
    from zoo.pretrained.loading import load_weights

    cnn = lrcn.frame_network(network, size, weights="imagenet" if weights == "imagenet" else None)
    if weights is None:
        _fill(cnn, seed)
    elif weights != "imagenet":
        load_weights(cnn, weights)

    @tf.function(input_signature=[tf.TensorSpec([None, size, size, 3], tf.float32)])
    def compute(pictures):
        return cnn(pictures, training=False)

    def features(frames):
        pictures = np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])
        pictures = pictures.astype(np.float32) / 127.5 - 1.0
        return np.concatenate([compute(pictures[i : i + _BATCH]).numpy() for i in range(0, len(pictures), _BATCH)])

    return features


def _fill(cnn, seed):
    """Random kernels (He et al., ICCV 2015) that depend on nothing but the seed, so that they need not be stored."""
    rng = np.random.default_rng(seed)
    for layer in cnn.layers:
        depthwise = type(layer).__name__ == "DepthwiseConv2D"
        layer.set_weights(
            [
                rng.normal(size=w.shape) * np.sqrt(2 / np.prod(w.shape[:2] if depthwise else w.shape[:-1]))
                if w.ndim > 1
                else w
                for w in layer.get_weights()
            ]
        )


def _appearance(clip_id, region, key, *, clip, network):
    """What is cached of a clip's region: pooled features, and what the mean norm of frames is made of."""
    features = network(clip.frames(region))
    return {
        "pooled": pool_frames(features),
        "norms": float(np.linalg.norm(features, axis=1).sum()),
        "frames": len(features),
    }


class AppearanceFeatures(TransformerMixin, BaseEstimator):
    """F1, the appearance of a region: a 2D CNN on every frame, pooled over time.

    Minimum and maximum over time of the features and of their 4-frame differences (:func:`pool_frames`), divided by
    the mean L2 norm of the training frames' features.

    Args:
        region: One of :data:`REGIONS`. Pictures are resized to a square.
        network: The 2D CNN, one of :data:`zoo.models.lrcn.NETWORKS`. The papers use ResNet-152; this is its second
            version, which takes pixels in [-1, 1] as all models of the zoo.
        size: Height and width of a picture in pixels.
        weights: ``imagenet``; or the path of a weight file of the network (as Keras publishes them without top, or
            saved from the layer ``frame_network`` of an ``lrcn``); ``None``: random, for tests.
        memory: Folder of the cache, or a ``joblib.Memory``; ``None``: nothing is cached.
        random_state: Seed of random weights.

    Attributes:
        norm_: Mean L2 norm of the training frames' features.
    """

    def __init__(
        self, region="full_body", *, network="resnet152_v2", size=224, weights="imagenet", memory=None, random_state=0
    ):
        self.region = region
        self.network = network
        self.size = size
        self.weights = weights
        self.memory = memory
        self.random_state = random_state

    def fit(self, X, y=None):
        """Finds the norm of the training frames' features; ``X`` is a sequence of :class:`Clip`."""
        check_choice("region", self.region, REGIONS)
        found = [self.extract(clip) for clip in X]
        norm = sum(clip["norms"] for clip in found) / sum(clip["frames"] for clip in found)
        self.norm_ = norm if norm > 0 else 1.0
        return self

    def transform(self, X):
        """``[N, 4 D]`` float32."""
        check_is_fitted(self)
        return np.stack([self.extract(clip)["pooled"] for clip in X]).astype(np.float32) / np.float32(self.norm_)

    def extract(self, clip):
        """What depends on the clip alone, from the cache where it is."""
        weights = None if self.weights is None else str(self.weights)
        network = functools.partial(_later, _frame_features, self.network, self.size, weights, self.random_state)
        key = (self.network, self.size, _weights_key(weights, self.random_state))
        cached = _cache(self.memory, _appearance, ["clip", "network"])
        return cached(clip.id, self.region, key, clip=clip, network=network)


def _later(make, *arguments_and_frames):
    """Builds the network when the first feature is not in the cache."""
    *arguments, frames = arguments_and_frames
    return make(*arguments)(frames)


def _weights_key(weights, seed):
    """What the values of a network's weights depend on."""
    if weights is None:
        return f"random {seed}"
    return weights if weights == "imagenet" else _digest(weights)


@functools.lru_cache(maxsize=8)
def _digest(path):
    path = pathlib.Path(path)
    if not path.is_file():
        raise ZooError(f"weights: {path}: no such file, expected a weight file, imagenet or None")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _cache(memory, function, ignored):
    """A function whose results are kept, files being whole or absent; what is ``ignored`` does not name a result."""
    memory = str(memory) if isinstance(memory, pathlib.Path) else memory
    return check_memory(memory).cache(function, ignore=ignored)


# ------------------------------------------------------------------------------------------------------ F2: motion


class FisherVectors(TransformerMixin, BaseEstimator):
    """Fisher vectors of local descriptors, as ICCV13 section 4.2 encodes trajectories (Perronnin et al., ECCV 2010).

    Descriptors are halved in dimension by PCA and described by how they differ from a mixture of K Gaussians; signed
    square root and L2 normalisation follow.

    Args:
        gaussians: Gaussians K.
        random_state: Seed.

    Attributes:
        pca_: The fitted ``sklearn.decomposition.PCA``.
        gmm_: The fitted ``sklearn.mixture.GaussianMixture``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clips = [rng.random((n, 6), "float32") for n in (30, 0, 50)]
        >>> FisherVectors(gaussians=2).fit(clips).transform(clips).shape
        (3, 14)
    """

    def __init__(self, gaussians=256, *, random_state=0):
        self.gaussians = gaussians
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learns PCA and mixture from a sequence of ``[n_i, D]`` descriptors, one array per clip."""
        from skimage.feature import learn_gmm

        descriptors = np.concatenate(list(X))
        components = descriptors.shape[1] // 2
        expected = max(2 * self.gaussians, components)  # as many as PCA has axes
        if len(descriptors) < expected:
            raise ZooError(
                f"{len(descriptors)} descriptors in the training clips, expected at least {expected} for "
                f"{self.gaussians} gaussians: set fewer, or give clips in which more moves"
            )
        self.pca_ = PCA(components, random_state=self.random_state).fit(descriptors)
        arguments = {"covariance_type": "diag", "random_state": self.random_state, "reg_covar": 1e-5}
        halved = self.pca_.transform(descriptors).astype(np.float64)
        self.gmm_ = learn_gmm(halved, n_modes=self.gaussians, gm_args=arguments)
        return self

    def transform(self, X):
        """``[N, 2 K (D // 2) + K]`` float32: gradients to weights, means and variances; zeros without descriptors."""
        from skimage.feature import fisher_vector

        check_is_fitted(self)
        out = np.zeros((len(X), self.gaussians * (2 * self.pca_.n_components_ + 1)), np.float32)
        for row, descriptors in zip(out, X):
            if len(descriptors):
                halved = self.pca_.transform(descriptors).astype(np.float64)
                row[:] = fisher_vector(halved, self.gmm_, improved=True)
        return out


def _trajectories(clip_id, region, track_length, sampling_step, *, clip):
    """What is cached of a clip's trajectories: their histograms, at half precision (they lie between 0 and 1)."""
    found = dense_trajectories.extract(clip.frames(region), track_length=track_length, sampling_step=sampling_step)
    return {name: getattr(found, name).astype(np.float16) for name in _DESCRIPTORS}


def _encode(clip_id, trajectories_key, codebooks_key, *, descriptors, codebooks):
    """A clip's Fisher vectors side by side."""
    found = descriptors()
    return np.concatenate(
        [codebooks[name].transform([found[name].astype(np.float32)])[0] for name in _DESCRIPTORS]
    )  # fmt: skip


class MotionFeatures(TransformerMixin, BaseEstimator):
    """F2, short-term motion: Fisher vectors of the HOG, HOF and MBH along improved dense trajectories.

    Args:
        region: Pictures that are tracked, one of :data:`REGIONS`; the papers track the full image.
        track_length: Steps L of a track; shorter clips have none, and zeros for features.
        sampling_step: Distance of tracked points, pixels.
        gaussians: Gaussians K of a Fisher vector (256 in ICCV13).
        samples: Descriptors that a mixture is learned from, drawn evenly from the training clips (256,000 in ICCV13).
        memory: Folder of the cache, or a ``joblib.Memory``; ``None``: nothing is cached.
        random_state: Seed.

    Attributes:
        codebooks_: Descriptor's name -> fitted :class:`FisherVectors`.
    """

    def __init__(
        self,
        region="full_image",
        *,
        track_length=15,
        sampling_step=5,
        gaussians=256,
        samples=256_000,
        memory=None,
        random_state=0,
    ):
        self.region = region
        self.track_length = track_length
        self.sampling_step = sampling_step
        self.gaussians = gaussians
        self.samples = samples
        self.memory = memory
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learns the mixtures from the trajectories of ``X``, a sequence of :class:`Clip`."""
        check_choice("region", self.region, REGIONS)
        rng = np.random.default_rng(self.random_state)
        share = math.ceil(self.samples / len(X))
        drawn = {name: [] for name in _DESCRIPTORS}
        for clip in X:
            found = self.extract(clip)
            count = len(found[_DESCRIPTORS[0]])
            rows = np.sort(rng.choice(count, min(share, count), replace=False))
            for name in _DESCRIPTORS:
                drawn[name].append(found[name][rows].astype(np.float32))
        self.codebooks_ = {
            name: FisherVectors(self.gaussians, random_state=self.random_state).fit(drawn[name])
            for name in _DESCRIPTORS
        }
        self.codebooks_key_ = joblib.hash(self.codebooks_)
        return self

    def transform(self, X):
        """``[N, D]`` float32: the Fisher vectors of HOG, HOF, MBHx and MBHy side by side."""
        check_is_fitted(self)
        encode = _cache(self.memory, _encode, ["descriptors", "codebooks"])
        return np.stack(
            [
                encode(
                    clip.id,
                    (self.region, self.track_length, self.sampling_step),
                    self.codebooks_key_,
                    descriptors=functools.partial(self.extract, clip),
                    codebooks=self.codebooks_,
                )
                for clip in X
            ]
        )

    def extract(self, clip):
        """What depends on the clip alone, from the cache where it is."""
        cached = _cache(self.memory, _trajectories, ["clip"])
        return cached(clip.id, self.region, self.track_length, self.sampling_step, clip=clip)


# -------------------------------------------------------------------------------------------------------- F3: pose


class PoseFeatures(TransformerMixin, BaseEstimator):
    """F3, long-term motion: the hidden vectors of a pose LSTM at all steps (:mod:`zoo.models.pose_lstm`).

    The LSTM is trained here with the loss of all steps (AVSS18 section 3.1; PhD20 equation 3.5) unless a trained one
    is given. A sequence is cut into equal parts: training draws a frame from each, anew in every epoch; features are
    of the middle ones. Training sets the global seeds of Python, NumPy and TensorFlow.

    Args:
        model: Path of a trained ``pose_lstm`` (``.keras``); its sizes replace those below.
        pose_steps: Steps tp of a pose sequence.
        lstm_units: Size of each LSTM's hidden vector.
        lstm_dropout: Share of each LSTM layer's output that is dropped in training.
        epochs: Epochs of training; the learning rate falls along half a cosine.
        learning_rate: Learning rate of Adam at the beginning; gradients are clipped to a norm of 1.
        batch: Clips in a step of training.
        random_state: Seed.

    Attributes:
        pose_steps_: Steps tp of the network.
        architecture_: The network from poses to hidden vectors, as Keras's JSON.
        weights_: Its weights.
    """

    def __init__(
        self,
        model=None,
        *,
        pose_steps=20,
        lstm_units=512,
        lstm_dropout=0.5,
        epochs=100,
        learning_rate=1e-3,
        batch=32,
        random_state=0,
    ):
        self.model = model
        self.pose_steps = pose_steps
        self.lstm_units = lstm_units
        self.lstm_dropout = lstm_dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch = batch
        self.random_state = random_state

    def fit(self, X, y):
        """Trains the LSTM on ``X``, a sequence of :class:`Clip`, and its classes; or reads the trained one."""
        import tensorflow as tf

        from zoo.models import pose_lstm

        model = self._read(X[0]) if self.model is not None else self._train(X, y)
        latents = tf.keras.Model(model.input, model.get_layer(f"lstm_{pose_lstm.LAYERS}").output)
        self.pose_steps_ = latents.output.shape[1]
        self.architecture_, self.weights_ = latents.to_json(), latents.get_weights()
        self._network = None
        return self

    def transform(self, X):
        """``[N, tp * units]`` float32."""
        check_is_fitted(self)
        poses = np.stack([clip.poses[step_frames(len(clip.poses), self.pose_steps_)] for clip in X])
        compute = self._latents()
        states = [compute(poses[i : i + _BATCH]).numpy() for i in range(0, len(poses), _BATCH)]  # [B, tp, units]
        return np.concatenate(states).reshape(len(X), -1)

    def __getstate__(self):
        return {**super().__getstate__(), "_network": None}

    def _read(self, clip):
        import zoo

        model = zoo.load_model(self.model)
        shape = list(clip.poses.shape[1:])
        if model.name != "pose_lstm":
            raise ZooError(f"{self.model} holds a {model.name}, expected a pose_lstm")
        if list(model.input["pose"].shape[2:]) != shape:
            found = list(model.input["pose"].shape[2:])
            raise ZooError(f"{self.model} takes poses of {found}, the clips' are {shape} (persons, joints, 3)")
        return model

    def _train(self, X, y):
        import tensorflow as tf

        import zoo

        classes, codes = np.unique(y, return_inverse=True)
        _, persons, joints, _ = X[0].poses.shape
        tf.keras.utils.set_random_seed(self.random_state)
        model = zoo.build(
            "pose_lstm",
            num_classes=len(classes),
            pose_steps=self.pose_steps,
            persons=persons,
            joints=joints,
            lstm_units=self.lstm_units,
            dropout=self.lstm_dropout,
            loss="all_steps",
        )
        batch = min(self.batch, len(X))  # all alike; which clips are left over differs by epoch
        steps = len(X) // batch
        rate = tf.keras.optimizers.schedules.CosineDecay(self.learning_rate, self.epochs * steps)
        model.compile(tf.keras.optimizers.Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy")
        rng = np.random.default_rng(self.random_state)
        for _ in range(self.epochs):
            order = rng.permutation(len(X))
            for rows in order[: steps * batch].reshape(steps, batch):
                offsets = rng.random((len(rows), self.pose_steps))
                poses = [X[row].poses for row in rows]
                frames = [step_frames(len(p), self.pose_steps, offset) for p, offset in zip(poses, offsets)]
                model.train_on_batch({"pose": np.stack([p[f] for p, f in zip(poses, frames)])}, codes[rows])
        return model

    def _latents(self):
        """The network as a function of poses ``[B, tp, M, J, 3]``, rebuilt after unpickling."""
        import tensorflow as tf

        import zoo.layers  # noqa: F401 (registers what the architecture names)

        if getattr(self, "_network", None) is None:
            network = tf.keras.models.model_from_json(self.architecture_)
            network.set_weights(self.weights_)
            self._network = tf.function(lambda poses: network({"pose": poses}, training=False), reduce_retracing=True)
        return self._network


def step_frames(num_frames, steps, offset=0.5):
    """Frames of a pose sequence: of each of ``steps`` equal parts of a clip the one at ``offset``, in [0, 1).

    Example:
        >>> step_frames(10, 5).tolist()
        [1, 3, 5, 7, 9]
    """
    return ((np.arange(steps) + offset) * num_frames / steps).astype(int)


# ------------------------------------------------------------------------------------------------------------ SVMs


class _LinearSVC(LinearSVC):
    """``LinearSVC`` on centred features, solved along their principal axes.

    An SVM's normal lies in the space that its samples span, so nothing is lost; of 25,000 features of 300 clips there
    are then 300 to iterate over.
    """

    def fit(self, X, y):
        """Trains; ``coef_`` and ``intercept_`` are those of the features as they came."""
        axes = PCA(random_state=self.random_state).fit(X)
        super().fit(axes.transform(X), y)
        self.coef_ = self.coef_ @ axes.components_
        self.intercept_ = self.intercept_ - self.coef_ @ axes.mean_
        self.n_features_in_ = X.shape[1]
        return self


class _SVM:
    """A linear SVM with probabilities, over features that are read by the indices of clips.

    Args:
        kind: ``linear``: ``LinearSVC`` on all features at once, calibrated by cross-validation. ``sgd``: the same
            loss by stochastic gradients over batches, calibrated on a tenth of the clips left out of it.
        penalty: The SVM's C.
        random_state: Seed.
    """

    def __init__(self, kind, penalty, random_state):
        self.kind, self.penalty, self.random_state = kind, penalty, random_state

    def fit(self, read, indices, labels):
        """Trains on the clips at ``indices``, whose features ``read`` gives; ``labels`` are theirs."""
        (self._fit_linear if self.kind == "linear" else self._fit_sgd)(read, np.asarray(indices), np.asarray(labels))
        return self

    def probabilities(self, features):
        """``[N, classes]`` of features ``[N, D]``."""
        return self.calibrated.predict_proba(self.svm.decision_function(features) if self.svm else features)

    def _fit_linear(self, read, indices, labels):
        folds = StratifiedKFold(min(3, np.unique(labels, return_counts=True)[1].min()))
        svm = _LinearSVC(C=self.penalty, random_state=self.random_state, max_iter=10_000)
        self.svm = None
        self.calibrated = CalibratedClassifierCV(svm, ensemble=False, cv=folds).fit(read(indices), labels)

    def _fit_sgd(self, read, indices, labels):
        classes = np.unique(labels)
        held = max(len(classes), math.ceil(len(labels) / 10))
        split = StratifiedShuffleSplit(1, test_size=held, random_state=self.random_state)
        ((train, calibration),) = split.split(labels, labels)
        # LinearSVC's C weighs the sum of losses, SGDClassifier's alpha the regularisation against their mean.
        self.svm = SGDClassifier(
            loss="hinge", alpha=1 / (self.penalty * len(train)), average=True, random_state=self.random_state
        )
        rng = np.random.default_rng(self.random_state)
        for _ in range(_SGD_EPOCHS):
            order = rng.permutation(train)
            for i in range(0, len(order), _BATCH):
                batch = order[i : i + _BATCH]
                self.svm.partial_fit(read(indices[batch]), labels[batch], classes)
        decisions = _in_batches(lambda batch: self.svm.decision_function(read(batch)), indices[calibration])
        everything = np.arange(len(calibration))
        self.calibrated = CalibratedClassifierCV(
            FrozenEstimator(_Decisions(classes)), ensemble=False, cv=[(everything, everything)]
        ).fit(decisions, labels[calibration])


class _Decisions(ClassifierMixin, BaseEstimator):
    """Passes decision values on to their calibration."""

    def __init__(self, classes_):
        self.classes_ = classes_

    def fit(self, X, y):
        """Nothing: the decisions are made."""
        return self

    def decision_function(self, X):
        """``X``."""
        return X

    def predict(self, X):
        """The classes decided for."""
        return self.classes_[X.argmax(axis=1) if X.ndim > 1 else (X > 0).astype(int)]


def _in_batches(function, indices):
    return np.concatenate([function(indices[i : i + _BATCH]) for i in range(0, len(indices), _BATCH)])


# ---------------------------------------------------------------------------------------------------------- fusion


def late_fusion(early, pose, alpha):
    """s = alpha P1 + (1 - alpha) P3 (MMM19), P1 of the early fusion and P3 of the poses, ``[N, C]`` each.

    Example:
        >>> late_fusion(np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]]), 0.75).round(3).tolist()
        [[0.7, 0.3]]
    """
    return alpha * early + (1 - alpha) * pose


def confused_pairs(confusion, threshold):
    """Pairs of similar classes: those with C(i, j) + C(j, i) >= threshold (MMM19).

    Args:
        confusion: ``[C, C]`` shares of each true class (row) that are recognised as each class (column).
        threshold: The papers' epsilon.

    Returns:
        ``[(i, j, C(i, j) + C(j, i))]`` with i < j, the most confused first.

    Example:
        >>> confused_pairs(np.array([[0.7, 0.3, 0.0], [0.2, 0.8, 0.0], [0.0, 0.1, 0.9]]), 0.44)
        [(0, 1, 0.5)]
    """
    both = confusion + confusion.T
    pairs = [(int(i), int(j), float(both[i, j])) for i, j in zip(*np.triu_indices_from(both, 1))]
    # A sum of shares such as 0.1 + 0.2 may lie by rounding below a threshold that it equals.
    return sorted((pair for pair in pairs if pair[2] >= threshold - 1e-9), key=lambda pair: -pair[2])


def _quality(labels, probabilities, classes):
    """What choices are made by: accuracy on validation; of equal ones the smaller cross-entropy."""
    cross_entropy = log_loss(labels, np.clip(probabilities, 1e-12, 1), labels=classes)
    return accuracy_score(labels, classes[probabilities.argmax(axis=1)]), -cross_entropy


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two classes with an SVM of their own.

    Attributes:
        first: A class.
        second: The other one.
        confusion: C(i, j) + C(j, i) on validation.
        features: Which of :data:`FEATURE_SETS` separates them best on validation; ``late_fusion``: none does as well
            as the late fusion already did, which stands.
        accuracy: How well, as a share of the two classes' validation clips.
    """

    first: object
    second: object
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

    The region of F1, a, the similar pairs and the features of their SVMs are chosen on validation clips, set aside
    from the training clips; of equal accuracies the smaller cross-entropy decides. A pair's SVM that separates them
    worse there than the late fusion does is not used, which the papers do not say. A class that belongs to several
    pairs is compared with the partner that has the highest score.

    Args:
        regions: Regions that F1 is chosen from; ``None``: those of the first clip.
        network: The 2D CNN of F1, one of :data:`zoo.models.lrcn.NETWORKS`.
        size: Height and width of its pictures in pixels.
        weights: Its weights: ``imagenet``, a path, or ``None`` for random ones (:class:`AppearanceFeatures`).
        motion_region: Pictures that trajectories are found in.
        track_length: Steps of a trajectory, a multiple of 3.
        sampling_step: Distance of tracked points, pixels.
        gaussians: Gaussians of the Fisher vectors.
        samples: Descriptors that the mixtures of Gaussians are learned from.
        pose_model: Path of a trained ``pose_lstm``; ``None``: one is trained.
        pose_steps: Steps of a pose sequence.
        lstm_units: Size of each LSTM's hidden vector.
        lstm_dropout: Share of each LSTM layer's output that is dropped in training.
        pose_epochs: Epochs of the LSTM's training.
        pose_learning_rate: Learning rate at its beginning.
        batch: Clips in a step of its training.
        svm: ``linear``: scikit-learn's ``LinearSVC`` with all features in memory. ``sgd``: stochastic gradients over
            batches read from the cache, for sets that do not fit into memory; it needs ``memory``.
        penalty: The SVMs' C.
        epsilon: Confusion from which two classes are similar: 0.1 on NTU RGB+D, 0.44 on CAD-120 (MMM19).
        validation: Share of the clips set aside, stratified by class, or whole groups if ``fit`` is given groups; at
            least one clip per class. Or a splitter of ``sklearn.model_selection`` whose first split is taken.
        memory: Folder of the cache, or a ``joblib.Memory``. Features are kept by clip and by what they depend on, and
            are never computed twice; a file that was not written whole is not there. ``None``: no cache but a
            temporary one while fitting.
        random_state: Seed of everything that is drawn.

    Attributes:
        classes_: The classes.
        region_: The region of F1.
        region_scores_: Region -> accuracy of F1's SVM on validation.
        alpha_: Weight a of the early fusion.
        pairs_: The similar classes, a list of :class:`Pair`.
        cue_scores_: Accuracy on validation of ``appearance``, ``motion``, ``pose``, ``early_fusion``,
            ``late_fusion`` and ``two_level_fusion`` (with the pairs' SVMs).
        validation_: Indices of the validation clips.
        appearance_, motion_, pose_: The fitted :class:`AppearanceFeatures`, :class:`MotionFeatures` and
            :class:`PoseFeatures`.

    Example:
        >>> from sklearn.base import clone
        >>> estimator = clone(TwoLevelFusion(network="mobilenet_v2", epsilon=0.44)).set_params(penalty=10.0)
        >>> estimator.get_params()["network"], estimator.penalty
        ('mobilenet_v2', 10.0)
        >>> estimator.fit(clips, labels).predict(more_clips)  # doctest: +SKIP
        array(['drink', 'phone call', ...
    """

    def __init__(
        self,
        *,
        regions=None,
        network="resnet152_v2",
        size=224,
        weights="imagenet",
        motion_region="full_image",
        track_length=15,
        sampling_step=5,
        gaussians=256,
        samples=256_000,
        pose_model=None,
        pose_steps=20,
        lstm_units=512,
        lstm_dropout=0.5,
        pose_epochs=100,
        pose_learning_rate=1e-3,
        batch=32,
        svm="linear",
        penalty=1.0,
        epsilon=0.1,
        validation=0.1,
        memory=None,
        random_state=0,
    ):
        self.regions = regions
        self.network = network
        self.size = size
        self.weights = weights
        self.motion_region = motion_region
        self.track_length = track_length
        self.sampling_step = sampling_step
        self.gaussians = gaussians
        self.samples = samples
        self.pose_model = pose_model
        self.pose_steps = pose_steps
        self.lstm_units = lstm_units
        self.lstm_dropout = lstm_dropout
        self.pose_epochs = pose_epochs
        self.pose_learning_rate = pose_learning_rate
        self.batch = batch
        self.svm = svm
        self.penalty = penalty
        self.epsilon = epsilon
        self.validation = validation
        self.memory = memory
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        return tags

    # ---- fitting

    def fit(self, X, y, groups=None):
        """Trains the estimator.

        Args:
            X: Sequence of N :class:`Clip`.
            y: ``[N]`` classes, of any type.
            groups: ``[N]``, such as subjects: none is on both sides of the validation split.

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

    def prepare(self, X, on_clip=None):
        """Fills the cache with what depends on single clips and not on training: frames' features and trajectories.

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
        extractors = [self._appearance(region, self.memory) for region in self._regions(clips)]
        extractors.append(self._motion(self.memory))
        for clip in clips:
            for extractor in extractors:
                extractor.extract(clip)
            if on_clip:
                on_clip()

    def check_parameters(self):
        """The estimator itself; ``ZooError`` names a parameter that is wrong."""
        from zoo.models import lrcn

        self._check_types()
        lrcn.check_network(self.network, size=self.size)
        check_choice("svm", self.svm, SVMS)
        check_choice("motion_region", self.motion_region, REGIONS)
        cells = dense_trajectories.TIME_CELLS
        if self.track_length % cells:
            raise ZooError(f"track_length is {self.track_length}, expected a multiple of {cells}")
        for option in ("penalty", "pose_learning_rate"):
            if getattr(self, option) <= 0:
                raise ZooError(f"{option} is {getattr(self, option)}, expected above 0")
        if not 0 <= self.random_state < 2**32:
            raise ZooError(f"random_state is {self.random_state}, expected from 0 to less than 2^32")
        if self.svm == "sgd" and self.memory is None:
            raise ZooError("svm sgd reads features from the cache again and again: set memory to its folder")
        for region in self.regions or ():
            check_choice("region", region, REGIONS)
        if self.weights is not None:
            _weights_key(str(self.weights), None)
        return self

    def _check_types(self):
        """What is known of parameters from their defaults; two may be objects of other libraries."""
        chosen = self.get_params(deep=False)
        memory = chosen.pop("memory")
        if not (memory is None or isinstance(memory, (str, pathlib.Path)) or hasattr(memory, "cache")):
            raise ZooError(f"memory is {memory!r}, expected a folder or a joblib.Memory")
        if hasattr(self.validation, "split"):
            del chosen["validation"]
        checks.check_options("two_level_fusion", chosen, TwoLevelFusion().get_params())
        if "validation" in chosen and not 0 < self.validation < 1:
            raise ZooError(f"validation is {self.validation}, expected a share above 0 and below 1, or a splitter")

    def _check(self, clips, y=None):
        """Everything else that can be wrong and be told before hours of work."""
        self.check_parameters()
        needed = {*self._regions(clips), self.motion_region}
        for clip in clips:
            missing = needed - set(clip.regions)
            if missing:
                raise ZooError(f"clip {clip.id} has no region {sorted(missing)[0]!r}, set regions to what all have")
        ids = {clip.id for clip in clips}
        if len(ids) != len(clips):
            raise ZooError(f"{len(clips)} clips have {len(ids)} ids, expected one for each: the cache goes by them")
        if y is None:
            return
        if len(y) != len(clips):
            raise ZooError(f"{len(clips)} clips and {len(y)} labels, expected as many")
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
        return tuple(self.regions or clips[0].regions)

    def _split(self, codes, groups):
        """Indices of the clips to train on and to validate on."""
        splitter = self.validation
        if not hasattr(splitter, "split"):
            share = max(math.ceil(splitter * len(codes)), len(self.classes_)) / len(codes)
            kind = StratifiedShuffleSplit if groups is None else GroupShuffleSplit
            size = splitter if groups is not None else round(share * len(codes))
            splitter = kind(1, test_size=size, random_state=self.random_state)
        train, validation = next(splitter.split(np.zeros((len(codes), 1)), codes, groups))
        counts = np.bincount(codes[train], minlength=len(self.classes_))
        if counts.min() < 2:
            rare = self.classes_[counts.argmin()]
            raise ZooError(f"class {rare!r} has {counts.min()} training clips beside validation, expected at least 2")
        return train, validation

    def _appearance(self, region, memory):
        return AppearanceFeatures(
            region,
            network=self.network,
            size=self.size,
            weights=self.weights,
            memory=memory,
            random_state=self.random_state,
        )

    def _motion(self, memory):
        return MotionFeatures(
            self.motion_region,
            track_length=self.track_length,
            sampling_step=self.sampling_step,
            gaussians=self.gaussians,
            samples=self.samples,
            memory=memory,
            random_state=self.random_state,
        )

    def _fit_cues(self, clips, codes, train, memory):
        """Fits the three cues' features, and chooses the region of F1."""
        seen = [clips[i] for i in train]
        self.pose_ = PoseFeatures(
            self.pose_model,
            pose_steps=self.pose_steps,
            lstm_units=self.lstm_units,
            lstm_dropout=self.lstm_dropout,
            epochs=self.pose_epochs,
            learning_rate=self.pose_learning_rate,
            batch=self.batch,
            random_state=self.random_state,
        ).fit(seen, codes[train])
        self.motion_ = self._motion(memory).fit(seen)
        qualities, candidates = {}, {}
        for region in self._regions(clips):
            candidates[region] = self._appearance(region, memory).fit(seen)
            read = self._reader([candidates[region]], clips)
            svm = self._svm().fit(read, train, codes[train])
            scores = _in_batches(lambda batch: svm.probabilities(read(batch)), self.validation_)  # noqa: B023
            qualities[region] = _quality(codes[self.validation_], scores, np.arange(len(self.classes_)))
        self.region_ = max(qualities, key=qualities.get)
        self.region_scores_ = {region: quality[0] for region, quality in qualities.items()}
        self.appearance_ = candidates[self.region_]

    def _fit_fusion(self, clips, codes, train):
        """Fits the SVMs of the cues and the early fusion, a, and the similar pairs' SVMs."""
        read = {name: self._reader(self._transformers(name), clips) for name in FEATURE_SETS}
        self.svms_ = {name: self._svm().fit(read[name], train, codes[train]) for name in FEATURE_SETS}
        classes, labels = np.arange(len(self.classes_)), codes[self.validation_]
        scores = {
            name: _in_batches(lambda batch: self.svms_[name].probabilities(read[name](batch)), self.validation_)  # noqa: B023
            for name in FEATURE_SETS
        }
        early, pose = scores["early_fusion"], scores["pose"]
        qualities = [_quality(labels, late_fusion(early, pose, alpha), classes) for alpha in _ALPHAS]
        self.alpha_ = float(_ALPHAS[max(range(len(_ALPHAS)), key=qualities.__getitem__)])
        late = late_fusion(early, pose, self.alpha_)
        confusion = confusion_matrix(labels, late.argmax(axis=1), labels=classes, normalize="true")
        self.pairs_, self.discriminators_ = [], {}
        for first, second, confused in confused_pairs(confusion, self.epsilon):
            pair = [first, second]
            features, accuracy, svm = self._discriminator(read, codes, train, pair)
            of_pair = np.isin(labels, pair)
            without = accuracy_score(labels[of_pair], np.take(pair, late[of_pair][:, pair].argmax(axis=1)))
            if accuracy >= without:
                self.discriminators_[first, second] = features, svm
            else:
                features, accuracy = "late_fusion", without
            names = self.classes_[first], self.classes_[second]
            self.pairs_.append(Pair(*names, confusion=confused, features=features, accuracy=accuracy))
        features = {name: read[name](self.validation_) for name in {f for f, _ in self.discriminators_.values()}}
        scores.update(late_fusion=late, two_level_fusion=self._discriminate(late, features))
        self.cue_scores_ = {name: accuracy_score(labels, s.argmax(axis=1)) for name, s in scores.items()}

    def _discriminator(self, read, codes, train, pair):
        """``(feature set, its accuracy, SVM)`` that separates two classes best on validation."""
        of_pair = [indices[np.isin(codes[indices], pair)] for indices in (train, self.validation_)]
        best = None
        for name in FEATURE_SETS:
            svm = self._svm().fit(read[name], of_pair[0], codes[of_pair[0]])
            scores = svm.probabilities(read[name](of_pair[1]))
            quality = _quality(codes[of_pair[1]], scores, np.array(pair))
            if best is None or quality > best[0]:
                best = quality, name, svm
        return best[1], best[0][0], best[2]

    def _svm(self):
        return _SVM(self.svm, self.penalty, self.random_state)

    def _transformers(self, name):
        cues = {"appearance": self.appearance_, "motion": self.motion_, "pose": self.pose_}
        return [cues["appearance"], cues["motion"]] if name == "early_fusion" else [cues[name]]

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

    def predict(self, X):
        """``[N]`` classes of a sequence of N :class:`Clip`."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        """``[N, C]`` scores that add up to 1, columns in the order of ``classes_``.

        Where a pair's SVM contradicts the late fusion, the two classes' scores change places.
        """
        return self.cue_probabilities(X)["two_level_fusion"]

    def cue_probabilities(self, X):
        """The scores of every cue and of every level of fusion.

        Args:
            X: Sequence of N :class:`Clip`.

        Returns:
            ``appearance``, ``motion``, ``pose``, ``early_fusion``, ``late_fusion``, ``two_level_fusion`` -> ``[N, C]``.
        """
        check_is_fitted(self)
        self._use_memory()
        clips = list(X)
        parts = [self._batch_probabilities(clips[i : i + _BATCH]) for i in range(0, len(clips), _BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _batch_probabilities(self, clips):
        features = {cue: self._transformers(cue)[0].transform(clips) for cue in CUES}
        features["early_fusion"] = np.hstack([features["appearance"], features["motion"]])
        scores = {name: self.svms_[name].probabilities(features[name]) for name in FEATURE_SETS}
        scores["late_fusion"] = late_fusion(scores["early_fusion"], scores["pose"], self.alpha_)
        scores["two_level_fusion"] = self._discriminate(scores["late_fusion"], features)
        return scores

    def _discriminate(self, scores, features):
        """Late fusion's scores after the similar pairs' SVMs have decided.

        Args:
            scores: ``[N, C]``.
            features: Feature set -> ``[N, D]``.

        Returns:
            ``[N, C]``.
        """
        out = scores.copy()
        for row, found in enumerate(scores.argmax(axis=1)):
            pairs = [pair for pair in self.discriminators_ if found in pair]
            if not pairs:
                continue
            pair = max(pairs, key=lambda pair: scores[row, sum(pair) - found])  # the partner's score
            name, svm = self.discriminators_[pair]
            decided = pair[int(svm.probabilities(features[name][row : row + 1]).argmax())]
            out[row, [found, decided]] = scores[row, [decided, found]]
        return out

    def _use_memory(self):
        for transformer in (self.appearance_, self.motion_):
            transformer.set_params(memory=self.memory)
