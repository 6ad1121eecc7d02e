"""Rules: what is refused, and when an event happens."""

import dataclasses
import threading

import pytest

from serving.client.prediction import Prediction
from serving.live import rules
from serving.live.answers import Answer, Answers
from serving.live.rules import Engine, Rule
from serving.live.state import UNKNOWN
from zoo.shared.errors import UserError

BOX, ELSEWHERE = (10, 10, 50, 90), (200, 10, 240, 90)


def answer(seconds, label="fall", probability=0.8, track=0):
    return Answer(track, label, probability, ((label, probability),), seconds, seconds, label)


def test_read(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        "fall: {classes: [falling, lying], probability: 0.7, duration: 1, cooldown: 30}\n"
        "odd: {classes: unknown, smoothed: false}\n"
    )
    found = rules.read(path)
    assert found == [Rule("fall", ("falling", "lying"), 0.7, 1.0, 30.0), Rule("odd", (UNKNOWN,), smoothed=False)]
    rules.check_classes(found, ["falling", "lying"], "rules.yaml")
    with pytest.raises(UserError, match=r"rules.yaml: fall.classes: no class 'lying', did you mean 'flying'"):
        rules.check_classes(found, ["falling", "flying"], "rules.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected rules by their names"),
        ("- fall", "expected rules by their names"),
        ("fall: [", "not valid YAML"),
        ("fall: {classes: a}\nfall: {classes: b}", "'fall' comes twice"),
        ("fall: 3", "fall is 3, expected keys"),
        ("fa/ll: {classes: a}", "fa/ll: expected a name of letters a to z"),
        ("fall: {probability: 0.7}", "fall.classes is missing"),
        ("fall: {classes: []}", r"fall.classes is \[\]"),
        ("fall: {classes: [1]}", r"fall.classes is \[1\]"),
        ("fall: {classes: a, probabilty: 0.7}", "fall.probabilty: unknown key, did you mean 'probability'"),
        ("fall: {classes: a, probability: 70}", "fall.probability is 70, expected a number from 0 to 1"),
        ("fall: {classes: a, probability: yes}", "fall.probability is True"),
        ("fall: {classes: a, duration: -1}", "fall.duration is -1, expected seconds"),
        ("fall: {classes: a, cooldown: .nan}", "fall.cooldown is nan"),
        ("fall: {classes: a, smoothed: none}", "fall.smoothed is 'none', expected true or false"),
        (f"fall: {{classes: a, cooldown: 1{'0' * 400}}}", "fall.cooldown is 1000"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(tmp_path, text, message):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        rules.read(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))


def test_duration_counts_without_a_break():
    engine = Engine([Rule("fall", ("fall",), probability=0.5, duration=1.0)])
    given = [(0.0, 0.8), (0.6, 0.8), (1.2, 0.4), (1.8, 0.8), (2.4, 0.8), (3.0, 0.8)]
    found = [engine.update(answer(seconds, probability=p), BOX) for seconds, p in given]
    assert [len(matches) for matches in found] == [0, 0, 0, 0, 0, 1]
    assert found[-1][0].since == 1.8
    # So long without any answer is a break, too.
    engine = Engine([Rule("fall", ("fall",), duration=1.0)])
    assert not engine.update(answer(0.0), BOX)
    assert not engine.update(answer(9.0), BOX)
    assert engine.update(answer(13.0), BOX, pause=12.0)  # answers that are as far apart as the stride are none


def test_a_person_sets_a_rule_off_once_in_its_cooldown():
    engine = Engine([Rule("fall", ("fall",), cooldown=10.0)])
    assert engine.update(answer(0.0), BOX)
    assert not engine.update(answer(1.0), BOX)
    assert not engine.update(answer(2.0, track=7), BOX)  # lost and found: another number in the same place
    assert engine.update(answer(3.0, track=8), ELSEWHERE)  # somebody else
    assert engine.update(answer(10.0), BOX)


def test_who_was_there_at_the_same_time_is_somebody_else():
    """Also where the boxes overlap, and after the other one has gone."""
    engine = Engine([Rule("fall", ("fall",), cooldown=60.0)])
    assert engine.update(answer(0.0, "upright", track=8), BOX) == []
    assert engine.update(answer(0.0), BOX)
    assert engine.update(answer(20.0, track=8), BOX)
    assert engine.update(answer(21.0, "upright", track=9), BOX) == []
    assert not engine.update(answer(22.0, track=9), BOX)  # was never seen beside them: one of them, found again


def test_what_is_brief_is_not_smoothed_away():
    slow = Rule("slow", ("fall",), probability=0.7)
    engine = Engine([slow, dataclasses.replace(slow, name="brief", smoothed=False)])
    given = Answers("exponential:0.5", 1.0, 0.0, lambda seconds: seconds, lambda segment: None)
    found = []
    for seconds, probability in ((1.0, 0.1), (1.5, 0.1), (2.0, 0.95), (2.5, 0.3)):
        scores = {"fall": probability, "upright": 1 - probability}
        prediction = Prediction("made up", None, "", (), ()).reordered(scores)
        matches = engine.update(given.add(0, seconds - 2, seconds, prediction, seconds), BOX)
        found += [(match.rule.name, match.answer.end, match.answer.probability) for match in matches]
    assert found == [("brief", 2.0, 0.95)]


def test_unknown_is_a_class_of_its_own():
    engine = Engine([Rule("odd", (UNKNOWN,), probability=0.5), Rule("fall", ("fall",), probability=0.0)])
    (match,) = engine.update(answer(0.0, UNKNOWN, 0.1), BOX)
    assert match.rule.name == "odd"


def test_persons_are_forgotten_in_one_thread_while_another_takes_answers():
    """The thread that watches the camera forgets them where it is away; answers may still come."""
    engine = Engine([Rule("fall", ("fall",), duration=5.0)])
    engine.update(answer(0.0), BOX)
    coming = threading.Thread(target=engine.update, args=(answer(0.5, track=1), ELSEWHERE))

    class Known(set):
        def __contains__(self, track):
            if not coming.ident:
                coming.start()
                coming.join(0.2)
            return super().__contains__(track)

    engine.keep_only(Known({0}))
    coming.join()
    assert engine.update(answer(2.5), BOX) == []
    (match,) = engine.update(answer(5.0), BOX)
    assert match.since == 0.0
