"""Windows of a stream of frames: how many frames each has, and how far one is from the next."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import TypeVar

from zoo.shared.errors import UserError

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The windows of a stream.

    Args:
        length: Frames of a window; best as many as the network covers: T frames times their stride in the recipe.
        stride: Frames from one window to the next, at most ``length``; default: half of it.
        fps: Frames per second.

    Raises:
        UserError: The numbers give no windows, or leave frames out.

    Example:
        >>> Plan.of("2s", "0.5s", fps=30)
        Plan(length=60, stride=15, fps=30.0)
    """

    length: int
    stride: int
    fps: float

    def __post_init__(self) -> None:
        require_rate(self.fps, "frames")
        if self.length < 1:
            raise UserError(f"a window of {self.length} frames: expected at least one")
        if not 1 <= self.stride <= self.length:
            raise UserError(
                f"windows of {self.length} frames every {self.stride}: expected 1 to {self.length}, else frames are "
                "skipped"
            )

    @classmethod
    def of(cls, length: int | str, stride: int | str | None = None, *, fps: float) -> Plan:
        """A plan from numbers of frames (``64`` or ``"64"``) or seconds (``"2.5s"``)."""
        fps = float(fps)
        length = _frames(length, fps)
        return cls(length, max(length // 2, 1) if stride is None else _frames(stride, fps), fps)


def require_rate(rate: float, what: str) -> None:
    """Raises :class:`~zoo.shared.errors.UserError` unless a rate is a number above 0."""
    if not (rate > 0 and math.isfinite(rate)):
        raise UserError(f"{rate:g} {what} per second: expected a number above 0")


def _frames(duration: int | str, fps: float) -> int:
    text = str(duration).strip()
    try:
        number = float(text[:-1]) * fps if text.endswith("s") else int(text)
        return round(number)
    except (ValueError, OverflowError):
        raise UserError(f"{duration!r} is no duration, expected frames such as 64 or seconds such as 2.5s") from None


def windows(frames: Iterable[_T], length: int, stride: int) -> Iterator[tuple[int, list[_T]]]:
    """Windows of a stream, each as soon as its last frame has arrived.

    The last window ends with the last frame, so every frame is in one; a stream shorter than a window is one window.

    Args:
        frames: Iterable.
        length: Frames of a window.
        stride: Frames from one window to the next.

    Yields:
        Index of the window's first frame, and a list of its frames.

    Raises:
        UserError: There is no frame.

    Example:
        >>> list(windows("abcdefg", 4, 2))
        [(0, ['a', 'b', 'c', 'd']), (2, ['c', 'd', 'e', 'f']), (3, ['d', 'e', 'f', 'g'])]
    """
    held: collections.deque[_T] = collections.deque(maxlen=length)
    count, due = 0, length
    for frame in frames:
        held.append(frame)
        count += 1
        if count == due:
            yield count - length, list(held)
            due += stride
    if not count:
        raise UserError("no frames came: there is nothing to classify")
    if count < length or count != due - stride:
        yield count - len(held), list(held)
