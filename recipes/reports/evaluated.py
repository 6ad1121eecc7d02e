"""A run, or several fused, on all clips of a split: what all parts of a report are made from."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recipes.reports import reported, tables
from recipes.reports.common_clips import CommonClips

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.reports.scoring import Metrics
    from recipes.run_directory import RunDirectory
    from tfrecords.reading.pipeline import Records


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A run, or several fused, on all clips of a split, or on those that several runs have.

    Attributes:
        run: The run directory; of several runs, the first.
        recipe: Its recipe; of several runs, named after all.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.
        name: Name of the folder of the results.
        seen: How much of each clip was seen; of several runs, the accuracy of each.
        ids: Clip ids.
        metrics: The metrics.
        cues: Accuracies of the parts of an estimator.
        model_sha256: SHA-256 of the file of the run's model; of several runs, empty.
        common: The common clips, where only the clips that several runs have are evaluated.
        rows: Indices of the evaluated clips among the split's clips in ``records``.
    """

    run: RunDirectory
    recipe: Recipe
    records: Records
    protocol: str
    split: str
    name: str
    seen: str
    ids: list[str]
    metrics: Metrics
    cues: dict[str, float]
    model_sha256: str
    common: CommonClips | None = None
    rows: Sequence[int] | slice = dataclasses.field(default_factory=lambda: slice(None))

    def on(self, clips: CommonClips) -> Evaluated:
        """This evaluation on the clips that several runs have, in the order of ``clips``."""
        row = {clip: number for number, clip in enumerate(self.ids)}
        rows = [row[clip] for clip in clips.ids]
        metrics = dataclasses.replace(self.metrics, labels=self.metrics.labels[rows], scores=self.metrics.scores[rows])
        return dataclasses.replace(self, ids=clips.ids, metrics=metrics, common=clips, rows=rows)

    @property
    def folder(self) -> pathlib.Path:
        """Where the results are written."""
        return self.run.path / "evaluation" / self.name

    @property
    def basis(self) -> dict[str, Any]:
        """What the run is based on besides its options; it decides which figures of papers stand beside the run's."""
        return reported.basis_of(self.recipe, self.records.manifest)

    @property
    def title(self) -> str:
        """Recipe, data and accuracy; also how many clips count, where some are left out."""
        dataset = self.recipe.data.dataset
        data = f"{dataset} {self.protocol} {self.split}{tables.fold_note(dataset, self.protocol)}"
        if self.common and self.common.missing:
            data += f", {len(self.ids)} of {self.common.total} clips"
        return f"{self.recipe.name}, {data}: {self.metrics.top1:.1%}"

    @property
    def source(self) -> dict[str, Any]:
        """Where the clips come from, as keyword arguments of functions that read the clips again."""
        return {"run": self.run, "records": self.records, "protocol": self.protocol, "split": self.split}
