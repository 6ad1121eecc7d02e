"""The command ``python -m serving.live``: a camera, the people in front of it, what they do, and events.

``python -m serving.live --camera 0 --model BASE/NAME [--rules rules.yaml --events mqtt://HOST] [--privacy skeleton]``
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time
from collections.abc import Sequence

from serving.live import page
from serving.live.session import LiveSession
from serving.live.settings import PRIVACY, LiveSettings
from zoo.shared import command_line, messages
from zoo.shared.command_line import positive

STATUS_SECONDS = 10.0  # between two lines of status


def parser() -> command_line.ArgumentParser:
    """The command's arguments."""
    made = command_line.ArgumentParser(
        prog="python -m serving.live", description="Watch a camera: people, what they do, events."
    )
    made.add_argument(
        "--camera",
        required=True,
        metavar="SOURCE",
        help="number or address of a camera, a video file (plays in real time), a folder of videos, or a folder that "
        "pictures are added to",
    )
    made.add_argument(
        "--model", required=True, metavar="PATH", help="exported model, BASE/<model>; with --server its name there"
    )
    made.add_argument(
        "--server",
        default="",
        metavar="ADDRESS",
        help="server of the model, HOST:PORT (gRPC) or http://HOST:PORT (REST)",
    )
    made.add_argument("--persons", type=positive(int), default=5, metavar="N", help="people tracked at once")
    made.add_argument(
        "--privacy", choices=PRIVACY, default="none", help="what pictures show of people, on the page and in files"
    )
    made.add_argument("--write", default="", metavar="FILE", help="write what is shown into a video, .mp4 or .mkv")
    made.add_argument("--seconds", type=positive(float), metavar="N", help="stop after N seconds")
    made.add_argument("--name", default="", help="name of the camera in events; by default the source")
    group = made.add_argument_group("answers")
    group.add_argument(
        "--window", default="", metavar="LENGTH", help="length of a window: seconds (2.5s) or frames at 30 per second; "
        "by default the network's frames x stride, for poses alone 2s"
    )  # fmt: skip
    group.add_argument("--stride", default="0.5s", metavar="LENGTH", help="distance between windows")
    group.add_argument(
        "--smooth", default="exponential:0.5", metavar="HOW", help="none, mean:WINDOWS, exponential:WEIGHT"
    )
    group.add_argument(
        "--calibration", default="", metavar="FILE", help="calibration.json of a run; by default the export's, if any"
    )
    group.add_argument(
        "--unknown-below", type=_fraction, metavar="P", help="probability below which the activity is unknown; by "
        "default as calibrated"
    )  # fmt: skip
    group.add_argument(
        "--fps", type=positive(float), default=0.0, help="frames per second of a file or folder; by default the file's"
    )
    group.add_argument("--pose-model", default="full", metavar="NAME", help="lite, full, heavy or a .task file")
    group.add_argument("--crop", action=argparse.BooleanOptionalAction, help="cut pictures out around each person; by "
                       "default as the model was trained")  # fmt: skip
    group = made.add_argument_group("events")
    group.add_argument("--rules", default="", metavar="FILE", help="YAML file: which activities make events")
    group.add_argument(
        "--events",
        action="append",
        default=[],
        metavar="TO",
        help="where events go, may be repeated: - (stdout), a file, http(s)://... (a webhook), mqtt(s)://...",
    )
    group.add_argument(
        "--spool", default="", metavar="DIR", help="folder of undelivered events; by default in the cache"
    )
    page.add_arguments(made)
    return made


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


_fraction.__name__ = "fraction"


def settings_of(arguments: argparse.Namespace) -> LiveSettings:
    """The settings that the arguments of :func:`parser` give."""
    names = {field.name for field in dataclasses.fields(LiveSettings)} - {"source", "events"}
    values = {key: value for key, value in vars(arguments).items() if key in names}
    return LiveSettings(source=arguments.camera, events=tuple(arguments.events), **values)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until time is up, a signal comes or, without a page, the source ends; returns the exit status."""
    command_line.quiet_tensorflow()
    arguments = parser().parse_args(argv)
    session = LiveSession(settings_of(arguments))
    shown = page.from_arguments(session, arguments)
    with contextlib.closing(command_line.StopSignals()) as signals:
        try:
            session.start()
            if shown is not None:
                shown.start()
                messages.note(f"the page is at {shown.url}")
            _watch(session, signals, arguments.seconds, ends=shown is None)
        finally:
            if shown is not None:
                shown.stop()
            session.stop()
    messages.note(session.summary())
    if session.error is not None:
        raise session.error
    return 0


def _watch(session: LiveSession, signals: command_line.StopSignals, seconds: float | None, ends: bool) -> None:
    """Prints status lines until time is up, a signal comes or, if ``ends``, the source has ended."""
    now = time.monotonic()
    end, due = now + (seconds or float("inf")), now + STATUS_SECONDS
    while time.monotonic() < end and not signals.wait(min(0.5, max(end - time.monotonic(), 0.01))):
        if session.wait(0):
            if ends:
                return
            session.tidy()
        if time.monotonic() >= due:
            if session.running:
                messages.note(session.state.status)
            due += STATUS_SECONDS
