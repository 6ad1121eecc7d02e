"""The writer: what goes where, and that nothing half-written is ever taken for whole."""

import errno
import fcntl
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from tests.conftest import REPOSITORY
from tests.tfrecords import nucla_files, slow_conversion
from tfrecords import convert, manifest, schema
from tfrecords.converting import shards as shard_files
from tfrecords.converting import state, writer
from tfrecords.datasets import nucla
from zoo.shared.errors import UserError

IDS = nucla_files.ids()
CLIPS = [nucla.NUCLA.parse_id(clip) for clip in IDS]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A JSON release of 54 clips, of which one is damaged."""
    folder = tmp_path_factory.mktemp("source")
    for clip in IDS:
        nucla_files.write_json(folder, clip)
    nucla_files.write_json(folder, "a01_s02_e01_v01", skeletons=[])
    return folder


@pytest.fixture(scope="module")
def reference(source, tmp_path_factory):
    """What an undisturbed conversion writes: file name -> bytes."""
    out = tmp_path_factory.mktemp("reference")
    writer.convert(nucla.NUCLA(source, "json"), out, clips_per_shard=slow_conversion.CLIPS_PER_SHARD, workers=1)
    return contents(out)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


# --------------------------------------------------------------------------------------------------------- the plan


def test_every_clip_is_in_one_shard_of_its_split_group():
    shards = shard_files.plan(nucla.NUCLA("", "json"), CLIPS, clips_per_shard=4)
    assert sorted(clip.id for shard in shards for clip in shard.clips) == sorted(IDS)
    assert max(len(shard.clips) for shard in shards) == 4
    assert shard_files.plan(nucla.NUCLA("", "json"), CLIPS[::-1], clips_per_shard=4) == shards


def test_shards_per_split_group():
    shards = shard_files.plan(nucla.NUCLA("", "json"), CLIPS, shards=5)
    for shard in shards:
        members = [len(other.clips) for other in shards if other.group == shard.group]
        assert shard.total == len(members) == min(5, sum(members))
        assert max(members) - min(members) <= 1
    (single,) = shard_files.plan(nucla.NUCLA("", "json"), CLIPS[:1], shards=5)  # no empty shards
    assert single.file == (
        "v3_12-train_v2_13-train_v1_23-test_v2_1-train_v1_2-val_v12_subjects-train-00000-of-00001.tfrecord"
    )


def test_names_of_files_are_of_a_length_that_file_systems_take():
    longest, first, second = (
        shard_files.Shard(group, 0, 1, ()).file for group in ("a" * 194, "a" * 195, "a" * 195 + "b")
    )
    assert longest == f"{'a' * 194}-00000-of-00001.tfrecord"
    assert len(longest) == len(first) == len(second)
    assert len({longest, first, second}) == 3


# ------------------------------------------------------------------------------------------------------- one shard


def test_a_rejected_clip_changes_nothing_for_the_others(source, tmp_path):
    whole = shard_files.Shard("group", 0, 1, tuple(CLIPS))
    sound = shard_files.Shard("group", 0, 1, tuple(clip for clip in CLIPS if clip.id != "a01_s02_e01_v01"))
    for name, shard in (("whole", whole), ("sound", sound)):
        (tmp_path / name / ".conversion").mkdir(parents=True)
        report = shard_files.write_shard(nucla.NUCLA(source, "json"), shard, tmp_path / name)
        assert report["clips"] == len(IDS) - 1
    assert (tmp_path / "whole" / whole.file).read_bytes() == (tmp_path / "sound" / whole.file).read_bytes()


def test_a_failure_names_the_clip_and_leaves_no_file(source, tmp_path, capsys):
    class Failing(nucla.NUCLA):
        def read(self, info):
            if info.id == IDS[3]:
                raise OSError("the disk has gone")
            return super().read(info)

    with pytest.raises(OSError, match="the disk has gone"):
        shard_files.write_shard(Failing(source, "json"), shard_files.Shard("group", 0, 1, tuple(CLIPS)), tmp_path)
    assert capsys.readouterr().err == f"warning: the conversion ends with clip {IDS[3]}\n"
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------- the folder


def test_a_file_system_without_locks(source, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UserError, match=r"its file system has no locks \(No locks available\): use another"):
        writer.convert(nucla.NUCLA(source, "json"), tmp_path)


def test_another_conversion_may_remove_the_state_first(source, tmp_path, monkeypatch):
    def save(directory, found, save=manifest.save):
        save(directory, found)
        shutil.rmtree(directory / ".conversion")

    def run(source, shards, directory, *_):
        return {shard: shard_files.write_shard(source, shard, directory) for shard in shards}

    monkeypatch.setattr(manifest, "save", save)
    assert writer.convert(nucla.NUCLA(source, "json"), tmp_path, run=run)[1]


# ----------------------------------------------------------------------------------------------------- the manifest


def test_manifest(reference, tmp_path):
    found = json.loads(reference[schema.MANIFEST])
    assert found["dataset"] == "nucla"
    assert found["labels"] == list(nucla.NUCLA.labels)
    assert (found["skeleton_layout"], found["persons"], found["joints"]) == ("kinect_v1_20", 1, 20)
    assert (found["parts"], found["options"]) == ([], {"form": "json", "clips_per_shard": 2})
    assert found["counts"]["clips"] == len(IDS) - 1
    assert found["counts"]["frames"] == 6 * (len(IDS) - 1)
    assert found["counts"]["per_class"] == {
        **dict.fromkeys(nucla.NUCLA.labels, 0),
        **{"pick up with one hand": 17, "donning": 18, "carry": 18},
    }
    assert found["counts"]["per_subject"] == {"1": 18, "2": 17, "3": 18}
    assert found["counts"]["per_camera"] == {"1": 17, "2": 18, "3": 18}
    assert found["rejected"] == [{"id": "a01_s02_e01_v01", "reason": "a01_s02_e01_v01.json: empty sequence"}]
    assert found["protocols"].pop("v12_subjects")["clips"] == {"train": 23, "val": 12, "test": 0}
    assert found["protocols"].pop("v2_1")["clips"] == {"train": 17, "val": 18, "test": 0}
    assert found["protocols"].pop("v1_2")["clips"] == {"train": 18, "val": 17, "test": 0}
    for protocol in found["protocols"].values():
        assert sum(protocol["clips"].values()) == len(IDS) - 1
        cells = [cell for split in ("train", "val", "test") for cell in protocol[split]]
        assert sorted(cells) == sorted(found["cells"])
    assert found["protocols"]["v3_12"]["clips"]["test"] == 18


def test_shards_hold_the_clips_of_their_split_group(reference, tmp_path):
    for name, content in reference.items():
        (tmp_path / name).write_bytes(content)
    ids = []
    for cell in manifest.load(tmp_path)["cells"].values():
        for shard in cell["shards"]:
            records = tf.data.TFRecordDataset(str(tmp_path / shard["file"])).as_numpy_iterator()
            clips = [schema.decode(record) for record in records]
            assert len(clips) == shard["clips"]
            assert {cell["splits"]["v3_12"] == "test"} == {clip.info.camera == 3 for clip in clips}
            ids += [clip.info.id for clip in clips]
    assert sorted(ids) == [clip for clip in IDS if clip != "a01_s02_e01_v01"]


# --------------------------------------------------------------------------------------- interference from outside


@pytest.fixture
def start(source, tmp_path):
    """Starts the slow conversion in a process group of its own; returns it when its first shard is complete."""
    started = []

    def run(**options):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.tfrecords.slow_conversion", str(source), str(tmp_path / "out")],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        started.append(process)
        until = time.monotonic() + 60
        while not list((tmp_path / "out").glob("[!.]*.tfrecord")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def workers_of(process):
    """Process ids of the worker processes (and not of multiprocessing's resource tracker)."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def resume(run_command):
    """Runs the command that a user would run again: ``(exit status, stdout, stderr)``."""

    def run(source, out, *options):
        arguments = "nucla", "--source", source, "--out", out, "--clips-per-shard", 2, "--workers", 2
        return run_command(convert.main, *arguments, *options)

    return run


def one_line(text):
    """The error in what a command wrote to stderr, which is to be its last line, without a traceback."""
    assert "Traceback" not in text
    return text.strip().rpartition("\n")[2]


def complete_shards(out):
    """Shards under their final names; each must be whole."""
    shards = sorted(out.glob("[!.]*.tfrecord"))
    for shard in shards:
        assert list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    return shards


def test_killed_and_run_again(source, reference, start, resume, tmp_path):
    process = start()
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    process.wait()
    # At once: what is left of the killed one must not be in the way.
    status, out, errors = resume(source, tmp_path / "out")
    assert status == 0, errors
    assert "53 clips in 30 shards, 1 rejected (a01_s02_e01_v01: " in out
    assert not any(alive(pid) for pid in workers)
    assert contents(tmp_path / "out") == reference  # byte by byte, the manifest too, and no other file


@pytest.mark.slow
def test_ctrl_c(source, start, resume, tmp_path):
    process = start()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "run the same command to go on" in one_line(errors)
    assert complete_shards(tmp_path / "out")
    assert not list((tmp_path / "out").rglob(".partial-*"))
    assert not (tmp_path / "out" / schema.MANIFEST).exists()
    # What is there can be completed, and not be mixed with anything else.
    status, _, errors = resume(source, tmp_path / "out", "--clips-per-shard", 3)
    assert status == 2
    assert "holds another conversion (clips_per_shard 2, now 3): use another --out" in one_line(errors)


@pytest.mark.slow
def test_worker_killed(start, tmp_path):
    process = start()
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "a worker process was killed" in one_line(errors)
    assert complete_shards(tmp_path / "out")


@pytest.mark.slow
def test_second_writer(source, start, resume, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LOCK_PATIENCE", 0.2)  # the first conversion takes some seconds
    process = start()
    status, _, errors = resume(source, tmp_path / "out")
    assert status == 2
    assert "another conversion is writing there" in one_line(errors)
    assert process.poll() is None  # the first goes on


@pytest.mark.slow
def test_file_size_limit(tmp_path):
    clips = nucla_files.ids(actions=(1,), subjects=(1,), views=(1,))
    for clip in clips:
        poses = nucla_files.walk(clip, frames=400)  # 96 kB in a record
        nucla_files.write_json(tmp_path / "source", clip, skeletons=poses.tolist())
    command = [sys.executable, "-m", "tfrecords.convert", "nucla", "--workers", "1"]
    run = subprocess.run(
        [*command, "--source", tmp_path / "source", "--out", tmp_path / "out"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)),
    )
    assert run.returncode == 2
    assert "cannot be written" in one_line(run.stderr)
    assert not list((tmp_path / "out").glob("*tfrecord*"))


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 100 kB; only root may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder]).returncode:
        pytest.skip("mounting a file system is not permitted")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_disk_full(source, resume, tiny_disk):
    status, _, errors = resume(source, tiny_disk / "out")
    assert status == 2
    assert "no space left while writing" in one_line(errors)
    assert complete_shards(tiny_disk / "out")
    assert not list((tiny_disk / "out").rglob(".partial-*"))
