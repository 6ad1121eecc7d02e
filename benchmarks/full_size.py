"""What does one clip of full size cost: time of a forward pass and of a training step, and peak memory?

Every model runs in a process of its own on one clip, 64 frames of 224 x 224 pixels unless the method needs others,
with 60 classes; I3D is the reference. Times are medians of the repetitions after a first one, which compiles.

    python benchmarks/full_size.py
    python benchmarks/full_size.py --models i3d vpn pi3d --repetitions 5
"""

import json
import pathlib
import resource
import statistics
import sys
import time

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import processes
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

REFERENCE = "i3d"


def main(argv=None):
    """Runs the command and returns its exit status."""
    import zoo

    parser = command_line.ArgumentParser(prog="full_size.py", description="Time and memory of one clip of full size.")
    valid = zoo.list_models()
    parser.add_argument(
        "--models", nargs="+", default=["vpn"], metavar="NAME", help="models to measure besides i3d (default: vpn)"
    )
    parser.add_argument("--repetitions", type=int, default=3, help="runs that are timed, after a first (default: 3)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--measure", metavar="NAME", help="measure this model in this process and print JSON")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.repetitions)))
        return 0
    unknown = [name for name in arguments.models if name not in valid]
    if unknown:
        raise UserError(f"--models: unknown model {unknown[0]!r}, expected some of {', '.join(valid)}")
    names = list(dict.fromkeys([REFERENCE, *arguments.models]))
    results = {
        name: processes.measured(name, __file__, "--measure", name, "--repetitions", arguments.repetitions)
        for name in names
    }
    if arguments.json:
        files.write_json(arguments.json, results)
    reference = results[REFERENCE]
    print(f"{'model':14} {'forward':>16} {'training step':>18} {'peak memory':>12} {'loss':>8}")
    for name, result in results.items():
        forward, step = result["forward_s"], result["training_step_s"]
        print(
            f"{name:14} {forward:6.2f} s ({forward / reference['forward_s']:4.2f} x) "
            f"{step:7.2f} s ({step / reference['training_step_s']:5.2f} x) "
            f"{result['peak_memory_bytes'] / 2**30:8.2f} GiB {result['loss']:8.4f}"
        )
    return 0


def measure(name, repetitions):
    """Times of a model on one random clip, and the peak memory of this process."""
    command_line.quiet_tensorflow()
    import numpy as np
    import tensorflow as tf

    import zoo

    tf.keras.utils.set_random_seed(0)
    model = zoo.build(name, num_classes=60, weights=None)
    rng = np.random.default_rng(0)
    clip = {
        key: tf.constant(rng.uniform(-1, 1, (1, *tensor.shape[1:])).astype("float32"))
        for key, tensor in model.input.items()
    }
    optimizer = tf.keras.optimizers.SGD(1e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def forward():
        return model(clip, training=False)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.keras.losses.sparse_categorical_crossentropy([7], model(clip, training=True))[0]
            loss += tf.add_n(model.losses) if model.losses else 0.0
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss

    probabilities = forward().numpy()
    if not np.isclose(probabilities.sum(), 1, rtol=1e-4):
        raise ValueError(f"{name}: the probabilities sum to {probabilities.sum()}")
    loss = float(step())
    if not np.isfinite(loss):
        raise ValueError(f"{name}: the loss is {loss}")
    return {
        "forward_s": _median_seconds(forward, repetitions),
        "training_step_s": _median_seconds(step, repetitions),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "loss": loss,
    }


def _median_seconds(work, repetitions):
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work().numpy()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
