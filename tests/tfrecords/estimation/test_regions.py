"""Several persons are followed each in a square around him, in frames whose pixels say where they are."""

import numpy as np
import pytest

from tests.tfrecords.estimation.fake_estimator import LAYOUT, STANDING
from tfrecords.estimation import regions
from tfrecords.estimation.estimator import Estimator, Person
from tfrecords.estimation.regions import Regions

HEIGHT, WIDTH = 100, 250
BODY = STANDING[:, :2] * (20, -20)  # pixels: 12 wide and 32 high


def frame(number, height=HEIGHT, width=WIDTH):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0], picture[..., 1], picture[..., 2] = np.arange(width), np.arange(height)[:, np.newaxis], number
    return picture


class World(Estimator):
    """Where the bodies are in each frame; searches find those whose hips are in the picture."""

    layout = LAYOUT.name

    def __init__(self, places):
        self.places = places  # [frame][person] (x, y)
        self.searched, self.followers = [], []

    def bodies(self, picture):
        left, top, number = picture[0, 0].tolist()
        height, width = picture.shape[:2]
        inside = [np.subtract(place, (left, top)) for place in self.places[number]]
        inside = [place for place in inside if (place >= 0).all() and (place < (width, height)).all()]
        return [Person(STANDING, (BODY + place).astype(np.float32), np.full(13, 0.9, np.float32)) for place in inside]

    def persons(self, picture, seconds):
        self.searched.append((int(picture[0, 0, 0]), picture.shape[1]))
        return self.bodies(picture)

    def close(self):
        self.closed = True

    def follower(self):
        self.followers.append(Follower(self))
        return self.followers[-1]


class Follower(Estimator):
    """Finds the first body in a picture."""

    layout = LAYOUT.name

    def __init__(self, world):
        self.world, self.pictures, self.begun, self.closed = world, [], 0, False

    def persons(self, picture, seconds):
        self.pictures.append((seconds, picture.shape[1]))
        return self.world.bodies(picture)[:1]

    def forget(self):
        self.begun += 1

    def close(self):
        self.closed = True


def follow(world, most=2, frames=None):
    """Hips of the persons found in each frame, 10 frames a second."""
    with Regions(most, world, world.follower) as search:
        found = [search.persons(frame(n), n / 10) for n in range(frames or len(world.places))]
    return [sorted(one.xy[4:6].mean(axis=0).round().astype(int).tolist() for one in everyone) for everyone in found]


def test_each_is_followed_in_a_square_that_moves_with_him():
    world = World([[(40 + 6 * n, 50), (200, 50)] for n in range(12)])
    assert follow(world) == [[[40 + 6 * n, 50], [200, 50]] for n in range(12)]
    one, other = world.followers
    # Smaller than the frame, and only of the one who walks begun anew: where he came near its edge.
    assert all(width <= 2 * 35 for _, width in one.pictures + other.pictures)
    assert sorted((one.begun, other.begun))[0] == 1
    assert 2 <= max(one.begun, other.begun) <= 5
    assert min(seconds for seconds, _ in one.pictures + other.pictures) >= 0
    assert one.closed
    assert other.closed
    assert world.closed


def test_a_wide_frame_is_searched_whole_and_in_tiles_one_at_a_time():
    world = World([[]] * 6)
    follow(world)
    parts = [(0, 250), (0, 100), (75, 100), (150, 100)]
    assert world.searched == [*parts, *parts, parts[0]]  # the first frame altogether
    world = World([[]])
    with Regions(2, world, world.follower) as search:
        search.persons(frame(0, 100, 120), 0.0)
    assert world.searched == [(0, 120)]


def test_no_newcomer_is_searched_where_all_are_there():
    world = World([[(40, 50), (200, 50)]] * 5)
    follow(world)
    assert len(world.searched) == 4  # the parts of the first frame


def test_who_comes_later_is_followed_too_and_never_more_than_are_wanted():
    world = World([[(40, 50)]] * 2 + [[(40, 50), (120, 50), (220, 50)]] * 6)
    found = follow(world)
    assert [len(everyone) for everyone in found[-3:]] == [2, 2, 2]  # the parts of the frame take turns
    assert all([40, 50] in everyone for everyone in found)
    assert max(len(everyone) for everyone in found) == len(world.followers) == 2


def test_who_is_lost_is_searched_for_a_while_in_his_square_and_leaves_his_follower_to_another():
    gone = round(10 * regions.LOST) + 2
    world = World([[(40, 50)], *[[]] * 2, [(40, 50)], *[[]] * gone, *[[(120, 50)]] * 4])
    found = follow(world, most=1)
    assert found[3] == [[40, 50]]
    assert found[-1] == [[120, 50]]
    assert len(world.followers) == 1


def test_two_who_become_one_body_are_one():
    world = World([[(60, 50), (100, 50)], [(70, 50), (90, 50)], *[[(80, 50)]] * 4])
    assert follow(world)[-1] == [[80, 50]]


@pytest.mark.parametrize("forgotten", [True, False])
def test_found_anew_is_not_forgotten(forgotten):
    world = World([[(40, 50), (200, 50)]] * 3)
    search = Regions(2, world, world.follower)
    search.persons(frame(0), 0.0)
    (search.forget if forgotten else search.find_anew)()
    searched = len(world.searched)
    assert len(search.persons(frame(1), 0.0 if forgotten else 0.1)) == 2
    assert (len(world.searched) > searched) == forgotten
    assert [one.begun for one in world.followers] == [2, 2]


def test_a_face_that_fills_the_picture_is_told_but_not_followed():
    world = World([[(50, 50)]] * 9)
    unsure = Person(STANDING, BODY.astype(np.float32) + 50, np.full(13, 0.2, np.float32))
    world.persons = lambda picture, seconds: [unsure]
    with Regions(2, world, world.follower) as search:
        assert len(search.persons(frame(0, 100, 100), 0.0)) == 1
    assert world.followers == []
    del world.persons
    with Regions(1, world, world.follower) as search:
        search.persons(frame(0, 100, 100), 0.0)
        (follower,) = world.followers
        follower.persons = lambda picture, seconds: [unsure]
        assert [len(search.persons(frame(n, 100, 100), n / 10)) for n in range(1, 6)] == [1] * 5
        assert follower.begun == 2  # after a while whoever is found is followed


def test_frames_of_another_size_are_another_recording():
    world = World([[(40, 50)]] * 2)
    with Regions(1, world, world.follower) as search:
        search.persons(frame(0), 0.0)
        (person,) = search.persons(frame(1, 80, 90), 0.1)
    assert world.searched[-1] == (0, 90)
    assert person.xy[4:6, 0].mean() == pytest.approx(40)
