"""Sources whose frames and clips have numbers: frame k has brightness 8 * k, and its poses are k metres up."""

import dataclasses

import cv2
import numpy as np

from tfrecords import schema
from tfrecords.converting import shards, writer
from tfrecords.datasets import base, nucla
from zoo import skeletons

STEP = 8  # brightness of frame k is STEP * k
SIDE = 48  # stored pixels
BOX = (10, 20, 106, 164)  # the full body's, in the source frame: a stored pixel is 2 wide and 3 high there


def convert(source, folder, **options):
    """Converts in this process: one of its own takes seconds to start."""

    def run(source, todo, directory, workers, bar, lock):
        return {shard: shards.write_shard(source, shard, directory) for shard in todo}

    return writer.convert(source, folder, run=run, **options)


class NumberedFrames(base.Source):
    """N-UCLA ids, video of three parts and poses; episode e has 4 * e + 3 frames."""

    name = "nucla"
    labels = nucla.NUCLA.labels
    layout = "kinect_v1_20"
    persons = 1
    fps = 30.0
    help = "frames with numbers"
    parse_id = staticmethod(nucla.NUCLA.parse_id)

    @classmethod
    def add_arguments(cls, parser):
        """No options."""

    @classmethod
    def from_arguments(cls, arguments):
        """The source."""
        return cls()

    def options(self):
        """No options."""
        return {}

    def index(self):
        """Two classes, three subjects, three episodes, three views."""
        ids = [
            f"a{a:02d}_s{s:02d}_e{e:02d}_v{v:02d}"
            for a in (1, 2) for s in (1, 2, 3) for e in (0, 3, 6) for v in (1, 2, 3)
        ]  # fmt: skip
        return base.Index(tuple(self.parse_id(clip_id) for clip_id in sorted(ids)))

    def read(self, info):
        """Frame k: the full body left half dark, right half STEP * k; hands 40 (left) and 200 (right).

        Joint j of the body lies on the edge between both halves, j stored pixels from the top, in all frames.
        """
        frames = 4 * info.repetition + 3
        joints = skeletons.get(self.layout).num_joints
        body = np.random.default_rng(0).normal(size=(1, 1, joints, 3)).astype("float32")
        pose = np.repeat(body, frames, axis=0)
        pose[..., 1] += np.arange(frames, dtype="float32")[:, None, None]
        edge = [(BOX[0] + SIDE / 2 * 2, BOX[1] + 3 * joint) for joint in range(joints)]
        return schema.Clip(
            info=info,
            dataset=self.name,
            label_text=self.labels[info.label],
            fps=self.fps,
            images={
                "full_body": [_half_lit(STEP * k) for k in range(frames)],
                "left_hand": [_jpeg(np.full((SIDE, SIDE, 3), 40, np.uint8))] * frames,
                "right_hand": [_jpeg(np.full((SIDE, SIDE, 3), 200, np.uint8))] * frames,
            },
            boxes={"full_body": np.full((frames, 4), BOX, "float32")},
            layout=self.layout,
            pose_xyz=pose,
            pose_xy=np.full((frames, 1, joints, 2), edge, "float32"),
        )


class WithoutPixels(NumberedFrames):
    """The same without the joints' pixel coordinates."""

    def read(self, info):
        """As :class:`NumberedFrames`, without pixels."""
        return dataclasses.replace(super().read(info), pose_xy=None)


def _half_lit(brightness):
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[:, SIDE // 2 :] = brightness
    return _jpeg(picture)


def _jpeg(picture):
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


class NumberedPoses(NumberedFrames):
    """Poses alone of two classes, the second rare: the x of joint 5 is the clip's number."""

    frequent, rare = 40, 6  # clips of both classes, most of them for training in v3_12

    def index(self):
        """Ten subjects of the first class; of the second, fewer episodes."""
        ids = [
            f"a{a:02d}_s{1 + k % 10:02d}_e{k // 10:02d}_v{v:02d}"
            for a, clips in ((1, self.frequent), (2, self.rare)) for k in range(clips) for v in (1, 3)
        ]  # fmt: skip
        return base.Index(tuple(self.parse_id(clip_id) for clip_id in sorted(ids)))

    def read(self, info):
        """Two frames."""
        pose = np.zeros((2, 1, skeletons.get(self.layout).num_joints, 3), "float32")
        pose[..., 1:, 2] = 1  # a person is there
        pose[:, :, 5, 0] = self.number(info)
        return schema.Clip(info, self.name, self.labels[info.label], self.fps, layout=self.layout, pose_xyz=pose)

    @staticmethod
    def number(info):
        """A number that no other clip of the split has, from 1."""
        return 1 + 100 * info.label + 10 * info.repetition + info.subject
