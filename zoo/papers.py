"""The papers of the methods, the rows of their tables, and figures of other methods that they are compared with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Union

PAPERS: dict[str, str] = {
    "LRCN15": "Donahue et al. Long-term recurrent convolutional networks for visual recognition. CVPR 2015",
    "I3D17": "Carreira, Zisserman. Quo vadis, action recognition? CVPR 2017",
    "NL18": "Wang, Girshick, Gupta, He. Non-local neural networks. CVPR 2018",
    "R3D18": "Hara, Kataoka, Satoh. Can spatiotemporal 3D CNNs retrace the history of 2D CNNs? CVPR 2018",
    "STGCN18": "Yan, Xiong, Lin. Spatial temporal graph convolutional networks for action recognition. AAAI 2018",
    "BMVC18": "Baradel, Wolf, Mille. Human activity recognition with pose-driven attention to RGB. BMVC 2018",
    "AVSS18": "Das et al. Deep-temporal LSTM for daily living action recognition. AVSS 2018",
    "MMM19": "Das et al. A new hybrid architecture for human activity recognition from RGB-D videos. MMM 2019",
    "WACV19": "Das, Chaudhary, Bremond, Thonnat. Where to focus on for human action recognition? WACV 2019",
    "ICCV19": "Das et al. Toyota Smarthome: real-world activities of daily living. ICCV 2019",
    "WACV20": "Das, Bremond, Thonnat. Looking deeper into time for activities of daily living recognition. WACV 2020",
    "ECCV20": "Das, Sharma, Dai, Bremond, Thonnat. VPN: learning video-pose embedding. ECCV 2020",
    "PhD20": "Das. Spatio-temporal attention mechanisms for activity recognition. PhD thesis, 2020",
}
"""Key -> citation. Docstrings name the papers by these keys, such as ``ICCV19 table 5``."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a paper's table: accuracies of a method in one configuration.

    Attributes:
        figures: Accuracies in percent: ``{"<dataset>/<protocol>": figure}``.
        of: What tells this row from the method's other rows, such as ``3D ResNeXt-101``.
        when: What a run must have for the row to apply to it: values of the model's options, ``base_model`` (the
            network whose features are read) and ``pretrained_on`` (another dataset that the weights were trained on
            first, or ``None``). ``None``: the row applies to no model of the zoo and is only listed.
        source: Key of the paper in :data:`PAPERS`, if it is not the method's own paper.

    Example:
        >>> row = Row({"ntu60/cs": 95.5}, of="3D ResNeXt-101", when={"backbone": "resnext3d101"})
        >>> row.holds({"backbone": "resnext3d101"}), row.holds({"backbone": "i3d"}), row.holds({})
        (True, False, False)
        >>> row.may_hold({"backbone": "i3d"}), row.may_hold({})
        (False, True)
    """

    figures: Mapping[str, float]
    of: str = ""
    when: Mapping[str, Any] | None = dataclasses.field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        if self.source and self.source not in PAPERS:
            raise ValueError(f"source {self.source!r} is no key of zoo.papers.PAPERS")

    @property
    def note(self) -> str:
        """``of`` and ``source``, joined by a comma; an empty one is left out."""
        return ", ".join(filter(None, (self.of, self.source)))

    def noted(self, text: str) -> str:
        """A name or a figure with the note in brackets: ``vpn (3D ResNeXt-101)``."""
        return f"{text} ({self.note})" if self.note else text

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Whether the known facts of a run meet all conditions of the row."""
        return self.when is not None and all(
            key in facts and _plain(facts[key]) == value for key, value in self.when.items()
        )

    def may_hold(self, facts: Mapping[str, Any]) -> bool:
        """Whether no known fact contradicts a condition of the row."""
        return self.when is not None and all(_plain(facts.get(key, value)) == value for key, value in self.when.items())


def _plain(value):
    """A list, as in recipes, turned into a tuple, as in options and conditions."""
    return tuple(value) if isinstance(value, list) else value


Reported = Union[Mapping[str, float], Sequence[Row]]
"""What a method's papers report: rows, or the figures of a single row that needs no condition."""


def rows(reported: Reported) -> tuple[Row, ...]:
    """The rows of what a method's papers report."""
    if isinstance(reported, Mapping):
        return (Row(dict(reported)),) if reported else ()
    return tuple(reported)


def percent(figure: float) -> str:
    """A figure with as many decimals as its paper gives it.

    Example:
        >>> percent(84.95), percent(89.0)
        ('84.95', '89.0')
    """
    return f"{figure:.2f}".removesuffix("0")


def figures(rows: Sequence[Row], facts: Mapping[str, Any] | None = None) -> dict[str, float]:
    """``"<dataset>/<protocol> (note)"`` -> percent, of the rows that no known fact contradicts; default: of all.

    Example:
        >>> figures([Row({"nucla/v3_12": 86.0}), Row({"nucla/v3_12": 88.8}, of="after NTU-60")])
        {'nucla/v3_12': 86.0, 'nucla/v3_12 (after NTU-60)': 88.8}
    """
    chosen = [row for row in rows if facts is None or row.may_hold(facts)]
    return {row.noted(key): figure for row in chosen for key, figure in row.figures.items()}


_LATER = "poses only, streams fused, epoch chosen on the test view"

OTHERS_REPORTED: dict[str, dict[str, float]] = {
    "nucla/v3_12": {
        "HBRNN (poses only)": 78.5,
        "view-invariant representation (poses only)": 86.1,
        "ensemble TS-LSTM (poses only)": 89.2,
        "SGN (poses only)": 92.5,
        f"CTR-GCN ({_LATER})": 96.5,
        f"InfoGCN ({_LATER})": 97.0,
        f"HD-GCN ({_LATER})": 97.2,
        f"SkateFormer ({_LATER})": 98.3,
    },
}
"""``<dataset>/<protocol>`` -> accuracies in percent that papers report of methods not in this zoo.

The last four fuse four to six streams, and their public code keeps the epoch that is best on the test view."""
