"""Answers of persons: calibrated, smoothed, unknown below a threshold, joined to segments with hysteresis."""

import numpy as np
import pytest

from serving.client.prediction import Prediction
from serving.live import calibration
from serving.live.answers import Answers
from serving.live.people import Shown
from serving.live.state import UNKNOWN
from zoo.shared.errors import UserError


def prediction(**probability_of):
    labels = tuple(sorted(probability_of, key=lambda label: -probability_of[label]))
    return Prediction("m", 1, "s", labels, tuple(probability_of[label] for label in labels))


def make(temperature=1.0, threshold=0.0, smooth="none"):
    segments = {}
    put = lambda one: segments.update({(one.track, one.start): one})  # noqa: E731
    return Answers(smooth, temperature, threshold, lambda seconds: seconds + 100, put), segments


def feed(answers, track, labels, start=0.0, stride=0.5, probability=0.6):
    """Answers a stride apart, each of a window of a second."""
    for number, label in enumerate(labels):
        end = start + 1 + number * stride
        others = dict.fromkeys({"drink", "sit"} - {label}, 1 - probability)
        last = answers.add(track, end - 1, end, prediction(**{label: probability}, **others), end)
    return last


def test_a_class_that_leads_for_a_moment_makes_no_segment():
    answers, segments = make()
    last = feed(answers, 0, ["drink", "drink", "sit", "drink", "drink"])
    assert last.label == last.segment == "drink"
    (segment,) = segments.values()
    assert (segment.label, segment.end) == ("drink", None)
    assert segment.start == 100.5  # the centre of the first window, seconds since the epoch
    last = feed(answers, 0, ["sit", "sit"], start=2.5)
    assert (last.label, last.segment) == ("sit", "drink")
    shown = answers.state(Shown(0, (0, 0, 9, 9), np.zeros((0, 2)), np.zeros(0, bool)), 4.0)
    assert (shown.label, shown.probability) == ("drink", pytest.approx(0.4))  # not the 0.6 of sitting down
    assert feed(answers, 0, ["sit"], start=3.5).segment == "sit"
    first, second = segments.values()
    assert first.end == second.start == 102.75  # halfway to the first window in which it leads
    answers.keep_only(set())
    assert [one.end for one in segments.values()] == [102.75, 104.5]  # ends with the last window
    assert answers.of(0) is None


def test_a_clock_that_is_set_back_leaves_segments_their_durations():
    now = [5000.0]
    segments = {}
    put = lambda one: segments.update({(one.track, one.start): one})  # noqa: E731
    answers = Answers("none", 1.0, 0.0, lambda seconds: seconds + now[0], put)
    feed(answers, 0, ["drink", "drink"])
    now[0] -= 3600.0
    feed(answers, 0, ["sit"], start=1.0, probability=0.9)
    answers.keep_only(set())
    first, second = segments.values()
    assert (first.label, first.start, first.end) == ("drink", 5000.5, 5001.25)
    assert (second.label, second.start, second.end) == ("sit", 1401.25, 1402.0)


def test_a_class_that_is_far_ahead_begins_a_segment_at_once():
    answers, segments = make()
    feed(answers, 0, ["drink"])
    assert feed(answers, 0, ["sit"], start=0.5, probability=0.9).segment == "sit"
    assert [one.label for one in segments.values()] == ["drink", "sit"]


def test_below_the_threshold_the_class_is_unknown():
    answers, _ = make(threshold=0.7)
    last = feed(answers, 0, ["drink"])
    assert (last.label, last.probability) == (UNKNOWN, 0.6)
    assert last.top[0] == ("drink", 0.6)
    assert feed(answers, 1, ["drink"], probability=0.9).label == "drink"
    hot, _ = make(temperature=2.0, threshold=0.7)
    assert feed(hot, 0, ["drink"], probability=0.8).probability == pytest.approx(2 / 3)  # sqrt(0.8) : sqrt(0.2) = 2 : 1


def test_calibration_of_a_run_or_its_export(tmp_path):
    assets = tmp_path / "assets"
    assets.mkdir()
    assert calibration.of("", tmp_path) == calibration.Calibration(1.0, 0.0)
    (assets / "calibration.json").write_text('{"temperature": 1.5, "unknown_below": 0.4}')
    assert calibration.of("", tmp_path) == calibration.Calibration(1.5, 0.4)
    own = tmp_path / "own.json"
    own.write_text('{"temperature": 2.0, "unknown_below": null}')
    assert calibration.of(own, tmp_path) == calibration.Calibration(2.0, 0.0)
    for text in ("[]", '{"temperature": 0, "unknown_below": 0.4}', '{"temperature": 1}'):
        own.write_text(text)
        with pytest.raises(UserError, match=r"own\.json: expected"):
            calibration.of(own, None)


def test_what_goes_on_ends_where_nobody_is_seen_or_answered():
    """The last answer stays known, so that its age can be shown; what comes afterwards is a segment of its own."""
    answers, segments = make()
    feed(answers, 0, ["drink", "drink"])
    answers.end_segments()
    (segment,) = segments.values()
    assert segment.end == 101.5
    assert answers.of(0).label == "drink"
    assert feed(answers, 0, ["drink"], start=60.0).segment == "drink"
    assert [(one.start, one.end) for one in segments.values()] == [(100.5, 101.5), (160.5, None)]


@pytest.mark.parametrize("smooth", ["exponential:0.5", "mean:3"])
def test_after_a_pause_answers_and_times_are_not_smoothed_with_those_before_it(smooth):
    answers, segments = make(smooth=smooth)
    feed(answers, 0, ["drink"] * 6, probability=0.9)
    answers.end_segments()
    last = feed(answers, 0, ["sit"], start=600.0)
    assert (last.label, last.probability) == ("sit", pytest.approx(0.6))
    assert [(one.label, one.start, one.end) for one in segments.values()] == [
        ("drink", 100.5, 103.5),
        ("sit", 700.5, None),
    ]
