"""How a model uses poses: dynamicity of actions, joint activations of a graph network, accuracy on worse poses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from recipes.reports import scoring
from recipes.run_directory import RunDirectory
from recipes.trainers import keras
from tfrecords.reading import pipeline, poses
from zoo.shared.errors import UserError

NOISE = (0.01, 0.02, 0.05, 0.1, 0.2)  # standard deviations, metres
LOST_FRAMES = (0.25, 0.5, 0.75, 0.9)  # fractions of the frames in which a joint is lost
LOST_JOINTS = (0.05, 0.1, 0.2, 0.3)  # fractions of the joints that are lost in the whole clip
STEPS = 20  # pose steps for a clip's dynamicity where the model reads no poses (tp of NTU, PhD20 4.6.1)


def check_poses(run: RunDirectory) -> None:
    """Raises ``UserError`` unless the run's network reads poses."""
    if not run.inputs.reads_poses:
        raise UserError(f"--pose-noise: {run.recipe.model.name} of {run.path} reads no poses, leave it out")


# ----------------------------------------------------------------------------------------------------- dynamicity


def dynamicity(pose: np.ndarray) -> float:
    """How much a clip moves: the mean Procrustes distance of consecutive pose steps (WACV20, PhD20).

    The distance is what remains between two skeletons that were moved, turned and scaled onto each other
    (``scipy.spatial.procrustes``); walking without moving the limbs does not count.

    Args:
        pose: ``[tp, M, J, 3]``; an absent person is all zeros.

    Returns:
        The mean over the steps and persons in which a person is present before and after; NaN if there is none.

    Example:
        >>> still = np.repeat(np.random.default_rng(0).normal(size=(1, 1, 20, 3)), 4, axis=0)
        >>> round(dynamicity(still * [[[[2, 2, 2]]]]), 6)
        0.0
    """
    from scipy.spatial import procrustes

    there = pose.any(axis=(2, 3))  # [tp, M]
    found = []
    for step, person in np.argwhere(there[1:] & there[:-1]):
        before, after = pose[step, person], pose[step + 1, person]
        if np.ptp(before, axis=0).any() and np.ptp(after, axis=0).any():  # joints in one point have no shape
            found.append(procrustes(before, after)[2])
    return float(np.mean(found)) if found else float("nan")


def clip_dynamicity(run: RunDirectory, records: pipeline.Records, protocol: str, split: str) -> np.ndarray:
    """``[N]`` :func:`dynamicity` of a split's clips, at the run's pose steps (20 for a model without poses).

    Args:
        run: The run directory.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.

    Raises:
        UserError: The data have no poses.
    """
    if not records.layout:
        raise UserError(f"--dynamicity: {records.directory} has no poses, leave the option out")
    normalisation = poses.Normalisation(axes="camera", scale=False)
    inputs = pipeline.Inputs(
        pose_steps=run.inputs.pose_steps or STEPS,
        persons=max(records.persons, 1),
        layout=records.layout,
        normalisation=normalisation,
    )
    return np.array([dynamicity(pose) for pose in _poses(inputs, records, protocol, split)])


def _poses(inputs, records, protocol, split) -> Iterator[np.ndarray]:
    """Pose sequences ``[tp, M, J, 3]`` of a split's clips, one view each."""
    for features, _, _ in pipeline.evaluation(records, protocol, split, inputs, batch=64):
        yield from features["pose"].numpy()


# ---------------------------------------------------------------------------------------------- joints of a graph


