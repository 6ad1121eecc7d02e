"""How fast are exported networks, and what do 8-bit integers cost? Folders of `serving.export --format`, in one run.

    python benchmarks/runtimes.py BASE/i3d/1 BASE/i3d_bfloat16/1 BASE/i3d_int8/1
    python benchmarks/runtimes.py ... --data DATA --protocol split_1      # and the accuracy on its test clips

The networks take turns on one random clip, each on one thread. What is measured is the processor time of the process,
which other work on the machine changes little; the ratios are those of neighbouring turns. The preparation of a clip,
which is the same for all, is not counted.
"""

import os
import pathlib
import statistics
import sys
import time

if not __package__:  # run as a script: the repository's packages are beside its folder
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks import environment
from zoo.shared import command_line, files


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="runtimes.py", description="Speed and accuracy of exported networks.")
    parser.add_argument(
        "folders", nargs="+", metavar="FOLDER", help="BASE/<model>/<version>; the first is the reference"
    )
    parser.add_argument("--repetitions", type=command_line.positive(int), default=5, help="turns that are timed")
    parser.add_argument("--data", metavar="DATA", help="converted dataset, for the accuracy on its test clips")
    parser.add_argument("--protocol", help="protocol of --data; default: its first")
    parser.add_argument("--clips", type=command_line.positive(int), default=1000, help="test clips at most")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # one thread each
    from serving.runtimes import loading

    inputs = loading.read_inputs(pathlib.Path(arguments.folders[0]))
    networks = {folder: loading.open_network(folder) for folder in arguments.folders}
    found = {
        **environment.describe("tensorflow", "openvino", "nncf", "onnxruntime", "ai-edge-litert"),
        "networks": timed(networks, inputs, arguments.repetitions),
    }
    if arguments.data:
        found["accuracy"] = accuracy(networks, inputs, arguments.data, arguments.protocol, arguments.clips)
    if arguments.json:
        files.write_json(arguments.json, found)
    return 0


def timed(networks, inputs, repetitions):
    """Folder -> size, seconds of processor time, and how many times as fast as the first one, with the spread."""
    rng = np.random.default_rng(0)
    clip = {name: rng.uniform(-1, 1, (1, *spec.shape)).astype("float32") for name, spec in inputs.signature().items()}
    seconds = {folder: [] for folder in networks}
    for turn in range(repetitions + 1):
        for folder, network in networks.items():
            start = time.process_time()
            network(clip)
            if turn:  # the first is a warm-up
                seconds[folder].append(time.process_time() - start)
    first = next(iter(seconds.values()))
    rows = {}
    for folder, own in seconds.items():
        ratios = [a / b for a, b in zip(first, own)]
        size = sum(path.stat().st_size for path in pathlib.Path(folder).glob("model.*"))
        rows[folder] = {
            "bytes": size,
            "median_s": statistics.median(own),
            "speed": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
        print(
            f"{folder:40} {size / 1e6:7.2f} MB {1000 * rows[folder]['median_s']:9.2f} ms, "
            f"{statistics.median(ratios):.2f} x as fast ({min(ratios):.2f} - {max(ratios):.2f})",
            flush=True,
        )
    return rows


def accuracy(networks, inputs, data, protocol, count):
    """Folder -> top-1 accuracy on test clips, and the fraction of clips with the first one's class."""
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
