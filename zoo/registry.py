"""The list of models: registration, building by name, and what is known of each.

A builder is an ordinary function with keyword-only options, marked with :func:`register` in a module named after its
method. The modules are imported when a model is first asked for, so ``import zoo`` costs nothing.
"""

import dataclasses
import importlib
import inspect
import math
import numbers
import os

from zoo import skeletons
from zoo.shared import messages as naming

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

# What stands in for a default that tells no type, as it is None.
_EXAMPLES = {
    "backbone": "i3d",
    "basic_options": {"attention": "full"},
    "layout": "kinect_v2_25",
    "network_weights": "imagenet",
    "pose_model": "model.keras",
    "regions": ("full_body",),
}
_MAY_BE_NONE = ("weights",)  # beside the options whose default is None: None is random weights
# What is accepted for a default of a type: any whole number, any real one, and a path as well as its text.
_ACCEPTED = {int: numbers.Integral, float: numbers.Real, str: (str, os.PathLike), tuple: (tuple, list)}

_entries = {}


class ZooError(ValueError):
    """An unknown model or option, or options that do not fit together; the message says what is valid."""


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
        raise ZooError(f"unknown model {name!r}{naming.nearest(name, METHODS)}")
    importlib.import_module(f"zoo.models.{_MODULES.get(name, name)}")
    return _entries[name]


def reported(name):
    """The papers' accuracies in percent of a model or estimator: ``{"<dataset>/<protocol>": figure}``."""
    return ESTIMATORS[name][1] if name in ESTIMATORS else get(name).reported


def options(name):
    """Option -> default of a model's builder, without ``num_classes``."""
    parameters = inspect.signature(get(name).builder).parameters
    return {p.name: p.default for p in parameters.values() if p.name != "num_classes"}


def build(name, *, num_classes, weights=None, **chosen):
    """Builds a model.

    Args:
        name: One of :func:`list_models`.
        num_classes: Number of classes C.
        weights: What the model starts from: nothing, ``"kinetics400"`` or a path, see :func:`zoo.weights.initialise`.
        **chosen: Options of the model's builder (:func:`describe` lists them).

    Returns:
        A functional ``tf.keras.Model`` named after the method. Inputs are a dictionary of ``rgb`` (B, T, H, W, 3) in
        [-1, 1], ``pose`` (B, tp, M, J, 3), and of the temporal model ``features_g<G>`` and ``pose_g<G>``, whichever the
        method uses; the output is a softmax (B, C).

    Raises:
        ZooError: Unknown model or option, options that do not fit together, or weights that cannot be read.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_lstm", num_classes=31, pose_steps=30, joints=13, lstm_units=128)
        >>> model.output_shape
        (None, 31)
    """
    check_options(name, chosen, options(name))
    if not isinstance(num_classes, numbers.Integral) or num_classes < 2:
        raise ZooError(f"num_classes is {num_classes!r}, expected an integer of at least 2")
    model = get(name).builder(_plain(num_classes), **{option: _plain(value) for option, value in chosen.items()})
    if weights is not None:
        from zoo.pretrained import loading as reading

        reading.initialise(model, weights)
    return model


def check_options(name, chosen, valid):
    """Raises :class:`ZooError` unless all chosen options are among a method's, of their types and not too small.

    Args:
        name: The method's name.
        chosen: Option -> value.
        valid: Option -> default.
    """
    for option, value in chosen.items():
        if option not in valid:
            raise ZooError(f"{name} has no option {option!r}{naming.nearest(option, valid)}")
        default = valid[option]
        if value is None and (default is None or option in _MAY_BE_NONE):
            continue
        _check_type(name, option, value, _EXAMPLES[option] if default is None else default)
        _check_range(name, option, value, default)
        if option == "layout":  # not every builder looks at it
            layout_of(value)


