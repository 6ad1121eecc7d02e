"""Frames of video files and of folders of pictures."""

import io

import av
import numpy as np
import pytest

from tests.tfrecords import recording_files
from tfrecords.converting import crops, video

FRAMES = np.linspace(0, 255, 6 * 48 * 80 * 3).reshape(6, 48, 80, 3).astype(np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    smooth = recording_files.frames_of(recording_files.walk("nite_15", frames=6))
    return recording_files.write_video(tmp_path_factory.mktemp("video") / "clip.mp4", smooth, rate=30)


@pytest.fixture
def decoded(monkeypatch):
    """A list with an entry for each frame that is decoded from now on."""
    found = []
    kept = video.Frame.__init__
    monkeypatch.setattr(video.Frame, "__init__", lambda *arguments: (found.append(1), kept(*arguments))[1])
    return found


def test_size_rate_and_number(path):
    opened = video.Video(path)
    assert (opened.width, opened.height, opened.fps) == (160, 120, 30.0)
    assert len(list(opened)) == len(list(opened)) == 6  # again from the start


@pytest.mark.parametrize("part", [(0, 120, 0, 160), (10, 40, 20, 60), (11, 40, 21, 50), (119, 120, 3, 4), (5, 5, 0, 9)])
def test_a_part_is_that_part_of_the_whole(path, part):
    top, bottom, left, right = part
    for frame in video.Video(path):
        whole = np.asarray(frame)
        assert whole.shape == frame.shape == (120, 160, 3)
        np.testing.assert_array_equal(frame[top:bottom, left:right], whole[top:bottom, left:right])


@pytest.mark.parametrize(("ending", "skips"), [("mp4", True), ("mkv", True), ("avi", False)])
def test_frames_that_are_not_needed_are_not_decoded(tmp_path, ending, skips):
    """B-frames to which no other frame refers; in AVI the time stamps are not those of the frames that are shown."""
    moving = recording_files.frames_of(recording_files.walk("nite_15", frames=24))
    path = recording_files.write_video(tmp_path / f"clip.{ending}", moving, codec="libx264")
    frames = [np.asarray(frame) for frame in video.Video(path)]
    opened = video.Video(path, threads=True)
    needed = {3, 8, 17, 23}
    found = {number: np.asarray(frame) for number, frame in opened.numbered(needed)}
    assert needed <= found.keys()
    assert (len(found) < 20) == skips
    for number, frame in found.items():
        np.testing.assert_array_equal(frame, frames[number])
    assert len(list(opened)) == opened.count == 24  # later all frames again


def test_numbers_of_frames_where_the_clock_goes_back(tmp_path):
    """Joined transport streams: the second one begins at a time within the first."""
    path = tmp_path / "joined.ts"
    for begin in (0, 437):  # milliseconds
        greys = np.linspace(20 + begin // 4, 120 + begin // 4, 24).astype(np.uint8)
        pictures = np.tile(greys[:, None, None, None], (1, 48, 80, 3))
        times = [begin + 40 * number for number in range(24)]
        part = recording_files.write_video(tmp_path / "part.ts", pictures, codec="libx264", times=times)
        with path.open("ab") as joined:
            joined.write(part.read_bytes())
    frames = [np.asarray(frame) for frame in video.Video(path)]
    found = {number: np.asarray(frame) for number, frame in video.Video(path).numbered({5, 15, 20, 30})}
    for number in (5, 15, 20, 30):
        np.testing.assert_array_equal(found[number], frames[number])


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "libx264"), ("ts", "mpeg2video"), ("avi", "mpeg4"), ("avi", "libx264")]
)
def test_a_part_of_a_video_from_one_time_to_another(tmp_path, ending, codec, decoded):
    """Its frames are those of the whole video, also where time stamps count packets, as of B-frames in AVI."""
    moving = recording_files.frames_of(recording_files.walk("nite_15", frames=90))
    path = recording_files.write_video(tmp_path / f"clip.{ending}", moving, codec=codec, keys_every=15)
    frames = [np.asarray(frame) for frame in video.Video(path)]
    assert [round(frame.time * 25) for frame in video.Video(path)] == list(range(90))
    for (start, end), first, length in (((0.0, 0.4), 0, 10), ((3.19, 3.41), 80, 6), ((3.4, None), 85, 5)):
        opened = video.Segment(path, start, end)
        assert (opened.first, opened.length, opened.whole) == (first, length, 90)
        for _ in range(2):
            decoded.clear()
            np.testing.assert_array_equal([np.asarray(frame) for frame in opened], frames[first : first + length])
        assert (len(decoded) < 60) == ((ending, codec) != ("avi", "libx264") or not start)


