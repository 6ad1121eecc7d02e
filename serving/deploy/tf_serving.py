"""TF-Serving's own configuration files, its command line and a probe of its state."""

from __future__ import annotations

import os
import pathlib
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serving.deploy.models import Model
from serving.savedmodel import config_messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from google.protobuf.message import Message

IMAGE = "tensorflow/serving:2.15.1"
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
# Folders inside the container.
MODELS = "/models"
CONFIG = "/config"
SECRET = "/secret"  # ssl.config has the private key
ENVIRONMENT = {"TF_ENABLE_ONEDNN_OPTS": "1"}  # faster on processors without AVX-512, as zoo/__init__.py says
_POLL_SECONDS = 30


def models_config(models: Sequence[Model]) -> Message:
    """The ``ModelServerConfig``: every model with the versions that have a label, and these labels."""
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for model in models:
        entry = config.model_config_list.config.add(
            name=model.name, base_path=f"{MODELS}/{model.name}", model_platform="tensorflow"
        )
        entry.model_version_policy.specific.versions.extend(sorted(set(model.labels.values())))
        for label, version in model.labels.items():
            entry.version_labels[label] = version
    return config


def batching_config() -> Message:
    """The ``BatchingParameters`` of the server: the threads that all models share; each model has the rest itself."""
    config = config_messages.new("BatchingParameters")
    config.thread_pool_name.value = "batches"
    config.num_batch_threads.value = 1  # one batch keeps all processors busy
    return config


def monitoring_config() -> Message:
    """The ``MonitoringConfig``: metrics for Prometheus on the REST port."""
    config = config_messages.new("MonitoringConfig")
    config.prometheus_config.enable = True
    config.prometheus_config.path = METRICS_PATH
    return config


def ssl_config(folder: str | os.PathLike, *, verify: bool) -> Message:
    """The ``SSLConfig`` of the gRPC port.

    TF-Serving takes the contents of the files, not their paths.

    Args:
        folder: Folder with ``server.key``, ``server.crt`` and, to verify clients, ``ca.crt``; all PEM.
        verify: Whether clients must present a certificate that ``ca.crt`` signed.

    Raises:
        UserError: A file is missing.
    """
    config = config_messages.new("SSLConfig")
    files = {"server_key": "server.key", "server_cert": "server.crt", **({"custom_ca": "ca.crt"} if verify else {})}
    for field, name in files.items():
        try:
            setattr(config, field, (pathlib.Path(folder) / name).read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"--tls {folder}: {name} cannot be read, expected a PEM file") from error
    config.client_verify = verify
    return config


def flags(models: Sequence[Model], *, tls: bool) -> list[str]:
    """Command line of ``tensorflow_model_server`` inside a container."""
    batched = any(model.batching for model in models)
    return [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={CONFIG}/models.config",
        f"--model_config_file_poll_wait_seconds={_POLL_SECONDS}",
        # The server waits for a model's first version only; the version of a label may become available later.
        "--allow_version_labels_for_unavailable_models=true",
        f"--monitoring_config_file={CONFIG}/monitoring.config",
        "--enable_grpc_healthcheck_service=true",
        *(
            [
                "--enable_batching=true",
                f"--batching_parameters_file={CONFIG}/batching.config",
                "--enable_per_model_batching_parameters=true",
            ]
            if batched
            else []
        ),
        *([f"--ssl_config_file={SECRET}/ssl.config"] if tls else []),
    ]


def readiness(models: Sequence[Model]) -> list[str]:
    """Command that succeeds when every model has an AVAILABLE version, for a container that has only bash.

    It calls GetModelStatus by REST and reads the response. The HTTP status is 200 even for a model that is loading or
    has failed to load, so a probe of the HTTP status alone would send clients to such a model.
    """
    request = (
        f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT} && "
        'printf "GET /v1/models/%s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n" "$model" >&3 && '
        """grep -q '"AVAILABLE"' <&3 || exit 1"""
    )
    return ["bash", "-c", f"for model in {shlex.join(model.name for model in models)}; do {request}; done"]


def mounted_files(tls: bool) -> dict[str, list[str]]:
    """Folder in the container -> configuration files there."""
    mounted = {CONFIG: ["models.config", "batching.config", "monitoring.config"]}
    return {**mounted, SECRET: ["ssl.config"]} if tls else mounted
