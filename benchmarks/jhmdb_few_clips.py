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
test clips. ``baseline`` is logistic regression with scikit-learn's defaults on standardised features: the mean of
Mixed_5c over 32 frames spread over a clip. ``curve`` compares it with the classifier of ``i3d_folder`` for several
numbers of training clips of split 1. This classifier reads square roots of the pooled features, of two augmented views
of a training clip, and of a test clip and its mirror image. The features are computed once, in bfloat16. With data that
have poses (converted without ``--no-poses``), ``curve`` also trains the networks of ``pose_gcn_folder`` on each draw,
and fuses the scores of both with the weight of ``late_fusion_folder``.
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

from zoo.shared import command_line, probabilities

_BATCH = 64  # views of poses that are read and scored at a time


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
    curve = commands.add_parser("curve", help="accuracies by the number of training clips per class")
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
    """Prints accuracies with each number of training clips per class, and with all: of video, of poses, of both."""
    from recipes import config
    from recipes.reports import scoring
    from tfrecords.reading.pipeline import Records

    records = Records(data)
    video = _Video(records, config.load("i3d_folder", ["data.protocol=split_1", "data.parts=[full_image]"]))
    pose = _Poses(records, config.load("pose_gcn_folder", ["data.protocol=split_1"])) if records.layout else None
    weight = config.load("late_fusion_folder").model.options["pose_weight"]
    labels, truth = video.train["labels"], video.test["labels"]

    def accuracies(clips, seed):
        scores = [video.plain(clips), video.probe(clips)]
        if pose:
            scores.append(pose.scores(clips, labels, seed))
            scores.append(scoring.product(scores[1], scores[2] ** weight))
        return [100 * scoring.Metrics(truth, each).top1 for each in scores]

    print(
        "clips per class: plain logistic regression" + ", i3d_folder, pose_gcn_folder, late_fusion_folder" * bool(pose)
    )
    for number in (*numbers, None):
        drawn = [_drawn(labels, number, seed) for seed in range(draws if number else 1)]
        found = np.array([accuracies(clips, seed) for seed, clips in enumerate(drawn)]).T
        cells = " | ".join(f"{row.mean():.1f} ({', '.join(f'{one:.1f}' for one in row)})" for row in found)
        print(f"{number or f'all, {len(labels) / 21:.0f} on average'}: {cells}", flush=True)


class _Video:
    """Classifiers of the frozen I3D's features, which are computed once."""

    def __init__(self, records, recipe):
        import tensorflow as tf

        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        self._stage = recipe.stages[0]
        self.train = _views(records, "train_and_val", recipe)
        self.test = _views(records, "test", recipe)
        tf.keras.mixed_precision.set_global_policy("float32")

    def plain(self, clips):
        """Scores of the test clips by a classifier with scikit-learn's defaults, fitted to one view of some clips."""
        fitted = _plain_regression().fit(self.train["mean", "centre"][clips], self.train["labels"][clips])
        return fitted.predict_proba(self.test["mean", "centre"])

    def probe(self, clips):
        """Scores of the test clips by the recipe's classifier, calibrated as in the recipe: the mean of two views."""
        from recipes.trainers import linear_probe

        x = np.concatenate([self.train["roots", f"view {view}"][clips] for view in range(2)])
        y = np.tile(self.train["labels"][clips], 2)
        probe = linear_probe.regression(self._stage.linear_probe, 2, is_balanced=True)
        temperature = linear_probe.cross_validated_temperature(probe, x, y, views=2)
        fitted = probe.fit(x, y)
        views = [fitted.predict_proba(self.test["roots", view]) for view in ("centre", "mirrored")]
        return np.mean([probabilities.at_temperature(scores, temperature) for scores in views], axis=0)


