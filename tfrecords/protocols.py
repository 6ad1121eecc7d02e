"""Evaluation protocols: which clips train, validate and test.

``split_of("nucla", "v3_12", "a01_s01_e00_v03")`` is ``"test"``. Every list of splits, every split group of a converted
dataset and every recipe derives from the one table below. The exception is JHMDB: its authors list the split of each
clip in files, which its source reads. A split group holds the clips that belong to the same split in
every protocol of a dataset, such as ``train`` in ``cs`` and ``test`` in ``cv``.

If a dataset's authors define a validation part, it is used. Otherwise, validation is one tenth of the training
performances, chosen by a stable hash of
:meth:`~tfrecords.datasets.base.Source.performance`: a performance recorded by several cameras is never in training
from one view and in validation from another, as validation would then not measure the accuracy on new performances.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from tfrecords import datasets
from tfrecords.schema import ClipInfo

SPLITS = ("train", "val", "test")
VALIDATION_FRACTION = 0.1
FEW_VALIDATION_CLIPS = 10  # with fewer, accuracy changes in steps of more than 10 %


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One way to split a dataset.

    Attributes:
        description: One line for tables.
        is_train: Whether a :class:`~tfrecords.schema.ClipInfo` is in the training part. ``None``: files of the dataset
            list the clips.
        is_test: Whether it is in the test part; ``None`` as above.
        labels: Names of the classes, in the order of the protocol's own label numbers, if it uses only some of the
            dataset's classes; clips of other classes are in no split. ``None``: all classes of the dataset.
        is_validation: Whether it is in the validation part, where the dataset's authors have one.
    """

    description: str
    is_train: Callable[[ClipInfo], bool] | None
    is_test: Callable[[ClipInfo], bool] | None
    labels: tuple[str, ...] | None = None
    is_validation: Callable[[ClipInfo], bool] | None = None

    def facts(self) -> dict[str, Any]:
        """Its entry in a manifest, as JSON values: ``description`` and, if it uses only some classes, ``labels``."""
        return {"description": self.description, **({"labels": list(self.labels)} if self.labels else {})}


def _cross_subject(train, description):
    train = frozenset(train)
    return Protocol(description, lambda c: c.subject in train, lambda c: c.subject not in train)


def _cross_view(train, test, description):
    return Protocol(description, lambda c: c.camera in train, lambda c: c.camera in test)


def _held_out_view(train, validate):
    return Protocol(
        f"train view {train}, validate view {validate}, no test",
        lambda c: c.camera in (train, validate),
        lambda c: False,
        is_validation=lambda c: c.camera == validate,
    )


# The activities of Toyota Smarthome's cross-view protocols.
_SMARTHOME_CROSS_VIEW = (
    "Cutbread", "Drink.Frombottle", "Drink.Fromcan", "Drink.Fromcup", "Drink.Fromglass", "Eat.Attable", "Eat.Snack",
    "Enter", "Getup", "Leave", "Pour.Frombottle", "Pour.Fromcan", "Readbook", "Sitdown", "Takepills", "Uselaptop",
    "Usetablet", "Usetelephone", "Walk",
)  # fmt: skip


def _smarthome_cross_view(train, description):
    return dataclasses.replace(
        _cross_view(train, (2,), description),
        labels=_SMARTHOME_CROSS_VIEW,
        is_validation=lambda clip: clip.camera == 5,
    )


def _leave_one_out(subjects):
    def protocol(subject):
        return Protocol(
            f"train the other {len(subjects) - 1} subjects, test subject {subject}",
            lambda c: c.subject != subject,
            lambda c: c.subject == subject,
        )

    return {f"loso_{subject}": protocol(subject) for subject in subjects}


def _sequence_folds(count):
    """One protocol per fold: the sequences of each kind are assigned to the folds in turn; kind 3 only trains."""

    def protocol(number):
        def is_test(clip):
            return clip.setup < 3 and (clip.repetition - 1) % count == number - 1

        first, second = number, number + count
        return Protocol(
            f"test sequences {first:02d}, {second:02d}, ... of falls and of activities, train the others",
            lambda clip: clip.setup < 4 and not is_test(clip),
            is_test,
        )

    return {f"fold_{number}": protocol(number) for number in range(1, count + 1)}


