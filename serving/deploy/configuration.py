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

import json
import os
import pathlib
import shlex

import yaml

from serving.savedmodel import batching_parameters, config_messages, versions
from zoo.shared import command_line
from zoo.shared.errors import UserError

IMAGE = "tensorflow/serving:2.15.1"
GRPC_PORT, REST_PORT = 8500, 8501
METRICS_PATH = "/monitoring/prometheus/metrics"
_MODELS = "/models"  # paths inside the container
_CONFIG = "/config"
_SECRET = "/secret"  # ssl.config holds the private key
_POLL_SECONDS = 30
_GIB = 2**30
_ACTIVATIONS = 16  # memory that a network needs for a clip, in clips of float32: an estimate


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
        inputs: What a version is fed, :class:`tfrecords.reading.pipeline.Inputs`.
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
        """Memory that a server needs for it, an estimate.

        Graph and weights of the versions that have a label, and of one more while it is loaded; a batch being answered;
        requests that wait, as many as ``max_enqueued_batches`` allows.
        """
        folders = [self.versions[version] for version in self.labels.values()]
        sizes = [sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) for folder in folders]
        batch = self.batching.max_batch_size.value if self.batching else 1
        waiting = self.batching.max_enqueued_batches.value if self.batching else 1
        clip = batching_parameters.clip_bytes(self.inputs)
        return sum(sizes) + max(sizes) + batch * clip * (4 * _ACTIVATIONS + waiting)


def _stated(folder):
    """``(inputs, batching)`` of a version, from the files that its export left in it."""
    from tfrecords.reading.pipeline import Inputs

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
        raise UserError(
            f"{base} holds no models, expected BASE/<model>/<version> as python -m serving.export writes it"
        )
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


# ------------------------------------------------------------------------------------------------- where it runs


def flags(models, *, tls):
    """Command line of ``tensorflow_model_server`` inside a container."""
    batched = any(model.batching for model in models)
    return [
        f"--port={GRPC_PORT}",
        f"--rest_api_port={REST_PORT}",
        f"--model_config_file={_CONFIG}/models.config",
        f"--model_config_file_poll_wait_seconds={_POLL_SECONDS}",
        # A label's version may become available after the model's first one, which alone is waited for.
        "--allow_version_labels_for_unavailable_models=true",
        f"--monitoring_config_file={_CONFIG}/monitoring.config",
        "--enable_grpc_healthcheck_service=true",
        *(
            [
                "--enable_batching=true",
                f"--batching_parameters_file={_CONFIG}/batching.config",
                "--enable_per_model_batching_parameters=true",
            ]
            if batched
            else []
        ),
        *([f"--ssl_config_file={_SECRET}/ssl.config"] if tls else []),
    ]


def readiness(models):
    """Command that succeeds when every model has an AVAILABLE version, for a container that has bash and no more.

    It asks GetModelStatus by REST and reads the answer: the HTTP status is 200 too for a model that is loading or has
    failed to, so a probe that looks at the status alone would send clients to it.
    """
    ask = (
        f"exec 3<>/dev/tcp/127.0.0.1/{REST_PORT} && "
        'printf "GET /v1/models/%s HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n" "$model" >&3 && '
        """grep -q '"AVAILABLE"' <&3 || exit 1"""
    )
    return ["bash", "-c", f"for model in {shlex.join(model.name for model in models)}; do {ask}; done"]


def compose(models, base, *, tls, memory, cpus):
    """The compose file: one server on this machine, its ports open to this machine alone.

    With TLS the REST port stays inside the container: TF-Serving encrypts gRPC only.
    """
    ports = [GRPC_PORT] if tls else [GRPC_PORT, REST_PORT]
    volumes = [
        {"type": "bind", "source": os.fspath(pathlib.Path(base).absolute()), "target": _MODELS, "read_only": True},
        *(
            {"type": "bind", "source": f"./{name}", "target": f"{folder}/{name}", "read_only": True}
            for folder, names in _mounted(tls).items()
            for name in names
        ),
    ]
    service = {
        "image": IMAGE,
        # The image's own entry point is a shell, which would not pass SIGTERM on.
        "entrypoint": ["/usr/bin/tensorflow_model_server"],
        "command": flags(models, tls=tls),
        "user": f"{os.getuid()}:{os.getgid()}",
        "ports": [f"127.0.0.1:{port}:{port}" for port in ports],
        "volumes": volumes,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{memory}g",
        "cpus": cpus,
        "restart": "unless-stopped",
        "healthcheck": {
            "test": ["CMD", *(part.replace("$", "$$") for part in readiness(models))],  # "$" is the file's own
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "120s",
        },
    }
    return {"services": {"tf-serving": service}}


def _mounted(tls):
    """Folder in the container -> configuration files there."""
    mounted = {_CONFIG: ["models.config", "batching.config", "monitoring.config"]}
    return {**mounted, _SECRET: ["ssl.config"]} if tls else mounted


