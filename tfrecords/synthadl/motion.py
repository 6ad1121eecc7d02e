"""How a person moves: the random numbers of a performance, and the joints over time."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfrecords.synthadl import skeleton
from tfrecords.synthadl.objects import OBJECTS
from tfrecords.synthadl.people import Subject
from tfrecords.synthadl.room import SEAT

FPS = 15.0
_SECONDS = {"mouth": 1.9, "ear": 1.9, "chest": 1.9, "sweep": 2.1, "reach": 1.7, "sit": 1.5}  # duration of a motion

# Motion -> a joint and where the hand goes from there: outwards, up and backwards, in metres.
_TARGETS = {
    "mouth": ("head", (0.05, -0.19, -0.15)),
    "ear": ("head", (0.11, -0.09, -0.04)),
    "chest": ("spine_shoulder", (0.03, -0.12, -0.32)),
    "sweep": ("shoulder", (0.24, 0.20, -0.28)),
}


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of one performance; twins share them all.

    Attributes:
        count: Frames in the clip.
        duration: Factor on the duration of the motion.
        start: Where in the clip's spare time the motion starts, 0 .. 1.
        rise: Fraction of the motion in which the hand goes to its target.
        fall: Fraction of the motion in which the hand comes back.
        cycle: Frequency of a repeated movement in Hz.
        phase: Phase of the repeated movement in radians.
        sway: ``[6, 3]``: amplitude, frequency in Hz and phase in turns of the small movements of a standing person.
        jitter: ``[3, 3]``: -1 .. 1, varies the targets of the hands.
        bend: How far the resting arms are bent, 0 .. 1, acting arm first.
        preferred: Whether the preferred hand acts.
        kind: The object, where the activity leaves it open.
        yaw: Angle in radians the person is turned by.
        position: ``[3]``, where the person stands.
    """

    count: int
    duration: float
    start: float
    rise: float
    fall: float
    cycle: float
    phase: float
    sway: np.ndarray
    jitter: np.ndarray
    bend: np.ndarray
    preferred: bool
    kind: str
    yaw: float
    position: np.ndarray


def draw(rng: np.random.Generator, frames: int) -> Draws:
    """The :class:`Draws` of a performance in a dataset whose clips have ``frames`` frames on average."""
    return Draws(
        count=round(frames * rng.uniform(0.8, 1.2)),
        duration=rng.uniform(0.85, 1.15),
        start=rng.uniform(0.05, 0.95),
        rise=rng.uniform(0.26, 0.34),
        fall=rng.uniform(0.26, 0.34),
        cycle=rng.uniform(1.4, 2.2),
        phase=rng.uniform(0, 2 * np.pi),
        sway=rng.uniform((0.6, 0.15, 0), (1.3, 0.5, 1), size=(6, 3)),
        jitter=rng.uniform(-1, 1, size=(3, 3)),
        bend=rng.uniform((0.1, 0.0), (1.0, 0.25)),
        preferred=bool(rng.random() < 0.8),
        kind=str(rng.choice(tuple(OBJECTS))),
        yaw=np.radians(rng.uniform(-20, 20)),
        position=np.array([rng.uniform(-0.15, 0.15), 0.0, rng.uniform(-0.15, 0.15)]),
    )


def weights(motion: str, person: Subject, draws: Draws, time: np.ndarray) -> dict[str, np.ndarray]:
    """How far a motion has gone at each time: ``{act, reach, carry, seat: [T]}`` in 0 .. 1.

    At 1, ``act`` has the hand at the motion's target, ``reach`` on the table, ``carry`` in front of the body after
    ``reach``; ``seat`` has the person seated.
    """
    clip = draws.count / FPS
    duration = min(_SECONDS[motion] * person.tempo * draws.duration, 0.92 * clip)
    start = draws.start * (clip - duration)
    there = _minimum_jerk(time, start, start + draws.rise * duration)
    back = _minimum_jerk(time, start + (1 - draws.fall) * duration, start + duration)
    none = np.zeros_like(time)
    if motion == "reach":
        return {"act": none, "reach": there - back, "carry": back, "seat": none}
    if motion == "sit":
        return {"act": none, "reach": none, "carry": none, "seat": _minimum_jerk(time, start, start + duration)}
    return {"act": there - back, "reach": none, "carry": none, "seat": none}


