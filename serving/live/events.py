"""Events, and where they go: lines of JSON, a webhook, MQTT. Each receiver has a spool and a thread of its own.

::

    rules ─► event with an id ─► spool of each receiver, on disk ─► its thread delivers until it succeeds ─► removed

Events are delivered in order and at least once; a repeated delivery has the same id. An event states what a person did
and when; it contains no picture and no pose.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from serving import urls
from serving.live.backoff import Backoff
from serving.live.rules import Match, Rule
from serving.live.spool import Event, Spool
from zoo.shared import cache, files, messages
from zoo.shared.errors import UserError

TIMEOUT = 10.0  # seconds for a receiver to take an event
LAST_SECONDS = 3.0  # for which delivery continues after a stop; the rest stays in the spool for the next start
_REFUSED = (400, 413, 422)  # HTTP statuses after which a repetition cannot succeed either
_MQTT_PORT, _MQTTS_PORT = 1883, 8883
_DISCOVERY = "homeassistant"  # prefix of the topics in which Home Assistant looks for devices
_IN_PATHS = "/%:@!$&'()*+,;=~"  # characters that need no quoting in a path
_TOPIC = "adl"


def make(match: Match, camera: str, epoch: Callable[[float], float]) -> Event:
    """The event of a rule that was triggered.

    Returns:
        A dictionary of JSON values: ``id`` (unique to this event), ``time`` (of the newest frame, seconds since the
        epoch), ``rule``, ``label``, ``probability``, ``person`` (number; -1: the whole frame), ``camera``, ``start``
        (since when the rule holds) and ``duration`` (seconds from ``start`` to ``time``).
    """
    answer = match.answer
    return {
        "id": uuid.uuid4().hex,
        "time": round(epoch(answer.end), 3),
        "rule": match.rule.name,
        "label": answer.label,
        "probability": round(answer.probability, 4),
        "person": answer.track,
        "camera": camera,
        "start": round(epoch(match.since), 3),
        "duration": round(answer.end - match.since, 3),
    }


class _Failed(Exception):
    """An event was not delivered; another attempt may succeed."""


class _Refused(Exception):
    """The receiver will never take this event."""


class Receiver(Protocol):
    """Takes events.

    Attributes:
        name: Name for messages, without a password.
    """

    name: str

    def deliver(self, event: Event) -> None:
        """Returns once the receiver has the event; raises ``_Failed`` or ``_Refused``."""

    def close(self) -> None:
        """Frees what it holds."""


class Lines:
    """Writes events as lines of JSON, into a file or to stdout."""

    def __init__(self, path: str) -> None:
        self.name = "stdout" if path == "-" else path
        self._path = None if path == "-" else pathlib.Path(path)
        if self._path is not None and not self._path.absolute().parent.is_dir():
            raise UserError(f"--events {path}: no such folder, expected -, a file, http://... or mqtt://...")
        if self._path is not None and self._path.is_dir():
            raise UserError(f"--events {path}: is a folder, expected the name of a file in it")

    def deliver(self, event: Event) -> None:
        """As of :class:`Receiver`."""
        line = json.dumps(event, ensure_ascii=False) + "\n"
        try:
            if self._path is None:
                sys.stdout.write(line)
                sys.stdout.flush()
                return
            with self._path.open("a+b") as file:
                _end_last_line(file)
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except (OSError, ValueError) as error:  # ValueError: stdout is closed
            raise _Failed(getattr(error, "strerror", None) or str(error)) from None

    def close(self) -> None:
        """Nothing is held."""


def _end_last_line(file: Any) -> None:
    """Ends an incomplete last line, which a killed process or a full disk has left."""
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


def _parsed(
    address: str,
) -> tuple[urllib.parse.SplitResult, str, int | None, tuple[str, str] | None] | None:
    """Parts, host, port and ``(user, password)`` of a receiver's address; ``None`` without a valid host."""
    found = urls.split(address)
    if found is None:
        return None
    parts, host, port = found
    if parts.username is None:
        return parts, host, port, None
    return parts, host, port, (urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would send the redirected request without a body, and the event would be lost."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Webhook:
    """Posts events as JSON to an address."""

    def __init__(self, address: str) -> None:
        self.name = messages.without_password(address)
        found = _parsed(address)
        if found is None:
            raise UserError(f"--events {self.name}: no host in the address")
        parts, host, port, account = found
        host = f"[{host}]" if ":" in host else host
        netloc = f"{host}:{port}" if port else host
        path = urllib.parse.quote(parts.path or "/", safe=_IN_PATHS)  # such as letters beyond ASCII
        query = urllib.parse.quote(parts.query, safe=f"{_IN_PATHS}?")
        self._address = urllib.parse.urlunsplit((parts.scheme, netloc, path, query, ""))
        self._headers = {"Content-Type": "application/json", "User-Agent": "keras-adl-zoo"}
        if account is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(":".join(account).encode()).decode()
        self._opener = urllib.request.build_opener(_NoRedirect)

    def deliver(self, event: Event) -> None:
        """As of :class:`Receiver`."""
        body = json.dumps(event).encode()
        headers = {**self._headers, "Idempotency-Key": event["id"]}
        request = urllib.request.Request(self._address, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                response.read(1 << 16)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _REFUSED:
                raise _Refused(f"HTTP status {error.code}") from None
            raise _Failed(f"HTTP status {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            raise _Failed(urls.failure(error)) from None

    def close(self) -> None:
        """Nothing is held."""


class Mqtt:
    """Publishes events under ``adl/<camera>/<rule>``, with topics by which Home Assistant discovers the rules."""

    def __init__(self, address: str, camera: str, rules: Sequence[Rule]) -> None:
        self.name = messages.without_password(address)
        try:
            from paho.mqtt import client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ModuleNotFoundError:
            raise UserError("events over MQTT need the package paho-mqtt: pip install 'keras-adl-zoo[mqtt]'") from None
        found = _parsed(address)
        if found is None:
            raise UserError(f"--events {self.name}: no host in the address, expected mqtt://HOST or mqtt://HOST:PORT")
        parts, host, port, account = found
        self._camera, self._rules = camera, rules
        self._topic = f"{parts.path.strip('/') or _TOPIC}/{_topic_name(camera)}"
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"adl-{uuid.uuid4().hex[:12]}")
        if account is not None:
            self._client.username_pw_set(*account)
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(f"{self._topic}/status", "offline", qos=1, retain=True)
        self._client.on_connect = self._connected
        self._client.reconnect_delay_set(1, 30)
        self._ready = threading.Event()
        self._client.on_disconnect = lambda *_: self._ready.clear()
        self._reason = "no connection"
        self._client.connect_async(host, port or (_MQTTS_PORT if parts.scheme == "mqtts" else _MQTT_PORT))
        self._client.loop_start()

    def _connected(self, client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._reason = f"the broker refuses the connection: {reason}"
            return
        for topic, value in self._discovery():
            client.publish(topic, json.dumps(value), qos=1, retain=True)
        client.publish(f"{self._topic}/status", "online", qos=1, retain=True)
        self._ready.set()

    def _discovery(self) -> list[tuple[str, dict[str, Any]]]:
        """Topics and messages by which Home Assistant makes a binary sensor of each rule."""
        node = f"adl_{_topic_name(self._camera)}"
        device = {"identifiers": [node], "name": f"Activities, {self._camera}", "manufacturer": "keras-adl-zoo"}
        found = []
        for rule in self._rules:
            topic = f"{self._topic}/{rule.name}"
            value = {
                "name": rule.name,
                "unique_id": f"{node}_{rule.name}",
                "state_topic": topic,
                "value_template": "{{ 'ON' if value_json.rule is defined else 'OFF' }}",
                "off_delay": max(round(rule.cooldown), 1),
                "json_attributes_topic": topic,
                "availability_topic": f"{self._topic}/status",
                "device": device,
            }
            found.append((f"{_DISCOVERY}/binary_sensor/{node}/{rule.name}/config", value))
        return found

    def deliver(self, event: Event) -> None:
        """As of :class:`Receiver`."""
        if not self._ready.wait(TIMEOUT):
            raise _Failed(self._reason)
        sent = self._client.publish(f"{self._topic}/{event['rule']}", json.dumps(event), qos=1)
        try:
            sent.wait_for_publish(TIMEOUT)
            delivered = sent.is_published()
        except (RuntimeError, ValueError) as error:
            raise _Failed(messages.one_line(error)) from None
        if not delivered:
            raise _Failed("the broker does not confirm it")

    def close(self) -> None:
        """Publishes the status ``offline`` and disconnects from the broker."""
        if self._ready.is_set():
            with contextlib.suppress(RuntimeError, ValueError):
                self._client.publish(f"{self._topic}/status", "offline", qos=1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()


def _slug(text: str) -> str:
    """A name in a form that topics and file names may contain."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:64] or "camera"


def _topic_name(camera: str) -> str:
    """A camera's name in topics; a digest tells names apart that differ only in letters beyond ASCII."""
    return _slug(camera) if camera.isascii() else f"{_slug(camera)}_{_digest(camera)}"


def receiver(text: str, camera: str, rules: Sequence[Rule]) -> Receiver:
    """The receiver that a text names: ``-``, a file, ``http(s)://...`` or ``mqtt(s)://...``.

    Raises:
        UserError: There is no such receiver, or what it needs is missing.
    """
    scheme, separator, _ = text.partition("://")
    if not separator:
        return Lines(text)
    if scheme in ("http", "https"):
        return Webhook(text)
    if scheme in ("mqtt", "mqtts"):
        return Mqtt(text, camera, rules)
    raise UserError(f"--events {messages.without_password(text)}: expected -, a file, http(s)://... or mqtt(s)://...")


class Delivery:
    """Delivers events to one receiver in a thread of its own.

    Args:
        to: The :class:`Receiver`.
        spool: Its :class:`~serving.live.spool.Spool`.
    """

    def __init__(self, to: Receiver, spool: Spool) -> None:
        self._to, self.spool = to, spool
        self._stopping, self._left = threading.Event(), threading.Event()
        self._until = float("inf")
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begins to deliver the events that wait."""
        if len(self.spool):
            messages.note(f"{self._to.name}: {len(self.spool)} events from before wait to be delivered")
        self._thread.start()

    def stop(self) -> None:
        """Stops after at most :data:`LAST_SECONDS` of further deliveries; the events left stay in the spool."""
        self._until = time.monotonic() + LAST_SECONDS
        self._stopping.set()
        self._thread.join(LAST_SECONDS)
        self._left.set()  # a receiver that does not answer may block the thread for longer
        left = len(self.spool)
        if left:
            messages.note(f"{self._to.name}: {left} events are kept and delivered at the next start")
        self.close()

    def close(self) -> None:
        """Frees what the receiver holds."""
        self._to.close()

    def _run(self) -> None:
        pauses, away = Backoff(), False
        while time.monotonic() < self._until:
            waiting = self.spool.first(0.2)
            if waiting is None:
                if self._stopping.is_set():
                    return
                continue
            name, event = waiting
            try:
                self._to.deliver(event)
                if self._left.is_set():
                    return  # another session may use the spool now, and delivers the event again under the same id
            except _Refused as reason:
                messages.warn(f"{self._to.name} refuses the event {event['id']} ({reason}): it is left out")
            except Exception as reason:  # _Failed, or an error of a library: the thread continues
                if self._left.is_set():
                    return
                if not away:
                    text = messages.one_line(reason) or type(reason).__name__
                    messages.warn(f"{self._to.name}: an event is not delivered ({text}); it is kept and tried again")
                away = True
                if self._stopping.wait(pauses.next()):
                    return
                continue
            else:
                if away:
                    messages.note(f"{self._to.name} takes events again")
                away = False
                pauses.reset()
            self.spool.remove(name)


class Outputs:
    """All receivers of a session's events.

    Args:
        texts: Receivers, as :func:`receiver` reads them.
        camera: Name of the source.
        rules: The rules.
        folder: Folder of the spools; empty: one in the cache, for this camera.

    Raises:
        UserError: As of :func:`receiver`; or the folder cannot be written, or another process uses it.
    """

    def __init__(self, texts: Sequence[str], camera: str, rules: Sequence[Rule], folder: str = "") -> None:
        self._stack = contextlib.ExitStack()
        self._deliveries: list[Delivery] = []
        if not texts:
            return
        root = pathlib.Path(folder) if folder else cache.folder("live") / f"{_slug(camera)}-{_digest(camera)}"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)  # events are private: readable by this user alone
            busy = f"{root}: another process keeps its events there: give another folder with --spool"
            self._stack.enter_context(files.locked(root / ".lock", busy))
            for text in dict.fromkeys(texts):
                to = receiver(text, camera, rules)
                self._deliveries.append(Delivery(to, Spool(root / f"{_slug(to.name)}-{_digest(text)}")))
        except OSError as error:
            self._close()
            raise UserError(f"--spool {root}: cannot be written ({error.strerror}), give another folder") from None
        except UserError:
            self._close()
            raise

    def _close(self) -> None:
        for delivery in self._deliveries:
            delivery.close()
        self._stack.close()

    def start(self) -> None:
        """Begins to deliver."""
        for delivery in self._deliveries:
            delivery.start()

    def put(self, event: Event) -> None:
        """Sends an event to all receivers."""
        for delivery in self._deliveries:
            delivery.spool.put(event)

    def stop(self) -> None:
        """Ends all deliveries."""
        stopping = [threading.Thread(target=delivery.stop) for delivery in self._deliveries]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        self._stack.close()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
