"""The model of a live session: a SavedModel in this process, or one on a server. All windows go in one request."""

from __future__ import annotations

import abc
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from serving.client import request
from serving.client.client import Client, RequestFailed
from serving.client.estimation import Estimation
from serving.client.prediction import Prediction
from serving.live.people import People, Window
from serving.live.settings import LiveSettings, seconds
from serving.predict import Predictor
from serving.savedmodel import signatures, versions
from tfrecords.converting.persons import FPS
from tfrecords.estimation.estimator import Closing
from tfrecords.estimation.recordings import Settings
from zoo.shared import messages

if TYPE_CHECKING:
    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

    from tfrecords.reading.pipeline import Inputs

WINDOW = 2.0  # seconds, for a model that takes no frames, takes them from a whole clip, or does not state how many
TIMEOUT = 10.0  # seconds for a response of the server, all attempts together
RELOAD_SECONDS = 5.0  # between two checks for a new version of a SavedModel


class Model(Closing):
    """Classifies windows.

    Attributes:
        inputs: The model's inputs; ``None``: not known.
        folder: Folder of the export; ``None``: the model is on a server.
        labels: The model's classes; empty: not known before the first answer.
        maps: Names of the attention maps that come with each prediction; empty: the model gives none.
    """

    inputs: Inputs | None
    folder: pathlib.Path | None
    labels: tuple[str, ...]
    maps: tuple[str, ...]

    @abc.abstractmethod
    def definition(self) -> SignatureDef:
        """The ``SignatureDef`` of the signature that is used."""

    @abc.abstractmethod
    def predict(self, windows: Sequence[Window]) -> list[Prediction]:
        """A prediction for each window; raises ``UserError`` if the model cannot give one."""


def load(settings: LiveSettings) -> Model:
    """The model that the settings name.

    Raises:
        UserError: The model cannot be loaded, or the server does not respond.
    """
    return _Served(settings.server, settings.model) if settings.server else _Local(settings.model)


def needs(model: Model, settings: LiveSettings) -> tuple[Estimation, int, bool]:
    """What has to be estimated for a model.

    Returns:
        ``(estimation, persons, scene)``: the :class:`~serving.client.estimation.Estimation`, how many persons a window
        of the model has, and whether it takes whole frames and no poses.
    """
    definition = model.definition()
    found = Estimation.of(
        definition, inputs=model.inputs, model=settings.pose_model, persons=settings.persons, crop=settings.crop
    )
    if found is None:  # the model takes whole frames: poses are estimated only to be drawn
        people = Settings(model=settings.pose_model, persons=settings.persons)
        return Estimation(poses=False, parts=(), takes_video=True, settings=people), 1, True
    count = 1
    if found.poses:
        count = definition.inputs[signatures.POSES].tensor_shape.dim[2].size
    return found, count, False


