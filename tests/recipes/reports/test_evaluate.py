"""Evaluation of a trained run from the command line."""

import csv
import json
import re
import shutil

import numpy as np
import pytest
import yaml

import zoo
from recipes import evaluate, run_directory
from recipes.reports import tables, unseen
from tests.recipes.conftest import command, error_of
from tfrecords.reading import pipeline
from zoo.shared.errors import UserError


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(trained, tmp_path_factory):
    """A copy of the run that all modules share: evaluation writes into it."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("copied") / "run")


@pytest.fixture(scope="module")
def evaluated(trained):
    result = command("evaluate.py", "--run", trained)
    assert result.returncode == 0, result.stderr
    return result.stdout


def scored(model, inputs, records, split):
    """Classes and pooled scores of a split's clips, computed view by view."""
    views = list(pipeline.evaluation(records, "cv", split, inputs, batch=7, clips=2))
    scores = np.concatenate([model(features).numpy() for features, _, _ in views])
    labels, numbers = (np.concatenate([view[part] for view in views]) for part in (1, 2))
    clips = range(records.count("cv", split))
    pooled = np.array([scores[numbers == number].mean(axis=0) for number in clips])
    return np.array([labels[numbers == number][0] for number in clips]), pooled


def test_what_is_written_agrees_with_the_model(trained, evaluated, dataset):
    folder = trained / "evaluation" / "cv-test"
    metrics = json.loads((folder / "metrics.json").read_text())
    run = run_directory.RunDirectory(trained)
    records = pipeline.Records(dataset)
    truth, pooled = scored(run.model(), run.inputs, records, "test")
    assert metrics["clips"] == len(truth) == 50
    assert metrics["top1"] == np.mean(pooled.argmax(axis=1) == truth)

    predictions = rows(folder / "predictions.csv")
    assert [row["id"] for row in predictions] == pipeline.clip_ids(records, "cv", "test")
    assert [run.labels.index(row["prediction"]) for row in predictions] == pooled.argmax(axis=1).tolist()
    assert [run.labels.index(row["label"]) for row in predictions] == truth.tolist()
    np.testing.assert_allclose([float(row["score"]) for row in predictions], pooled.max(axis=1), atol=1e-5)

    confusion = np.array([[int(row[label]) for label in run.labels] for row in rows(folder / "confusion.csv")])
    assert confusion.sum() == len(truth)
    assert np.trace(confusion) == sum(int(row["correct"]) for row in rows(folder / "per_class.csv"))
    for picture in (folder / "confusion.png", trained / "curves.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"{metrics['top1']:.1%}" in evaluated
    assert "reported by its paper" in evaluated
    assert "no paper reports an accuracy of pose_cnn on synthetic/cv" in evaluated


def test_stages_alone_on_another_split(trained, dataset, capsys):
    evaluate.evaluate(trained, split="val", stages=True)
    metrics = json.loads((trained / "evaluation" / "cv-val" / "metrics.json").read_text())
    assert (metrics["split"], metrics["clips"], metrics["reported_percent"]) == ("val", 12, {})
    first = zoo.load_model(run_directory.stage_folder(trained, "first") / "model.keras")
    inputs = run_directory.RunDirectory(trained).inputs  # both stages are fed the same
    truth, pooled = scored(first, inputs, pipeline.Records(dataset), "val")
    alone = np.mean(pooled.argmax(axis=1) == truth)
    assert metrics["stages"] == {"first": {"top1": alone}}
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("its stage first alone"))
    assert row.split()[4] == f"{alone:.1%}"
    with pytest.raises(UserError, match="--stages: of one run only, leave --fuse out"):
        evaluate.evaluate(trained, stages=True, fuse=[trained])


def test_mistakes_are_one_line(trained, tmp_path):
    assert "choose from" in error_of(command("evaluate.py", "--run", trained, "--split", "tset"))
    assert "no run directory" in error_of(command("evaluate.py", "--run", tmp_path))


