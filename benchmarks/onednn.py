"""What TensorFlow gains by oneDNN on this processor.

By default, TensorFlow computes with oneDNN only where a processor has the newer vector instructions; the project's
commands switch it on everywhere (``TF_ENABLE_ONEDNN_OPTS=1``). Every case is timed with and without oneDNN in separate
processes, which take turns; figures are medians.

    python benchmarks/onednn.py
    python benchmarks/onednn.py --cases "i3d 32x224" --rounds 3
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import time

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment, processes
from zoo.shared import command_line, files

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
SWITCH = {"without": "0", "with": "1"}
# Case -> model, options, and clips of a batch; "training" is a training step, other cases classify a batch.
CASES = {
    "i3d 32x224": ("i3d", {"frames": 32, "size": 224}, 1),
    "i3d 8x64": ("i3d", {"frames": 8, "size": 64}, 1),
    "i3d 8x32 training": ("i3d", {"frames": 8, "size": 32}, 2),
    "pose_lstm": ("pose_lstm", {"pose_steps": 32}, 1),
    "pose_lstm training": ("pose_lstm", {"pose_steps": 32}, 32),
    "pose_cnn": ("pose_cnn", {"pose_steps": 32}, 1),
    "pose_cnn training": ("pose_cnn", {"pose_steps": 32}, 8),
    "pose_gcn": ("pose_gcn", {"pose_steps": 32}, 1),
    "pose_gcn training": ("pose_gcn", {"pose_steps": 32}, 16),
}


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="onednn.py", description="Speed with oneDNN and without.")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=2, help="processes per case and setting (default: 2)")
    parser.add_argument("--repetitions", type=int, default=5, help="timed runs of a process (default: 5)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--measure", choices=CASES, metavar="CASE", help="time this case in this process, print JSON")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.repetitions)))
        return 0
    found = {}
    for case in arguments.cases:
        runs = {setting: [] for setting in SWITCH}
        for _ in range(arguments.rounds):
            for setting, times in runs.items():
                line = ("--measure", case, "--repetitions", arguments.repetitions)
                times += processes.measured(case, __file__, *line, environment={VARIABLE: SWITCH[setting]})
        ms = {setting: 1000 * statistics.median(times) for setting, times in runs.items()}
        found[case] = {**ms, "ratio": ms["without"] / ms["with"]}
        print(f"{case:18} {ms['without']:8.1f} ms without, {ms['with']:8.1f} ms with: {found[case]['ratio']:.2f} times")
    if arguments.json:
        files.write_json(arguments.json, {"milliseconds": found, **environment.describe("tensorflow")})
    return 0


def measure(case: str, repetitions: int) -> list[float]:
    """Seconds of each repetition, after one that compiles."""
    command_line.quiet_tensorflow()
    import numpy as np
    import tensorflow as tf

    import zoo

    name, options, batch = CASES[case]
    model = zoo.build(name, num_classes=20, **options)
    draws = np.random.default_rng(0)
    fed = {
        key: tf.constant(draws.uniform(-1, 1, (batch, *value.shape[1:])), tf.float32)
        for key, value in model.input.items()
    }
    if case.endswith("training"):
        model.compile("adam", "sparse_categorical_crossentropy")
        labels = np.zeros(batch, np.int32)

        def step():
            model.train_on_batch(fed, labels)

    else:
        answer = tf.function(lambda: model(fed, training=False))

        def step():
            answer().numpy()

    step()
    seconds = []
    for _ in range(repetitions):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return seconds


if __name__ == "__main__":
    sys.exit(command_line.run(main))
