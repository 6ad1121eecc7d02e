"""What is known now of the people in front of a camera, for display; safe to read from any thread.

::

    LiveSession ─► LiveState ─► latest(), segments(), events(), subscribe() ─► a page, a display, a program

Times are seconds since the epoch by the system clock. Durations and the ages of answers are measured by
``time.monotonic``, so setting the system clock does not alter them.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import queue
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

UNKNOWN = "unknown"  # label where the most probable class is below the threshold
SEGMENTS = 20_000  # most that are kept, the newest: enough for a day with one every four seconds
EVENTS = 5_000  # likewise


@dataclasses.dataclass(frozen=True)
class PersonState:
    """A person in a picture, with what the model last answered.

    Attributes:
        track: The person's number; a person who comes back after more than a second gets another one. -1: the whole
            frame, for a model that takes whole frames and no poses.
        label: The class of the person's segment; :data:`UNKNOWN` below the threshold; empty while there is no answer,
            or none that is recent enough to be shown.
        probability: Smoothed probability of that class; of the most probable one if it is unknown; 0 without a label.
        top: The five most probable classes with their probabilities, the most probable first; empty without a label.
        answered: When the last answer came; 0: never.
        box: ``(x0, y0, x1, y1)`` around the person, pixels of the picture.
        age: Seconds from the newest frame of the answer's window to this picture; infinite: there is no answer.
        attention: Name -> attention map of the answer's window, such as ``spatial_attention`` ``[m, n]``; empty for a
            model without attention.
        seen: ``(x0, y0, x1, y1)``, the box that the model sees of this picture; it may reach beyond the picture's
            borders. ``None``: not known, or the model takes no pictures.
    """

    track: int
    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    answered: float
    box: tuple[int, int, int, int]
    age: float = float("inf")
    attention: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict, compare=False)
    seen: tuple[int, int, int, int] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Snapshot:
    """The newest frame and the people in it.

    Attributes:
        frame_id: Number of the frame, rising.
        time: When it was taken.
        picture: ``[H, W, 3]`` uint8, RGB; with privacy applied and skeletons drawn.
        persons: A :class:`PersonState` of each person in it.
        status: One line: what the camera and the model are doing.
        frames_per_second: Frames processed per second.
    """

    frame_id: int
    time: float
    picture: np.ndarray
    persons: tuple[PersonState, ...]
    status: str
    frames_per_second: float


@dataclasses.dataclass(frozen=True)
class Segment:
    """A span of time in which a person does one thing.

    Attributes:
        track: The person's number.
        label: The class.
        start: When it began.
        end: When it ended; ``None`` while it goes on.
        probability: Mean over the answers so far.
    """

    track: int
    label: str
    start: float
    end: float | None
    probability: float


class LiveState:
    """What is known now: the newest picture, the segments and events of the last hours.

    Example:
        >>> state = LiveState()
        >>> state.latest() is None
        True
        >>> state.put_segment(Segment(0, "drink", 10.0, None, 0.8))
        >>> state.put_segment(Segment(0, "drink", 10.0, 14.0, 0.9))  # the same one, which has ended
        >>> state.segments(since=12.0)
        [Segment(track=0, label='drink', start=10.0, end=14.0, probability=0.9)]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: Snapshot | None = None
        self._status = "not started"
        self._segments: collections.OrderedDict[tuple[int, float], Segment] = collections.OrderedDict()
        self._events: collections.deque[dict[str, Any]] = collections.deque(maxlen=EVENTS)
        self._subscribers: weakref.WeakSet[queue.Queue[Snapshot]] = weakref.WeakSet()

    # ---- for readers

    def latest(self) -> Snapshot | None:
        """The newest picture; ``None`` before the first."""
        with self._lock:
            return self._latest

    @property
    def status(self) -> str:
        """One line: what the camera and the model are doing; also while no pictures come."""
        with self._lock:
            return self._status

    def segments(self, since: float = 0.0) -> list[Segment]:
        """Segments that go on or ended after a time, in the order in which they began."""
        with self._lock:
            return [one for one in self._segments.values() if one.end is None or one.end > since]

    def events(self, since: float = 0.0) -> list[dict[str, Any]]:
        """Events after a time, the oldest first; as :mod:`serving.live.events` sends them."""
        with self._lock:
            return [event for event in self._events if event["time"] > since]

    def subscribe(self) -> queue.Queue[Snapshot]:
        """A queue that holds only the newest picture: a slow reader misses some. Drop the queue to unsubscribe."""
        subscriber: queue.Queue[Snapshot] = queue.Queue(maxsize=1)
        with self._lock:
            self._subscribers.add(subscriber)
            if self._latest is not None:
                subscriber.put_nowait(self._latest)
        return subscriber

    # ---- for the session

    def put_snapshot(self, snapshot: Snapshot) -> None:
        """Takes the newest picture and hands it to all subscribers."""
        with self._lock:
            self._latest, self._status = snapshot, snapshot.status
            for subscriber in self._subscribers:
                with contextlib.suppress(queue.Empty):
                    subscriber.get_nowait()
                subscriber.put_nowait(snapshot)

    def clear_picture(self) -> None:
        """Forgets the newest picture, as another camera or other privacy may follow."""
        with self._lock:
            self._latest = None
            for subscriber in self._subscribers:
                with contextlib.suppress(queue.Empty):
                    subscriber.get_nowait()

    def put_status(self, status: str) -> None:
        """Takes a line that states what the camera and the model are doing."""
        with self._lock:
            self._status = status

    def put_segment(self, segment: Segment) -> None:
        """Takes a new segment, or a newer state of the person's segment that began at the same time."""
        with self._lock:
            self._segments[segment.track, segment.start] = segment
            while len(self._segments) > SEGMENTS:
                self._segments.popitem(last=False)

    def put_event(self, event: dict[str, Any]) -> None:
        """Takes an event, which has at least ``id`` and ``time``."""
        with self._lock:
            self._events.append(event)
