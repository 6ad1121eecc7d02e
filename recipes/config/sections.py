"""The sections of a recipe: what every key is, its type, its default and the restriction of its number."""

import dataclasses
from typing import Any, Literal, Optional, Union

import yaml

from tfrecords.reading import augmentation, pipeline, poses
from zoo import registry, skeletons
from zoo.shared.errors import UserError

MODEL_FILE = ".keras"  # suffix of a model's path; no name of a stage ends in it
# Keys of a single run: two recipes that differ in no other key are the same training, repeated.
OF_A_RUN = ("name", "seed", "stored_maps")


def _number(default: Any = dataclasses.MISSING, **limits: float) -> Any:
    """A field with limits: ``above``, ``at_least``, ``at_most``, ``below``; without a default the key is required."""
    return dataclasses.field(default=default, metadata=limits)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model of the zoo and the options it is built with; in YAML the options stand beside the name."""

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Data:
    """Which dataset is read, and what of it; the fields are those of :class:`tfrecords.reading.pipeline.Inputs`.

    Attributes:
        dataset: A converted dataset's name.
        protocol: Evaluation protocol: which clips train, validate and test.
        train_on: ``train``, or ``train_and_val``: the validation clips are trained on too. Then nothing can be chosen
            on the validation clips: stages must monitor ``last``, and validation figures are those of training clips.
        frames: Frames T of a video clip; 0: no video is read.
        stride: Distance between two sampled frames.
        short_clips: A clip shorter than ``frames * stride`` starts again (``loop``), or is sampled evenly (``spread``).
        size: Height and width of a frame, pixels.
        parts: Body parts whose pictures are read.
        pose_steps: Steps tp of a pose sequence; 0: no poses are read.
        interpolate: Interpolate poses between frames.
        normalisation: How poses are normalised.
        augment: Random changes of training clips.
        cache: Keep the records in memory after the first epoch.
        balance: ``classes``: every class occurs equally often in training, whatever its number of clips.
        granularities: Numbers of segments that a clip is cut into; the stored features of these segments are read.
            Empty: no features are read.
        segment_steps: Steps of a segment's pose sequence; 0: no poses of segments are read.
        layout: Skeleton layout that poses are mapped onto (:func:`zoo.skeletons.map_joints`), such as the layout of the
            dataset that a fine-tuned model was trained on, or one that sensors and estimators share; default: the
            dataset's.
        persons: Number of persons M in a pose: the dataset's first M, with absent persons added if it has fewer;
            default: the dataset's number.
    """

    dataset: str
    protocol: str
    train_on: Literal["train", "train_and_val"] = "train"
    frames: int = _number(0, at_least=0)
    stride: int = _number(2, at_least=1)
    short_clips: Literal["loop", "spread"] = "loop"
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
    layout: Optional[str] = None
    persons: Optional[int] = _number(None, at_least=1)

    def inputs(self, records: pipeline.Records) -> pipeline.Inputs:
        """The :class:`~tfrecords.reading.pipeline.Inputs` of this recipe on a converted dataset."""
        reads_poses = self.pose_steps or self.segment_steps
        framing = records.framing(self.protocol, self.train_on, self.parts[0]) if self.frames else "centre"
        stored: dict[str, Any] = {"framing": framing, "persons": 1, "layout": ""}
        if reads_poses or framing == "person":
            stored.update(persons=max(records.persons, 1), layout=records.layout)
        if reads_poses and records.layout:
            stored.update(self._other_poses(records))
        if self.granularities:
            stored["feature_size"] = records.feature_size
        own: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(pipeline.Inputs)
               if hasattr(self, field.name)}  # fmt: skip
        return pipeline.Inputs(**{**own, **stored})

    def _other_poses(self, records: pipeline.Records) -> dict[str, Any]:
        """Persons and layout of the model's poses where they differ from those of the records."""
        other: dict[str, Any] = {}
        if self.persons not in (None, records.persons):
            other.update(persons=self.persons, stored_persons=records.persons)
        if self.layout not in (None, records.layout):
            known = skeletons.targets(records.layout)
            if self.layout not in known:
                onto = ", ".join(known) or "no other"
                raise UserError(f"data.layout: poses of {records.layout} can be mapped onto {onto}, not {self.layout}")
            other.update(layout=self.layout, stored_layout=records.layout)
        return other


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
    """The learning rate of the layers that match a pattern (as shell file names do) is multiplied by ``factor``."""

    layers: str
    factor: float = _number(above=0)


@dataclasses.dataclass(frozen=True)
class WeightAverage:
    """Validation and the saved model use the exponential moving average of the weights."""

    momentum: float = _number(0.999, above=0, below=1)


@dataclasses.dataclass(frozen=True)
class Constant:
    """The learning rate does not change."""

    name: Literal["constant"] = "constant"


