"""How do time and memory grow with frames, resolution, batch, persons, towers and granularities?

One axis at a time is doubled or tripled, every point in a process of its own: median time of a forward pass and of a
training step, and the peak memory of the step beyond that of the loaded model. A line through the logarithms gives the
power with which each grows (1: in proportion); the power of the multiply-accumulates is what to expect.

    python benchmarks/cost_against_size.py
    python benchmarks/cost_against_size.py --axes frames towers
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import sys
import time

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment, processes
from zoo.shared import command_line, files

PARTS = ("full_body", "left_hand", "right_hand")
_SMALL = {"frames": 16, "size": 112}
_SEGMENTS = {"backbone": "i3d", "frames": 24, "segment_frames": 8, "size": 112, "pose_steps": 24}
# Axis -> model, and value on the axis -> (options, batch).
AXES = {
    "frames": ("i3d", {t: ({"frames": t, "size": 112}, 1) for t in (16, 32, 64)}),
    "size": ("i3d", {s: ({"frames": 16, "size": s}, 1) for s in (64, 128, 256)}),
    "batch": ("i3d", {b: (_SMALL, b) for b in (1, 2, 4)}),
    "persons": ("separable_sta", {m: ({**_SMALL, "persons": m}, 1) for m in (1, 2, 4)}),
    "towers": (
        "pi3d",
        {n: ({**_SMALL, "parts": PARTS[:n], "attention": n > 1}, 1) for n in (1, 2, 3)},
    ),
    "segments": (
        "temporal",
        {
            sum(g): ({**_SEGMENTS, "granularities": g, "granularity_attention": len(g) > 1}, 1)
            for g in ((2,), (2, 3), (2, 3, 4))
        },
    ),
}
FIGURES = ("multiply_accumulates", "forward_s", "step_s", "step_bytes")


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="cost_against_size.py", description="Time and memory against size.")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES), help="default: all")
    parser.add_argument("--repetitions", type=int, default=5, help="runs that are timed, after two (default: 5)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    if arguments.point:
        axis, value = arguments.point
        print(json.dumps(point(axis, int(value), arguments.repetitions)))
        return 0
    results = {}
    for axis in arguments.axes:
        name, points = AXES[axis]
        own = ("--repetitions", arguments.repetitions)
        found = {
            value: processes.measured(f"{axis} {value}", __file__, "--point", axis, value, *own) for value in points
        }
        powers = {figure: power(list(found), [row[figure] for row in found.values()]) for figure in FIGURES}
        results[axis] = {"model": name, "points": found, "powers": powers}
        print(_table(axis, results[axis]), flush=True)
        if arguments.json:  # after every axis: they take minutes
            described = environment.describe("tensorflow", "keras", "numpy")
            files.write_json(arguments.json, {"axes": results, "repetitions": arguments.repetitions, **described})
    return 0


def power(sizes, values):
    """The power p of the line ``log value = p log size + constant`` that fits best.

    Example:
        >>> round(power([1, 2, 4], [3, 12, 48]), 6)
        2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def point(axis, value, repetitions):
    """The figures of a model at one value of an axis, taken in this process."""
    import tensorflow as tf

    import zoo
    from zoo import complexity

    name, points = AXES[axis]
    options, batch = points[value]
    tf.keras.utils.set_random_seed(0)
    model = zoo.build(name, num_classes=60, **options)
    rng = np.random.default_rng(0)
    features = {
        key: tf.constant(rng.uniform(-1, 1, (batch, *tensor.shape[1:])).astype(np.float32))
        for key, tensor in model.input.items()
    }
    labels = tf.constant(rng.integers(0, 60, batch))
    optimizer = tf.keras.optimizers.SGD(1e-3)
    optimizer.build(model.trainable_variables)
    forward = tf.function(lambda: model(features, training=False))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.keras.losses.sparse_categorical_crossentropy(labels, model(features, training=True))
            )
            loss += tf.add_n(model.losses) if model.losses else 0.0
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    forward_s = _median(forward, repetitions)
    # Taken after the first use, so that the libraries' own memory does not count.
    before = _resident()
    step_s = _median(step, repetitions)
    return {
        "multiply_accumulates": batch * complexity.multiply_accumulates(model),
        "forward_s": forward_s,
        "step_s": step_s,
        "step_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    }


def _resident():
    """Resident bytes of the process."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _median(work, repetitions):
    seconds = []
    for number in range(repetitions + 2):
        begin = time.perf_counter()
        work().numpy()
        if number > 1:
            seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def _table(axis, result):
    lines = [f"{result['model']} against {axis}"]
    lines.append(f"{axis:>10} {'GMAC':>9} {'forward':>10} {'step':>10} {'memory of a step':>17}")
    for value, row in result["points"].items():
        lines.append(
            f"{value:10} {row['multiply_accumulates'] / 1e9:9.2f} {1000 * row['forward_s']:7.1f} ms "
            f"{1000 * row['step_s']:7.1f} ms {row['step_bytes'] / 2**20:13.0f} MiB"
        )
    powers = [result["powers"][figure] for figure in FIGURES]
    lines.append(f"{'power':>10} " + " ".join(f"{p:{w}.2f}" for p, w in zip(powers, (9, 10, 10, 17))))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
