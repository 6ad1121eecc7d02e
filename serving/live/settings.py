"""What a live session watches, with which model, and what leaves it."""

from __future__ import annotations

import dataclasses

from tfrecords.converting.persons import FPS
from zoo.shared.windows import Plan

PRIVACY = ("none", "blur", "skeleton")


@dataclasses.dataclass(frozen=True)
class LiveSettings:
    """The settings of a :class:`serving.live.session.LiveSession`.

    Attributes:
        source: A camera's number, an address (``rtsp://``, ``http://``), a video file, which is played in real time, a
            folder of videos, or a folder that pictures are added to.
        model: A SavedModel's folder; with ``server`` the model's name on that server.
        server: Address of a server, ``HOST:PORT`` (gRPC) or ``http://HOST:PORT``; empty: this process runs the model.
        privacy: One of :data:`PRIVACY`; holds for every picture that leaves the session.
        persons: People followed at the same time.
        fps: Frames per second of a file or folder; 0: the file's own.
        window: Length of a window, such as ``2s``; empty: the time that the network's frames cover, or two seconds.
        stride: Time from one window to the next, such as ``0.5s``.
        smooth: As :func:`serving.client.smoothing.parse` reads it.
        pose_model: Model of the pose estimator: ``lite``, ``full``, ``heavy`` or a file.
        crop: Whether pictures are cut out around each person; default: if the model was trained on such pictures.
        calibration: ``calibration.json`` of ``recipes/evaluate.py --calibrate``; empty: that of the export, if any.
        unknown_below: Below this probability the class is unknown; default: the calibration's threshold, or never.
        rules: File of rules for events; empty: none.
        events: Where events go: ``-`` (stdout), a file, ``http://...`` (a webhook), ``mqtt://...``.
        spool: Folder that keeps events until they are delivered; empty: one in the cache.
        write: Video file to write; empty: none.
        name: Name of the camera in events and topics; empty: the source.
    """

    source: str
    model: str
    server: str = ""
    privacy: str = "none"
    persons: int = 5
    fps: float = 0.0
    window: str = ""
    stride: str = "0.5s"
    smooth: str = "exponential:0.5"
    pose_model: str = "full"
    crop: bool | None = None
    calibration: str = ""
    unknown_below: float | None = None
    rules: str = ""
    events: tuple[str, ...] = ()
    spool: str = ""
    write: str = ""
    name: str = ""


def seconds(duration: str) -> float:
    """A duration in seconds, from ``64`` (frames at 30 per second) or ``2.5s``; raises ``UserError`` for other text.

    Example:
        >>> seconds("2.5s"), seconds("60")
        (2.5, 2.0)
    """
    return Plan.of(duration, fps=FPS).length / FPS