def test_the_parts_of_a_video_read_its_packets_once(tmp_path, monkeypatch):
    read = []
    packets = video.Video._packets
    monkeypatch.setattr(video.Video, "_packets", lambda self: (read.append(1), packets(self))[1])
    path = recording_files.write_video(tmp_path / "clip.mp4", FRAMES)
    assert [video.Segment(path, start).length for start in (0, 0.04, 0.12)] == [6, 5, 3]
    assert len(read) == 1
    recording_files.write_video(path, FRAMES[:4])  # another video of the same name
    assert video.Segment(path, 0.04).length == 3


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_part_of_a_transport_stream_with_few_key_frames(tmp_path, codec, decoded):
    """No index says where they are: decoding begins at the one before the part, not between two, nor at the first."""
    moving = recording_files.frames_of(recording_files.walk("nite_15", frames=150))
    path = recording_files.write_video(tmp_path / "clip.ts", moving, codec=codec, keys_every=50)
    frames = [np.asarray(frame) for frame in video.Video(path)]
    part = video.Segment(path, 5.88)
    decoded.clear()
    np.testing.assert_array_equal([np.asarray(frame) for frame in part], frames[147:])
    assert len(decoded) < 140


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (9, None, r"clip\.mp4: a part from 9 s, the recording ends at 0\.2 s"),
        (0.1, 9, r"clip\.mp4: a part until 9 s, the recording ends at 0\.2 s"),
        (0.07, 0.09, r"clip\.mp4: no frame from 0\.07 s on until 0\.09 s"),
    ],
)
def test_parts_that_a_video_does_not_have(path, start, end, reason):
    with pytest.raises(ValueError, match=reason):
        video.Segment(path, start, end)


def test_interlaced_video_with_a_packet_for_each_field(tmp_path):
    """Frames are counted and numbered, not fields, and none lacks one of its fields."""
    path = recording_files.write_fields(tmp_path / "clip.mkv", range(20, 220, 8))
    frames = [np.asarray(frame) for frame in video.Video(path)]
    opened = video.Video(path)
    assert opened.count == len(frames) == 25
    assert opened.fps == 25
    found = {number: np.asarray(frame) for number, frame in opened.numbered({6, 12, 17})}
    for number in (6, 12, 17):
        np.testing.assert_array_equal(found[number], frames[number])
    part = video.Segment(path, 0.4, 0.6)
    assert (part.first, part.length, part.whole) == (10, 5, 25)
    np.testing.assert_array_equal([np.asarray(frame) for frame in part], frames[10:15])


def test_a_damaged_video_ends_where_not_all_frames_are_decoded(tmp_path):
    moving = recording_files.frames_of(recording_files.walk("nite_15", frames=24))
    path = recording_files.write_video(tmp_path / "clip.mkv", moving, codec="libx264")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    opened = video.Video(path)
    assert max(number for number, _ in opened.numbered({23})) < 23
    with pytest.raises(ValueError, match=r"clip\.mkv: (damaged|cut off)"):
        list(opened)


def test_a_video_without_a_decoder(tmp_path):
    path = recording_files.write_video(tmp_path / "clip.avi", FRAMES)
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"?FF?"))
    with pytest.raises(ValueError, match=r"clip\.avi: FFmpeg has no decoder for it, or it is damaged"):
        video.Video(path)


