"""Recipes: one flat YAML file says what is trained, on what and how.

There is no inheritance: what a recipe does can be read in its file, and the defaults are the dataclasses below. Every
value has a type and, where it needs one, a restriction; a mistake is one line that names the key, what was expected
and the nearest valid name. Facts that have a place of their own are not repeated: the number of classes, persons and
joints comes from the converted dataset, and ``frames``, ``size`` and ``pose_steps`` of a model from ``data``.

Example:
    >>> recipe = load("pose_lstm_nucla", overrides=["stages.pose.epochs=5"])
    >>> recipe.model.name, recipe.stages[-1].epochs
    ('pose_lstm', 5)
"""

import dataclasses
import math
import operator
import pathlib
import re
import typing
from typing import Literal, Optional, Union

import yaml

from tfrecords import datasets, protocols
from tfrecords.reading import augmentation, pipeline, poses
from zoo import registry
from zoo.shared import messages
from zoo.shared.errors import UserError

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

MODEL_FILE = ".keras"  # what tells a model's path from a stage's name

_LIMITS = {"above": operator.gt, "at_least": operator.ge, "at_most": operator.le, "below": operator.lt}

# ---------------------------------------------------------------------------------------------------- the sections


def _number(default=dataclasses.MISSING, **limits):
    """A field whose numbers are restricted (:data:`_LIMITS`); without a default the key is required."""
    return dataclasses.field(default=default, metadata=limits)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of the zoo and the options it is built with; in YAML the options stand beside the name."""

    name: str
    options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Data:
    """What is read of which dataset; the fields are those of :class:`tfrecords.reading.pipeline.Inputs`.

    Attributes:
        dataset: A converted dataset's name.
        protocol: Evaluation protocol: which clips train, validate and test.
        train_on: ``train``, or ``train_and_val``: the validation clips are trained on too. Nothing can be chosen on
            them then: stages monitor ``last``, and their validation figures are those of training clips.
        frames: Frames T of a video clip; 0: no video is read.
        stride: Distance of two sampled frames.
        size: Height and width of a frame, pixels.
        parts: Body parts whose pictures are read.
        pose_steps: Steps tp of a pose sequence; 0: no poses are read.
        interpolate: Interpolate poses between frames.
        normalisation: How poses are normalised.
        augment: Random changes of training clips.
        cache: Keep the records in memory after the first epoch.
        balance: ``classes``: every class comes equally often in training, whatever its number of clips.
        granularities: Numbers of segments whose stored features are read; none: no features are read.
        segment_steps: Steps of a segment's pose sequence; 0: no poses of segments are read.
    """

    dataset: str
    protocol: str
    train_on: Literal["train", "train_and_val"] = "train"
    frames: int = _number(0, at_least=0)
    stride: int = _number(2, at_least=1)
    size: int = _number(224, at_least=1)
    parts: tuple[str, ...] = ("full_body",)
    pose_steps: int = _number(0, at_least=0)
    interpolate: bool = False
    normalisation: poses.Normalisation = dataclasses.field(default_factory=poses.Normalisation)
    augment: augmentation.Augmentation = dataclasses.field(default_factory=augmentation.Augmentation)
    cache: bool = False
    balance: Literal["none", "classes"] = "none"
    granularities: tuple[int, ...] = ()
    segment_steps: int = _number(0, at_least=0)

    def inputs(self, records):
        """The :class:`~tfrecords.reading.pipeline.Inputs` of this recipe on a converted dataset."""
        reads_poses = self.pose_steps or self.segment_steps
        stored = {"persons": records.persons, "layout": records.layout} if reads_poses else {}
        if self.granularities:
            stored["feature_size"] = records.feature_size
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(pipeline.Inputs)
               if hasattr(self, field.name)}  # fmt: skip
        return pipeline.Inputs(**own, **stored)


@dataclasses.dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent. ``weight_decay`` is decoupled, ``clipnorm`` clips each weight's gradient."""

    name: Literal["sgd"]
    learning_rate: float = _number(above=0)
    momentum: float = _number(0.0, at_least=0, below=1)
    nesterov: bool = False
    clipnorm: Optional[float] = _number(None, above=0)
    global_clipnorm: Optional[float] = _number(None, above=0)
    weight_decay: Optional[float] = _number(None, at_least=0)


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam. ``weight_decay`` is decoupled, ``clipnorm`` clips each weight's gradient."""

    name: Literal["adam"]
    learning_rate: float = _number(above=0)
    beta_1: float = _number(0.9, at_least=0, below=1)
    beta_2: float = _number(0.999, at_least=0, below=1)
    epsilon: float = _number(1e-7, above=0)
    clipnorm: Optional[float] = _number(None, above=0)
    global_clipnorm: Optional[float] = _number(None, above=0)
    weight_decay: Optional[float] = _number(None, at_least=0)