@dataclasses.dataclass(frozen=True)
class Step:
    """The learning rate is multiplied by ``factor`` after every ``every`` epochs."""

    name: Literal["step"]
    every: int = _number(at_least=1)
    factor: float = _number(0.1, above=0, below=1)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """The learning rate falls along half a cosine to ``final`` times its start (Loshchilov, Hutter, ICLR 2017)."""

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
        epochs: Largest number of epochs. 0: the model is not trained; it gets the weights of ``init``, or its
            classifier those of ``linear_probe``.
        least_epoch_steps: Smallest number of steps in an epoch. If there are few clips, an epoch passes over them more
            than once.
        optimizer: ``{name: sgd | adam, learning_rate: ..., ...}``; ``sgdw``, ``adamw`` and ``lamb`` need
            tensorflow-addons.
        model: A zoo model trained instead of the recipe's, such as a backbone. Options that both have with the same
            default (``width``, ``lstm_units``) take the values of the recipe's model unless given here.
        init: What this stage starts from: names of earlier stages, or paths of run directories or ``.keras`` models.
        batch: Global batch size; default: the recipe's.
        base_batch: Batch size that the learning rate is meant for. With another batch size, the learning rate is
            scaled in proportion.
        accumulate: Number of pieces in which a device computes its part of a batch, one after another, to save memory.
        gradient_checkpointing: Save memory: activations inside a video network's blocks are not kept but computed
            again in the backward pass.
        layer_learning_rates: Layers with a learning rate of their own.
        label_smoothing: Fraction of a label that is spread over all classes.
        class_weights: ``balanced``: every class weighs the same in the loss, however many clips it has. Where
            ``data.balance`` samples all classes equally often, no weights are needed, and none are used.
        average: Use the moving average of the weights.
        schedule: How the learning rate changes from epoch to epoch.
        monitor: The validation figure that decides which epoch is best; among equal epochs the latest is taken.
            ``last``: the last epoch is taken.
        early_stopping: When to stop before the last epoch.
        freeze: Patterns of the names of layers that are not trained, such as ``lstm_*``. Frozen batch normalisation
            uses its moving averages in training too.
        cache_frozen: Number of augmented views of each clip for which the output of the frozen layers before the first
            trained layer is stored. The other layers are trained from this output. 0: the frozen layers are computed in
            every step.
        linear_probe: Before the first epoch, fit the classifier by logistic regression on what ``cache_frozen`` stored;
            the value is the inverse weight of the L2 penalty, per clip. 0: no such fit.
    """

    name: str
    epochs: int = _number(at_least=0)
    optimizer: Union[SGD, Adam, SGDW, AdamW, LAMB] = _number()  # noqa: RUF009
    model: Optional[Model] = None
    init: tuple[str, ...] = ()
    batch: Optional[int] = _number(None, at_least=1)
    base_batch: Optional[int] = _number(None, at_least=1)
    accumulate: int = _number(1, at_least=1)
    gradient_checkpointing: bool = False
    layer_learning_rates: tuple[Rate, ...] = ()
    label_smoothing: float = _number(0.0, at_least=0, below=1)
    class_weights: Literal["none", "balanced"] = "none"
    average: Optional[WeightAverage] = None
    schedule: Union[Constant, Step, Cosine, Plateau] = Constant()
    monitor: Literal["val_accuracy", "val_loss", "last"] = "val_accuracy"
    early_stopping: Optional[EarlyStopping] = None
    freeze: tuple[str, ...] = ()
    cache_frozen: int = _number(0, at_least=0)
    linear_probe: float = _number(0.0, at_least=0)
    least_epoch_steps: int = _number(0, at_least=0)


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """How many views of a clip are scored, and how their scores are combined.

    Attributes:
        clips: Windows per recording, or ``all`` for as many as cover the recording.
        crops: Crops per window: 1 (the centre) or 3 (the centre and two corners). ``full``: the whole picture in its
            own aspect ratio, with the network made convolutional in space.
        pool: Mean or maximum of the softmax scores, or mean of the logits.
        pose_crop: For models of poses alone: windows are parts of the clip, from this fraction of it to all of it.
        swap_persons: For models of poses alone: every window is scored in both orders of the persons, so that the order
            has no effect on the clip's scores.
        flip: Every view is scored twice: as it is, and mirrored as by ``data.augment.flip``, which also exchanges left
            and right joints and the pictures of the two hands.
    """

    clips: Union[int, Literal["all"]] = _number(1, at_least=1)
    crops: Literal[1, 3, "full"] = 1
    pool: Literal["mean_softmax", "max_softmax", "mean_logits"] = "mean_softmax"
    pose_crop: float = _number(1.0, above=0, at_most=1)
    swap_persons: bool = False
    flip: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Attributes:
        model: The model the last stage trains: the result of the run.
        data: What it is trained on.
        stages: The trainings, in order; empty for an estimator such as ``two_level_fusion``, which has none.
        evaluate: How a clip is scored in tests.
        batch: Global batch size: clips per step over all devices together.
        seed: Seed of weights, order, augmentation and dropout.
        mixed_precision: What layers compute in; weights are float32 always.
        xla: Compile with XLA: slower on CPU, and not for several replicas.
        deterministic: Whether operations give identical results in every run; default: yes on CPU, no on GPU, where it
            is slower. With an explicit ``false`` the order of clips may vary too: a clip that is read faster may come
            before a slower one.
        stored_maps: Folder in which the feature maps of frozen networks of pictures, or the features of
            ``two_level_fusion``, are kept, for this and later trainings and evaluations.
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
    stored_maps: str = ""
    name: str = ""

    @property
    def is_estimator(self) -> bool:
        """Whether the model is a scikit-learn estimator, which has no stages; else it is a Keras model."""
        return self.model.name in registry.ESTIMATORS

    def stage_model(self, stage: Stage) -> Model:
        """The :class:`Model` a stage trains."""
        return stage.model or self.model

    def to_dict(self) -> dict[str, Any]:
        """YAML values from which :func:`recipes.config.from_dict` makes an equal recipe."""
        return _plain(self)

    def to_yaml(self) -> str:
        """The resolved recipe: every key, defaults included."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=110)


def is_path(source: str) -> bool:
    """Whether an item of ``init`` is a path; else it is an earlier stage's name."""
    return "/" in source or source.endswith(MODEL_FILE)


def _plain(value: Any) -> Any:
    """YAML values of a recipe's part."""
    if isinstance(value, Model):
        return {"name": value.name, **{key: _plain(option) for key, option in value.options.items()}}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
