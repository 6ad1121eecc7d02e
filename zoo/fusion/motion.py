"""F2 of two-level fusion, short-term motion: Fisher vectors along improved dense trajectories (MMM19; ICCV13)."""

import functools
import math
from collections.abc import Sequence
from typing import Any, Optional

import joblib
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from zoo.checks import Size, ZooError
from zoo.fusion import dense_trajectories
from zoo.fusion.clip import Clip, Region
from zoo.fusion.compute import Cache, Seed, cached, check_parameters, seed_of

_DESCRIPTORS = tuple(dense_trajectories.HISTOGRAMS)


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

    def __init__(self, gaussians: Size = 256, *, random_state: Seed = 0):
        self.gaussians = gaussians
        self.random_state = random_state

    def fit(self, X: Sequence[np.ndarray], y: Any = None) -> "FisherVectors":
        """Learns PCA and mixture from a sequence of ``[n_i, D]`` descriptors, one array per clip."""
        from skimage.feature import learn_gmm

        descriptors = np.concatenate(list(X))
        components = descriptors.shape[1] // 2
        expected = max(2 * self.gaussians, components)  # PCA needs as many as it has axes
        if len(descriptors) < expected:
            raise ZooError(
                f"{len(descriptors)} descriptors in the training clips, expected at least {expected} for "
                f"{self.gaussians} gaussians: set fewer, or give clips with more motion"
            )
        self.pca_ = PCA(components, random_state=self.random_state).fit(descriptors)
        arguments = {"covariance_type": "diag", "random_state": self.random_state, "reg_covar": 1e-5}
        halved = self.pca_.transform(descriptors).astype(np.float64)
        self.gmm_ = learn_gmm(halved, n_modes=self.gaussians, gm_args=arguments)
        return self

    def transform(self, X: Sequence[np.ndarray]) -> np.ndarray:
        """``[N, 2 K (D // 2) + K]`` float32: gradients w.r.t. weights, means, variances; zeros without descriptors."""
        from skimage.feature import fisher_vector

        check_is_fitted(self)
        out = np.zeros((len(X), self.gaussians * (2 * self.pca_.n_components_ + 1)), np.float32)
        for row, descriptors in zip(out, X):
            if len(descriptors):
                halved = self.pca_.transform(descriptors).astype(np.float64)
                row[:] = fisher_vector(halved, self.gmm_, improved=True)
        return out


class MotionFeatures(TransformerMixin, BaseEstimator):
    """F2, short-term motion: Fisher vectors of the HOG, HOF and MBH along improved dense trajectories.

    Args:
        region: Region whose pictures are tracked, one of :data:`zoo.fusion.clip.REGIONS`; the papers track the full
            image.
        track_length: Steps L of a track, a multiple of 3; clips shorter than L + 1 frames have features of zeros.
        sampling_step: Distance of tracked points, pixels.
        gaussians: Gaussians K of a Fisher vector (256 in ICCV13).
        samples: Number of descriptors from which a mixture is learned, drawn evenly from the training clips (256,000 in
            ICCV13).
        memory: Folder of the cache, or a ``joblib.Memory``; ``None``: nothing is cached.
        random_state: Seed; ``None``: 0.

    Attributes:
        codebooks_: Descriptor's name -> fitted :class:`FisherVectors`.
    """

    def __init__(
        self,
        region: Region = "full_image",
        *,
        track_length: Size = 15,
        sampling_step: Size = 5,
        gaussians: Size = 256,
        samples: Size = 256_000,
        memory: Cache = None,
        random_state: Optional[Seed] = None,
    ):
        self.region = region
        self.track_length = track_length
        self.sampling_step = sampling_step
        self.gaussians = gaussians
        self.samples = samples
        self.memory = memory
        self.random_state = random_state

    def check_parameters(self) -> None:
        """Raises ``ZooError`` if a parameter is wrong; the message names it."""
        check_parameters("motion", self)
        cells = dense_trajectories.TIME_CELLS
        if self.track_length % cells:
            raise ZooError(f"track_length is {self.track_length}, expected a multiple of {cells}")

    def fit(self, X: Sequence[Clip], y: Any = None) -> "MotionFeatures":
        """Learns the mixtures from the trajectories of the clips."""
        self.check_parameters()
        seed = seed_of(self.random_state)
        rng = np.random.default_rng(seed)
        per_clip = math.ceil(self.samples / len(X))
        drawn: dict[str, list[np.ndarray]] = {name: [] for name in _DESCRIPTORS}
        for clip in X:
            found = self.extract(clip)
            count = len(found[_DESCRIPTORS[0]])
            rows = np.sort(rng.choice(count, min(per_clip, count), replace=False))
            for name in _DESCRIPTORS:
                drawn[name].append(found[name][rows].astype(np.float32))
        self.codebooks_ = {
            name: FisherVectors(self.gaussians, random_state=seed).fit(drawn[name]) for name in _DESCRIPTORS
        }
        self.codebooks_key_ = joblib.hash(self.codebooks_)
        return self

    def transform(self, X: Sequence[Clip]) -> np.ndarray:
        """``[N, D]`` float32: the Fisher vectors of HOG, HOF, MBHx and MBHy side by side."""
        check_is_fitted(self)
        encode = cached(self.memory, _encode, ["descriptors", "codebooks"])
        trajectories_key = (self.region, self.track_length, self.sampling_step)
        return np.stack(
            [
                encode(
                    clip.id,
                    trajectories_key,
                    self.codebooks_key_,
                    descriptors=functools.partial(self.extract, clip),
                    codebooks=self.codebooks_,
                )
                for clip in X
            ]
        )

    def extract(self, clip: Clip) -> dict[str, np.ndarray]:
        """The clip's descriptors, from the cache if they are there: descriptor's name -> ``[n, D]`` float16."""
        compute = cached(self.memory, _trajectories, ["clip"])
        return compute(clip.id, self.region, self.track_length, self.sampling_step, clip=clip)


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