class _Poses:
    """Networks of poses, trained in this process; the augmented poses of all epochs are computed once."""

    def __init__(self, records, recipe):
        import tensorflow as tf

        from recipes.trainers import models
        from tfrecords.reading import clips, graph, order, pipeline

        self._records, self._recipe, (self._stage,) = records, recipe, recipe.stages
        _, self._inputs = models.build_model(recipe, self._stage, records)
        split, augment = "train_and_val", recipe.data.augment
        shards = [str(path) for path in records.shards(recipe.data.protocol, split)]
        posed = order.read(shards).map(graph.as_written(lambda record: clips.has_pose(record, self._inputs)))
        posed = np.fromiter(posed.as_numpy_iterator(), bool)
        self._number = np.where(posed, np.cumsum(posed) - 1, -1)  # of a clip among those with a pose
        self._epochs = []
        for epoch in range(self._stage.epochs):
            view = pipeline.training_view(
                records,
                recipe.data.protocol,
                self._inputs,
                split=split,
                batch=_BATCH,
                seed=0,
                view=epoch,
                augment=augment,
            )
            self._epochs.append(np.concatenate([features["pose"].numpy() for features, _ in view]))
        options = {name: getattr(recipe.evaluate, name) for name in ("clips", "pose_crop", "flip")}
        tests = pipeline.evaluation(records, recipe.data.protocol, "test", self._inputs, batch=_BATCH, **options)
        features, *others = zip(*tests.as_numpy_iterator())
        views = {"pose": np.concatenate([each["pose"] for each in features])}, *map(np.concatenate, others)
        self._tests = tf.data.Dataset.from_tensor_slices(views).batch(_BATCH)
        self._count = records.count(recipe.data.protocol, "test")

    def scores(self, clips, labels, seed):
        """Scores of the test clips by networks trained on some of the training clips."""
        import tensorflow as tf

        from recipes.reports import scoring
        from recipes.trainers import distribution, history, keras, models, optimisation

        stage, recipe = self._stage, self._recipe
        posed = clips[self._number[clips] >= 0]
        strategy, draws = distribution.local_strategy(), np.random.default_rng(seed)
        with strategy.scope():
            tf.keras.utils.set_random_seed(seed)
            model, inputs = models.build_model(recipe, stage, self._records)
            keras.compile_model(model, stage, recipe, self._records, inputs)
            rate, steps = optimisation.base_learning_rate(stage, recipe), len(posed) // recipe.batch
            passes = max(1, -(-stage.least_epoch_steps // steps))  # over the clips in an epoch
            for epoch in range(stage.epochs):
                model.optimizer.learning_rate.assign(rate * history.schedule_factor(stage, [{}] * epoch))
                for number in range(epoch * passes, (epoch + 1) * passes):
                    poses = self._epochs[number % len(self._epochs)]
                    taken = draws.permutation(posed)[: steps * recipe.batch]
                    model.fit({"pose": poses[self._number[taken]]}, labels[taken], recipe.batch, verbose=0)
            pool = recipe.evaluate.pool
            return scoring.Scorer(model, strategy, self._tests, count=self._count, batch=_BATCH, pool=pool)()[1]


def _drawn(labels, number, seed):
    """Indices of ``number`` clips of each class; ``None``: of all clips."""
    if number is None:
        return np.arange(len(labels))
    draws = np.random.default_rng(seed)
    return np.concatenate([draws.permutation(np.flatnonzero(labels == label))[:number] for label in np.unique(labels)])


def _views(records, split, recipe):
    """The features of all clips of a split: ``{(features, view): [N, 1024], "labels": [N]}``."""
    import tensorflow as tf

    from tfrecords.reading import pipeline
    from zoo import layers, skeletons

    network, key = _network(pooled=True), skeletons.input_name("full_image")
    compute = tf.function(lambda features: network(features[key], training=False))
    roots = layers.PowerNormalisation(recipe.model.options["feature_power"], dtype="float32")
    protocol, inputs = recipe.data.protocol, recipe.data.inputs(records)
    centre = pipeline.evaluation(records, protocol, split, inputs, batch=8)
    found = {"centre": centre.map(lambda features, label, _: (features, label))}
    if split == "test":
        # Mirrored here, as it was measured: evaluation(flip=True) mirrors before it resizes, and rounds differently.
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
    """A network that gives the mean of Mixed_5c, and with ``pooled`` also the output of I3D's ``average_pool``."""
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
