"""The persons of SynthADL: their size, proportions, colours and ways to move."""

from __future__ import annotations

import dataclasses

from tfrecords.synthadl.randomness import colour, generator


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


# Segment lengths as fractions of the stature, after Drillis and Contini (1966); the trunk is cut at Kinect's joints.
_PROPORTIONS = {
    "ankle": 0.039, "shank": 0.246, "thigh": 0.245, "foot": 0.10, "hip": 0.080,
    "loin": 0.140, "chest": 0.130, "neck": 0.035, "head": 0.085, "shoulder": 0.112,
    "upper_arm": 0.186, "forearm": 0.146, "palm": 0.050, "fingers": 0.050, "thumb": 0.050,
}  # fmt: skip


def subject(seed: int, number: int) -> Subject:
    """The :class:`Subject` of that number.

    Args:
        seed: The dataset's seed.
        number: Number of the subject.

    Returns:
        The subject; the same in all its clips.
    """
    rng = generator(seed, "subject", number)
    stature = rng.uniform(1.55, 1.92)
    arms, legs, shoulders = rng.uniform(0.94, 1.06), rng.uniform(0.95, 1.05), rng.uniform(0.92, 1.14)
    bones = {name: fraction * stature for name, fraction in _PROPORTIONS.items()}
    for name in ("upper_arm", "forearm"):
        bones[name] *= arms
    for name in ("thigh", "shank"):
        bones[name] *= legs
    bones["shoulder"] *= shoulders
    # Clothes are muted: saturated colours belong to the objects.
    shirt, trousers = (colour(rng, saturation=(0.1, 0.5), value=value) for value in ((0.3, 0.9), (0.15, 0.6)))
    skin = colour(rng, hue=(0.04, 0.09), saturation=(0.3, 0.55), value=(0.4, 0.95))
    return Subject(
        bones=bones,
        girth=rng.uniform(0.85, 1.25),
        tempo=rng.uniform(0.85, 1.2),
        amplitude=rng.uniform(0.85, 1.15),
        left_handed=bool(rng.random() < 0.4),
        colours={
            "skin": skin,
            "hair": colour(rng, hue=(0.03, 0.12), saturation=(0.1, 0.6), value=(0.08, 0.6)),
            "shirt": shirt,
            "sleeve": shirt if rng.random() < 0.5 else skin,
            "trousers": trousers,
            "shoes": colour(rng, saturation=(0.0, 0.3), value=(0.1, 0.5)),
        },
    )
