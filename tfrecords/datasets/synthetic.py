"""SynthADL: rendered activities of daily living with exact poses, for where no dataset can be downloaded.

A clip shows one of ten activities by a person of 25 joints in a furnished room. Ids, cameras and coordinates follow
NTU RGB+D (Shahroudy et al., CVPR 2016, section 3): ``S001C001P001R001A001`` is activity 1, done by person 1 for the
first time in setup 1, seen by camera 1. A performance is one motion in one room, whichever camera sees it.

Activities come in twins, :data:`CONFUSABLE`. Twins of the same setup, person and repetition take place in the same
room and share every draw of the motion, so that nothing but what names the pair tells them apart:

* ``object``: the motion is the same to the last bit, only the object in the hand differs, so poses tell nothing;
* ``motion``: the object is the same, the hand takes it to another place;
* ``order``: the one is the other played backwards, so a set of frames without their order tells nothing.

The room of both twins holds the same objects, at least one of each kind: the one that is not in the hand lies about.
What tells ``object`` twins apart is therefore not which objects there are, but which one is in the hand.

Drawing works on spheres: every part of the body and of an object is the convex hull of a few spheres (points are
spheres of radius 0), and so is its outline in the picture. The room is drawn once per clip with a depth buffer,
against which the person's depth is compared in every frame.
"""

import colorsys
import dataclasses
import hashlib
import re
from typing import Optional

import cv2
import numpy as np

from tfrecords import schema
from tfrecords.datasets import base
from tfrecords.errors import UserError
from zoo import skeletons


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
    object: Optional[str]
    reverse: bool = False


# Twins are neighbours: 1 and 2, 3 and 4, ...
ACTIVITIES = (
    Activity("drink from cup", "mouth", "cup"),
    Activity("take pills", "mouth", "pill box"),
    Activity("answer phone", "ear", "phone"),
    Activity("text message", "chest", "phone"),
    Activity("wave", "sweep", None),
    Activity("clean window", "sweep", "cloth"),
    Activity("pick up", "reach", "any"),
    Activity("put down", "reach", "any", reverse=True),
    Activity("sit down", "sit", None),
    Activity("stand up", "sit", None, reverse=True),
)


def _confusable():
    pairs = {"object": [], "motion": [], "order": []}
    for first, second in zip(ACTIVITIES[::2], ACTIVITIES[1::2]):
        differs = {
            "object": first.object != second.object,
            "motion": first.motion != second.motion,
            "order": first.reverse != second.reverse,
        }
        (kind,) = [name for name, value in differs.items() if value]
        pairs[kind].append((first.label, second.label))
    return {kind: tuple(twins) for kind, twins in pairs.items()}


CONFUSABLE = _confusable()
"""What alone tells twins apart -> pairs of class names."""

CAMERAS = {1: 0.0, 2: -45.0, 3: 45.0}
"""Camera -> azimuth in degrees: as in NTU RGB+D, camera 1 stands between cameras 2 and 3."""

SETUPS = 4
FRAME_SIZE = (640, 480)  # width, height of the source frame in pixels
FOCAL_LENGTH = 525.0  # pixels
JPEG_QUALITY = 92

_LAYOUT = skeletons.get("kinect_v2_25")
_J = {name: index for index, name in enumerate(_LAYOUT.joints)}
_FPS = 15.0
_ID = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")


def _generator(*key):
    """A random generator that depends on the key alone, the same in every process and on every machine."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


# --------------------------------------------------------------------------------------------------- who, where


@dataclasses.dataclass(frozen=True)
class Subject:
    """A person: lengths and radii in metres, colours as RGB in 0 .. 1.

    Attributes:
        bones: Part of the body -> length.
        girth: Factor on the radii of limbs and trunk.
        tempo: Factor on the duration of a motion.
        amplitude: Factor on the extent of a motion.
        left_handed: Whether the left hand is the preferred one.
        colours: ``skin``, ``hair``, ``shirt``, ``sleeve`` (of the forearm), ``trousers``, ``shoes``.
    """

    bones: dict
    girth: float
    tempo: float
    amplitude: float
    left_handed: bool
    colours: dict


# Segment lengths as shares of the stature, after Drillis and Contini (1966); the trunk is cut at Kinect's joints.
_PROPORTIONS = {
    "ankle": 0.039, "shank": 0.246, "thigh": 0.245, "foot": 0.10, "hip": 0.080,
    "loin": 0.140, "chest": 0.130, "neck": 0.035, "head": 0.085, "shoulder": 0.112,
    "upper_arm": 0.186, "forearm": 0.146, "palm": 0.050, "fingers": 0.050, "thumb": 0.050,
}  # fmt: skip


def _colour(rng, hue=(0.0, 1.0), saturation=(0.0, 1.0), value=(0.0, 1.0)):
    return np.array(colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value)))


def subject(seed, number):
    """The :class:`Subject` of that number.

    Args:
        seed: The dataset's seed.
        number: Number of the subject.

    Returns:
        The subject; the same in all its clips.
    """
    rng = _generator(seed, "subject", number)
    stature = rng.uniform(1.55, 1.92)
    arms, legs, shoulders = rng.uniform(0.94, 1.06), rng.uniform(0.95, 1.05), rng.uniform(0.92, 1.14)
    bones = {name: share * stature for name, share in _PROPORTIONS.items()}
    for name in ("upper_arm", "forearm"):
        bones[name] *= arms
    for name in ("thigh", "shank"):
        bones[name] *= legs
    bones["shoulder"] *= shoulders
    # Clothes are muted: saturated colours belong to the objects.
    shirt, trousers = (_colour(rng, saturation=(0.1, 0.5), value=value) for value in ((0.3, 0.9), (0.15, 0.6)))
    skin = _colour(rng, hue=(0.04, 0.09), saturation=(0.3, 0.55), value=(0.4, 0.95))
    return Subject(
        bones=bones,
        girth=rng.uniform(0.85, 1.25),
        tempo=rng.uniform(0.85, 1.2),
        amplitude=rng.uniform(0.85, 1.15),
        left_handed=bool(rng.random() < 0.4),
        colours={
            "skin": skin,
            "hair": _colour(rng, hue=(0.03, 0.12), saturation=(0.1, 0.6), value=(0.08, 0.6)),
            "shirt": shirt,
            "sleeve": shirt if rng.random() < 0.5 else skin,
            "trousers": trousers,
            "shoes": _colour(rng, saturation=(0.0, 0.3), value=(0.1, 0.5)),
        },
    )


@dataclasses.dataclass(frozen=True)
class Camera:
    """A pinhole camera; its coordinates are Kinect's: X to the right of the picture, Y up, Z away from the camera.

    Attributes:
        position: ``[3]``, metres in the room.
        axes: ``[3, 3]``, rows X, Y and Z in the room.
    """

    position: np.ndarray
    axes: np.ndarray

    def transform(self, points):
        """Points ``[..., 3]`` of the room in the camera's coordinates."""
        return (points - self.position) @ self.axes.T

    @staticmethod
    def project(points):
        """Pixels ``[..., 2]`` of points ``[..., 3]`` in the camera's coordinates."""
        x, y, z = np.moveaxis(points, -1, 0)
        width, height = FRAME_SIZE
        return np.stack([width / 2 + FOCAL_LENGTH * x / z, height / 2 - FOCAL_LENGTH * y / z], axis=-1)


