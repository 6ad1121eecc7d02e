"""The interface of a trainer, through which ``train.py`` and ``evaluate.py`` use it.

A new trainer is a subclass of :class:`Trainer` in a module of its own, and one entry in
:data:`recipes.trainers.ESTIMATORS`, which maps models to trainers.
``train.py`` calls, in this order::

    trainer = trainers.of(recipe)
    trainer.check(recipe, records, strategy)                     # UserError: the recipe does not fit data or machine
    prepared = trainer.prepare(recipe, records, strategy, run)   # models and inputs; mistakes show before training
    with ...:                                                    # the run directory is made or checked, and locked
        trainer.change(recipe, keys, run)                        # if an earlier call had other values of these keys
        trainer.train(recipe, records, prepared, strategy, run, callbacks)  # goes on where an earlier call was stopped

and ``evaluate.py``, for a run directory::

    trainer = trainers.of_run(run)
    trainer.views(run.recipe)                                    # how much of a clip is seen, in words
    trainer.score(run, records, protocol, split)                 # Scored: metrics, and those of the model's parts
    trainer.load(run)                                            # the trained model itself
"""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, ClassVar

from recipes.config import Recipe
from recipes.reports.scoring import Metrics
from recipes.run_directory import RunDirectory
from recipes.trainers.callbacks import MakesCallback
from tfrecords.reading.pipeline import Inputs, Records


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What is ready before the training starts.

    Attributes:
        inputs: What the final model is fed; written to the run directory.
        models: What the trainer wants to keep until :meth:`Trainer.train`, such as built models.
    """

    inputs: Inputs
    models: Any = None


@dataclasses.dataclass(frozen=True)
class Scored:
    """The scores of a trained model on a split.

    Attributes:
        metrics: The metrics of the model.
        parts: Name -> accuracy of each part of the model that classifies by itself; empty if there is none.
    """

    metrics: Metrics
    parts: dict[str, float] = dataclasses.field(default_factory=dict)


class Trainer(abc.ABC):
    """A way to train a recipe's model and to use the trained one. It has no state: everything is an argument.

    Attributes:
        has_layers: Whether the trained model is a ``tf.keras.Model``, whose attention and features can be drawn.
    """

    has_layers: ClassVar[bool]

    @abc.abstractmethod
    def check(self, recipe: Recipe, records: Records, strategy: Any) -> None:
        """Raises ``UserError`` unless the recipe fits the converted dataset and the ``tf.distribute.Strategy``.

        ``train.py`` has checked dataset, protocol and validation clips already.
        """

    @abc.abstractmethod
    def prepare(self, recipe: Recipe, records: Records, strategy: Any, run: pathlib.Path) -> Prepared:
        """Builds the models to train and determines their inputs; writes nothing.

        A model whose weights the run directory already holds is not given starting weights. The run directory need not
        exist.

        Raises:
            UserError: An option is wrong, or the dataset lacks what the model reads.
        """

    @abc.abstractmethod
    def train(
        self,
        recipe: Recipe,
        records: Records,
        prepared: Prepared,
        strategy: Any,
        run: pathlib.Path,
        callbacks: Sequence[MakesCallback] = (),
    ) -> None:
        """Trains into a run directory, which is locked; goes on where an earlier call was stopped.

        ``callbacks`` are for trainers with epochs; ``train.py`` refuses them for others.

        Raises:
            UserError: The recipe does not fit the data, or a file cannot be read or written.
        """

    def change(self, recipe: Recipe, keys: Sequence[str], run: pathlib.Path) -> None:  # noqa: B027
        """Lets a run continue with other values of recipe keys that a resumed training may change.

        Args:
            recipe: The recipe with the new values.
            keys: The keys that differ.
            run: Path of the run directory, which is locked.

        Raises:
            UserError: A key can no longer change, as what it determines is done already.
        """

    @abc.abstractmethod
    def load(self, run: RunDirectory) -> Any:
        """The trained model; ``UserError`` while the training has not ended."""

    @abc.abstractmethod
    def model_file(self, run: RunDirectory) -> pathlib.Path:
        """The file of the trained model; stored scores are valid only for its content."""

    @abc.abstractmethod
    def score(self, run: RunDirectory, records: Records, protocol: str, split: str) -> Scored:
        """Scores the trained model on all clips of a split, in the order of ``pipeline.clip_ids``."""

    @abc.abstractmethod
    def views(self, recipe: Recipe) -> str:
        """How much of each clip the model sees in an evaluation, in words."""
