"""Packages that one part of the project needs and the base installation lacks: which extra brings them."""

from __future__ import annotations

PROJECT = "keras-adl-zoo"
"""What pip calls it."""
EXTRAS = {
    "av": "video",
    "cv2": "video",
    "flatbuffers": "poses",
    "grpc": "serving",
    "grpc_health": "serving",
    "huggingface_hub": "hub",
    "joblib": "fusion",
    "matplotlib": "train",
    "mediapipe": "poses",
    "mlflow": "mlflow",
    "prometheus_client": "serving",
    "scipy": "video",
    "skimage": "fusion",
    "sklearn": "train",
    "tensorboard": "train",
    "tensorflow_addons": "train",
    "tensorflow_serving": "serving",
}
"""Module -> the extra of setup.cfg that brings it; where several do, the smallest."""


def advice(error: ModuleNotFoundError) -> str:
    """What to do about a module that is not there; nothing if no extra has it.

    Example:
        >>> advice(ModuleNotFoundError(name="av"))
        "the package av is not installed, which the extra video has: pip install 'keras-adl-zoo[video]'"
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return ""
    extra = EXTRAS[module]
    return f"the package {module} is not installed, which the extra {extra} has: pip install '{PROJECT}[{extra}]'"