def camera(seed, setup, number):
    """The :class:`Camera` of that number in a setup: setups differ in the cameras' distance and height.

    Args:
        seed: The dataset's seed.
        setup: Number of the setup.
        number: Number of the camera, a key of :data:`CAMERAS`.

    Returns:
        The camera. Persons stand near the room's origin, facing -Z.
    """
    rng = _generator(seed, "camera", setup, number)
    azimuth = np.radians(CAMERAS[number] + rng.uniform(-4, 4))
    height = {1: 1.45, 2: 1.75, 3: 1.15}[number] + rng.uniform(-0.1, 0.1)
    distance = rng.uniform(2.9, 3.25)
    position = np.array([distance * np.sin(azimuth), height, -distance * np.cos(azimuth)])
    z = np.array([0.0, 0.95, 0.0]) - position
    z /= np.linalg.norm(z)
    x = np.cross([0.0, 1.0, 0.0], z)
    x /= np.linalg.norm(x)
    return Camera(position, np.stack([x, np.cross(z, x), z]))


# ------------------------------------------------------------------------------------------------------- motion


def _minimum_jerk(time, start, end):
    """0 before ``start``, 1 after ``end``, and the smoothest way between (Flash and Hogan, 1985)."""
    u = np.clip((time - start) / (end - start), 0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)


def _rotation(axis, angle):
    """Rotations ``[..., 3, 3]`` by angles ``[...]`` in radians about axis 0, 1 or 2."""
    angle = np.asarray(angle, float)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1
    matrix[..., i, i] = matrix[..., j, j] = np.cos(angle)
    matrix[..., i, j], matrix[..., j, i] = -np.sin(angle), np.sin(angle)
    return matrix


def _unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _two_bones(start, target, first, second, pole):
    """Inverse kinematics of a limb of two bones.

    Args:
        start: ``[T, 3]``, the shoulder or hip.
        target: ``[T, 3]``, where the limb's end should be; out of reach, the limb stretches towards it.
        first: Length of the first bone.
        second: Length of the second bone.
        pole: ``[T, 3]`` or ``[3]``, the direction the elbow or knee points to.

    Returns:
        Elbow or knee ``[T, 3]`` and end ``[T, 3]``.
    """
    along = _unit(target - start)
    reach = np.linalg.norm(target - start, axis=-1, keepdims=True)
    reach = np.clip(reach, abs(first - second) + 0.01, (first + second) * 0.998)
    aside = _unit(pole - np.sum(pole * along, axis=-1, keepdims=True) * along)
    cosine = (first**2 + reach**2 - second**2) / (2 * first * reach)
    middle = start + first * (cosine * along + np.sqrt(1 - cosine**2) * aside)
    return middle, start + reach * along


def _turn(matrices, vector):
    """Vector ``[3]`` turned by rotations ``[T, 3, 3]``: ``[T, 3]``."""
    return matrices @ np.asarray(vector, float)


def _trunk(bones, pelvis, lean, twist, head_pitch, head_yaw):
    """Trunk, neck and head ``{joint: [T, 3]}``; angles ``[T]`` in radians, forward and to the person's left positive.

    Half of the lean happens in the loins, all of it above them.
    """
    lower = _rotation(0, -lean / 2)
    upper = _rotation(1, twist) @ _rotation(0, -lean)
    head = upper @ _rotation(1, head_yaw) @ _rotation(0, -head_pitch)
    joints = {"spine_base": pelvis, "spine_mid": pelvis + _turn(lower, (0, bones["loin"], 0))}
    joints["spine_shoulder"] = joints["spine_mid"] + _turn(upper, (0, bones["chest"], 0))
    joints["neck"] = joints["spine_shoulder"] + _turn(upper, (0, bones["neck"], 0))
    joints["head"] = joints["neck"] + _turn(head, (0, bones["head"], -0.015))
    for side, sign in (("left", -1), ("right", 1)):
        joints[f"{side}_shoulder"] = joints["spine_shoulder"] + _turn(upper, (sign * bones["shoulder"], -0.03, 0))
        joints[f"{side}_hip"] = pelvis + np.array([sign * bones["hip"], -0.04, 0])
    return joints


def _arm(bones, shoulder, target, sign):
    """Elbow, wrist, hand, hand tip and thumb of one arm, each ``[T, 3]``; ``sign`` is -1 for the left arm."""
    length = bones["forearm"] + bones["palm"]  # the hand goes on in the forearm's direction
    pole = np.array([sign * 0.6, -1.0, 0.35])  # elbows point down, outwards and a little back
    elbow, hand = _two_bones(shoulder, target, bones["upper_arm"], length, pole)
    along = _unit(hand - elbow)
    towards = np.array([-sign * 0.25, 0.7, 0.35])
    thumb = _unit(towards - np.sum(towards * along, axis=-1, keepdims=True) * along)
    wrist = elbow + bones["forearm"] * along
    tip = hand + bones["fingers"] * along
    return elbow, wrist, hand, tip, wrist + bones["thumb"] * _unit(0.8 * along + 0.6 * thumb)


def _skeleton(person, trunk, targets):
    """All joints ``[T, 25, 3]`` from the trunk and where the hands go ``{side: [T, 3]}``; feet stay where they are."""
    bones = person.bones
    joints = dict(trunk)
    for side, sign in (("left", -1), ("right", 1)):
        arm = _arm(bones, joints[f"{side}_shoulder"], targets[side], sign)
        names = (f"{side}_{part}" for part in ("elbow", "wrist", "hand", "hand_tip", "thumb"))
        joints.update(zip(names, arm))
        hip = joints[f"{side}_hip"]
        ankle = np.broadcast_to([sign * (bones["hip"] + 0.03), bones["ankle"], 0.0], hip.shape)
        knee, ankle = _two_bones(hip, ankle, bones["thigh"], bones["shank"], np.array([sign * 0.2, 0.1, -1.0]))
        toes = ankle + np.array([sign * 0.25, -0.3, -0.9]) * bones["foot"]
        joints.update({f"{side}_knee": knee, f"{side}_ankle": ankle, f"{side}_foot": toes})
    return np.stack([joints[name] for name in _LAYOUT.joints], axis=1)


