"""``make demo VIDEO=...``: the commands it runs, whatever characters are in the name of the video."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import REPOSITORY

# Stands for the virtual environment's python: notes its arguments and ends as it is told.
_NOTES = """#!/usr/bin/env bash
printf '%s\\0' "$@" >> "$CALLS"
echo >> "$CALLS"
exit "$STATUS"
"""


@pytest.fixture
def run_demo(tmp_path):
    """``run_demo(video, status)``: exit status of ``make``, and the calls of ``python``, which end with ``status``."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(_NOTES)
    python.chmod(0o755)
    (tmp_path / "venv" / ".installed").touch()  # nothing to set up

    def run(video, status=0):
        calls = tmp_path / "calls"
        variables = {**os.environ, "CALLS": str(calls), "STATUS": str(status)}
        command = ["make", "-C", REPOSITORY, "demo", f"VENV={tmp_path / 'venv'}", f"VIDEO={video}"]
        done = subprocess.run(command, env=variables, capture_output=True, check=False)
        return done.returncode, [call.split("\0") for call in calls.read_text().split("\0\n")[:-1]]

    return run


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ('/a folder/it\'s $5 "$(x)" #1; & é.mp4', '/a folder/it\'s $5 "$(x)" #1; & é.mp4'),
        ("-in the repository.mp4", str(REPOSITORY / "-in the repository.mp4")),
        ("~/home.mp4", os.path.expanduser("~/home.mp4")),
    ],
)
def test_video(run_demo, given, meant):
    status, calls = run_demo(given)
    assert status == 0
    assert calls[0][-1] == meant  # checked before anything is fetched
    assert ["-m", "zoo.weights", "kinetics400"] in calls
    name = os.path.basename(meant)
    assert calls[-1][-2:] == [f"--video={meant}", f"--picture=demo/{name}.png"]


def test_no_video(run_demo):
    status, calls = run_demo("/missing.mp4", status=2)
    assert status == 2
    assert len(calls) == 1
