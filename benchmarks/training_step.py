"""What does a training step of I3D cost (forward, backward and update), compared with the same network in PyTorch?

Every way to compute it runs in a process of its own, which gives its peak memory. The processes take steps in turn, so
that all run under the same conditions. I3D starts from the same weights, sees the same clips and is trained by SGD with
momentum; the first losses must agree. Separable STA, which is I3D and little else, has no counterpart in PyTorch.
Ways that end in ``recompute`` use gradient checkpointing: activations are computed again instead of kept. Those that
end in ``bfloat16`` compute in it, with weights and batch statistics in float32. ``keras_cached`` trains the blocks from
Mixed_5b on from stored features, as ``cache_frozen`` does; ``keras_frozen`` computes these features, once per view.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --cases 64x224x4 --ways keras keras_recompute --steps 1    # batch 4 of full size
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

PYTORCH = ("pytorch", "pytorch_compile", "pytorch_recompute", "pytorch_bfloat16", "pytorch_compile_bfloat16")
WAYS = ("keras", "keras_recompute", "keras_bfloat16", "keras_frozen", "keras_cached", "separable_sta", *PYTORCH)
CASES = ("16x112x2", "32x112x4")
NUM_CLASSES = 60
RATE, MOMENTUM = 1e-3, 0.9
WARM_UP = 2  # steps: the first traces and allocates
TOLERANCES = {"float32": 2e-3, "bfloat16": 5e-2}  # of the first loss of the whole I3D, by the type it is computed in
FROZEN = ("Conv3d_", "Mixed_3", "Mixed_4")  # beginnings of the names of layers, as in i3d_nonlocal_jhmdb.yaml


@dataclasses.dataclass(frozen=True)
class Case:
    """Clips of a step."""

    frames: int
    size: int
    batch: int

    @classmethod
    def read(cls, text):
        """``16x112x2``: frames, height and width, batch."""
        if not re.fullmatch(r"\d+x\d+x\d+", text):
            raise argparse.ArgumentTypeError(f"{text!r}: expected frames, size and batch such as 32x112x4")
        return cls(*map(int, text.split("x")))

    def __str__(self):
        return f"{self.frames}x{self.size}x{self.batch}"

    def clips(self):
        """Pictures ``[B, T, H, W, 3]`` and labels ``[B]``."""
        rng = np.random.default_rng(0)
        shape = (self.batch, self.frames, self.size, self.size, 3)
        return rng.uniform(-1, 1, shape).astype(np.float32), rng.integers(0, NUM_CLASSES, self.batch)


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="training_step.py", description="Time and memory of a training step.")
    parser.add_argument("--cases", nargs="+", type=Case.read, default=[Case.read(case) for case in CASES],
                        metavar="FRAMESxSIZExBATCH", help=f"default: {' '.join(CASES)}")  # fmt: skip
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="default: all")
    parser.add_argument("--steps", type=int, default=5, help="that are timed, after a warm-up (default: 5)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--work", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.work:
        work(arguments.work[0], arguments.cases[0], pathlib.Path(arguments.work[1]))
        return 0
    command_line.quiet_tensorflow()
    missing = _not_installed(arguments.ways)
    for way, what in missing.items():
        print(f"{way}: left out, not installed: {what}")
    ways = [way for way in arguments.ways if way not in missing]
    if not ways:
        raise UserError(f"--ways: nothing is left to measure: install {', '.join(sorted(set(missing.values())))}")
    results = {}
    for case in arguments.cases:
        results[str(case)] = measure(case, ways, arguments.steps)
        print(table({str(case): results[str(case)]}), flush=True)
        if arguments.json:  # after every case: they take minutes
            described = environment.describe("tensorflow", "keras", "torch", "numpy")
            result = {"cases": results, "steps": arguments.steps, "not_installed": missing, **described}
            files.write_json(arguments.json, result)
    return 0


def _not_installed(ways):
    """Way that cannot be measured -> what it lacks."""
    missing = {}
    for way in ways:
        if way.startswith("pytorch") and not importlib.util.find_spec("torch"):
            missing[way] = "torch"
        elif way.startswith("pytorch_compile") and not shutil.which("c++"):
            missing[way] = "a C++ compiler"
    return missing


def measure(case, ways, steps):
    """Way -> median seconds of a step, peak memory, first loss.

    Raises:
        UserError: A process ended early.
        ValueError: The first losses of I3D disagree.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights = pathlib.Path(folder) / "weights.npz"
        if any(way.startswith("pytorch") for way in ways):
            _process("write_weights", case, weights).wait()
        processes = {way: _process(way, case, weights) for way in ways}
        try:
            seen = {way: [_ask(way, process) for _ in range(WARM_UP)] for way, process in processes.items()}
            for _ in range(steps):
                for way, process in processes.items():
                    seen[way].append(_ask(way, process))
        finally:
            for process in processes.values():
                process.stdin.close()
                process.wait()
    _check_losses(case, {way: rows[0]["loss"] for way, rows in seen.items()})
    timed = {way: rows[WARM_UP:] for way, rows in seen.items()}
    return {
        way: {
            "seconds": statistics.median(row["seconds"] for row in timed[way]),
            **_times(timed[way], timed.get("keras"), "seconds"),
            "processor_seconds": statistics.median(row["processor_seconds"] for row in timed[way]),
            "in_processor_time": _times(timed[way], timed.get("keras"), "processor_seconds"),
            "peak_memory_bytes": rows[-1]["peak_memory_bytes"],
            "before_bytes": rows[-1]["before_bytes"],
            "loss": rows[0]["loss"],
        }
        for way, rows in seen.items()
    }