_SEAT = (0.45, 0.38)  # height of the chair's seat, and how far behind the standing pelvis it is, in metres
_GRIP = 0.055  # from the hand joint to the middle of the object in the hand, in metres
_SECONDS = {"mouth": 1.9, "ear": 1.9, "chest": 1.9, "sweep": 2.1, "reach": 1.7, "sit": 1.5}  # duration of a motion


@dataclasses.dataclass(frozen=True)
class _Draws:
    """The random numbers of one performance; twins share them all.

    Attributes:
        count: Frames in the clip.
        duration: Factor on the duration of the motion.
        start: Where in the clip's spare time the motion starts, 0 .. 1.
        rise: Share of the motion in which the hand goes to its place.
        fall: Share of the motion in which it comes back.
        cycle: Frequency of a repeated movement in Hz.
        phase: Its phase in radians.
        sway: ``[6, 3]``: amplitude, frequency in Hz and phase in turns of the small movements of a standing person.
        jitter: ``[3, 3]``: -1 .. 1, varies the places the hands go to.
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


def _draw(rng, frames):
    return _Draws(
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
        kind=str(rng.choice(tuple(_OBJECTS))),
        yaw=np.radians(rng.uniform(-20, 20)),
        position=np.array([rng.uniform(-0.15, 0.15), 0.0, rng.uniform(-0.15, 0.15)]),
    )


def _weights(motion, person, draws, time):
    """How far a motion has gone at each time: ``{act, reach, carry, seat: [T]}`` in 0 .. 1.

    ``act`` has the hand at the motion's place, ``reach`` on the table, ``carry`` in front of the body after it.
    """
    clip = draws.count / _FPS
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


def _joints(motion, person, draws, sign, time, act, reach, carry, seat):
    """Joints ``[T, 25, 3]`` of a person who stands in the origin and faces -Z; ``sign`` is -1 for the left hand."""
    bones = person.bones
    sway = [a * np.sin(2 * np.pi * (frequency * time + turn)) for a, frequency, turn in draws.sway]  # 6 x [T]
    standing = bones["ankle"] + 0.985 * (bones["shank"] + bones["thigh"]) + 0.04
    pelvis = np.stack([0.008 * sway[0], standing + 0 * time, 0.006 * sway[1]], axis=-1)
    pelvis += seat[:, None] * np.array([0, _SEAT[0] + 0.09 - standing, _SEAT[1]])
    leaning = 4 * seat * (1 - seat)  # one bends forward to sit down
    trunk = _trunk(
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
    places = [(outwards * table, reach), (trunk["spine_mid"] + outwards * carried, carry)]
    if motion in _PLACES:
        places.append((_place(motion, person, draws, sign, trunk, time, act), act))
    # The hand passes in front of the body.
    bulge = np.array([0, 0, -0.35]) * (act * (1 - act) + reach * (1 - reach))[:, None]
    hand = rest + bulge + sum(weight[:, None] * (place - rest) for place, weight in places)
    return _skeleton(person, trunk, {active: hand, idle: _rest(bones, trunk, idle, draws.bend[1], seat)})


def _rest(bones, trunk, side, bend, seat):
    """Where a hand rests ``[T, 3]``: hanging (``bend`` 0) to in front of the belly (1), on the thigh when seated."""
    outwards = np.array([-1 if side == "left" else 1, 1, 1])
    arm = bones["upper_arm"] + bones["forearm"] + bones["palm"]
    hanging, bent = np.array([0.07, -0.97 * arm, -0.05]), np.array([0.02, -0.55 * arm, -0.45 * arm])
    standing = trunk[f"{side}_shoulder"] + outwards * ((1 - bend) * hanging + bend * bent)
    return standing + seat[:, None] * (trunk[f"{side}_hip"] + np.array([0, 0.10, -0.28]) - standing)


# Motion -> a joint and where the hand goes from there: outwards, up and backwards, in metres.
_PLACES = {
    "mouth": ("head", (0.05, -0.19, -0.15)),
    "ear": ("head", (0.11, -0.09, -0.04)),
    "chest": ("spine_shoulder", (0.03, -0.12, -0.32)),
    "sweep": ("shoulder", (0.24, 0.20, -0.28)),
}


def _place(motion, person, draws, sign, trunk, time, act):
    """Where the hand is ``[T, 3]`` while it acts: at the motion's place, moving to and fro."""
    joint, offset = _PLACES[motion]
    if joint == "shoulder":
        joint = "left_shoulder" if sign < 0 else "right_shoulder"
    varied = draws.jitter[0] * (0.015 if joint == "head" else 0.04)
    swing = np.sin(2 * np.pi * draws.cycle / person.tempo * time + draws.phase) * act
    # A hand that keeps its place is never quite still.
    extent = np.array([0.15, 0, 0.02]) * person.amplitude if motion == "sweep" else np.full(3, 0.006)
    return trunk[joint] + np.array([sign, 1, 1]) * (np.array(offset) + varied + swing[:, None] * extent)


def _grip(joints, hand):
    """Middle ``[T, 3]`` and axes ``[T, 3, 3]`` (columns) of an object in the hand: Y along the thumb, Z the forearm."""
    wrist, palm, thumb = (joints[:, _J[f"{hand}_{part}"]] for part in ("wrist", "hand", "thumb"))
    along = _unit(palm - wrist)
    up = thumb - wrist
    up = _unit(up - np.sum(up * along, axis=-1, keepdims=True) * along)
    return palm + _GRIP * along, np.stack([np.cross(up, along), up, along], axis=-1)


