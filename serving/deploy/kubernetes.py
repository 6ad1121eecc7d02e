"""The Kubernetes manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.deploy import tf_serving
from serving.deploy.models import Model
from serving.deploy.tf_serving import GRPC_PORT, REST_PORT


def kubernetes(
    models: Sequence[Model], texts: Mapping[str, str], *, tls: bool, memory: int, cpus: int, replicas: int
) -> list[dict[str, Any]]:
    """The objects: a ConfigMap, a Deployment and a Service, all named ``tf-serving``.

    Models come from the PersistentVolumeClaim ``models``; with TLS, ``ssl.config`` is in the Secret ``tf-serving-tls``.

    Args:
        models: The models to serve.
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
    probe = {"exec": {"command": tf_serving.readiness(models)}, "periodSeconds": 10, "timeoutSeconds": 5}
    limits = {"memory": f"{memory}Gi", "cpu": str(cpus)}
    volumes = {"models": {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}}
    volumes["config"] = {"configMap": {"name": name}}
    mounts = {"models": tf_serving.MODELS, "config": tf_serving.CONFIG}
    if tls:
        volumes["secret"] = {"secret": {"secretName": f"{name}-tls", "defaultMode": 0o440}}
        mounts["secret"] = tf_serving.SECRET
    container = {
        "name": name,
        "image": tf_serving.IMAGE,
        "command": ["/usr/bin/tensorflow_model_server"],
        "args": tf_serving.flags(models, tls=tls),
        "env": [{"name": key, "value": value} for key, value in tf_serving.ENVIRONMENT.items()],
        "ports": [{"name": key, "containerPort": port} for key, port in ports.items()],
        "resources": {"limits": limits, "requests": dict(limits)},
        # Loading and warming up may take minutes; the server listens once all models are loaded.
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
    config = {name: texts[name] for name in tf_serving.mounted_files(tls)[tf_serving.CONFIG]}
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