@dataclasses.dataclass(frozen=True)
class SGDW:
    """SGD with decoupled weight decay (Loshchilov, Hutter, ICLR 2019), of tensorflow-addons."""

    name: Literal["sgdw"]
    learning_rate: float = _number(above=0)
    weight_decay: float = _number(at_least=0)
    momentum: float = _number(0.0, at_least=0, below=1)
    nesterov: bool = False
    clipnorm: Optional[float] = _number(None, above=0)


@dataclasses.dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov, Hutter, ICLR 2019), of tensorflow-addons."""

    name: Literal["adamw"]
    learning_rate: float = _number(above=0)
    weight_decay: float = _number(at_least=0)
    beta_1: float = _number(0.9, at_least=0, below=1)
    beta_2: float = _number(0.999, at_least=0, below=1)
    epsilon: float = _number(1e-7, above=0)
    clipnorm: Optional[float] = _number(None, above=0)


@dataclasses.dataclass(frozen=True)
class LAMB:
    """LAMB for large batches (You et al., ICLR 2020), of tensorflow-addons."""

    name: Literal["lamb"]
    learning_rate: float = _number(above=0)
    weight_decay: float = _number(0.0, at_least=0)
    beta_1: float = _number(0.9, at_least=0, below=1)
    beta_2: float = _number(0.999, at_least=0, below=1)
    epsilon: float = _number(1e-6, above=0)
    clipnorm: Optional[float] = _number(None, above=0)


@dataclasses.dataclass(frozen=True)
class Rate:
    """The learning rate of the layers that fit a pattern (as of shell file names) is multiplied by ``factor``."""

    layers: str
    factor: float = _number(above=0)


@dataclasses.dataclass(frozen=True)
class WeightAverage:
    """Validation and the saved model use the exponential moving average of the weights."""

    momentum: float = _number(0.999, above=0, below=1)


@dataclasses.dataclass(frozen=True)
class Constant:
    """The learning rate stays."""

    name: Literal["constant"] = "constant"


@dataclasses.dataclass(frozen=True)
class Step:
    """The learning rate is multiplied by ``factor`` after every ``every`` epochs."""

    name: Literal["step"]
    every: int = _number(at_least=1)
    factor: float = _number(0.1, above=0, below=1)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """The learning rate falls along half a cosine to the share ``final`` of itself (Loshchilov, Hutter, ICLR 2017)."""

    name: Literal["cosine"]
    final: float = _number(0.0, at_least=0, below=1)


@dataclasses.dataclass(frozen=True)
class Plateau:
    """The learning rate is multiplied by ``factor`` after ``patience`` epochs without improvement on validation."""

    name: Literal["plateau"]
    patience: int = _number(at_least=1)
    factor: float = _number(0.1, above=0, below=1)


@dataclasses.dataclass(frozen=True)
class EarlyStopping:
    """Training ends after ``patience`` epochs without improvement on validation."""

    patience: int = _number(at_least=1)


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training; the stages of a recipe follow each other.

    Attributes:
        name: Name, and folder in the run directory.
        epochs: Largest number of epochs; 0: the model is put together from what it starts from, and not trained.
        optimizer: ``{name: sgd | adam, learning_rate: ..., ...}``; ``sgdw``, ``adamw`` and ``lamb`` need
            tensorflow-addons.
        model: A zoo model trained instead of the recipe's, such as a backbone. Options that both have with the same
            default (``width``, ``lstm_units``) take the values of the recipe's model unless given here.
        init: What this one starts from: names of earlier stages, or paths of run directories or ``.keras`` models.
        batch: Global batch size; default: the recipe's.
        base_batch: Batch size that the learning rate is meant for: with another one it changes in proportion.
        accumulate: Parts that a device takes its share of a batch in, to save memory.
        recompute: Activation checkpointing: what a video network's blocks compute inside is not kept but computed again
            in the backward pass, to save memory.
        rates: Layers with a learning rate of their own.
        label_smoothing: Share of a label that is spread over all classes.
        class_weights: ``balanced``: every class has the same share of the loss, whatever its number of clips.
        average: Use the moving average of the weights.
        schedule: How the learning rate changes from epoch to epoch.
        monitor: What decides on validation which epoch is best; of equal ones the latest is. ``last``: nothing does,
            the last one is taken.
        early_stopping: When to stop before all epochs.
        freeze: Patterns (as of shell file names) of layers that are not trained.
    """

    name: str
    epochs: int = _number(at_least=0)
    optimizer: Union[SGD, Adam, SGDW, AdamW, LAMB] = dataclasses.field(default=dataclasses.MISSING)
    model: Optional[Model] = None
    init: tuple[str, ...] = ()
    batch: Optional[int] = _number(None, at_least=1)
    base_batch: Optional[int] = _number(None, at_least=1)
    accumulate: int = _number(1, at_least=1)
    recompute: bool = False
    rates: tuple[Rate, ...] = ()
    label_smoothing: float = _number(0.0, at_least=0, below=1)
    class_weights: Literal["none", "balanced"] = "none"
    average: Optional[WeightAverage] = None
    schedule: Union[Constant, Step, Cosine, Plateau] = Constant()
    monitor: Literal["val_accuracy", "val_loss", "last"] = "val_accuracy"
    early_stopping: Optional[EarlyStopping] = None
    freeze: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """How many views of a clip are scored, and how their scores become the clip's.

    Attributes:
        clips: Windows per recording, or ``all`` for as many as cover it.
        crops: 1 (centre) or 3 (and two corners) per window.
        pool: Mean or maximum of the softmax scores, or mean of the logits.
        pose_crop: Of poses alone: windows are parts of the clip, from this share to all of it.
    """

    clips: Union[int, Literal["all"]] = _number(1, at_least=1)
    crops: Literal[1, 3] = 1
    pool: Literal["mean_softmax", "max_softmax", "mean_logits"] = "mean_softmax"
    pose_crop: float = _number(1.0, above=0, at_most=1)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Attributes:
        model: The model the last stage trains: the result of the run.
        data: What it is trained on.
        stages: The trainings, in order; none for an estimator such as ``two_level_fusion``, which trains itself.
        evaluate: How a clip is scored in tests.
        batch: Global batch size: clips per step over all devices together.
        seed: Seed of weights, order, augmentation and dropout.
        mixed_precision: What layers compute in; weights are float32 always.
        xla: Compile with XLA: slower on CPU, and not for several replicas.
        deterministic: Whether operations give the same bits every time; default: on CPU yes, on GPU (slower) no. With
            an explicit ``false`` clips may come in another order, too: a slow one is overtaken.
        name: The recipe's name; default: the file's.
    """

    model: Model
    data: Data
    stages: tuple[Stage, ...] = ()
    evaluate: Evaluate = dataclasses.field(default_factory=Evaluate)
    batch: int = _number(16, at_least=1)
    seed: int = _number(0, at_least=0, below=2**31)
    mixed_precision: Literal["float32", "bfloat16", "float16"] = "float32"
    xla: bool = False
    deterministic: Optional[bool] = None
    name: str = ""

    def stage_model(self, stage):
        """The :class:`Model` a stage trains."""
        return stage.model or self.model

    def to_dict(self):
        """YAML values from which :func:`from_dict` makes an equal recipe."""
        return _plain(self)

    def to_yaml(self):
        """The resolved recipe: every key, defaults included."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=110)


