"""What convolutions in bfloat16 cost in accuracy: trained models as Keras computes them, and as they are exported.

    python -m benchmarks.alternatives.accuracy --data DIR RUN [RUN ...] --json FILE

Of every clip of a run's test split, one window and one crop is classified.
"""

import pathlib
import sys

import numpy as np

from tfrecords import storage
from zoo.shared import command_line, files

BATCH = 32


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="accuracy.py", description="Accuracy in float32 and in bfloat16.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories of recipes/train.py, of one dataset")
    parser.add_argument("--data", type=storage.location, required=True, metavar="DIR", help="the converted dataset")
    parser.add_argument("--protocol", default="cs", help="default: cs")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    from serving.export import Run
    from tfrecords.reading import pipeline

    records = pipeline.Records(arguments.data)
    results = {}
    for path in arguments.runs:
        run = Run(path)
        results[run.path.name] = measure(run, records, arguments.protocol)
        print(f"{run.path.name:28} " + ", ".join(f"{key} {value:.4g}" for key, value in results[run.path.name].items()))
    points = [result["bfloat16"] - result["float32"] for result in results.values()]
    print(f"bfloat16 - float32 in points: mean {np.mean(points):+.3f}, from {min(points):+.3f} to {max(points):+.3f}")
    if arguments.json:
        files.write_json(arguments.json, {"protocol": arguments.protocol, "runs": results})
    return 0


def measure(run, records, protocol):
    """Top-1 accuracy in percent by precision, and how many clips get another class."""
    import tensorflow as tf

    from serving.savedmodel import freezing
    from tfrecords.reading import pipeline

    model = run.model()
    specs = {name: tf.TensorSpec([None, *tensor.shape[1:]], tf.float32, name) for name, tensor in model.input.items()}
    function = tf.function(lambda fed: {"probabilities": model(fed, training=False)}, input_signature=[specs])
    networks = {
        "float32": function,
        "bfloat16": freezing.rewrite(function.get_concrete_function(), freeze=True, compute="bfloat16"),
    }
    predicted, labels = {name: [] for name in networks}, []
    for features, label, _ in pipeline.evaluation(records, protocol, "test", run.inputs, batch=BATCH):
        labels.extend(label.numpy())
        for name, network in networks.items():
            predicted[name].extend(network(features)["probabilities"].numpy().argmax(axis=1))
    found = {name: 100 * float(np.mean(np.equal(classes, labels))) for name, classes in predicted.items()}
    return {**found, "clips": len(labels), "changed": int(np.not_equal(*predicted.values()).sum())}


if __name__ == "__main__":
    sys.exit(command_line.run(main))
