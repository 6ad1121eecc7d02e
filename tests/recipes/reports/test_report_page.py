"""What an evaluation shows beyond its accuracy: pairs, gain, attention, features, and the page that holds it all."""

import csv
import html.parser
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

import zoo
from recipes import config, evaluate, run_directory
from recipes.reports import attention as explain
from recipes.reports import html as html_report
from recipes.reports import plots
from recipes.reports import tables as report
from recipes.reports.scoring import Metrics
from recipes.trainers import models
from tests.recipes.conftest import TINY, command, error_of
from tests.zoo import tiny_models
from tfrecords.reading import pipeline
from zoo.shared.errors import UserError

LABELS = ("sit <b>", "stand & go", "$walk$", "never seen")
VOID = ("meta", "img", "br")


class Page(html.parser.HTMLParser):
    """Checks that tags close in order; keeps pictures, tags and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def metrics():
    """Two of three ``sit`` taken for ``stand``, both ``stand`` for ``walk``, ``walk`` right."""
    scores = np.eye(4)[[1, 1, 0, 2, 2, 2]]
    return Metrics(np.array([0, 0, 0, 1, 1, 2]), scores)


def test_confused_pairs_are_sorted_by_clips_then_fraction():
    pairs = report.confused_pairs(LABELS, metrics())
    assert [tuple(pair.values()) for pair in pairs] == [
        ("stand & go", "$walk$", 2, 1.0),
        ("sit <b>", "stand & go", 2, 0.6667),
    ]


def test_gain_is_the_difference_of_class_accuracies():
    rows = [{"id": clip, "label": label, "correct": right} for clip, label, right in ("aX1", "bX0", "cY0")]
    others = [{"id": clip, "label": label, "correct": right} for clip, label, right in ("cY1", "bX0", "aX0")]
    assert [(row["class"], row["clips"], row["gain"]) for row in report.gain(rows, others)] == [
        ("X", 2, 0.5),
        ("Y", 1, -1.0),
    ]


def test_pictures_take_any_class_name(tmp_path):
    plots.plot_confusion(tmp_path / "confusion.png", LABELS, metrics(), "50 $ or $\\frac")
    plots.plot_map(tmp_path / "map.png", np.zeros((6, 2)), metrics().labels, LABELS, "$\\frac$")
    rows = [{"class": "$\\frac$", "gain": -0.5}]
    plots.plot_gain(tmp_path / "gain.png", rows, "$\\frac$")
    assert all((tmp_path / name).stat().st_size for name in ("confusion.png", "map.png", "gain.png"))


@pytest.fixture(scope="module")
def everything(trained, tmp_path_factory):
    """A run with awkward class names, evaluated with all there is for a model of poses; the command's output."""
    run = tmp_path_factory.mktemp("copied") / "tiny <i>"
    shutil.copytree(trained, run)
    other = shutil.copytree(trained, run.with_name("other"))
    result = command("evaluate.py", "--run", other)
    assert result.returncode == 0, result.stderr
    result = command("evaluate.py", "--run", run, "--compare", other, "--tsne")
    assert result.returncode == 0, result.stderr
    assert "top-1 of other: " in result.stdout
    assert "a gain of +0.0%" in result.stdout
    return run, run / "evaluation" / "cv-test"


def test_the_page_needs_nothing_but_itself(everything):
    run, folder = everything
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert page.tags.count("img") == len(page.sources) == 4  # confusion, gain, t-SNE, curves
    assert not {"script", "link", "iframe", "i"} & set(page.tags)  # the run's name is "tiny <i>"
    environment = run_directory.RunDirectory(run).environment
    stated = ("--compare", "seed: 3", environment["data"]["manifest_sha256"], environment["versions"]["tensorflow"])
    for fact in (*stated, "tiny <i>", "not measured here", "Most confused pairs", "Gain per class", "t-SNE"):
        assert fact in page.text, fact


def test_files_agree_with_the_page(everything):
    _, folder = everything
    summary = json.loads((folder / "metrics.json").read_text())
    assert {row["gain"] for row in summary["gain"]} == {0.0}  # the same model
    with open(folder / "tsne.csv", newline="") as file:
        dots = list(csv.DictReader(file))
    assert len(dots) == summary["tsne"]["clips"] == summary["clips"]
    assert summary["tsne"]["features"] == "the input of classifier (102 values)"
    with open(folder / "confused_pairs.csv", newline="") as file:
        pairs = list(csv.DictReader(file))
    wrong = summary["clips"] - round(summary["top1"] * summary["clips"])
    assert sum(int(pair["clips"]) for pair in pairs) == wrong


