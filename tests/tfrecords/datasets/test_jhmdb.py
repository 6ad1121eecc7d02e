"""JHMDB: names, the two forms of its lists of splits, videos."""

import argparse
import collections

import pytest

from tests.tfrecords import recording_files
from tfrecords import convert, inspect, manifest, protocols, schema
from tfrecords.datasets import jhmdb
from zoo.shared.errors import UserError

SIT, AGAIN, PULLUP = (
    "A_Film_3_sit_f_cm_np1_fr_med_6",
    "A_Film_12_sit_u_nm_np2_ba_goo_10",
    "30_(dead-hang)_pull-ups_!_pullup_f_nm_np1_le_bad_0",
)
WALK = recording_files.walk("lcrnet_13")  # 14 frames


def source(folder, *options):
    parser = argparse.ArgumentParser()
    jhmdb.JHMDB.add_arguments(parser)
    return jhmdb.JHMDB.from_arguments(parser.parse_args(["--source", str(folder), "--no-poses", *options]))


def write_by_class(folder, clips):
    """The authors' lists: a file per class and split; ``clips``: id -> the marks of the three splits."""
    folder.mkdir(parents=True, exist_ok=True)
    for action in jhmdb.ACTIONS:
        for number in (1, 2, 3):
            lines = [f"{clip}.avi {marks[number - 1]} \n" for clip, marks in clips.items() if f"_{action}_" in clip]
            (folder / f"{action}_test_split{number}.txt").write_text("".join(lines))


def write_by_split(folder, clips):
    """The other form: a file per split and part."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in (1, 2, 3):
        for mark, part in enumerate(("train", "test"), start=1):
            lines = [f"{clip} {1}\n" for clip, marks in clips.items() if marks[number - 1] == mark]
            (folder / f"JHMDB_{part}{number}.txt").write_text("".join(lines))


CLIPS = {SIT: (1, 2, 1), AGAIN: (1, 2, 1), PULLUP: (2, 1, 1)}


@pytest.mark.parametrize(
    ("clip", "label", "repetition", "film"),
    [(SIT, 15, 6, "A_Film"), (AGAIN, 15, 10, "A_Film"), (PULLUP, 9, 0, "30_(dead-hang)_pull-ups_!")],
)
def test_an_id_names_film_action_and_number(clip, label, repetition, film):
    info = jhmdb.JHMDB.parse_id(clip)
    assert info == schema.ClipInfo(clip, label, repetition=repetition)
    assert jhmdb.JHMDB.performance(info) == film


@pytest.mark.parametrize("clip", ["A_Film_3_sit", "A_Film_3_ride_bike_f_cm_np1_fr_med_6", "x"])
def test_names_that_are_no_clip(clip):
    with pytest.raises(ValueError, match="is no clip id of JHMDB, expected a form such as"):
        jhmdb.JHMDB.parse_id(clip)


@pytest.mark.parametrize("write", [write_by_class, write_by_split])
def test_the_whole_way(tmp_path, run_command, write):
    frames = recording_files.frames_of(WALK)
    recording_files.write_video(tmp_path / "videos" / "sit" / f"{SIT}.avi", frames)
    recording_files.write_video(tmp_path / "videos" / "sit" / f"{AGAIN}.mp4", frames)
    recording_files.write_video(tmp_path / "videos" / "pullup" / f"{PULLUP}.avi", frames)
    write(tmp_path / "splits", CLIPS)
    write(tmp_path / "sub_splits", {SIT: (2, 2, 2)})
    options = ["--source", tmp_path, "--no-poses", "--parts", "full_body,full_image", "--size", 16, "--workers", 1]
    options += ["--out", tmp_path / "out"]
    status, _, errors = run_command(convert.main, "jhmdb", *options)
    assert status == 0, errors
    found = manifest.load(tmp_path / "out")
    assert found["counts"]["per_class"]["sit"] == 2
    clips = {
        name: (p["clips"]["train"] + p["clips"]["val"], p["clips"]["test"]) for name, p in found["protocols"].items()
    }
    assert clips == {"split_1": (2, 1), "split_2": (1, 2), "split_3": (3, 0)}
    status, printed, errors = run_command(inspect.main, tmp_path / "out", "--clip", PULLUP)
    assert "label_text       pullup" in printed, errors


def test_clips_of_one_film_validate_together(tmp_path):
    clips = {f"film{film}_{action}_f_cm_np1_fr_med_0": (1, 1, 2) for film in range(100) for action in ("sit", "stand")}
    write_by_split(tmp_path, clips)
    opened = source(tmp_path)
    splits = collections.defaultdict(set)
    for clip in clips:
        splits[clip.partition("_")[0]].add(opened.splits_of(opened.parse_id(clip))["split_1"])
    assert all(len(found) == 1 for found in splits.values())
    assert 3 < sum("val" in found for found in splits.values()) < 25


def test_clips_that_no_list_names_are_reported(tmp_path, capsys):
    recording_files.write_video(tmp_path / "sit" / f"{SIT}.avi", recording_files.frames_of(WALK))
    write_by_split(tmp_path, {AGAIN: (1, 1, 1)})
    opened = source(tmp_path)
    (info,) = opened.index().clips
    assert set(opened.splits_of(info).values()) == {None}
    assert f"clips in no list of splits, which no protocol uses: {SIT}" in capsys.readouterr().err


def test_papers_report_the_mean_over_the_three_splits():
    assert protocols.folds("jhmdb", "split_2") == ("split_1", "split_2", "split_3")
    with pytest.raises(ValueError, match="the files of jhmdb list its splits"):
        protocols.split_of("jhmdb", "split_1", SIT)


def _missing(folder):
    write_by_class(folder, CLIPS)
    (folder / "walk_test_split2.txt").unlink()


def _two_parts(folder):
    write_by_split(folder, CLIPS)
    (folder / "JHMDB_test1.txt").write_text(f"{SIT} 16\n")


def _two_that_differ(folder):
    write_by_class(folder / "a", CLIPS)
    write_by_class(folder / "b", {**CLIPS, SIT: (2, 2, 2)})


def _another_form(folder):
    write_by_class(folder, CLIPS)
    (folder / "sit_test_split1.txt").write_text(f"{SIT}.avi train\n")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda folder: None, "no JHMDB_train1.txt, JHMDB_train2.txt, JHMDB_train3.txt and 3 more below it"),
        (_missing, "no walk_test_split2.txt below it, expected the dataset's lists of splits"),
        (_two_parts, f"{SIT} is in two lists of split_1"),
        (_two_that_differ, "sit_test_split1.txt differ, remove one of the two"),
        (_another_form, r"the line '.* train', expected <name>\.avi and 1 .trains. or 2 .tests."),
    ],
)
def test_lists_that_are_refused(tmp_path, write, reason):
    write(tmp_path)
    with pytest.raises(UserError, match=reason):
        source(tmp_path)
