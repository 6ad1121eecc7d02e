"""Figures of a session: frames and answers per second, delays, memory; for the last seconds and the whole session."""

from __future__ import annotations

import collections
import os
import threading
import time

import numpy as np

SECONDS = 10.0  # that the current figures cover
_BINS = 0.01  # seconds: resolution of the delays of the whole session
_MOST = 60.0  # seconds: a longer delay counts as this


class Statistics:
    """Counts frames and answers; safe to use from several threads, in bounded memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began, self._ended = time.monotonic(), float("inf")
        self._frames: collections.deque[float] = collections.deque()
        self._answers: collections.deque[tuple[float, float]] = collections.deque()  # when, delay
        self._frame_count = self._answer_count = 0
        self._delays, self._shown = (np.zeros(round(_MOST / _BINS) + 1, np.int64) for _ in range(2))

    def start(self) -> None:
        """Begins to count."""
        with self._lock:
            self._began = time.monotonic()

    def end(self) -> None:
        """Stops the clock: later work, such as delivering the last events, does not count as the session's time."""
        with self._lock:
            self._ended = time.monotonic()

    def frame(self, delay: float) -> None:
        """Counts a frame that is shown ``delay`` seconds after it was taken."""
        with self._lock:
            self._frames.append(time.monotonic())
            self._frame_count += 1
            self._shown[_bin(delay)] += 1
            self._forget()

    def answer(self, delay: float) -> None:
        """Counts an answer that came ``delay`` seconds after the newest frame of its window was taken."""
        with self._lock:
            self._answers.append((time.monotonic(), delay))
            self._answer_count += 1
            self._delays[_bin(delay)] += 1
            self._forget()

    def _forget(self) -> None:
        before = time.monotonic() - SECONDS
        while self._frames and self._frames[0] < before:
            self._frames.popleft()
        while self._answers and self._answers[0][0] < before:
            self._answers.popleft()

    @property
    def frames_per_second(self) -> float:
        """Frames per second, in the last seconds."""
        with self._lock:
            self._forget()
            return len(self._frames) / max(min(SECONDS, time.monotonic() - self._began), 1.0)

    def line(self) -> str:
        """The figures of the last seconds."""
        with self._lock:
            self._forget()
            seconds = max(min(SECONDS, time.monotonic() - self._began), 1.0)
            delays = [delay for _, delay in self._answers]
            half, most = np.percentile(delays, (50, 95)) if delays else (0.0, 0.0)
            return _line(len(self._frames) / seconds, len(self._answers) / seconds, half, most)

    def whole(self) -> str:
        """The figures of the whole session."""
        with self._lock:
            seconds = max(min(time.monotonic(), self._ended) - self._began, 1e-3)
            half, most = (_percentile(self._delays, part) for part in (0.5, 0.95))
            shown = "/".join(f"{_percentile(self._shown, part):.2f}" for part in (0.5, 0.95))
            line = _line(self._frame_count / seconds, self._answer_count / seconds, half, most)
            return f"{seconds:.0f} s: {line}, picture delay p50/p95 {shown} s"


def _line(frames: float, answers: float, half: float, most: float) -> str:
    return f"{frames:.1f} frames/s, {answers:.1f} answers/s, delay p50/p95 {half:.2f}/{most:.2f} s, {memory() >> 20} MB"


def _bin(delay: float) -> int:
    return round(min(max(delay, 0.0), _MOST) / _BINS)


def _percentile(counts: np.ndarray, part: float) -> float:
    """The delay in seconds below which a fraction ``part`` of the counted delays lies."""
    if not counts.any():
        return 0.0
    return int(np.searchsorted(counts.cumsum(), part * counts.sum())) * _BINS


def memory() -> int:
    """Bytes of memory that this process uses; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
