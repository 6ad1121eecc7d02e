"""What a live session watches, with which model, and what leaves it."""

from __future__ import annotations

import dataclasses

PRIVACY = ("none", "blur", "skeleton")


@dataclasses.dataclass(frozen=True)
class LiveSettings:
    """The settings of a :class:`serving.live.session.LiveSession`.

    Attributes:
        source: A camera's number, an address (``rtsp://``, ``http://``), a video file, which is played in real time, or
            a folder of pictures that are added to it.
        model: A SavedModel's folder; with ``server`` the name of a model there.
        server: ``HOST:PORT`` of a gRPC server; empty: the model runs in this process.
        privacy: One of :data:`PRIVACY`; holds for every picture that leaves the session.
        persons: People followed at once.
        fps: Frames per second; 0: the source's own.
        window: Length of a window, such as ``2s``.
        stride: From one window to the next.
        smooth: As :func:`serving.client.smoothing.parse` reads it.
        pose_model: Model of the pose estimator: ``lite``, ``full``, ``heavy`` or a file.
        temperature: Of the probabilities, as ``evaluate.py --calibrate`` fits it.
        threshold: Below this probability the class is unknown; 0: never.
        rules: File of rules for events; empty: none.
        events: Where events go: ``-`` (stdout), a file, ``http://...`` (a webhook), ``mqtt://...``.
        spool: Folder that keeps events until they are delivered; empty: one in the cache.
        write: Video file to write; empty: none.
        seconds: Ends by itself after so many; 0: never.
    """

    source: str
    model: str
    server: str = ""
    privacy: str = "none"
    persons: int = 5
    fps: float = 0.0
    window: str = "2s"
    stride: str = "0.5s"
    smooth: str = "exponential:0.5"
    pose_model: str = "full"
    temperature: float = 1.0
    threshold: float = 0.0
    rules: str = ""
    events: tuple[str, ...] = ()
    spool: str = ""
    write: str = ""
    seconds: float = 0.0
