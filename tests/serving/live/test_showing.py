"""What leaves a session, on its pixels: heads made coarse, or skeletons alone; and the video file of it."""

import resource
import threading

import av
import numpy as np
import pytest

from serving.live import showing, writing
from serving.live.people import Shown
from serving.live.showing import Privacy
from serving.live.state import PersonState
from serving.live.writing import Writer
from tests.serving.fake_poses import BODY
from tfrecords.estimation.estimator import Person
from zoo.shared.errors import UserError

LAYOUT = "blazepose_33"
HEIGHT, WIDTH = 240, 320
SIZE = 200  # pixels of a body
METRES = float(np.ptp(BODY[:, 1]))
RADIUS = showing.HEAD * SIZE / METRES


def person(x, y=120.0):
    """A person who stands with the middle at a pixel."""
    scale = SIZE / METRES
    xy = BODY[:, :2] * (scale, -scale) + (x, y)
    return Person(BODY, xy.astype(np.float32), np.full(33, 0.9, np.float32))


def face_of(one):
    return one.xy[[0, 2, 5, 7, 8, 9, 10]].mean(axis=0)  # nose, eyes, ears and mouth


@pytest.fixture
def frame():
    """A picture of noise: no two pixels that belong together are equal."""
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def changed(picture, frame, middle, radius):
    """Fractions of pixels that differ from the frame, inside a circle and outside."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    inside = (rows - middle[1]) ** 2 + (columns - middle[0]) ** 2 <= radius**2
    differs = (picture != frame).any(axis=-1)
    return differs[inside].mean(), differs[~inside].mean()


def test_blur_hides_the_head_and_nothing_else(frame):
    one = person(100)
    before = frame.copy()
    picture = Privacy("blur", LAYOUT).apply(frame, [one], 0.0)
    np.testing.assert_array_equal(frame, before)  # what is estimated next is not hidden
    inside, outside = changed(picture, frame, face_of(one), RADIUS)
    assert inside > 0.99
    assert outside < 0.01
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    x, y = face_of(one)
    face = picture[(rows - y) ** 2 + (columns - x) ** 2 <= RADIUS**2]
    assert len(np.unique(face, axis=0)) <= showing.BLOCKS**2  # colours that are left of it


def test_a_head_stays_hidden_while_its_person_is_lost(frame):
    privacy, one = Privacy("blur", LAYOUT), person(100)
    privacy.apply(frame, [one], 10.0)
    assert changed(privacy.apply(frame, [], 11.0), frame, face_of(one), RADIUS)[0] > 0.99
    other = person(250)
    picture = privacy.apply(frame, [other], 11.5)
    assert changed(picture, frame, face_of(one), RADIUS)[0] > 0.99
    assert changed(picture, frame, face_of(other), RADIUS)[0] > 0.99
    assert changed(privacy.apply(frame, [], 13.0), frame, face_of(one), RADIUS)[0] == 0


def test_a_lost_head_stays_hidden_beside_one_that_is_seen(frame):
    """Two people who hug: the other's head is nearer than its radius, but does not cover the one that is lost."""
    privacy, one, other = Privacy("blur", LAYOUT), person(100), person(100 + 0.9 * RADIUS)
    privacy.apply(frame, [one, other], 10.0)
    for seconds in (10.1, 10.2, 11.0):
        picture = privacy.apply(frame, [other], seconds)
        assert changed(picture, frame, face_of(one), RADIUS)[0] > 0.99
    assert len(privacy._heads) == 2  # one of each


def test_a_face_that_fills_the_picture_and_one_outside_it(frame):
    near = person(160, 300.0)
    near = Person(near.xyz, (near.xy - face_of(near)) * 4 + (160, 120), near.confidence)
    assert changed(Privacy("blur", LAYOUT).apply(frame, [near], 0.0), frame, (160, 120), 100)[0] > 0.99
    away = person(-500)
    np.testing.assert_array_equal(Privacy("blur", LAYOUT).apply(frame, [away], 0.0), frame)


