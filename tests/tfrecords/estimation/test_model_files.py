"""The Pose Landmarker's model file: from a path, the cache, or put together of a package's networks."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import zipfile

import pytest

from tfrecords.estimation import blazepose, model_files, tflite_metadata
from zoo.shared import packages
from zoo.shared.errors import UserError

NAMES = ("pose_detector.tflite", "pose_landmarks_detector.tflite")


@pytest.fixture(autouse=True)
def cached(tmp_path, monkeypatch):
    """The place of the full model in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keras-adl-zoo" / "blazepose" / "pose_landmarker_full.task"


def _kept(cached):
    """Files in the cache, but its lock."""
    return sorted(path.name for path in cached.parent.parent.rglob("*") if path.is_file() and path.name != ".lock")


def _task(path, names=NAMES):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"network " * 9)
    return path


def _damage(path, where=b"network"):
    content = bytearray(path.read_bytes())
    content[content.index(where) + 2] ^= 1
    path.write_bytes(content)


def _network(seed):
    """A TensorFlow Lite file with an aligned constant, and metadata of before."""
    try:
        blazepose._import()
    except UserError as error:
        pytest.skip(str(error))
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as schema

    model = schema.ModelT()
    model.version, model.description = 3, b"tiny"
    tensor = schema.TensorT()
    tensor.shape, tensor.buffer, tensor.name = [seed], 1, b"weights"
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
    model.subgraphs, model.operatorCodes = [graph], [schema.OperatorCodeT()]
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data, model.buffers[2].data = [seed] * 32, [0]
    model.metadata = [schema.MetadataT() for _ in range(2)]
    for entry, name, buffer in zip(model.metadata, (b"min_runtime_version", b"TFLITE_METADATA"), (1, 2)):
        entry.name, entry.buffer = name, buffer
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package with two networks, which the code names in place of the real one; it is not installed."""
    path = tmp_path / "wheels" / "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl"
    path.parent.mkdir()
    parts = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for seed, (name, (member, _, scale)) in enumerate(model_files._PARTS.items(), 1):
            content = _network(seed)
            archive.writestr(member, content)
            parts[name] = (member, hashlib.sha256(content).hexdigest(), scale)
        archive.writestr(
            "mediapipe-0.10.21.dist-info/METADATA", "Metadata-Version: 2.1\nName: mediapipe\nVersion: 0.10.21\n"
        )
        archive.writestr("mediapipe-0.10.21.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setattr(model_files, "_PARTS", parts)
    monkeypatch.setattr(model_files, "_WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    with zipfile.ZipFile(path) as archive:
        content = model_files._task_file({name: archive.read(member) for name, (member, *_) in parts.items()})
    monkeypatch.setattr(model_files, "_FULL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(model_files, "_installed", lambda: None)
    return path


@pytest.fixture
def pip(wheel, monkeypatch):
    """Replaces pip by a copy of the wheel; gives the commands that were run."""
    commands = []

    def run(command, **_):
        commands.append(command)
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, stderr=b"")

    monkeypatch.setattr(packages.subprocess, "run", run)
    return commands


def test_a_given_file_and_a_cached_one_are_taken(tmp_path, cached):
    mine = _task(tmp_path / "mine.task")
    assert model_files.find(mine) == mine
    for name in ("lite", "full"):
        path = _task(cached.with_name(f"pose_landmarker_{name}.task"))
        assert model_files.find(name) == path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "mine.task: no such file, expected lite, full, heavy or the .task file"),
        (lambda path: path.write_bytes(b"<html>"), r"mine.task: cannot be read \(File is not a zip file\), expected"),
        (lambda path: _task(path, NAMES[:1]), "mine.task: has no pose_landmarks_detector.tflite, expected"),
        (lambda path: _damage(_task(path)), "mine.task: pose_detector.tflite in it is damaged, expected"),
    ],
)
def test_a_given_file_that_is_none(tmp_path, make, message):
    make(tmp_path / "mine.task")
    with pytest.raises(UserError, match=message):
        model_files.find(tmp_path / "mine.task")


def test_a_size_that_must_be_downloaded(cached):
    with pytest.raises(UserError, match=r"pose_landmarker_heavy.task: no such file: download .*'full' needs no"):
        model_files.find("heavy")


def test_the_full_model_is_put_together_once(pip, cached):
    for _ in range(2):
        assert model_files.find("full") == cached
    assert len(pip) == 1
    assert _kept(cached) == [cached.name]
    _damage(cached, b"TFL3")
    assert model_files.find() == cached  # made again
    assert len(pip) == 2
    with zipfile.ZipFile(cached) as archive:
        assert tuple(archive.namelist()) == NAMES
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            begin = cached.read_bytes().index(archive.read(entry))
            assert begin % 64 == 0


def test_the_networks_of_the_installed_package_are_taken(wheel, pip, cached, tmp_path, monkeypatch):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site-packages")
    monkeypatch.setattr(model_files, "_installed", lambda: tmp_path / "site-packages")
    assert model_files.find() == cached
    assert pip == []
    cached.unlink()
    (tmp_path / "site-packages" / model_files._PARTS[NAMES[0]][0]).write_bytes(b"another")
    assert model_files.find() == cached
    assert len(pip) == 1


def _other_networks(wheel, cached, monkeypatch):
    member, _, scale = model_files._PARTS[NAMES[1]]
    monkeypatch.setitem(model_files._PARTS, NAMES[1], (member, "0" * 64, scale))


def _other_result(wheel, cached, monkeypatch):
    monkeypatch.setattr(model_files, "_FULL_SHA256", "0" * 64)


def _no_space(wheel, cached, monkeypatch):
    def write(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", write)


def _file_in_the_way(wheel, cached, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(wheel))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _other_networks,
            r"pose_landmark_full.tflite of mediapipe==0.10.21: SHA-256 is \w{64}, expected 0{64}: not kept",
        ),
        (_other_result, r"SHA-256 of what was put together is \w{64}, expected 0{64}: not kept"),
        (_no_space, r"pose_landmarker_full.task: cannot be written \(No space left on device\): free some"),
        (_file_in_the_way, r"the cache cannot be written \(Not a directory\).*XDG_CACHE_HOME"),
    ],
)
def test_what_cannot_be_put_together_leaves_nothing(pip, wheel, cached, spoil, message, monkeypatch):
    spoil(wheel, cached, monkeypatch)
    with pytest.raises(UserError, match=message):
        model_files.find()
    assert not cached.exists()
    assert _kept(cached) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", r"pip cannot download mediapipe==0.10.21 from .*; download pose_landmarker_full.task .* or give its path"),
        ("another", "the package index has another mediapipe==0.10.21 than the published one"),
    ],
)
def test_the_real_pip_without_the_published_package(wheel, cached, given, message, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    if given:
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
        monkeypatch.setattr(model_files, "_WHEEL_SHA256", "0" * 64)
    with pytest.raises(UserError, match=message):
        model_files.find()
    assert _kept(cached) == []


def test_metadata_are_added_and_the_network_stays_as_it_is():
    network = _network(5)
    from mediapipe.tasks.metadata import metadata_schema_py_generated as metadata_schema
    from mediapipe.tasks.metadata import schema_py_generated as schema

    content = tflite_metadata.with_normalisation(network, 127.5, 60.0)
    begin = content.index(network)
    assert begin % 64 == 0
    before, after = schema.ModelT.InitFromPackedBuf(network), schema.ModelT.InitFromPackedBuf(content)
    assert (after.version, after.description) == (3, b"tiny")
    assert vars(after.subgraphs[0].tensors[0]).keys() == vars(before.subgraphs[0].tensors[0]).keys()
    assert after.subgraphs[0].tensors[0].name == b"weights"
    assert [list(b.data) for b in after.buffers[1:3]] == [[5] * 32, [0]]
    assert [(m.name, m.buffer) for m in after.metadata] == [(b"min_runtime_version", 1), (b"TFLITE_METADATA", 3)]
    metadata = metadata_schema.ModelMetadataT.InitFromPackedBuf(bytes(after.buffers[3].data))
    (picture,) = metadata.subgraphMetadata[0].inputTensorMetadata
    options = picture.processUnits[0].options
    assert (list(options.mean), list(options.std)) == ([127.5], [60.0])
