"""What follows from the history of a stage's epochs: the best epoch, the learning rate, whether the stage ends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from recipes.config import Cosine, Plateau, Stage, Step

KEPT = 2  # newest checkpoints kept, besides the best

History = Sequence[Mapping[str, float]]  # a row for every epoch


def best_epoch(history: History, monitor: str, among: Iterable[int] | None = None) -> int:
    """Number (from 1) of the best epoch on validation, or the last where ``monitor`` is ``last``; 0 without epochs.

    Among equal epochs it is the latest, which was trained longer with a falling learning rate. Ties are common: on
    small validation splits, many accuracies are equal.

    Args:
        history: One row per epoch with ``val_accuracy`` and ``val_loss``.
        monitor: ``val_accuracy``, ``val_loss`` or ``last``.
        among: Numbers of the epochs to choose from; default: all.
    """
    epochs = range(1, len(history) + 1) if among is None else among
    return max(epochs, key=lambda epoch: (_goodness(history[epoch - 1], monitor), epoch), default=0)


def epochs_to_keep(history: History, monitor: str) -> set[int]:
    """Numbers of the epochs whose checkpoints may still be needed.

    They are the newest epochs and the best one; also the best one before the newest, whose checkpoint may be damaged.

    Example:
        >>> accuracies = [0.5, 0.4, 0.3, 0.2, 0.6]
        >>> sorted(epochs_to_keep([{"val_accuracy": value} for value in accuracies], "val_accuracy"))
        [1, 4, 5]
    """
    newest = range(max(len(history) - KEPT, 0) + 1, len(history) + 1)
    return {*newest, *(best_epoch(history[:epoch], monitor) for epoch in newest)}


def last_improvement(history: History, monitor: str) -> int:
    """Number (from 1) of the last epoch that was better on validation than all before it; 0 without epochs."""
    return max(
        range(1, len(history) + 1), key=lambda epoch: (_goodness(history[epoch - 1], monitor), -epoch), default=0
    )


def _goodness(row: Mapping[str, float], monitor: str) -> float:
    if monitor == "last":
        return 0  # all are equal, so the latest is the best
    return -row["val_loss"] if monitor == "val_loss" else row["val_accuracy"]


def schedule_factor(stage: Stage, history: History) -> float:
    """Factor of the learning rate in the epoch that follows a history.

    Example:
        >>> from recipes import config
        >>> stage = config.load("pose_lstm_nucla", ["stages.pose.schedule={name: step, every: 2}"]).stages[-1]
        >>> [round(schedule_factor(stage, [{}] * epoch), 4) for epoch in range(5)]
        [1.0, 1.0, 0.1, 0.1, 0.01]
    """
    schedule, epoch = stage.schedule, len(history)
    if isinstance(schedule, Step):
        return schedule.factor ** (epoch // schedule.every)
    if isinstance(schedule, Cosine):
        cosine = 0.5 * (1 + math.cos(math.pi * epoch / stage.epochs))
        return schedule.final + (1 - schedule.final) * cosine
    if isinstance(schedule, Plateau):
        return schedule.factor ** _plateaus(history, stage.monitor, schedule.patience)
    return 1.0


def _plateaus(history: History, monitor: str, patience: int) -> int:
    """How often ``patience`` epochs have passed without a better one."""
    plateaus = waited = 0
    for epoch in range(1, len(history) + 1):
        waited = 0 if last_improvement(history[:epoch], monitor) == epoch else waited + 1
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def has_ended(stage: Stage, history: History) -> bool:
    """Whether a stage has had all its epochs, or stops early."""
    if len(history) >= stage.epochs:
        return True
    patience = stage.early_stopping.patience if stage.early_stopping else math.inf
    return len(history) - last_improvement(history, stage.monitor) >= patience
