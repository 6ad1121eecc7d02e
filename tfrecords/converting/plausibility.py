"""Whether poses can be those of a human body in metres, y upwards, in the joint order of their layout.

Files of poses from other tools are often in millimetres, have y downwards as pictures do, or order the joints in their
own way. A model trains on such numbers, and predicts from them, without an error. A few medians show the mistake:

==============================  ====================================================================================
median                          what is plausible, and why
==============================  ====================================================================================
size: the distance of the two   0.4 to 3 m. A newborn is 0.5 m long; a man of 2 m with a raised arm measures 2.6 m,
joints farthest apart           and still more than 0.4 m when he sits or is partly seen.
height of the head above the    more than -0.5. It is 0.9 for a standing person and 0 for a lying one. -0.5 would be a
feet, as a fraction of size     person who stands on the head in most frames, as it is a median.
the same along z                below 0.6 where the head is not above the feet and the feet are at z = 0: the camera
                                is at z = 0 or, if z points upwards, the floor.
detour: bones that lead past    below 0.14. The joints nearest to a joint are its neighbours along the bones. If joints
other joints, see               are in a wrong order, bones lead past joints between their ends. The largest value of
``_detour``                     1,484 clips of N-UCLA is 0.135; with its joints in another order, head first, 0.22.
distance from the origin        below 100 m; farther away no camera sees joints.
mirrored: the side of the left  above -0.05 for layouts of sensors that deliver mirror images, where the feet show the
joints with respect to where    direction (N-UCLA: -0.03 and more in 1,483 of 1,484 clips, 0.09 by the median); below
the feet or the nose point      0.05 for layouts of cameras, where the nose shows it (JHMDB: -0.03 and less in 99 % of
                                the clips). Knees and elbows do not show it, so other layouts are not judged.
==============================  ====================================================================================

The medians are over frames and persons of a clip, and then over clips: a fall, a headstand or a single wrong frame is
no reason to doubt a dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo import skeletons
from zoo.shared import messages

SMALLEST, LARGEST = 0.4, 3.0  # metres
FARTHEST = 100.0  # metres
UPSIDE_DOWN = -0.5  # fraction of the size
UPRIGHT_Z = 0.6  # fraction of the size
LONGEST_DETOUR = 0.14  # fraction of all bones
WRONG_SIDE = 0.05  # metres, see ``_mirrored``
_FRAMES = 32  # of a clip, evenly spread
_AHEAD = (("ear", "nose"), ("ankle", "foot"))  # start and end of a forward vector: joints, or middles of two
_ADULT = (0.9, 2.2)  # metres: the median size of a clip in the right unit, adults and older children
_UNITS = {"millimetres": 1000, "centimetres": 100}  # name -> how many make a metre


def measure(xyz: np.ndarray | None, confidence: np.ndarray | None = None, layout: str = "") -> list[dict[str, Any]]:
    """Measures the values that decide whether the poses of a clip are plausible.

    Args:
        xyz: ``[T, M, J, 3]`` metres; an absent person is all zeros. ``None``: the clip has no poses in metres.
        confidence: ``[T, M, J]``, 0 where a joint was not measured; default: all joints of persons who are not absent
            were measured.
        layout: Name of the skeleton layout; empty if it is not known: only size and distance are measured then.

    Returns:
        A list of one dictionary, the medians over frames and persons as JSON values; empty where no person has all
        joints.

    Example:
        >>> poses = np.zeros((1, 1, 3, 3))
        >>> poses[0, 0, :, 1] = 0, 0.85, 1.7
        >>> measure(poses)
        [{'size': 1.7, 'distance': 0.85}]
    """
    if xyz is None:
        return []
    seen = (xyz != 0).any(axis=(2, 3)) if confidence is None else (confidence > 0).all(axis=2)  # [T, M]
    bodies = np.asarray(xyz, np.float64)[seen]  # [N, J, 3]
    if not len(bodies):
        return []
    bodies = bodies[np.linspace(0, len(bodies) - 1, min(len(bodies), _FRAMES)).astype(int)]
    distances = np.linalg.norm(bodies[:, :, np.newaxis] - bodies[:, np.newaxis], axis=-1)  # [N, J, J]
    size = np.median(distances.max(axis=(1, 2)))
    found = {"size": size, "distance": np.median(np.linalg.norm(bodies.mean(axis=1), axis=-1))}
    if layout:
        skeleton = skeletons.get(layout)
        feet = bodies[:, list(skeleton.feet)].mean(axis=1)  # [N, 3]
        upwards = np.median(bodies[:, skeleton.head] - feet, axis=0) / max(size, 1e-9)
        found.update(head_above_feet=upwards[1], head_behind_feet=upwards[2], feet_z=np.median(feet[:, 2]))
        # The distance that is exceeded in a tenth of the frames: a bone keeps its length, while joints that touch at
        # times are apart at others.
        found["detour"] = _detour(np.quantile(distances, 0.9, axis=0), skeleton)
        found.update(_mirrored(bodies, skeleton))
        parents, children = np.transpose(skeleton.bones)
        found["bones"] = np.median(distances[:, parents, children], axis=0)
    return [{name: np.round(value, 4).tolist() for name, value in found.items()}]


def _mirrored(bodies: np.ndarray, layout: skeletons.Layout) -> dict[str, Any]:
    """How much bodies are mirror images: the median ``mirrored``, 0 where up, forward and left lie in one plane.

    Args:
        bodies: ``[N, J, 3]`` metres.
        layout: A :class:`zoo.skeletons.Layout`.

    Returns:
        The triple product of up (hips to shoulders), forward (ears to nose, or ankles to feet) and left (right to left
        shoulders and hips), divided by the lengths of up and left, thus in metres; nothing where the layout does not
        show which way is forward.
    """
    ahead = next((ends for ends in _AHEAD if {*ends} <= {*layout.joints, *_pairs(layout)}), None)
    if ahead is None:
        return {}
    points = {name: bodies[:, joint] for joint, name in enumerate(layout.joints)}
    points.update({name: (points[f"left_{name}"] + points[f"right_{name}"]) / 2 for name in _pairs(layout)})
    up = points["shoulder"] - points["hip"]
    left = sum(points[f"left_{name}"] - points[f"right_{name}"] for name in ("shoulder", "hip"))
    lengths = np.linalg.norm(up, axis=-1) * np.linalg.norm(left, axis=-1)
    product = np.einsum("nd,nd->n", np.cross(up, points[ahead[1]] - points[ahead[0]]), left)
    return {"mirrored": np.median(product / np.maximum(lengths, 1e-9))}


def _pairs(layout: skeletons.Layout) -> list[str]:
    """Names, without the side, of the joints that exist on both sides."""
    return [layout.joints[left].removeprefix("left_") for left, _ in layout.left_right]


def _detour(distances: np.ndarray, layout: skeletons.Layout) -> float:
    """How much longer the three worst bones are than the steps of a path over other joints.

    Args:
        distances: ``[J, J]`` metres between joints.
        layout: A :class:`zoo.skeletons.Layout`.

    Returns:
        A bone is compared with the longest step of the path between its ends on which the longest step is shortest.
        Result: the sum of the three largest differences, as a fraction of these longest steps summed over all bones.
        Bones from shoulder to hip, in layouts without a joint on the spine, do not count among the three: the arms of
        a sitting person are a path with shorter steps.
    """
    steps = distances.copy()  # [J, J] longest step on the path whose longest step is shortest
    for joint in range(len(steps)):
        steps = np.minimum(steps, np.maximum(steps[:, joint, np.newaxis], steps[joint]))
    parents, children = np.transpose(layout.bones)
    shorter = steps[parents, children]
    flanks = [layout.joints[a].endswith("shoulder") and layout.joints[b].endswith("hip") for a, b in layout.bones]
    longer = np.sort(np.where(flanks, 0.0, distances[parents, children] - shorter))
    return float(longer[-3:].sum() / max(shorter.sum(), 1e-9))


def summary(clips: Sequence[Mapping[str, Any]], layout: str = "") -> dict[str, Any]:
    """The medians of clips.

    Args:
        clips: Results of :func:`measure`, in one list.
        layout: As in :func:`measure`.

    Returns:
        JSON values: ``clips``, their number; the medians; ``bones``, the lengths of the bones in metres by name. Empty
        without a clip.
    """
    if not clips:
        return {}
    medians = {name: np.round(np.median([clip[name] for clip in clips], axis=0), 4).tolist() for name in clips[0]}
    if layout:
        skeleton = skeletons.get(layout)
        names = ["-".join(skeleton.joints[joint] for joint in bone) for bone in skeleton.bones]
        medians["bones"] = dict(zip(names, medians["bones"]))
    return {"clips": len(clips), **medians}


def doubts(found: Mapping[str, Any], layout: str = "") -> str:
    """What is not plausible in a result of :func:`summary`, in one line; empty where all is plausible.

    Args:
        found: The medians; missing ones are not judged.
        layout: Name of the skeleton layout.

    Returns:
        Text that begins with what was measured.

    Example:
        >>> doubts({"size": 1630.0, "distance": 2400.0})
        'a body of 1,630 m from end to end, 2,400 m from the camera: multiply xyz by 0.001 (they look like millimetres)'
    """
    if not found:
        return ""
    problems = [_units(found), _order(found, layout) or _upwards(found) or _sides(found, layout)]
    return "; ".join(filter(None, problems))


def warn(name: object, found: Mapping[str, Any], layout: str = "") -> None:
    """Prints what :func:`doubts` finds, if anything, as a line on stderr; ``name`` names the dataset or the file."""
    problems = doubts(found, layout)
    if problems:
        messages.warn(f"{name}: its poses cannot be right: {problems}")


def warn_of_clip(name: object, xyz: np.ndarray) -> None:
    """:func:`warn` for one clip, whose layout is found by its number of joints.

    Args:
        name: Name of its file.
        xyz: ``[T, M, J, 3]`` without gaps; an absent person is all zeros.
    """
    layout = next((known.name for known in skeletons.LAYOUTS.values() if known.num_joints == xyz.shape[2]), "")
    warn(name, summary(measure(xyz, layout=layout), layout), layout)


def _units(found):
    size, distance = found["size"], found["distance"]
    seen = f"a body of {_metres(size)} from end to end"
    if found.get("bones"):
        seen += f", bones of {_metres(np.median(list(found['bones'].values())))}"
    if distance > FARTHEST:
        seen += f", {_metres(distance)} from the camera"
    if SMALLEST <= size <= LARGEST:
        return f"{seen}: give xyz in the camera's coordinates" if distance > FARTHEST else ""
    for name, in_a_metre in _UNITS.items():
        if _ADULT[0] <= size / in_a_metre <= _ADULT[1]:
            return f"{seen}: multiply xyz by {1 / in_a_metre:g} (they look like {name})"
    return f"{seen}: give xyz in metres, a person measures {SMALLEST:g} to {LARGEST:g} m"


def _metres(length):
    return f"{length:,.0f} m" if length >= 100 else f"{length:.3g} m"


def _order(found, layout):
    if found.get("detour", 0.0) <= LONGEST_DETOUR:
        return ""
    name, length = max(found["bones"].items(), key=lambda bone: bone[1])
    return (
        f"the bone {name} measures {length / max(found['size'], 1e-9):.0%} of the body: the joints seem in another "
        f"order than that of the layout {layout}, zoo.skeletons.get({layout!r}).joints"
    )


def _upwards(found):
    height = found.get("head_above_feet", 1.0)
    if height < UPSIDE_DOWN:
        return f"the head below the feet by {-height:.0%} of the body: y must point upwards, multiply it by -1"
    floor = found.get("feet_z", 1.0) < 0.2 * found["size"]
    if floor and abs(height) < 0.5 and found.get("head_behind_feet", 0.0) > UPRIGHT_Z:
        return "the head behind the feet, which are at the camera: z seems to point upwards, give (x, z, y) as xyz"
    return ""


def _sides(found, layout):
    """Doubts about left and right. A body in another unit is not judged: its size is reported instead."""
    if not layout or "mirrored" not in found or _units(found):
        return ""
    is_mirrored = skeletons.get(layout).is_mirrored
    if (found["mirrored"] if is_mirrored else -found["mirrored"]) >= -WRONG_SIDE:
        return ""
    side = "right" if is_mirrored else "left"
    seen = f"if the person faces the camera, the joints named left are on the {side}"
    expected = "mirror images, as depth sensors deliver them" if is_mirrored else "no mirror images"
    return (
        f"{seen}, and poses of the layout {layout} are {expected}: exchange left and right joints, "
        f"zoo.skeletons.get({layout!r}).mirrored, or turn round the axis that points the other way"
    )