class JointStrength(tf.keras.layers.Layer):
    """How strongly each joint is activated: the norm over the channels, averaged over the steps.

    Args:
        joints_axis: Which axis of the input has the joints, 1 or 2; the other one has the steps.

    Call arguments:
        inputs: ``[B, V, T, C]`` or ``[B, T, V, C]``.

    Returns:
        ``[B, V]``.
    """

    def __init__(self, joints_axis: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.joints_axis = joints_axis

    def call(self, inputs: Any) -> Any:
        """The strengths."""
        return tf.reduce_mean(tf.norm(inputs, axis=-1), axis=3 - self.joints_axis)


def joint_model(model: tf.keras.Model) -> tf.keras.Model:
    """A model of the activations of the joints in a graph network's last graph layer.

    Args:
        model: ``pose_gcn``, whose last block is taken, or ``vpn``, whose pose network has one graph convolution.

    Returns:
        A ``tf.keras.Model`` with the same inputs, whose output is :class:`JointStrength`'s ``[B, V]``.

    Raises:
        UserError: The model has no graph of joints.

    Example:
        >>> import zoo
        >>> model = zoo.build("pose_gcn", num_classes=4, pose_steps=8, layout="kinect_v1_20", width=0.25)
        >>> joint_model(model).output_shape
        (None, 20)
    """
    names = [layer.name for layer in model.layers]
    blocks = sorted(name for name in names if name.startswith("block_") and name.endswith(".relu"))
    blocks = [name for name in blocks if name.count(".") == 1]  # a block's own output
    if blocks:
        name, axis = blocks[-1], 1
    elif "graph_1" in names:
        name, axis = ("graphs" if "graphs" in names else "graph_1"), 2
    else:
        raise UserError(f"--joints: {model.name} has no graph of joints, leave the option out")
    strength = JointStrength(axis, name="joint_strength")(model.get_layer(name).output)
    return tf.keras.Model(model.input, strength, name=f"{model.name}_joints")


def joint_activations(
    run: RunDirectory, records: pipeline.Records, protocol: str, split: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activations of the joints, and where the joints are, of every class.

    Args:
        run: The run directory of a graph network.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.

    Returns:
        ``(activations [C, J], poses [C, J, 3], labels [N])``: means over a class's clips with a pose; NaN for a class
        without such clips. Activations are means over all persons; poses are the first person's at the middle step.
    """
    inputs = dataclasses.replace(run.inputs, frames=0, frames_at="stride", parts=("full_body",), pose_xy=False)
    labels, strengths = keras.outputs(run, records, protocol, split, "mean_softmax", change=joint_model, mirrored=False)
    shown = np.stack([pose[len(pose) // 2, 0] for pose in _poses(inputs, records, protocol, split)])
    strengths = strengths.reshape(len(labels), inputs.persons, inputs.joints).mean(axis=1)
    known = shown.any(axis=(1, 2))
    activations, middle = (np.full((len(run.labels), *part.shape[1:]), np.nan) for part in (strengths, shown))
    for number in np.unique(labels[known]):
        own = known & (labels == number)
        activations[number], middle[number] = strengths[own].mean(axis=0), shown[own].mean(axis=0)
    return activations, middle, labels


# ------------------------------------------------------------------------------------------------------ worse poses


def add_noise(deviation: float, seed: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Normal noise on every coordinate of every joint and frame.

    Args:
        deviation: Its standard deviation, metres.
        seed: With the clip's number it determines the noise: all views of a clip have the same noise.

    Returns:
        ``change_poses`` of :func:`tfrecords.reading.pipeline.evaluation`; absent persons stay absent.
    """

    def change(xyz, number):
        noise = deviation * tf.random.stateless_normal(tf.shape(xyz), [seed, number])
        return tf.where(poses.present(xyz)[..., tf.newaxis, tf.newaxis], xyz + noise, xyz)

    return change


def lose_in_frames(fraction: float, seed: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Joints are lost in single frames, and interpolated linearly between the nearest frames, as in a conversion.

    Args:
        fraction: Probability that a joint is lost in a frame; every joint is kept in at least one frame.
        seed: As for :func:`add_noise`.

    Returns:
        As :func:`add_noise`.
    """

    def change(xyz, number):
        there = poses.present(xyz)[..., tf.newaxis]  # [T, M, 1]
        draw = tf.random.stateless_uniform(tf.shape(xyz)[:3], [seed, number])
        draw = tf.where(there, draw, -1.0)
        lost = (draw < fraction) & (draw < tf.reduce_max(draw, axis=0))  # [T, M, J]
        marked = tf.where(lost[..., tf.newaxis], 0.0, xyz)
        # An extra joint marks where the person is present: who loses all other joints in a frame is not absent.
        presence = tf.repeat(tf.cast(there, xyz.dtype)[..., tf.newaxis], 3, axis=-1)  # [T, M, 1, 3]
        return poses.fill_lost_joints(tf.concat([marked, presence], axis=2))[:, :, :-1]

    return change


def lose_throughout(fraction: float, seed: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Joints are lost in the whole clip: they are zeros, as in a request whose pose estimator never sees them.

    Args:
        fraction: Probability that a joint is lost.
        seed: As for :func:`add_noise`.

    Returns:
        As :func:`add_noise`.
    """

    def change(xyz, number):
        lost = tf.random.stateless_uniform(tf.shape(xyz)[1:3], [seed, number]) < fraction  # [M, J]
        return tf.where(lost[..., tf.newaxis], tf.zeros_like(xyz), xyz)

    return change


SWEEPS: tuple[tuple[str, Callable, Sequence[float]], ...] = (
    ("joint noise, m", add_noise, NOISE),
    ("lost in single frames, fraction", lose_in_frames, LOST_FRAMES),
    ("lost in the whole clip, fraction of joints", lose_throughout, LOST_JOINTS),
)


def pose_noise(
    run: RunDirectory, records: pipeline.Records, protocol: str, split: str, clean: scoring.Metrics
) -> list[dict[str, Any]]:
    """Accuracy on poses that are made worse, in all views of the recipe; each amount above 0 scores the split once.

    Args:
        run: The run directory of a network of poses.
        records: The converted dataset.
        protocol: The protocol.
        split: The split.
        clean: The metrics on unchanged poses.

    Returns:
        Rows of ``pose_noise.csv``: ``change``, its ``amount``, ``top1`` and ``mean_class_accuracy``.
    """
    pool, rows = run.recipe.evaluate.pool, []
    for name, change, amounts in SWEEPS:
        for amount in (0.0, *amounts):
            found = clean
            if amount:
                changed = change(amount, run.recipe.seed)
                found = scoring.Metrics(*keras.outputs(run, records, protocol, split, pool, change_poses=changed))
            figures = {"top1": round(found.top1, 4), "mean_class_accuracy": round(found.mean_class_accuracy, 4)}
            rows.append({"change": name, "amount": amount, **figures})
    return rows
