"""Clips, joined and cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrecords import schema

_LISTS = ("pose_xyz", "pose_xy", "pose_confidence", "frame_labels")


def joined(pieces: Sequence[schema.Clip]) -> schema.Clip:
    """One clip made of several clips in sequence; it has only the lists that all of them have."""
    lists: dict[str, Any] = {}
    for name in _LISTS:
        values = [getattr(piece, name) for piece in pieces]
        lists[name] = None if any(value is None for value in values) else np.concatenate(values)
    parts, boxed = (set.intersection(*map(set, named)) for named in zip(*((p.images, p.boxes) for p in pieces)))
    images = {part: [image for piece in pieces for image in piece.images[part]] for part in parts}
    boxes = {part: np.concatenate([piece.boxes[part] for piece in pieces]) for part in boxed}
    return dataclasses.replace(pieces[0], images=images, boxes=boxes, **lists)


def cut(clip: schema.Clip, name: str, first: int, length: int) -> schema.Clip:
    """Some frames of a clip, as a clip of another name."""
    span = slice(first, first + length)
    found: dict[str, Any] = {field: getattr(clip, field) for field in _LISTS}
    lists: dict[str, Any] = {field: None if values is None else values[span] for field, values in found.items()}
    images = {part: frames[span] for part, frames in clip.images.items()}
    boxes = {part: of_part[span] for part, of_part in clip.boxes.items()}
    info = dataclasses.replace(clip.info, id=name)
    return dataclasses.replace(clip, info=info, images=images, boxes=boxes, length=length, **lists)