def _times(own, keras, key):
    """Ratio of the times of steps to Keras's in float32, between neighbouring steps: median, least and most."""
    if keras is None:
        return {}
    ratios = [row[key] / other[key] for row, other in zip(own, keras)]
    return {"times_keras": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def _check_losses(case, losses):
    """``ValueError`` unless all that train the whole I3D begin with the same loss."""
    whole = {way: loss for way, loss in losses.items() if way not in ("separable_sta", "keras_frozen", "keras_cached")}
    expected = next((loss for way, loss in whole.items() if not way.endswith("bfloat16")), None)
    for way, loss in whole.items():
        tolerance = TOLERANCES["bfloat16" if way.endswith("bfloat16") else "float32"]
        if expected is not None and abs(loss - expected) > tolerance * expected:
            raise ValueError(f"{case}: one network, several losses: {whole}")


def _process(way, case, weights):
    """A process that takes a step for every line it is sent."""
    # Threads that wait for the next step must not occupy cores that other processes need.
    settings = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
    command = [sys.executable, __file__, "--cases", str(case), "--work", way, str(weights)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=settings)


def _ask(way, process):
    try:
        process.stdin.write("step\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())
    except (BrokenPipeError, json.JSONDecodeError):
        raise UserError(f"{way}: the process ended with status {process.wait()} (out of memory?), see above") from None


# --------------------------------------------------------------------------------------------------- in the processes


def work(way, case, weights):
    """Takes a step for every line on standard input, and answers with its time, its loss and the peak memory."""
    if way == "write_weights":
        from benchmarks.alternatives import i3d_pytorch

        np.savez(weights, **i3d_pytorch.weights_of(_keras_model("i3d", case)))
        return
    step = _pytorch_step(case, weights, way) if way.startswith("pytorch") else _keras_step(case, way)
    before = _peak_memory()
    for _ in sys.stdin:
        begin, of_processor = time.perf_counter(), time.process_time()
        loss = step()
        row = {
            "seconds": time.perf_counter() - begin,
            "processor_seconds": time.process_time() - of_processor,  # which other work changes little
            "loss": loss,
            "peak_memory_bytes": _peak_memory(),
            "before_bytes": before,
        }
        print(json.dumps(row), flush=True)


def _peak_memory():
    """Bytes: of the GPU where there is one, else of the process."""
    torch, tensorflow = sys.modules.get("torch"), sys.modules.get("tensorflow")
    if torch and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if tensorflow and tensorflow.config.list_physical_devices("GPU"):
        return tensorflow.config.experimental.get_memory_info("GPU:0")["peak"]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _keras_model(name, case):
    import tensorflow as tf

    import zoo

    tf.keras.utils.set_random_seed(0)
    options = {"frames": case.frames, "size": case.size, "dropout": 0.0}
    return zoo.build(name, num_classes=NUM_CLASSES, **options)


def _keras_step(case, way):
    import tensorflow as tf

    from zoo import frozen_part, gradient_checkpointing

    if way == "keras_bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = _keras_model("separable_sta" if way == "separable_sta" else "i3d", case)
    rgb, labels = case.clips()
    fed, labels = {"rgb": tf.constant(rgb)}, tf.constant(labels)
    if way in ("keras_frozen", "keras_cached"):
        frozen, model = frozen_part.split(model, _freeze(model))
        if way == "keras_frozen":
            store = tf.function(lambda: frozen(fed, training=False))
            return lambda: float(tf.reduce_sum(store()["cut_0"][0]))
        fed = {name: tf.constant(values.numpy()) for name, values in frozen(fed, training=False).items()}
    if "pose" in model.input:
        fed["pose"] = tf.random.normal((case.batch, *model.input["pose"].shape[1:]))
    call = (
        gradient_checkpointing.training_call(model) if way == "keras_recompute" else lambda x: model(x, training=True)
    )
    optimizer = tf.keras.optimizers.SGD(RATE, MOMENTUM)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.keras.losses.sparse_categorical_crossentropy(labels, call(fed)))
            loss += tf.add_n(model.losses) if model.losses else 0.0
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    return lambda: float(step())


def _freeze(model):
    """Freezes layers, and returns them."""
    frozen = [
        layer for layer in model.layers if layer.name.startswith(FROZEN) or layer.name.endswith("batch_norm")
    ]  # fmt: skip
    for layer in frozen:
        layer.trainable = False
    return frozen


def _pytorch_step(case, weights, way):
    import torch
    from torch.utils.checkpoint import checkpoint

    from benchmarks.alternatives import i3d_pytorch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with np.load(weights) as stored:
        network = i3d_pytorch.network(dict(stored)).train()
    network = network.to(device, memory_format=torch.channels_last_3d)
    if way == "pytorch_recompute":
        for block in network.modules():
            if isinstance(block, (i3d_pytorch.Inception, i3d_pytorch.Unit)) and not _inside(block, network):
                forward = block.forward
                block.forward = lambda x, forward=forward: checkpoint(forward, x, use_reentrant=False)
    rgb, labels = case.clips()
    x = torch.from_numpy(rgb).permute(0, 4, 1, 2, 3).to(device)  # channels last in memory
    labels = torch.from_numpy(labels).to(device)
    if way.startswith("pytorch_compile"):  # needs a C++ compiler on a CPU
        network = torch.compile(network)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=way.endswith("bfloat16")):
            probabilities = network(x)
        loss = torch.nn.functional.nll_loss(probabilities.float().log(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()  # waits for a GPU

    return step


def _inside(block, network):
    """Whether a block is part of another one, which is computed again as a whole."""
    return block not in list(network.children())


def table(results):
    """The figures as text."""
    lines = [
        f"{'frames x size x batch':22} {'way':24} {'step':>9} {'x keras':>18} {'processor':>9} {'x keras':>18} "
        f"{'peak memory':>12} {'of which steps':>15}"
    ]
    for case, ways in results.items():
        for way, found in ways.items():
            peak, before = found["peak_memory_bytes"] / 2**30, found["before_bytes"] / 2**30
            lines.append(
                f"{case:22} {way:24} {found['seconds']:7.2f} s {_ratio(found)} {found['processor_seconds']:7.2f} s "
                f"{_ratio(found['in_processor_time'])} {peak:8.2f} GiB {peak - before:11.2f} GiB"
            )
    return "\n".join(lines)


def _ratio(times):
    text = "{times_keras:.2f} ({least:.2f} - {most:.2f})".format(**times) if times else ""
    return f"{text:>18}"


if __name__ == "__main__":
    sys.exit(command_line.run(main))
