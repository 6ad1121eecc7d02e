"""Boxes around joints and pictures cut from frames."""

import numpy as np
import pytest

from tfrecords import crops

WIDTH, HEIGHT = 320, 240
IMAGE = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, 3), np.uint8)  # nowhere black


def test_projection_of_a_pinhole():
    points = [[0, 0, 2], [1, 0, 2], [0, 1, 2], [0, 0, 0], [0, 0, -1]]
    pixels = crops.project(points, 100, WIDTH, HEIGHT)
    np.testing.assert_allclose(pixels[:3], [[160, 120], [210, 120], [160, 70]])
    assert np.isnan(pixels[3:]).all()


def test_person_box_is_square_around_the_joints():
    joints = np.array([[100.0, 50], [140, 150], [120, 100]])
    assert crops.person_box(joints, WIDTH, HEIGHT, margin=0) == (70, 50, 170, 150)
    assert crops.person_box(joints, WIDTH, HEIGHT, margin=0.1) == (60, 40, 180, 160)


def test_joints_out_of_the_frame_or_unknown_do_not_widen_the_box():
    joints = np.array([[100.0, 50], [200, 150], [np.nan, np.nan], [150, 9000]])
    assert crops.person_box(joints, WIDTH, HEIGHT, margin=0) == (55, 50, 245, 240)


@pytest.mark.parametrize("joints", [[[-5.0, 20]], [[WIDTH + 1.0, 20]], [[np.nan, np.nan]]])
def test_whole_frame_without_a_person(joints):
    assert crops.person_box(np.array(joints), WIDTH, HEIGHT) == (0, -40, 320, 280)


def test_cut_inside_the_frame_is_a_slice():
    np.testing.assert_array_equal(crops.cut(IMAGE, (10, 20, 74, 84), 64), IMAGE[20:84, 10:74])


@pytest.mark.parametrize("box", [(-16, -16, 16, 16), (WIDTH - 16, HEIGHT - 16, WIDTH + 16, HEIGHT + 16)])
def test_black_outside_the_frame(box):
    square = crops.cut(IMAGE, box, 32)
    known = (slice(16, 32),) * 2 if box[0] < 0 else (slice(0, 16),) * 2
    np.testing.assert_array_equal(square[known], IMAGE[:16, :16] if box[0] < 0 else IMAGE[HEIGHT - 16 :, WIDTH - 16 :])
    assert (square.reshape(-1, 3).max(axis=1) == 0).sum() == 32 * 32 - 16 * 16


def test_box_wholly_outside_the_frame_is_black():
    assert not crops.cut(IMAGE, (-90, -90, -50, -50), 20).any()


def test_shrinking_averages():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 200  # a chess board of single pixels
    small = crops.cut(np.repeat(board[..., np.newaxis], 3, axis=2).astype(np.uint8), (0, 0, 64, 64), 16)
    assert (small == 100).all()


def test_jpeg_round_trip_keeps_the_order_of_colours():
    orange = np.full((16, 16, 3), (250, 120, 10), np.uint8)
    np.testing.assert_allclose(crops.decode_jpeg(crops.encode_jpeg(orange)), orange, atol=4)


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"GIF89a" + d, lambda d: d[:2] + d[-2:]]
)
def test_damaged_jpeg(damage):
    with pytest.raises(ValueError, match="JPEG"):
        crops.decode_jpeg(damage(crops.encode_jpeg(IMAGE)))