def _folds(folds):
    """One protocol per fold, which is its test part; a subject here is a pair of participants."""

    def protocol(pairs):
        return Protocol(
            f"test {', '.join(f's{pair // 100:02d}s{pair % 100:02d}' for pair in pairs)}, train the other pairs",
            lambda c: c.subject not in pairs,
            lambda c: c.subject in pairs,
        )

    return {f"fold_{number}": protocol(pairs) for number, pairs in enumerate(folds, start=1)}


# Shahroudy et al., CVPR 2016, section 3.2; Liu et al., TPAMI 2020, section 3.2.
_NTU60_TRAIN = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
_NTU120_TRAIN = (
    *_NTU60_TRAIN, 45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91,
    92, 93, 94, 95, 97, 98, 100, 103,
)  # fmt: skip

# Yun et al., CVPR workshops 2012, section 5; the dataset's README lists the pairs: 102 is s01s02.
SBU_FOLDS = (
    (102, 304, 502, 604), (203, 207, 305, 503), (103, 107, 701, 703), (201, 206, 302, 306), (402, 403, 406, 602, 603),
)  # fmt: skip

_FAMILIES = ("loso", "fold", "split")  # beginnings of the names of protocols over which papers report the mean

PROTOCOLS = {
    "ntu60": {
        "cs": _cross_subject(_NTU60_TRAIN, "train 20 of 40 subjects, test the others"),
        "cv": _cross_view((2, 3), (1,), "train cameras 2 and 3, test camera 1"),
    },
    "ntu120": {
        "cs1": _cross_subject(_NTU120_TRAIN, "train 53 of 106 subjects, test the others"),
        "cs2": Protocol("train even setups, test odd setups", lambda c: c.setup % 2 == 0, lambda c: c.setup % 2 == 1),
    },
    # Das et al., ICCV 2019, section 3.1; the authors' lists take subjects 19 and 25 for the validation of cs. The
    # cross-view protocols have 19 of the 31 activities, and one camera for validation.
    "smarthome": {
        "cs": dataclasses.replace(
            _cross_subject((3, 4, 6, 7, 9, 12, 13, 15, 17, 19, 25), "train 11 of 18 subjects, test the others"),
            is_validation=lambda c: c.subject in (19, 25),
        ),
        "cv1": _smarthome_cross_view((1,), "train camera 1, validate camera 5, test camera 2; 19 activities"),
        "cv2": _smarthome_cross_view((1, 3, 4, 6, 7), "train cameras 1, 3, 4, 6, 7, validate 5, test 2; 19 activities"),
    },
    # Wang et al., CVPR 2014: train on two views, test on the third; V3_1,2 is the one the papers report.
    "nucla": {
        "v3_12": _cross_view((1, 2), (3,), "train views 1 and 2, test view 3"),
        "v2_13": _cross_view((1, 3), (2,), "train views 1 and 3, test view 2"),
        "v1_23": _cross_view((2, 3), (1,), "train views 2 and 3, test view 1"),
        # For choosing hyper-parameters: only the training views of v3_12, of which one view, or some subjects, are for
        # validation instead of training.
        "v2_1": _held_out_view(1, 2),
        "v1_2": _held_out_view(2, 1),
        "v12_subjects": Protocol(
            "train 7 subjects in views 1 and 2, validate subjects 3, 6 and 9 there, no test",
            lambda c: c.camera in (1, 2),
            lambda c: False,
            is_validation=lambda c: c.camera in (1, 2) and c.subject in (3, 6, 9),
        ),
    },
    "cad60": _leave_one_out((1, 2, 3, 4)),
    "cad120": _leave_one_out((1, 3, 4, 5)),
    # Baradel et al., BMVC 2018, train on odd subjects; PhD20 leaves one subject out.
    "msr_daily": {
        **_leave_one_out(range(1, 11)),
        "odd_even": _cross_subject(range(1, 11, 2), "train odd subjects, test even subjects"),
    },
    "sbu": _folds(SBU_FOLDS),
    # Jhuang et al., ICCV 2013, section 4.
    "jhmdb": {
        f"split_{number}": Protocol(f"the authors' split {number}, listed in their files", None, None)
        for number in (1, 2, 3)
    },
    # Windows of a sequence are never in two splits; "all" is for a network that is then tried elsewhere.
    "urfd": {
        **_sequence_folds(5),
        "all": Protocol(
            "train all sequences, test the datasets that are held out, if any",
            lambda clip: clip.setup < 4,
            lambda clip: clip.setup == 4,
        ),
    },
    # SynthADL, split as NTU RGB+D is: odd subjects train; cameras 2 and 3 train, camera 1 tests.
    "synthetic": {
        "cs": _cross_subject(range(1, 1000, 2), "train odd subjects, test even subjects"),
        "cv": _cross_view((2, 3), (1,), "train cameras 2 and 3, test camera 1"),
    },
}