def _check_type(name, option, value, example):
    """An option's value must be of the type of an example: its default or, where that is None, another."""
    if not _is_like(value, example):
        kind = type(example).__name__
        raise ZooError(f"{name}: {option} is {value!r}, expected {kind} such as {example!r}")


def _is_like(value, example):
    """Whether a value is of an example's type, and those inside a tuple of the type of those in the example."""
    if isinstance(value, bool) or isinstance(example, bool):  # a truth value is an int to Python, but no number
        return isinstance(value, bool) and isinstance(example, bool)
    if not isinstance(value, _ACCEPTED.get(type(example), type(example))):
        return False
    return not isinstance(example, tuple) or all(_is_like(element, example[0]) for element in value)


def layout_of(name):
    """The skeleton layout of a name; :class:`ZooError` if there is none."""
    try:
        return skeletons.get(name)
    except ValueError as error:
        raise ZooError(str(error)) from None


def _check_range(name, option, value, default):
    """Sizes are at least 1, multipliers above 0, weights of losses at least 0, and shares that are dropped below 1."""
    if isinstance(default, int) and not isinstance(default, bool) and default > 0:
        at_least(1, **{f"{name}: {option}": value})
    if isinstance(default, float):
        if option.endswith("dropout") and not 0 <= value < 1:
            raise ZooError(f"{name}: {option} is {value}, expected a share from 0 to less than 1")
        if option == "width" and not 0 < value < math.inf:
            raise ZooError(f"{name}: {option} is {value}, expected a multiplier above 0")
        if not 0 <= value < math.inf:
            raise ZooError(f"{name}: {option} is {value}, expected at least 0")


def one_of(option, value, valid):
    """Raises :class:`ZooError` unless an option's value is one of the valid ones."""
    if value not in list(valid):  # a list compares with whatever is given, a dictionary only with what can be a key
        raise ZooError(f"{option} {value!r} is unknown{naming.nearest(value, valid)}")


def at_least(minimum, **values):
    """Raises :class:`ZooError` unless all named values are at least ``minimum``."""
    for option, value in values.items():
        if value < minimum:
            raise ZooError(f"{option} is {value}, expected at least {minimum}")


def _plain(value):
    """A value as Python's own: Keras 3 takes no numbers of NumPy's types."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(element) for element in value)
    return value.item() if hasattr(value, "item") else value


def describe(name, *, num_classes=60, **chosen):
    """What is known of a model.

    Args:
        name: One of :func:`list_models`.
        num_classes: Number of classes C that the parameters are counted for.
        **chosen: Options to count parameters and give input shapes for.

    Returns:
        A dictionary: ``name``, ``summary``, ``paper``, ``reported`` (the papers' accuracies in percent by
        ``<dataset>/<protocol>``), ``options`` (with defaults), ``inputs`` (shapes without batch), ``parameters``
        (batch-normalisation statistics included), ``parameters_without_head`` (without the classifier),
        ``parameters_in_inference`` (without what only the training loss depends on), ``gmacs`` (10^9
        multiply-accumulates for one clip), ``activation_bytes`` (of all layers for one clip, float32), ``attention``
        (names of attention layers).

    Example:
        >>> import zoo
        >>> zoo.describe("i3d")["parameters"]
        12356044
    """
    from zoo import attention_names, complexity

    entry = get(name)
    model = build(name, num_classes=num_classes, **chosen)
    return {
        "name": name,
        "summary": inspect.getdoc(entry.builder).splitlines()[0],
        "paper": entry.paper,
        "reported": dict(entry.reported),
        "options": options(name),
        "inputs": {key: tuple(tensor.shape[1:]) for key, tensor in model.input.items()},
        "parameters": complexity.parameters(model),
        "parameters_without_head": complexity.parameters(model, head=False),
        "parameters_in_inference": complexity.parameters(model, training_only=False),
        "gmacs": complexity.multiply_accumulates(model) / 1e9,
        "activation_bytes": complexity.activation_bytes(model),
        "attention": attention_names(model),
    }
