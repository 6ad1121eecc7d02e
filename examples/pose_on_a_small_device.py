"""The activity in a folder of pictures, on a small device: BlazePose and a network of poses, both run by LiteRT.

It needs neither TensorFlow nor keras-adl-zoo, but four packages:

    pip install numpy pillow ai-edge-litert 'mediapipe>=0.10.30,<0.10.32'

On another machine, export a network of poses; then copy its folder to the device:

    python -m serving.export --pretrained nucla --to models --format litert           # models/pose_gcn/1
    python pose_on_a_small_device.py --model pose_gcn/1 --poses pose_landmarker_full.task --pictures frames

The pictures are the frames of one clip, in the order of their names; numbers in names are compared as numbers. A camera
or `ffmpeg -i video.mp4 frames/%05d.jpg` writes them. The .task file is MediaPipe's Pose Landmarker. One person is
followed. A network whose joints cannot be mapped from BlazePose's, such as a network of hands, is refused.
"""

import argparse
import json
import pathlib
import re
import sys
import time

import numpy as np

SUFFIXES = (".jpg", ".jpeg", ".png")
AXES = np.array([1, -1, 1], np.float32)  # MediaPipe: y downwards


class Network:
    """An exported network of poses.

    Args:
        folder: A version folder of ``serving.export --format litert``.
    """

    def __init__(self, folder):
        from ai_edge_litert.interpreter import Interpreter

        folder = pathlib.Path(folder)
        self._inputs = json.loads((folder / "assets" / "inputs.json").read_text())
        self._skeleton = json.loads((folder / "assets" / "skeleton.json").read_text())
        self.labels = (folder / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()
        if "from_blazepose_33" not in self._skeleton:
            raise ValueError(f"{folder}: its skeleton {self._inputs['layout']} cannot be made of BlazePose's joints")
        self._interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=1)
        self._run = self._interpreter.get_signature_runner()

    def __call__(self, poses):
        """Class -> probability, from BlazePose's poses ``[T, 33, 3]`` in metres; zeros where nobody was found."""
        found = self._run(pose=self.features(poses)[np.newaxis])
        return dict(zip(self.labels, found["probabilities"][0].tolist()))

    def features(self, poses):
        """The network's input ``[steps, persons, joints, 3]``, as training prepares it."""
        weights = np.array(self._skeleton["from_blazepose_33"], np.float32)  # [joints, 33]
        person = np.einsum("jk,tkc->tjc", weights, without_gaps(poses))  # [T, joints, 3]
        steps = self._steps(self._normalised(person))
        absent = np.zeros((len(steps), self._inputs["persons"] - 1, *steps.shape[1:]), np.float32)
        return np.concatenate([steps[:, np.newaxis], absent], axis=1).astype(np.float32)

    def _normalised(self, person):
        """Poses ``[T, joints, 3]`` with the origin, the axes and the unit of the training."""
        settings = {"reference": "clip", "depth": 1.0, **self._inputs["normalisation"]}

        def mean(values):  # [T, n] -> [T or 1, n]
            return {"frame": values, "clip": values[:1], "mean": values.mean(axis=0, keepdims=True)}[
                settings["reference"]
            ]

        def point(name):
            return person[:, self._skeleton[name]].mean(axis=1)  # [T, 3]

        spine = point("spine") - point("spine_base")
        origin = {"root": "root", "spine": "spine"}.get(settings["origin"], "hip_centre")
        out = person - mean(point(origin))[:, np.newaxis]
        if settings["axes"] != "camera":
            across = mean(point("left_hip") - point("right_hip"))
            if settings["axes"] == "body":
                x = unit(across)
                y = unit(without(mean(spine), x))
            else:
                y = np.broadcast_to(np.array([0, 1, 0], np.float32), across.shape)
                x = unit(without(across, y))
            axes = np.stack([x, y, np.cross(x, y)], axis=1)  # [T or 1, 3, 3]
            out = np.einsum("tjc,tac->tja", out, np.broadcast_to(axes, (len(out), 3, 3)))
        if settings["scale"]:
            out = out / mean(np.linalg.norm(spine, axis=-1, keepdims=True))[:, np.newaxis]
        return out * np.array([1, 1, settings["depth"]], np.float32)

    def _steps(self, poses):
        """The poses at the middles of equal parts of the clip: ``[steps, joints, 3]``."""
        steps = self._inputs["pose_steps"]
        positions = (np.arange(steps, dtype=np.float32) + np.float32(0.5)) / np.float32(steps) * len(poses)
        if not self._inputs.get("interpolate"):
            return poses[np.clip(positions, 0, len(poses) - 1).astype(int)]
        index = np.clip(positions - 0.5, 0, len(poses) - 1)
        before = index.astype(int)
        weight = (index - before)[:, np.newaxis, np.newaxis]
        return (1 - weight) * poses[before] + weight * poses[np.minimum(before + 1, len(poses) - 1)]