def test_a_damaged_shard_is_one_line(trained, dataset, tmp_path):
    data = shutil.copytree(dataset, tmp_path / "data")
    shard = pipeline.Records(data).shards("cv", "test")[0]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    message = error_of(command("evaluate.py", "--run", trained, "--data", data, "--rescore"))
    assert "a file of records is damaged (corrupted record at" in message


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("environment.json", b'{"data": {"path": "data"}}'),
        ("recipe.yaml", b"{"),
        ("inputs.json", b"{"),
        ("inputs.json", b"[]"),
        ("inputs.json", b'{"frame": 8}'),
        ("labels.txt", b"caf\xe9\n"),
        ("environment.json", b"{}"),
        ("history.csv", b"stage,epoch,loss\nfirst,1,\n"),
        ("evaluation/cs-test/metrics.json", b'{"top1": 0.'),
    ],
)
def test_a_run_directory_with_a_damaged_file_is_one_line(trained, tmp_path, name, content):
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("stages", "evaluation"))
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_bytes(content)

    def read():
        found = run_directory.RunDirectory(run)
        return found.inputs, found.labels, found.environment, found.history, tables.stored_metrics(found, "cs", "test")

    with pytest.raises(UserError, match=f"{re.escape(str(run / name))}.*(damaged|YAML)"):
        read()


def test_clips_a_run_was_trained_on_are_no_test(trained, tmp_path):
    with pytest.raises(UserError, match="or chosen, on some of its test clips under cv: train a run under cs"):
        evaluate.evaluate(trained, protocol="cs")
    with pytest.raises(UserError, match="valid: cs, cv"):
        evaluate.evaluate(trained, protocol="cz")
    with pytest.raises(UserError, match=r"no manifest\.json there"):
        evaluate.evaluate(trained, data=tmp_path)


def test_validation_clips_that_were_trained_on_do_not_validate(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    recipe["data"]["train_on"] = "train_and_val"
    for stage in recipe["stages"]:
        stage.update(monitor="last", schedule={"name": "constant"})
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.raises(UserError, match=r"trained on its validation clips too .* --set data\.train_on=train"):
        evaluate.evaluate(run, split="val")


def made_of(dataset, folder, change):
    """A dataset's records under a manifest that is changed."""
    data = shutil.copytree(dataset, folder)
    described = json.loads((data / "manifest.json").read_text())
    change(described["protocols"])
    (data / "manifest.json").write_text(json.dumps(described))
    return data


def test_other_data_may_lack_the_protocol_of_the_training(trained, dataset, tmp_path, capsys):
    data = made_of(dataset, tmp_path / "other", lambda protocols: protocols.pop("cv"))
    run = shutil.copytree(trained, tmp_path / "run")
    with pytest.raises(UserError, match=rf"{run} was trained on \d+ of the \d+ cs test clips of {data}, such as S"):
        evaluate.evaluate(run, data=data, protocol="cs")
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["path"] = str(tmp_path / "gone")
    (run / "environment.json").write_text(json.dumps(environment))
    assert 0 <= evaluate.evaluate(run, data=data, protocol="cs").top1 <= 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: "))
    assert f"({tmp_path / 'gone'}) are gone or were changed, so that it may have been trained on cs test" in line


def test_splits_that_were_exchanged_since_the_training(trained, dataset, small_synthadl, tmp_path, capsys, monkeypatch):
    """As after another conversion of one's own clips, whose splits are those of a CSV."""

    def check(data, split="test"):
        evaluate._check(run_directory.RunDirectory(trained), pipeline.Records(data), "cv", split)
        return capsys.readouterr().err

    def exchange(protocols):
        protocols["cv"].update(train=protocols["cv"]["test"], test=protocols["cv"]["train"])

    exchanged = made_of(dataset, tmp_path / "exchanged", exchange)
    assert check(exchanged) == ""  # ids of this dataset say what is tested
    monkeypatch.setattr(unseen.protocols, "follow_from_ids", lambda dataset: False)
    with pytest.raises(UserError, match="was trained on 88 of the 88 cv test clips of"):
        check(exchanged)
    assert check(exchanged, "train") == check(exchanged, "val") == check(dataset) == ""
    assert check(shutil.copytree(dataset, tmp_path / "moved")) == ""
    others = made_of(small_synthadl(subjects=5, frames=16), tmp_path / "others", exchange)  # names are the same
    assert "was trained on clips with the names of 88 of the 88 cv test clips of" in check(others)


def test_a_training_that_has_not_ended_cannot_be_evaluated(trained, tmp_path):
    for name in ("recipe.yaml", "inputs.json", "labels.txt", "environment.json"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    with pytest.raises(UserError, match=r"model\.keras is missing: the training has not ended"):
        evaluate.evaluate(tmp_path)