def test_names_on_the_page_are_escaped(trained):
    run = run_directory.RunDirectory(trained)
    summary = report.summary(run.recipe, "cv", "test", LABELS, metrics())
    summary["manifest_sha256"] = "0"
    text = html_report.page(
        title="<script>",
        command="evaluate.py '<u>'",
        run=run,
        recipe=run.recipe,
        summary=summary,
        rows=report.per_class(LABELS, metrics()),
        pairs=report.confused_pairs(LABELS, metrics()),
        pictures={"confusion": []},
    )
    page = Page(text)
    assert not {"b", "script", "u"} & set(page.tags)
    assert "sit <b>" in page.text
    assert "stand & go" in page.text
    assert "sit &lt;b&gt;" in text


def test_a_class_may_be_named_as_a_column_is(tmp_path):
    found = Metrics(np.array([0, 1, 1]), np.eye(2)[[0, 0, 1]])
    columns, rows = report.confusion(["false", "true"], found)
    run_directory.write_csv(tmp_path / "confusion.csv", rows, columns)
    assert (tmp_path / "confusion.csv").read_text().split() == ["true,false,true", "false,1,0", "true,1,1"]


def test_a_run_without_mistakes_has_no_pairs(tmp_path):
    right = Metrics(np.array([0, 1]), np.eye(4)[[0, 1]])
    run_directory.write_csv(tmp_path / "pairs.csv", report.confused_pairs(LABELS, right), report.PAIR)
    assert (tmp_path / "pairs.csv").read_text().split() == ["true,taken_for,clips,fraction"]


def test_mistakes_are_one_line(trained, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in ("recipe.yaml", "inputs.json", "labels.txt", "environment.json"):
        shutil.copyfile(trained / name, other / name)
    with pytest.raises(UserError, match=r"was not evaluated on cv test: make predictions\.csv with python recipes/"):
        evaluate.evaluate(trained, compare=other)
    with pytest.raises(UserError, match="pose_cnn has no attention layer"):
        evaluate.evaluate(trained, attention=2)
    with pytest.raises(UserError, match="--tsne: of one model only"):
        evaluate.evaluate(trained, fuse=[trained], tsne=True)
    assert "no number of clips" in error_of(command("evaluate.py", "--run", trained, "--attention", "-1"))
    with pytest.raises(UserError, match="2 clips cannot be arranged"):
        explain.tsne(np.zeros((2, 3)), seed=0)
    for value in (1.0, np.nan):
        with pytest.raises(UserError, match="--tsne: the features are equal for all clips, or not finite"):
            explain.tsne(np.full((4, 3), value), seed=0)


QUICK = ("pose_lstm", "i3d", "sta_hands")  # one input, video, two streams


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in zoo.list_models()]
)
def test_features_of_every_model_are_what_it_classifies(name):
    model = tiny_models.shared(name)
    features, names = explain.penultimate(model)
    clip = {key: tf.zeros((2, *tensor.shape[1:])) for key, tensor in model.input.items()}
    values = features(clip, training=False).numpy()
    assert values.shape == (2, features.output_shape[-1])
    assert np.isfinite(values).all()
    assert all(layer.endswith("classifier") for layer in names)
    if name in ("pose_lstm", "i3d"):  # the mean over places of a linear layer's inputs gives the mean of its outputs
        kernel, bias = (weight.numpy() for weight in model.get_layer("classifier").weights)
        logits = tf.keras.Model(model.input, model.get_layer("logits").output)(clip).numpy()
        np.testing.assert_allclose(values @ kernel.reshape(-1, tiny_models.CLASSES) + bias, logits, atol=1e-4)


@pytest.mark.slow
def test_attention_of_wrong_and_right_clips(dataset, tmp_path):
    file, run = tmp_path / "attentive.yaml", tmp_path / "attentive"
    text = TINY[: TINY.index("stages:")].replace("pose_cnn, width: 0.1", "separable_sta, width: 0.1, lstm_units: 4")
    text = text.replace("cache: true", "frames: 8, stride: 1, size: 32")
    file.write_text(text + "stages: [{name: joint, epochs: 1, optimizer: {name: sgd, learning_rate: 0.1}}]")
    recipe, records = config.load(file), pipeline.Records(dataset)
    model, inputs = models.build_model(recipe, recipe.stages[0], records)
    environment = {"data": {"path": str(dataset), "manifest_sha256": ""}, "versions": {}, "devices": []}
    environment.update(dict.fromkeys(("command", "started", "seed", "platform"), ""))
    run.mkdir()
    labels = records.labels_of("cv")
    run_directory.create(run, recipe=recipe, inputs=inputs, labels=labels, environment=environment)
    model.save(run / run_directory.MODEL)
    evaluate.evaluate(run, attention=2)
    folder = run / "evaluation" / "cv-test"
    drawn = json.loads((folder / "metrics.json").read_text())["attention"]
    assert [(clip["picture"], clip["correct"]) for clip in drawn] == [("attention_1.png", 0), ("attention_2.png", 1)]
    assert (folder / "attention_2.png").read_bytes().startswith(b"\x89PNG")
    text = Page((folder / "report.html").read_text()).text
    assert drawn[0]["id"] in text
    assert f"taken for {drawn[0]['prediction']}" in text
