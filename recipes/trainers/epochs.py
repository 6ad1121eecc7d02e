"""The callback around every epoch of a stage."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from recipes import run_directory
from recipes.config import Stage
from recipes.reports import scoring
from recipes.trainers import distribution, history, optimisation
from recipes.trainers.checkpoints import Checkpoints
from zoo.shared.errors import UserError


class Epochs(tf.keras.callbacks.Callback):
    """Sets the learning rate before an epoch; afterwards validates, logs, saves a checkpoint and may stop the stage.

    Args:
        stage: The stage.
        rows: History of the epochs so far; one is appended at the end of every epoch.
        checkpoints: Where the stage is saved.
        run: Path of the run directory.
        strategy: The training's strategy.
        clips: Training clips in an epoch.
        validate: Function that returns the labels and scores of the validation clips.
        rate: Learning rate before the schedule.
        model: The whole model, whose weights are saved; what is trained may be a part of it.
        average: The moving average of the weights, if the stage uses it.
    """

    def __init__(
        self,
        stage: Stage,
        rows: list[dict[str, float]],
        checkpoints: Checkpoints,
        run: pathlib.Path,
        strategy: tf.distribute.Strategy,
        clips: int,
        validate: Callable[[], tuple[np.ndarray, np.ndarray]],
        rate: float,
        model: tf.keras.Model,
        average: optimisation.WeightAverage | None = None,
    ) -> None:
        super().__init__()
        self.strategy = strategy
        self.is_chief = distribution.is_chief(strategy)
        self.rate = rate
        self.whole_model = model
        self.average = average
        self.stage = stage
        self.history = rows
        self.checkpoints = checkpoints
        self.run = pathlib.Path(run)
        self.clips = clips
        self.validate = validate
        if self.is_chief:
            self.writer = tf.summary.create_file_writer(str(self.run / "logs" / stage.name))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the learning rate and starts the clock."""
        self.learning_rate = self.rate * history.schedule_factor(self.stage, self.history)
        self.model.optimizer.learning_rate = self.learning_rate
        self.started = time.perf_counter()
        self.bar = tqdm(
            total=self.params["steps"],
            desc=f"{self.stage.name} {epoch + 1}/{self.stage.epochs}",
            unit="step",
            leave=False,
            dynamic_ncols=True,
            disable=None if self.is_chief else True,  # no bar where there is no terminal
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar; stops if the loss is not finite."""
        self._require_finite(logs["loss"], "loss")
        if self.average:
            self.average.update()
        self.bar.update()
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", accuracy=f"{logs['accuracy']:.3f}", refresh=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Validates and records the epoch, and decides whether there is another one."""
        self.bar.close()
        seconds = time.perf_counter() - self.started
        if self.average:
            self.average.exchange()
        distribution.share_statistics(self.strategy, self.model)
        labels, scores = self.validate()
        if self.average:
            self.average.exchange()
        # Workers validate on the same clips. Their figures may differ in the last bits, their decisions must not.
        figures = [scoring.cross_entropy(labels, scores), scoring.Metrics(labels, scores).top1]
        val_loss, val_accuracy = distribution.agree(self.strategy, figures)
        self._require_finite(val_loss, "validation loss")
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": self.learning_rate,
            "seconds": round(seconds, 3),
            "clips_per_second": round(self.clips / seconds, 1),
        }
        self.history.append(row)
        if logs is not None:  # for the callbacks after this one, as Keras itself does with validation
            logs.update({name: value for name, value in row.items() if name != "epoch"})
        keep = history.epochs_to_keep(self.history, self.stage.monitor)
        average = {"average": self.average} if self.average else {}
        self.checkpoints.save(self.history, keep, model=self.whole_model, optimizer=self.model.optimizer, **average)
        if self.is_chief:
            self._log(row)
            run_directory.write_history(self.run, self.stage.name, self.history)
            print(self._line(row), flush=True)
        distribution.wait(self.strategy)  # until the checkpoint is there for all
        self.model.stop_training = history.has_ended(self.stage, self.history)

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the log."""
        if self.is_chief:
            self.writer.close()

    def _log(self, row: dict[str, float]) -> None:
        with self.writer.as_default(step=row["epoch"]):
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(name, value)
        self.writer.flush()

    def _line(self, row: dict[str, float]) -> str:
        best = history.best_epoch(self.history, self.stage.monitor)
        best_accuracy = self.history[best - 1]["val_accuracy"]
        return (
            f"{self.stage.name} {row['epoch']}/{self.stage.epochs}  loss {row['loss']:.4f}  "
            f"accuracy {row['accuracy']:.1%}  validation loss {row['val_loss']:.4f}  "
            f"accuracy {row['val_accuracy']:.1%} (best {best_accuracy:.1%} in {best})  "
            f"learning rate {row['learning_rate']:.2g}  "
            f"{row['seconds']:.1f} s  {row['clips_per_second']:.0f} clips/s"
        )

    def _require_finite(self, value: float, name: str) -> None:
        if np.isfinite(value):
            return
        self.bar.close()
        done = len(self.history)
        kept = f"epoch {done} is kept" if done else "no epoch has ended yet"
        raise UserError(
            f"stage {self.stage.name}: the {name} became {value} in epoch {done + 1}, {kept}: continue with --resume "
            f"and a smaller --set stages.{self.stage.name}.optimizer.learning_rate=..., or clip gradients with clipnorm"
        )
