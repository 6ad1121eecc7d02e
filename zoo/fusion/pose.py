"""F3 of two-level fusion, long-term motion: the hidden vectors of a pose LSTM (AVSS18; PhD20 chapter 3)."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional, Union

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from zoo.checks import Multiplier, Rate, Size, ZooError
from zoo.fusion.clip import Clip
from zoo.fusion.compute import Seed, check_parameters, in_batches, seed_of


class PoseFeatures(TransformerMixin, BaseEstimator):
    """F3, long-term motion: the hidden vectors of a pose LSTM at all steps (:mod:`zoo.models.pose_lstm`).

    The LSTM is trained here with the loss of all steps (AVSS18; PhD20 equation 3.5) unless a trained one is given. A
    sequence is cut into equal parts. Training draws one frame from each part, anew in every epoch; features are
    computed from the middle frames. With ``whole_sequences`` every frame is a step, as in the papers. A clip with fewer
    frames than steps is then padded with zeros at its end; the LSTM skips these steps (its hidden vector does not
    change), and so does the loss. The papers use 64 units on CAD-60 and CAD-120, 128 on MSR Daily Activity and 512 on
    NTU RGB+D, and Adam with a learning rate of 0.005. Training sets the global seeds of Python, NumPy and TensorFlow.

    Args:
        model: Path of a trained ``pose_lstm`` (``.keras``); its sizes replace those below. ``None``: one is trained.
        pose_steps: Steps tp of a pose sequence. With ``whole_sequences``, the maximum length: a clip with more frames
            is still cut into equal parts.
        whole_sequences: Whether every frame is a step. For a trained ``model``, its option ``padded`` decides instead.
        lstm_units: Size of each LSTM's hidden vector.
        lstm_dropout: Dropout rate of each LSTM layer's output.
        epochs: Epochs of training; the learning rate falls along half a cosine.
        learning_rate: Learning rate of Adam at the beginning; gradients are clipped to a norm of 1.
        batch: Clips in a step of training.
        random_state: Seed; ``None``: 0.

    Attributes:
        pose_steps_: Steps tp of the network.
        whole_sequences_: Whether every frame is a step of the network.
        architecture_: The network from poses to hidden vectors, as Keras's JSON.
        built_as_: How the whole ``pose_lstm`` was built; ``None`` if its file does not state it.
        weights_: The weights of the network from poses to hidden vectors.
    """

    def __init__(
        self,
        model: Optional[str] = None,
        *,
        pose_steps: Size = 20,
        whole_sequences: bool = False,
        lstm_units: Size = 512,
        lstm_dropout: Rate = 0.5,
        epochs: Size = 100,
        learning_rate: Multiplier = 1e-3,
        batch: Size = 32,
        random_state: Optional[Seed] = None,
    ):
        self.model = model
        self.pose_steps = pose_steps
        self.whole_sequences = whole_sequences
        self.lstm_units = lstm_units
        self.lstm_dropout = lstm_dropout
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch = batch
        self.random_state = random_state

    def check_parameters(self) -> None:
        """Raises ``ZooError`` if a parameter is wrong; the message names it."""
        check_parameters("pose", self)

    def fit(self, X: Sequence[Clip], y: Union[Sequence, np.ndarray]) -> "PoseFeatures":
        """Trains the LSTM on clips and their classes, or reads the trained one."""
        self.check_parameters()
        model = self._read(X[0]) if self.model is not None else self._train(X, y)
        latents = _up_to_hidden_vectors(model)
        self.built_as_ = dataclasses.asdict(model.built_as) if hasattr(model, "built_as") else None
        self.pose_steps_ = latents.output.shape[1]
        self.whole_sequences_ = bool((self.built_as_ or {"options": {}})["options"].get("padded", False))
        self.architecture_, self.weights_ = latents.to_json(), latents.get_weights()
        self._network = None
        return self

    def transform(self, X: Sequence[Clip]) -> np.ndarray:
        """``[N, tp * units]`` float32."""
        check_is_fitted(self)
        whole = getattr(self, "whole_sequences_", False)  # absent if an earlier version saved it
        poses = np.stack([sequence(clip.poses, self.pose_steps_, whole) for clip in X])
        compute = self._latents()
        states = in_batches(lambda batch: compute(batch).numpy(), poses.astype(np.float32))  # [N, tp, units]
        return states.reshape(len(X), -1)

    def __getstate__(self):
        return {**super().__getstate__(), "_network": None}

    def __setstate__(self, state):
        """Also reads an object that was saved by a version without ``whole_sequences``."""
        super().__setstate__({"whole_sequences": False, **state})

    def _read(self, clip):
        import zoo

        model = zoo.load_model(self.model)
        shape = list(clip.poses.shape[1:])
        if model.name != "pose_lstm":
            raise ZooError(f"{self.model} holds a {model.name}, expected a pose_lstm")
        if list(model.input["pose"].shape[2:]) != shape:
            found = list(model.input["pose"].shape[2:])
            raise ZooError(f"{self.model} takes poses of {found}, the clips' are {shape} (persons, joints, 3)")
        return model

    def _train(self, X, y):
        import tensorflow as tf

        import zoo

        classes, codes = np.unique(y, return_inverse=True)
        _, persons, joints, _ = X[0].poses.shape
        seed = seed_of(self.random_state)
        tf.keras.utils.set_random_seed(seed)
        model = zoo.build(
            "pose_lstm",
            num_classes=len(classes),
            pose_steps=self.pose_steps,
            persons=persons,
            joints=joints,
            lstm_units=self.lstm_units,
            dropout=self.lstm_dropout,
            loss="all_steps",
            padded=self.whole_sequences,
        )
        batch = min(self.batch, len(X))  # all batches have this size; each epoch leaves out different clips
        steps = len(X) // batch
        rate = tf.keras.optimizers.schedules.CosineDecay(self.learning_rate, self.epochs * steps)
        model.compile(tf.keras.optimizers.Adam(rate, clipnorm=1.0), "sparse_categorical_crossentropy")
        rng = np.random.default_rng(seed)
        for _ in range(self.epochs):
            order = rng.permutation(len(X))
            for rows in order[: steps * batch].reshape(steps, batch):
                offsets = rng.random((len(rows), self.pose_steps))
                poses = [
                    sequence(X[row].poses, self.pose_steps, self.whole_sequences, offset)
                    for row, offset in zip(rows, offsets)
                ]
                model.train_on_batch({"pose": np.stack(poses)}, codes[rows])
        return model

    def _latents(self):
        """The network as a function of poses ``[B, tp, M, J, 3]``, rebuilt after unpickling."""
        import tensorflow as tf

        import zoo
        import zoo.layers  # registers the layers that the architecture names

        if getattr(self, "_network", None) is None:
            build = getattr(self, "built_as_", None)  # the JSON can only be read by the version of Keras that wrote it
            if build:
                network = _up_to_hidden_vectors(
                    zoo.build(build["name"], num_classes=build["num_classes"], **build["options"])
                )
            else:
                network = tf.keras.models.model_from_json(self.architecture_)
            network.set_weights(self.weights_)
            spec = tf.TensorSpec([None, *network.inputs[0].shape[1:]], tf.float32)  # one graph for all batch sizes
            self._network = tf.function(lambda poses: network({"pose": poses}, training=False), input_signature=[spec])
        return self._network


def _up_to_hidden_vectors(model):
    """The part of a pose LSTM from poses to hidden vectors."""
    import tensorflow as tf

    from zoo.models import pose_lstm

    return tf.keras.Model(model.input, model.get_layer(f"lstm_{pose_lstm.LAYERS}").output)


def sequence(poses: np.ndarray, steps: int, whole: bool, offset: Any = 0.5) -> np.ndarray:
    """The pose sequence that the network takes.

    Args:
        poses: ``[T, M, J, 3]`` of a clip.
        steps: Steps tp.
        whole: Whether every frame is a step, padded with zeros at the end; without effect if there are more frames than
            steps.
        offset: As for :func:`step_frames`, if frames are chosen.

    Returns:
        ``[tp, M, J, 3]``.

    Example:
        >>> sequence(np.ones((2, 1, 1, 3)), 3, whole=True)[:, 0, 0, 0].tolist()
        [1.0, 1.0, 0.0]
    """
    if not whole or len(poses) > steps:
        return poses[step_frames(len(poses), steps, offset)]
    return np.concatenate([poses, np.zeros((steps - len(poses), *poses.shape[1:]), poses.dtype)])


def step_frames(num_frames: int, steps: int, offset: Any = 0.5) -> np.ndarray:
    """Frame indices of a pose sequence: the frame at ``offset``, in [0, 1), of each of ``steps`` equal parts of a clip.

    Example:
        >>> step_frames(10, 5).tolist()
        [1, 3, 5, 7, 9]
    """
    return ((np.arange(steps) + offset) * num_frames / steps).astype(int)
