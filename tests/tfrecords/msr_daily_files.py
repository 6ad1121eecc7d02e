"""Writes MSR Daily Activity 3D as it is distributed, and its converted form, with made-up content."""

import av
import numpy as np

from tests.tfrecords import nucla_files
from tfrecords.converting import crops

FRAME = nucla_files.FRAME


def walk(clip_id, frames=8):
    """Poses ``[T, 20, 3]``."""
    return nucla_files.walk(clip_id, frames)


def skeleton_text(poses, bodies=None):
    """The official form: ``bodies`` says which of ``[M, T, 20, 3]`` each frame has; default: the only one, always."""
    poses = np.asarray(poses)
    poses = poses if poses.ndim == 4 else poses[np.newaxis]
    bodies = [[0]] * poses.shape[1] if bodies is None else bodies
    lines = [f"{len(bodies)} 20"]
    for frame, present in enumerate(bodies):
        lines.append(str(40 * len(present)))
        for body in present:
            for (x, y, z), (u, v) in zip(poses[body, frame], pixels(poses[body, frame]) / FRAME):
                lines += [f"{x:.6f} {y:.6f} {z:.6f} 1", f"{u:.6f} {v:.6f} {z * 1000:.0f} 1"]
    return "".join(f"{line}\n" for line in lines)


def converted_text(poses):
    """The converted form: rows of frame, joint, x, y, z."""
    rows = [(t + 1, j + 1, *xyz) for t, pose in enumerate(poses) for j, xyz in enumerate(pose)]
    return "".join("{} {} {:.3f} {:.3f} {:.3f}\n".format(*row) for row in rows)


def pixels(xyz):
    """Where joints lie in a frame."""
    return crops.project(xyz, nucla_files.FOCAL_LENGTH, *FRAME)


def write_video(path, poses):
    """Writes a video in which every joint is a square."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = FRAME
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for pose in poses:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(nucla_files.picture(pose), format="rgb24")))
        container.mux(stream.encode())


def write(folder, clip_id, frames=8, video=True):
    """Writes one clip in the official form; returns the path of its skeleton text."""
    folder.mkdir(parents=True, exist_ok=True)
    poses = walk(clip_id, frames)
    path = folder / f"{clip_id}_skeleton.txt"
    path.write_text(skeleton_text(poses))
    (folder / f"{clip_id}_depth.bin").write_bytes(b"")  # in the release, of no use here
    if video:
        write_video(folder / f"{clip_id}_rgb.avi", poses)
    return path
