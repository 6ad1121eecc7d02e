"""Shared by all tests: two logical processors, quiet TensorFlow, commands run in process, the folder of real data."""

import os
import pathlib
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from zoo.shared import command_line

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def pytest_configure(config):
    """Splits the processor in two, so that strategies over several devices can be tested anywhere; lets ctrl-C in."""
    import tensorflow as tf

    # A shell that runs the tests in the background has them ignore ctrl-C, and with them the commands that they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


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
