"""Predictions as text: a table for a person, JSON lines or CSV for a program."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Sequence
from typing import Any, Protocol, TextIO

from serving.client.prediction import Prediction
from serving.client.time_line import Row, Segment, TimeLine

FORMATS = ("table", "json", "csv")
NOBODY = "nobody found"  # in place of a class


class Printer(Protocol):
    """Prints predictions in one of the :data:`FORMATS`."""

    def prediction(self, prediction: Prediction) -> None:
        """Prints the prediction of a clip."""

    def row(self, row: Row) -> None:
        """Prints a window of a stream."""

    def segments(self, segments: Sequence[Segment]) -> None:
        """Prints the time line at the end of a stream."""


def printer(form: str, top: int, out: TextIO) -> Printer:
    """A printer.

    Args:
        form: One of :data:`FORMATS`.
        top: Number of classes to show of a prediction.
        out: A text file.
    """
    printers: dict[str, type[_Table] | type[_Json] | type[_Csv]] = {"table": _Table, "json": _Json, "csv": _Csv}
    return printers[form](top, out)


def print_rows(rows: Generator[Row, None, None], printer: Printer) -> None:
    """Prints each window of a stream when it comes, and at the end the time line, also after ctrl-C or an error."""
    line = TimeLine()
    try:
        for row in rows:
            line.add(row)
            printer.row(row)
    finally:
        rows.close()
        if line.segments():
            printer.segments(line.segments())


def _top(prediction: Prediction, count: int) -> list[tuple[str, float]]:
    return list(zip(prediction.labels, prediction.probabilities))[:count]


class _Table:
    def __init__(self, top: int, out: TextIO):
        self._top, self._out = top, out
        self._begun = False

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)  # a window is shown when it ends, also through a pipe

    def _head(self, prediction: Prediction) -> None:
        version = "" if prediction.version is None else f" version {prediction.version}"
        self._print(f"{prediction.model}{version}, {prediction.signature}")

    def prediction(self, prediction: Prediction) -> None:
        rows = _top(prediction, self._top)
        width = max(len("class"), *(len(label) for label, _ in rows))
        self._head(prediction)
        self._print(f"{'class':<{width}}  probability")
        for label, probability in rows:
            self._print(f"{label:<{width}}  {probability:11.4f}")
        for name, value in prediction.outputs.items():
            self._print(f"{name}: {list(value.shape)}")

    def row(self, row: Row) -> None:
        if row.prediction is None or row.smoothed is None:
            self._print(f"{row.start:9.2f} {row.end:9.2f} {'-':>12}  ({NOBODY})")
            return
        if not self._begun:
            self._head(row.prediction)
            self._print("  start s     end s  probability  class")
            self._begun = True
        label, probability = row.smoothed.top
        self._span(row.start, row.end, probability, label)

    def segments(self, segments: Sequence[Segment]) -> None:
        self._print("\ntime line\n  start s     end s  probability  class")
        for segment in segments:
            self._span(segment.start, segment.end, segment.probability, segment.label)

    def _span(self, start: float, end: float, probability: float, label: str) -> None:
        self._print(f"{start:9.2f} {end:9.2f} {probability:12.4f}  {label}")


class _Json:
    def __init__(self, top: int, out: TextIO):
        self._top, self._out = top, out

    def _print(self, content: dict[str, Any]) -> None:
        print(json.dumps(content), file=self._out, flush=True)

    def _content(self, prediction: Prediction) -> dict[str, Any]:
        content: dict[str, Any] = {
            "model": prediction.model,
            "version": prediction.version,
            "signature": prediction.signature,
        }
        content["predictions"] = self._classes(prediction)
        if prediction.outputs:
            content["outputs"] = {name: _plain(value.tolist()) for name, value in prediction.outputs.items()}
        return content

    def _classes(self, prediction: Prediction) -> list[dict[str, Any]]:
        return [{"class": label, "probability": value} for label, value in _top(prediction, self._top)]

    def prediction(self, prediction: Prediction) -> None:
        self._print(self._content(prediction))

    def row(self, row: Row) -> None:
        span = {"window": row.index, "start": row.start, "end": row.end}
        if row.prediction is None or row.smoothed is None:
            self._print({**span, "predictions": [], "reason": NOBODY})
            return
        self._print({**span, **self._content(row.prediction), "smoothed": self._classes(row.smoothed)})

    def segments(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            span = {"segment": segment.label, "start": segment.start, "end": segment.end}
            self._print({**span, "probability": segment.probability})


def _plain(value: Any) -> Any:
    """Nested lists for JSON: bytes, such as class names, become text."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class _Csv:
    def __init__(self, top: int, out: TextIO):
        self._top, self._out = top, out
        self._writer = csv.writer(out, lineterminator="\n")
        self._begun = False

    def prediction(self, prediction: Prediction) -> None:
        self._writer.writerow(("model", "version", "signature", "class", "probability"))
        head = (prediction.model, prediction.version, prediction.signature)
        self._writer.writerows((*head, *row) for row in _top(prediction, self._top))

    def row(self, row: Row) -> None:
        self._spans("window", [(row.start, row.end, *(row.smoothed.top if row.smoothed else ("", "")))])

    def segments(self, segments: Sequence[Segment]) -> None:
        self._spans("segment", [(s.start, s.end, s.label, s.probability) for s in segments])

    def _spans(self, kind: str, spans: list[tuple]) -> None:
        if not self._begun:
            self._writer.writerow(("kind", "start_s", "end_s", "class", "probability"))
            self._begun = True
        self._writer.writerows((kind, *span) for span in spans)
        self._out.flush()
