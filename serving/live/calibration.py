"""Temperature and threshold of a model, as ``recipes/evaluate.py --calibrate`` fits them on validation clips."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

from zoo.shared.errors import UserError

FILE = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How far a model's probabilities can be trusted.

    Attributes:
        temperature: See :func:`zoo.shared.probabilities.at_temperature`.
        unknown_below: Below this probability, at the temperature, the class is unknown; 0: never.
    """

    temperature: float = 1.0
    unknown_below: float = 0.0


def of(path: str | os.PathLike, folder: pathlib.Path | None, unknown_below: float | None = None) -> Calibration:
    """The calibration in a file, else the exported model's, else one that changes nothing.

    Args:
        path: ``calibration.json`` of a run directory; empty: the export's.
        folder: Folder of the export; ``None``: the model is on a server.
        unknown_below: A threshold in place of the calibration's.

    Raises:
        UserError: The file cannot be read.
    """
    if not path and folder is not None and (folder / "assets" / FILE).is_file():
        path = folder / "assets" / FILE
    found = _read(pathlib.Path(path)) if path else Calibration()
    return found if unknown_below is None else dataclasses.replace(found, unknown_below=unknown_below)


def _read(path: pathlib.Path) -> Calibration:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        temperature = float(values["temperature"])
        threshold = values["unknown_below"]
        found = Calibration(temperature, 0.0 if threshold is None else float(threshold))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected calibration.json of a run") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: expected calibration.json as recipes/evaluate.py --calibrate writes it") from None
    if not temperature > 0 or not 0 <= found.unknown_below <= 1:
        raise UserError(f"{path}: expected a temperature above 0 and a threshold from 0 to 1")
    return found
