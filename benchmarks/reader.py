"""How fast is the reader per core, compared with JPEG folders and video files? Does it leak?

Every way delivers the same: batches of clips of 64 frames of 224 x 224 pixels around the person, float32 in [-1, 1].

    tfrecords        this project's reader, from converted clips (pictures of 256 pixels)
    jpegs            OpenCV in a Python generator, as the original code's Keras Sequence, from the same pictures
    jpegs_recorded   the same from the recorded frames of 640 x 480 pixels, cut to the person
    decord, pyav     MMAction2's two decoders with its defaults (accurate; one thread), from H.264 files of the same
                     pictures, and cut to the person from the recorded frames (_recorded)

The process keeps to one core, and every library to one thread. Rounds alternate between the ways, after one that does
not count; the table gives medians of CPU time per clip, which other processes on the machine hardly change, and of
elapsed time. The reader's time includes starting its threads in every round. The clips are SynthADL's, 640 x 480
pixels, with the noise of a camera (standard deviation 4): as JPEG of quality 90 they take 1.6 bits per pixel, where
frames of an NTU RGB+D recording took 1.0 and those of a web video 1.8. decord is measured where it is installed
(``pip install decord``).

    python benchmarks/reader.py --out /tmp/clips
    python benchmarks/reader.py --out /tmp/clips --memory    # instead: resident memory over 10,000 clips
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import statistics
import sys
import time

import cv2
import numpy as np

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from tfrecords import protocols
from tfrecords.converting import crops, writer
from tfrecords.datasets import base, synthetic
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

FRAMES, STRIDE, SIZE = 64, 2, 224
STORED = 256  # pixels of a converted picture
NOISE = 4.0  # standard deviation of a recorded frame's noise, of 255
BATCH = 4
MEMORY_EVERY = 250  # clips between two measurements of memory


# --------------------------------------------------------------------------------------------------------- the clips


class Noisy(synthetic.SynthADL):
    """Training clips of SynthADL's protocol cv, with a camera's noise.

    Args:
        clips: How many.
        frames: About how many frames each has.
        size: Side of the converted pictures, pixels.
    """

    def __init__(self, clips, frames, size):
        super().__init__(frames=frames, size=size)
        self.clips = clips

    def index(self):
        """The first training clips, ``clips`` in number."""
        infos = super().index().clips
        training = [info for info in infos if protocols.split_of(self.name, "cv", info.id) == "train"]
        return base.Index(tuple(training[: self.clips]))

    def options(self):
        """All that the clips depend on, so that a folder with other clips is not reused."""
        return {**super().options(), "clips": self.clips, "noise": NOISE}

    def recorded(self, info):
        """Frames ``[480, 640, 3]`` of a clip."""
        performance = synthetic.perform(self.seed, info, synthetic.ACTIVITIES[info.label], self.frames)
        view = synthetic.camera(self.seed, info.setup, info.camera)
        rng = np.random.default_rng(sum(info.id.encode()))
        for frame in synthetic.render(performance, view, synthetic.generator("light", info.id)):
            yield np.clip(frame + rng.normal(0, NOISE, frame.shape), 0, 255).astype(np.uint8)

    def read(self, info):
        """A clip, its pictures cut out of the noisy frames."""
        clip = super().read(info)
        boxes = clip.boxes["full_body"].astype(int)
        pictures = [
            crops.encode_jpeg(crops.cut(frame, box, self.size)) for frame, box in zip(self.recorded(info), boxes)
        ]
        return dataclasses.replace(clip, images={"full_body": pictures})


def generate(source, out):
    """Writes the clips as TFRecords, JPEG files and video files, unless they are there.

    Args:
        source: A :class:`Noisy`.
        out: Folder.

    Returns:
        Clip id -> boxes ``[T, 4]`` of the person in the recorded frames.
    """
    writer.convert(source, out / "tfrecords", workers=1)
    boxes = {}
    with command_line.progress(len(source.index().clips), "files") as bar:
        for info in source.index().clips:
            clip = source.read(info)
            boxes[info.id] = clip.boxes["full_body"].astype(int)
            stored = [crops.decode_jpeg(jpeg) for jpeg in clip.images["full_body"]]
            if not (out / "recorded" / f"{info.id}.mp4").exists():
                recorded = list(source.recorded(info))
                for kind, frames in (("stored", stored), ("recorded", recorded)):
                    folder = out / kind / info.id
                    folder.mkdir(parents=True, exist_ok=True)
                    jpegs = clip.images["full_body"] if kind == "stored" else map(crops.encode_jpeg, frames)
                    for number, jpeg in enumerate(jpegs):
                        (folder / f"{number:05d}.jpg").write_bytes(jpeg)
                    _write_video(out / kind / f"{info.id}.mp4", frames)
            bar.update(1)
    return boxes


def _write_video(path, frames):
    """H.264 with x264's defaults: quality 23, a key frame every 250."""
    import av

    partial = path.with_name(f"partial-{path.name}")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode())
    os.replace(partial, path)


