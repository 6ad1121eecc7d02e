"""Where does the time of a training step go: waiting for data, forward, backward, update?

Every stage of a recipe is trained for some steps as ``train.py`` trains it: the same reader, model, loss and optimizer.
The wait is the time from asking for a batch to having it, while the reader works in parallel with the network. Backward
is the time that gradients take beyond the forward pass; update is the time that a step takes beyond both. The first
steps, in which graphs are traced and buffers filled, do not count.

    python -m tfrecords.convert synthetic --out data/synthetic
    python benchmarks/step_time.py --recipe separable_sta_synthetic --data data/synthetic
"""

import pathlib
import statistics
import sys
import time

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from tfrecords import storage
from zoo.shared import command_line, files

WARM_UP = 5  # steps


def main(argv=None):
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="step_time.py", description="Time of the parts of a training step.")
    parser.add_argument("--recipe", default="separable_sta_synthetic", metavar="NAME", help="name or path of a recipe")
    parser.add_argument("--data", type=storage.location, metavar="DIR", help="default: data/<dataset>")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change the recipe")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed, after a warm-up (default: 30)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    from recipes import config
    from tfrecords.reading import pipeline

    recipe = config.load(arguments.recipe, ["model.weights=null", *arguments.set])
    records = pipeline.Records(arguments.data or pathlib.Path("data") / recipe.data.dataset)
    stages = {stage.name: measure(recipe, stage, records, arguments.steps) for stage in recipe.stages if stage.epochs}
    print(_table(recipe, stages, arguments.steps))
    if arguments.json:
        described = environment.describe("tensorflow", "keras", "numpy")
        result = {"recipe": recipe.name, "set": arguments.set, "steps": arguments.steps, "milliseconds": stages}
        files.write_json(arguments.json, {**result, **described})
    return 0


def measure(recipe, stage, records, steps):
    """Milliseconds of the parts of a stage's step.

    Args:
        recipe: A :class:`recipes.config.Recipe`.
        stage: One of its stages; it starts from random weights, which costs the same time as trained ones.
        records: The converted dataset.
        steps: Steps that are timed.

    Returns:
        Name of the part -> milliseconds: the mean for ``wait`` (rare long waits count), else the median.
    """
    import tensorflow as tf

    from recipes.trainers import keras, models, optimisation
    from tfrecords.reading import pipeline

    model, inputs = models.build_model(recipe, stage, records)
    models.freeze(model, stage)
    keras.compile_model(model, stage, recipe, records, inputs)
    batch = stage.batch or recipe.batch
    epochs = -(-(steps + WARM_UP) // records.steps(recipe.data.protocol, "train", batch)) + 1
    options = {"augment": recipe.data.augment, "cache": recipe.data.cache, "balance": recipe.data.balance}
    data = pipeline.training(
        records, recipe.data.protocol, inputs, batch=batch, seed=recipe.seed, epochs=epochs, **options
    )
    forward = tf.function(lambda features: model(features, training=True))

    cross_entropy = optimisation.CrossEntropy(stage.label_smoothing)

    @tf.function
    def gradients(features, labels):
        with tf.GradientTape() as tape:
            loss = cross_entropy(labels, model(features, training=True)) + sum(model.losses)
        return tape.gradient(loss, model.trainable_variables)

    batches = iter(data)
    times = {"wait": [], "step": []}
    for _ in range(steps + WARM_UP):
        begin = time.perf_counter()
        features, labels = next(batches)
        arrived = time.perf_counter()
        model.train_on_batch(features, labels)  # returns the loss: waits for the end of the step
        times["wait"].append(arrived - begin)
        times["step"].append(time.perf_counter() - arrived)
    del batches  # the reader stops
    times["forward"] = _times(lambda: forward(features), steps)
    times["gradients"] = _times(lambda: gradients(features, labels), steps)
    found = {name: 1000 * statistics.median(values[WARM_UP:]) for name, values in times.items()}
    return {
        "batch": batch,
        "wait": 1000 * statistics.fmean(times["wait"][WARM_UP:]),
        "forward": found["forward"],
        "backward": found["gradients"] - found["forward"],
        "update": found["step"] - found["gradients"],
        "step": found["step"],
    }


def _times(compute, repetitions):
    """Seconds of repeated calls, each until its result is there."""
    import tensorflow as tf

    seconds = []
    for _ in range(repetitions + WARM_UP):
        begin = time.perf_counter()
        tf.nest.flatten(compute())[-1].numpy()
        seconds.append(time.perf_counter() - begin)
    return seconds


def _table(recipe, stages, steps):
    lines = [f"{recipe.name}: milliseconds of a step, {steps} steps of each stage"]
    lines.append(f"{'stage':12} {'batch':>5} {'wait':>16} {'forward':>16} {'backward':>16} {'update':>16} {'step':>8}")
    for name, parts in stages.items():
        whole = parts["wait"] + parts["step"]
        cells = [
            f"{parts[part]:7.1f} ({parts[part] / whole:5.1%})" for part in ("wait", "forward", "backward", "update")
        ]
        lines.append(f"{name:12} {parts['batch']:5} " + " ".join(f"{cell:>16}" for cell in cells) + f" {whole:8.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
