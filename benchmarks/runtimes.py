"""How fast are networks in other runtimes, and what do 8-bit integers cost?

    python benchmarks/runtimes.py                                       # I3D and VPN with random weights, 4 minutes
    python benchmarks/runtimes.py --models i3d --sizes 16x112
    python benchmarks/runtimes.py BASE/i3d/1 BASE/i3d_int8/1            # folders of serving.export --format
    python benchmarks/runtimes.py BASE/i3d/1 BASE/i3d_int8/1 --data DATA --protocol split_1    # accuracy on test clips

The networks take turns on one random clip, each on one thread. What is measured is the processor time of the process,
which other work on the machine changes little; the ratios are those of neighbouring turns. The preparation of a clip,
which is the same for all, is not counted. With random weights, 8-bit integers are calibrated on some clips of noise:
the result shows the gain in speed, not the cost in accuracy.
"""

import argparse
import itertools
import logging
import os
import pathlib
import re
import statistics
import sys
import tempfile
import time

if not __package__:  # run as a script: the repository's packages are beside its folder
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks import environment
from benchmarks.alternatives.cases import NUM_CLASSES
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

SIZES = ("16x112", "32x224")
MODELS = ("i3d", "vpn")
CALIBRATED = 4  # clips of noise
_PACKAGES = ("tensorflow", "openvino", "nncf", "onnxruntime", "ai-edge-litert")


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="runtimes.py", description="Speed and accuracy of exported networks.")
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="FOLDER",
        help="BASE/<model>/<version>, the first is the reference; default: networks with random weights",
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, help="without folders (default: all)")
    parser.add_argument(
        "--sizes", nargs="+", type=_size, default=[_size(text) for text in SIZES], metavar="TxS", help="of their clips"
    )
    parser.add_argument("--width", type=float, default=1.0, help=argparse.SUPPRESS)  # to try small networks
    parser.add_argument("--repetitions", type=command_line.positive(int), default=5, help="turns that are timed")
    parser.add_argument("--data", metavar="DATA", help="converted dataset, for the accuracy on its test clips")
    parser.add_argument("--protocol", help="protocol of --data; default: its first")
    parser.add_argument("--clips", type=command_line.positive(int), default=1000, help="test clips at most")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    if arguments.data and not arguments.folders:
        raise UserError("--data needs folders of exports: networks with random weights have no accuracy")
    command_line.quiet_tensorflow()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # one thread each
    found = environment.describe(*_PACKAGES)
    if arguments.folders:
        found |= of_folders(arguments)
    else:
        found["networks"] = {}
        for name, (frames, size) in itertools.product(arguments.models, arguments.sizes):
            found["networks"][f"{name} {frames}x{size}"] = of_random_weights(name, frames, size, arguments)
            _write(arguments.json, found)  # after every case, so that none is lost
    _write(arguments.json, found)
    return 0


def _write(path, found):
    if path:
        files.write_json(path, found)