# --------------------------------------------------------------------------------------------------------- loading


def names():
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def load(recipe, overrides=()):
    """Reads a recipe.

    Args:
        recipe: Name of a recipe in ``recipes/configs``, or path of a YAML file. A name may end in a protocol of the
            recipe's dataset, such as ``vpn_ntu60_cv``.
        overrides: ``key=value`` strings: dotted keys (a stage goes by its name), values as in YAML.

    Returns:
        A :class:`Recipe`.

    Raises:
        UserError: There is no such recipe, or a key or value is wrong.
    """
    path, protocol = _find(recipe)
    values = _parse(path.read_text(encoding="utf-8"), str(recipe))
    if isinstance(values, dict):
        for override in [*([f"data.protocol={protocol}"] if protocol else []), *overrides]:
            _override(values, override)
        values.setdefault("name", f"{path.stem}_{protocol}" if protocol else path.stem)
    return from_dict(values, f"recipe {recipe}")


def from_dict(values, where="recipe"):
    """The recipe of YAML values; the inverse of :meth:`Recipe.to_dict`.

    Args:
        values: A mapping as a YAML file holds it.
        where: What error messages start with.

    Returns:
        A :class:`Recipe`.

    Raises:
        UserError: A key or value is wrong.
    """
    try:
        recipe = _read(Recipe, values, "")
        _check(recipe)
    except _Invalid as error:
        raise UserError(f"{where}: {error}") from None
    return recipe