def unit(vector):
    """Vectors of length 1."""
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def without(vector, direction):
    """The part of vectors that is at right angles to a direction."""
    return vector - (vector * direction).sum(axis=-1, keepdims=True) * direction


def without_gaps(poses):
    """Poses ``[T, 33, 3]``; frames without a person are interpolated between the nearest frames with one."""
    found = np.flatnonzero(poses.any(axis=(1, 2)))
    if not found.size:
        raise ValueError("no person was found in any picture")
    flat = poses.reshape(len(poses), -1)
    times = np.arange(len(poses))
    filled = [np.interp(times, found, flat[found, column]) for column in range(flat.shape[1])]
    return np.stack(filled, axis=1).reshape(poses.shape).astype(np.float32)


def estimated(pictures, task, fps):
    """BlazePose's poses ``[T, 33, 3]`` of picture files, metres; zeros where nobody is found."""
    import mediapipe
    from mediapipe.tasks.python import vision

    options = vision.PoseLandmarkerOptions(
        base_options=mediapipe.tasks.BaseOptions(model_asset_path=str(task)),
        running_mode=vision.RunningMode.VIDEO,
        min_pose_detection_confidence=0.2,
    )
    poses = np.zeros((len(pictures), 33, 3), np.float32)
    with vision.PoseLandmarker.create_from_options(options) as landmarker:
        for number, path in enumerate(pictures):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=read(path))
            found = landmarker.detect_for_video(picture, round(1000 * number / fps)).pose_world_landmarks
            if found:
                poses[number] = np.array([(joint.x, joint.y, joint.z) for joint in found[0]]) * AXES
    return poses


def picture_files(folder):
    """The picture files of a folder, in the order of their names; numbers in names are compared as numbers."""

    def key(path):
        return [(int(digits), "") if digits else (-1, text) for digits, text in re.findall(r"(\d+)|(\D+)", path.name)]

    found = sorted((path for path in pathlib.Path(folder).iterdir() if path.suffix.lower() in SUFFIXES), key=key)
    if not found:
        raise ValueError(f"{folder} has no pictures, expected {', '.join(SUFFIXES)}")
    return found


def read(path):
    """A picture ``[H, W, 3]`` as a viewer shows it. MediaPipe's own reader would end the process on a damaged file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description="The activity in a folder of pictures, by poses alone.")
    parser.add_argument("--model", required=True, help="version folder of serving.export --format litert")
    parser.add_argument("--poses", required=True, help="MediaPipe's pose_landmarker_*.task")
    parser.add_argument("--pictures", required=True, help="folder of .jpg, .jpeg or .png, one for each frame")
    parser.add_argument("--fps", type=float, default=30.0, help="pictures per second (default: 30)")
    arguments = parser.parse_args()
    if not arguments.fps > 0:
        parser.error(f"--fps {arguments.fps:g}: expected more than 0")
    try:
        pictures = picture_files(arguments.pictures)
        network = Network(arguments.model)
        start = time.perf_counter()
        poses = estimated(pictures, arguments.poses, arguments.fps)
        between = time.perf_counter()
        probabilities = network(poses)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for label, probability in sorted(probabilities.items(), key=lambda item: -item[1])[:5]:
        print(f"{label:24} {probability:.4f}")
    milliseconds = 1000 * (between - start) / len(pictures), 1000 * (time.perf_counter() - between)
    print(
        f"{milliseconds[0]:.1f} ms per picture for the pose, {milliseconds[1]:.2f} ms for the activity", file=sys.stderr
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
