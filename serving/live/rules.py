"""Rules: when something that a person does becomes an event.

A file of rules::

    fall:                          # the rule's name
      classes: [falling, lying]    # or one class; "unknown": below the calibrated threshold
      probability: 0.7             # at least; default 0.5 (not applied to "unknown")
      duration: 1.0                # seconds at least; default 0
      cooldown: 60                 # seconds until the same person can trigger it again; default 60
      smoothed: false              # whether probabilities are smoothed over windows; default true
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from serving.live.answers import Answer
from serving.live.state import UNKNOWN
from zoo.shared import messages, yaml_text
from zoo.shared.errors import UserError

_SAME_PLACE = 0.3  # least overlap of boxes at which a new number counts as the person who triggered the rule before
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST = 366 * 86400.0  # seconds
_PAUSE = 3.0  # seconds without an answer after which a rule's duration starts again from 0

Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A condition that makes an event.

    Attributes:
        name: The rule's name.
        classes: One of these classes must be the most probable.
        probability: Least probability of that class; not applied to "unknown".
        duration: Seconds for which both must hold without a break.
        cooldown: Seconds after an event in which the same person triggers no other.
        smoothed: Whether label and probability are smoothed over windows. A short action, such as a fall, is over
            before smoothed probabilities have risen.
    """

    name: str
    classes: tuple[str, ...]
    probability: float = 0.5
    duration: float = 0.0
    cooldown: float = 60.0
    smoothed: bool = True

    def holds(self, answer: Answer) -> bool:
        """Whether an answer has a class and probability that the rule asks for."""
        if answer.label == UNKNOWN:
            return UNKNOWN in self.classes
        return answer.label in self.classes and answer.probability >= self.probability


def read(path: str | os.PathLike) -> list[Rule]:
    """The rules of a YAML file.

    Raises:
        UserError: The file cannot be read, or a key or value is wrong; the message names it in one line.
    """
    values = yaml_text.read(path, str(path))
    if not isinstance(values, dict) or not values:
        raise UserError(
            f"{path}: expected rules by their names, such as `fall: {{classes: falling, probability: 0.7}}`"
        )
    return [_rule(name, value, f"{path}: {name}") for name, value in values.items()]


def check_classes(rules: Sequence[Rule], classes: Sequence[str], path: str) -> None:
    """Raises :class:`UserError` for a class that the model does not have: its rule could never hold."""
    valid = [*classes, UNKNOWN]
    for rule in rules:
        for name in rule.classes:
            if name not in valid:
                raise UserError(f"{path}: {rule.name}.classes: no class {name!r}{messages.nearest(name, valid)}")


def _rule(name: Any, value: Any, where: str) -> Rule:
    if not isinstance(name, str) or not name or not set(name) <= _NAME:
        raise UserError(f"{where}: expected a name of letters a to z, digits, _ and -: it becomes part of topics")
    if not isinstance(value, Mapping):
        raise UserError(f"{where} is {value!r}, expected keys such as classes and probability")
    valid = [field.name for field in dataclasses.fields(Rule)][1:]
    for key in value:
        if key not in valid:
            raise UserError(f"{where}.{key}: unknown key{messages.nearest(key, valid)}")
    if "classes" not in value:
        raise UserError(f"{where}.classes is missing: which classes of the model is the rule about?")
    classes = value["classes"] if isinstance(value["classes"], list) else [value["classes"]]
    if not classes or not all(isinstance(one, str) and one for one in classes):
        raise UserError(f"{where}.classes is {value['classes']!r}, expected a class or a list of classes")
    named = [key for key in ("probability", "duration", "cooldown") if key in value]
    numbers = {key: _number(value[key], key, f"{where}.{key}") for key in named}
    smoothed = value.get("smoothed", True)
    if not isinstance(smoothed, bool):
        raise UserError(f"{where}.smoothed is {smoothed!r}, expected true or false")
    return Rule(name, tuple(classes), **numbers, smoothed=smoothed)


def _number(value: Any, key: str, where: str) -> float:
    highest = 1.0 if key == "probability" else _LONGEST
    expected = "a number from 0 to 1" if key == "probability" else "seconds, from 0 to a year"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= highest:
        raise UserError(f"{where} is {value!r}, expected {expected}")
    return float(value)


@dataclasses.dataclass(frozen=True)
class Match:
    """A rule that was triggered.

    Attributes:
        rule: The rule.
        answer: The answer that triggered it.
        since: Since when the rule holds, by ``time.monotonic``.
    """

    rule: Rule
    answer: Answer
    since: float


@dataclasses.dataclass
class _Fired:
    """When, by whom and where a rule was triggered, and the numbers of others seen in a frame with that person."""

    end: float
    track: int
    box: Box
    others: set[int]


class Engine:
    """Finds answers that trigger rules; safe to use from several threads.

    Args:
        rules: The rules.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._lock = threading.Lock()
        self._since: dict[tuple[str, int], tuple[float, float]] = {}  # rule, person -> since when, and the last answer
        self._fired: dict[str, list[_Fired]] = {}  # by rule
        self._together: tuple[float, set[int]] = 0.0, set()  # time of the newest answered frame, and who is in it

    def update(self, answer: Answer, box: Box, pause: float = _PAUSE) -> list[Match]:
        """Takes the next answer of a person.

        Args:
            answer: The answer; answers for several people in the same frame have the same ``end``.
            box: The person's bounding box.
            pause: Seconds without an answer after which a rule's duration starts again from 0.
        """
        given = ((rule, answer if rule.smoothed else answer.of_window()) for rule in self._rules)
        with self._lock:
            self._note_who_is_there(answer)
            found = (self._match(rule, one, box, pause) for rule, one in given)
            return [match for match in found if match is not None]

    def _note_who_is_there(self, answer: Answer) -> None:
        """Notes who is seen in the same frame: these are different people, even if their boxes overlap."""
        end, tracks = self._together
        tracks = {*tracks, answer.track} if end == answer.end else {answer.track}
        self._together = answer.end, tracks
        for fired in itertools.chain(*self._fired.values()):
            if fired.track in tracks:
                fired.others |= tracks - {fired.track}

    def _match(self, rule: Rule, answer: Answer, box: Box, pause: float) -> Match | None:
        key = rule.name, answer.track
        if not rule.holds(answer):
            self._since.pop(key, None)
            return None
        since, last = self._since.get(key, (answer.end, answer.end))
        since = answer.end if answer.end - last > pause else since
        self._since[key] = since, answer.end
        if answer.end - since < rule.duration or self._is_cooling(rule, answer, box):
            return None
        others = self._together[1] - {answer.track}
        self._fired.setdefault(rule.name, []).append(_Fired(answer.end, answer.track, box, others))
        return Match(rule, answer, since)

    def _is_cooling(self, rule: Rule, answer: Answer, box: Box) -> bool:
        """Whether the person triggered the rule less than a cooldown ago, perhaps under another number at this box."""
        recent = [one for one in self._fired.get(rule.name, []) if answer.end - one.end < rule.cooldown]
        self._fired[rule.name] = recent
        return any(
            one.track == answer.track or (answer.track not in one.others and _overlap(one.box, box) >= _SAME_PLACE)
            for one in recent
        )

    def keep_only(self, tracks: set[int]) -> None:
        """Forgets all other persons."""
        with self._lock:
            self._since = {key: value for key, value in self._since.items() if key[1] in tracks}


def _overlap(first: Box, second: Box) -> float:
    """Intersection over union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - common
    return common / both if both > 0 else 0.0
