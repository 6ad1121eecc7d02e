"""What is installed: every module and data file of the packages, nothing of the tests; and that it works alone."""

import json
import os
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

import zoo
from tests.conftest import REPOSITORY

PACKAGES = ("zoo", "tfrecords", "recipes", "serving", "adl")
# What is on PYTHONPATH, such as a clone, counts as installed to pip.
ALONE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _installed_files():
    """The files below the packages that belong to the project."""
    files = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*") if path.is_file()]
    return {path.relative_to(REPOSITORY).as_posix() for path in files if path.suffix != ".pyc"}


def test_wheel_contains_everything(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = archive.read(f"keras_adl_zoo-{zoo.__version__}.dist-info/METADATA").decode()
        scripts = archive.read(f"keras_adl_zoo-{zoo.__version__}.dist-info/entry_points.txt").decode()
    assert inside == _installed_files()
    assert {f"{package}/py.typed" for package in PACKAGES} <= inside
    assert "adl = adl.commands:script" in scripts
    assert "Requires-Dist: tensorflow<2.16,>=2.15.1" in metadata


# ------------------------------------------------------------------------------------------------------ fresh installs


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Folder of the wheel and the source distribution, built and checked by the tools that ``make dist`` uses."""
    folder = tmp_path_factory.mktemp("dist")
    python = _environment(tmp_path_factory.mktemp("build"), "build", "twine")
    for arguments in (["build", "--outdir", folder, REPOSITORY], ["twine", "check", "--strict"]):
        files = sorted(folder.glob("*")) if arguments[0] == "twine" else []
        command = [python, "-m", *arguments, *files]
        done = subprocess.run(command, env=ALONE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _environment(folder, *requirements):
    """The Python of a new virtual environment that has some packages; the test is skipped where pip reaches none."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, env=ALONE, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr:
        pytest.skip("pip reaches no package index")
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.slow
def test_source_distribution_contains_everything(distributions):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        inside = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    beside = {name for name in inside if not name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    assert inside - beside == _installed_files()
    beside = {name for name in beside if ".egg-info/" not in name}
    assert beside == {
        "CHANGELOG.md", "LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two gigabytes are installed
def test_an_installed_wheel_needs_no_clone(distributions, tmp_path):
    """First the base alone, then with extras, the whole way from a dataset to a prediction."""
    (wheel,) = distributions.glob("*.whl")
    python = _environment(tmp_path / "environment", wheel)

    def adl(*arguments):
        command = [python.with_name("adl"), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=ALONE, capture_output=True, text=True, check=False)

    assert adl("--version").stdout == f"adl {zoo.__version__}\n"
    assert "pose_lstm" in adl("models", "pose_lstm").stdout
    lacking = adl("predict", "--model", "models/pose_lstm", "--video", "clip.mp4")
    assert lacking.returncode == 2
    assert "pip install 'keras-adl-zoo[video]'" in lacking.stderr
    assert lacking.stderr.count("\n") == 1

    extras = f"keras-adl-zoo[train,serving] @ {wheel.as_uri()}"
    subprocess.run([python, "-m", "pip", "install", "--quiet", extras], env=ALONE, check=True)
    train = ["train", "--recipe", "pose_lstm_synthetic", "--data", "data", "--output", "run"]
    for arguments in (
        ["convert", "synthetic", "--out", "data", "--subjects", 8, "--repetitions", 1, "--frames", 15, "--size", 32],
        [*train, "--set", "stages.pose.epochs=1", "batch=8"],
        ["evaluate", "--run", "run", "--data", "data"],
        ["export", "--run", "run", "--to", "models"],
    ):
        done = adl(*arguments)
        assert done.returncode == 0, done.stderr
    clip = "S001C001P001R001A001"
    done = adl("predict", "--model", "models/pose_lstm", "--record", "data", "--clip", clip, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