@dataclasses.dataclass(frozen=True)
class Performance:
    """One motion of one person in one room, in the room's coordinates, in metres; ``T`` frames as in the clip.

    Attributes:
        person: The :class:`Subject`.
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
    kind: Optional[str]
    held: np.ndarray
    centre: np.ndarray
    axes: np.ndarray
    boxes: tuple
    faces: tuple
    lying: tuple
    hues: dict
    light: np.ndarray


def perform(seed, info, frames):
    """The performance a clip shows, which does not depend on the clip's camera.

    Args:
        seed: The dataset's seed.
        info: :class:`~tfrecords.schema.ClipInfo` of the clip.
        frames: Mean number of frames of a clip.

    Returns:
        A :class:`Performance`.
    """
    activity = ACTIVITIES[info.label]
    person = subject(seed, info.subject)
    key = (seed, info.setup, info.subject, info.repetition, info.label // 2)  # twins share the key
    draws = _draw(_generator("motion", *key), frames)
    hand = "left" if person.left_handed == draws.preferred else "right"
    sign = -1 if hand == "left" else 1
    kind = draws.kind if activity.object == "any" else activity.object

    time = np.arange(draws.count) / _FPS
    weights = _weights(activity.motion, person, draws, time)
    joints = _joints(activity.motion, person, draws, sign, time, **weights)
    # A hand on the table, done or not in this clip, says where the table stands.
    moment = np.array([time[np.argmax(weights["reach"])]])
    nothing, wholly = np.zeros(1), np.ones(1)
    touching = _joints("reach", person, draws, sign, moment, act=nothing, reach=wholly, carry=nothing, seat=nothing)
    spot, axes_there = (values[0] for values in _grip(touching, hand))

    centre, axes = _grip(joints, hand)
    held = np.full(draws.count, kind is not None)
    if activity.motion == "reach":
        held = np.arange(draws.count) > np.argmax(weights["reach"])
        forward = _unit(axes_there[:, 2] * (1, 0, 1))
        upright = np.stack([np.cross((0, 1, 0), forward), (0, 1, 0), forward], axis=-1)
        centre = np.where(held[:, None], centre, spot)
        axes = np.where(held[:, None, None], axes, upright)
    if activity.reverse:
        joints, held, centre, axes = (values[::-1] for values in (joints, held, centre, axes))

    turn = _rotation(1, draws.yaw)

    def in_room(points):
        return points @ turn.T + draws.position

    support = spot - (0, _OBJECTS[draws.kind].height / 2, 0)
    room = _furnish(_generator("room", *key), support, sign, in_room, kind)
    return Performance(person, in_room(joints), hand, kind, held, in_room(centre), turn @ axes, **room)


# --------------------------------------------------------------------------------------------------------- room


def _box(low, high, place):
    """Corners ``[8, 3]`` of an upright box between two points of the person's coordinates, put in its place."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    low, high = np.minimum(low, high), np.maximum(low, high)
    return place(low + corners * (high - low))


_BOX_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))  # corners of _box


def _furnish(rng, support, sign, place, kind):
    """Draws the room: chair, table within reach, cabinet, shelves, walls, and objects lying about.

    Args:
        rng: Random generator.
        support: ``[3]``, the point of the table top the hand reaches, in the person's coordinates.
        sign: -1 where the left hand acts.
        place: Function from the person's to the room's coordinates.
        kind: Kind of the object that does not lie about because the activity uses it, or ``None``.

    Returns:
        The fields of a :class:`Performance` that describe the room.
    """
    boxes, spots = [], []  # spots: where objects can lie

    def wood():
        return _colour(rng, hue=(0.04, 0.12), saturation=(0.15, 0.5), value=(0.3, 0.85))

    def add(low, high, colour):
        boxes.append((_box(np.array(low), np.array(high), place), colour))

    def legs(low, high, colour):
        """Four legs under the rectangle between two points at the height of its lower side."""
        for x in (low[0], high[0] - 0.04):
            for z in (low[2], high[2] - 0.04):
                add((x, 0, z), (x + 0.04, high[1], z + 0.04), colour)

    colour, (height, behind) = wood(), _SEAT
    add((-0.22, height - 0.04, behind - 0.2), (0.22, height, behind + 0.22), colour)
    add((-0.22, height + 0.1, behind + 0.2), (0.22, height + rng.uniform(0.4, 0.55), behind + 0.24), colour)
    legs((-0.22, 0, behind - 0.2), (0.22, height - 0.04, behind + 0.22), colour)

    colour, (x, top, z) = wood(), support
    low = np.array([min(x - sign * 0.12, x + sign * 0.40), top - 0.04, z - 0.28])
    high = np.array([max(x - sign * 0.12, x + sign * 0.40), top, z + 0.14])
    add(low, high, colour)
    legs(low, high - (0, 0.04, 0), colour)
    spots += [(x + sign * 0.27, top, z), (x + sign * rng.uniform(0.1, 0.2), top, z - 0.2)]

    colour, x, z = wood(), -sign * rng.uniform(0.62, 0.85), rng.uniform(-0.1, 0.35)
    top = rng.uniform(0.65, 1.0)
    add((x - 0.22, 0, z), (x + 0.22, top, z + 0.4), colour)
    spots += [(x + shift, top, z + rng.uniform(0.1, 0.25)) for shift in (-0.12, 0.1)]

    colour, x, z = wood(), sign * rng.uniform(0.45, 0.8), rng.uniform(0.75, 1.0)
    shelves = np.array([0.35, 0.8, 1.25]) + rng.uniform(-0.05, 0.25)
    for shelf in shelves:
        add((x - 0.4, shelf - 0.03, z), (x + 0.4, shelf, z + 0.28), colour)
        spots.append((x + rng.uniform(-0.3, 0.3), shelf, z + 0.1))
    for side in (-0.4, 0.37):
        add((x + side, 0, z), (x + side + 0.03, shelves[-1], z + 0.28), colour)

    bag = [*_OBJECTS, *rng.choice(tuple(_OBJECTS), size=2)]  # at least one of each kind
    order, turns = rng.permutation(len(spots)), _rotation(1, rng.uniform(0, 2 * np.pi, size=len(bag)))
    lying = [
        (str(name), place(np.add(spots[spot], (0, _OBJECTS[name].height / 2, 0))), turn)
        for name, spot, turn in zip(bag, order, turns)
    ]
    if kind is not None:
        del lying[bag.index(kind)]
    light = _unit(np.array([rng.uniform(-0.7, 0.7), 1.0, rng.uniform(-1.0, -0.4)]))
    hues = {name: rng.uniform(-0.02, 0.02) for name in _OBJECTS}
    return {
        "boxes": tuple(boxes), "faces": _walls(rng), "lying": tuple(lying), "hues": hues, "light": light,
    }  # fmt: skip


