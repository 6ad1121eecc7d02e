"""Fusion of the scores of several runs, with equal weights, given weights or weights chosen on validation clips."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from recipes import config
from recipes.reports import scoring
from recipes.reports.common_clips import CommonClips
from recipes.reports.evaluated import Evaluated

_STEPS = (20, 10, 5, 4, 3, 2, 1)  # of a weight, from 0 to 1
_MOST = 2000  # points of the grid


class Fuser(Protocol):
    """:func:`recipes.reports.scoring.product` or :func:`recipes.reports.scoring.mean`."""

    def __call__(self, *scores: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
        """Fuses the scores of several models."""


# How scores are fused, and its sign in names.
_FUSERS: dict[str, tuple[Fuser, str]] = {"product": (scoring.product, "x"), "mean": (scoring.mean, "mean")}


def grid(runs: int) -> tuple[int, Iterator[tuple[float, ...]]]:
    """All weights with the sum 1, in equal steps: of 0.05 for up to four runs, of larger size for more.

    Args:
        runs: Number of runs.

    Returns:
        ``(steps, weights)``: a weight is a multiple of 1 / steps; tuples of one weight per run.

    Example:
        >>> steps, weights = grid(2)
        >>> steps, list(weights)[:3]
        (20, [(0.0, 1.0), (0.05, 0.95), (0.1, 0.9)])
    """
    steps = next((s for s in _STEPS if math.comb(s + runs - 1, runs - 1) <= _MOST), 1)
    bars = itertools.combinations(range(steps + runs - 1), runs - 1)  # the weights count the stars between two bars
    edges = ((-1, *bar, steps + runs - 1) for bar in bars)
    return steps, (tuple((b - a - 1) / steps for a, b in zip(edge, edge[1:])) for edge in edges)


def choose_weights(
    labels: np.ndarray, scores: Sequence[np.ndarray], fuser: Fuser
) -> tuple[tuple[float, ...], float, int]:
    """The weights of :func:`grid` with the smallest cross-entropy; among ties, those nearest to equal weights.

    Args:
        labels: ``[N]`` true classes of validation clips.
        scores: ``[N, C]`` of each run.
        fuser: How they are fused.

    Returns:
        ``(weights, cross_entropy, steps)``.

    Example:
        >>> sure, unsure = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.4, 0.6], [0.6, 0.4]])
        >>> choose_weights(np.array([0, 1]), [unsure, sure], scoring.mean)[0]
        (0.0, 1.0)
    """
    steps, points = grid(len(scores))

    def loss(weights):
        found = scoring.cross_entropy(labels, fuser(*scores, weights=weights))
        return round(found, 9), sum((weight - 1 / len(scores)) ** 2 for weight in weights)

    best = min(points, key=loss)
    return best, loss(best)[0], steps


def weights_of(validation: Sequence[Evaluated], fusion: str) -> dict[str, Any]:
    """Chooses the weights of runs on validation clips, and prints them.

    Args:
        validation: The runs on the validation clips that all of them have, see :func:`on_common_clips`.
        fusion: ``product`` or ``mean``.

    Returns:
        The entry of ``metrics.json``: ``weights`` in the order of the runs, and how they were chosen.
    """
    first, fuser = validation[0], _FUSERS[fusion][0]
    chosen, loss, steps = choose_weights(first.metrics.labels, [one.metrics.scores for one in validation], fuser)
    shown = ", ".join(f"{one.run.path.resolve().name} {weight:g}" for one, weight in zip(validation, chosen))
    on = f"{first.protocol} val, {len(first.ids)} clips"
    print(f"weights of the {fusion}: {shown} (the smallest log-loss, {loss:.3f}, on {on}; steps of {1 / steps:.3g})")
    return {"fusion": fusion, "weights": list(chosen), "chosen_on": on, "step": 1 / steps, "log_loss": loss}


def given_weights(weights: Sequence[float], fusion: str) -> dict[str, Any]:
    """The entry of ``metrics.json`` for given weights, as of :func:`weights_of`; weights are scaled to the sum 1.

    Example:
        >>> given_weights((3, 1), "product")
        {'fusion': 'product', 'weights': [0.75, 0.25]}
    """
    return {"fusion": fusion, "weights": [weight / sum(weights) for weight in weights]}


def on_common_clips(scored: Sequence[Evaluated]) -> list[Evaluated]:
    """The runs on the clips that all runs have, in the order of the first run; prints how many clips each run lacks.

    Args:
        scored: The runs.

    Raises:
        UserError: They have no clip in common, or their data label a clip differently.
    """
    if len(scored) == 1:
        return list(scored)
    clips = CommonClips.of([(str(one.run.path), one.ids) for one in scored])
    if clips.note:
        print(f"{scored[0].protocol} {scored[0].split}: {clips.note}", flush=True)
    on_them = [one.on(clips) for one in scored]
    clips.check_labels([(f"{one.run.path}: {one.records.directory}", one.metrics.labels) for one in on_them])
    return on_them


def fuse(scored: Sequence[Evaluated], fusion: str, weights: dict[str, Any] | None = None) -> Evaluated:
    """Fuses several runs into one; a single run stays as it is.

    Args:
        scored: The runs on the clips that all of them have, see :func:`on_common_clips`.
        fusion: ``product`` or ``mean``.
        weights: What :func:`weights_of` or :func:`given_weights` gives; default: equal weights.
    """
    first, (fuser, sign) = scored[0], _FUSERS[fusion]
    if len(scored) == 1:
        return first
    scores = fuser(*(one.metrics.scores for one in scored), weights=weights["weights"] if weights else None)
    recipes, between = [one.recipe for one in scored], f" {sign} "
    model = config.Model(between.join(recipe.model.name for recipe in recipes))
    name = first.name + "".join(f"-{sign}-{one.run.path.resolve().name}" for one in scored[1:])
    if weights:
        given = "" if "chosen_on" in weights else "".join(f"-{weight:.3g}" for weight in weights["weights"])
        name += f"-weighted{given}"
    return dataclasses.replace(
        first,
        recipe=dataclasses.replace(recipes[0], name=between.join(recipe.name for recipe in recipes), model=model),
        name=name,
        seen="; ".join(f"{one.recipe.name} alone {one.metrics.top1:.1%}" for one in scored),
        metrics=scoring.Metrics(first.metrics.labels, scores),
        cues={},
        model_sha256="",
    )
