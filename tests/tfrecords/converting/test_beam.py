"""Conversion by Apache Beam, on the runner that needs no cluster."""

import filecmp

import pytest

from tests.tfrecords import nucla_files
from tfrecords import convert
from tfrecords.converting import shards
from zoo.shared.errors import UserError

pytest.importorskip("apache_beam", reason="the extra 'beam' is not installed (tested on the reference row)")


def command(source, out, *options):
    return ["nucla", "--source", str(source), "--out", str(out), "--clips-per-shard", "3", *options]


@pytest.fixture
def source(tmp_path):
    for clip in nucla_files.ids(subjects=(1,)):
        nucla_files.write_json(tmp_path / "source", clip)
    nucla_files.write_json(tmp_path / "source", "a01_s02_e00_v01", skeletons=[])
    return tmp_path / "source"


def test_the_same_bytes_as_on_one_machine(source, tmp_path, run_command):
    runner = ["--runner", "DirectRunner", "--runner-option=--direct_running_mode=in_memory"]
    status, by_beam, errors = run_command(convert.main, *command(source, tmp_path / "beam", *runner))
    assert status == 0, errors
    status, here, _ = run_command(convert.main, *command(source, tmp_path / "here", "--workers", "1"))
    assert (status, by_beam) == (0, here.replace("here", "beam"))
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "beam").iterdir())
    same, different, errors = filecmp.cmpfiles(tmp_path / "here", tmp_path / "beam", names, shallow=False)
    assert (sorted(same), different, errors) == (names, [], [])


@pytest.mark.slow
def test_a_failing_worker_leaves_what_is_complete(source, tmp_path, monkeypatch):
    written = []

    def write_shard(source, shard, directory):
        if written:
            raise OSError("no space left on device")
        written.append(original(source, shard, directory)["file"])

    original = shards.write_shard
    monkeypatch.setattr(shards, "write_shard", write_shard)
    with pytest.raises(UserError, match=r"no space left on device.*complete shards are kept"):
        convert.main(command(source, tmp_path / "out", "--runner", "DirectRunner"))
    monkeypatch.undo()
    before = (tmp_path / "out" / written[0]).stat().st_mtime_ns
    assert convert.main(command(source, tmp_path / "out", "--workers", "1")) == 0  # goes on without Beam
    assert (tmp_path / "out" / written[0]).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--runner", "Nobody"], "--runner Nobody: no runner of Apache Beam"),
        (["--runner-option=--x=1"], "--runner-option needs a runner of Apache Beam"),
        (["--runner", "DirectRunner", "--dry-run"], "--dry-run does not run on Apache Beam"),
    ],
)
def test_mistakes_of_the_user(source, tmp_path, options, reason):
    with pytest.raises(UserError, match=reason):
        convert.main(command(source, tmp_path / "out", *options))
