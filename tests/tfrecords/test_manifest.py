"""The manifest: a folder without a sound one is no dataset."""

import json

import pytest

from tfrecords import manifest, schema
from zoo.shared.errors import UserError

SHARD = {"file": "group-00000-of-00001.tfrecord", "clips": 1, "bytes": 4, "sha256": ""}
SOUND = {
    **dict.fromkeys(("dataset", "labels", "skeleton_layout", "persons", "joints", "parts", "fps"), ""),
    **dict.fromkeys(("protocols", "counts", "options", "rejected"), ""),
    "schema_version": schema.SCHEMA_VERSION,
    "cells": {"group": {"shards": [SHARD]}},
}


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / SHARD["file"]).write_bytes(b"1234")
    manifest.save(tmp_path, SOUND)
    return tmp_path


def test_what_is_saved_is_loaded(dataset):
    assert manifest.load(dataset) == SOUND
    assert manifest.shards(manifest.load(dataset)) == [SHARD]
    assert {path.name for path in dataset.iterdir()} == {schema.MANIFEST, SHARD["file"]}  # no temporary file


def test_a_failed_save_leaves_the_old_one(dataset):
    with pytest.raises(TypeError):
        manifest.save(dataset, {"dataset": object()})
    assert manifest.load(dataset) == SOUND
    assert {path.name for path in dataset.iterdir()} == {schema.MANIFEST, SHARD["file"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no manifest.json"),
        ("{", "not JSON"),
        ("[]", "schema version None"),
        (json.dumps({**SOUND, "schema_version": 99}), "schema version 99, expected 1"),
        (json.dumps({key: value for key, value in SOUND.items() if key != "cells"}), "without cells"),
    ],
)
def test_unsound_manifest(dataset, content, message):
    (dataset / schema.MANIFEST).unlink()
    if content is not None:
        (dataset / schema.MANIFEST).write_text(content)
    with pytest.raises(UserError, match=message):
        manifest.load(dataset)


def test_missing_shard(dataset):
    (dataset / SHARD["file"]).unlink()
    with pytest.raises(UserError, match=f"{SHARD['file']}: No such file"):
        manifest.load(dataset)


def test_shard_of_another_size(dataset):
    (dataset / SHARD["file"]).write_bytes(b"12345")
    with pytest.raises(UserError, match=f"{SHARD['file']}: 5 bytes, expected 4"):
        manifest.load(dataset)


@pytest.mark.parametrize("name", ["absent", "file"])
def test_no_folder(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"no manifest\.json there"):
        manifest.load(tmp_path / name)
