"""The wheel: every module and data file of the source tree is in it."""

import pathlib
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_wheel_contains_everything(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    files = [
        path.relative_to(ROOT).as_posix()
        for package in ("zoo", "tfrecords", "recipes", "serving")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".yaml", ".txt", ".html", ".css", ".js", ".svg")
    ]
    assert len(files) > 50
    assert set(files) <= inside
    assert not [name for name in inside if name.startswith(("tests/", "benchmarks/"))]