def joints(
    motion: str,
    person: Subject,
    draws: Draws,
    sign: int,
    time: np.ndarray,
    act: np.ndarray,
    reach: np.ndarray,
    carry: np.ndarray,
    seat: np.ndarray,
) -> np.ndarray:
    """Joints ``[T, 25, 3]`` of a person who stands at the origin and faces -Z; ``sign`` is -1 for the left hand."""
    bones = person.bones
    sway = [a * np.sin(2 * np.pi * (frequency * time + turn)) for a, frequency, turn in draws.sway]  # 6 x [T]
    standing = bones["ankle"] + 0.985 * (bones["shank"] + bones["thigh"]) + 0.04
    pelvis = np.stack([0.008 * sway[0], standing + 0 * time, 0.006 * sway[1]], axis=-1)
    pelvis += seat[:, None] * np.array([0, SEAT[0] + 0.09 - standing, SEAT[1]])
    leaning = 4 * seat * (1 - seat)  # one bends forward to sit down
    trunk = skeleton.trunk(
        bones,
        pelvis,
        lean=0.02 + 0.02 * sway[2] + 0.32 * reach + 0.5 * leaning,
        twist=0.04 * sway[3] - sign * 0.12 * reach,
        head_pitch=0.05 * sway[4] + act * {"mouth": -0.15, "chest": 0.45}.get(motion, 0.0) + 0.35 * reach,
        head_yaw=0.10 * sway[5] - sign * 0.35 * reach,
    )
    active, idle = ("left", "right") if sign < 0 else ("right", "left")
    rest = _rest(bones, trunk, active, draws.bend[0], seat)
    table = np.array([0.40, 0.86, -0.36]) + np.array([0.05, 0.06, 0.04]) * draws.jitter[1]
    carried = np.array([0.06, 0.06, -0.32 * person.amplitude]) + 0.03 * draws.jitter[2]
    outwards = np.array([sign, 1, 1])
    targets = [(outwards * table, reach), (trunk["spine_mid"] + outwards * carried, carry)]
    if motion in _TARGETS:
        targets.append((_target(motion, person, draws, sign, trunk, time, act), act))
    # The hand passes in front of the body.
    bulge = np.array([0, 0, -0.35]) * (act * (1 - act) + reach * (1 - reach))[:, None]
    hand = rest + bulge + sum(weight[:, None] * (target - rest) for target, weight in targets)
    return skeleton.assemble(person, trunk, {active: hand, idle: _rest(bones, trunk, idle, draws.bend[1], seat)})


def _rest(bones, trunk, side, bend, seat):
    """Where a hand rests ``[T, 3]``: hanging (``bend`` 0) to in front of the belly (1), on the thigh when seated."""
    outwards = np.array([-1 if side == "left" else 1, 1, 1])
    arm = bones["upper_arm"] + bones["forearm"] + bones["palm"]
    hanging, bent = np.array([0.07, -0.97 * arm, -0.05]), np.array([0.02, -0.55 * arm, -0.45 * arm])
    standing = trunk[f"{side}_shoulder"] + outwards * ((1 - bend) * hanging + bend * bent)
    return standing + seat[:, None] * (trunk[f"{side}_hip"] + np.array([0, 0.10, -0.28]) - standing)


def _target(motion, person, draws, sign, trunk, time, act):
    """Where the hand is ``[T, 3]`` while it acts: at the motion's target, moving to and fro."""
    joint, offset = _TARGETS[motion]
    if joint == "shoulder":
        joint = "left_shoulder" if sign < 0 else "right_shoulder"
    varied = draws.jitter[0] * (0.015 if joint == "head" else 0.04)
    swing = np.sin(2 * np.pi * draws.cycle / person.tempo * time + draws.phase) * act
    # A hand that stays there is never quite still.
    extent = np.array([0.15, 0, 0.02]) * person.amplitude if motion == "sweep" else np.full(3, 0.006)
    return trunk[joint] + np.array([sign, 1, 1]) * (np.array(offset) + varied + swing[:, None] * extent)


def _minimum_jerk(time, start, end):
    """0 before ``start``, 1 after ``end``, and the smoothest way between (Flash and Hogan, 1985)."""
    u = np.clip((time - start) / (end - start), 0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)
