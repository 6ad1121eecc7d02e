"""Measurements in separate processes: what one keeps in memory, or has compiled, does not affect the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from zoo.shared.errors import UserError


def measured(name: str, script: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Any:
    """The JSON that a script prints in its last line.

    Args:
        name: Name of what is measured, for messages.
        script: The script's file.
        arguments: Its arguments.
        environment: Further variables of its environment.

    Raises:
        UserError: The script fails.
    """
    command = [sys.executable, script, *map(str, arguments)]
    surroundings = {**os.environ, **(environment or {})}
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=surroundings, check=False)
    if result.returncode:
        status = f"status {result.returncode}"  # negative: a signal ended it, as the system does without memory
        raise UserError(f"{name}: the measurement ended with {status} (out of memory?), see above")
    return json.loads(result.stdout.splitlines()[-1])
