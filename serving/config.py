"""Writes what TF-Serving needs to serve exported models: configuration, a compose file, a Kubernetes manifest.

``python -m serving.config --models BASE --out DEPLOY [--stable MODEL=N] [--canary MODEL=N] [--tls FOLDER] ...``

::

    DEPLOY/models.config        models, versions and labels
           batching.config      threads that answer batches; sizes and queues are the models' own
           monitoring.config    Prometheus
           ssl.config           with --tls
           compose.yaml         the official image, on this machine
           kubernetes.yaml      ConfigMap, Deployment, Service

Every file is generated from what the models are: their versions, the size of their clips and the batch sizes they were
warmed up for. Run it again after an export; TF-Serving reads a changed ``models.config`` while it runs.
"""

import os
import pathlib
import re
import sys

import yaml

from serving import batching_parameters, config_messages, versions
from tfrecords import command_line, manifest
from tfrecords.errors import UserError

IMAGE = "tensorflow/serving:2.15.1"
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
LABELS = ("stable", "canary")
_MODELS = "/models"  # paths inside the container
_CONFIG = "/config"
_TLS = "/tls"
_POLL_SECONDS = 30
_BYTES_PER_WEIGHT = 4  # a server's memory: weights of a version, twice while a new one is loaded
_BASE_BYTES = 2**30  # TensorFlow itself
_LABEL_MEANING = {"stable": "answers as usual", "canary": "is tried out"}


class Model:
    """An exported model, as a deployment sees it.

    Args:
        folder: ``BASE/<model>``.
        stable: Version that has the label ``stable``; default: the newest that is not the canary.
        canary: Version that has the label ``canary``; default: none.

    Raises:
        UserError: There is no such version, or both labels are to be on one.

    Attributes:
        name: The model's name.
        labels: Label -> version.
        inputs: What a version is fed, :class:`tfrecords.pipeline.Inputs`.
        batching: Its ``BatchingParameters``, or ``None``.
    """

    def __init__(self, folder, *, stable=None, canary=None):
        self.name = folder.name
        self.versions = versions.require(folder)
        others = [version for version in self.versions if version != canary]
        stable = stable if stable is not None else max(others, default=None)
        if stable is None or stable == canary:
            raise UserError(
                f"--canary {self.name}={canary}: it is the stable version too, export another and give that one"
            )
        self.labels = {"stable": stable, **({} if canary is None else {"canary": canary})}
        for label, version in self.labels.items():
            if version not in self.versions:
                there = ", ".join(map(str, self.versions))
                raise UserError(f"--{label} {self.name}={version}: there is no such version in {folder}, only {there}")
        self.inputs, self.batching = _stated(self.versions[stable])

    @property
    def bytes(self):
        """Of the weights and graphs of the versions served."""
        return sum(
            file.stat().st_size
            for version in self.labels.values()
            for file in self.versions[version].rglob("*")
            if file.is_file()
        )


def _stated(folder):
    """``(inputs, batching)`` of a version, from the files that its export left in it."""
    import json

    from tfrecords.pipeline import Inputs

    try:
        stated = json.loads((folder / "assets" / "inputs.json").read_text(encoding="utf-8"))
        return Inputs.from_dict(stated), batching_parameters.read(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder} was not made by serving.export, or is damaged: {error}") from error


def find(base, *, stable=None, canary=None):
    """The models of a folder.

    Args:
        base: Folder of all models.
        stable: Model's name -> version with the label ``stable``.
        canary: Model's name -> version with the label ``canary``.

    Returns:
        A list of :class:`Model`, by name.

    Raises:
        UserError: There is none, or a version asked for does not exist.
    """
    base = pathlib.Path(base)
    stable, canary = stable or {}, canary or {}
    names = sorted(path.name for path in base.iterdir() if versions.find(path)) if base.is_dir() else []
    if not names:
        raise UserError(f"{base} holds no models, expected BASE/<model>/<version> as python -m serving.export writes it")
    for label, chosen in (("stable", stable), ("canary", canary)):
        for name in chosen:
            if name not in names:
                raise UserError(f"--{label} {name}: no such model in {base}, valid: {', '.join(names)}")
    return [Model(base / name, stable=stable.get(name), canary=canary.get(name)) for name in names]


# ----------------------------------------------------------------------------------------- TF-Serving's own files


def models_config(models):
    """The ``ModelServerConfig``: every model with the versions that have a label, and these labels."""
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for model in models:
        entry = config.model_config_list.config.add(
            name=model.name, base_path=f"{_MODELS}/{model.name}", model_platform="tensorflow"
        )
        entry.model_version_policy.specific.versions.extend(sorted(set(model.labels.values())))
        for label, version in model.labels.items():
            entry.version_labels[label] = version
    return config


def batching_config():
    """The ``BatchingParameters`` of the server: the threads all models share, the rest is the models' own."""
    config = config_messages.new("BatchingParameters")
    config.thread_pool_name.value = "batches"
    config.num_batch_threads.value = 1  # one batch keeps all processors busy
    return config


def monitoring_config():
    """The ``MonitoringConfig``: metrics for Prometheus on the REST port."""
    config = config_messages.new("MonitoringConfig")
    config.prometheus_config.enable = True
    config.prometheus_config.path = METRICS_PATH
    return config


def ssl_config(folder, *, verify):
    """The ``SSLConfig`` of the gRPC port.

    TF-Serving takes the contents of the files, not their paths.

    Args:
        folder: Folder with ``server.key``, ``server.crt`` and, to verify clients, ``ca.crt``; all PEM.
        verify: Whether clients must show a certificate of that authority.

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
