"""I3D on a few clips per class: lists for your own copy of JHMDB, and logistic regression on the frozen network.

Usage::

    python benchmarks/jhmdb_few_clips.py lists --videos JHMDB/videos --splits JHMDB/splits --out clips.csv
    python -m tfrecords.convert folder --csv clips.csv --out data/jhmdb
    python benchmarks/jhmdb_few_clips.py baseline --data data/jhmdb
    python recipes/train.py --recipe i3d_folder --data data/jhmdb --set data.protocol=seed0 data.train_on=train_and_val
    python recipes/evaluate.py --run runs/i3d_folder

``lists`` takes split 1 of JHMDB: folders of videos named after the classes, and lines ``<name> <class number>`` in
``JHMDB_train1.txt`` and ``JHMDB_test1.txt``. Each seed is a protocol with its own training clips; all have the same
test clips. ``baseline`` is the mean of Mixed_5c over 32 frames spread over a clip, standardised, with scikit-learn's
defaults.
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    lists = commands.add_parser("lists", help="write the CSV of clips")
    lists.add_argument("--videos", type=pathlib.Path, required=True)
    lists.add_argument("--splits", type=pathlib.Path, required=True)
    lists.add_argument("--out", type=pathlib.Path, required=True)
    lists.add_argument("--clips", type=int, default=10, help="training clips per class")
    lists.add_argument("--seeds", type=int, default=3)
    baseline = commands.add_parser("baseline", help="logistic regression on the frozen network")
    baseline.add_argument("--data", type=pathlib.Path, required=True, help="the converted dataset")
    arguments = parser.parse_args(argv)
    if arguments.command == "lists":
        write_lists(arguments.videos, arguments.splits, arguments.out, arguments.clips, arguments.seeds)
    else:
        measure_baseline(arguments.data)
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
    from sklearn import linear_model, pipeline, preprocessing

    from tfrecords.reading.pipeline import Records

    records = Records(data)
    network = _network()
    for protocol in records.protocols:
        parts = {split: _features(network, records, protocol, split) for split in ("train", "val", "test")}
        x, y = (np.concatenate(arrays) for arrays in zip(parts["train"], parts["val"]))
        model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
        print(f"{protocol}: {model.fit(x, y).score(*parts['test']):.1%} with {len(y)} training clips", flush=True)


def _network():
    import tensorflow as tf

    import zoo

    whole = zoo.build("i3d", num_classes=400, frames=32, size=224, weights="kinetics400")
    mean = tf.keras.layers.GlobalAveragePooling3D()(whole.get_layer("Mixed_5c").output)
    return tf.keras.Model(whole.input, mean)


def _features(network, records, protocol, split):
    """``(features [N, 1024], labels [N])`` of a split's clips."""
    from tfrecords.reading import pipeline

    inputs = pipeline.Inputs(frames=32, stride=2, short_clips="spread", size=224)
    found = [
        (network(features, training=False).numpy(), labels.numpy())
        for features, labels, _ in pipeline.evaluation(records, protocol, split, inputs, batch=4)
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*found))


if __name__ == "__main__":
    sys.exit(main())
