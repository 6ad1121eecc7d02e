"""The machine and the package versions, for the JSON files of the benchmarks."""

from __future__ import annotations

import os
import pathlib
import platform
from importlib import metadata

from zoo.shared import command_line

OPENCV = "opencv-python-headless"


def describe(*packages: str) -> dict[str, dict]:
    """``{"machine": {...}, "versions": {...}}`` for a JSON file; ``None`` for a package that is not installed.

    Example:
        >>> sorted(describe("numpy")["machine"])
        ['cores', 'devices', 'memory_bytes', 'processor', 'system']
    """
    command_line.quiet_tensorflow()
    import tensorflow as tf

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    machine = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "devices": [gpu.get("device_name", "GPU") for gpu in gpus] or ["CPU"],
        "system": f"{platform.system()} {platform.machine()}",
    }
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {"machine": machine, "versions": versions}


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
