"""Identities over time, on detections whose truth is known."""

import numpy as np
import pytest

from tests.tfrecords.estimation.fake_estimator import FPS, HEIGHT, LAYOUT, STANDING, WIDTH, person
from tfrecords.estimation import tracking
from tfrecords.estimation.estimator import Person


def walker(start, speed, depth):
    """Walks along x; ``walk(seconds)`` is the person then, his arms and legs swinging."""
    swing = np.array([1, -1, 0.5, -0.5, 0, 0, -0.8, 0.8, -0.4, 0.4, 0, 0, 0], np.float32)

    def walk(seconds):
        body = STANDING * (0.5, 1, 1)
        body[:, 0] += 0.25 * np.sin(2 * np.pi * abs(speed) * seconds) * np.sign(speed) * swing
        return person((start + speed * seconds, 0, depth), body)

    return walk


def numbers(walkers, seconds, *, found=lambda name, at: True, noise=0.0, fps=FPS, scale=1.0, twice=0.0):
    """Numbers ``[T]`` of each walker by name, ``None`` where he was not found."""
    rng, tracker = np.random.default_rng(0), tracking.Tracker()
    given = {name: [] for name in walkers}
    for at in np.arange(0, seconds, 1 / fps):
        everyone = []
        for name, walk in walkers.items():
            exact = walk(at)
            for _ in range((1 + (rng.random() < twice)) if found(name, at) else 0):
                spread = noise * tracking.size_of(exact.xy)
                xy = (exact.xy + rng.normal(0, spread, exact.xy.shape)) * scale
                everyone.append((name, Person(exact.xyz, xy.astype(np.float32), exact.confidence)))
        everyone = [everyone[index] for index in rng.permutation(len(everyone))]
        result = tracker.update([one for _, one in everyone], float(at))
        names = {id(one): name for name, one in everyone}
        now = {names[id(one)]: number for number, one in result.items()}
        assert len(now) == len(result), "a body found twice is followed twice"
        for name in walkers:
            given[name].append(now.get(name))
    return given


CROSSING = {"left": walker(-1.5, 1.0, 3.0), "right": walker(1.5, -1.2, 3.4)}


def hidden(name, at):
    """The farther one is behind the nearer one while they pass each other."""
    return not (name == "right" and 1.2 < at < 1.55)


@pytest.mark.parametrize("options", [{}, {"fps": 10}, {"scale": 4}, {"noise": 0.02, "twice": 0.2}])
def test_who_cross_keep_their_numbers(options):
    given = numbers(CROSSING, 3, found=hidden, **options)
    for name in CROSSING:
        assert len(set(given[name]) - {None}) == 1
        assert given[name][-1] is not None


def test_who_is_lost_is_found_again_within_a_second():
    alone = {"one": walker(-1.5, 0.8, 4)}
    again = numbers(alone, 3, found=lambda name, at: not 1 < at < 1.9)
    assert set(again["one"]) == {0, None}
    late = numbers(alone, 4, found=lambda name, at: not 1 < at < 2.2)
    assert set(late["one"]) == {0, None, 1}


def test_who_comes_while_another_is_lost_is_somebody_else():
    two = {"first": walker(-1.5, 0.0, 4), "second": walker(1.5, 0.0, 4)}
    given = numbers(two, 2, found=lambda name, at: (at < 1) == (name == "first"))
    assert set(given["first"]) == {0, None}
    assert set(given["second"]) == {1, None}


def test_a_face_or_an_unsure_body_is_no_pose():
    def plausible(one):
        return tracking.is_plausible(one, LAYOUT, WIDTH, HEIGHT)

    assert plausible(person((0, 0, 3)))
    desk = np.where(STANDING[:, 1] > 0.1, 0.9, 0.1)  # shoulders, elbows and head
    assert plausible(person((0, 0, 3), confidence=desk))
    assert not plausible(person((0, -0.7, 0.5)))  # shoulders and all below are outside the picture
    assert not plausible(person((0, 0, 3), confidence=0.3))
    broken = person((0, 0, 3))
    broken.xy[0] = np.nan
    assert not plausible(broken)
