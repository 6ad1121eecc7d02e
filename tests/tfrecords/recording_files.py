"""Writes recordings as datasets hold them: videos, NTU skeletons, LCR-Net poses, with made-up content."""

import fractions
import io
import json
import re
import struct

import av
import cv2
import numpy as np

from zoo import skeletons

FOCAL_LENGTH = 120.0
FRAME = (160, 120)  # width, height
BACKGROUND, BODY = (40, 80, 120), (250, 60, 30)

# Where joints of any layout are on a standing person, metres, hips at the origin.
_HEIGHTS = {
    "head": 0.62, "neck": 0.5, "shoulder_centre": 0.42, "spine_shoulder": 0.42, "spine": 0.1, "spine_mid": 0.2,
    "torso": 0.2, "hip_centre": 0.0, "spine_base": 0.0, "shoulder": 0.38, "elbow": 0.12, "wrist": -0.1, "hand": -0.17,
    "hand_tip": -0.22, "thumb": -0.15, "hip": -0.06, "knee": -0.48, "ankle": -0.85, "foot": -0.9,
    "nose": 0.58, "eye_inner": 0.62, "eye": 0.62, "eye_outer": 0.62, "ear": 0.61, "mouth": 0.54,
    "pinky": -0.19, "index": -0.2, "heel": -0.9, "foot_index": -0.92,
}  # fmt: skip
_WIDTHS = {
    "shoulder": 0.18, "elbow": 0.24, "wrist": 0.26, "hand": 0.27, "hand_tip": 0.27, "thumb": 0.23, "pinky": 0.28,
    "index": 0.25, "eye_inner": 0.02, "eye": 0.03, "eye_outer": 0.04, "ear": 0.07, "mouth": 0.02,
}  # fmt: skip


def standing(layout):
    """``[J, 3]`` of a person of a layout, who faces the camera."""
    out = []
    for joint in skeletons.get(layout).joints:
        side, _, name = joint.rpartition("left_") if "left_" in joint else joint.rpartition("right_")
        side = 0 if name == joint else -1 if "left_" in joint else 1
        out.append((side * _WIDTHS.get(name, 0.1), _HEIGHTS[name], 0.0))
    return np.array(out, np.float32)


def walk(layout, frames=14, start=(-0.3, 0.0, 3.0), end=(0.3, 0.0, 3.0)):
    """Poses ``[T, J, 3]`` of a person who moves from one point to another."""
    where = np.linspace(start, end, frames).astype(np.float32)
    return standing(layout) + where[:, np.newaxis]


def project(xyz):
    """Pixels of joints in frames of :data:`FRAME`."""
    x, y, z = np.moveaxis(np.asarray(xyz), -1, 0)
    return np.stack([FRAME[0] / 2 + FOCAL_LENGTH * x / z, FRAME[1] / 2 - FOCAL_LENGTH * y / z], axis=-1)


def frames_of(*persons):
    """Frames ``[T, H, W, 3]`` in which the joints of persons ``[T, J, 3]`` are squares of 7 pixels."""
    frames = np.empty((len(persons[0]), FRAME[1], FRAME[0], 3), np.uint8)
    frames[...] = BACKGROUND
    for person in persons:
        for frame, pixels in zip(frames, np.rint(project(person)).astype(int)):
            for x, y in pixels:
                frame[max(y - 3, 0) : max(y + 4, 0), max(x - 3, 0) : max(x + 4, 0)] = BODY
    return frames


def is_body(image):
    """Which pixels show a person."""
    return np.abs(image.astype(int) - BODY).max(axis=-1) < 90


