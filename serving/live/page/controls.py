"""What the page can change: which model and camera are watched, and whether any is."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from serving import urls
from serving.live.settings import LiveSettings
from serving.savedmodel import versions
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from serving.live.session import LiveSession

GIVEN = "given"  # the camera of the command line, whose address may hold a password
_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https")
_DEVICES = pathlib.Path("/sys/class/video4linux")


class Busy(Exception):
    """The session is being started or stopped."""


class Controls:
    """Starts and stops a session.

    Args:
        session: The :class:`~serving.live.session.LiveSession`; its settings are those of the command line.
    """

    def __init__(self, session: LiveSession):
        self._session = session
        self._first = session.settings
        self._lock = threading.Lock()
        self.models = _models(self._first)

    @property
    def settings(self) -> LiveSettings:
        """The settings that are used, or were used last."""
        return self._session.settings

    def model(self) -> str:
        """Name of the model that is used, among ``models``."""
        return next((name for name, path in self.models.items() if path == self.settings.model), "")

    def cameras(self) -> dict[str, str]:
        """The known cameras: the text that :meth:`start` takes -> the camera's name."""
        found = {GIVEN: messages.without_password(self._first.source)}
        for device in sorted(_DEVICES.glob("video*")) if _DEVICES.is_dir() else []:
            number = device.name[len("video") :]
            name = device / "name"
            if number.isdecimal() and number != self._first.source:
                found[number] = f"{number}: {name.read_text().strip()}" if name.is_file() else number
        return found

    def camera(self) -> str:
        """The camera that is used, as :meth:`start` takes it; a password is never repeated."""
        return GIVEN if self.settings.source == self._first.source else messages.without_password(self.settings.source)

    def document(self) -> dict[str, Any]:
        """Whether the session runs, and with what, as JSON."""
        error = self._session.error
        return {
            "running": self._session.running,
            "busy": self._lock.locked(),
            "status": self._session.state.status,
            "error": str(error) if error is not None else None,
            "model": self.model(),
            "camera": self.camera(),
            "camera_name": messages.without_password(self.settings.source),
            "privacy": self.settings.privacy,
        }

    def start(self, model: str = "", camera: str = "") -> None:
        """Starts the session, with another model or camera if one is named; waits until the model is loaded.

        Raises:
            UserError: There is no such model or camera, or it cannot be used.
            Busy: The session is being started or stopped.
        """
        chosen = self._model(model)
        # A file of calibration is that of the model on the command line; others have their own in their exports.
        calibration = self._first.calibration if chosen == self._first.model else ""
        settings = dataclasses.replace(
            self.settings, model=chosen, source=self._source(camera), calibration=calibration
        )
        with self._alone():
            self._session.start(settings)

    def stop(self) -> None:
        """Stops the session.

        Raises:
            Busy: As for :meth:`start`.
        """
        with self._alone():
            self._session.stop()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Holds the lock; raises :class:`Busy` if it is not free."""
        if not self._lock.acquire(blocking=False):
            raise Busy("the session is being started or stopped, wait for it")
        try:
            yield
        finally:
            self._lock.release()

    def _model(self, name: str) -> str:
        if not name:
            return self.settings.model
        if name not in self.models:
            raise UserError(f"there is no model {name!r}{messages.nearest(name, self.models)}")
        return self.models[name]

    def _source(self, camera: str) -> str:
        if camera in ("", self.camera()):
            return self.settings.source
        if camera == GIVEN:
            return self._first.source
        # No paths: otherwise the page could open, and show, any file of this machine.
        if (camera.isdecimal() and len(camera) < 4) or urls.scheme(camera) in _SCHEMES:
            return camera
        name = messages.without_password(camera)
        raise UserError(f"{name!r} is no camera, expected a number such as 0 or an address such as rtsp://HOST/PATH")


def _models(settings: LiveSettings) -> dict[str, str]:
    """Name -> ``model`` of the settings, for the given model and for others that were exported to the same folder."""
    if settings.server:
        return {settings.model: settings.model}
    given = pathlib.Path(settings.model)
    folder = given.absolute()
    if versions.format_of(folder) and folder.name.isdecimal():
        folder = folder.parent  # BASE/<model>/<version>
    found = {one.name: str(one) for one in sorted(folder.parent.iterdir()) if one.is_dir() and versions.find(one)}
    found[folder.name] = settings.model
    return found