def test_skeletons_on_black(frame):
    one = person(100)
    picture = Privacy("skeleton", LAYOUT).apply(frame, [one], 0.0)
    assert not picture.any()
    people = [Shown(0, (60, 20, 140, 220), one.xy, np.ones(33, bool))]
    showing.draw(picture, people, [PersonState(0, "", 0.0, (), 0.0, (60, 20, 140, 220))], LAYOUT)
    drawn = picture.any(axis=-1)
    assert 0.005 < drawn.mean() < 0.2
    assert not drawn[:, 200:].any()
    np.testing.assert_array_equal(Privacy("none", LAYOUT).apply(frame, [one], 0.0), frame)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (PersonState(1, "", 0.0, (), 0.0, (0, 0, 1, 1)), "1 ?"),
        (PersonState(1, "", 0.0, (), 50.0, (0, 0, 1, 1), age=12.3), "1 ? 12 s"),
        (PersonState(1, "unknown", 0.3, (), 50.0, (0, 0, 1, 1), age=0.25), "1 unknown 0.2 s"),
    ],
)
def test_caption(state, text):
    assert showing.caption(state) == text


def test_attention_is_drawn_where_the_model_looks():
    picture = np.full((40, 60, 3), 100, np.uint8)
    maps = {"spatial_attention": np.array([[0.0, 0.2], [0.4, 0.0]])}
    state = PersonState(0, "drink", 0.9, (), 5.0, (0, 0, 9, 9), attention=maps, seen=(-10, 0, 30, 40))
    showing.draw_attention(picture, [state, PersonState(1, "", 0.0, (), 0.0, (0, 0, 9, 9))])
    np.testing.assert_array_equal(picture[20:, :10], np.broadcast_to([193, 88, 40], (20, 10, 3)))  # 0.6 of the colour
    np.testing.assert_array_equal(picture[:20, 10:30], np.broadcast_to([123, 97, 85], (20, 20, 3)))  # half as much
    picture[20:, :10] = picture[:20, 10:30] = 100
    assert (picture == 100).all()


def test_video_file(tmp_path):
    path = tmp_path / "out.mp4"
    writer = Writer(str(path))
    sizes = [(33, 48), (33, 48), (64, 64)]
    for number, (size, seconds) in enumerate(zip(sizes, (5.0, 5.1, 5.5))):
        writer.put(seconds, np.full((*size, 3), 100 + 50 * number, np.uint8))
    writer.stop()
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    assert [round(frame.time, 2) for frame in frames] == [0.0, 0.1, 0.5]  # of the camera, not of the writer
    last = frames[-1].to_ndarray(format="rgb24")
    assert last.shape == (32, 48, 3)
    assert last[:, 20:28].mean() == pytest.approx(200, abs=10)
    assert last[:, :6].mean() < 20  # a margin
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("the codec gave up")])
def test_what_a_disk_or_a_codec_raises_ends_the_video_and_no_more(tmp_path, capsys, monkeypatch, error):
    writer = Writer(str(tmp_path / "out.mp4"))
    monkeypatch.setattr(writing, "_fitted", lambda *_: (_ for _ in ()).throw(error))
    for number in range(3 * writing.WAITING):
        writer.put(number / 10, np.zeros((32, 32, 3), np.uint8))
    writer.stop()
    assert capsys.readouterr().err.count(str(error)) == 1
    # One that fails at the very end has nothing left to wait for.
    ending = Writer(str(tmp_path / "ending.mkv"))
    monkeypatch.undo()
    monkeypatch.setattr(writing.Pictures, "end", lambda _: (_ for _ in ()).throw(error))
    ending.put(0.0, np.zeros((32, 32, 3), np.uint8))
    stopping = threading.Thread(target=ending.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
    with pytest.raises(UserError, match=r"out\.avi: expected a name that ends in"):
        Writer("out.avi")


@pytest.mark.parametrize(("name", "pictures"), [("out.mp4", 1), ("out.mkv", 1), ("out.mkv", 5)])
def test_a_full_disk_is_reported_whenever_it_is(tmp_path, capsys, name, pictures):
    """Pieces of one picture are written when the file is closed; FFmpeg reports nothing then for MP4."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = Writer(str(tmp_path / name))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        for number in range(pictures):
            writer.put(number, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        writer.stop()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / name).stat().st_size == 1000
    warning = f"warning: {tmp_path / name}: cannot be written ([Errno 27] File too large), the session goes on without"
    assert capsys.readouterr().err.count(warning) == 1