def differences(old, new):
    """Dotted keys in which two recipes differ, stages by their names."""

    def leaves(value, path):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            value = {item.get("name", number): item for number, item in enumerate(value)}
        if isinstance(value, dict):
            return {k: v for key, item in value.items() for k, v in leaves(item, f"{path}.{key}").items()}
        return {path[1:]: value}

    missing = object()
    old, new = leaves(old.to_dict(), ""), leaves(new.to_dict(), "")
    return [key for key in {**old, **new} if old.get(key, missing) != new.get(key, missing)]


def is_path(source):
    """Whether an item of ``init`` is a path; else it is an earlier stage's name."""
    return "/" in source or source.endswith(MODEL_FILE)


def unknown(kind, name, valid):
    """``<kind> <name>, did you mean <nearest>? Valid: <all>``: the message about a name that is none of the valid."""
    return f"{kind} {name!r}{messages.nearest(name, list(valid) or ['none'])}"


def _find(recipe):
    """Path of a recipe, and the protocol that its name ends in (``None``: its own)."""
    path, protocol = pathlib.Path(recipe), None
    if path.suffix not in (".yaml", ".yml"):
        name = str(recipe)
        if name not in names():
            name, protocol = _without_protocol(name)
        path = CONFIGS / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"recipe {recipe}: no such file, expected a YAML file or one of {_listed(names())}")
    return path, protocol


def _without_protocol(name):
    """``(recipe, protocol)`` of a name such as ``vpn_ntu60_cv``."""
    for recipe in names():
        protocol = name[len(recipe) + 1 :]
        dataset = next((d for d in protocols.PROTOCOLS if recipe.endswith(f"_{d}")), None)
        if name.startswith(f"{recipe}_") and dataset and protocol in protocols.PROTOCOLS[dataset]:
            return recipe, protocol
    raise UserError(unknown("unknown recipe", name, names()))


class _Loader(yaml.SafeLoader):
    """YAML with numbers such as ``1e-4`` (text in YAML 1.1), and without silently repeated keys."""

    def construct_mapping(self, node, deep=False):
        """A mapping; an error if a key comes twice."""
        mapping = super().construct_mapping(node, deep)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} comes twice", node.start_mark)
        return mapping


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _parse(text, where):
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"recipe {where}{place}: not valid YAML: {getattr(error, 'problem', error)}") from None


def _override(values, override):
    """Applies one ``key=value`` to the recipe's YAML values."""
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise UserError(f"--set {override}: expected key=value, such as stages.pose.epochs=50")
    section = values
    for depth, step in enumerate(path[:-1]):
        if step == "model" and isinstance(section, dict) and isinstance(section.get(step), str):
            section[step] = {"name": section[step]}  # a model may be its name alone
        if isinstance(section, dict):
            section = section.setdefault(step, {})
        elif isinstance(section, list):
            section = _named(section, step, ".".join(path[:depth]))
        if section is None or not isinstance(section, (dict, list)):
            raise UserError(f"--set {override}: {'.'.join(path[: depth + 1])} holds no keys but {_shown(section)}")
    if isinstance(section, list):
        raise UserError(f"--set {override}: name a key of the stage too, such as {key}.epochs=50")
    section[path[-1]] = _parse(text, f"--set {override}")


def _named(stages, name, where):
    """The stage of that name in a YAML list of stages."""
    by_name = {str(stage.get("name")): stage for stage in stages if isinstance(stage, dict)}
    if name not in by_name:
        raise UserError(f"--set: {unknown(f'{where} has no stage', name, by_name)}")
    return by_name[name]


# ---------------------------------------------------------------------------------------------------------- typing


class _Invalid(Exception):
    """A value at ``path`` (dotted keys) is wrong."""

    def __init__(self, path, message):
        super().__init__(f"{path}: {message}" if path else message)