# ---------------------------------------------------------------------------------------------------------- the ways


def jpeg_frames(folder, indices):
    """Frames of a folder, as the original code reads them."""
    return [cv2.cvtColor(cv2.imread(os.path.join(folder, f"{index:05d}.jpg")), cv2.COLOR_BGR2RGB) for index in indices]


def decord_frames(folder, indices):
    """Frames of a video, as MMAction2's DecordInit and DecordDecode read them."""
    import decord

    with open(f"{folder}.mp4", "rb") as file:
        return list(decord.VideoReader(file, num_threads=1).get_batch(indices).asnumpy())


def pyav_frames(folder, indices):
    """Frames of a video, as MMAction2's PyAVInit and PyAVDecode read them: all up to the last one."""
    import av

    frames = []
    with av.open(f"{folder}.mp4") as container:
        container.streams.video[0].thread_type = "SLICE"  # not over frames: multi_thread=False
        for frame in container.decode(video=0):
            frames.append(frame.to_rgb().to_ndarray())
            if len(frames) > max(indices):  # a short clip's indices begin again at 0
                break
    return [frames[index] for index in indices]


def fitted(frame, box):
    """A frame at the network's size; if there is a ``box``, the person is cut out of the recorded frame."""
    if box is not None:
        x0, y0, x1, y1 = box
        inside = frame[max(y0, 0) : y1, max(x0, 0) : x1]
        missing = (max(-y0, 0), max(y1 - frame.shape[0], 0), max(-x0, 0), max(x1 - frame.shape[1], 0))
        frame = cv2.copyMakeBorder(inside, *missing, cv2.BORDER_CONSTANT) if any(missing) else inside
    return cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