def _walls(rng):
    """Floor, walls, a rug, and pictures or windows on the walls: ``(corners [4, 3], colour, stripes)`` each."""
    left, right, back, top = -rng.uniform(2.6, 3.3), rng.uniform(2.6, 3.3), rng.uniform(1.6, 2.6), 4.0
    front = -4.0

    def quad(origin, across, along):
        origin, across, along = (np.array(vector, float) for vector in (origin, across, along))
        return np.stack([origin, origin + across, origin + across + along, origin + along])

    def stripes():
        return rng.choice([0.0, rng.uniform(0.1, 0.5)])

    wall = _colour(rng, saturation=(0.03, 0.3), value=(0.5, 0.95))
    wall_stripes = stripes()
    floor = _colour(rng, hue=(0.03, 0.15), saturation=(0.05, 0.45), value=(0.3, 0.8))
    faces = [
        (quad((left, 0, front), (right - left, 0, 0), (0, 0, back - front)), floor, rng.uniform(0.12, 0.3)),
        (quad((left, 0, back), (right - left, 0, 0), (0, top, 0)), wall, wall_stripes),
        (quad((left, 0, front), (0, 0, back - front), (0, top, 0)), wall, wall_stripes),
        (quad((right, 0, front), (0, 0, back - front), (0, top, 0)), wall, wall_stripes),
    ]
    if rng.random() < 0.6:
        size, x, z = rng.uniform(1.0, 1.8, size=2), rng.uniform(-0.8, 0.0), rng.uniform(-0.8, 0.0)
        rug = _colour(rng, saturation=(0.1, 0.5), value=(0.3, 0.8))
        faces.append((quad((x - 0.4, 0.01, z - 0.4), (size[0], 0, 0), (0, 0, size[1])), rug, stripes()))
    for origin, across in (
        ((rng.uniform(left + 0.2, 0.0), 0, back - 0.02), (1, 0, 0)),
        ((rng.uniform(0.3, right - 1.2), 0, back - 0.02), (1, 0, 0)),
        ((left + 0.02, 0, rng.uniform(-0.5, 0.8)), (0, 0, 1)),
        ((right - 0.02, 0, rng.uniform(-0.5, 0.8)), (0, 0, 1)),
    ):
        if rng.random() < 0.7:
            width, height = rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0)
            picture = _colour(rng, saturation=(0.0, 0.5), value=(0.2, 1.0))
            low = np.add(origin, (0, rng.uniform(1.1, 1.5), 0))
            faces.append((quad(low, np.multiply(across, width), (0, height, 0)), picture, 0.0))
    return tuple(faces)


# -------------------------------------------------------------------------------------------------------- parts


@dataclasses.dataclass(frozen=True)
class _Object:
    """A kind of object: its height in metres and its pieces ``(spheres [n, 4], hue, saturation, value)``.

    A sphere is x, y, z and radius in the object's own axes; a piece is the convex hull of its spheres.
    """

    height: float
    pieces: tuple


def _ring(radius, height):
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    return [(radius * np.cos(a), height, radius * np.sin(a), 0.0) for a in angle]


def _slab(x, y, z, up=0.0):
    return [(sx * x / 2, up + sy * y / 2, sz * z / 2, 0.0) for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)]


def _pieces(*pieces):
    return tuple((np.array(spheres), *colour) for spheres, *colour in pieces)


# A little larger than life, so that at 64 x 64 pixels an object is 3 to 6 pixels wide.
_OBJECTS = {
    "cup": _Object(
        0.14,
        _pieces(
            ([(0.075, 0.0, 0.0, 0.022)], 0.0, 0.85, 0.8),
            (_ring(0.050, -0.07) + _ring(0.062, 0.07), 0.0, 0.9, 0.9),
            (_ring(0.054, 0.07), 0.0, 0.6, 0.35),
        ),
    ),
    "pill box": _Object(
        0.10,
        _pieces(
            (_slab(0.14, 0.07, 0.10, up=-0.015), 0.36, 0.9, 0.75),
            (_slab(0.14, 0.03, 0.10, up=0.035), 0.0, 0.0, 1.0),
        ),
    ),
    "phone": _Object(
        0.18,
        _pieces(
            (_slab(0.09, 0.18, 0.03), 0.6, 0.3, 0.12),
            (_slab(0.07, 0.135, 0.034), 0.54, 0.75, 1.0),
        ),
    ),
    "cloth": _Object(
        0.18,
        _pieces(
            ([(-0.07, -0.05, 0.0, 0.03), (0.06, -0.06, 0.02, 0.03), (0.0, 0.06, 0.01, 0.03)], 0.145, 0.95, 1.0),
            ([(-0.04, -0.05, 0.02, 0.01), (0.0, 0.06, 0.04, 0.008)], 0.125, 0.95, 0.75),
        ),
    ),
}


@dataclasses.dataclass(frozen=True)
class _Part:
    """The convex hull of spheres in every frame.

    Attributes:
        centres: ``[T, n, 3]`` in the room.
        radii: ``[n]`` in metres.
        colour: ``[3]``.
        nearer: Metres by which the part counts as nearer to the camera than its middle is.
        round: Whether a lighter stripe on the side of the light shows that it is round.
    """

    centres: np.ndarray
    radii: np.ndarray
    colour: np.ndarray
    nearer: float = 0.0
    round: bool = False


def _object_parts(kind, hues, centre, axes, nearer=0.0):
    """Parts of an object with middle ``[T, 3]`` and axes ``[T, 3, 3]``."""
    parts = []
    for number, (spheres, hue, saturation, value) in enumerate(_OBJECTS[kind].pieces):
        centres = centre[:, None] + spheres[:, :3] @ np.swapaxes(axes, -1, -2)  # [T, n, 3]
        colour = np.array(colorsys.hsv_to_rgb((hue + hues[kind]) % 1.0, saturation, value))
        parts.append(_Part(centres, spheres[:, 3], colour, nearer + 0.002 * number))
    return parts


# Joints, radii in metres and colour of each part of the body; those of one side are written once.
_LIMBS = (
    (("hip", "knee"), (0.080, 0.056), "trousers"),
    (("knee", "ankle"), (0.056, 0.042), "trousers"),
    (("ankle", "foot"), (0.045, 0.038), "shoes"),
    (("shoulder", "elbow"), (0.056, 0.044), "shirt"),
    (("elbow", "wrist"), (0.044, 0.032), "sleeve"),
    (("wrist", "hand", "hand_tip"), (0.030, 0.038, 0.022), "skin"),
    (("wrist", "thumb"), (0.022, 0.014), "skin"),
)


