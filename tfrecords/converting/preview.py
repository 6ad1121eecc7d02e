"""A contact sheet of a dataset before it is converted: boxes and joints over frames, and the crops.

Each clip is a row of frames, evenly spread over its length, with the crops that would be stored below. A mirrored
picture, joints of another camera or a wrong order of joints is easy to see. Poses whose pixel coordinates are not
known, or that are stored without pictures, are drawn as the camera sees them, all frames of a clip at the same scale,
with a scale bar of 1 m.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tfrecords.converting import crops, drawing, plausibility
from tfrecords.errors import RejectedClip
from zoo import skeletons
from zoo.shared import files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.datasets.base import VideoSource

CLIPS, FRAMES = 6, 5
HEIGHT, WIDTH = 240, 320  # of a frame on the sheet, pixels; the width is that of a skeleton without a picture
MARGIN = 24  # around a skeleton, pixels
_BOXES = {
    "full_body": (255, 255, 255),
    "left_hand": drawing.LEFT,
    "right_hand": drawing.RIGHT,
    "full_image": (160, 160, 160),
}


def contact_sheet(source: VideoSource, path: pathlib.Path, clip: str | None = None) -> tuple[int, int]:
    """Draws a contact sheet.

    Args:
        source: A :class:`~tfrecords.datasets.base.VideoSource`.
        path: The picture to write, ``.png`` or ``.jpg``.
        clip: Id of the only clip to draw; default: :data:`CLIPS` clips of as many classes as possible.

    Returns:
        ``(clips, frames)``: how many clips there are on it, and frames of each.

    Raises:
        UserError: There is no such clip, none can be read, or the picture cannot be written.
    """
    check(path)
    infos = list(source.index().clips)
    if clip is not None:
        infos = [info for info in infos if info.id == clip]
        if not infos:
            raise UserError(f"--clip {clip}: no such clip in the source")
    rows, reasons, measures = [], [], []
    for info in _spread(infos):
        try:
            row, poses = _row(source, info)
            rows.append(row)
            if poses is not None:
                measures += plausibility.measure(poses.xyz, poses.confidence, source.layout)
        except (RejectedClip, ValueError) as reason:
            reasons.append(f"{info.id}: {reason}")
        if len(rows) == CLIPS:
            break
    if not rows:
        raise UserError(f"--preview: no clip can be read ({'; '.join(reasons[:3])})")
    width = max(row.shape[1] for row in rows)
    sheet = np.concatenate([np.pad(row, ((0, 8), (0, width - row.shape[1]), (0, 0))) for row in rows])
    _write(path, sheet)
    plausibility.warn(source.name, plausibility.summary(measures, source.layout), source.layout)
    return len(rows), FRAMES


def check(path: pathlib.Path) -> None:
    """Raises :class:`UserError` unless the path names a picture file in a folder that exists."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--preview {path}: expected the name of a .png or .jpg file")
    if not path.parent.is_dir():
        raise UserError(_failed(path))


def _failed(path):
    return f"--preview {path}: cannot be written, expected a folder that is there and writable"


def _spread(infos):
    """The clips in an order that takes one of each class, then another of each, ..."""
    seen = {}
    for info in infos:
        seen.setdefault(info.label, []).append(info)
    return [clips[turn] for turn in range(max(map(len, seen.values()), default=0))
            for clips in seen.values() if turn < len(clips)]  # fmt: skip


def _row(source, info):
    """Frames of a clip with boxes and joints, their crops below; and the clip's poses."""
    recording = source.recording(info) if source.reads_recordings else None
    poses = source.known_poses(info, recording)
    count = len(poses) if poses is not None else sum(1 for _ in recording)
    chosen = {round((step + 0.5) * count / FRAMES - 0.5) for step in range(FRAMES)}
    if recording is None or not source.parts:
        columns = [_skeletons(poses, number, source.layout, HEIGHT, WIDTH) for number in sorted(chosen)]
    else:
        columns = _frames(source, recording, poses, chosen)
    picture = np.concatenate(columns, axis=1)
    text = f"{info.id}  {source.labels[info.label]}  {count} frames"
    text += "  no pose" if source.with_poses and poses is None else ""
    drawing.text(picture, text, (6, 18), (255, 255, 255))
    return picture, poses


def _frames(source, recording, poses, chosen):
    """The chosen frames of a recording, with boxes and joints drawn over them and the crops below."""
    boxes = source.boxes(poses, recording)
    columns = []
    for number, frame in enumerate(recording):
        if number in chosen:
            at = {part: box[min(number, len(box) - 1)] for part, box in boxes.items()}
            columns.append(_column(source, frame, poses, number, at))
        if number >= max(chosen):
            break
    return columns


def _column(source, frame, poses, number, boxes):
    whole = np.ascontiguousarray(frame[:, :])
    scale = HEIGHT / whole.shape[0]
    picture = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for part, box in boxes.items():
        x0, y0, x1, y1 = (round(float(value) * scale) for value in box)
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), _BOXES[part], 1)
    there = poses is not None and number < len(poses)
    if there and poses.xy is not None:
        drawing.joints(picture, poses.xy[number] * scale, poses.confidence[number] > 0, skeletons.get(source.layout))
    cuts = [crops.decode_jpeg(crops.encode_jpeg(crops.cut(frame, box, source.size))) for box in boxes.values()]
    side = min(HEIGHT // 2, picture.shape[1] // len(cuts))
    cuts = np.concatenate([cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA) for cut in cuts], axis=1)
    under = np.zeros((side, picture.shape[1], 3), np.uint8)
    under[:, : cuts.shape[1]] = cuts
    beside = picture.shape[1] - cuts.shape[1]
    if there and poses.xy is None and beside > 4 * MARGIN:
        under[:, cuts.shape[1] :] = _skeletons(poses, number, source.layout, side, beside)
    return np.concatenate([picture, under])


def _skeletons(poses, number, layout, height, width):
    """The persons of one frame ``[height, width, 3]`` from the front, at a scale that fits every frame of the clip."""
    picture = np.zeros((height, width, 3), np.uint8)
    in_metres = poses.xyz is not None
    seen = poses.confidence > 0  # [T, M, J]
    xy = poses.xyz[..., :2] * np.float32([1, -1]) if in_metres else poses.xy  # rows of a picture go down
    if not seen.any():
        return picture
    low, high = xy[seen].min(axis=0), xy[seen].max(axis=0)
    scale = float(((np.array([width, height]) - 2 * MARGIN) / np.maximum(high - low, 1e-6)).min())
    centred = (xy[number] - (low + high) / 2) * scale + np.array([width, height]) / 2
    drawing.joints(picture, centred, seen[number], skeletons.get(layout))
    if in_metres:
        end = MARGIN // 2 + int(min(max(scale, 1), width))
        cv2.line(picture, (MARGIN // 2, height - 8), (end, height - 8), (160, 160, 160), 1)
        drawing.text(picture, "1 m", (MARGIN // 2, height - 12), (160, 160, 160), 0.35)
    return picture


def _write(path, picture):
    with files.whole_file(path) as partial:
        if not cv2.imwrite(str(partial), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise UserError(_failed(path))
