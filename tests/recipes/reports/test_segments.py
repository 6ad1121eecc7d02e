"""Metrics of untrimmed video on examples done by hand."""

import numpy as np
import pytest

from recipes.reports import segments
from recipes.reports.segments import Span, Video


def video(truth, predicted, scores=None):
    predicted = np.array(predicted)
    return Video(np.array(truth), predicted, np.ones(len(predicted)) if scores is None else np.array(scores))


# True: A in frames 0 to 3, B in 4 to 9. Predicted: A in 0 to 5, B in 6 and 7, A in 8, B in 9.
# A: 4 of 6 frames (0.67). B in 6 and 7: 2 of 6 (0.33). A in 8: no overlap. B in 9: 1 of 6 (0.17), its truth is taken.
TRUTH, PREDICTED = [0] * 4 + [1] * 6, [0] * 6 + [1] * 2 + [0, 1]


@pytest.mark.parametrize(
    ("overlap", "right"),
    [(0.1, 2), (0.25, 2), (0.5, 1), (0.7, 0)],
)
def test_segments_are_right_at_an_overlap(overlap, right):
    assert segments.segment_f1([video(TRUTH, PREDICTED)], overlap) == pytest.approx(2 * right / (4 + 2))


def test_frames_and_segments_of_several_videos_count_together():
    videos = [video(TRUTH, PREDICTED), video([2] * 5, [2] * 5)]
    assert segments.frame_accuracy(videos) == pytest.approx((4 + 3 + 5) / 15)
    assert segments.segment_f1(videos, 0.5) == pytest.approx(2 * 2 / (5 + 3))


def test_frames_without_a_label_are_taken_out():
    with_gaps = video([-1, -1, 0, 0, -1, 1, 1, -1], [1, 0, 0, 0, 0, 1, 1, 2])
    assert segments.frame_accuracy([with_gaps]) == 1
    assert segments.segment_f1([with_gaps], 0.5) == 1
    assert np.isnan(segments.frame_accuracy([video([-1], [0])]))


def test_frames_without_a_prediction_are_wrong():
    assert segments.frame_accuracy([video([0, 0], [0, -1])]) == 0.5


def test_average_precision_goes_through_the_segments_by_probability():
    # Class 0 is true in frames 0 to 3 and 6 to 9. Predicted there: 0 to 3 (0.9), none at 4 (0.8), 6 to 9 (0.7), in
    # another video without it (0.75). In order: right, wrong, wrong, right. Precision at the hits: 1/1 and 2/4.
    first = video(
        [0] * 4 + [1] * 2 + [0] * 4,
        [0] * 4 + [1, 0] + [1] * 0 + [-1] * 0 + [0] * 4,
        [0.9] * 4 + [0.1, 0.6] + [0.6] * 4,
    )
    second = video([1] * 4, [1, 0, 0, 1], [0.5, 0.75, 0.75, 0.5])
    # Frame 5 is predicted with 6 to 9: a span of 5 frames, which overlaps 4 of 5.
    assert segments.average_precision([first, second], 0, 0.5) == pytest.approx((1 + 2 / 3) / 2)
    assert segments.average_precision([first, second], 0, 0.9) == pytest.approx(1 / 2)
    # Class 1: 4 and 5 in the first video (1 of 2 frames), all of the second, of which two single frames are predicted.
    assert segments.average_precision([first, second], 1, 0.5) == pytest.approx((1 / 3) / 2)
    assert np.isnan(segments.average_precision([first, second], 2, 0.5))
    mean = (1 / 2 * (1 + 2 / 3) + 1 / 6) / 2
    assert segments.mean_average_precision([first, second], 3, 0.5) == pytest.approx(mean)


def test_a_true_segment_is_matched_once():
    twice = video([0] * 8, [0, 0, 0, 1, 0, 0, 0, 0], [0.9] * 3 + [0.5] + [0.6] * 4)
    assert segments.average_precision([twice], 0, 0.3) == 1  # the second is wrong, after all are found
    assert segments.average_precision([twice], 0, 0.45) == pytest.approx(1 / 2)
    assert segments.segment_f1([twice], 0.3) == pytest.approx(2 / (3 + 1))


def test_overlap_is_intersection_over_union():
    assert Span(0, 0, 4).overlap(Span(0, 2, 6)) == pytest.approx(2 / 6)
    assert Span(0, 0, 2).overlap(Span(0, 2, 6)) == 0


def test_events_and_alarms():
    fall = np.array([2] * 10 + [0] * 10 + [1] * 80)  # at 10 frames per second it begins at 1 s and ends at 2 s
    quiet = np.full(3600, 2)
    raised = [[1.6], [0.9, 5.5], [], [], [10.0, 100.0]]
    found = segments.events([fall, fall, fall, quiet, quiet], raised, label=0, fps=10)
    assert (found.events, found.false_alarms, found.quiet, found.alarms_in_quiet) == (3, 2, 2, 2)
    assert found.delays == pytest.approx((0.6,))  # the second was raised before, and 3.5 s after
    assert (found.sensitivity, found.specificity) == (pytest.approx(1 / 3), 0.5)
    assert found.alarms_per_hour == pytest.approx(2 / (2 * 360 / 3600))
    both = segments.together([found, found])
    assert (both.events, len(both.delays), both.quiet_hours) == (6, 2, pytest.approx(0.4))
    assert (both.sensitivity, both.alarms_per_hour) == (found.sensitivity, pytest.approx(found.alarms_per_hour))


def test_an_event_goes_on_over_frames_without_a_label():
    truth = np.array([-1, -1] + [0] * 5 + [-1] * 3 + [0] * 5 + [2] * 10 + [0] * 5 + [-1] * 20)
    found = segments.events([truth], [[1.4, 2.6, 4.0]], label=0, fps=10)
    assert (found.events, found.false_alarms, found.quiet) == (2, 1, 0)
    assert found.delays == pytest.approx((1.2, 0.1))
    unlabelled = segments.events([np.full(10, -1)], [[0.5]], label=0, fps=10)
    assert (unlabelled.alarms_in_quiet, unlabelled.quiet_hours) == (1, pytest.approx(1 / 3600))


def test_an_alarm_is_not_repeated_while_it_lasts():
    nobody = float("nan")
    assert segments.alarms([0, 1, 2, 3], [0.9, nobody, 0.9, 0.9], 0.8) == [0]
    assert segments.alarms([0, 5, 9, 12], [0.9, 0.1, 0.9, 0.9], 0.8) == [0]  # the second comes within the cool-down
    assert segments.alarms([0, 5, 11], [0.9, 0.1, 0.8], 0.8) == [0, 11]
