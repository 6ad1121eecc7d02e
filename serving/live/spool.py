"""Undelivered events, kept on disk: none is lost while a receiver is away, or when the process is killed.

Each event is one file, written whole and numbered in the order of the events. It is removed once the receiver has the
event.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pathlib
import threading
from typing import Any

from zoo.shared import files, messages

LIMIT = 10_000  # events that wait for a receiver at most
_SUFFIX = ".json"

Event = dict[str, Any]


class Spool:
    """The events that wait for one receiver.

    Args:
        folder: Folder of the events' files; made if missing. Only one process may use it.
        limit: Most events that are kept; beyond it the oldest are dropped.

    Example:
        >>> import tempfile
        >>> spool = Spool(pathlib.Path(tempfile.mkdtemp()))
        >>> spool.put({"id": "a", "label": "falling"})
        >>> name, event = spool.first(seconds=0)
        >>> event["label"]
        'falling'
        >>> spool.remove(name)
        >>> spool.first(seconds=0) is None
        True
    """

    def __init__(self, folder: pathlib.Path, limit: int = LIMIT) -> None:
        self._folder, self._limit = folder, limit
        folder.mkdir(parents=True, exist_ok=True)
        files.remove_partial(folder)
        self._changed = threading.Condition()
        self._names = collections.deque(sorted(path.name for path in folder.iterdir() if path.suffix == _SUFFIX))
        self._number = int(self._names[-1].partition("-")[0], 16) + 1 if self._names else 0
        self._held: dict[str, Event] = {}  # events that could not be written to disk
        self._full = self._dropping = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._names)

    def put(self, event: Event) -> None:
        """Keeps an event on disk; if that fails, warns and keeps it in memory."""
        with self._changed:
            name = f"{self._number:012x}-{event['id']}{_SUFFIX}"
            self._number += 1
            try:
                files.write_json(self._folder / name, event)
                self._full = False
            except OSError as error:
                if not self._full:
                    messages.warn(
                        f"{self._folder}: events cannot be written to disk ({error.strerror}): they are kept in memory"
                    )
                self._full = True
                self._held[name] = event
            self._names.append(name)
            while len(self._names) > self._limit:
                if not self._dropping:
                    messages.warn(
                        f"{self._folder}: {self._limit} events wait for their receiver, the oldest are dropped"
                    )
                self._dropping = True
                self._forget(self._names[0])
            self._changed.notify_all()

    def first(self, seconds: float) -> tuple[str, Event] | None:
        """The oldest event and the name to remove it by; ``None`` if there is none within ``seconds``."""
        with self._changed:
            self._changed.wait_for(lambda: self._names, seconds)
            while self._names:
                name = self._names[0]
                if name in self._held:
                    return name, self._held[name]
                try:
                    return name, json.loads((self._folder / name).read_text(encoding="utf-8"))
                except OSError as error:  # such as too many open files: the file stays
                    messages.warn(
                        f"{self._folder / name}: cannot be read ({error.strerror}): it is tried again at the next start"
                    )
                    self._names.remove(name)
                except ValueError as error:
                    messages.warn(f"{self._folder / name}: an event cannot be read ({messages.one_line(error)})")
                    self._forget(name)
            return None

    def remove(self, name: str) -> None:
        """Forgets an event that was delivered; does nothing if it was dropped meanwhile."""
        with self._changed:
            if name in self._names:
                self._forget(name)
            self._dropping = self._dropping and len(self._names) >= self._limit

    def _forget(self, name: str) -> None:
        self._names.remove(name)
        self._held.pop(name, None)
        with contextlib.suppress(OSError):
            os.unlink(self._folder / name)
