"""Time from a video file to its label, and the fraction of it that is spent outside the network.

An exported model, frozen as for a CPU, classifies a video in this process, as ``python -m serving.predict`` does:
decoding, conversion of the frames to tensors, crop and resizing in the model's graph, the network. For comparison the
same run also decodes all frames and puts them into a message, as a client does.

    python benchmarks/clip_to_label.py                         # I3D, 64 frames of 224 x 224, on a clip of SynthADL
    python benchmarks/clip_to_label.py --video FILE
    python benchmarks/clip_to_label.py --model BASE/i3d_int8   # an export of yours, of any format
"""

from __future__ import annotations

import collections
import json
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np

if not __package__:  # run as a script: `serving` is the package, not the script beside this one
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

WIDTH, HEIGHT, RATE = 640, 480, 30
GOAL = 0.1  # fraction of the total time spent outside the network
TOLERANCE = 0.02  # of probabilities: large frames are shrunk while they are decoded, in a message they are not


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="clip_to_label.py", description="Time from a video file to its label.")
    parser.add_argument(
        "--video", type=pathlib.Path, metavar="FILE", help="a video; default: a generated clip of SynthADL"
    )
    parser.add_argument("--seconds", type=float, default=5, help="length of the generated video (default: 5)")
    parser.add_argument("--model", type=pathlib.Path, metavar="FOLDER", help="an exported model of video alone")
    parser.add_argument("--frames", type=int, default=64, help="without --model: frames that I3D samples (default: 64)")
    parser.add_argument("--size", type=int, default=224, help="without --model: their height and width (default: 224)")
    parser.add_argument("--repetitions", type=int, default=7, help="timed rounds, after one that is not (default: 7)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    if arguments.repetitions < 1:
        raise UserError(f"--repetitions {arguments.repetitions}: expected a number from 1")
    command_line.quiet_tensorflow()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        video = arguments.video or make_video(scratch / "clip.mp4", round(arguments.seconds * RATE))
        folder = arguments.model or export(scratch, arguments.frames, arguments.size)
        result = measure(folder, video, arguments.repetitions)
    result["video"] = arguments.video and str(arguments.video)
    total = result["milliseconds"]["total"]
    size = result["size"]
    print(f"{arguments.model or 'I3D'}, {result['frames']} frames of {size} x {size}: from a video to its label")
    for name, value in result["milliseconds"].items():
        print(f"{name:16} {value:8.1f} ms {value / total:7.1%}")
    print(f"outside the network: {result['beside_the_network']:.1%} (goal: below {GOAL:.0%})")
    if arguments.json:
        files.write_json(arguments.json, {**result, **environment.describe("tensorflow", "av", "numpy")})
    return 0


def make_video(path: pathlib.Path, frames: int) -> pathlib.Path:
    """An H.264 video (x264's defaults) of a clip of SynthADL, with the noise of a camera."""
    import av

    from tfrecords.converting import crops
    from tfrecords.datasets.synthetic import SynthADL

    source = SynthADL(subjects=1, repetitions=1, frames=frames, size=WIDTH)
    clip = source.read(source.index().clips[0])
    rng = np.random.default_rng(0)
    top = (WIDTH - HEIGHT) // 2
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for jpeg in clip.images["full_body"]:
            picture = crops.decode_jpeg(jpeg)[top : top + HEIGHT]
            noisy = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noisy, format="rgb24")))
        container.mux(stream.encode())
    return path


