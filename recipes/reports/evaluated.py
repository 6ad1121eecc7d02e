"""A run, or several fused, on all clips of a split: what all parts of a report are made from."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from recipes.reports import reported, tables

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.reports.scoring import Metrics
    from recipes.run_directory import RunDirectory
    from tfrecords.reading.pipeline import Records


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A run, or several fused, on all clips of a split.

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

    @property
    def folder(self) -> pathlib.Path:
        """Where the results are written."""
        return self.run.path / "evaluation" / self.name

    @property
    def basis(self) -> dict[str, Any]:
        """What the run is based on besides its options, which decides the papers' figures beside its own."""
        return reported.basis_of(self.recipe, self.records.manifest)

    @property
    def title(self) -> str:
        """Recipe, data and accuracy."""
        dataset = self.recipe.data.dataset
        data = f"{dataset} {self.protocol} {self.split}{tables.fold_note(dataset, self.protocol)}"
        return f"{self.recipe.name}, {data}: {self.metrics.top1:.1%}"

    @property
    def source(self) -> dict[str, Any]:
        """Where the clips come from: arguments of the modules that read them again."""
        return {"run": self.run, "records": self.records, "protocol": self.protocol, "split": self.split}
