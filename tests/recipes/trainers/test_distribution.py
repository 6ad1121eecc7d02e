"""Several machines: two real processes on this one."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time
from importlib import metadata

import numpy as np
import pytest
import yaml

from recipes import run_directory
from recipes.trainers import distribution
from tests.recipes.conftest import ROOT, start
from zoo.shared.errors import UserError

KERAS_2 = metadata.version("keras").startswith("2.")


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start_workers(*arguments):
    """Two processes of train.py that know each other."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    configs = [json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(2)]
    return [start("train.py", *arguments, env={**os.environ, distribution.VARIABLE: text}) for text in configs]


def ends(processes):
    """``(returncode, stdout, stderr)`` of each."""
    outputs = [process.communicate(timeout=240) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, outputs)]


@pytest.mark.slow
@pytest.mark.skipif(not KERAS_2, reason="Keras 3 cannot be fed by several workers")
def test_two_workers_train_one_run(tmp_path, recipe_file, dataset):
    stage = "stages=[{name: only, epochs: 1, optimizer: {name: sgd, learning_rate: 0.05}}]"
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--set", stage]
    results = ends(start_workers(*arguments))
    assert [status for status, _, _ in results] == [0, 0], results
    assert results[1][1] == "", "only the chief prints"
    run = run_directory.RunDirectory(tmp_path / "run")
    assert [(row["stage"], row["epoch"]) for row in run.history] == [("only", 1)]
    assert run.environment["workers"] == 2


@pytest.mark.slow
@pytest.mark.skipif(not KERAS_2, reason="Keras 3 cannot be fed by several workers")
def test_a_lost_worker_stops_the_others_and_both_go_on(tmp_path, recipe_file, dataset):
    output = tmp_path / "run"
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", output, "--resume"]
    arguments += ["--set", "stages.first.epochs=6", "stages.second.epochs=3"]
    chief, other = start_workers(*arguments)
    checkpoint = output / "stages" / "first" / "checkpoints" / "epoch-00002"
    until = time.monotonic() + 200
    while not checkpoint.is_dir() and chief.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    ((status, _, stderr), _) = ends([chief, other])
    assert status == 2, stderr
    assert "another worker was lost" in stderr
    assert "Traceback" not in stderr

    results = ends(start_workers(*arguments))
    assert [status for status, _, _ in results] == [0, 0], results
    assert results[1][1] == "", "only the chief speaks"
    run = run_directory.RunDirectory(output)
    assert [(row["stage"], row["epoch"]) for row in run.history] == [
        *(("first", epoch) for epoch in range(1, 7)),
        *(("second", epoch) for epoch in range(1, 4)),
    ]
    assert run.environment["workers"] == 2
    assert all(np.isfinite(weights).all() for weights in run.model().get_weights())


@pytest.mark.skipif(KERAS_2, reason="Keras 2 can")
def test_keras_3_says_that_it_cannot(tmp_path, recipe_file, dataset):
    processes = start_workers("--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run")
    for status, _, stderr in ends(processes):
        assert status == 2
        assert "cannot be fed by several workers" in stderr
        assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "expected JSON such as"),
        ("{}", "expected JSON such as"),
        ('{"cluster": {"worker": 2}, "task": {"type": "worker", "index": 0}}', "expected JSON such as"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "worker 1 is none of the 1 workers",
        ),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "task ps 0 is none of"),
    ],
)
def test_a_damaged_tf_config(monkeypatch, text, reason):
    monkeypatch.setenv(distribution.VARIABLE, text)
    with pytest.raises(UserError, match=f"TF_CONFIG: .*{reason}"):
        distribution.strategy()


def test_job_files_name_what_there_is():
    jobs = pathlib.Path(ROOT) / "docs" / "jobs"
    subprocess.run(["bash", "-n", jobs / "train.slurm"], check=True)
    service, job = yaml.safe_load_all((jobs / "train.kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (script,) = pod["containers"][0]["args"]
    told = subprocess.run(
        ["bash", "-c", script.partition("exec python")[0] + 'echo "$TF_CONFIG"'],
        env={**os.environ, "JOB_COMPLETION_INDEX": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    config = json.loads(told.stdout)
    assert len(config["cluster"]["worker"]) == job["spec"]["completions"]
    assert config["task"] == {"type": "worker", "index": 1}