def write_video(path, frames, rate=25, codec="mpeg4", times=None, keys_every=None):
    """Writes a video file of frames ``[T, H, W, 3]``, at ``times`` in milliseconds where they last unequally long.

    ``keys_every``: frames from a key frame to the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        if keys_every:
            stream.codec_context.gop_size = keys_every
        if times is not None:
            stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_fields(path, greys):
    """Writes interlaced H.264 with a packet per field, as camcorders and broadcasts have it: frames of one grey each.

    Two of three frames are not referred to and come later in the file than the frame after them. FFmpeg's own encoders
    make no such video, so the fields (64 x 32) are written bit by bit, their pixels as they are (I_PCM).
    """

    def number(value):  # Exp-Golomb code
        bits = f"{value + 1:b}"
        return "0" * (len(bits) - 1) + bits

    def unit(kind, bits):
        bits += "1"
        bits += "0" * (-len(bits) % 8)
        data = int(bits, 2).to_bytes(len(bits) // 8, "big")
        return b"\0\0\0\1" + bytes([kind]) + re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", data)

    def field(grey, decoded, time, is_bottom, kind):
        bits = f"{number(0)}{number(7)}{number(0)}{decoded:08b}1{is_bottom}"
        bits += (number(0) if kind == 0x65 else "") + f"{time:08b}" + {0x65: "00", 0x61: "0", 0x01: ""}[kind]
        bits += number(0) + number(1)
        for _ in range(8):  # blocks of 16 x 16
            bits += number(25)
            bits += "0" * (-len(bits) % 8) + f"{grey:08b}" * 256 + f"{128:08b}" * 128
        return unit(kind, bits)

    sequence = f"{77:08b}{0:08b}{30:08b}" + "".join(map(number, (0, 4, 0, 4, 4))) + "0" + number(3) + number(1)
    sequence += "001010000000011" + "".join(map(number, (0, 0, 10, 10, 1, 4)))
    picture = number(0) * 2 + "00" + number(0) * 3 + "000" + number(0) * 3 + "100"
    order = [0, *(shown for last in range(3, len(greys), 3) for shown in (last, last - 2, last - 1))]
    data = [unit(0x67, sequence) + unit(0x68, picture)]
    for shown in order:
        for is_bottom in (0, 1):
            kind = 0x01 if shown % 3 else 0x61 if shown or is_bottom else 0x65
            decoded = shown // 3 + (2 if shown % 3 else 0)
            data.append(field(greys[shown], decoded, 2 * shown + is_bottom, is_bottom, kind))
    data[:2] = [data[0] + data[1]]
    with av.open(io.BytesIO(b"".join(data)), format="h264") as raw, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(raw.streams.video[0])
        for index, content in enumerate(data):
            packet = av.Packet(content)
            packet.stream, packet.time_base = stream, fractions.Fraction(1, 50)
            packet.pts, packet.dts = 2 * (order[index // 2] + 2) + index % 2, index
            packet.is_keyframe = not index
            container.mux(packet)
    return path


def with_exif(jpeg, mark, *, order="<", kind=3, offset=8, xmp=False):
    """A JPEG file with an EXIF mark of orientation, as telephones and cameras write it.

    ``order``: the byte order; ``kind``: 3 is a short number, 4 a long one; ``offset``: where the entries begin;
    ``xmp``: other metadata come first.
    """
    entries = [
        (0x10F, 2, 4, b"Me\0\0"),
        (0x112, kind, 1, struct.pack(order + {3: "HH", 4: "I"}[kind], *[mark, 0][: 5 - kind])),
    ]
    data = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", offset) + bytes(offset - 8)
    data += struct.pack(f"{order}H", len(entries))
    data += b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries) + bytes(4)
    segments = [b"http://ns.adobe.com/xap/1.0/\0<xmpmeta/>"] * xmp + [b"Exif\0\0" + data]
    return jpeg[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + jpeg[2:]


def shown(picture, mark):
    """What a viewer makes of a stored picture ``[H, W, 3]`` with an EXIF mark: the eight cases of the EXIF standard."""
    return {
        1: lambda: picture,
        2: lambda: picture[:, ::-1],
        3: lambda: np.rot90(picture, 2),
        4: lambda: picture[::-1],
        5: lambda: np.rot90(picture[:, ::-1]),
        6: lambda: np.rot90(picture, -1),
        7: lambda: np.rot90(picture[:, ::-1], -1),
        8: lambda: np.rot90(picture),
    }[mark if 1 <= mark <= 8 else 1]()


EXIF_MARKS = [
    *({"mark": mark, "order": order} for mark in range(10) for order in "<>"),
    {"mark": 6, "order": ">", "kind": 4},
    {"mark": 8, "offset": 20},
    {"mark": 5, "xmp": True},
]


def patches(height, width, seed=0):
    """A smooth picture of which no two turned or mirrored copies are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def ntu_text(bodies, frames=None, scale=(1920 / FRAME[0], 1080 / FRAME[1])):
    """A ``.skeleton`` file.

    Args:
        bodies: Body number -> (first frame, ``[n, 25, 3]``).
        frames: Frames in all; default: until the last body has gone.
        scale: From pixels of :data:`FRAME`, a stretched copy, to those of the dataset's frames.
    """
    frames = max(first + len(xyz) for first, xyz in bodies.values()) if frames is None else frames
    lines = [str(frames)]
    for frame in range(frames):
        there = {n: xyz[frame - first] for n, (first, xyz) in bodies.items() if first <= frame < first + len(xyz)}
        lines.append(str(len(there)))
        for number, xyz in there.items():
            lines += [f"{number} 0 1 1 1 1 0 0.02 0.05 2", "25"]
            for (x, y, z), (u, v) in zip(xyz, project(xyz) * scale):
                lines.append(f"{x:.7g} {y:.7g} {z:.7g} 277.4 191.8 {u:.7g} {v:.7g} -0.2 0.05 0.96 -0.12 2")
    return "\r\n".join(lines) + "\r\n"  # as the sensor's tool under Windows wrote them


def lcrnet_text(*persons, downwards=True):
    """A ``_pose3d.json`` of persons ``[T, 13, 3]``; a frame of NaN has nobody. The last person is the surest."""
    frames = []
    for poses in zip(*persons):
        frames.append([])
        for score, xyz in enumerate(poses, start=1):
            if np.isfinite(xyz).all():
                up = xyz * ((1, -1, 1) if downwards else 1)
                pose = {"pose2d": project(xyz).T.ravel().tolist(), "pose3d": up.T.ravel().tolist(), "cumscore": score}
                frames[-1].append(pose)
    return json.dumps({"K": 20, "njts": 13, "frames": frames})
