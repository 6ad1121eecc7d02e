"""TF-Serving's configuration files: they parse, and they agree with the exported models."""

import http.server
import json
import shutil
import subprocess
import threading

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.deploy import configuration, tf_serving
from serving.deploy.models import find
from serving.savedmodel import batching_parameters, config_messages, warmup
from tests.serving.conftest import INPUTS
from tfrecords.reading.pipeline import Inputs
from zoo.shared import command_line
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def models(tmp_path_factory, linear_version):
    """``BASE`` with ``adl`` (versions 1 to 3, batched) and ``other`` (version 1, not batched)."""
    base = tmp_path_factory.mktemp("models")
    for version in ("1", "2", "3"):
        shutil.copytree(linear_version, base / "adl" / version)
    shutil.copytree(linear_version, base / "other" / "1")
    (base / "other" / "1" / batching_parameters.FILE).unlink()
    (base / "notes").mkdir()
    return base


@pytest.fixture
def run(models, tmp_path, capsys):
    """Runs the command and gives its exit status, its error and what it wrote: file -> text."""

    def command(*line):
        out = tmp_path / "deploy"
        status = command_line.run(configuration.main, ["--models", str(models), "--out", str(out), *line])
        texts = {path.name: path.read_text() for path in out.iterdir()} if out.is_dir() else {}
        return status, capsys.readouterr().err, texts

    return command


def models_of(texts):
    parsed = text_format.Parse(texts["models.config"], model_server_config_pb2.ModelServerConfig())
    return {entry.name: entry for entry in parsed.model_config_list.config}


def container(texts):
    _, deployment, service = yaml.safe_load_all(texts["kubernetes.yaml"])
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    return found, deployment, service


def test_labels_and_versions(run):
    status, _, texts = run("--canary", "adl=3")
    assert status == 0
    entries = models_of(texts)
    assert sorted(entries) == ["adl", "other"]
    assert dict(entries["adl"].version_labels) == {"stable": 2, "canary": 3}
    assert list(entries["adl"].model_version_policy.specific.versions) == [2, 3]
    assert dict(entries["other"].version_labels) == {"stable": 1}
    assert entries["other"].base_path == "/models/other"
    assert dict(models_of(run("--stable", "adl=1")[2])["adl"].version_labels) == {"stable": 1}  # written over
    assert dict(models_of(run()[2])["adl"].version_labels) == {"stable": 3}


def test_batching_agrees_with_the_warm_up(models):
    folder = models / "adl" / "1"
    parameters = batching_parameters.read(folder)
    warmed = {
        request.inputs[name].tensor_shape.dim[0].size for request in warmup.read(folder) for name in request.inputs
    }
    assert set(parameters.allowed_batch_sizes) == warmed == {1, 2, 4}
    assert parameters.max_batch_size.value == parameters.allowed_batch_sizes[-1]
    assert not parameters.pad_variable_length_inputs


def test_queue_fits_the_clips():
    large = batching_parameters.fit(Inputs(frames=64, size=224), [1, 8])
    small = batching_parameters.fit(INPUTS, [1, 8])
    clip = 64 * INPUTS.stride * 224 * 224 * 3
    assert large.max_enqueued_batches.value * 8 * clip <= 2**30
    assert small.max_enqueued_batches.value > large.max_enqueued_batches.value
    assert batching_parameters.fit(Inputs(frames=256, size=448), [8]).max_enqueued_batches.value == 1
    with pytest.raises(UserError, match=r"--batch_sizes 200: a raw clip has 19,267,584 bytes.*at most 111"):
        batching_parameters.check(Inputs(frames=64, size=224), [1, 200])


def test_damaged_batching_parameters(models, tmp_path):
    copy = shutil.copytree(models / "adl" / "1", tmp_path / "1")
    (copy / batching_parameters.FILE).write_text("max_batch: 3")
    with pytest.raises(ValueError, match="is damaged"):
        batching_parameters.read(copy)