def _read(annotation, value, path, limits=None):
    """A YAML value as the annotated type.

    Args:
        annotation: A dataclass, a basic type, or ``Optional``, ``Union``, ``Literal`` or ``tuple[X, ...]`` of them.
        value: What YAML gave.
        path: Dotted keys of the value, for errors.
        limits: Restrictions of numbers, as :func:`_number` declares them.

    Returns:
        The value.

    Raises:
        _Invalid: It is of another type, unknown or out of its range.
    """
    if typing.get_origin(annotation) is Union:
        annotation = _alternative(typing.get_args(annotation), value, path)
    if annotation is Model:
        return _read_model(value, path)
    if dataclasses.is_dataclass(annotation):
        return _read_section(annotation, value, path)
    if not _fits(annotation, value):
        raise _Invalid(path, f"expected {_expected(annotation)}, found {_shown(value)}")
    if isinstance(value, list):
        items = (typing.get_args(annotation) or (str,))[0]
        return tuple(_read(items, item, _item_path(path, item, n)) for n, item in enumerate(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        _check_limits(value, path, limits or {})
    return float(value) if annotation is float else value


def _alternative(annotations, value, path):
    """The one of a union's types that a value is meant to be; sections are told apart by their ``name``."""
    sections = [a for a in annotations if dataclasses.is_dataclass(a)]
    fitting = [a for a in annotations if a not in sections and _fits(a, value)]
    if fitting:
        return fitting[0]
    if len(sections) == 1:
        return sections[0]
    if not sections:
        raise _Invalid(path, f"expected {' or '.join(map(_expected, annotations))}, found {_shown(value)}")
    by_name = {typing.get_args(_types(section)["name"])[0]: section for section in sections}
    if not isinstance(value, dict) or "name" not in value:
        raise _Invalid(path, f"expected {{name: {' or '.join(by_name)}, ...}}, found {_shown(value)}")
    name = str(value["name"])
    if name not in by_name:
        raise _Invalid(_join(path, "name"), unknown("unknown name", name, by_name))
    return by_name[name]


def _fits(annotation, value):
    """Whether a value other than a mapping is of a type."""
    if typing.get_origin(annotation) is Literal:
        return any(type(value) is type(valid) and value == valid for valid in typing.get_args(annotation))
    if annotation is tuple or typing.get_origin(annotation) is tuple:
        return isinstance(value, list)
    if isinstance(value, bool):  # an int to Python, but not to a reader
        return annotation is bool
    return isinstance(value, (int, float) if annotation is float else annotation)


def _read_model(value, path):
    """A model: a name alone, or ``{name, options...}``; :mod:`zoo` checks the options."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise _Invalid(path, f"expected a model such as {{name: pose_lstm, lstm_units: 128}}, found {_shown(value)}")
    options = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items() if key != "name"}
    return Model(value["name"], options)


def _read_section(section, value, path):
    """A dataclass from a mapping: unknown and missing keys are errors."""
    types = _types(section)
    if not isinstance(value, dict):
        raise _Invalid(path, f"expected {_expected(section)}, found {_shown(value)}")
    for key in value:
        if key not in types:
            raise _Invalid(path, unknown("unknown key", key, types))
    arguments = {}
    for field in dataclasses.fields(section):
        place = _join(path, field.name)
        if field.name in value:
            arguments[field.name] = _read(types[field.name], value[field.name], place, field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise _Invalid(place, f"missing, expected {_expected(types[field.name])}")
    try:
        return section(**arguments)
    except ValueError as error:  # restrictions that a section of another package checks itself
        raise _Invalid(path, str(error)) from None


def _check_limits(value, path, limits):
    try:
        finite = math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        finite = False
    if not finite or not all(_LIMITS[name](value, limit) for name, limit in limits.items()):
        words = " and ".join(f"{name.replace('_', ' ')} {limit:g}" for name, limit in limits.items())
        raise _Invalid(path, f"expected a number {words or 'that is finite'}, found {value!r}")


def _types(section):
    """Key -> annotation of a section's fields."""
    hints = typing.get_type_hints(section)
    return {field.name: hints[field.name] for field in dataclasses.fields(section)}


def _join(path, key):
    return f"{path}.{key}" if path else key


def _item_path(path, item, number):
    """``stages.pose`` for a named item of a list, ``init.0`` for another."""
    return _join(path, item.get("name", number) if isinstance(item, dict) else number)


def _listed(valid):
    return ", ".join(map(str, valid))


def _expected(annotation):
    """A type in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is Union:
        return " or ".join(map(_expected, arguments))
    if origin is tuple:
        return f"a list of {_expected(arguments[0])}"
    if dataclasses.is_dataclass(annotation):
        return f"{{{_listed(_types(annotation))}}}"
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    return words.get(annotation, "a list")


def _shown(value):
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"


def _plain(value):
    """YAML values of a recipe's part."""
    if isinstance(value, Model):
        return {"name": value.name, **{key: _plain(option) for key, option in value.options.items()}}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


# ------------------------------------------------------------------------------------------------ sections together


def _check(recipe):
    """Restrictions that concern several keys."""
    data, stages = recipe.data, recipe.stages
    if data.dataset not in datasets.NAMES:
        raise _Invalid("data.dataset", unknown("unknown dataset", data.dataset, datasets.NAMES))
    if not data.frames and not data.pose_steps and not data.granularities:
        nothing = "frames and pose_steps are both 0 and granularities is empty"
        raise _Invalid("data", f"{nothing}, expected at least one above: nothing would be read")
    if data.granularities and data.augment.flip:
        raise _Invalid("data.augment.flip", "stored features cannot be mirrored, set it to false")
    if data.interpolate and data.segment_steps:
        raise _Invalid("data.interpolate", "the poses of segments are those of frames, set it to false")
    for name in ("pose_crop", "pose_pad", "time_warp"):
        unchanged = getattr(augmentation.Augmentation(), name)
        if data.segment_steps and getattr(data.augment, name) != unchanged:
            raise _Invalid(f"data.augment.{name}", f"the poses of segments are of whole clips, set it to {unchanged:g}")
    if recipe.evaluate.crops > 1 and not data.frames:
        raise _Invalid("evaluate.crops", "crops are of video, of which data.frames reads none: set it to 1")
    if recipe.evaluate.pose_crop < 1 and (data.frames or data.granularities or not data.pose_steps):
        raise _Invalid("evaluate.pose_crop", "windows are of parts of a clip for poses alone: set it to 1")
    if recipe.model.name in registry.ESTIMATORS:
        _check_estimator(recipe)
        return
    if not stages:
        raise _Invalid("stages", "expected at least one stage")
    earlier = []
    for stage in stages:
        path = f"stages.{stage.name}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", stage.name):
            raise _Invalid(path, "a stage's name is a folder's, expected letters, digits, _ and -")
        if stage.name in earlier:
            raise _Invalid(path, "two stages have this name, expected different ones")
        for source in stage.init:
            if source not in earlier and not is_path(source):
                raise _Invalid(f"{path}.init", unknown("no earlier stage", source, earlier))
        needs_best = stage.early_stopping or stage.schedule.name == "plateau"
        if stage.monitor == "last" and needs_best:
            raise _Invalid(f"{path}.monitor", "last chooses no epoch: leave early_stopping and plateau out")
        if data.train_on == "train_and_val" and stage.monitor != "last":
            raise _Invalid(f"{path}.monitor", "data.train_on train_and_val leaves nothing to choose on, set it to last")
        if stage.recompute and recipe.xla:
            raise _Invalid(f"{path}.recompute", "XLA merges what is computed twice: set xla to false")
        if stage.recompute and recipe.mixed_precision != "float32":
            raise _Invalid(f"{path}.recompute", "was found right in float32 alone: set mixed_precision to float32")
        model = stage.model or recipe.model
        if stage.class_weights != "none" and model.options.get("loss") == "all_steps":
            raise _Invalid(f"{path}.class_weights", "the loss of all steps is exact without them alone: leave them out")
        if stage.class_weights != "none" and model.name == "sta_hands":
            exact = "the loss of both streams is exact without them alone"
            raise _Invalid(f"{path}.class_weights", f"{exact}: leave them out")
        if not stage.epochs and not stage.init:
            raise _Invalid(f"{path}.epochs", "0 epochs need trained weights to start from, name them in init")
        earlier.append(stage.name)
    if stages[-1].model is not None:
        raise _Invalid(f"stages.{stages[-1].name}.model", "the last stage trains the recipe's model, leave it out")


def _check_estimator(recipe):
    """A key that an estimator has no use for is refused: it would be silently without effect."""
    name, data = recipe.model.name, recipe.data
    if not data.pose_steps:
        raise _Invalid("data.pose_steps", f"{name} reads poses, expected a number above 0")
    of_data = ("train_on", "frames", "stride", "parts", "interpolate", "augment", "cache", "balance")
    useless = {f"data.{key}": (data, key) for key in of_data}
    useless.update({key: (recipe, key) for key in ("stages", "evaluate", "mixed_precision", "xla")})
    for key, (section, field) in useless.items():
        (default,) = [_default(f) for f in dataclasses.fields(section) if f.name == field]
        if getattr(section, field) != default:
            raise _Invalid(key, f"has no effect on {name}, leave it out")


def _default(field):
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
