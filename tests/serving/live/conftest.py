"""A broker of MQTT that can be ended and started again."""

import getpass
import pathlib
import shutil
import socket
import subprocess

import pytest


@pytest.fixture
def broker(tmp_path):
    """Starts and kills Debian's mosquitto: ``(start, port)``."""
    pytest.importorskip("paho.mqtt")
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not pathlib.Path(program).exists():
        pytest.skip("no mosquitto: apt-get install mosquitto")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {tmp_path}/\n"
        f"user {getpass.getuser()}\n"
    )
    running = []

    def start():
        running.append(subprocess.Popen([program, "-c", configuration], stderr=subprocess.DEVNULL))
        return running[-1]

    yield start, port
    for process in running:
        process.kill()
        process.wait()
