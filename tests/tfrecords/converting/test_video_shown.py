"""A video file is read as a player shows it: orientation, pixels, time stamps, edits, changes of size, containers."""

import fractions
import itertools
import struct

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecords.converting import video

HEIGHT, WIDTH = 48, 80
MILLISECOND = fractions.Fraction(1, 1000)
# The eight symmetries of a square as (a, b, c, d): a stored pixel (x, y) is shown at (a x + c y, b x + d y).
SYMMETRIES = [(a, 0, 0, d) for a, d in itertools.product((1, -1), repeat=2)]
SYMMETRIES += [(0, b, c, 0) for b, c in itertools.product((1, -1), repeat=2)]
CODECS = {"matroska": "mpeg4", "webm": "libvpx", "mpegts": "mpeg2video", "avi": "mpeg4", "mp4": "mpeg4", "flv": "flv1"}


def picture(number):
    """A picture whose four quarters differ, and whose brightness tells its number."""
    out = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    out[: HEIGHT // 2, : WIDTH // 2] = (220, 20, 20)
    out[: HEIGHT // 2, WIDTH // 2 :] = (20, 220, 20)
    out[HEIGHT // 2 :, : WIDTH // 2] = (20, 20, 220)
    out[HEIGHT // 2 :, WIDTH // 2 :] = 10 * number
    return out


def write(path, form="mp4", times=None, aspect=None, frames=20, codec=None, size=(HEIGHT, WIDTH), **options):
    """Writes numbered frames; ``times`` are their time stamps in milliseconds."""
    with av.open(f"file:{path}", "w", format=form, options=options) as container:
        stream = container.add_stream(codec or CODECS[form], 25)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times is not None:
            stream.codec_context.time_base = MILLISECOND
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(size[1], size[0])
            if times is not None:
                frame.pts, frame.time_base = times[number], MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_display_matrix(path, a, b, c, d):
    """Writes the matrix into the track header of an MP4, where a telephone puts it."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def number_of(frame):
    """The number of a frame of :func:`picture`."""
    return round(float(np.asarray(frame)[-HEIGHT // 4 :, -WIDTH // 4 :].mean()) / 10)


def timestamps(path):
    """FFmpeg's own times of the frames that it shows, seconds from the container's start."""
    with av.open(f"file:{path}") as container:
        start = (container.start_time or 0) / av.time_base
        return [frame.time - start for frame in container.decode(video=0)]


@pytest.mark.parametrize("matrix", SYMMETRIES)
def test_a_display_matrix_turns_and_mirrors(tmp_path, matrix):
    path = write(tmp_path / "clip.mp4", frames=1)
    stored = np.asarray(next(iter(video.Video(path)))).astype(int)
    set_display_matrix(path, *matrix)
    opened = video.Video(path)
    shown = np.asarray(next(iter(opened)))
    a, b, c, d = matrix
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    column, row = a * x + c * y, b * x + d * y
    expected = np.zeros((opened.height, opened.width, 3), int)
    expected[row - row.min(), column - column.min()] = stored
    assert shown.shape == ((HEIGHT, WIDTH, 3) if a else (WIDTH, HEIGHT, 3))
    assert np.abs(shown - expected).mean() < 4  # another conversion of colours, at edges
    part = next(iter(video.Video(path)))[3:20, 5:31]
    np.testing.assert_array_equal(part, shown[3:20, 5:31])


@pytest.mark.parametrize(("aspect", "width"), [("2", 160), ("1/2", 40), ("16/15", 85)])
def test_pixels_that_are_not_square_are_shown_square(tmp_path, aspect, width):
    path = write(tmp_path / "clip.mp4", aspect=fractions.Fraction(aspect), frames=2)
    opened = video.Video(path)
    assert (opened.height, opened.width) == (HEIGHT, width)
    shown = np.asarray(next(iter(opened)))
    assert shown.shape == (HEIGHT, width, 3)
    assert shown[5, width // 4].argmax() == 0  # red upper left quarter, whatever its width
    assert shown[5, 3 * width // 4].argmax() == 1


@pytest.mark.parametrize("form", CODECS)
def test_containers_with_and_without_a_number_of_frames(tmp_path, form):
    path = write(tmp_path / f"12:30.{form}", form)  # a name that FFmpeg would take for an address
    opened = video.Video(path)
    assert opened.count == 20
    frames = list(opened)
    assert [number_of(frame) for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time for frame in frames], timestamps(path), atol=1e-6)


def test_a_fragmented_mp4(tmp_path):
    path = write(tmp_path / "clip.mp4", movflags="frag_keyframe+empty_moov")
    assert video.Video(path).count == len(list(video.Video(path))) == 20


@settings(max_examples=15, deadline=None)
@given(
    form=st.sampled_from(["mp4", "matroska", "mpegts"]),
    steps=st.lists(st.integers(15, 400), min_size=3, max_size=12),
    matrix=st.sampled_from(SYMMETRIES),
)
def test_frames_and_times_are_those_that_are_shown(tmp_path_factory, form, steps, matrix):
    path = tmp_path_factory.mktemp("video") / f"clip.{form}"
    times = np.cumsum([0, *steps]).tolist()
    write(path, form, times=times, frames=len(times), codec="mpeg4" if form != "mpegts" else "h264")
    if form == "mp4":
        set_display_matrix(path, *matrix)
    frames = list(video.Video(path))
    np.testing.assert_allclose([frame.time for frame in frames], timestamps(path), atol=1e-6)
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), np.array(steps) / 1000, atol=2e-3)


def test_frames_that_an_edit_leaves_out_are_not_counted(tmp_path):
    """An edit list that begins at 0.4 s, as a trimmed recording of a telephone has."""
    path = write(tmp_path / "clip.mp4")
    data = path.read_bytes()
    start = data.index(b"elst") + 12
    path.write_bytes(data[:start] + struct.pack(">Ii", 400, round(0.4 * 12800)) + data[start + 8 :])
    opened = video.Video(path)
    frames = list(opened)
    assert opened.count == len(frames) == 10
    assert [number_of(frame) for frame in frames] == list(range(10, 20))
    assert frames[0].time == pytest.approx(0.0)


def test_a_change_of_size_is_scaled_to_the_first_frame(tmp_path):
    small, large = tmp_path / "small.ts", tmp_path / "large.ts"
    write(small, "mpegts", frames=5, codec="mpeg4")
    write(large, "mpegts", frames=5, codec="mpeg4", size=(2 * HEIGHT, 2 * WIDTH))
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    frames = list(video.Video(path))
    assert {frame.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert [number_of(frame) for frame in frames] == [*range(5), *range(5)]


def test_the_cover_of_music_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("mp3", 44100)
        cover = container.add_stream("mjpeg", 1)
        cover.height, cover.width, cover.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value  # PyAV 15 takes no Disposition
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture(3), format="rgb24")))
        container.mux(cover.encode())
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(ValueError, match=r"song\.mp3: has no moving picture"):
        video.Video(path)


def test_a_title_that_is_no_utf8_is_no_fault(tmp_path):
    path = tmp_path / "old.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "kitchen"
        stream = container.add_stream("mpeg4", 10)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes().replace(b"kitchen", "küche ".encode("latin-1") + b"!"))
    assert len(list(video.Video(path))) == 3