def test_a_part_in_which_the_video_is_damaged(tmp_path):
    """The frame after which it is counts from the video's beginning, though decoding begins later."""
    moving = recording_files.frames_of(recording_files.walk("nite_15", frames=90))
    path = recording_files.write_video(tmp_path / "clip.flv", moving, codec="libx264", keys_every=15)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    with pytest.raises(ValueError, match=r"clip\.flv: damaged after frame \d+") as whole:
        list(video.Video(path))
    with pytest.raises(ValueError, match=r"clip\.flv: damaged or cut off after frame \d+") as part:
        list(video.Segment(path, 2))
    assert str(part.value).split()[-1] == str(whole.value).split()[-1]


@pytest.mark.parametrize("colours", [{"colorspace": 1}, {"color_range": 2}, {}])
def test_colours_are_those_of_the_video(tmp_path, colours):
    """BT.709 or full range, as a telephone may write, and what most recordings have: all show the same picture."""
    frames = recording_files.frames_of(recording_files.walk("nite_15", frames=2))
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 30, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for name, value in colours.items():
            setattr(stream.codec_context, name, value)
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            new = {"dst_colorspace": colours.get("colorspace"), "dst_color_range": colours.get("color_range")}
            container.mux(stream.encode(picture.reformat(format="yuv420p", **new)))
        container.mux(stream.encode())
    shown = np.asarray(next(iter(video.Video(path))))
    background = shown[:20, :20].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(background, recording_files.BACKGROUND, atol=4)


def test_the_rate_of_frames_that_last_unequally_long(tmp_path):
    """FFmpeg finds none in such a Matroska file, and guesses its clock, 1000."""
    times = [0, 36, 66, 105, 132, 167]
    path = recording_files.write_video(tmp_path / "v.mkv", FRAMES, rate=1000, times=times)
    assert video.Video(path).fps == pytest.approx(5 / 0.167)


def test_the_rate_of_a_part_of_a_camera_that_slows_down(tmp_path):
    frames = recording_files.frames_of(recording_files.walk("nite_15", frames=40))
    times = [*range(0, 20 * 40, 40), *range(1000, 1000 + 20 * 400, 400)]  # 25 frames a second, then 2.5
    path = recording_files.write_video(tmp_path / "v.mp4", frames, codec="libx264", times=times)
    rates = [video.Segment(path, *part).fps for part in ((0, 0.8), (1, None), (0.1, 0.2))]
    assert rates == pytest.approx([25, 2.5, video.Video(path).fps], rel=1e-3)  # of the last three frames too few


