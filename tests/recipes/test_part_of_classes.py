"""A protocol that uses a part of a dataset's classes, from the conversion to the served model."""

import csv
import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from recipes import config, run_directory
from recipes.trainers import fusion as two_level_fusion
from serving import export
from tests.recipes.conftest import command, error_of
from tfrecords import inspect, protocols
from tfrecords.datasets.synthetic import SynthADL
from tfrecords.reading import pipeline

CLASSES = ("wave", "drink from cup", "sit down")  # neither the first of the dataset's nor in their order
RECIPE = """
model: {name: pose_cnn, width: 0.1}
data: {dataset: synthetic, protocol: part, pose_steps: 3, balance: classes}
stages: [{name: only, epochs: 2, optimizer: {name: adam, learning_rate: 1e-2}}]
batch: 6
"""


@pytest.fixture(scope="module")
def records(small_synthadl):
    part = dataclasses.replace(protocols.PROTOCOLS["synthetic"]["cv"], labels=CLASSES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(protocols.PROTOCOLS["synthetic"], "part", part)
        folder = small_synthadl(subjects=5, parts="none")
    return pipeline.Records(folder)


@pytest.fixture(scope="module")
def recipe_path(written_recipe):
    return written_recipe("part", RECIPE)


@pytest.fixture(scope="module")
def trained(trained_to_the_end, records, recipe_path):
    return trained_to_the_end("part", recipe_path, records.directory)[0]


def _class_of(clip_id):
    """The protocol's number of a clip's class, from the dataset's own in its id."""
    return CLASSES.index(SynthADL.labels[int(clip_id[-3:]) - 1])


def test_only_this_protocol_has_classes_of_its_own(records):
    assert records.labels_of("part") == CLASSES
    assert records.labels_of("cv") == SynthADL.labels
    assert ["labels" in protocol for protocol in records.manifest["protocols"].values()] == [False, False, True]
    assert records.count("part", "test") == 3 * records.count("cv", "test") / 10
    (line,) = [line for line in inspect._text(records.manifest).splitlines() if line.startswith("part")]
    assert line.endswith("(3 of 10 classes)")


def test_the_reader_numbers_them_as_the_protocol(records, recipe_path):
    inputs = pipeline.Inputs(pose_steps=1, layout=records.layout)
    ids = pipeline.clip_ids(records, "part", "test")
    expected = [_class_of(clip_id) for clip_id in ids]
    (_, labels, _), *rest = pipeline.evaluation(records, "part", "test", inputs, batch=100)
    assert (list(labels.numpy()), rest) == (expected, [])
    for balance in ("none", "classes"):
        options = {"batch": 1, "seed": 0, "epochs": 1, "balance": balance}
        labels = [int(label[0]) for _, label in pipeline.training(records, "part", inputs, **options)]
        assert sorted(set(labels)) == [0, 1, 2]
        clips = [_class_of(clip_id) for clip_id in pipeline.clip_ids(records, "part", "train")]
        assert balance == "classes" or sorted(labels) == sorted(clips)
    found, labels, _ = two_level_fusion.clips(records, "part", "test", config.load(recipe_path))
    assert (len(found), list(labels)) == (len(ids), expected)


@pytest.mark.slow
def test_trained_evaluated_and_exported_with_its_classes(trained, records, tmp_path):
    run = run_directory.RunDirectory(trained)
    assert run.labels == CLASSES
    assert run.model().output_shape == (None, 3)
    result = command("evaluate.py", "--run", trained)
    assert result.returncode == 0, result.stderr
    with open(trained / "evaluation" / "part-test" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [CLASSES.index(row["label"]) for row in rows] == [_class_of(row["id"]) for row in rows]
    metrics = json.loads((trained / "evaluation" / "part-test" / "metrics.json").read_text())
    assert metrics["top1"] == np.mean([row["label"] == row["prediction"] for row in rows])

    folder, _ = export.export(export.Run(trained), tmp_path)
    served = tf.saved_model.load(str(folder)).signatures["serving_default"]
    answer = served(poses=tf.zeros([1, 9, 1, 25, 3]))
    assert [name.decode() for name in answer["classes"].numpy()[0]] == list(CLASSES)
    assert answer["probabilities"].shape == (1, 3)


def test_other_classes_are_no_test_of_it(trained):
    refused = error_of(command("evaluate.py", "--run", trained, "--protocol", "cs"))
    assert "has other classes under cs than" in refused
    assert "expected the 3 of its labels.txt" in refused
