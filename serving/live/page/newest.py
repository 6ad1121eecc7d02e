"""The newest picture as a JPEG file, and what is known of the people in it, with its age."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import Any

from serving.client import clips
from serving.live import showing
from serving.live.state import LiveState, PersonState, Snapshot

OLD_SECONDS = 3.0  # after which a picture or an answer counts as old
_WAIT = 0.1  # seconds between two checks whether to stop


class Newest:
    """Takes a session's pictures as they come, and measures the age of the last one by ``time.monotonic``.

    Args:
        state: The session's :class:`~serving.live.state.LiveState`.
    """

    def __init__(self, state: LiveState):
        self._state = state
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._came = 0.0  # by time.monotonic
        self._count = 0  # of pictures so far
        self._jpeg: tuple[int, bytes] = (0, b"")  # number of a picture, and its file
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="newest picture", daemon=True)

    def start(self) -> None:
        """Begins to follow the session."""
        self._thread.start()

    def stop(self) -> None:
        """Stops following the session."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _follow(self) -> None:
        pictures = self._state.subscribe()
        while not self._stopping.is_set():
            try:
                snapshot = pictures.get(timeout=_WAIT)
            except queue.Empty:
                continue
            with self._lock:
                self._snapshot, self._came = snapshot, time.monotonic()
                self._count += 1

    def forget(self) -> None:
        """Drops the last picture: another camera is watched."""
        with self._lock:
            self._snapshot = None

    def count(self) -> int:
        """How many pictures have come: if the number has changed, there is a new picture."""
        with self._lock:
            return self._count if self._snapshot is not None else 0

    def jpeg(self) -> bytes:
        """The newest picture as a JPEG file, encoded once for all who look at it; empty before the first."""
        with self._lock:
            snapshot, count = self._snapshot, self._count
            if snapshot is None or self._jpeg[0] == count:
                return self._jpeg[1] if snapshot is not None else b""
        encoded = clips.encode_jpeg(snapshot.picture)
        with self._lock:
            self._jpeg = count, encoded
        return encoded

    def document(self) -> dict[str, Any]:
        """The newest picture and its people, as JSON; ``picture`` is ``None`` before the first."""
        with self._lock:
            snapshot, age = self._snapshot, time.monotonic() - self._came
        if snapshot is None:
            return {"picture": None, "persons": []}
        height, width = snapshot.picture.shape[:2]
        picture = {"age": age, "old": age > OLD_SECONDS, "width": width, "height": height}
        return {"picture": picture, "persons": [_person(person, age) for person in snapshot.persons]}


def _person(person: PersonState, picture_age: float) -> dict[str, Any]:
    age = person.age + picture_age
    return {
        "track": person.track,
        "label": person.label,
        "probability": _number(person.probability),
        "top": [[label, _number(probability)] for label, probability in person.top],
        "age": age if math.isfinite(age) else None,
        "old": age > OLD_SECONDS,
        "attention": _attention(person),
    }


def _attention(person: PersonState) -> dict[str, Any] | None:
    """See :func:`serving.live.showing.attention`; ``grid`` covers the box ``seen``. ``None`` without attention."""
    grid, moments = showing.attention(person)
    found: dict[str, Any] = {}
    if grid is not None and person.seen is not None:
        found |= {"grid": grid.round(3).tolist(), "seen": list(person.seen)}
    if moments is not None:
        found |= {"time": moments.round(3).tolist()}
    return found or None


def _number(value: float) -> float:
    """The value, or 0 where it is NaN or infinite: a model may give these, but JSON lacks them."""
    return float(value) if math.isfinite(value) else 0.0