def test_files_agree_with_each_other(run):
    _, _, texts = run()
    service = yaml.safe_load(texts["compose.yaml"])["services"]["tf-serving"]
    found, deployment, _ = container(texts)
    assert service["image"] == found["image"] == "tensorflow/serving:2.15.1"
    assert service["command"] == found["args"]
    assert service["environment"] == {entry["name"]: entry["value"] for entry in found["env"]} != {}
    named = {flag.partition("=")[2].rpartition("/")[2] for flag in found["args"] if "_file=" in flag}
    assert named == {"models.config", "batching.config", "monitoring.config"}
    mounted = {volume["target"] for volume in service["volumes"]}
    assert mounted == {"/models", *(f"/config/{name}" for name in named)}
    assert all(volume["read_only"] for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    data = next(yaml.safe_load_all(texts["kubernetes.yaml"]))["data"]
    assert data == {name: texts[name] for name in named}
    monitoring = text_format.Parse(texts["monitoring.config"], config_messages.new("MonitoringConfig"))
    assert monitoring.prometheus_config.enable
    batching = text_format.Parse(texts["batching.config"], config_messages.new("BatchingParameters"))
    assert batching.num_batch_threads.value >= 1
    assert service["healthcheck"]["test"][-1].replace("$$", "$") == found["readinessProbe"]["exec"]["command"][-1]
    assert deployment["spec"]["replicas"] == 2


def test_models_that_are_not_batched(models, tmp_path):
    shutil.copytree(models / "other", tmp_path / "base" / "other")
    found = find(tmp_path / "base")
    assert not any("batching" in flag for flag in tf_serving.flags(found, tls=False))
    assert any("enable_batching" in flag for flag in tf_serving.flags(find(models), tls=False))


def test_tls(run, tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("server.key", "server.crt"):
        (keys / name).write_text(f"-----BEGIN {name}-----\n")
    status, _, texts = run("--tls", str(keys), "--memory", "9")
    assert status == 0
    ssl = text_format.Parse(texts["ssl.config"], config_messages.new("SSLConfig"))
    assert (ssl.server_key, ssl.client_verify) == ("-----BEGIN server.key-----\n", False)
    assert (tmp_path / "deploy" / "ssl.config").stat().st_mode & 0o777 == 0o600
    assert "BEGIN" not in texts["kubernetes.yaml"] + texts["compose.yaml"]  # the key is in no other file
    found, _, service = container(texts)
    assert "--ssl_config_file=/secret/ssl.config" in found["args"]
    assert found["resources"]["limits"]["memory"] == "9Gi"
    assert [port["name"] for port in service["spec"]["ports"]] == ["grpc"]  # REST is not encrypted
    assert len(yaml.safe_load(texts["compose.yaml"])["services"]["tf-serving"]["ports"]) == 1
    status, error, _ = run("--tls", str(keys), "--verify_clients")
    assert status == 2
    assert "ca.crt cannot be read" in error
    (keys / "ca.crt").write_text("-----BEGIN ca-----\n")
    _, _, texts = run("--tls", str(keys), "--verify_clients")
    ssl = text_format.Parse(texts["ssl.config"], config_messages.new("SSLConfig"))
    assert (ssl.custom_ca, ssl.client_verify) == ("-----BEGIN ca-----\n", True)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--models", "missing"], "missing holds no models"),
        (["--stable", "adl=7"], "no such version in"),
        (["--canary", "abl=1"], "no such model in"),
        (["--canary", "other=1"], "it is the stable version too"),
        (["--stable", "adl=3", "--canary", "adl=3"], "it is the stable version too"),
        (["--verify_clients"], "--verify_clients needs --tls"),
    ],
)
def test_wrong_choices(run, line, message):
    status, error, texts = run(*line)
    assert (status, texts) == (2, {})
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("line", [["--stable", "adl"], ["--canary", "adl=new"], ["--cpus", "0"]])
def test_wrong_words(run, line):
    with pytest.raises(SystemExit) as stopped:
        run(*line)
    assert stopped.value.code == 2


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_version_of_unknown_making(models, tmp_path, damage):
    shutil.copytree(models / "other", tmp_path / "base" / "other")
    stated = tmp_path / "base" / "other" / "1" / "assets" / "inputs.json"
    stated.unlink() if damage == "removed" else stated.write_text('{"frames":')
    with pytest.raises(UserError, match=r"was not made by serving\.export, or is damaged"):
        find(tmp_path / "base")


@pytest.mark.parametrize(("state", "ready"), [("AVAILABLE", True), ("LOADING", False), ("END", False)])
@pytest.mark.skipif(not shutil.which("bash"), reason="the probe is a bash command")
def test_probe_reads_the_state(models, monkeypatch, state, ready):
    """All responses have the status 200, as TF-Serving's have."""

    class Status(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            of_model = "AVAILABLE" if self.path == "/v1/models/adl" else state
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"model_version_status": [{"version": "1", "state": of_model}]}).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Status)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(tf_serving, "REST_PORT", server.server_port)
    probe = tf_serving.readiness(find(models))
    assert (subprocess.run(probe, timeout=120, check=False).returncode == 0) == ready
    server.shutdown()
    server.server_close()
    assert (
        subprocess.run(probe, timeout=120, check=False, stderr=subprocess.DEVNULL).returncode != 0
    )  # no server listens