def _body_parts(performance):
    """Parts of the person."""
    person, joints = performance.person, performance.joints

    def part(names, radii, colour, nearer=0.0):
        radii = np.array(radii) * (1.0 if colour in ("skin", "shoes") else person.girth)
        return _Part(joints[:, [_J[name] for name in names]], radii, person.colours[colour], nearer, round=True)

    parts = [
        part([f"{side}_{name}" for name in names], radii, colour)
        for side in ("left", "right") for names, radii, colour in _LIMBS
    ]  # fmt: skip
    # The trunk counts as farther away: an arm beside it is drawn over it.
    parts.append(part(["left_hip", "right_hip"], (0.095, 0.095), "trousers", nearer=-0.07))
    trunk = ["left_shoulder", "right_shoulder", "left_hip", "right_hip", "spine_shoulder"]
    parts.append(part(trunk, (0.055, 0.055, 0.085, 0.085, 0.075), "shirt", nearer=-0.08))
    parts.append(part(["spine_shoulder", "head"], (0.05, 0.055), "skin", nearer=-0.03))
    head, neck = joints[:, _J["head"]], joints[:, _J["neck"]]
    up = _unit(head - neck)
    across = _unit(joints[:, _J["right_shoulder"]] - joints[:, _J["left_shoulder"]])
    ahead = _unit(np.cross(up, across))
    skull = (head + 0.025 * up - 0.012 * ahead)[:, None]
    face = np.stack([head - 0.005 * up + 0.04 * ahead, head - 0.06 * up + 0.045 * ahead], axis=1)
    parts.append(_Part(skull, np.array([0.108]), person.colours["hair"], round=True))
    parts.append(_Part(face, np.array([0.082, 0.060]), person.colours["skin"], nearer=0.01, round=True))
    return parts


# ------------------------------------------------------------------------------------------------------ drawing

_SHIFT = 3  # fractional bits of the coordinates given to OpenCV
_CIRCLE = np.stack([np.cos(np.arange(12) * np.pi / 6), np.sin(np.arange(12) * np.pi / 6)], axis=-1)


def _outlines(view, centres, radii):
    """Points ``[T, n * 12, 2]`` on the outlines of spheres in the picture, as OpenCV's fixed-point integers."""
    seen = view.transform(centres)  # [T, n, 3]
    radii = FOCAL_LENGTH * radii / seen[..., 2]  # [T, n], pixels
    points = view.project(seen)[:, :, None] + radii[:, :, None, None] * _CIRCLE  # [T, n, 12, 2]
    return np.rint(points * 2**_SHIFT).astype(np.int32).reshape(len(points), -1, 2)


def _to_bytes(colour):
    """An RGB colour in 0 .. 1 as OpenCV takes it."""
    return tuple(float(value) for value in np.rint(np.clip(colour, 0, 1) * 255))


class _Canvas:
    """A picture with a depth buffer, in which things hide what is behind them.

    Args:
        view: The :class:`Camera`.
        light: ``[3]``, direction towards the light.
        exposure: ``[3]``, factor on the colours.
    """

    def __init__(self, view, light, exposure):
        width, height = FRAME_SIZE
        self.view, self.light, self.exposure = view, light, exposure
        self.image = np.zeros((height, width, 3), np.uint8)
        self.depth = np.full((height, width), 1e3, np.float32)
        # A pixel at depth 1 is the point (x, y, 1) of the camera's coordinates.
        self.x = ((np.arange(width) - width / 2) / FOCAL_LENGTH).astype(np.float32)[None, :]
        self.y = ((height / 2 - np.arange(height)) / FOCAL_LENGTH).astype(np.float32)[:, None]

    def face(self, corners, colour, stripes=0.0):
        """Draws a convex polygon.

        Args:
            corners: ``[n, 3]`` in the room, in one plane.
            colour: ``[3]``.
            stripes: Width of a pattern of stripes in metres, across the polygon's first side; 0 for none.
        """
        corners = self.view.transform(corners)
        seen = _in_front(corners)
        if len(seen) < 3:
            return
        outline = np.rint(np.clip(self.view.project(seen), -4000, 4000)).astype(np.int32)
        low, high = np.maximum(outline.min(0), 0), np.minimum(outline.max(0) + 1, FRAME_SIZE)
        if (low >= high).any():
            return
        window = slice(low[1], high[1]), slice(low[0], high[0])
        x, y = self.x[:, window[1]], self.y[window[0]]
        normal = _unit(np.cross(corners[1] - corners[0], corners[2] - corners[0]))
        with np.errstate(divide="ignore"):  # a plane seen edge-on covers no pixel there
            depth = np.float32(corners[0] @ normal) / _along(normal, x, y)
        mask = np.zeros(depth.shape, np.uint8)
        cv2.fillConvexPoly(mask, outline - low, 1)
        mask = (mask > 0) & (depth < self.depth[window])
        shade = 0.72 + 0.28 * abs(self.view.axes.T @ normal @ self.light)
        colour = np.array(_to_bytes(colour * shade * self.exposure), np.uint8)
        _fill(self.image[window], mask, colour)
        if stripes:
            across = _unit(corners[1] - corners[0])
            place = np.where(mask, _along(across, x, y) * depth - np.float32(corners[0] @ across), 0)
            dark = mask & (place % np.float32(stripes) < stripes / 2)
            _fill(self.image[window], dark, np.rint(0.88 * colour))
        np.copyto(self.depth[window], depth, where=mask)

    def box(self, corners, colour):
        """Draws the sides of a box ``[8, 3]`` that face the camera."""
        middle = corners.mean(axis=0)
        for face in _BOX_FACES:
            side = corners[list(face)]
            if (side.mean(axis=0) - middle) @ (side[0] - self.view.position) < 0:
                self.face(side, colour)

    def part(self, part):
        """Draws a part that does not move, with one depth."""
        outline = cv2.convexHull(_outlines(self.view, part.centres, part.radii)[0])
        x, y, width, height = cv2.boundingRect(outline >> _SHIFT)
        low, high = np.maximum((x - 1, y - 1), 0), np.minimum((x + width + 2, y + height + 2), FRAME_SIZE)
        if (low >= high).any():
            return
        window = slice(low[1], high[1]), slice(low[0], high[0])
        mask = np.zeros(self.depth[window].shape, np.uint8)
        cv2.fillConvexPoly(mask, outline - (low << _SHIFT), 1, cv2.LINE_8, _SHIFT)
        depth = np.float32(self.view.transform(part.centres)[..., 2].mean() - part.nearer)
        # An object stands on a surface whose front part is nearer than the object's middle.
        mask = (mask > 0) & (depth - np.float32(0.1) < self.depth[window])
        _fill(self.image[window], mask, _to_bytes(part.colour * self.exposure))
        np.copyto(self.depth[window], depth, where=mask)