def test_pictures(tmp_path):
    import cv2

    for number, frame in enumerate(FRAMES[:3]):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame[..., ::-1])
    (tmp_path / "3.jpg").write_bytes(crops.encode_jpeg(FRAMES[3], quality=98))
    opened = video.Pictures(sorted(tmp_path.iterdir()), 12.0)
    assert (opened.width, opened.height, opened.fps) == (80, 48, 12.0)
    frames = list(opened)
    np.testing.assert_array_equal(frames[:3], FRAMES[:3])
    np.testing.assert_allclose(frames[3], FRAMES[3], atol=12)

    turned = recording_files.with_exif(crops.encode_jpeg(np.rot90(FRAMES[4]), quality=98), 6)  # shown upright
    (tmp_path / "4.jpg").write_bytes(turned + bytes(5000))
    cv2.imwrite(str(tmp_path / "5.png"), np.repeat(np.repeat(FRAMES[5], 2, axis=0), 2, axis=1)[..., ::-1])
    last = list(video.Pictures(sorted(tmp_path.iterdir()), 12.0))[4:]
    np.testing.assert_allclose(last[0], FRAMES[4], atol=12)
    assert last[1].shape == (48, 80, 3)
    assert np.abs(last[1].astype(int) - FRAMES[5]).mean() < 2

    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"1\.png: not a whole PNG file"):
        list(opened)
    (tmp_path / "1.png").unlink()
    with pytest.raises(ValueError, match=r"1\.png: cannot be read \(No such file"):
        list(opened)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda whole: b"", "damaged or no video file"),
        (lambda whole: b"\x00" * 5000, "damaged or no video file"),
        (lambda whole: b"text, no video" * 100, "damaged or no video file"),
        (lambda whole: whole[: len(whole) // 2], "damaged"),
    ],
)
def test_damaged_video(path, tmp_path, content, reason):
    (tmp_path / "clip.mp4").write_bytes(content(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"clip\.mp4: {reason}"):
        list(video.Video(tmp_path / "clip.mp4"))
    with pytest.raises(ValueError, match=r"none\.mp4: cannot be read \(No such file"):
        video.Video(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"Clip\.MP4: cannot be read \(.*\), did you mean clip\.mp4\?"):
        video.Video(tmp_path / "Clip.MP4")


def encoded(file, form, frames=30, sound=0, **options):
    """Writes a video of a codec whose decoder does not mind a file that ends early, and seconds of silence."""
    with av.open(file, "w", format=form, options=options) as container:
        stream = container.add_stream("flv1" if form == "flv" else "mpeg4", 25)
        stream.height, stream.width, stream.pix_fmt = 48, 80, "yuv420p"
        silence = container.add_stream("pcm_s16le", 11025, layout="mono") if sound else None
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(FRAMES[number % len(FRAMES)], format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        for second in range(sound):
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 11025), np.int16), format="s16", layout="mono")
            piece.rate, piece.pts = 11025, second * 11025
            container.mux(silence.encode(piece))


class Pipe:
    """What goes through a pipe: its writer cannot go back to the header."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += bytes(data)
        return len(data)


def edited(data):
    """An MP4 of which a telephone's edit shows the first 0.4 seconds."""
    start = data.index(b"elst") + 12
    return data[:start] + (400).to_bytes(4, "big") + data[start + 4 :]


@pytest.mark.parametrize(
    ("form", "options", "there"),
    [
        ("avi", {}, "20 of its 30 frames"),
        ("mp4", {"movflags": "faststart"}, "20 of its 30 frames"),
        ("matroska", {}, r"0\.\d of its 1\.\d seconds"),
        ("flv", {}, r"0\.\d of its 1\.\d seconds"),
    ],
)
def test_a_video_that_ends_early(tmp_path, form, options, there):
    path = tmp_path / f"clip.{form}"
    encoded(str(path), form, **options)
    assert len(list(video.Video(path))) == 30
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: places[20]])  # between two frames: half a frame is damaged
    frames = iter(video.Video(path))
    assert next(frames).shape == (48, 80, 3)  # whoever wants no more is content
    for to_the_end in (frames, video.Segment(path, 0.4)):
        with pytest.raises(ValueError, match=rf"clip\.\w+: cut off, {there} are there"):
            list(to_the_end)
    assert len(list(video.Segment(path, 0.4, 0.6))) == 5  # nothing of it is lacking


def test_a_header_that_says_more_frames_than_there_are(tmp_path):
    pipe, whole, heard = Pipe(), io.BytesIO(), io.BytesIO()
    encoded(pipe, "avi")
    encoded(whole, "mp4")
    encoded(heard, "flv", sound=3)
    files = {
        "piped.avi": (pipe.data, 30),
        "edited.mp4": (edited(whole.getvalue()), 10),
        "heard.flv": (heard.getvalue(), 30),
    }
    for name, (data, frames) in files.items():
        (tmp_path / name).write_bytes(data)
        with av.open(str(tmp_path / name)) as container:
            stated = container.streams.video[0].frames or container.duration * 25 / av.time_base  # of FLV
            assert stated > frames or name == "piped.avi"
        assert len(list(video.Video(tmp_path / name))) == frames
