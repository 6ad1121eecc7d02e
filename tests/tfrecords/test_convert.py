"""``python -m tfrecords.convert`` as a user runs it."""

import functools
import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.tfrecords import nucla_files
from tfrecords import convert, schema


@pytest.fixture
def run_convert(run_command):
    """``run_convert(*arguments)``: ``(exit status, stdout, stderr)``."""
    return functools.partial(run_command, convert.main)


@pytest.fixture
def source(tmp_path):
    for clip in nucla_files.ids(subjects=(1,)):
        nucla_files.write_json(tmp_path / "source", clip)
    return tmp_path / "source"


def test_converted_once(source, run_convert, tmp_path):
    out = tmp_path / "out"
    status, printed, errors = run_convert("nucla", "--source", source, "--out", out)
    assert (status, printed) == (0, f"18 clips in 6 shards, 0 rejected: {out}\n")
    assert "Traceback" not in errors
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    status, printed, _ = run_convert("nucla", "--source", source, "--out", out)
    assert (status, printed) == (0, f"already complete: 18 clips in 6 shards, 0 rejected: {out}\n")
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before

    status, _, errors = run_convert("nucla", "--source", source, "--out", out, "--shards", 2)
    assert status == 2
    assert errors.startswith(f"error: {out}: holds another conversion (clips_per_shard 128, now not set): use")
    (source / "a01_s01_e00_v01.json").unlink()
    status, _, errors = run_convert("nucla", "--source", source, "--out", out)
    assert status == 2
    assert "holds another conversion (number of clips in the source 18, now 17)" in errors


@pytest.mark.slow
def test_the_command_as_a_process(source, tmp_path):
    command = [sys.executable, "-m", "tfrecords.convert", "nucla", "--source", source, "--out", tmp_path / "out"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, f"18 clips in 6 shards, 0 rejected: {tmp_path / 'out'}\n")
    assert "Traceback" not in run.stderr


def test_no_clip_can_be_converted(run_convert, tmp_path):
    nucla_files.write_json(tmp_path / "source", "a01_s01_e00_v01", label=5)
    status, _, errors = run_convert("nucla", "--source", tmp_path / "source", "--out", tmp_path / "out")
    assert status == 2
    assert "no clip of nucla could be converted: 1 rejected (a01_s01_e00_v01: " in errors
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_dry_run(source, run_convert, tmp_path):
    empty = [f"a01_s01_e0{number}_v03" for number in (1, 2, 3, 4)]
    for clip in empty:
        nucla_files.write_json(source, clip, skeletons=[])
    status, printed, errors = run_convert("nucla", "--source", source, "--dry-run", "--workers", 1)
    assert status == 0, errors
    assert printed.splitlines() == [
        "v3_12: train 10, val 2, test 5",
        "v2_13: train 9, val 2, test 6",
        "v1_23: train 9, val 2, test 6",
        "v2_1: train 6, val 6, test 0",
        "v1_2: train 6, val 6, test 0",
        "v12_subjects: train 12, val 0, test 0",
        *(f"rejected: {clip}: {clip}.json: empty sequence" for clip in empty),
        "17 clips can be converted, 4 rejected; nothing written",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nucla", "--source", "absent", "--out", "out"], "error: --source absent: no such folder"),
        (["nucla", "--source", "."], "error: --out DIR is needed"),
        (["nucla", "--source", ".", "--out", "out", "--workers", "0"], "error: --workers 0: expected at least 1"),
        (
            ["nucla", "--source", ".", "--out", "out", "--worker", "2"],
            "unknown argument '--worker', did you mean --workers?",
        ),
        (["nucla", "--source", "x" * 300, "--out", "out"], "cannot be read (File name too long), expected a folder"),
        (["synthetic", "--out", "x" * 300], "(File name too long): check the path"),
        (["nuclas"], "nuclas"),
        ([], "DATASET"),
    ],
)
def test_wrong_usage(run_convert, arguments, message):
    status, _, errors = run_convert(*arguments)
    assert status == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_out_is_a_file(source, run_convert, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, errors = run_convert("nucla", "--source", source, "--out", tmp_path / "file")
    assert status == 2
    assert "a file is in the way" in errors


def test_help_without_tensorflow():
    code = "import sys\nfrom tfrecords import convert\ntry:\n convert.main(['nucla', '--help'])\n"
    code += "except SystemExit:\n print('tensorflow' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert run.stdout.startswith("usage: python -m tfrecords.convert nucla")
    assert run.stdout.endswith("False\n")


@pytest.mark.slow
@pytest.mark.real_data
def test_the_whole_json_release(real_data, run_convert, tmp_path):
    _, printed, _ = run_convert("nucla", "--source", real_data / "nucla" / "all_sqe", "--out", tmp_path / "out")
    assert printed.startswith("1484 clips in 18 shards, 0 rejected")
    found = json.loads((tmp_path / "out" / schema.MANIFEST).read_text())
    clips = {name: protocol["clips"] for name, protocol in found["protocols"].items()}
    assert clips == {
        "v3_12": {"train": 919, "val": 101, "test": 464},
        "v2_13": {"train": 886, "val": 94, "test": 504},
        "v1_23": {"train": 875, "val": 93, "test": 516},
        "v2_1": {"train": 516, "val": 504, "test": 0},
        "v1_2": {"train": 504, "val": 516, "test": 0},
        "v12_subjects": {"train": 733, "val": 287, "test": 0},
    }