def _fill(image, mask, colour):
    """Gives the pixels of a mask ``[H, W]`` one colour, in place."""
    for channel, value in enumerate(colour):
        np.copyto(image[..., channel], np.uint8(value), where=mask)


def _along(vector, x, y):
    """Product ``[H, W]`` of a vector ``[3]`` with the points ``(x, y, 1)``, ``x`` ``[1, W]`` and ``y`` ``[H, 1]``."""
    first, second, third = vector.astype(np.float32)
    return first * x + (second * y + third)


def _in_front(corners, nearest=0.1):
    """The polygon ``[n, 3]`` cut off at a plane in front of the camera (Sutherland and Hodgman, 1974)."""
    kept = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0)):
        if start[2] >= nearest:
            kept.append(start)
        if (start[2] >= nearest) != (end[2] >= nearest):
            kept.append(start + (nearest - start[2]) / (end[2] - start[2]) * (end - start))
    return np.array(kept)


def _draw_room(performance, view, rng):
    """The :class:`_Canvas` with the room; the light of every camera is its own."""
    exposure = rng.uniform(0.85, 1.12) * rng.uniform(0.94, 1.06, size=3)
    canvas = _Canvas(view, performance.light, exposure)
    for corners, colour, stripes in performance.faces:
        canvas.face(corners, colour, stripes)
    for corners, colour in performance.boxes:
        canvas.box(corners, colour)
    # Light falls unevenly into a room.
    uneven = rng.uniform(0.82, 1.08, size=(4, 5, 1)).astype(np.float32).repeat(3, axis=2)
    uneven = cv2.resize(uneven, FRAME_SIZE, interpolation=cv2.INTER_LINEAR)
    canvas.image = cv2.multiply(canvas.image, uneven, dtype=cv2.CV_8U)
    for kind, centre, axes in performance.lying:
        for part in _object_parts(kind, performance.hues, centre[None], axes[None]):
            canvas.part(part)
    return canvas


def render(performance, view, rng):
    """Draws a performance as a camera sees it.

    Args:
        performance: A :class:`Performance`.
        view: The :class:`Camera`.
        rng: Random generator of what differs between cameras: the light.

    Yields:
        A source frame ``[480, 640, 3]`` uint8, RGB, for every time; valid until the next one is asked for.
    """
    canvas = _draw_room(performance, view, rng)
    parts = _body_parts(performance)
    if performance.kind is not None:
        # In front of the fingers that hold it.
        parts += _object_parts(performance.kind, performance.hues, performance.centre, performance.axes, nearer=0.05)
    outlines, depths, colours = [], [], []
    for part in parts:
        layers = [(part.centres, part.radii, 0.88)]
        if part.round:
            shifted = part.centres + 0.35 * part.radii[:, None] * performance.light
            layers.append((shifted, 0.55 * part.radii, 1.04))
        outlines.append([_outlines(view, centres, radii) for centres, radii, _ in layers])
        colours.append([_to_bytes(part.colour * canvas.exposure * shade) for _, _, shade in layers])
        depths.append(view.transform(part.centres)[..., 2].mean(axis=1) - part.nearer)
    depths = np.stack(depths, axis=1)  # [T, parts]
    everywhere = np.concatenate([layers[0] for layers in outlines], axis=1).reshape(-1, 2) / 2**_SHIFT
    low = np.clip(np.floor(everywhere.min(0)).astype(int) - 2, 0, FRAME_SIZE)
    high = np.clip(np.ceil(everywhere.max(0)).astype(int) + 3, 0, FRAME_SIZE)
    window = slice(low[1], high[1]), slice(low[0], high[0])  # all that ever changes

    frame, room = canvas.image.copy(), np.ascontiguousarray(canvas.image[window])
    # Things count as in front of a surface up to 12 cm behind them: feet on the floor, hands on a table.
    room_depth = canvas.depth[window] + np.float32(0.12)
    depth = np.empty_like(canvas.depth)
    for time, order in enumerate(np.argsort(-depths, axis=1, kind="stable")):
        frame[window] = room
        depth[window] = 0
        for number in order:
            for layer, (points, colour) in enumerate(zip(outlines[number], colours[number])):
                hull = cv2.convexHull(points[time])
                cv2.fillConvexPoly(frame, hull, colour, cv2.LINE_8, _SHIFT)
                if layer == 0:
                    cv2.fillConvexPoly(depth, hull, float(depths[time, number]), cv2.LINE_8, _SHIFT)
        hidden = cv2.compare(depth[window], room_depth, cv2.CMP_GT)
        cv2.copyTo(room, hidden, frame[window])
        yield frame


# ------------------------------------------------------------------------------------------------------- source


