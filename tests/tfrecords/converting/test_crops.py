"""Boxes around joints and pictures cut from frames."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.tfrecords import recording_files
from tfrecords.converting import crops

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


def test_a_picture_that_is_too_large_for_jpeg():
    with pytest.raises(ValueError, match="no JPEG file can hold a picture of 65600 x 1 pixels"):
        crops.encode_jpeg(np.zeros((1, 65_600, 3), np.uint8))


def oversized(data):
    size = data.index(b"\xff\xc0") + 5  # in the header of the frame
    return data[:size] + 2 * (40_000).to_bytes(2, "big") + data[size + 4 :]


@pytest.mark.parametrize(
    "damage", [lambda d: d[: len(d) // 2], lambda d: b"", lambda d: b"GIF89a" + d, lambda d: d[:2] + d[-2:], oversized]
)
def test_damaged_jpeg(damage):
    with pytest.raises(ValueError, match="JPEG"):
        crops.decode_jpeg(damage(crops.encode_jpeg(IMAGE)))


# ------------------------------------------------------------------------------------------- boxes of whole clips


def file_of(picture, kind="JPEG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("exif", recording_files.EXIF_MARKS, ids=str)
def test_a_picture_with_an_exif_mark_is_turned(exif):
    stored = recording_files.patches(41, 64)
    jpeg = crops.encode_jpeg(stored, 98)
    expected = recording_files.shown(crops.decode_jpeg(jpeg), exif["mark"])
    np.testing.assert_array_equal(crops.decode_picture(recording_files.with_exif(jpeg, **exif)), expected)


@pytest.mark.parametrize("cut", [40, 50, 60])
def test_damaged_exif_data_turn_nothing(cut):
    jpeg = crops.encode_jpeg(recording_files.patches(41, 64))
    marked = bytearray(recording_files.with_exif(jpeg, 6))
    marked[14:18] = cut.to_bytes(4, "little")  # the entries begin beyond the end, or are no entries
    assert crops.decode_picture(bytes(marked)).shape == (41, 64, 3)


def test_every_kind_of_picture_is_8_bit_rgb():
    picture = recording_files.patches(41, 64)
    image = Image.fromarray(picture)
    ink = Image.fromarray(np.dstack([255 - picture, np.zeros((41, 64), np.uint8)]), "CMYK")
    exif = Image.Exif()
    exif[0x112] = 3
    grey = np.asarray(image.convert("L"))
    cases = {
        "progressive": (file_of(image, quality=98, progressive=True), picture),
        "CMYK": (file_of(ink, quality=98), picture),
        "grey": (file_of(image.convert("L"), quality=98), np.dstack([grey] * 3)),
        "PNG of 16 bits": (cv2.imencode(".png", picture[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), picture),
        "grey PNG of 16 bits": (cv2.imencode(".png", grey.astype(np.uint16) * 257)[1].tobytes(), np.dstack([grey] * 3)),
        "alpha": (file_of(Image.fromarray(np.dstack([picture, grey])), "PNG"), picture),
        "turned PNG": (file_of(image, "PNG", exif=exif), picture[::-1, ::-1]),
        "PNG with bytes after it": (file_of(image, "PNG") + bytes(5000), picture),
    }
    for name, (data, expected) in cases.items():
        decoded = crops.decode_picture(data)
        assert (decoded.dtype, decoded.shape) == (np.uint8, expected.shape), name
        assert np.abs(decoded.astype(int) - expected).mean() < 5, name


def test_bytes_after_a_jpeg_are_ignored():
    jpeg, second = (crops.encode_jpeg(recording_files.patches(41, 64, seed)) for seed in range(2))
    for rest in (bytes(5000), second, second[:-100], b"\0\0\0\x18ftypmp42" + bytes(3000)):
        assert crops.whole_jpeg(jpeg + rest) == jpeg
        np.testing.assert_array_equal(crops.decode_picture(jpeg + rest), crops.decode_jpeg(jpeg))


def test_the_beginning_of_a_picture_is_incomplete():
    image = Image.fromarray(recording_files.patches(41, 64))
    preview = Image.Exif()
    preview[0x10E] = crops.encode_jpeg(np.zeros((8, 8, 3), np.uint8)).decode("latin1")  # it has an end of its own
    for data in (file_of(image), file_of(image, progressive=True), file_of(image, exif=preview), file_of(image, "PNG")):
        for end in (8, len(data) // 3, len(data) // 2, len(data) - 2 - 10 * data.startswith(b"\x89")):
            with pytest.raises(crops.IncompletePicture, match="not a whole"):
                crops.decode_picture(data[:end])


@pytest.mark.parametrize(
    ("data", "reason"), [(b"GIF89a", "neither a JPEG nor a PNG"), (b"RIFF0000WEBP", "neither a JPEG")]
)
def test_another_format(data, reason):
    with pytest.raises(ValueError, match=reason):
        crops.decode_picture(data)


def boxes(
    *people, parts=("full_body", "left_hand", "right_hand"), metres=True, visible=None, size=recording_files.FRAME
):
    xyz = np.stack(people, axis=1)  # [T, M, J, 3]
    xy = recording_files.project(xyz)
    return crops.part_boxes(
        xy,
        np.ones(xy.shape[:3], bool) if visible is None else visible,
        parts,
        layout="kinect_v2_25",
        width=size[0],
        height=size[1],
        fps=20,
        xyz=xyz if metres else None,
    )


WALK = recording_files.walk("kinect_v2_25", 30, (-0.2, 0, 4), (0.2, 0, 4))


def test_boxes_are_squares_of_even_corners():
    for box in boxes(WALK).values():
        assert box.shape == (30, 4)
        assert not (box % 2).any()
        np.testing.assert_array_equal(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])


def test_the_full_image_is_the_frame_in_its_own_proportions():
    (box,) = boxes(WALK, parts=("full_image",)).values()
    width, height = recording_files.FRAME
    np.testing.assert_array_equal(box, [[0, 0, width, height]] * 30)
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[:, 160:] = 200
    picture = crops.cut(frame, (0, 0, 320, 240), 60)
    assert picture.shape == (60, 80, 3)
    np.testing.assert_array_equal(picture, np.repeat(np.repeat([[[0], [200]]], 40, 1), 60, 0).repeat(3, 2))


def test_full_body_holds_all_joints_of_all_persons_within_the_frame():
    second = WALK + np.float32([0.8, 0, 0.5])
    box = boxes(WALK, second)["full_body"]
    for person in (WALK, second):
        xy = recording_files.project(person)
        assert (xy >= box[:, np.newaxis, :2]).all()
        assert (xy <= box[:, np.newaxis, 2:]).all()
    assert (box >= 0).all()
    assert (box <= [160, 120, 160, 120]).all()
    alone = boxes(WALK)["full_body"]
    assert (recording_files.project(second)[..., 0].max(axis=1) > alone[:, 2]).any()


def test_full_body_does_not_tremble_with_the_joints():
    noise = np.random.default_rng(0).normal(scale=0.05, size=WALK.shape)
    trembling = boxes(WALK + noise)["full_body"]
    raw = recording_files.project(WALK + noise)[:, :, 0]
    assert (
        np.abs(np.diff(trembling[:, 0] + trembling[:, 2]) / 2).mean()
        < np.abs(np.diff(raw.max(1) + raw.min(1))).mean() / 4
    )


@pytest.mark.parametrize("size", [(160, 40), (50, 120)])
def test_a_body_larger_than_the_frame_is_centred_on_it(size):
    box = boxes(WALK + np.float32([(size[0] - 160) * 4 / 240, -(size[1] - 120) * 4 / 240, 0]), size=size)["full_body"]
    for low, high, length in ((0, 2, size[0]), (1, 3, size[1])):
        out = (box[:, high] - box[:, low]) > length
        np.testing.assert_allclose((box[:, low] + box[:, high])[out], length, atol=4)


def test_hands_are_cut_at_forty_centimetres():
    side = crops.HAND_SIDE * recording_files.FOCAL_LENGTH / 4
    found = boxes(WALK)
    for part, joint in (("left_hand", 7), ("right_hand", 11)):
        np.testing.assert_allclose(found[part][:, 2] - found[part][:, 0], side, atol=2)
        centres = (found[part][:, :2] + found[part][:, 2:]) / 2
        np.testing.assert_allclose(centres, recording_files.project(WALK)[:, joint], atol=2)
    by_shoulders_and_hips = boxes(WALK, metres=False)["left_hand"]
    np.testing.assert_allclose(by_shoulders_and_hips[:, 2] - by_shoulders_and_hips[:, 0], side, atol=4)


def test_a_hand_flung_far_away_is_black():
    flung = WALK.copy()
    flung[:, 7] = 0.2, 0.1, 1e-10  # metres from the camera: 10^11 pixels from the frame, and a body as large
    box = boxes(flung)["left_hand"]
    assert (box[:, :2] > -5000).all()
    assert (box[:, 2:] < 5000).all()
    assert (box[:, 0] >= recording_files.FRAME[0]).all()


def test_frames_without_joints_take_the_neighbours_boxes():
    visible = np.ones((30, 1, 25), bool)
    visible[10:20] = False
    found, full = boxes(WALK, visible=visible), boxes(WALK)
    for part in found:
        np.testing.assert_allclose(found[part][10:20], full[part][10:20], atol=6)


def test_a_clip_without_joints_is_cut_whole():
    for box in boxes(WALK, visible=np.zeros((30, 1, 25), bool)).values():
        assert box.tolist() == [[0, -20, 160, 140]] * 30
