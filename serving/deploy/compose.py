"""The compose file."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from serving.deploy import tf_serving
from serving.deploy.models import Model
from serving.deploy.tf_serving import GRPC_PORT, REST_PORT


def compose(models: Sequence[Model], base: str | os.PathLike, *, tls: bool, memory: int, cpus: int) -> dict[str, Any]:
    """One server on this machine, its ports open to this machine alone.

    With TLS the REST port stays inside the container: TF-Serving encrypts gRPC only.
    """
    folder_of_models = os.fspath(pathlib.Path(base).absolute())
    ports = [GRPC_PORT] if tls else [GRPC_PORT, REST_PORT]
    volumes = [
        {
            "type": "bind",
            "source": folder_of_models,
            "target": tf_serving.MODELS,
            "read_only": True,
        },
        *(
            {"type": "bind", "source": f"./{name}", "target": f"{folder}/{name}", "read_only": True}
            for folder, names in tf_serving.mounted_files(tls).items()
            for name in names
        ),
    ]
    service = {
        "image": tf_serving.IMAGE,
        # The image's own entry point is a shell, which does not forward SIGTERM.
        "entrypoint": ["/usr/bin/tensorflow_model_server"],
        "command": tf_serving.flags(models, tls=tls),
        "environment": tf_serving.ENVIRONMENT,
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
            "test": [
                "CMD",
                *(part.replace("$", "$$") for part in tf_serving.readiness(models)),
            ],  # compose replaces "$" itself
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "120s",
        },
    }
    return {"services": {"tf-serving": service}}
