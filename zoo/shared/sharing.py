"""Classifies windows of a long video from feature maps, which are computed for one stretch of the video at a time.

::

    frames |--context--|------------ stretch ------------|--context--|      a pass gives the maps of the stretch
                             |------------ window ------------|             which a window's steps are cut out of
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from zoo.shared.errors import UserError
from zoo.shared.windows import Plan

BLOCK = "Mixed_5c"  # of I3D: by default, computation is shared up to this block
STRETCH = 128  # frames of a pass, without its context: a gigabyte of memory for I3D
CONTEXT = 16  # frames before and after a stretch, which its pass sees too
_BATCH = 8  # windows
_T = TypeVar("_T")

Frames = Callable[[int, int], Mapping[str, np.ndarray]]
"""Function (first frame, frame after the last) -> {name: frames ``[T, ...]``}; fewer frames where the video ends."""


def classify_windows(
    frames: Frames,
    starts: Iterable[int],
    *,
    length: int,
    step: int,
    maps: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]],
    classify: Callable[[Sequence[np.ndarray], Sequence[int]], Iterable[_T]],
) -> Iterator[_T]:
    """Classifies windows of a video until it ends.

    Args:
        frames: The video, which is read from its beginning on; frames near the end of a stretch are read twice.
        starts: First frames of the windows, ascending multiples of ``step``.
        length: Frames of a window.
        step: Frames of a step of the maps.
        maps: Function of frames, whose number is a multiple of ``step`` -> maps ``[steps, ...]``.
        classify: Function (maps of several windows ``[windows, length / step, ...]``, numbers of the windows) -> a
            result of each.

    Yields:
        The results, in order, of the windows that lie within the video.

    Raises:
        UserError: A window does not begin at such a multiple, or begins before the previous one.

    Example:
        >>> video = np.arange(16.0)
        >>> means = lambda seen: [seen["rgb"].reshape(-1, 2).mean(1)]
        >>> rows = classify_windows(
        ...     lambda first, end: {"rgb": video[first:end]}, range(0, 16, 4), length=8, step=2, maps=means,
        ...     classify=lambda maps, numbers: maps[0].tolist(),
        ... )
        >>> list(rows)
        [[0.5, 2.5, 4.5, 6.5], [4.5, 6.5, 8.5, 10.5], [8.5, 10.5, 12.5, 14.5]]
    """
    numbered = _checked(starts, step)
    number, due = next(numbered, (0, None))
    held: list[np.ndarray] = []
    begun = 0  # number of the first step that is held
    for of_stretch in stretches(frames, step, maps):
        held = [np.concatenate(pair) for pair in zip(held, of_stretch)] if held else list(of_stretch)
        ready = []
        while due is not None and due + length <= (begun + len(held[0])) * step:
            ready.append((number, due // step - begun))
            number, due = next(numbered, (0, None))
        for batch in (ready[i : i + _BATCH] for i in range(0, len(ready), _BATCH)):
            cut = [np.stack([map_[first : first + length // step] for _, first in batch]) for map_ in held]
            yield from classify(cut, [of_video for of_video, _ in batch])
        if due is None:
            return
        unused = min(max(due // step - begun, 0), len(held[0]))
        held, begun = [map_[unused:] for map_ in held], begun + unused


def stretches(
    frames: Frames, step: int, maps: Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
) -> Iterator[list[np.ndarray]]:
    """The maps of one stretch of a video after the other; arguments are those of :func:`classify_windows`."""
    for first in itertools.count(0, STRETCH):
        begin, end = max(first - CONTEXT, 0), first + STRETCH + CONTEXT
        seen = frames(begin, end)
        read = min(map(len, seen.values()))
        whole = read // step * step
        last = min(begin + whole, first + STRETCH)
        if last <= first:
            return
        of_pass = maps({name: values[:whole] for name, values in seen.items()})
        yield [map_[(first - begin) // step : (last - begin) // step] for map_ in of_pass]
        if read < end - begin:
            return


def distance(plan: Plan, seen: Sequence[int], step: int) -> int:
    """Distance, in frames of the video, between the frames of a window that a network sees.

    Args:
        plan: The windows.
        seen: Which frames of a window the network sees.
        step: How many of these frames make one step of the maps.

    Raises:
        UserError: The frames are not evenly spaced from the first one on, or windows begin within a step.

    Example:
        >>> distance(Plan(16, 8, 30.0), range(0, 16, 2), step=4)
        2
    """
    apart = seen[1] - seen[0]
    if apart < 1 or list(seen) != list(range(0, apart * len(seen), apart)):
        raise UserError(
            f"--window of {plan.length} frames: to share computation, the {len(seen)} frames of it that the model sees "
            "must be evenly apart from the first on; give as many as the model covers"
        )
    if plan.stride % (step * apart):
        multiple = max(plan.stride // (step * apart), 1) * step * apart
        raise UserError(
            f"--stride of {plan.stride} frames: windows share computation in steps of {step * apart}, give {multiple}"
        )
    return apart


def _checked(starts, step):
    """``(number, start)`` of each window; ``UserError`` if it begins within a step, or before the previous one."""
    before = 0
    for number, start in enumerate(starts):
        if start % step or start < before:
            raise UserError(f"a window begins at frame {start}, expected a multiple of {step}, after frame {before}")
        before = start
        yield number, start