def kubernetes(models, texts, *, tls, memory, cpus, replicas):
    """The Kubernetes objects: a ConfigMap, a Deployment and a Service, all named ``tf-serving``.

    Models come from the PersistentVolumeClaim ``models``, with TLS ``ssl.config`` from the Secret ``tf-serving-tls``.

    Args:
        models: What :func:`find` gives.
        texts: File -> text of the configuration files.
        tls: Whether gRPC is encrypted.
        memory: GiB a server may use.
        cpus: Processors it may use.
        replicas: Number of servers.

    Returns:
        A list of three dictionaries.
    """
    name, labels = "tf-serving", {"app": "tf-serving"}
    ports = {"grpc": GRPC_PORT, **({} if tls else {"rest": REST_PORT})}
    probe = {"exec": {"command": readiness(models)}, "periodSeconds": 10, "timeoutSeconds": 5}
    limits = {"memory": f"{memory}Gi", "cpu": str(cpus)}
    volumes = {"models": {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}}
    volumes["config"] = {"configMap": {"name": name}}
    mounts = {"models": _MODELS, "config": _CONFIG}
    if tls:
        volumes["secret"] = {"secret": {"secretName": f"{name}-tls", "defaultMode": 0o440}}
        mounts["secret"] = _SECRET
    container = {
        "name": name,
        "image": IMAGE,
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": flags(models, tls=tls),
        "ports": [{"name": key, "containerPort": port} for key, port in ports.items()],
        "resources": {"limits": limits, "requests": dict(limits)},
        # Loading and warming up may take minutes; the server listens when all models are there.
        "startupProbe": {**probe, "failureThreshold": 60},
        "readinessProbe": {**probe, "failureThreshold": 1},
        "livenessProbe": {"tcpSocket": {"port": GRPC_PORT}, "periodSeconds": 30, "failureThreshold": 3},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": key, "mountPath": path, "readOnly": True} for key, path in mounts.items()],
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": [container],
        "volumes": [{"name": key, **value} for key, value in volumes.items()],
    }
    config = {name: texts[name] for name in _mounted(tls)[_CONFIG]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": config},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {
                "selector": labels,
                "ports": [{"name": key, "port": port, "targetPort": key} for key, port in ports.items()],
            },
        },
    ]


# --------------------------------------------------------------------------------------------------- the command


def write(models, base, out, *, tls=None, verify=False, memory=None, cpus=2, replicas=2):
    """Writes all files.

    Args:
        models: What :func:`find` gives.
        base: Folder of all models.
        out: Folder to write to; what it holds of an earlier time is replaced, one file at a time.
        tls: Folder of keys and certificates for :func:`ssl_config`, or ``None``.
        verify: Whether clients must show a certificate.
        memory: GiB a server may use; default: what the models are estimated to need.
        cpus: Processors a server may use.
        replicas: Servers in Kubernetes.

    Returns:
        Paths of the files.

    Raises:
        UserError: A file of ``tls`` is missing, or ``out`` is a file.
    """
    from google.protobuf import text_format

    memory = memory or 1 + -(-sum(model.bytes for model in models) // _GIB)  # 1 for TensorFlow, rounded up
    messages = {
        "models.config": models_config(models),
        "batching.config": batching_config(),
        "monitoring.config": monitoring_config(),
        **({"ssl.config": ssl_config(tls, verify=verify)} if tls else {}),
    }
    texts = {name: text_format.MessageToString(message) for name, message in messages.items()}
    encrypted = bool(tls)
    texts["compose.yaml"] = _yaml(compose(models, base, tls=encrypted, memory=memory, cpus=cpus))
    texts["kubernetes.yaml"] = "---\n".join(
        _yaml(part) for part in kubernetes(models, texts, tls=encrypted, memory=memory, cpus=cpus, replicas=replicas)
    )
    out = pathlib.Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--out {out}: a file is in the way, expected a folder") from None
    return [_replace(out / name, text) for name, text in texts.items()]


def _yaml(value):
    return yaml.safe_dump(value, sort_keys=False, width=120)


def _replace(path, text):
    """Writes a file beside and renames it; ``ssl.config`` is for its owner alone, for it holds the private key."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    mode = 0o600 if path.name == "ssl.config" else 0o644
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.replace(path)
    return path


def _labelled(text):
    """``MODEL=N``, for ``argparse``."""
    name, _, version = text.partition("=")
    if not name or not version.isdecimal():
        raise ValueError(text)
    return name, int(version)


_labelled.__name__ = "MODEL=VERSION"


def _positive(text):
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


_positive.__name__ = "positive int"


def main(argv=None):
    """The command line."""
    parser = command_line.ArgumentParser(
        prog="python -m serving.config", description="Write TF-Serving's configuration for exported models."
    )
    parser.add_argument("--models", required=True, metavar="BASE", help="folder of all models")
    parser.add_argument("--out", required=True, metavar="DEPLOY", help="folder to write to")
    for label, which in (("stable", "default: the newest but the canary"), ("canary", "default: none")):
        parser.add_argument(
            f"--{label}", type=_labelled, action="append", default=[], metavar="MODEL=N", help=f"its version; {which}"
        )
    parser.add_argument("--tls", metavar="FOLDER", help="folder with server.key and server.crt, to encrypt gRPC")
    parser.add_argument("--verify_clients", action="store_true", help="clients need a certificate of FOLDER/ca.crt")
    parser.add_argument("--memory", type=_positive, metavar="GIB", help="default: an estimate of what the models need")
    parser.add_argument("--cpus", type=_positive, default=2, help="processors of a server")
    parser.add_argument("--replicas", type=_positive, default=2, help="servers in Kubernetes")
    arguments = parser.parse_args(argv)
    if arguments.verify_clients and not arguments.tls:
        raise UserError("--verify_clients needs --tls: certificates are shown over TLS")
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
    print(f"wrote {', '.join(path.name for path in written)} to {arguments.out}")
    print(f"serve it: docker compose -f {pathlib.Path(arguments.out) / 'compose.yaml'} up --detach --wait")
    return 0