@dataclasses.dataclass(frozen=True)
class Files:
    """A Python generator of batches from one file or folder per clip.

    Attributes:
        read: Function from a clip's path without suffix, and numbers of frames, to these frames.
        folder: Where the clips are.
        boxes: Clip id -> boxes of the person; frames are cut to them if ``cut``.
        cut: Whether the frames show more than the person.
    """

    read: object
    folder: pathlib.Path
    boxes: dict
    cut: bool

    def clip(self, clip_id, start):
        """``[FRAMES, SIZE, SIZE, 3]`` float32 in [-1, 1]."""
        boxes = self.boxes[clip_id]
        indices = [(start + STRIDE * k) % len(boxes) for k in range(FRAMES)]
        frames = self.read(str(self.folder / clip_id), indices)
        pictures = [fitted(frame, boxes[index] if self.cut else None) for frame, index in zip(frames, indices)]
        out = np.array(pictures, np.float32)
        out /= 127.5
        out -= 1.0
        return out

    def batches(self, epochs, rng):
        """Batches of all clips, in each epoch; the start of each window is drawn as in training."""
        for _ in range(epochs):
            ids = rng.permutation(sorted(self.boxes))
            for first in range(0, len(ids) - BATCH + 1, BATCH):
                starts = [rng.integers(0, self.last_start(clip_id) + 1) for clip_id in ids[first : first + BATCH]]
                yield np.stack([self.clip(*clip) for clip in zip(ids[first : first + BATCH], starts)])

    def last_start(self, clip_id):
        """Latest first frame of a training window: in the first half, and early enough for the window to fit."""
        frames = len(self.boxes[clip_id])
        return max(min(frames // 2, frames - FRAMES * STRIDE), 0)


def reader(folder, epochs, **changes):
    """This project's reader on one thread: a dataset of batches."""
    import tensorflow as tf

    from tfrecords.reading import augmentation, pipeline

    inputs = pipeline.Inputs(frames=FRAMES, stride=STRIDE, size=SIZE)
    augment = augmentation.Augmentation(**changes)
    records = pipeline.Records(folder)
    data = pipeline.training(records, "cv", inputs, batch=BATCH, seed=0, epochs=epochs, augment=augment)
    return on_one_thread(tf, data.map(lambda features, _: features["rgb"]))


def on_one_thread(tf, data):
    """A dataset whose operations have one thread in all."""
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    return data.with_options(options)


def ways(out, boxes, epochs):
    """Name -> function of a round's number that reads all clips ``epochs`` times and returns their number."""
    plain, changed = reader(out / "tfrecords", epochs, crop=False), reader(out / "tfrecords", epochs, flip=True)
    found = {"tfrecords": lambda _: _count(plain), "tfrecords, crop and flip": lambda _: _count(changed)}
    decoders = {"jpegs": jpeg_frames, "pyav": pyav_frames}
    if importlib.util.find_spec("decord"):
        decoders["decord"] = decord_frames
    for name, read in decoders.items():
        for kind, suffix in (("stored", ""), ("recorded", "_recorded")):
            way = Files(read, out / kind, boxes, cut=kind == "recorded")
            found[name + suffix] = lambda number, way=way: _count(way.batches(epochs, np.random.default_rng(number)))
    return found


def _count(batches):
    clips = 0
    for batch in batches:
        if tuple(batch.shape) != (BATCH, FRAMES, SIZE, SIZE, 3):
            raise ValueError(f"a batch of shape {batch.shape}")
        clips += BATCH
    return clips


def differences(out, boxes):
    """Name -> mean absolute difference to this project's reader on one clip, in grey levels."""
    from tfrecords.reading import pipeline

    records = pipeline.Records(out / "tfrecords")
    inputs = pipeline.Inputs(frames=FRAMES, stride=STRIDE, size=SIZE)
    ((features, _, _),) = pipeline.evaluation(records, "cv", "train", inputs, batch=1).take(1)
    clip_id = pipeline.clip_ids(records, "cv", "train")[0]
    start = max(len(boxes[clip_id]) - FRAMES * STRIDE, 0) // 2
    found = {}
    for name, read in (("jpegs", jpeg_frames), ("pyav", pyav_frames)):
        for kind in ("stored", "recorded"):
            clip = Files(read, out / kind, boxes, cut=kind == "recorded").clip(clip_id, start)
            found[f"{name}, {kind}"] = float(np.abs(clip - features["rgb"][0].numpy()).mean() * 127.5)
    return found


# ------------------------------------------------------------------------------------------------------ measurements


def measure(out, *, clips, frames, rounds, epochs):
    """Medians over rounds.

    Args:
        out: Folder of the clips.
        clips: How many.
        frames: About how many frames each has.
        rounds: Rounds that count.
        epochs: How often a round reads the clips.

    Returns:
        A dict of JSON values.
    """
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cv2.setNumThreads(1)
    boxes = generate(Noisy(clips, frames, STORED), out)
    todo = ways(out, boxes, epochs)
    seconds = {name: {"cpu": [], "elapsed": []} for name in todo}
    with command_line.progress((rounds + 1) * len(todo), "rounds", unit="way") as bar:
        for number in range(rounds + 1):
            for name, work in todo.items():
                cpu, elapsed = time.process_time(), time.perf_counter()
                count = work(number)
                cpu, elapsed = time.process_time() - cpu, time.perf_counter() - elapsed
                if number:
                    seconds[name]["cpu"].append(cpu / count)
                    seconds[name]["elapsed"].append(elapsed / count)
                bar.update(1)
    return {
        "clips": clips,
        "frames_per_clip": statistics.mean(map(len, boxes.values())),
        "rounds": rounds,
        "clips_per_round": count,
        "seconds_per_clip": {
            name: {kind: statistics.median(values) for kind, values in kinds.items()} for name, kinds in seconds.items()
        },
        "rounds_cpu_seconds_per_clip": {name: kinds["cpu"] for name, kinds in seconds.items()},
        "bytes_per_clip": {name: _bytes(out, name) / clips for name in todo},
        "grey_levels_from_reader": differences(out, boxes),
    }


def _bytes(out, name):
    """Bytes that a way's clips take on the disk."""
    if name.startswith("tfrecords"):
        found = (out / "tfrecords").glob("*.tfrecord")
    else:
        folder = out / ("recorded" if name.endswith("_recorded") else "stored")
        found = folder.glob("*/*.jpg" if name.startswith("jpegs") else "*.mp4")
    return sum(file.stat().st_size for file in found)


def memory(out, *, clips):
    """Resident memory while clips are read, with balanced classes and without.

    Args:
        out: Folder of the clips, small ones of their own.
        clips: How many are read.

    Returns:
        A dict of JSON values: slopes in bytes per clip, over the last three quarters, and the measured values.
    """
    from tfrecords.reading import pipeline

    source = Noisy(clips=96, frames=15, size=32)
    writer.convert(source, out / "small", workers=1)
    records = pipeline.Records(out / "small")
    inputs = pipeline.Inputs(frames=8, stride=1, size=32)
    found = {}
    for balance in pipeline.BALANCES:
        epochs = -(-clips // (records.steps("cv", "train", BATCH) * BATCH))
        data = pipeline.training(records, "cv", inputs, batch=BATCH, seed=0, epochs=epochs, balance=balance)
        seen = []
        for number, _ in enumerate(data.take(clips // BATCH), 1):
            if number * BATCH % MEMORY_EVERY == 0:
                seen.append((number * BATCH, _resident()))
        read, resident = np.array(seen[len(seen) // 4 :], np.float64).T
        slope = float(np.polyfit(read, resident, 1)[0])
        found[balance] = {"bytes_per_clip": slope, "clips": seen[-1][0], "resident_bytes": [size for _, size in seen]}
    return found


def _resident():
    """Bytes of memory that this process holds."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --------------------------------------------------------------------------------------------------------- the command


def _table(result):
    own = result["seconds_per_clip"]["tfrecords"]["cpu"]
    lines = [f"{'':26} {'CPU ms/clip':>11} {'clips/s/core':>12} {'elapsed ms':>10} {'MB/clip':>8} {'times ours':>10}"]
    for name, seconds in result["seconds_per_clip"].items():
        cpu, elapsed, size = seconds["cpu"], seconds["elapsed"], result["bytes_per_clip"][name]
        lines.append(
            f"{name:26} {1000 * cpu:11.1f} {1 / cpu:12.1f} {1000 * elapsed:10.1f} {size / 1e6:8.2f} {cpu / own:10.2f}"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Measures, prints a table and writes JSON."""
    parser = command_line.ArgumentParser(prog="reader.py", description=__doc__.splitlines()[0])
    out = "folder for the clips, which stay there"
    parser.add_argument("--out", type=pathlib.Path, default="runs/benchmarks/reader", metavar="DIR", help=out)
    parser.add_argument("--clips", type=int, default=8, help="clips that are generated")
    parser.add_argument("--frames", type=int, default=160, help="frames of each, about")
    parser.add_argument("--rounds", type=int, default=5, help="rounds the medians are taken of")
    parser.add_argument("--epochs", type=int, default=4, help="how often a round reads the clips")
    parser.add_argument("--memory", action="store_true", help="measure memory instead of time")
    parser.add_argument("--memory-clips", type=int, default=10_000, metavar="N", help="clips read with --memory")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="file to write (default: in --out)")
    arguments = parser.parse_args(argv)
    least = {"clips": BATCH, "frames": 15, "rounds": 1, "epochs": 1, "memory_clips": 8 * MEMORY_EVERY}
    for option, smallest in least.items():
        if getattr(arguments, option) < smallest:
            name = option.replace("_", "-")
            raise UserError(f"--{name} {getattr(arguments, option)}: expected a number from {smallest}")
    command_line.quiet_tensorflow()
    if arguments.memory:
        result = memory(arguments.out, clips=arguments.memory_clips)
        for balance in ("none", "classes"):
            sizes = [f"{size / 2**20:.0f}" for size in result[balance]["resident_bytes"]]
            slope, clips = result[balance]["bytes_per_clip"], result[balance]["clips"]
            shown = ", ".join(sizes[:: max(len(sizes) // 8, 1)])
            print(f"balance {balance}: {slope:+.0f} bytes per clip over {clips:,} clips (resident MiB: {shown})")
    else:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        result = measure(
            arguments.out,
            clips=arguments.clips // BATCH * BATCH,
            frames=arguments.frames,
            rounds=arguments.rounds,
            epochs=arguments.epochs,
        )
        print(f"{result['clips']} clips of {result['frames_per_clip']:.0f} frames, one core")
        print(_table(result))
        levels = ", ".join(f"{name} {value:.1f}" for name, value in result["grey_levels_from_reader"].items())
        print(f"mean difference to this reader's pictures, of 255 levels: {levels}")
    decoders = [name for name in ("av", "decord") if importlib.util.find_spec(name)]
    result.update(environment.describe("numpy", environment.OPENCV, "tensorflow", *decoders))
    path = arguments.json or arguments.out / ("memory.json" if arguments.memory else "reader.json")
    files.write_json(path, result)
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