class _Local(Model):
    """A SavedModel; when a newer version appears beside it, that version is used."""

    def __init__(self, path: str) -> None:
        self._path = pathlib.Path(path)
        self._take(Predictor(self._path))
        self._looked = time.monotonic()
        self._newest, _ = self._newest_version()
        self._tried: tuple[int, list[versions.State]] = 0, []  # the version that was loaded last, and its files

    def _take(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self.inputs, self.folder = self._predictor.inputs, self._predictor.folder
        file = self.folder / versions.LABELS
        self.labels = tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()
        self.maps = _maps(self._predictor.servable.signature_defs)

    def definition(self) -> SignatureDef:
        return self._predictor.definition(self._signature)

    @property
    def _signature(self) -> str:
        return _signature(self._predictor.servable.signature_defs)

    def _newest_version(self) -> tuple[int, pathlib.Path]:
        """The newest version's number and folder; 0 if the path is the folder of one version."""
        return max(versions.find(self._path).items(), default=(0, self._path))

    def predict(self, windows: Sequence[Window]) -> list[Prediction]:
        self._reload()
        clips = [(window.pictures, window.poses) for window in windows]
        signature = signatures.ATTENTION if self.maps else self._signature
        return self._predictor.predict_clips(clips, signature=signature, pose_fps=FPS, outputs=self.maps)

    def _reload(self) -> None:
        if time.monotonic() - self._looked < RELOAD_SECONDS:
            return
        self._looked = time.monotonic()
        newest, folder = self._newest_version()
        if newest <= self._newest:
            return
        found = newest, versions.fingerprint(folder)
        if found == self._tried:
            return  # it cannot be loaded; tried again when its files have changed, as while they are being copied
        self._tried = found
        newer = _Local(str(folder))
        if _prepared(newer) != _prepared(self):
            messages.warn(
                f"{self._path}: version {newest} takes other windows or pictures than the version in use, which stays: "
                "start the session again for the new one"
            )
            return
        self._take(newer._predictor)
        self._newest = newest
        messages.note(f"{self._path}: version {newest} is used from now on")

    def close(self) -> None:
        """Does nothing: there is nothing to free."""


class _Served(Model):
    """A model on a server, over gRPC or REST."""

    def __init__(self, address: str, name: str) -> None:
        self.inputs, self.folder, self.labels = None, None, ()
        self._client = Client(address, name, timeout=TIMEOUT)
        self.maps = _maps(self._client.signatures())  # refuses a wrong address or name
        if self.maps:
            self._client.close()
            self._client = Client(address, name, timeout=TIMEOUT, signature=signatures.ATTENTION)
        self._together = True

    def definition(self) -> SignatureDef:
        return self._client.definition()

    def predict(self, windows: Sequence[Window]) -> list[Prediction]:
        if self._together:
            try:
                return self._request(windows)
            except RequestFailed as error:
                # A server that batches may take fewer clips in a request than there are people.
                if len(windows) == 1 or error.code.name != "INVALID_ARGUMENT":
                    raise
                found = [self._request([window])[0] for window in windows]
                messages.note(
                    f"the server refuses {len(windows)} windows in one request: each now gets its own request"
                )
                self._together = False
                return found
        return [self._request([window])[0] for window in windows]

    def _request(self, windows: Sequence[Window]) -> list[Prediction]:
        frames = [window.pictures for window in windows if window.pictures is not None] or None
        poses = [window.poses for window in windows if window.poses is not None] or None
        return self._client.predict_batch(frames, poses, outputs=self.maps, pose_fps=FPS)

    def close(self) -> None:
        self._client.close()


def seen(model: Model, height: int, width: int) -> tuple[int, int, int, int] | None:
    """The square that a model sees of an uncropped frame: ``(x0, y0, x1, y1)``, pixels; ``None``: not known.

    Example:
        >>> import types
        >>> from tfrecords.reading.pipeline import Inputs
        >>> model = types.SimpleNamespace(inputs=Inputs(frames=8, size=32, framing="whole"))
        >>> seen(model, height=100, width=200)
        (0, -50, 200, 150)
    """
    inputs = model.inputs
    if inputs is None or not inputs.frames:
        return None
    side = max(height, width) if inputs.framing == "whole" else min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _signature(offered: Mapping[str, SignatureDef]) -> str:
    """The signature for clips: the one for JPEG files, if the model has it."""
    return signatures.JPEG if signatures.JPEG in offered else signatures.DEFAULT


def _maps(offered: Mapping[str, SignatureDef]) -> tuple[str, ...]:
    """Attention maps that come with a clip's prediction: none if the attention signature takes other inputs."""
    used, attention = offered.get(_signature(offered)), offered.get(signatures.ATTENTION)
    if used is None or attention is None or set(used.inputs) != set(attention.inputs):
        return ()
    return tuple(sorted(name for name in attention.outputs if name.endswith("_attention")))


def people(model: Model, settings: LiveSettings) -> People:
    """A :class:`~serving.live.people.People` for a model and settings.

    Raises:
        UserError: There is no such estimator, or the length of the window is not valid.
    """
    estimation, persons, scene = needs(model, settings)
    window = seconds(settings.window) if settings.window else _window_seconds(model)
    return People(estimation, window=window, model_persons=persons, classify_scene=scene)


def _prepared(model: Model) -> tuple[Any, ...]:
    """What a session prepares for a model: a newer version of it gets the same, so it must take the same."""
    definition = model.definition()
    shapes = {name: [size.size for size in info.tensor_shape.dim] for name, info in definition.inputs.items()}
    return shapes, signatures.PERSON_CROPS in definition.outputs, _window_seconds(model)


def _window_seconds(model: Model) -> float:
    """Seconds of a model's window: the time that its network's frames cover; else :data:`WINDOW`."""
    inputs = model.inputs
    if inputs is None or not inputs.has_window or not request.takes_video(model.definition()):
        return WINDOW
    return inputs.frames * max(inputs.stride, 1) / FPS
