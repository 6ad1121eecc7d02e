"""Evaluation protocols: which clips train, validate and test.

``split_of("nucla", "v3_12", "a01_s01_e00_v03")`` is ``"test"``. Every list of splits, every cell of a converted
dataset and every recipe derives from the one table below.

Validation is one tenth of the training performances, chosen by a stable hash of what
:meth:`~tfrecords.datasets.base.Source.performance` says: a performance recorded by several cameras is never in training
from one view and in validation from another, as such a validation accuracy would say nothing of new performances.
"""

import dataclasses
import hashlib
from typing import Callable, Optional

from tfrecords import datasets

SPLITS = ("train", "val", "test")
VALIDATION_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One way to split a dataset.

    Attributes:
        description: One line for tables.
        is_train: Whether a :class:`~tfrecords.schema.ClipInfo` is in the training part.
        is_test: Whether it is in the test part.
        labels: Names of the classes, where it uses a part of the dataset's, in the order of its own label numbers;
            clips of the others are in no split. ``None``: all of the dataset's.
    """

    description: str
    is_train: Callable
    is_test: Callable
    labels: Optional[tuple] = None


def _cross_subject(train, description):
    train = frozenset(train)
    return Protocol(description, lambda c: c.subject in train, lambda c: c.subject not in train)


def _cross_view(train, test, description):
    return Protocol(description, lambda c: c.camera in train, lambda c: c.camera in test)


PROTOCOLS = {
    # Wang et al., CVPR 2014: train on two views, test on the third; V3_1,2 is the one the papers report.
    "nucla": {
        "v3_12": _cross_view((1, 2), (3,), "train views 1 and 2, test view 3"),
        "v2_13": _cross_view((1, 3), (2,), "train views 1 and 3, test view 2"),
        "v1_23": _cross_view((2, 3), (1,), "train views 2 and 3, test view 1"),
    },
    # SynthADL, split as NTU RGB+D is: odd subjects train; cameras 2 and 3 train, camera 1 tests.
    "synthetic": {
        "cs": _cross_subject(range(1, 1000, 2), "train odd subjects, test even subjects"),
        "cv": _cross_view((2, 3), (1,), "train cameras 2 and 3, test camera 1"),
    },
}


def names(dataset):
    """Names of a dataset's protocols."""
    return tuple(PROTOCOLS[dataset])


def split_of(dataset, protocol, clip_id):
    """The part of a protocol a clip belongs to.

    Args:
        dataset: A dataset's name.
        protocol: One of its protocols.
        clip_id: A clip's id.

    Returns:
        ``"train"``, ``"val"``, ``"test"``, or ``None`` where the protocol does not use the clip.

    Raises:
        ValueError: The id is not one of the dataset's.

    Example:
        >>> split_of("nucla", "v3_12", "a01_s01_e00_v03")
        'test'
    """
    source = datasets.get(dataset)
    info = source.parse_id(clip_id)
    rule = PROTOCOLS[dataset][protocol]
    if rule.labels is not None and source.labels[info.label] not in rule.labels:
        return None
    if rule.is_test(info):
        return "test"
    if not rule.is_train(info):
        return None
    return "val" if _hash(f"{dataset}/{source.performance(info)}") < VALIDATION_SHARE else "train"


def splits_of(dataset, clip_id):
    """Protocol -> split of a clip, for all protocols of its dataset."""
    return {protocol: split_of(dataset, protocol, clip_id) for protocol in PROTOCOLS[dataset]}


def cell_of(dataset, clip_id):
    """The cell of a clip: its combination of splits over all protocols, such as ``cs-train_cv-test``."""
    return "_".join(f"{protocol}-{split or 'none'}" for protocol, split in splits_of(dataset, clip_id).items())


def _hash(key):
    """A number in [0, 1) that depends on the text alone, equal on every machine and Python version."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
