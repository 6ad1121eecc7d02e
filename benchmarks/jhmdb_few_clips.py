"""I3D on a few clips per class: lists for your own copy of JHMDB, and classifiers of the frozen network.

Usage::

    python benchmarks/jhmdb_few_clips.py lists --videos JHMDB/videos --splits JHMDB/splits --out clips.csv
    python -m tfrecords.convert folder --csv clips.csv --out data/jhmdb
    python benchmarks/jhmdb_few_clips.py baseline --data data/jhmdb
    python recipes/train.py --recipe i3d_folder --data data/jhmdb --set data.protocol=seed0 data.train_on=train_and_val
    python recipes/evaluate.py --run runs/i3d_folder
    python -m tfrecords.convert folder --csv clips.csv --poses estimate --parts none --out data/jhmdb_poses
    python recipes/train.py --recipe pose_gcn_folder --data data/jhmdb_poses \\
        --set data.protocol=seed0 data.train_on=train_and_val
    python recipes/evaluate.py --run runs/pose_gcn_folder
    python -m tfrecords.convert jhmdb --source JHMDB --parts full_image --no-poses --out data/jhmdb_frames
    python benchmarks/jhmdb_few_clips.py curve --data data/jhmdb_frames

``lists`` takes split 1 of JHMDB: folders of videos named after the classes, and lines ``<name> <class number>`` in
``JHMDB_train1.txt`` and ``JHMDB_test1.txt``. Each seed is a protocol with its own training clips; all have the same
test clips. ``baseline`` is the mean of Mixed_5c over 32 frames spread over a clip, standardised, with scikit-learn's
defaults. ``curve`` compares it with the classifier of ``i3d_folder`` for several numbers of training clips of split 1:
square roots of the pooled features, two augmented views of a training clip, a test clip and its mirror image. It
computes in bfloat16, once for all numbers.
"""

from __future__ import annotations

import argparse
import collections
import csv
import pathlib
import random
import sys
from collections.abc import Sequence

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from zoo.shared import command_line


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    lists = commands.add_parser("lists", help="write the CSV of clips")
    lists.add_argument("--videos", type=pathlib.Path, required=True)
    lists.add_argument("--splits", type=pathlib.Path, required=True)
    lists.add_argument("--out", type=pathlib.Path, required=True)
    lists.add_argument("--clips", type=int, default=10, help="training clips per class")
    lists.add_argument("--seeds", type=int, default=3)
    baseline = commands.add_parser("baseline", help="logistic regression on the frozen network")
    baseline.add_argument("--data", type=pathlib.Path, required=True, help="the converted dataset")
    curve = commands.add_parser("curve", help="both classifiers, by the number of training clips per class")
    curve.add_argument("--data", type=pathlib.Path, required=True, help="JHMDB, converted with --parts full_image")
    curve.add_argument("--clips", type=int, nargs="+", default=[2, 5, 10, 20], help="training clips per class")
    curve.add_argument("--draws", type=int, default=3)
    arguments = parser.parse_args(argv)
    if arguments.command == "lists":
        write_lists(arguments.videos, arguments.splits, arguments.out, arguments.clips, arguments.seeds)
    elif arguments.command == "baseline":
        measure_baseline(arguments.data)
    else:
        measure_curve(arguments.data, arguments.clips, arguments.draws)
    return 0


def write_lists(videos: pathlib.Path, splits: pathlib.Path, out: pathlib.Path, clips: int, seeds: int) -> None:
    """Writes the CSV: ``clips`` of every class for each seed, and all test clips."""
    where = {path.stem: path.resolve() for path in videos.glob("*/*") if path.suffix in (".mp4", ".avi")}
    by_class = collections.defaultdict(list)
    for name, number in _read(splits / "JHMDB_train1.txt"):
        by_class[number].append(name)
    chosen = []
    for seed in range(seeds):
        drawn = random.Random(seed)
        chosen.append({name for number in sorted(by_class) for name in drawn.sample(sorted(by_class[number]), clips)})
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "video", "label", *(f"split_seed{seed}" for seed in range(seeds))])
        for name in sorted(set().union(*chosen)):
            table.writerow(
                [name, where[name], where[name].parent.name, *("train" if name in own else "" for own in chosen)]
            )
        for name, _ in _read(splits / "JHMDB_test1.txt"):
            table.writerow([name, where[name], where[name].parent.name, *["test"] * seeds])


def _read(path):
    return [(name, int(number)) for name, number in map(str.split, path.read_text().splitlines())]


def measure_baseline(data: pathlib.Path) -> None:
    """Prints the accuracy of every protocol's logistic regression."""
    from tfrecords.reading.pipeline import Records

    records = Records(data)
    network = _network()
    for protocol in records.protocols:
        parts = {split: _features(network, records, protocol, split) for split in ("train", "val", "test")}
        x, y = (np.concatenate(arrays) for arrays in zip(parts["train"], parts["val"]))
        right = _plain_regression().fit(x, y).score(*parts["test"])
        print(f"{protocol}: {right:.1%} with {len(y)} training clips", flush=True)


