"""Shared by all tests: two logical processors, quiet TensorFlow, commands run in process, the folder of real data."""

import collections
import gc
import json
import os
import pathlib
import signal
import subprocess
import sys
import zlib
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from zoo.shared import command_line

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# Seconds that each file's tests take, to start the longest first. WRITE_DURATIONS=1 make test-all writes them anew.
DURATIONS = pathlib.Path(__file__).with_name("durations.json")


def pytest_configure(config):
    """Splits the processor in two, so that strategies over several devices can be tested anywhere; lets ctrl-C in."""
    import tensorflow as tf

    if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores
        tf.config.threading.set_intra_op_parallelism_threads(1)

    # A shell that runs the tests in the background has them ignore ctrl-C, and with them the commands that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # TensorFlow's hundred thousands of objects stay: looking through them all takes a twentieth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


# Folders whose files share fixtures that take long (a trained run, an exported model): one process runs them all.
SHARING = {
    "tests/serving": "serving",
    "tests/recipes/config": "recipes",
    "tests/recipes/reports": "recipes",
    "tests/recipes/trainers": "recipes",
}


def pytest_collection_modifyitems(items):
    """Puts the files, or groups of files, that take longest first."""
    files = json.loads(DURATIONS.read_text())
    seconds = collections.Counter()
    for file in {_file(item.nodeid) for item in items}:
        seconds[_group(file)] += files.get(file, 0)
    items.sort(key=lambda item: (-seconds[_group(_file(item.nodeid))], _group(_file(item.nodeid)), _file(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Runs the tests of one file, and of files that share fixtures, in one process.

    Not by xdist's marks of groups: xdist 3.8 writes them to a private field that pytest 9.2 no longer reads.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _group(_file(nodeid))

    return ByGroup(config, log)


def _file(nodeid):
    return nodeid.partition("::")[0]


def _group(file):
    """The file itself, or the name under which several share a process."""
    return next((group for folder, group in SHARING.items() if file.startswith(f"{folder}/")), file)


_measured = collections.Counter()  # file -> seconds


def pytest_runtest_logreport(report):
    """Adds up what each file's tests and fixtures take."""
    _measured[_file(report.nodeid)] += report.duration


def pytest_sessionfinish(session):
    """Writes the measured seconds where that is asked for; of the workers' tests, in the process that deals them."""
    if os.environ.get("WRITE_DURATIONS") and "PYTEST_XDIST_WORKER" not in os.environ:
        rounded = {file: round(seconds, 1) for file, seconds in sorted(_measured.items()) if seconds >= 0.1}
        DURATIONS.write_text(json.dumps(rounded, indent=1) + "\n")


@pytest.fixture(autouse=True)
def _seeded(request):
    """Draws the same weights in every run, so that no test fails once in a thousand; each test has draws of its own."""
    if tf := sys.modules.get("tensorflow"):
        tf.keras.utils.set_random_seed(zlib.crc32(request.node.nodeid.encode()) >> 1)


@pytest.fixture(scope="session")
def real_data():
    """The folder of research datasets (ADL_DATA, default ``../shared/data``); the test is skipped without it."""
    folder = pathlib.Path(os.environ.get("ADL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no research datasets in {folder} (set ADL_DATA)")
    return folder


@pytest.fixture(scope="session")
def two_replicas():
    """A MirroredStrategy over both logical processors; one for all tests, as a program has one."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture(scope="session")
def other_python():
    """The Python of the other row of the stack, if the repository has a virtual environment of it."""
    for candidate in sorted(REPOSITORY.glob(".venv*/bin/python")):
        program = "from importlib import metadata; print(metadata.version('keras')[0])"
        done = subprocess.run([candidate, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() != metadata.version("keras")[0]:
            return str(candidate)
    return pytest.skip("no virtual environment of the other row: make setup PYTHON=... VENV=.venv-other")


@pytest.fixture
def run_command(capsys):
    """Runs a command in this process: ``run_command(main, *arguments)`` gives ``(exit status, stdout, stderr)``.

    A process of its own costs seconds to import TensorFlow; tests whose subject is the process start one.
    """

    def run(main, *arguments):
        capsys.readouterr()
        try:
            status = command_line.run(main, [str(argument) for argument in arguments])
        except SystemExit as leaving:  # argparse
            status = leaving.code or 0
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run