def names(dataset: str) -> tuple[str, ...]:
    """Names of a dataset's protocols."""
    return tuple(PROTOCOLS[dataset])


def follow_from_ids(dataset: str) -> bool:
    """Whether the ids of a dataset's clips determine their splits; else files of the dataset list them."""
    return all(protocol.is_test for protocol in PROTOCOLS.get(dataset, {"": Protocol("", None, None)}).values())


def folds(dataset: str, protocol: str) -> tuple[str, ...]:
    """The protocols over which papers report the mean, where a protocol is one of them.

    Args:
        dataset: A dataset's name.
        protocol: One of its protocols.

    Returns:
        The protocols that leave a subject out, or all folds or splits; empty for a protocol that is reported alone.

    Example:
        >>> folds("sbu", "fold_2"), folds("ntu60", "cs")
        (('fold_1', 'fold_2', 'fold_3', 'fold_4', 'fold_5'), ())
    """
    family = protocol.partition("_")[0]
    members = tuple(name for name in PROTOCOLS.get(dataset, ()) if name.partition("_")[0] == family)
    return members if family in _FAMILIES and protocol in members else ()


def split_of(dataset: str, protocol: str, clip_id: str) -> str | None:
    """The part of a protocol a clip belongs to.

    Args:
        dataset: A dataset's name.
        protocol: One of its protocols.
        clip_id: A clip's id.

    Returns:
        ``"train"``, ``"val"``, ``"test"``, or ``None`` where the protocol does not use the clip.

    Raises:
        ValueError: The id is not one of the dataset's, or does not determine the split, see :func:`follow_from_ids`.

    Example:
        >>> split_of("nucla", "v3_12", "a01_s01_e00_v03")
        'test'
    """
    source = datasets.get(dataset)
    info = source.parse_id(clip_id)
    rule = PROTOCOLS[dataset][protocol]
    if rule.labels is not None and source.labels[info.label] not in rule.labels:
        return None
    if rule.is_train is None or rule.is_test is None:
        raise ValueError(f"the files of {dataset} list its splits, a clip's id does not give them")
    if rule.is_test(info):
        return "test"
    if rule.is_validation and rule.is_validation(info):
        return "val"
    if not rule.is_train(info):
        return None
    if rule.is_validation:
        return "train"
    return train_or_val(f"{dataset}/{source.performance(info)}")


def train_or_val(performance: str) -> str:
    """``"val"`` for a tenth of all performances, else ``"train"``; always the same for the same text.

    Args:
        performance: Text that names the performance.
    """
    return "val" if _hash(performance) < VALIDATION_FRACTION else "train"


def few_validation_clips(clips: Mapping[str, int], classes: int) -> bool:
    """Whether a protocol's validation clips are too few to choose an epoch on: under 10, or not one for each class.

    Args:
        clips: Split -> number of clips.
        classes: Number of classes.

    Example:
        >>> few_validation_clips({"train": 28, "val": 2}, classes=3)
        True
    """
    return clips.get("train", 0) > 0 and clips.get("val", 0) < max(FEW_VALIDATION_CLIPS, classes)


def splits_of(dataset: str, clip_id: str) -> dict[str, str | None]:
    """Protocol -> split of a clip, for all protocols of its dataset."""
    return {protocol: split_of(dataset, protocol, clip_id) for protocol in PROTOCOLS[dataset]}


def split_group_name(splits: Mapping[str, str | None]) -> str:
    """Name of the group of clips that have these splits.

    Args:
        splits: Protocol -> split.

    Returns:
        The group's name.

    Example:
        >>> split_group_name({"cs": "train", "cv": None})
        'cs-train_cv-none'
    """
    return "_".join(f"{protocol}-{split or 'none'}" for protocol, split in splits.items())


def _hash(key):
    """A number in [0, 1) that depends on the text alone, equal on every machine and Python version."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
