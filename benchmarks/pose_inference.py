"""Measures how many pose sequences per second a CPU classifies.

Every model runs in a process of its own, on single sequences and in batches. The steps, persons and joints of a
sequence are printed with the figures. Times are medians of the repetitions after a first, which compiles. Other
programs on the machine make them worse.

    python benchmarks/pose_inference.py
    python benchmarks/pose_inference.py --models pose_gcn --layout kinect_v2_25 --steps 64 --persons 2
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import processes
from zoo.shared import command_line

MODELS = ("pose_lstm", "pose_cnn", "pose_gcn")
BATCHES = (1, 32)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    from zoo import skeletons

    parser = command_line.ArgumentParser(prog="pose_inference.py", description="Pose sequences per second.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--layout", choices=tuple(skeletons.LAYOUTS), default="kinect_v1_20", help="the skeleton")
    parser.add_argument("--steps", type=int, default=32, help="steps of a sequence (default: 32)")
    parser.add_argument("--persons", type=int, default=1, help="persons in it (default: 1)")
    parser.add_argument("--repetitions", type=int, default=30, help="timed runs, after a first (default: 30)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--measure", metavar="NAME", help="measure this model in this process and print JSON")
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return 0
    own = sys.argv[1:] if argv is None else argv
    results = {
        "steps": arguments.steps,
        "persons": arguments.persons,
        "joints": skeletons.get(arguments.layout).num_joints,
        "processor_cores": os.cpu_count(),
        "models": {name: processes.measured(name, __file__, *own, "--measure", name) for name in arguments.models},
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    joints = f"{results['persons']} x {results['joints']} joints"
    print(f"sequences of {results['steps']} steps, {joints}, {results['processor_cores']} cores")
    for name, result in results["models"].items():
        speeds = ", ".join(f"{rate:.0f}/s in batches of {batch}" for batch, rate in result["per_second"].items())
        print(f"{name:10} {speeds} ({result['parameters'] / 1e6:.2f} M parameters, {result['gmacs'] * 1e3:.1f} MMACs)")
    return 0


def measure(arguments: argparse.Namespace) -> dict:
    """Size of a model, and the number of random sequences per second for each batch size."""
    command_line.quiet_tensorflow()
    import numpy as np
    import tensorflow as tf

    import zoo
    from recipes import config
    from zoo import complexity, registry, skeletons

    name = arguments.measure
    sequence = {
        "pose_steps": arguments.steps,
        "persons": arguments.persons,
        "layout": arguments.layout,
        "joints": skeletons.get(arguments.layout).num_joints,
    }
    known = registry.options(name)
    # Options of the N-UCLA recipe, except those that the sequence determines.
    options = config.load(f"{name}_nucla").model.options
    options = {**options, **{key: value for key, value in sequence.items() if key in known}}
    model = zoo.build(name, num_classes=10, **options)
    predict = tf.function(lambda pose: model({"pose": pose}, training=False))
    rates = {}
    for batch in BATCHES:
        shape = (batch, arguments.steps, arguments.persons, sequence["joints"], 3)
        poses = tf.constant(np.random.default_rng(0).uniform(-1, 1, shape).astype("float32"))
        predict(poses)
        seconds = []
        for _ in range(arguments.repetitions):
            start = time.perf_counter()
            predict(poses).numpy()
            seconds.append(time.perf_counter() - start)
        rates[batch] = round(batch / statistics.median(seconds), 1)
    return {
        "per_second": rates,
        "parameters": complexity.parameters(model),
        "gmacs": complexity.multiply_accumulates(model) / 1e9,
    }


if __name__ == "__main__":
    sys.exit(command_line.run(main))
