"""All scores of an evaluation in one file, ``scores.npz``, from which everything else can be computed again.

``numpy.load`` reads it, without pickles. Its arrays:

=========== ================== =====================================================================================
``ids``     ``[N]`` text       clip ids, in the order of the split
``labels``  ``[N]`` int64      true classes
``classes`` ``[C]`` text       class names
``scores``  ``[N, C]`` float32 probability of every class; all zeros: the model abstains (a clip without a pose)
``state``   text               JSON: what the scores belong to (SHA-256 of the model's file and of the data's manifest,
                               protocol, split, views, inputs), and the accuracies of an estimator's parts
=========== ================== =====================================================================================

Example:
    >>> file = numpy.load("runs/pose_lstm_nucla/evaluation/v3_12-test/scores.npz")  # doctest: +SKIP
    >>> (file["scores"].argmax(axis=1) == file["labels"]).mean()  # doctest: +SKIP
    0.8814655172413793
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recipes.config import Stage
from recipes.reports import scoring
from recipes.reports.scoring import Metrics
from recipes.run_directory import RunDirectory
from recipes.trainers import keras
from recipes.trainers.base import Trainer
from tfrecords.reading import pipeline
from tfrecords.reading.pipeline import Records
from zoo.shared import files

NAME = "scores.npz"


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """The scores of a model on the clips of a split.

    Attributes:
        ids: Clip ids.
        labels: ``[N]`` true classes.
        classes: Class names.
        scores: ``[N, C]`` float32; zeros: the model abstains.
        parts: Name -> accuracy of each part of an estimator.
    """

    ids: Sequence[str]
    labels: np.ndarray
    classes: Sequence[str]
    scores: np.ndarray
    parts: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def metrics(self) -> Metrics:
        """The metrics, computed from the scores as stored, so that a later computation from the file gives the same.

        Files of earlier versions may hold the largest scores over views, whose sum is not 1: they are normalised here.
        """
        return Metrics(self.labels, scoring.normalised(self.scores.astype(np.float64)))


def state_of(run: RunDirectory, model_sha256: str, records: Records, protocol: str, split: str) -> dict[str, Any]:
    """What determines a run's scores, as JSON values.

    Args:
        run: The run directory.
        model_sha256: SHA-256 of the file of its model.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.
    """
    return json.loads(
        json.dumps(
            {
                "model_sha256": model_sha256,
                "manifest_sha256": records.sha256,
                "protocol": protocol,
                "split": split,
                "views": dataclasses.asdict(run.recipe.evaluate),
                "inputs": run.inputs.to_dict(),
            }
        )
    )


def write(path: pathlib.Path, scores: Scores, state: Mapping[str, Any]) -> None:
    """Writes scores to a file, whole or not at all.

    Args:
        path: The file.
        scores: What to write.
        state: What they belong to, see :func:`state_of`; for fused runs, names and weights.
    """
    with files.whole_file(path) as partial:
        np.savez_compressed(
            partial,
            ids=np.array(scores.ids, str),
            labels=np.asarray(scores.labels, np.int64),
            classes=np.array(scores.classes, str),
            scores=np.asarray(scores.scores, np.float32),
            state=json.dumps({**state, "parts": dict(scores.parts)}),
        )


def read(path: pathlib.Path, state: Mapping[str, Any] | None = None) -> Scores | None:
    """Reads scores.

    Args:
        path: The file.
        state: The state that they must have, see :func:`state_of`; default: any.

    Returns:
        The scores; ``None`` if the file is missing or damaged, or has another state.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = json.loads(str(file["state"]))
            parts = found.pop("parts")
            if state is not None and found != state:
                return None
            return Scores(file["ids"].tolist(), file["labels"], file["classes"].tolist(), file["scores"], parts)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):  # not there, or damaged
        return None


def scores_of(
    run: RunDirectory,
    trainer: Trainer,
    records: Records,
    protocol: str,
    split: str,
    *,
    model_sha256: str,
    name: str = NAME,
    rescore: bool = False,
) -> Scores:
    """The stored scores of a run on a split; they are computed, and stored, where none fit.

    Args:
        run: The run directory.
        trainer: Its trainer.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.
        model_sha256: SHA-256 of the file of its model; empty where there is none, which scoring reports.
        name: The file's name in the folder of the evaluation.
        rescore: Compute them anyway.
    """
    path = run.path / "evaluation" / f"{protocol}-{split}" / name
    state = state_of(run, model_sha256, records, protocol, split)
    known = None if rescore else read(path, state)
    if known:
        print(f"{path} has the scores of this model, these clips and views: read (--rescore: score again)", flush=True)
        return known
    scored = trainer.score(run, records, protocol, split)
    found = Scores(
        ids=pipeline.clip_ids(records, protocol, split),
        labels=scored.metrics.labels,
        classes=run.labels,
        scores=scored.metrics.scores.astype(np.float32),
        parts=scored.parts,
    )
    write(path, found, state)
    return found


def metrics_of_stage(
    stage: Stage, run: RunDirectory, records: Records, protocol: str, split: str, *, rescore: bool = False
) -> Metrics:
    """The metrics of an earlier stage's own model: what a part of the run's model reaches alone.

    Arguments as of :func:`scores_of`.
    """
    own = keras.StageRun(run, stage, records)
    return scores_of(
        own,
        keras.KerasTrainer(),
        records,
        protocol,
        split,
        model_sha256=files.sha256_of(own.model_path),
        name=f"scores-{stage.name}.npz",
        rescore=rescore,
    ).metrics