def _square(centre, side):
    """Squares ``[..., 4]`` (x_min, y_min, x_max, y_max) around points ``[..., 2]``, in whole pixels of the frame.

    Sides are even, so that a picture can be halved without loss.
    """
    side = 2 * np.minimum(np.rint(np.asarray(side) / 2), min(FRAME_SIZE) // 2).astype(int)[..., None]
    low = np.clip(np.rint(centre - side / 2).astype(int), 0, np.array(FRAME_SIZE) - side)
    return np.concatenate([low, low + side], axis=-1)


def _part_box(part, xy, depth):
    """Where a part is cut out: squares ``[T, 4]``, from the joints' pixels ``[T, J, 2]`` and depths ``[T, J]``.

    The full body's square stays where it is, so that a model sees the person move, and is large enough for what is in
    the hands. A hand's square follows the hand and is half a metre wide.
    """
    if part != "full_body":
        joint = getattr(_LAYOUT, part)
        return _square(xy[:, joint], FOCAL_LENGTH * 0.5 / depth[:, joint])
    margin = FOCAL_LENGTH * 0.22 / depth.mean()
    low, high = xy.min(axis=(0, 1)) - margin, xy.max(axis=(0, 1)) + margin
    return np.broadcast_to(_square((low + high) / 2, (high - low).max()), (len(xy), 4))


class SynthADL(base.Source):
    """The generated dataset.

    Its size is activities x subjects x cameras x repetitions, so that every class, subject and camera has as many
    clips as any other. Any clip is generated alone, from the options and its id.

    Args:
        seed: Everything that is drawn depends on it.
        subjects: Number of subjects.
        repetitions: Performances of each activity by each subject.
        frames: Mean number of frames of a clip; lengths vary by 20 % either way.
        image_size: Height and width of the stored pictures.
        parts: Pictures to store, some of :data:`tfrecords.schema.PARTS`; none for poses alone.

    Example:
        >>> source = SynthADL(subjects=2, repetitions=1)
        >>> clip = source.read(source.parse_id("S001C001P001R001A002"))
        >>> clip.label_text, clip.pose_xyz.shape[1:]
        ('take pills', (1, 25, 3))
    """

    name = "synthetic"
    labels = tuple(activity.label for activity in ACTIVITIES)
    layout = _LAYOUT.name
    persons = 1
    fps = _FPS
    help = "SynthADL: activities rendered on this machine, with exact poses; needs no download"

    def __init__(self, *, seed=0, subjects=8, repetitions=4, frames=40, image_size=112, parts=("full_body",)):
        self.seed, self.subjects, self.repetitions = seed, subjects, repetitions
        self.frames, self.image_size, self.parts = frames, image_size, tuple(parts)

    @classmethod
    def add_arguments(cls, parser):
        """Adds the options that the generated clips depend on."""
        parser.add_argument("--seed", type=int, default=0, help="another seed gives other people, rooms and motions")
        parser.add_argument("--subjects", type=int, default=8, help="number of people; odd ones train in protocol cs")
        parser.add_argument(
            "--repetitions", type=int, default=4, metavar="R",
            help=f"performances per activity and subject; {len(cls.labels)} activities x subjects x {len(CAMERAS)} "
            "cameras x R clips in all",
        )  # fmt: skip
        parser.add_argument("--frames", type=int, default=40, help="mean frames of a clip, at 15 per second")
        parser.add_argument("--image-size", type=int, default=112, metavar="N", help="store pictures of N x N pixels")
        parser.add_argument(
            "--parts", default="full_body", metavar="PART[,PART]", help=f"some of {','.join(schema.PARTS)}, or none"
        )

    @classmethod
    def from_arguments(cls, arguments):
        """The source that parsed arguments describe; :class:`~tfrecords.errors.UserError` if one is out of range."""
        limits = {
            "seed": (0, 2**63 - 1),
            "subjects": (2, 999),
            "repetitions": (1, 999),
            "frames": (15, 1000),
            "image_size": (32, min(FRAME_SIZE)),
        }
        for option, (low, high) in limits.items():
            value = getattr(arguments, option)
            if not low <= value <= high:
                raise UserError(f"--{option.replace('_', '-')} {value}: expected a number from {low} to {high}")
        parts = () if arguments.parts == "none" else tuple(arguments.parts.split(","))
        unknown = [part for part in parts if part not in schema.PARTS]
        if unknown or len(set(parts)) != len(parts):
            raise UserError(f"--parts {arguments.parts}: expected some of {','.join(schema.PARTS)}, each once, or none")
        parts = [part for part in schema.PARTS if part in parts]
        return cls(parts=parts, **{option: getattr(arguments, option) for option in limits})

    @staticmethod
    def parse_id(clip_id):
        """The :class:`~tfrecords.schema.ClipInfo` of an id such as ``S001C001P001R001A001``; ``ValueError`` if none."""
        match = _ID.fullmatch(clip_id)
        setup, number, person, repetition, activity = map(int, match.groups()) if match else [0] * 5
        if min(setup, person, repetition) < 1 or number not in CAMERAS or not 1 <= activity <= len(ACTIVITIES):
            raise ValueError(
                f"{clip_id!r} is no id of SynthADL, expected SsssCcccPpppRrrrAaaa with camera 1 to {len(CAMERAS)} "
                f"and activity 1 to {len(ACTIVITIES)}"
            )
        return schema.ClipInfo(clip_id, activity - 1, person, number, setup, repetition)

    def options(self):
        """All that the clips depend on."""
        return {
            "seed": self.seed,
            "subjects": self.subjects,
            "repetitions": self.repetitions,
            "frames": self.frames,
            "image_size": self.image_size,
            "parts": list(self.parts),
        }

    def index(self):
        """Every clip; a subject's repetitions go through the setups, and subjects 1 and 2, 3 and 4, ... share them."""
        ids = [
            f"S{setup:03}C{number:03}P{person:03}R{repetition:03}A{activity:03}"
            for person in range(1, self.subjects + 1)
            for repetition in range(1, self.repetitions + 1)
            for setup in (((person - 1) // 2 + repetition - 1) % SETUPS + 1,)
            for number in CAMERAS
            for activity in range(1, len(ACTIVITIES) + 1)
        ]
        return base.Index(tuple(self.parse_id(clip_id) for clip_id in sorted(ids)))

    def read(self, info):
        """Generates a clip."""
        performance = perform(self.seed, info, self.frames)
        view = camera(self.seed, info.setup, info.camera)
        xyz = view.transform(performance.joints)  # [T, 25, 3]
        xy, depth = view.project(xyz), xyz[..., 2]
        boxes = {part: _part_box(part, xy, depth) for part in self.parts}
        images = {part: [] for part in self.parts}
        # Twins share the light too.
        key = (self.seed, info.setup, info.subject, info.repetition, info.label // 2, info.camera)
        frames = render(performance, view, _generator("light", *key)) if boxes else ()
        for time, frame in enumerate(frames):
            for part, box in boxes.items():
                x_min, y_min, x_max, y_max = box[time]
                images[part].append(self._jpeg(frame[y_min:y_max, x_min:x_max]))
        return schema.Clip(
            info=info,
            dataset=self.name,
            label_text=self.labels[info.label],
            fps=self.fps,
            images=images,
            boxes={part: box.astype(np.float32) for part, box in boxes.items()},
            layout=self.layout,
            pose_xyz=xyz[:, None].astype(np.float32),
            pose_xy=xy[:, None].astype(np.float32),
            pose_confidence=np.ones((len(xyz), 1, len(_LAYOUT.joints)), np.float32),
        )

    def _jpeg(self, crop):
        """A square RGB crop as JPEG of the stored size."""
        size = self.image_size
        if len(crop) >= 2 * size:  # by a factor of 2 first: twice as fast, and a mean over areas all the same
            crop = cv2.resize(crop, (len(crop) // 2, len(crop) // 2), interpolation=cv2.INTER_AREA)
        interpolation = cv2.INTER_AREA if size < len(crop) else cv2.INTER_LINEAR
        picture = cv2.cvtColor(cv2.resize(crop, (size, size), interpolation=interpolation), cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


SOURCE = SynthADL
