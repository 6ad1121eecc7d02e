"""OpenVINO Model Server and Triton, servers of the open inference protocol, for models of formats openvino and onnx.

They serve the network alone, so the client prepares the clip. :class:`serving.runtimes.loading.Model` does this: it
opens the version's folder, with the server's address as its runtime.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from serving.deploy.models import Model
from serving.runtimes import settings

FORMATS = ("openvino", "onnx")
OPENVINO_CONFIG = "openvino.json"
TRITON_FOLDER = "triton"
_OPENVINO_IMAGE = "openvino/model_server:2025.2"
_TRITON_IMAGE = "nvcr.io/nvidia/tritonserver:25.06-py3"
_MODELS = "/models"
_CONFIG = f"/config/{OPENVINO_CONFIG}"
_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_BATCH = 8  # most clips in a batch, for models that state no batch sizes


def openvino_config(models: Sequence[Model]) -> dict[str, Any]:
    """OpenVINO Model Server's configuration: every model, the versions with a label, and how they are computed."""
    return {
        "model_config_list": [
            {
                "config": {
                    "name": model.name,
                    "base_path": f"{_MODELS}/{model.name}",
                    "model_version_policy": {"specific": {"versions": sorted(set(model.labels.values()))}},
                    "plugin_config": {
                        "PERFORMANCE_HINT": "LATENCY",
                        "INFERENCE_PRECISION_HINT": _HINTS[settings.read(model.stable).compute],
                    },
                }
            }
            for model in models
        ]
    }


def triton_config(model: Model) -> str:
    """Triton's ``config.pbtxt`` of a model."""
    stated = settings.read(model.stable)
    backend = "openvino" if model.format == "openvino" else "onnxruntime"
    file = "model.xml" if model.format == "openvino" else "model.onnx"
    inputs = {name: spec.shape.as_list() for name, spec in model.inputs.signature().items()}
    versions = ", ".join(map(str, sorted(set(model.labels.values()))))
    size = model.batching.max_batch_size.value if model.batching else _BATCH
    lines = [
        f'name: "{model.name}"',
        f'backend: "{backend}"',
        f'default_model_filename: "{file}"',
        f"max_batch_size: {size}",
        *(_tensor("input", name, shape) for name, shape in inputs.items()),
        *(_tensor("output", name, shape) for name, shape in stated.outputs.items()),
        f"version_policy: {{ specific: {{ versions: [{versions}] }} }}",
        *(["dynamic_batching: { }"] if model.batching else []),
        "instance_group: [ { kind: KIND_CPU } ]",
    ]
    return "\n".join(lines) + "\n"


def _tensor(side: str, name: str, shape: Sequence[int]) -> str:
    """An input or an output of ``config.pbtxt``, without the batch axis."""
    sizes = ", ".join(map(str, shape))
    return f'{side} {{ name: "{name}" data_type: TYPE_FP32 dims: [{sizes}] }}'


def services(models: Sequence[Model], base: str | os.PathLike, *, memory: int, cpus: int) -> dict[str, Any]:
    """The two servers for a compose file, each in its own profile, with ports open to this machine alone."""
    folder = pathlib.Path(base).absolute()
    common = {
        "user": f"{os.getuid()}:{os.getgid()}",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": f"{memory}g",
        "cpus": cpus,
        "restart": "unless-stopped",
    }

    def bind(source: str, target: str) -> dict[str, Any]:
        return {"type": "bind", "source": source, "target": target, "read_only": True}

    versions = [
        bind(f"{folder / model.name / str(number)}", f"{_MODELS}/{model.name}/{number}")
        for model in models
        for number in sorted(set(model.labels.values()))
    ]
    configs = [
        bind(f"./{TRITON_FOLDER}/{model.name}/config.pbtxt", f"{_MODELS}/{model.name}/config.pbtxt") for model in models
    ]
    return {
        "openvino-model-server": {
            "image": _OPENVINO_IMAGE,
            "profiles": ["openvino"],
            "command": ["--config_path", _CONFIG, "--port", "9000", "--rest_port", "8000"],
            "ports": ["127.0.0.1:9000:9000", "127.0.0.1:8000:8000"],
            "volumes": [*versions, bind(f"./{OPENVINO_CONFIG}", _CONFIG)],
            **common,
        },
        "triton": {
            "image": _TRITON_IMAGE,
            "profiles": ["triton"],
            "command": ["tritonserver", f"--model-repository={_MODELS}", "--http-port=8000", "--grpc-port=9000"],
            "ports": ["127.0.0.1:9000:9000", "127.0.0.1:8000:8000"],
            "volumes": [*versions, *configs],
            **common,
        },
    }