def export(scratch: pathlib.Path, frames: int, size: int, framing: str = "centre") -> pathlib.Path:
    """Exports an I3D with random weights, which is as fast as a trained one, and returns its version folder."""
    import tensorflow as tf

    import zoo
    from serving.export import Run
    from serving.export import export as write
    from tfrecords.datasets.synthetic import SynthADL
    from tfrecords.reading.pipeline import Inputs

    tf.keras.utils.set_random_seed(0)
    run = scratch / "run"
    run.mkdir()
    zoo.build("i3d", num_classes=len(SynthADL.labels), frames=frames, size=size).save(run / "model.keras")
    inputs = Inputs(frames=frames, stride=2, size=size, framing=framing)
    (run / "inputs.json").write_text(json.dumps(inputs.to_dict()))
    (run / "labels.txt").write_text("".join(f"{label}\n" for label in SynthADL.labels))
    folder, _ = write(Run(run), scratch / "models", freeze=True)
    return folder


def measure(folder: pathlib.Path, video: pathlib.Path, repetitions: int) -> dict[str, Any]:
    """Median milliseconds of the parts, of the total, and of the way that decodes all frames and builds a message.

    Args:
        folder: The model's folder, or that of a version.
        video: The video's path.
        repetitions: Timed rounds, after one that is not.

    Returns:
        A dict of JSON values.

    Raises:
        UserError: The model also needs poses, or needs no video.
    """
    import tensorflow as tf

    from serving.client import clips, prediction, request
    from serving.predict import Predictor
    from serving.savedmodel import signatures

    predictor = Predictor(folder)
    servable, inputs = predictor.servable, predictor.inputs
    definition = servable.signature_defs[signatures.DEFAULT]
    if inputs is None or set(definition.inputs) != {"frames"}:
        raise UserError(f"{folder}: expected an export of a model of video alone")
    specs = signatures.input_specs(signatures.DEFAULT, inputs)
    prepare = tf.function(
        lambda frames: signatures.features(signatures.DEFAULT, inputs, {"frames": frames}),
        input_signature=[specs["frames"]],
    )

    def message():
        tensors = request.clip_tensors(definition, [(clips.read_video(video), None)])
        sent = request.predict_request(signatures.DEFAULT, definition, tensors, outputs=())
        return prediction.read(servable.predict(sent), 1, model=servable.name, signature=signatures.DEFAULT)[0]

    seconds = collections.defaultdict(list)

    def timed(name, function, *arguments):
        begin = time.perf_counter()
        result = function(*arguments)
        seconds[name].append(time.perf_counter() - begin)
        return result

    for number in range(repetitions + 1):
        if number == 1:
            seconds.clear()  # the first round also allocates and traces
        of_file = timed("total", predictor.predict_files, video)
        of_message = timed("message", message)
        of_label = dict(zip(of_message.labels, of_message.probabilities))
        difference = max(abs(p - of_label[label]) for label, p in zip(of_file.labels, of_file.probabilities))
        if difference > TOLERANCE:  # frames of a file are shrunk and rounded to integers
            raise ValueError(f"the two ways differ by {difference:.2g}: {of_file} and {of_message}")
        frames = timed("decode", clips.read_sampled, video, inputs).frames
        arrays = timed("arrays", request.clip_tensors, definition, [(frames, None)])
        tensor = timed("tensor", tf.constant, arrays["frames"])
        timed("prepare", lambda tensor: prepare(tensor)["rgb"].numpy(), tensor)
        timed("arrays to prediction", servable.predict_arrays, signatures.DEFAULT, arrays, ["classes", "probabilities"])
    median = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    parts = {
        "decode": median["decode"],
        "tensors": median["arrays"] + median["tensor"],
        "crop and resize": median["prepare"],
        # The rest of a prediction from arrays; it includes writing the few numbers of the response.
        "network": median["arrays to prediction"] - median["tensor"] - median["prepare"],
    }
    parts["total"] = median["total"]
    parts["as a message"] = median["message"]
    return {
        "milliseconds": parts,
        "beside_the_network": 1 - parts["network"] / parts["total"],
        "message_over_total": median["message"] / median["total"],
        "frames": inputs.frames,
        "size": inputs.size,
        "repetitions": repetitions,
    }


if __name__ == "__main__":
    sys.exit(command_line.run(main))
