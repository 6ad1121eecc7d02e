"""Two-level fusion of appearance, motion and poses by SVMs (MMM19), composed of scikit-learn estimators.

- ``estimator``: :class:`TwoLevelFusion`, its late fusion and the pairs of similar classes
- ``clip``: :class:`Clip`, from which the features are computed, and the regions of its pictures
- ``appearance``, ``motion``, ``pose``: the features F1, F2, F3, one transformer each
- ``dense_trajectories``: the tracks that motion features describe
- ``svm``: linear SVMs with probabilities
- ``options``: the flat names of the parts' parameters, which recipes use
- ``compute``: batches and the cache of features
"""

from zoo.fusion.appearance import AppearanceFeatures
from zoo.fusion.clip import REGIONS, Clip
from zoo.fusion.estimator import Pair, TwoLevelFusion
from zoo.fusion.motion import FisherVectors, MotionFeatures
from zoo.fusion.pose import PoseFeatures

__all__ = [
    "REGIONS",
    "AppearanceFeatures",
    "Clip",
    "FisherVectors",
    "MotionFeatures",
    "Pair",
    "PoseFeatures",
    "TwoLevelFusion",
]
