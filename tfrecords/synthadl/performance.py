"""A performance: one activity by one person in one room, before any camera sees it."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrecords import schema
from tfrecords.synthadl import motion
from tfrecords.synthadl.geometry import rotation, unit
from tfrecords.synthadl.objects import OBJECTS
from tfrecords.synthadl.people import Subject, subject
from tfrecords.synthadl.randomness import generator
from tfrecords.synthadl.room import furnish
from tfrecords.synthadl.skeleton import JOINTS

_GRIP = 0.055  # from the hand joint to the middle of the object in the hand, in metres


@dataclasses.dataclass(frozen=True)
class Activity:
    """A class of the dataset.

    Attributes:
        label: Class name.
        motion: What the body does: ``mouth``, ``ear``, ``chest``, ``sweep``, ``reach`` or ``sit``.
        object: Kind of the object in the hand; ``any`` for one drawn at random, ``None`` for an empty hand.
        reverse: Whether the motion is played backwards.
    """

    label: str
    motion: str
    object: str | None
    reverse: bool = False


@dataclasses.dataclass(frozen=True)
class Performance:
    """One motion of one person in one room, in the room's coordinates, in metres; ``T`` frames as in the clip.

    Attributes:
        person: The :class:`~tfrecords.synthadl.people.Subject`.
        joints: ``[T, 25, 3]``.
        hand: ``left`` or ``right``, the one that acts.
        kind: Kind of the object the activity uses; ``None`` for an empty hand.
        held: ``[T]`` bool, whether the object is in the hand.
        centre: ``[T, 3]``, middle of that object.
        axes: ``[T, 3, 3]``, its own axes as columns.
        boxes: The furniture: ``(corners [8, 3], colour [3])`` each.
        faces: Floor, walls and what hangs there: ``(corners [4, 3], colour [3], stripes)`` each, where stripes is the
            width of the pattern in metres, 0 for none.
        lying: The other objects: ``(kind, middle [3], axes [3, 3])`` each.
        hues: Kind of object -> shift of its hue in this room.
        light: ``[3]``, direction towards the light.
    """

    person: Subject
    joints: np.ndarray
    hand: str
    kind: str | None
    held: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    boxes: tuple
    faces: tuple
    lying: tuple
    hues: dict
    light: np.ndarray


def twins(info: schema.ClipInfo) -> int:
    """Number of the pair of twins that a clip's class belongs to: twins are neighbours among the classes."""
    return info.label // 2


def perform(seed: int, info: schema.ClipInfo, activity: Activity, frames: int) -> Performance:
    """The performance a clip shows, which does not depend on the clip's camera.

    Args:
        seed: The dataset's seed.
        info: :class:`~tfrecords.schema.ClipInfo` of the clip.
        activity: The :class:`Activity` of the clip's label.
        frames: Mean number of frames of a clip.

    Returns:
        A :class:`Performance`.
    """
    person = subject(seed, info.subject)
    # Twins share the key.
    key = (seed, info.setup, info.subject, info.repetition, twins(info))
    draws = motion.draw(generator("motion", *key), frames)
    hand = "left" if person.left_handed == draws.preferred else "right"
    sign = -1 if hand == "left" else 1
    kind = draws.kind if activity.object == "any" else activity.object

    time = np.arange(draws.count) / motion.FPS
    weights = motion.weights(activity.motion, person, draws, time)
    joints = motion.joints(activity.motion, person, draws, sign, time, **weights)
    # The position of a hand on the table, even if this clip does not show it, determines where the table stands.
    moment = np.array([time[np.argmax(weights["reach"])]])
    nothing, wholly = np.zeros(1), np.ones(1)
    touching = motion.joints(
        "reach", person, draws, sign, moment, act=nothing, reach=wholly, carry=nothing, seat=nothing
    )
    spot, axes_there = (values[0] for values in _grip(touching, hand))

    centre, axes = _grip(joints, hand)
    held = np.full(draws.count, kind is not None)
    if activity.motion == "reach":
        held = np.arange(draws.count) > np.argmax(weights["reach"])
        forward = unit(axes_there[:, 2] * (1, 0, 1))
        upright = np.stack([np.cross((0, 1, 0), forward), (0, 1, 0), forward], axis=-1)
        centre = np.where(held[:, None], centre, spot)
        axes = np.where(held[:, None, None], axes, upright)
    if activity.reverse:
        joints, held, centre, axes = (values[::-1] for values in (joints, held, centre, axes))

    turn = rotation(1, draws.yaw)

    def in_room(points):
        return points @ turn.T + draws.position

    support = spot - (0, OBJECTS[draws.kind].height / 2, 0)
    room = furnish(generator("room", *key), support, sign, in_room, kind)
    return Performance(person, in_room(joints), hand, kind, held, in_room(centre), turn @ axes, **room)


def _grip(joints, hand):
    """Middle ``[T, 3]`` and axes ``[T, 3, 3]`` (columns) of an object in the hand: Y along the thumb, Z the forearm."""
    wrist, palm, thumb = (joints[:, JOINTS[f"{hand}_{part}"]] for part in ("wrist", "hand", "thumb"))
    along = unit(palm - wrist)
    up = thumb - wrist
    up = unit(up - np.sum(up * along, axis=-1, keepdims=True) * along)
    return palm + _GRIP * along, np.stack([np.cross(up, along), up, along], axis=-1)
