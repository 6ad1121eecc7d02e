"""Improved dense trajectories: what is tracked, what is removed, and the descriptors recomputed pixel by pixel."""

import cv2
import numpy as np
import pytest

import zoo
from zoo.fusion import dense_trajectories

SIDE, LENGTH = 96, 9


def texture(height, width, seed):
    """Smooth random grey values, uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.5), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def video(frames=14, camera=(0, 0), thing=(0, 0)):
    """A textured square of 40 pixels before a textured wall; both move by whole pixels per frame."""
    wall, square = texture(200, 200, 0), texture(40, 40, 1)
    out = []
    for number in range(frames):
        x, y = (50 - number * step for step in camera)
        frame = wall[y : y + SIDE, x : x + SIDE].copy()
        x, y = (15 + number * (step + other) for step, other in zip(thing, camera))
        frame[y : y + 40, x : x + 40] = square
        out.append(np.stack([frame] * 3, axis=-1))
    return np.stack(out)


@pytest.fixture(scope="module")
def moving():
    clip = video(thing=(2, 1))
    return clip, dense_trajectories.extract(clip, track_length=LENGTH)


def test_tracks_follow_what_moves(moving):
    _, found = moving
    assert len(found) > 50
    own = found.scale == 0
    assert set(found.scale) == {0, 1, 2, 3}, "96, 68, 48 and 34 pixels hold a patch"
    displacement = found.points[:, -1] - found.points[:, 0]
    number = found.start[:, None] + np.arange(LENGTH + 1)  # of the frame, of every point
    in_square = found.points - (15 + number[..., None] * [2, 1])
    inside = own & ((in_square > 5) & (in_square < 35)).all(axis=(1, 2))
    assert inside.sum() > 20
    np.testing.assert_allclose(displacement[inside], np.tile([18, 9], (inside.sum(), 1)), atol=0.2)
    np.testing.assert_allclose(np.median(displacement, axis=0), [18, 9], rtol=0.1)
    assert set(found.start) == set(range(14 - LENGTH))


def test_descriptors_have_the_published_dimensions_and_unit_length(moving):
    _, found = moving
    published = {"hog": 96, "hof": 108, "mbhx": 96, "mbhy": 96}
    for name, dimension in published.items():
        values = getattr(found, name)
        assert values.shape == (len(found), dimension)
        assert (values >= 0).all()
        lengths = np.linalg.norm(values, axis=1)
        np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)
    steps = found.trajectory.reshape(len(found), LENGTH, 2)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=-1).sum(axis=1), 1, rtol=1e-4)
    assert dense_trajectories.extract(video(8, thing=(2, 1)), track_length=6).trajectory.shape[1] == 12
    assert dense_trajectories.extract(video(3)).trajectory.shape == (0, 30)


def test_a_moving_camera_leaves_nearly_no_tracks(monkeypatch):
    panned = video(camera=(2, -1))
    few = len(dense_trajectories.extract(panned, track_length=LENGTH))
    with monkeypatch.context() as uncompensated:
        uncompensated.setattr(dense_trajectories, "MIN_MATCHES", np.inf)
        many = len(dense_trajectories.extract(panned, track_length=LENGTH))
    assert many > 500
    assert few < 0.02 * many


def test_under_a_moving_camera_the_steps_are_those_of_the_thing():
    found = dense_trajectories.extract(video(camera=(-1, 0), thing=(3, 1)), track_length=LENGTH)
    steps = np.median(found.trajectory.reshape(len(found), LENGTH, 2), axis=(0, 1))
    np.testing.assert_allclose(steps / np.linalg.norm(steps), np.array([3, 1]) / 10**0.5, atol=0.03)
    np.testing.assert_allclose(np.median(np.diff(found.points, axis=1), axis=(0, 1)), [2, 1], rtol=0.1)


@pytest.mark.parametrize("clip", [video(), np.full((14, 40, 50, 3), 200, np.uint8)], ids=["textured", "uniform"])
def test_a_still_clip_has_no_tracks(clip):
    assert len(dense_trajectories.extract(clip, track_length=LENGTH)) == 0


def histogram(vectors, min_length=None):
    """The orientation histogram of ``[k, 2]`` vectors, one by one."""
    out = np.zeros(8 + (min_length is not None))
    for x, y in vectors:
        length = np.hypot(x, y)
        if min_length is not None and length <= min_length:
            out[8] += 1
            continue
        position = np.arctan2(y, x) % (2 * np.pi) / (np.pi / 4)
        fraction = position - int(position)
        out[int(position) % 8] += (1 - fraction) * length
        out[(int(position) + 1) % 8] += fraction * length
    return out


def gradient(image, axis):
    """Differences of the two neighbours, the border mirrored as OpenCV does."""
    image = np.pad(image.astype(float), 1, mode="reflect")
    inner = (slice(1, -1), slice(1, -1))
    return (np.roll(image, -1, axis) - np.roll(image, 1, axis))[inner]


def test_histograms_of_a_track_are_the_sums_over_its_cells(moving):
    """HOG, HOF and MBH of tracks at full size against plain loops over pixels, cells and frames."""
    clip, found = moving
    greys = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
    motion = dense_trajectories._Motion()
    motion.start(greys[0])
    residuals = [motion.next(grey)[1] for grey in greys[1:]]
    rows = np.flatnonzero(found.scale == 0)
    for row in rows[[0, len(rows) // 2, -1]]:
        expected = {name: np.zeros((3, 2, 2, bins)) for name, bins in dense_trajectories.HISTOGRAMS.items()}
        for step in range(LENGTH):
            number = found.start[row] + step
            x, y = np.clip(np.rint(found.points[row, step]).astype(int) - 16, 0, SIDE - 32)
            u, v = residuals[number][..., 0], residuals[number][..., 1]
            fields = {
                "hog": [gradient(greys[number], axis) for axis in (1, 0)],
                "hof": [u, v],
                "mbhx": [gradient(u, axis) for axis in (1, 0)],
                "mbhy": [gradient(v, axis) for axis in (1, 0)],
            }
            for name, field in fields.items():
                patch = np.stack(field, axis=-1)[y : y + 32, x : x + 32]
                for i, j in np.ndindex(2, 2):
                    cell = patch[16 * i : 16 * i + 16, 16 * j : 16 * j + 16].reshape(-1, 2)
                    expected[name][step // 3, i, j] += histogram(cell, 0.4 if name == "hof" else None)
        for name, values in expected.items():
            root = np.sqrt(values.ravel() / values.sum())
            np.testing.assert_allclose(
                getattr(found, name)[row], root, atol=0.03, err_msg=name
            )  # OpenCV's angles: 0.3°


def test_rounding_errors_become_zero():
    rows = np.array([[1.0, 3.0], [1e-6, 0.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(dense_trajectories.root_normalised(rows), [[0.5, 0.75**0.5], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("steps", "residual", "valid"),
    [
        ([[2.0, 0]] * 9, [[2.0, 0]] * 9, True),
        ([[0.1, 0]] * 9, [[2.0, 0]] * 9, False),  # static: deviates by 0.3 pixels
        ([[2.0, 0]] * 9, [[0.5, 0.5]] * 9, False),  # moves with the camera
        ([[0.1, 0]] * 8 + [[21.0, 0]], [[2.0, 0]] * 9, False),  # jumps
        ([[0.1, 0]] * 8 + [[19.0, 0]], [[2.0, 0]] * 9, True),
        ([[18.0, 0]] * 9, [[2.0, 0]] * 9, False),  # erratic: deviates by 51.7 pixels
    ],
)
def test_which_tracks_are_kept(steps, residual, valid):
    points = np.concatenate([np.zeros((1, 1, 2)), np.cumsum([steps], axis=1)], axis=1)
    assert dense_trajectories.valid_tracks(points, np.array([residual])).tolist() == [valid]


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (np.zeros((5, 64, 64, 3), np.float32), {}, r"frames are float32 \[5, 64, 64, 3\], expected uint8"),
        (np.zeros((5, 64, 64), np.uint8), {}, r"frames are uint8 \[5, 64, 64\], expected"),
        (np.zeros((5, 64, 31, 3), np.uint8), {}, "64 x 31 pixels, expected at least 32 x 32"),
        (np.zeros((5, 64, 64, 3), np.uint8), {"track_length": 16}, "track_length is 16, expected a multiple of 3"),
        (np.zeros((5, 64, 64, 3), np.uint8), {"sampling_step": 0}, "sampling_step is 0, expected at least 1"),
    ],
)
def test_mistakes_are_named(frames, options, message):
    with pytest.raises(zoo.ZooError, match=message):
        dense_trajectories.extract(frames, **options)


def test_fewer_scales_are_the_finest(moving):
    clip, every = moving
    finest = dense_trajectories.extract(clip, track_length=LENGTH, scales=1)
    np.testing.assert_array_equal(finest.points, every.points[every.scale == 0])
