"""Splits: the rules, their stability, and the lists the authors published."""

import collections
import dataclasses

import pytest

from tests.tfrecords import nucla_files
from tfrecords import datasets, protocols

IDS = nucla_files.ids(actions=(1, 2, 3, 4, 5, 6, 8, 9, 11, 12), subjects=range(1, 11), repetitions=range(5))
TEST_VIEW = {"v3_12": 3, "v2_13": 2, "v1_23": 1}


@pytest.mark.parametrize(("protocol", "view"), TEST_VIEW.items())
def test_nucla_tests_one_view(protocol, view):
    for clip in IDS:
        assert (protocols.split_of("nucla", protocol, clip) == "test") == clip.endswith(f"_v{view:02d}")


def test_a_tenth_of_training_validates():
    splits = collections.Counter(protocols.split_of("nucla", "v3_12", clip) for clip in IDS)
    assert 0.08 < splits["val"] / (splits["val"] + splits["train"]) < 0.12


def test_a_performance_validates_from_all_cameras_or_none():
    held_out = collections.defaultdict(set)
    for clip in IDS:
        for split in protocols.splits_of("nucla", clip).values():
            if split != "test":
                held_out[clip[:-4]].add(split)
    assert all(len(splits) == 1 for splits in held_out.values())


def test_validation_is_the_same_for_ever():
    # Fixed by SHA-256: a change here would make every figure reported before incomparable.
    validation = [clip for clip in IDS[:90] if protocols.split_of("nucla", "v3_12", clip) == "val"]
    assert validation == ["a01_s02_e03_v01", "a01_s02_e03_v02", "a01_s06_e03_v01", "a01_s06_e03_v02"]


def test_a_cell_is_one_combination_of_splits():
    splits = collections.defaultdict(set)
    for clip in IDS:
        splits[protocols.cell_of("nucla", clip)].add(tuple(protocols.splits_of("nucla", clip).values()))
    assert len(splits) == 6  # three views, validating or not
    assert all(len(combinations) == 1 for combinations in splits.values())


@pytest.mark.parametrize(
    ("protocol", "clip", "test"),
    [
        ("cs", "S001C001P001R001A001", False),
        ("cs", "S001C001P002R001A001", True),
        ("cv", "S001C001P001R001A001", True),
        ("cv", "S001C002P001R001A001", False),
        ("cv", "S001C003P001R001A001", False),
    ],
)
def test_synthetic_splits_as_ntu_does(protocol, clip, test):
    assert (protocols.split_of("synthetic", protocol, clip) == "test") == test


def test_a_protocol_over_a_part_of_the_classes(monkeypatch):
    whole = protocols.PROTOCOLS["nucla"]["v3_12"]
    part = dataclasses.replace(whole, labels=("carry", "throw"))
    monkeypatch.setitem(protocols.PROTOCOLS["nucla"], "part", part)
    for clip in IDS:
        used = clip.startswith(("a12", "a11"))
        assert protocols.split_of("nucla", "part", clip) == (
            protocols.split_of("nucla", "v3_12", clip) if used else None
        )


@pytest.mark.parametrize("clip", ["a07_s01_e00_v01", "a01_s01_e00_v04", "a01_s01_e00_c01", ""])
def test_no_split_of_what_is_no_clip(clip):
    with pytest.raises(ValueError, match=r"a07|v04|no N-UCLA clip id"):
        protocols.split_of("nucla", "v3_12", clip)


# Clips in which a list and the JSON release differ, explained in docs/datasets/nucla.md.
ONE_FRAME = {"a02_s09_e04_v02", "a02_s09_e04_v03"}
WITHOUT_SKELETON = {"a05_s07_e00_v01"}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "protocol", "view"),
    [
        ("splits_vpn/{}_cross1.txt", "v1_23", 1),
        ("splits_vpn/{}_cross2.txt", "v2_13", 2),
        ("splits_vpn/{}_cross3.txt", "v3_12", 3),
        ("splits_pi3d/{}_CV.txt", "v3_12", 3),
    ],
)
def test_nucla_lists_of_the_authors(real_data, name, protocol, view):
    folder = real_data / "nucla"
    clips = [path.stem for path in (folder / "all_sqe").glob("*.json")]
    assert len(clips) == 1484
    for split in ("train", "test"):
        listed = (folder / name.format(split)).read_text().split()
        listed = {clip.replace("_c0", "_v0") for clip in listed}  # the lists write c where the release writes v
        ours = {c for c in clips if (protocols.split_of("nucla", protocol, c) == "test") == (split == "test")}
        assert ours - listed == {clip for clip in ONE_FRAME & ours if view == 3}
        assert listed - ours == (WITHOUT_SKELETON if (view, split) == (2, "train") else set())


def test_every_dataset_has_protocols():
    assert set(protocols.PROTOCOLS) == set(datasets.NAMES)
