"""Datasets in a store: read as from a folder, by processes that end with their own status."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.tfrecords import numbered_frames, s3_store
from tfrecords import convert, inspect, storage
from tfrecords.converting import writer
from zoo.shared import command_line
from zoo.shared.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAS_S3 = importlib.util.find_spec("tensorflow_io") is not None
needs_s3 = pytest.mark.skipif(not HAS_S3, reason="tensorflow-io has no build for this row's TensorFlow")
ADDRESS = f"s3://{s3_store.BUCKET}/numbered"
CLIENT = ["-m", "serving.client", "--server", "127.0.0.1:1", "--model", "m", "--record"]

IN_A_PROCESS = """
import json, sys
from tests.tfrecords.test_storage import read
from zoo.shared import command_line
def main(address):
    print(json.dumps(read(address)))
    return 5
sys.exit(command_line.run(main, sys.argv[1]))
"""


def read(address):
    """What a training reads of a dataset, as numbers."""
    from tfrecords.reading import pipeline, random_access

    records = pipeline.Records(address)
    inputs = pipeline.Inputs(pose_steps=1, layout=records.layout)
    out = {"sha256": records.sha256, "ids": pipeline.clip_ids(records, "v3_12", "test")}
    for balance in pipeline.BALANCES:
        data = pipeline.training(records, "v3_12", inputs, batch=4, seed=1, epochs=1, balance=balance)
        out[balance] = [features["pose"].numpy().tolist() for features, _ in data]
    shard = records.shards("v3_12", "test")[0]
    out["records"] = [location.read().info.id for location in random_access.locations(shard)]
    return out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "numbered"
    numbered_frames.convert(numbered_frames.NumberedPoses(), folder, clips_per_shard=20)
    return folder


@pytest.fixture(scope="module")
def environment(dataset):
    with s3_store.serving(dataset, "numbered") as environment:
        yield environment


def _slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def _run(environment, *arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@needs_s3
def test_a_store_is_read_as_a_folder_is(dataset, environment):
    """And the process ends with its own status, which the AWS library's destructors would turn into 134."""
    found = _run(environment, "-c", IN_A_PROCESS, ADDRESS)
    assert found.returncode == 5, found.stderr
    assert json.loads(found.stdout) == read(dataset)


@needs_s3
@pytest.mark.slow
def test_inspection_of_a_store(dataset, environment, capsys):
    found = _run(environment, "-m", "tfrecords.inspect", f"{ADDRESS}/", "--verify")
    assert found.returncode == 0, found.stderr
    assert command_line.run(inspect.main, [str(dataset), "--verify"]) == 0
    assert found.stdout == capsys.readouterr().out


@needs_s3
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "tfrecords.inspect", f"s3://{s3_store.BUCKET}/none"], "/none: no manifest.json there"),
        _slow(["-m", "tfrecords.inspect", "s3://no-bucket/numbered"], "S3_ENDPOINT"),
        _slow(["-m", "tfrecords.inspect", ADDRESS, "--clip", "a01_s01_e09_v01"], "no clip a01_s01_e09_v01 in it"),
        _slow([*CLIENT, f"s3://{s3_store.BUCKET}", "--clip", "a01"], "cannot be read (S3 path"),
        _slow(["recipes/train.py", "--recipe", "pose_lstm_synthetic", "--data", ADDRESS], "holds nucla, but recipe"),
    ],
)
def test_mistakes_with_a_store_are_one_line(environment, arguments, words):
    failed = _run(environment, *arguments)
    assert failed.returncode == 2, failed.stderr
    (line,) = [line for line in failed.stderr.splitlines() if "error" in line]
    assert words in line
    assert "Traceback" not in failed.stderr


@pytest.mark.skipif(HAS_S3, reason="this row has tensorflow-io")
def test_a_row_without_tensorflow_io_says_so(capsys):
    assert command_line.run(inspect.main, [ADDRESS]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs tensorflow-io" in line
    assert "use Python 3.9 to 3.11" in line


@pytest.mark.parametrize("address", [ADDRESS, "gs://bucket/numbered"])
def test_nothing_is_written_to_a_store(address, capsys):
    assert command_line.run(convert.main, ["synthetic", "--out", address]) == 2
    assert f"{address}: results are written to a folder of this machine" in capsys.readouterr().err
    with pytest.raises(UserError, match="written to a folder of this machine"):
        writer.convert(numbered_frames.NumberedPoses(), address)


def test_nothing_is_written_under_a_name_that_is_no_text():
    with pytest.raises(UserError, match=r"^o\\xff: not UTF-8"):
        storage.folder(os.fsdecode(b"o\xff"))


def test_an_unknown_kind_of_address():
    with pytest.raises(UserError, match=r"ftp://host/data: expected a folder of this machine or s3://bucket/folder"):
        storage.location("ftp://host/data")
