"""From bytes to an answer: what of the time between a video file and its label is the network's?

An exported model, frozen as for a CPU, answers a video in this process, as ``python -m serving.predict`` does:
decoding, what turns frames into tensors, the crop and the change of size in the model's graph, the network.
The other way of the same run, in turn with it, decodes all frames and sends them in a message, as a client does.

    python benchmarks/clip_to_label.py                         # I3D, 64 frames of 224 x 224, on a clip of SynthADL
    python benchmarks/clip_to_label.py --video FILE
"""

import collections
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np

if not __package__:  # run as a script: `serving` is the package, not the script beside this one
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from tfrecords import manifest
from zoo.shared import command_line
from zoo.shared.errors import UserError

WIDTH, HEIGHT, RATE = 640, 480, 30
GOAL = 0.1  # share of everything but the network


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="clip_to_label.py", description="Time from a video file to its label.")
    parser.add_argument("--video", type=pathlib.Path, metavar="FILE", help="a video; default: one of SynthADL is made")
    parser.add_argument("--seconds", type=float, default=5, help="length of the made video (default: 5)")
    parser.add_argument("--frames", type=int, default=64, help="frames that I3D looks at (default: 64)")
    parser.add_argument("--size", type=int, default=224, help="their height and width (default: 224)")
    parser.add_argument("--repetitions", type=int, default=7, help="that are timed, after a first (default: 7)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    if arguments.repetitions < 1:
        raise UserError(f"--repetitions {arguments.repetitions}: expected a number from 1")
    command_line.quiet_tensorflow()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        video = arguments.video or make_video(scratch / "clip.mp4", round(arguments.seconds * RATE))
        folder = export(scratch, arguments.frames, arguments.size)
        result = measure(folder, video, arguments.repetitions)
    result |= {"frames": arguments.frames, "size": arguments.size, "video": arguments.video and str(arguments.video)}
    total = result["milliseconds"]["total"]
    print(f"I3D, {arguments.frames} frames of {arguments.size} x {arguments.size}: from a video to its label")
    for name, value in result["milliseconds"].items():
        print(f"{name:16} {value:8.1f} ms {value / total:7.1%}")
    print(f"everything but the network: {result['beside_the_network']:.1%} (goal: below {GOAL:.0%})")
    if arguments.json:
        manifest.write_json(arguments.json, {**result, **environment.describe("tensorflow", "av", "numpy")})
    return 0


def make_video(path, frames):
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


def export(scratch, frames, size):
    """Exports an I3D with random weights, which cost the same time as trained ones; the version's folder."""
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
    (run / "inputs.json").write_text(json.dumps(Inputs(frames=frames, stride=2, size=size).to_dict()))
    (run / "labels.txt").write_text("".join(f"{label}\n" for label in SynthADL.labels))
    folder, _ = write(Run(run), scratch / "models", freeze=True)
    return folder


def measure(folder, video, repetitions):
    """Median milliseconds of the parts, of the whole, and of the whole that decodes everything and sends a message.

    Args:
        folder: The model's version folder.
        video: The video's path.
        repetitions: Rounds that are timed, after a first.

    Returns:
        A dict of JSON values.
    """
    import tensorflow as tf

    from serving.client import clips, request
    from serving.client import prediction as predictions
    from serving.predict import Predictor
    from serving.savedmodel import signatures

    predictor = Predictor(folder)
    servable, inputs = predictor.servable, predictor.inputs
    definition = servable.signature_defs[signatures.DEFAULT]
    specs = signatures.input_specs(signatures.DEFAULT, inputs)
    prepare = tf.function(
        lambda frames: signatures.features(signatures.DEFAULT, inputs, {"frames": frames}),
        input_signature=[specs["frames"]],
    )

    def message():
        tensors = request.clip_tensors(definition, [(clips.read_video(video), None)])
        asked = request.predict_request(signatures.DEFAULT, definition, tensors, outputs=())
        answer = servable.predict(asked)
        return predictions.read(answer, 1, model=servable.name, signature=signatures.DEFAULT)[0]

    seconds = collections.defaultdict(list)

    def timed(name, work, *arguments):
        begin = time.perf_counter()
        result = work(*arguments)
        seconds[name].append(time.perf_counter() - begin)
        return result

    for number in range(repetitions + 1):
        if number == 1:
            seconds.clear()  # what the first repetition allocates and traces
        ours = timed("total", predictor.predict_files, video)
        theirs = timed("message", message)
        if ours != theirs:
            raise ValueError(f"two ways, two answers: {ours} and {theirs}")
        frames = timed("decode", clips.read_seen, video, inputs)
        arrays = timed("arrays", request.clip_tensors, definition, [(frames, None)])
        tensor = timed("tensor", tf.constant, arrays["frames"])
        timed("prepare", lambda tensor: prepare(tensor)["rgb"].numpy(), tensor)
        timed("arrays to answer", servable.predict_arrays, signatures.DEFAULT, arrays, ["classes", "probabilities"])
    median = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    parts = {
        "decode": median["decode"],
        "tensors": median["arrays"] + median["tensor"],
        "crop and resize": median["prepare"],
        # What is left of an answer to arrays; a few numbers are written down in it, too.
        "network": median["arrays to answer"] - median["tensor"] - median["prepare"],
    }
    parts["total"] = median["total"]
    parts["as a message"] = median["message"]
    return {
        "milliseconds": parts,
        "beside_the_network": 1 - parts["network"] / parts["total"],
        "message_over_total": median["message"] / median["total"],
        "repetitions": repetitions,
    }


if __name__ == "__main__":
    sys.exit(command_line.run(main))
