"""Packages that a part of the project needs and the base installation lacks: which extra installs them."""

from __future__ import annotations

import importlib
import types
from typing import Any

from zoo.shared.errors import UserError

PROJECT = "keras-adl-zoo"
"""Name of the project for pip."""
EXTRAS = {
    "ai_edge_litert": "litert",
    "av": "video",
    "cv2": "video",
    "flatbuffers": "poses",
    "grpc": "serving",
    "grpc_health": "serving",
    "h11": "serving",
    "huggingface_hub": "hub",
    "joblib": "fusion",
    "matplotlib": "train",
    "mediapipe": "poses",
    "mlflow": "mlflow",
    "nncf": "openvino",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "paho": "mqtt",
    "prometheus_client": "serving",
    "scipy": "video",
    "skimage": "fusion",
    "sklearn": "train",
    "starlette": "serving",
    "tensorboard": "train",
    "tensorflow_addons": "train",
    "tensorflow_serving": "serving",
    "tf2onnx": "onnx",
    "uvicorn": "serving",
}
"""Module -> the extra of setup.cfg that installs it; if several do, the smallest."""


class MissingPackageError(UserError, ModuleNotFoundError):
    """A package is not installed; the message names the extra that has it."""


class _Lazy(types.ModuleType):
    """Stands for a module, which is imported when something of it is first used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__version__":  # asked for by inspect and others that examine any object
            raise AttributeError(name)
        module = self.__dict__.get("_module")  # no import while Python ends, when a video may still be closed
        if module is None:
            try:
                module = importlib.import_module(self.__name__)
            except ModuleNotFoundError as error:
                raise MissingPackageError(advice(error) or str(error), name=error.name) from None
            self._module = module
        value = getattr(module, name)
        setattr(self, name, value)
        return value


def lazy(module: str) -> Any:
    """A module of an extra, imported when something of it is first used: not every program needs it.

    Args:
        module: Name of the module.

    Raises:
        MissingPackageError: At the first use: it is not installed.

    Example:
        >>> cv2 = lazy("cv2")
        >>> cv2.INTER_AREA
        3
    """
    return _Lazy(module)


def advice(error: ModuleNotFoundError) -> str:
    """What to do about a missing module; empty if no extra has it.

    Example:
        >>> advice(ModuleNotFoundError(name="av"))
        "the package av is not installed, which the extra video has: pip install 'keras-adl-zoo[video]'"
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return ""
    extra = EXTRAS[module]
    return f"the package {module} is not installed, which the extra {extra} has: pip install '{PROJECT}[{extra}]'"
