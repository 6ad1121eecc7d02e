"""Former location of :mod:`zoo.fusion`: its documented names, and the names that saved estimators refer to.

``joblib.load`` needs the names with an underscore to read run directories of earlier versions.
"""

from zoo.fusion import (
    REGIONS,
    AppearanceFeatures,
    Clip,
    FisherVectors,
    MotionFeatures,
    Pair,
    PoseFeatures,
    TwoLevelFusion,
)
from zoo.fusion.svm import CalibratedSVM as _SVM
from zoo.fusion.svm import Decisions as _Decisions
from zoo.fusion.svm import PrincipalAxesSVC as _LinearSVC

__all__ = [
    "REGIONS",
    "_SVM",
    "AppearanceFeatures",
    "Clip",
    "FisherVectors",
    "MotionFeatures",
    "Pair",
    "PoseFeatures",
    "TwoLevelFusion",
    "_Decisions",
    "_LinearSVC",
]
