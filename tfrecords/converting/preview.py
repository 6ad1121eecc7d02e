"""A contact sheet of a dataset before it is converted: boxes and joints over frames, and what is cut out.

Each clip is a row of frames, evenly spread over its length, and under it the pictures that would be stored of them. A
mirrored picture, joints of another camera or a wrong order of joints cannot be missed in it.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tfrecords.converting import crops
from tfrecords.errors import RejectedClip
from zoo import skeletons
from zoo.shared import files
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.datasets.base import VideoSource

CLIPS, FRAMES = 6, 5
HEIGHT = 240  # of a frame on the sheet, pixels
_LETTERS = cv2.FONT_HERSHEY_SIMPLEX
# RGB; left is green and right is red, as on ships.
_LEFT, _RIGHT, _MIDDLE = (60, 220, 90), (240, 70, 60), (250, 220, 80)
_BOXES = {"full_body": (255, 255, 255), "left_hand": _LEFT, "right_hand": _RIGHT}


def contact_sheet(source: VideoSource, path: pathlib.Path, clip: str | None = None) -> tuple[int, int]:
    """Draws a contact sheet.

    Args:
        source: A :class:`~tfrecords.datasets.base.VideoSource` that stores pictures.
        path: The picture to write, ``.png`` or ``.jpg``.
        clip: Id of the only clip to draw; default: :data:`CLIPS` clips of classes as different as there are.

    Returns:
        ``(clips, frames)``: how many clips there are on it, and frames of each.

    Raises:
        UserError: The source stores no pictures, there is no such clip, none can be read, or the picture cannot be
            written.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--preview {path}: expected the name of a .png or .jpg file")
    if not source.parts:
        raise UserError("--preview draws over pictures, and --parts none has none: leave one of the two out")
    infos = list(source.index().clips)
    if clip is not None:
        infos = [info for info in infos if info.id == clip]
        if not infos:
            raise UserError(f"--clip {clip}: no such clip in the source")
    rows, reasons = [], []
    for info in _spread(infos):
        try:
            rows.append(_row(source, info))
        except (RejectedClip, ValueError) as reason:
            reasons.append(f"{info.id}: {reason}")
        if len(rows) == CLIPS:
            break
    if not rows:
        raise UserError(f"--preview: no clip can be read ({'; '.join(reasons[:3])})")
    width = max(row.shape[1] for row in rows)
    sheet = np.concatenate([np.pad(row, ((0, 8), (0, width - row.shape[1]), (0, 0))) for row in rows])
    _write(path, sheet)
    return len(rows), FRAMES


def _spread(infos):
    """The clips in an order that takes one of each class, then another of each, ..."""
    seen = {}
    for info in infos:
        seen.setdefault(info.label, []).append(info)
    return [clips[turn] for turn in range(max(map(len, seen.values()), default=0))
            for clips in seen.values() if turn < len(clips)]  # fmt: skip


def _row(source, info):
    """Frames of a clip with boxes and joints, over the pictures cut out of them."""
    recording = source.recording(info)
    poses = source.poses_of(info, recording) if source.with_poses else None
    boxes = source.boxes(poses, recording)
    count = len(poses) if poses is not None else sum(1 for _ in recording)
    chosen = {round((step + 0.5) * count / FRAMES - 0.5) for step in range(FRAMES)}
    columns = []
    for number, frame in enumerate(recording):
        if number in chosen:
            at = {part: box[min(number, len(box) - 1)] for part, box in boxes.items()}
            columns.append(_column(source, frame, poses, number, at))
        if number >= max(chosen):
            break
    picture = np.concatenate(columns, axis=1)
    text = f"{info.id}  {source.labels[info.label]}  {count} frames"
    cv2.putText(picture, text, (6, 18), _LETTERS, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (6, 18), _LETTERS, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return picture


def _column(source, frame, poses, number, boxes):
    whole = np.ascontiguousarray(frame[:, :])
    scale = HEIGHT / whole.shape[0]
    picture = cv2.resize(whole, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for part, box in boxes.items():
        x0, y0, x1, y1 = (round(float(value) * scale) for value in box)
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), _BOXES[part], 1)
    if poses is not None and poses.xy is not None and number < len(poses):
        _draw_joints(picture, poses.xy[number] * scale, poses.confidence[number] > 0, skeletons.get(source.layout))
    cuts = [crops.decode_jpeg(crops.encode_jpeg(crops.cut(frame, box, source.size))) for box in boxes.values()]
    side = min(HEIGHT // 2, picture.shape[1] // len(cuts))
    cuts = np.concatenate([cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA) for cut in cuts], axis=1)
    under = np.zeros((side, picture.shape[1], 3), np.uint8)
    under[:, : cuts.shape[1]] = cuts
    return np.concatenate([picture, under])


def _draw_joints(picture, xy, visible, layout):
    """Bones and joints of all persons onto a picture: ``xy`` [M, J, 2] in its pixels."""
    for person, seen in zip(np.rint(np.clip(xy, -1e4, 1e4)).astype(int).tolist(), visible):
        for joint, name in enumerate(layout.joints):
            colour = _LEFT if name.startswith("left_") else _RIGHT if name.startswith("right_") else _MIDDLE
            for first, second in layout.bones:
                if joint == second and seen[first] and seen[second]:
                    cv2.line(picture, person[first], person[joint], colour, 1, cv2.LINE_AA)
            if seen[joint]:
                cv2.circle(picture, person[joint], 2, colour, -1, cv2.LINE_AA)


def _write(path, picture):
    failed = f"--preview {path}: cannot be written, expected a folder that is there and writable"
    if not path.parent.is_dir():
        raise UserError(failed)
    with files.whole_file(path) as partial:
        if not cv2.imwrite(str(partial), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise UserError(failed)
