"""A live session: watches a camera until it is stopped, and can be started again with other settings.

::

    camera ─► Feed (newest frame) ─► People: poses, numbers, rings ─► windows ─► Model ─► Answers ─► rules ─► receivers
                                        │                                           │
                                        └─► Privacy, skeletons, labels ◄────────────┘
                                                  └─► LiveState, video file

Reading, estimation and prediction run in separate threads. None waits for a slower one: each takes the newest data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from serving.live import calibration, events, models, rules, showing, sources, writing
from serving.live.answers import Answers
from serving.live.backoff import Backoff
from serving.live.people import Shown
from serving.live.settings import PRIVACY, LiveSettings, seconds
from serving.live.state import LiveState, Snapshot
from serving.live.statistics import Statistics
from tfrecords.converting import persons
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError

FRESH = 3.0  # seconds after which an answer is no longer shown; three strides, if these are longer
_SHORT = 100  # characters of an error in a line of status
_POLL = 0.2  # seconds between two checks whether to stop


class LiveSession:
    """Watches a camera in threads of its own.

    Args:
        settings: The :class:`~serving.live.settings.LiveSettings`.

    Attributes:
        settings: The settings it runs with, or ran with last.
        state: The :class:`~serving.live.state.LiveState`; it stays the same when the session is started again.

    Example:
        >>> session = LiveSession(LiveSettings("0", "models/pose_gcn"))  # doctest: +SKIP
        >>> session.start()  # doctest: +SKIP
        >>> session.state.latest().persons  # doctest: +SKIP
        >>> session.stop()  # doctest: +SKIP
    """

    def __init__(self, settings: LiveSettings) -> None:
        self.settings = settings
        self.state = LiveState()
        self._running: _Running | None = None
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        running = self._running
        return running is not None and not running.ended.is_set()

    @property
    def error(self) -> UserError | None:
        """Why the session ended early; ``None``: it did not."""
        running = self._running
        return running.error if running is not None else None

    def start(self, settings: LiveSettings | None = None) -> None:
        """Starts watching; returns once the model is loaded and the threads run.

        Args:
            settings: New settings; default: as before. A running session is stopped first. Its video file is kept, and
                the next one gets a number: ``seen_2.mp4`` beside ``seen.mp4``.

        Raises:
            UserError: The settings are not valid, or the model cannot be loaded.
        """
        with self._lock:
            wanted = settings or self.settings
            check(wanted)
            self.stop()  # from here on the old video file has its final name
            video = wanted.write if self._running is None else writing.unused(wanted.write)
            self.settings = wanted
            self.state.clear_picture()
            self.state.put_status("starting")
            try:
                self._running = _Running(dataclasses.replace(wanted, write=video), self.state)
            except UserError as error:
                self.state.put_status(str(error))
                raise
            self._running.start()

    def wait(self, seconds: float) -> bool:
        """Waits at most ``seconds`` until the session has ended, as after a video file; returns whether it has."""
        running = self._running
        return running is None or running.ended.wait(seconds)

    def stop(self) -> None:
        """Stops watching and waits until everything is written; does nothing if the session does not run."""
        with self._lock:
            if self._running is not None:
                self._running.stop()

    def tidy(self) -> None:
        """Cleans up after a session that has ended by itself: ends its segments and frees what it holds."""
        with self._lock:
            if self._running is not None and self._running.ended.is_set():
                self._running.stop()

    def summary(self) -> str:
        """Figures of the whole session in one line."""
        running = self._running
        return running.statistics.whole() if running is not None else ""


def check(settings: LiveSettings) -> None:
    """Raises :class:`UserError` for settings that can be seen to be wrong before anything is loaded or stopped."""
    if settings.privacy not in PRIVACY:
        raise UserError(f"privacy {settings.privacy!r} is unknown{messages.nearest(settings.privacy, PRIVACY)}")
    if settings.persons < 1:
        raise UserError(f"{settings.persons} persons: expected at least one")
    sources.find(settings.source, settings.fps)
    if settings.write:
        writing.check(settings.write)
    if settings.rules:
        rules.read(settings.rules)
    if settings.events and not settings.rules:
        raise UserError("--events needs --rules FILE: the rules state what makes an event")
    if settings.window:
        seconds(settings.window)
    seconds(settings.stride)


class _Running:
    """A session that runs: its threads and what they share."""

    def __init__(self, settings: LiveSettings, state: LiveState) -> None:
        self._settings, self._state = settings, state
        self.statistics = Statistics()
        self.ended = threading.Event()
        self.error: UserError | None = None
        self._stopping = threading.Event()
        self._stopped = False
        source = sources.find(settings.source, settings.fps)
        self._camera = settings.name or source.name
        self._rules = rules.read(settings.rules) if settings.rules else []
        with contextlib.ExitStack() as stack:
            self._model = stack.enter_context(models.load(settings))
            self._prepare(source, stack)
            self._closing = stack.pop_all()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for work, name in ((self._follow, "poses"), (self._answer, "answers"), (self._watch, "status"))
        ]

    def _prepare(self, source: sources.Source, stack: contextlib.ExitStack) -> None:
        settings = self._settings
        self._folder = self._model.folder
        scaling = calibration.of(settings.calibration, self._folder, settings.unknown_below)
        self._stride = seconds(settings.stride)
        self._fresh = max(FRESH, 3 * self._stride)
        self._people = models.people(self._model, settings)
        stack.callback(self._people.close)
        first = self._model.predict([self._people.warm_up()])[0]  # takes seconds; tells the classes of a server's model
        rules.check_classes(self._rules, self._model.labels or first.labels, settings.rules)
        self._privacy = showing.Privacy(settings.privacy, self._people.estimator_layout)
        self._answers = Answers(
            settings.smooth, scaling.temperature, scaling.unknown_below, _epoch, put_segment=self._state.put_segment
        )
        self._engine = rules.Engine(self._rules)
        self._outputs = events.Outputs(settings.events, self._camera, self._rules, settings.spool)
        self._feed = sources.Feed(source)
        self._writer = writing.Writer(settings.write) if settings.write else None
        self._boxes: dict[int, tuple[int, int, int, int]] = {}  # person -> bounding box where last seen
        self._changing = threading.Lock()  # guards the boxes
        self._seen: tuple[int, int, int, int] | None = None  # what a model without crops sees of the newest frame
        self._somebody = False  # whether anybody is in the newest frame
        self._problem = ""  # why the model does not answer

    # ---- from outside

    def start(self) -> None:
        self.statistics.start()
        self._outputs.start()
        self._feed.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._stopping.set()
        self.statistics.end()
        if not self._feed.stop():
            # Waiting for the decoder may never end, but it would abort the process if it still ran when Python ends.
            command_line.skip_destructors()
        for thread in self._threads:
            thread.join()
        self._answers.keep_only(set())
        if self._writer is not None:
            self._writer.stop()
        self._outputs.stop()
        self._closing.close()
        self._state.put_status("stopped")
        self.ended.set()

    # ---- threads

    def _guarded(self, work: Callable[[], None]) -> None:
        """Runs the work of a thread; an unexpected error ends the session with a message of one line."""
        try:
            work()
        except Exception as error:
            self.error = UserError(f"the session ended: {type(error).__name__}: {messages.one_line(error)}")
            self._stopping.set()
            self.ended.set()

    def _follow(self) -> None:
        """Estimates the poses in the newest frame, and publishes what may be shown of it."""
        pauses = Backoff(longest=30.0)
        while not self._stopping.is_set():
            frame = self._feed.take(_POLL)
            if frame is None:
                if self._feed.ended:
                    self._end_of_source()
                    return
                continue
            try:
                shown = self._people.add(frame)
                pauses.reset()
            except Exception as error:  # of the estimator's library: the estimator is made anew
                messages.warn(f"poses are not estimated ({messages.one_line(error)}): the estimator is started again")
                self._stopping.wait(pauses.next())
                self._people.restart()
                continue
            self._show(frame, shown)

    def _end_of_source(self) -> None:
        self.error = self._feed.error
        self._stopping.wait(self._stride)  # for the answer to the last window
        self.ended.set()

    def _show(self, frame: sources.Frame, shown: Sequence[Shown]) -> None:
        self._seen = models.seen(self._model, *frame.picture.shape[:2])
        states = tuple(
            self._answers.state(person, frame.seconds, fresh=self._fresh, seen=self._seen) for person in shown
        )
        self._somebody = bool(shown)
        with self._changing:
            self._boxes = {**self._boxes, **{person.track: person.box for person in shown}}
        picture = self._privacy.apply(frame.picture, self._people.everyone, frame.seconds)
        showing.draw(picture, shown, states, self._people.layout)
        self.statistics.frame(time.monotonic() - frame.seconds)
        self._state.put_snapshot(
            Snapshot(
                frame.number, _epoch(frame.seconds), picture, states, self._status(), self.statistics.frames_per_second
            )
        )
        if self._writer is not None:
            self._writer.put(frame.seconds, picture)

    def _answer(self) -> None:
        """Has the model classify a window of each person, once per stride or, if it is slower, as fast as it can."""
        pauses = Backoff(longest=15.0)
        newest, due, answered = 0.0, time.monotonic(), 0.0
        while not self._stopping.wait(max(min(due - time.monotonic(), _POLL), 0.01)):
            if time.monotonic() < due:
                continue
            found = self._people.windows(since=newest)
            if not found:
                self._forget()
                due = time.monotonic() + min(self._stride, 0.1)
                continue
            due, newest = max(due + self._stride, time.monotonic()), found[0].end
            asked = time.monotonic()
            try:
                predictions = self._model.predict(found)
            except Exception as error:  # of the server or the model: either may be replaced meanwhile
                text = messages.one_line(error)
                if not self._problem:
                    messages.warn(f"no answers: {text}; it is tried again")
                self._problem = text
                if asked - answered > self._fresh:
                    self._answers.end_segments()
                due = time.monotonic() + pauses.next()
                continue
            if self._problem:
                messages.note("the model answers again")
            self._problem = ""
            pauses.reset()
            came = answered = time.monotonic()
            self._follow_model(predictions[0].labels)
            pause = max(self._fresh, 3 * (came - asked))  # a slow model's answers are far apart
            for window, prediction in zip(found, predictions):
                answer = self._answers.add(window.track, window.start, window.end, prediction, came)
                self.statistics.answer(came - window.end)
                for match in self._engine.update(answer, self._boxes.get(window.track, (0, 0, 0, 0)), pause):
                    event = events.make(match, self._camera, _epoch)
                    self._state.put_event(event)
                    self._outputs.put(event)
            self._forget()

    def _follow_model(self, labels: Sequence[str]) -> None:
        """Takes the calibration of another version of the model, and checks the rules against its classes."""
        if self._model.folder == self._folder:
            return
        self._folder = self._model.folder
        try:
            scaling = calibration.of(self._settings.calibration, self._folder, self._settings.unknown_below)
            self._answers.calibrate(scaling.temperature, scaling.unknown_below)
            rules.check_classes(self._rules, labels, self._settings.rules)
        except UserError as error:
            messages.warn(str(error))

    def _forget(self) -> None:
        known = self._people.tracks()
        self._answers.keep_only(known)
        self._engine.keep_only(known)
        with self._changing:
            self._boxes = {track: box for track, box in self._boxes.items() if track in known}

    def _watch(self) -> None:
        """Reports that no pictures come, and darkens the last one so that nobody takes it for a new one."""
        away = False
        while not self._stopping.wait(1.0):
            if not self._feed.problem:
                away = False
                continue
            self._state.put_status(self._status())
            latest = self._state.latest()
            if latest is not None and not away:
                dim = (latest.picture // 3).astype(np.uint8)
                self._state.put_snapshot(
                    dataclasses.replace(latest, picture=dim, persons=(), status=self._status(), frames_per_second=0.0)
                )
                self._forget()
                self._answers.end_segments()
            away = True

    def _status(self) -> str:
        """One line: what is wrong, and figures of the last seconds."""
        problems = [self._feed.problem, f"no answers: {self._problem[:_SHORT]}" if self._problem else ""]
        if not any(problems) and self._somebody and self.statistics.frames_per_second * persons.LONGEST_GAP < 1:
            problems.append(f"too few poses for answers, expected at least {1 / persons.LONGEST_GAP:g} frames/s")
        return "; ".join(filter(None, [*problems, self.statistics.line()]))


def _epoch(seconds: float) -> float:
    """Converts a time by ``time.monotonic`` to seconds since the epoch, by the system clock as it is set now."""
    return time.time() - (time.monotonic() - seconds)
