"""Writes what servers need to serve exported models: configuration, a compose file, a Kubernetes manifest.

``python -m serving.config --models BASE --out DEPLOY [--stable MODEL=N] [--canary MODEL=N] [--tls FOLDER] ...``

::

    DEPLOY/models.config        models, versions and labels
           batching.config      threads that run batches; each model has its own batch sizes and queues
           monitoring.config    Prometheus
           ssl.config           with --tls
           compose.yaml         the official image, on this machine
           kubernetes.yaml      ConfigMap, Deployment, Service
           openvino.json        OpenVINO Model Server, if there are models of the formats openvino or onnx
           triton/              Triton's config.pbtxt of each of these models

TF-Serving gets the models of the format savedmodel; OpenVINO Model Server and Triton those of openvino and onnx.
Every file is generated from the models: their versions, the size of their clips and the batch sizes they were warmed up
for. Run it again after an export; TF-Serving reads a changed ``models.config`` while it runs.
"""

from __future__ import annotations

import json
import os
import pathlib
import shlex
from collections.abc import Sequence

import yaml

from serving.deploy import open_inference, tf_serving
from serving.deploy.compose import compose
from serving.deploy.kubernetes import kubernetes
from serving.deploy.models import Model, find
from serving.savedmodel.exporting import SAVED_MODEL
from zoo.shared import command_line, files
from zoo.shared.command_line import positive
from zoo.shared.errors import UserError

_GIB = 2**30
_SECRETS = ("ssl.config",)  # the private key: readable by its owner alone


def write(
    models: Sequence[Model],
    base: str | os.PathLike,
    out: str | os.PathLike,
    *,
    tls: str | os.PathLike | None = None,
    verify: bool = False,
    memory: int | None = None,
    cpus: int = 2,
    replicas: int = 2,
) -> list[pathlib.Path]:
    """Writes all files.

    Args:
        models: The models, from :func:`serving.deploy.models.find`.
        base: Folder of all models.
        out: Folder to write to; existing files are replaced, one at a time.
        tls: Folder of keys and certificates for :func:`serving.deploy.tf_serving.ssl_config`, or ``None``.
        verify: Whether clients must present a certificate.
        memory: GiB of memory a server may use; default: estimated from the models.
        cpus: Processors a server may use.
        replicas: Servers in Kubernetes.

    Returns:
        Paths of the files.

    Raises:
        UserError: A file of ``tls`` is missing, ``out`` is a file, or no server loads the models.
    """
    memory = memory or 1 + -(-sum(model.bytes for model in models) // _GIB)  # 1 for the server, rounded up
    saved_models = [model for model in models if model.format == SAVED_MODEL]
    others = [model for model in models if model.format in open_inference.FORMATS]
    if not saved_models + others:
        raise UserError(f"{base} holds models for small devices alone, which no server loads: export other formats")
    texts = _tf_serving(saved_models, tls=tls, verify=verify, memory=memory, cpus=cpus, replicas=replicas)
    services = {}
    if saved_models:
        services.update(compose(saved_models, base, tls=bool(tls), memory=memory, cpus=cpus)["services"])
    if others:
        services.update(open_inference.services(others, base, memory=memory, cpus=cpus))
        texts[open_inference.OPENVINO_CONFIG] = json.dumps(open_inference.openvino_config(others), indent=1) + "\n"
        for model in others:
            texts[f"{open_inference.TRITON_FOLDER}/{model.name}/config.pbtxt"] = open_inference.triton_config(model)
    texts["compose.yaml"] = _yaml({"services": services})
    out = pathlib.Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--out {out}: a file is in the way, expected a folder") from None
    for name, text in texts.items():
        files.write_text(out / name, text, mode=0o600 if name in _SECRETS else 0o644)
    return [out / name for name in texts]


def _tf_serving(
    models: Sequence[Model],
    *,
    tls: str | os.PathLike | None,
    verify: bool,
    memory: int,
    cpus: int,
    replicas: int,
) -> dict[str, str]:
    """File -> text of TF-Serving's files, except the compose file; empty without models."""
    from google.protobuf import text_format

    if not models:
        return {}
    messages = {
        "models.config": tf_serving.models_config(models),
        "batching.config": tf_serving.batching_config(),
        "monitoring.config": tf_serving.monitoring_config(),
        **({"ssl.config": tf_serving.ssl_config(tls, verify=verify)} if tls else {}),
    }
    texts = {name: text_format.MessageToString(message) for name, message in messages.items()}
    parts = kubernetes(models, texts, tls=bool(tls), memory=memory, cpus=cpus, replicas=replicas)
    return {**texts, "kubernetes.yaml": "---\n".join(map(_yaml, parts))}


def _yaml(value):
    return yaml.safe_dump(value, sort_keys=False, width=120)


def _labelled(text):
    """``MODEL=N``, for ``argparse``."""
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise ValueError(text)
    return name, int(version)


_labelled.__name__ = "MODEL=VERSION"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command_line.quiet_tensorflow()
    parser = command_line.ArgumentParser(
        prog="python -m serving.config", description="Write servers' configuration for exported models."
    )
    parser.add_argument("--models", required=True, metavar="BASE", help="folder of the exported models")
    parser.add_argument("--out", required=True, metavar="DEPLOY", help="folder to write the configuration to")
    for label, which in (("stable", "default: the newest that is not the canary"), ("canary", "default: none")):
        parser.add_argument(
            f"--{label}",
            type=_labelled,
            action="append",
            default=[],
            metavar="MODEL=N",
            help=f"version of a model with the label {label}; {which}",
        )
    parser.add_argument("--tls", metavar="FOLDER", help="folder with server.key and server.crt, to encrypt gRPC")
    parser.add_argument(
        "--verify_clients", action="store_true", help="clients must present a certificate signed by FOLDER/ca.crt"
    )
    parser.add_argument(
        "--memory", type=positive(int), metavar="GIB", help="memory of a server; default: estimated from the models"
    )
    parser.add_argument("--cpus", type=positive(int), default=2, help="processors of a server")
    parser.add_argument("--replicas", type=positive(int), default=2, help="number of servers in Kubernetes")
    arguments = parser.parse_args(argv)
    if arguments.verify_clients and not arguments.tls:
        raise UserError("--verify_clients needs --tls: certificates are exchanged over TLS")
    models = find(arguments.models, stable=dict(arguments.stable), canary=dict(arguments.canary))
    written = write(
        models,
        arguments.models,
        arguments.out,
        tls=arguments.tls,
        verify=arguments.verify_clients,
        memory=arguments.memory,
        cpus=arguments.cpus,
        replicas=arguments.replicas,
    )
    for model in models:
        labels = ", ".join(f"{label} {version}" for label, version in model.labels.items())
        batches = list(model.batching.allowed_batch_sizes) if model.batching else "none"
        print(f"{model.name}: {labels}; batches: {batches}")
    print(f"wrote {', '.join(str(path.relative_to(arguments.out)) for path in written)} to {arguments.out}")
    file = shlex.quote(str(pathlib.Path(arguments.out) / "compose.yaml"))
    others = any(model.format in open_inference.FORMATS for model in models)
    profile, hint = (" --profile openvino", " (or --profile triton)") if others else ("", "")
    print(f"serve it: docker compose -f {file}{profile} up --detach --wait{hint}")
    return 0
