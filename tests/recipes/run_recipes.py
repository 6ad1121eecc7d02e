"""Converts, trains and evaluates recipes at small size, one after the other: ``python -m tests.recipes.run_recipes``.

Usage: ``python -m tests.recipes.run_recipes FOLDER RECIPE ...``. It prints a line of JSON for each recipe. They share
a process because TensorFlow takes longer to start than such a training takes.
"""

import contextlib
import io
import json
import os
import pathlib
import sys
import traceback

from tests.recipes import raw_datasets
from tests.tfrecords.estimation import walking_estimator
from tfrecords.estimation import estimator

# Worker processes import this module as their main one, and so know the estimator.
estimator.register(walking_estimator.NAME)(walking_estimator.Walking)

SMALL = {
    "width": 0.0625,
    "network": "mobilenet_v2",
    "network_weights": None,  # nothing is downloaded
    "glimpse_size": 32,
    "lstm_units": 4,
    "track_length": 3,
    "gaussians": 1,
    "pose_epochs": 1,
    "networks": 2,
}
SIZES = {"frames": 8, "stride": 1, "size": 32, "pose_steps": 3, "segment_steps": 2}


def overrides(recipe, data, folds=()):
    """Overrides that make a recipe's models small and every stage one step; the same for all of some folds."""
    from tfrecords.reading import pipeline
    from zoo import registry
    from zoo.fusion.options import FLAT_OPTIONS

    if recipe.model.name in registry.ESTIMATORS:
        known, changes = FLAT_OPTIONS, {**SMALL, "weights": None}
    else:
        known, changes = registry.options(recipe.model.name), SMALL
    if any("weights" in model.options for model in [recipe.model, *filter(None, (s.model for s in recipe.stages))]):
        changes = {**changes, "weights": None}
        known = {*known, "weights"}
    made = {f"model.{option}": value for option, value in changes.items() if option in known}
    sizes = {key: value for key, value in SIZES.items() if getattr(recipe.data, key)}
    if not recipe.data.frames:
        sizes.pop("stride", None)
    made.update({f"data.{key}": value for key, value in sizes.items()})
    records = pipeline.Records(data)
    batch = min(records.count(name, "train") for name in folds or [recipe.data.protocol])  # all: one step is an epoch
    for stage in recipe.stages:
        made[f"stages.{stage.name}.batch"] = batch
        made[f"stages.{stage.name}.epochs"] = min(stage.epochs, 1)
    made["batch"] = batch
    return [f"{key}={'null' if value is None else value}" for key, value in made.items()]


def convert(dataset, protocol):
    """The converted raw dataset; made once."""
    from tfrecords import convert

    out = pathlib.Path("data", f"{dataset}_{protocol}")
    if not out.exists():
        line = raw_datasets.command(dataset, pathlib.Path("raw", out.name), protocol)
        convert.main([*map(str, line), "--out", str(out), "--workers", "1"])
    return out


def features(recipe, data):
    """The dataset with the features ``temporal`` and ``global`` read, of the model that global joins; made once."""
    from recipes import config, extract_features

    out = data.with_name(f"{data.name}_features")
    if not out.exists():
        base = config.load(f"global_{recipe.data.dataset}").stages[0].init[0]
        extract_features.main(["--run", base, "--out", str(out), "--keep-pictures"])
    return out


def run(name):
    """Trains and evaluates a recipe where ``train.py`` puts it by default."""
    from recipes import config, evaluate, train

    recipe = config.load(name)
    data = convert(recipe.data.dataset, recipe.data.protocol)
    if recipe.data.granularities:
        data = features(recipe, data)
    train.main(["--recipe", name, "--data", str(data), "--set", *overrides(recipe, data)])
    evaluate.main(["--run", f"runs/{name}"])


def main(folder, names):
    """Runs recipes; those that others start from come before them."""
    import tensorflow as tf

    os.chdir(folder)
    tf.config.threading.set_intra_op_parallelism_threads(1)  # operations this small gain nothing by more
    tf.config.threading.set_inter_op_parallelism_threads(1)
    # One step of each: tracing its graph would take longer than the step itself.
    tf.config.run_functions_eagerly(True)
    starts_from_others = ("global", "temporal", "_from_")
    for name in sorted(names, key=lambda name: [part in name for part in starts_from_others]):
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                run(name)
            error = None
        except Exception:
            error = traceback.format_exc()
        print(json.dumps({"recipe": name, "stdout": printed.getvalue(), "error": error}), flush=True)
        tf.keras.backend.clear_session()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
