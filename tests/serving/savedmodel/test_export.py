"""Version folders: whole or absent, numbered, never overwritten."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from serving import export
from serving.savedmodel import versions, warmup
from tests.conftest import REPOSITORY
from tests.serving.conftest import LABELS
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def run(linear_run_folder):
    return export.Run(linear_run_folder)


def visible(folder):
    """What a server that watches the folder sees."""
    return [path.name for path in folder.iterdir() if path.name.isdecimal()]


def test_versions_count_up_and_are_never_overwritten(run, tmp_path):
    base = tmp_path / "not" / "there yet"
    folder, _ = export.export(run, base)
    assert folder == base / "pose_lstm" / "1"
    (base / "pose_lstm" / "0007").mkdir()  # TF-Serving takes this for version 7
    assert export.export(run, base)[0].name == "8"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(UserError, match=r"1 exists already.*use --version 9"):
        export.export(run, base, version=1)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert list(versions.find(base / "pose_lstm")) == [1, 7, 8]


def test_assets_travel_with_the_model(linear_version, linear_run_folder):
    assets = linear_version / "assets"
    assert (assets / "labels.txt").read_text(encoding="utf-8").splitlines() == LABELS
    for name in ("inputs.json", "recipe.yaml", "evaluation/cs-test/metrics.json"):
        assert (assets / name).read_bytes() == (linear_run_folder / name).read_bytes()


def test_failure_in_the_middle_leaves_nothing(run, tmp_path, monkeypatch):
    def damage(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "write", damage)  # the SavedModel is written by then
    with pytest.raises(KeyboardInterrupt):
        export.export(run, tmp_path)
    assert [path.name for path in (tmp_path / "pose_lstm").iterdir()] == [".export.lock"]


def test_saved_model_that_differs_is_not_published(run, tmp_path, monkeypatch):
    save = tf.saved_model.save

    def save_other_weights(module, folder, signatures):
        kept = [variable.numpy() for variable in module.network_variables]
        for variable in module.network_variables:
            variable.assign(2 * variable)
        save(module, folder, signatures=signatures)
        for variable, value in zip(module.network_variables, kept):
            variable.assign(value)

    monkeypatch.setattr(tf.saved_model, "save", save_other_weights)
    with pytest.raises(UserError, match="differs from the model"):
        export.export(run, tmp_path)
    assert visible(tmp_path / "pose_lstm") == []


@pytest.mark.slow
def test_killed_export_is_never_seen_and_cleared_by_the_next(linear_run_folder, run, tmp_path):
    script = (
        "import os, signal, sys; from serving import export; from serving.savedmodel import warmup\n"
        "warmup.write = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "export.export(export.Run(sys.argv[1]), sys.argv[2])"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(linear_run_folder), str(tmp_path)],
        cwd=REPOSITORY, stderr=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "pose_lstm"
    (unfinished,) = folder.glob(".partial-*/saved_model.pb")
    assert visible(folder) == []
    export.export(run, tmp_path)
    assert visible(folder) == ["1"]
    assert not unfinished.exists()


def test_one_export_at_a_time(run, tmp_path):
    (tmp_path / "pose_lstm").mkdir()
    with open(tmp_path / "pose_lstm" / ".export.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another export is writing there"):
            export.export(run, tmp_path)


def test_command(run_command, linear_run_folder, tmp_path):
    line = ["--run", linear_run_folder, "--to", tmp_path / "base", "--name", "adl", "--version", "3"]
    umask = os.umask(0o077)
    try:
        status, out, err = run_command(export.main, *line)
    finally:
        os.umask(umask)
    assert status == 0, err
    folder = tmp_path / "base" / "adl" / "3"
    assert str(folder) in out
    loaded = tf.saved_model.load(str(folder))
    outputs = loaded.signatures["serving_default"](poses=tf.zeros((1, 4, 2, 25, 3)))
    assert np.isclose(outputs["probabilities"].numpy().sum(), 1)
    modes = {
        path: path.stat().st_mode & 0o777 for path in (folder, folder.parent, tmp_path / "base", *folder.rglob("*"))
    }
    assert modes == {path: 0o755 if path.is_dir() else 0o644 for path in modes}  # a server of another user can read it


def broken(run_folder, tmp_path, damage):
    """A copy of the run directory, damaged."""
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    damage(folder)
    return folder


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda f: (f / "labels.txt").unlink(), "has no labels.txt"),
        (lambda f: (f / "labels.txt").write_text("a\nb\na\n"), "a is repeated"),
        (lambda f: (f / "labels.txt").write_text("a\n\nb\n"), "a line is empty"),
        (lambda f: (f / "labels.txt").write_text("a\nb\n"), "labels.txt has 2 classes"),
        (lambda f: (f / "inputs.json").write_text('{"frames": '), "inputs.json is damaged"),
        (lambda f: (f / "inputs.json").write_text('{"colour": 1}'), "inputs.json is damaged"),
        (lambda f: (f / "inputs.json").write_text("[]"), "inputs.json is damaged"),
        (lambda f: (f / "model.keras").unlink(), "model.keras: no such file"),
        (lambda f: (f / "model.keras").write_bytes(b"PK no zip"), "model.keras: not a Keras model"),
        (lambda f: (f / "inputs.json").write_text(json.dumps({"pose_steps": 9, "layout": "nite_15"})), "inputs.json"),
    ],
)
def test_run_that_cannot_be_exported(linear_run_folder, tmp_path, run_command, damage, message):
    folder = broken(linear_run_folder, tmp_path, damage)
    status, _, err = run_command(export.main, "--run", folder, "--to", tmp_path / "base")
    assert status == 2
    (line,) = err.splitlines()
    assert message in line


def test_labels_other_than_those_of_the_newest_version(linear_run_folder, linear_version, tmp_path, run_command):
    folder = tmp_path / "pose_lstm"
    shutil.copytree(linear_version, folder / "2")
    (folder / "3").mkdir()  # a model of another origin, which states no labels
    line = ["--run", linear_run_folder, "--to", tmp_path]
    for stated, difference in (
        (LABELS[::-1], "in another order"),
        ([*LABELS[1:], "fly"], f"fly only there, {LABELS[0]} only here"),
    ):
        (folder / "2" / export.LABELS).write_text("".join(f"{label}\n" for label in stated), encoding="utf-8")
        status, _, errors = run_command(export.main, *line)
        assert (status, errors.count("\n")) == (2, 1)
        assert f"{folder / '2'} has other labels than this export ({difference})" in errors
    assert sorted(visible(folder)) == ["2", "3"]
    assert run_command(export.main, *line, "--new-labels")[0] == 0
    assert "4" in visible(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "../elsewhere"], "--name '../elsewhere'"),
        (["--to", "a_file"], "a file is in the way"),
    ],
)
def test_target_that_cannot_be_written(linear_run_folder, tmp_path, monkeypatch, run_command, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    status, _, err = run_command(export.main, "--run", linear_run_folder, "--to", "base", *arguments)
    assert status == 2
    (line,) = err.splitlines()
    assert message in line


@pytest.mark.parametrize("size", ["0", "-1", "two"])
def test_batch_size_that_is_none(run_command, size):
    status, _, err = run_command(export.main, "--run", "run", "--to", "base", f"--batch_sizes={size}")
    assert status == 2
    assert "expected a whole number from 1" in err


@pytest.mark.parametrize("version", ["0", "-1", "one", str(2**63)])
def test_version_that_is_none(run_command, version):
    status, _, err = run_command(export.main, "--run", "run", "--to", "base", f"--version={version}")
    assert status == 2
    assert "expected a whole number from 1" in err
