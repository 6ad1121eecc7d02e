"""A live session: a camera is watched until it is stopped, and can then be watched again with other settings."""

from __future__ import annotations

from serving.live.settings import LiveSettings
from serving.live.state import LiveState


class LiveSession:
    """Watches a camera in threads of its own.

    Args:
        settings: The :class:`~serving.live.settings.LiveSettings`.

    Attributes:
        settings: Those it runs with, or ran with last.
        state: The :class:`~serving.live.state.LiveState`; it stays the same when the session is started again.
    """

    def __init__(self, settings: LiveSettings) -> None:
        self.settings = settings
        self.state = LiveState()

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return False

    def start(self, settings: LiveSettings | None = None) -> None:
        """Starts watching; returns once the model is loaded and the threads run.

        Args:
            settings: Other settings than before.

        Raises:
            UserError: The settings are not valid, or the model cannot be loaded. A session that already runs is
                stopped only once the new settings are known to work.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Stops watching and waits until everything is written; nothing happens where it does not run."""
        raise NotImplementedError
