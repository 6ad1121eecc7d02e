"""The clips that several evaluations have in common; figures of runs together are computed on these clips.

One conversion of a dataset may have clips that another one rejected, such as those without a pose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.shared.errors import UserError


@dataclasses.dataclass(frozen=True)
class CommonClips:
    """The clips that all of several runs have.

    Attributes:
        ids: Their ids, in the order of the first run.
        total: Number of clips that any of the runs has.
        missing: Run -> number of clips that it lacks and another run has; runs that lack none are left out.

    Example:
        >>> clips = CommonClips.of([("runs/a", ["x", "y", "z"]), ("runs/b", ["y", "x"])])
        >>> clips.ids, clips.note
        (['x', 'y'], '2 of 3 clips count, those that all runs have (missing: 1 in runs/b)')
    """

    ids: list[str]
    total: int
    missing: dict[str, int]

    @classmethod
    def of(cls, runs: Sequence[tuple[str, Sequence[str]]]) -> CommonClips:
        """The clips that runs have in common.

        Args:
            runs: Name and clip ids of each.

        Raises:
            UserError: The runs have no clip in common.
        """
        each = [set(ids) for _, ids in runs]
        common, total = set.intersection(*each), len(set.union(*each))
        if not common:
            names = ", ".join(name for name, _ in runs)
            raise UserError(f"{names}: have no clip in common, expected evaluations of the same dataset and split")
        lacking = {name: total - len(own) for (name, _), own in zip(runs, each)}
        return cls(
            ids=[clip for clip in runs[0][1] if clip in common],
            total=total,
            missing={name: count for name, count in lacking.items() if count},
        )

    @property
    def note(self) -> str:
        """How many clips count, and how many are missing in which run; empty where none are missing."""
        missing = ", ".join(f"{count} in {name}" for name, count in self.missing.items())
        count = f"{len(self.ids)} of {self.total} clips count, those that all runs have"
        return f"{count} (missing: {missing})" if missing else ""

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of ``metrics.json``: numbers of ``clips``, ``total`` and ``missing``, and the ``note``."""
        return {"clips": len(self.ids), "total": self.total, "missing": self.missing, "note": self.note}

    def check_labels(self, runs: Iterable[tuple[str, Iterable]]) -> None:
        """Checks that runs give every clip the same label.

        Args:
            runs: Name of each, and its labels of these clips.

        Raises:
            UserError: Labels differ.
        """
        (first, expected), *others = runs
        for name, labels in others:
            differing = [clip for clip, one, other in zip(self.ids, expected, labels) if one != other]
            if differing:
                raise UserError(
                    f"{name} labels {len(differing)} of {len(self.ids)} clips, such as {differing[0]}, otherwise than "
                    f"{first}, expected the same labels: convert, or evaluate, one of them again"
                )

    def choose(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The rows of these clips, in order, from the :func:`recipes.reports.tables.predictions` of one run."""
        of_clip = {row["id"]: row for row in rows}
        return [of_clip[clip] for clip in self.ids]