def _plain_regression():
    from sklearn import linear_model, pipeline, preprocessing

    return pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())


def measure_curve(data: pathlib.Path, numbers: Sequence[int], draws: int) -> None:
    """Prints the accuracy of both classifiers with each number of training clips per class, and with all."""
    import tensorflow as tf

    from recipes import config
    from recipes.trainers import linear_probe

    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    recipe = config.load("i3d_folder", ["data.protocol=split_1", "data.parts=[full_image]"])
    train, test = _views(data, "train_and_val", recipe), _views(data, "test", recipe)
    labels, test_labels = train["labels"], test["labels"]

    def accuracy(clips, probe):
        y = labels[clips]
        if probe:
            x = np.concatenate([train["roots", "view 0"][clips], train["roots", "view 1"][clips]])
            model = linear_probe.regression(recipe.stages[0].linear_probe, 2, is_balanced=True).fit(x, np.tile(y, 2))
            scores = model.predict_proba(test["roots", "centre"]) + model.predict_proba(test["roots", "mirrored"])
        else:
            scores = _plain_regression().fit(train["mean", "centre"][clips], y).predict_proba(test["mean", "centre"])
        return 100 * np.mean(scores.argmax(axis=1) == test_labels)

    print("clips per class: plain logistic regression, classifier of i3d_folder")
    for number in numbers:
        drawn = [_drawn(labels, number, seed) for seed in range(draws)]
        found = np.array([[accuracy(clips, probe) for clips in drawn] for probe in (False, True)])
        both = " | ".join(f"{row.mean():.1f} ({', '.join(f'{one:.1f}' for one in row)})" for row in found)
        print(f"{number}: {both}", flush=True)
    everything = np.arange(len(labels))
    print(
        f"all, {len(labels) / 21:.0f} on average: {accuracy(everything, False):.1f} | {accuracy(everything, True):.1f}"
    )


def _drawn(labels, number, seed):
    """Indices of ``number`` clips of each class."""
    draws = np.random.default_rng(seed)
    return np.concatenate([draws.permutation(np.flatnonzero(labels == label))[:number] for label in np.unique(labels)])


def _views(data, split, recipe):
    """What classifiers read of all clips of a split: ``{(features, view): [N, 1024], "labels": [N]}``."""
    import tensorflow as tf

    from tfrecords.reading import pipeline
    from zoo import layers, skeletons

    network, key = _network(pooled=True), skeletons.input_name("full_image")
    compute = tf.function(lambda features: network(features[key], training=False))
    roots = layers.PowerNormalisation(recipe.model.options["feature_power"], dtype="float32")
    records, protocol = pipeline.Records(data), recipe.data.protocol
    inputs = recipe.data.inputs(records)
    centre = pipeline.evaluation(records, protocol, split, inputs, batch=8)
    found = {"centre": centre.map(lambda features, label, _: (features, label))}
    if split == "test":
        # By hand, as it was measured: evaluation(flip=True) mirrors before it resizes, and rounds differently.
        found["mirrored"] = found["centre"].map(
            lambda features, label: ({name: tf.reverse(value, [3]) for name, value in features.items()}, label)
        )
    else:
        for view in range(2):
            found[f"view {view}"] = pipeline.training_view(
                records, protocol, inputs, split=split, batch=8, seed=0, view=view, augment=recipe.data.augment
            )
    result = {}
    for view, batches in found.items():
        pairs = [(compute(features), label.numpy()) for features, label in batches]
        mean, pooled = (np.concatenate([tf.cast(each[n], tf.float32) for each, _ in pairs]) for n in range(2))
        result["mean", view] = mean
        result["roots", view] = roots(pooled).numpy().mean(axis=(1, 2, 3))  # of [N, 3, 1, 1, 1024]
        result["labels"] = np.concatenate([label for _, label in pairs])
        print(f"{split}, {view}: {len(mean)} clips", flush=True)
    return result


def _network(pooled=False):
    """Gives the mean of Mixed_5c, and with ``pooled`` what I3D's head pools as well."""
    import tensorflow as tf

    import zoo

    whole = zoo.build("i3d", num_classes=400, frames=32, size=224, weights="kinetics400")
    mean = tf.keras.layers.GlobalAveragePooling3D()(whole.get_layer("Mixed_5c").output)
    outputs = [mean, whole.get_layer("average_pool").output] if pooled else mean
    return tf.keras.Model(whole.input["rgb"], outputs)


def _features(network, records, protocol, split):
    """``(features [N, 1024], labels [N])`` of a split's clips."""
    from recipes import config
    from tfrecords.reading import pipeline

    inputs = config.load("i3d_folder", [f"data.protocol={protocol}"]).data.inputs(records)
    found = [
        (network(features["rgb"], training=False).numpy(), labels.numpy())
        for features, labels, _ in pipeline.evaluation(records, protocol, split, inputs, batch=4)
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*found))


if __name__ == "__main__":
    sys.exit(command_line.run(main))
