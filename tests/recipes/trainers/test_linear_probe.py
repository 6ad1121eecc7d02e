"""The classifier fitted by logistic regression: as scikit-learn has it, the start of epochs, or refused."""

import types

import numpy as np
import pytest
import tensorflow as tf
from sklearn import linear_model, pipeline, preprocessing

import zoo
from recipes.reports import scoring
from recipes.run_directory import RunDirectory
from recipes.trainers import linear_probe
from tests.recipes.conftest import command
from tfrecords.reading import augmentation
from tfrecords.reading import pipeline as reading
from zoo.shared.errors import UserError
from zoo.shared.probabilities import at_temperature

RECIPE = """
model: {name: pose_cnn, width: 0.1}
data: {dataset: synthetic, protocol: cv, pose_steps: 3, balance: classes, augment: {noise: 0.05}}
stages:
  - name: top
    epochs: 0
    optimizer: {name: adam, learning_rate: 0.01}
    freeze: ["pose_conv_*"]
    cache_frozen: 2
    linear_probe: 0.5
batch: 12
"""


@pytest.fixture(scope="module")
def recipe_file(written_recipe):
    return written_recipe("probe", RECIPE)


@pytest.fixture(scope="module")
def fitted(recipe_file, dataset, trained_to_the_end):
    """A run of which only the classifier is fitted, and what it printed."""
    return trained_to_the_end("probe", recipe_file, dataset)


def test_the_model_answers_as_scikit_learn_does(fitted, dataset):
    output, printed = fitted
    assert "top: classifier fitted by logistic regression to 88 clips in 2 views" in printed
    assert "top: only the classifier is fitted, saved as" in printed
    assert "validation clips" not in printed  # nothing is validated
    model = zoo.load_model(output / "model.keras")
    records, inputs = reading.Records(dataset), RunDirectory(output).inputs
    views = [
        reading.training_view(
            records,
            "cv",
            inputs,
            split="train",
            batch=12,
            seed=0,
            view=view,
            augment=augmentation.Augmentation(noise=0.05),
        )
        for view in range(2)
    ]
    batches = [batch for view in views for batch in view]
    labels = np.concatenate([label for _, label in batches])
    reads = tf.keras.Model(model.input, [model.get_layer("classifier").input, model.output])
    features, ours = (np.concatenate(values) for values in zip(*(reads(inputs) for inputs, _ in batches)))
    regression = linear_model.LogisticRegression(C=0.25, class_weight="balanced", max_iter=1000)
    theirs = pipeline.make_pipeline(preprocessing.StandardScaler(), regression).fit(features, labels)
    temperature = linear_probe.cross_validated_temperature(theirs, features, labels, views=2)
    assert f"temperature {temperature:.2f}\n" in printed
    np.testing.assert_allclose(ours, at_temperature(theirs.predict_proba(features), temperature), atol=2e-3)


def test_a_strong_penalty_is_made_up_for_by_the_temperature():
    """Chosen on clips that are held out with all of their views: on those that were fitted it would be far lower."""
    draws = np.random.default_rng(0)
    labels = np.tile(np.repeat(np.arange(3), 20), 2)
    clips = np.tile(draws.normal(size=(60, 40)), (2, 1)) + 0.8 * np.eye(3, 40)[labels]
    features = clips + 0.1 * draws.normal(size=clips.shape)
    probe = linear_probe.regression(0.002, 2, is_balanced=True)
    temperature = linear_probe.cross_validated_temperature(probe, features, labels, views=2)
    of_them = probe.fit(features, labels).predict_proba(features)
    losses = [scoring.cross_entropy(labels, at_temperature(of_them, t)) for t in (temperature / 2, temperature)]
    assert losses[0] < losses[1]
    assert temperature < 0.5
    first = np.r_[0:21, 60:81]  # one clip of the second class, twenty of the first
    assert linear_probe.cross_validated_temperature(probe, features[first], labels[first], views=2) == 1
    apart = features + 50 * np.eye(3, 40)[labels]  # all held-out clips are right
    assert linear_probe.cross_validated_temperature(probe, apart, labels, views=2) < temperature


def test_epochs_start_from_it(fitted, recipe_file, dataset, tmp_path):
    """A rate of next to nothing leaves the weights where they were fitted, without a temperature."""
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run"]
    result = command("train.py", *arguments, "--set", "stages.top.epochs=1", "stages.top.optimizer.learning_rate=1e-9")
    assert result.returncode == 0, result.stderr
    ours, fit = (zoo.load_model(run / "model.keras").get_weights() for run in (tmp_path / "run", fitted[0]))
    temperature = np.linalg.norm(ours[-1]) / np.linalg.norm(fit[-1])
    assert f"temperature {temperature:.2f}\n" in fitted[1]
    for each, expected in zip(ours, [*fit[:-2], *(temperature * value for value in fit[-2:])]):
        np.testing.assert_allclose(each, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_without_clips_are_never_answered(classes):
    """Of two classes scikit-learn has one row of weights; a class that no clip shows has none."""
    draws = np.random.default_rng(0)
    labels = np.arange(60) % classes
    features = draws.normal(size=(60, 5)) + 3 * np.eye(5)[labels]
    regression = linear_model.LogisticRegression().fit(features, labels)
    kernel, bias = linear_probe._rows(regression, classes + 1)
    scores = np.exp(features @ kernel + bias)
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities[:, :classes], regression.predict_proba(features), atol=1e-3)
    assert probabilities[:, classes].max() < 1e-3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["stages.top.cache_frozen=0"], "stages.top.linear_probe: is fitted to stored features, set cache_frozen to"),
        (["stages.top.average={}"], "stages.top.linear_probe: an average of weights begins before it is fitted"),
    ],
)
def test_what_does_not_go_with_it_is_refused(changes, words, recipe_file, dataset, tmp_path):
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--set", *changes]
    result = command("train.py", *arguments)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert words in result.stderr


def test_a_model_of_two_classifiers_is_refused():
    """As of two streams."""
    features = tf.keras.Input((4,))
    heads = [tf.keras.layers.Dense(2, name=f"{stream}.classifier")(features) for stream in ("rgb", "pose")]
    model = tf.keras.Model(features, tf.keras.layers.Add()(heads), name="two_streams")
    with pytest.raises(UserError, match=r"stages\.all\.linear_probe: two_streams has no single linear classifier"):
        linear_probe.check(model, types.SimpleNamespace(name="all", linear_probe=1.0))
