"""The list of models: registration, building by name, and what is known of each.

A builder is an ordinary function with keyword-only options, marked with :func:`register` in a module named after its
method. The modules are imported when a model is first asked for, so ``import zoo`` costs nothing.
"""

import dataclasses
import importlib
import inspect

from zoo.checks import ZooError
from zoo.shared import messages

# One module per method, of the same name but where that is a keyword of Python; each registers its builder.
METHODS = (
    "i3d",
    "i3d_nonlocal",
    "resnext3d101",
    "lrcn",
    "pose_lstm",
    "pose_cnn",
    "pose_gcn",
    "pi3d",
    "separable_sta",
    "vpn",
    "temporal",
    "global",
    "sta_hands",
)
_MODULES = {"global": "global_model"}

PAPERS = {
    "LRCN15": "Donahue et al. Long-term recurrent convolutional networks for visual recognition. CVPR 2015",
    "I3D17": "Carreira, Zisserman. Quo vadis, action recognition? CVPR 2017",
    "NL18": "Wang, Girshick, Gupta, He. Non-local neural networks. CVPR 2018",
    "R3D18": "Hara, Kataoka, Satoh. Can spatiotemporal 3D CNNs retrace the history of 2D CNNs? CVPR 2018",
    "STGCN18": "Yan, Xiong, Lin. Spatial temporal graph convolutional networks for action recognition. AAAI 2018",
    "BMVC18": "Baradel, Wolf, Mille. Human activity recognition with pose-driven attention to RGB. BMVC 2018",
    "AVSS18": "Das et al. Deep-temporal LSTM for daily living action recognition. AVSS 2018",
    "MMM19": "Das et al. A new hybrid architecture for human activity recognition from RGB-D videos. MMM 2019",
    "WACV19": "Das, Chaudhary, Bremond, Thonnat. Where to focus on for human action recognition? WACV 2019",
    "ICCV19": "Das et al. Toyota Smarthome: real-world activities of daily living. ICCV 2019",
    "WACV20": "Das, Bremond, Thonnat. Looking deeper into time for activities of daily living recognition. WACV 2020",
    "ECCV20": "Das, Sharma, Dai, Bremond, Thonnat. VPN: learning video-pose embedding. ECCV 2020",
    "PhD20": "Das. Spatio-temporal attention mechanisms for activity recognition. PhD thesis, 2020",
}

# Methods that are no Keras model but an estimator of scikit-learn's kind: where it is, and the accuracies in percent
# that its papers report.
ESTIMATORS = {
    "two_level_fusion": (
        "zoo.fusion.estimator.TwoLevelFusion",
        {"cad60/loso": 98.52, "cad120/loso": 94.40, "msr_daily/loso": 97.81},
    ),
}

# Accuracies in percent that the papers set beside their own, of methods this zoo does not have.
OTHERS_REPORTED = {
    "nucla/v3_12": {
        "HBRNN (poses only)": 78.5,
        "view-invariant representation (poses only)": 86.1,
        "ensemble TS-LSTM (poses only)": 89.2,
        "SGN (poses only)": 92.5,
    },
}

_entries = {}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A registered model."""

    name: str
    builder: object
    paper: str
    reported: dict


def register(*, paper, reported, name=None):
    """Marks a function as the builder of a model.

    Args:
        paper: Key of the paper in :data:`PAPERS`.
        reported: The papers' accuracies in percent: ``{"<dataset>/<protocol>": figure}``.
        name: The model's name; default: the function's.

    Returns:
        A decorator that returns the function unchanged.
    """

    def decorator(builder):
        model = name or builder.__name__
        if model in _entries and _entries[model].builder.__module__ != builder.__module__:
            raise ValueError(f"two builders are named {model}")
        _entries[model] = Entry(model, builder, PAPERS[paper], dict(reported))
        return builder

    return decorator


def list_models():
    """Names of all models.

    Example:
        >>> import zoo
        >>> "separable_sta" in zoo.list_models()
        True
    """
    return list(METHODS)


def get(name):
    """The :class:`Entry` of a model; :class:`ZooError` names the nearest model if there is none."""
    if name in ESTIMATORS:
        raise ZooError(f"{name} is an estimator of scikit-learn's kind and no Keras model: use {ESTIMATORS[name][0]}")
    if name not in METHODS:
        raise ZooError(f"unknown model {name!r}{messages.nearest(name, METHODS)}")
    importlib.import_module(f"zoo.models.{_MODULES.get(name, name)}")
    return _entries[name]


def reported(name):
    """The papers' accuracies in percent of a model or estimator: ``{"<dataset>/<protocol>": figure}``."""
    return ESTIMATORS[name][1] if name in ESTIMATORS else get(name).reported


def options(name):
    """Option -> default of a model's builder, without ``num_classes``."""
    parameters = inspect.signature(get(name).builder).parameters
    return {p.name: p.default for p in parameters.values() if p.name != "num_classes"}