def _size(text):
    """``(frames, size)`` of a clip, for ``argparse``."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected FRAMESxPIXELS, such as 16x112")
    return int(match[1]), int(match[2])


def of_folders(arguments):
    """Speed, and accuracy if there are clips, of exported networks."""
    from serving.runtimes import loading

    inputs = loading.read_inputs(pathlib.Path(arguments.folders[0]))
    networks = {folder: loading.open_network(folder) for folder in arguments.folders}
    found = {"networks": timed(networks, noise(inputs), arguments.repetitions)}
    for folder, row in found["networks"].items():
        row["bytes"] = sum(path.stat().st_size for path in pathlib.Path(folder).glob("model.*"))
        print(f"{folder:40} {row['bytes'] / 1e6:7.2f} MB")
    if arguments.data:
        found["accuracy"] = accuracy(networks, inputs, arguments.data, arguments.protocol, arguments.clips)
    return found


def of_random_weights(name, frames, size, arguments):
    """Speed of a network with random weights in all runtimes that are installed, and how much its outputs differ."""
    import zoo
    from benchmarks.alternatives.runtimes import give_weights
    from tfrecords.reading.pipeline import Inputs

    print(f"{name}, {frames} frames of {size} x {size}")
    model = zoo.build(name, num_classes=NUM_CLASSES, frames=frames, size=size, width=arguments.width)
    give_weights(model)
    poses = {"pose_steps": 20, "layout": "kinect_v2_25"} if "pose" in model.input else {}
    inputs = Inputs(frames=frames, size=size, **poses)
    clip = noise(inputs)
    expected = model(clip, training=False).numpy()
    with tempfile.TemporaryDirectory() as scratch:
        networks = contenders(model, inputs, pathlib.Path(scratch))
        rows = timed(networks, clip, arguments.repetitions)
    for contender, row in rows.items():
        row["difference"] = float(np.abs(networks[contender](clip)["probabilities"] - expected).max())
    return rows


def contenders(model, inputs, scratch):
    """Name -> an open network, in each runtime that is installed."""
    from serving.runtimes import onnx, openvino
    from serving.runtimes.settings import Settings
    from serving.savedmodel import signatures, versions

    labels = [f"class {number}" for number in range(NUM_CLASSES)]
    frozen = {
        compute: signatures.network(model, inputs, labels, freeze=True, compute=compute)
        for compute in ("float32", "bfloat16")
    }
    made = frozen["float32"].get_concrete_function().structured_outputs
    outputs = {name: tuple(tensor.shape[1:]) for name, tensor in made.items()}
    found = {f"tensorflow {compute}": _in_tensorflow(network) for compute, network in frozen.items()}
    try:
        onnx.save(onnx.convert(frozen["float32"]), scratch)
        found["onnxruntime float32"] = onnx.Network(scratch / versions.MODEL_FILES[onnx.FORMAT], Settings(outputs))
    except UserError as error:
        print(f"not measured: {error}")
    try:
        converted = openvino.convert(frozen["float32"])
        for compute in frozen:
            found[f"openvino {compute}"] = openvino.Network(converted, Settings(outputs, compute))
        found["openvino int8"] = openvino.Network(_in_integers(converted, inputs), Settings(outputs, "bfloat16"))
    except UserError as error:
        print(f"not measured: {error}")
    return found


def _in_tensorflow(network):
    return lambda clip: {name: tensor.numpy() for name, tensor in network(clip).items()}


def _in_integers(converted, inputs):
    """An OpenVINO model in 8-bit integers; layers that gain nothing stay floats."""
    from serving.runtimes import openvino, settings

    nncf = openvino.library("nncf")
    nncf.set_log_level(logging.ERROR)
    clips = [noise(inputs, seed) for seed in range(CALIBRATED)]
    with settings.quiet():
        return nncf.quantize(converted, nncf.Dataset(clips), subset_size=len(clips))


def noise(inputs, seed=0):
    """A random clip, in the form of a network's inputs."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, (1, *spec.shape)).astype("float32") for name, spec in inputs.signature().items()}


def timed(networks, clip, repetitions):
    """Name -> seconds of processor time, and the speed relative to the first network, with its spread."""
    seconds = {name: [] for name in networks}
    for turn in range(repetitions + 1):
        for name, network in networks.items():
            start = time.process_time()
            network(clip)
            if turn:  # the first is a warm-up
                seconds[name].append(time.process_time() - start)
    first = next(iter(seconds.values()))
    rows = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(first, own)]
        rows[name] = {
            "median_s": statistics.median(own),
            "speed": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
        print(
            f"{name:40} {1000 * rows[name]['median_s']:9.2f} ms, "
            f"{rows[name]['speed']:.2f} x as fast ({min(ratios):.2f} - {max(ratios):.2f})",
            flush=True,
        )
    return rows


def accuracy(networks, inputs, data, protocol, count):
    """Folder -> top-1 accuracy on test clips, and the fraction of clips with the same class as by the first network."""
    from tfrecords.reading import pipeline

    records = pipeline.Records(data)
    protocol = protocol or records.protocols[0]
    classes, labels = {folder: [] for folder in networks}, []
    for features, label, _ in pipeline.evaluation(records, protocol, "test", inputs, batch=1).take(count):
        clip = {name: tensor.numpy() for name, tensor in features.items()}
        labels.append(int(label[0]))
        for folder, network in networks.items():
            classes[folder].append(int(network(clip)["probabilities"][0].argmax()))
    first = next(iter(classes.values()))
    rows = {}
    for folder, own in classes.items():
        rows[folder] = {
            "clips": len(labels),
            "top1": float(np.mean(np.equal(own, labels))),
            "same": float(np.mean(np.equal(own, first))),
        }
        of = f"{rows[folder]['top1']:.1%} of {len(labels)} test clips"
        print(f"{folder:40} {of}, {rows[folder]['same']:.1%} as the first", flush=True)
    return rows


if __name__ == "__main__":
    sys.exit(command_line.run(main))
