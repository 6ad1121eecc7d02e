"""Windows of an untrimmed video, scored with what :mod:`zoo.shared_computation` computes once for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from recipes import trainers
from recipes.reports import pieces
from recipes.run_directory import RunDirectory
from tfrecords import schema
from tfrecords.reading import clips, pipeline
from zoo.shared import sharing, windows
from zoo.shared.errors import UserError
from zoo.shared_computation import SharedComputation

Span = tuple[int, int]
"""First frame of a window, and the frame after its last."""


class SharedWindows:
    """The scores of a video's windows; each is seen in one view, the centre square.

    A window that does not begin at a step of the shared maps, as may happen for the last one of a video, is classified
    on its own; so is a window that is shorter than the others.

    Args:
        run: The run directory.
        plan: The windows.
        block: Block of I3D up to which windows share computation, one of :data:`zoo.shared_computation.STEPS`.

    Raises:
        UserError: The model, or the windows, do not allow shared computation.
    """

    def __init__(self, run: RunDirectory, plan: windows.Plan, block: str) -> None:
        trainer = trainers.of_run(run)
        if not trainer.has_layers or not run.inputs.has_window:
            needed = "a network that sees every n-th frame of a window"
            raise UserError(f"--share-computation: {run.recipe.model.name} is no such network, expected {needed}")
        self._inputs, self._length = run.inputs, plan.length
        self._model = trainer.load(run)
        self._shared = SharedComputation(self._model, block)
        self._distance = sharing.distance(plan, _seen(run.inputs, plan.length), self._shared.step)
        self._unit = self._shared.step * self._distance
        self._readers: dict[pipeline.Inputs, tf.types.experimental.GenericFunction] = {}

    def __call__(self, video: schema.Clip, spans: Sequence[Span]) -> Iterator[np.ndarray]:
        """The softmax ``[C]`` of each window.

        Args:
            video: The video.
            spans: Its windows, in order.
        """
        fitting = [span for span in spans if span[0] % self._unit == 0 and span[1] - span[0] == self._length]
        count = -(-video.num_frames // self._distance)
        starts = [first // self._distance for first, _ in fitting]
        without_frames = dataclasses.replace(self._inputs, frames=0) if self._inputs.pose_steps else None

        def frames(first: int, end: int) -> Mapping[str, np.ndarray]:
            end = min(end, count)
            # A video may end between two frames that are seen, which makes its end no short clip to be spread.
            seen = dataclasses.replace(
                self._inputs, frames=end - first, stride=self._distance, short_clips="loop", pose_steps=0
            )
            return self._read(video, (first * self._distance, end * self._distance), seen)

        def poses(number: int) -> Mapping[str, np.ndarray]:
            assert without_frames is not None  # the model has other inputs
            return self._read(video, fitting[number], without_frames)

        shared = self._shared.predict(frames, starts, poses if without_frames else None)
        together = set(fitting)
        for span in spans:
            yield next(shared) if span in together else self._alone(video, span)

    def _alone(self, video, span):
        fed = {name: values[np.newaxis] for name, values in self._read(video, span, self._inputs).items()}
        return self._model(fed, training=False).numpy()[0]

    def _read(self, video: schema.Clip, span: Span, inputs: pipeline.Inputs) -> Mapping[str, np.ndarray]:
        """A part of the video, as evaluation feeds it to a network with these inputs."""
        if inputs not in self._readers:
            # Traced here: a video may end anywhere, so there are many traces, and TensorFlow would warn of them.
            read = tf.function(lambda record: pipeline.centre_view(record, inputs))
            self._readers[inputs] = read.get_concrete_function(tf.TensorSpec([], tf.string))
        first, end = span[0], min(span[1], video.num_frames)
        record = schema.encode(pieces.cut(video, "", first, end - first))
        return {name: values.numpy() for name, values in self._readers[inputs](tf.constant(record)).items()}


def _seen(inputs: pipeline.Inputs, length: int) -> list[int]:
    """Indices of the frames that evaluation feeds the network, of a window of ``length`` frames."""
    chosen = clips.view(tf.constant(length), dataclasses.replace(inputs, pose_steps=0), 0, clips.Views())
    assert chosen.frames is not None  # the network sees some
    return chosen.frames.numpy().tolist()
