"""Model cards: what is kept of runs, and the pages made of it."""

import json
import shutil

import numpy as np
import pytest

import zoo
from recipes import evaluate, model_card, publish, run_directory
from recipes.reports import cards
from serving.savedmodel import published
from tests.recipes.conftest import ROOT, command, error_of
from zoo import complexity, registry
from zoo.shared.errors import UserError

DOCS = ROOT / "docs" / "models"


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """A run with one evaluation: a copy, as other modules evaluate the run that all share in ways of their own."""
    run = tmp_path_factory.mktemp("evaluated") / trained.name
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("evaluation"))
    evaluate.evaluate(run)
    return run


@pytest.fixture
def folder(tmp_path):
    """A folder of cards that knows the models' parameters already, and no run."""
    known = {"parameters": model_card.read(DOCS)["parameters"], "runs": []}
    (tmp_path / model_card.RESULTS).write_text(json.dumps(known))
    return tmp_path


def test_the_pages_in_the_project_are_what_the_command_renders():
    results = model_card.read(DOCS)
    pages = cards.pages(results)
    assert {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")} == pages
    assert set(pages) == {"README.md", *(f"{name}.md" for name in (*registry.list_models(), *registry.ESTIMATORS))}
    small = {name: complexity.parameters(zoo.build(name, num_classes=cards.CLASSES)) for name in ("pose_lstm", "i3d")}
    assert small.items() <= results["parameters"].items()
    assert set(results["parameters"]) == set(zoo.list_models())


def test_a_published_run_is_the_model_and_its_card_and_nothing_of_the_machine(evaluated, tmp_path, run_command):
    status, out, errors = run_command(publish.main, "--run", evaluated, "--to", tmp_path / "kitchen")
    assert status == 0, errors
    assert "zoo.from_pretrained" in out
    found, run = published.find(tmp_path / "kitchen"), run_directory.RunDirectory(evaluated)
    for weight, expected in zip(found.model().get_weights(), run.model().get_weights()):
        np.testing.assert_array_equal(weight, expected)
    assert (found.inputs, found.labels) == (run.inputs, list(run.labels))
    metrics = json.loads((evaluated / "evaluation" / "cv-test" / "metrics.json").read_text())
    card = (tmp_path / "kitchen" / "README.md").read_text()
    assert f"| {run.recipe.seed} | {metrics['clips']} | {100 * metrics['top1']:.1f} |" in card
    texts = [path.read_text() for path in (tmp_path / "kitchen").iterdir() if path.suffix != ".safetensors"]
    assert not [text for text in texts if str(evaluated.parent) in text]
    assert run_command(publish.main, "--run", evaluated, "--to", tmp_path / "kitchen")[0] == 2, "it exists"


def test_a_run_is_added_once_and_stays_when_it_is_gone(evaluated, folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("moved") / "mine"
    shutil.copytree(evaluated, run)
    result = command("model_card.py", "--run", run, "--to", folder)
    assert result.returncode == 0, result.stderr
    first = {path.name: path.read_text() for path in folder.iterdir()}
    shutil.rmtree(run)
    model_card.write(folder, runs=[])
    model_card.write(folder, runs=[evaluated])  # the same training from another place
    again = model_card.read(folder)["runs"]
    assert len(again) == 1
    model_card.write(folder)
    text = {path.name: path.read_text() for path in folder.iterdir()}
    assert text == {name: page.replace("runs/mine", "runs/undisturbed") for name, page in first.items()} | {
        model_card.RESULTS: text[model_card.RESULTS]
    }
    metrics = json.loads((evaluated / "evaluation" / "cv-test" / "metrics.json").read_text())
    assert again[0]["top1"] == metrics["top1"]
    page = text["pose_cnn.md"]
    commands = "recipes/train.py --recipe tiny.yaml", "--output runs/undisturbed", "--data data/"
    for fact in (f"{100 * metrics['top1']:.1f}", metrics["manifest_sha256"], *commands):
        assert fact in page, fact
    assert "| ntu60/cs | 77.1 | not run | not run | - |" in page
    assert not any(str(tmp_path_factory.getbasetemp()) in page for page in text.values())


def test_a_training_repeated_into_another_folder_replaces_the_first(evaluated, folder, tmp_path):
    again = shutil.copytree(evaluated, tmp_path / "again")
    environment = json.loads((again / "environment.json").read_text())
    environment["command"] += " --output again"
    (again / "environment.json").write_text(json.dumps(environment))
    model_card.write(folder, runs=[evaluated, again])
    assert [run["train"].endswith("--output again") for run in model_card.read(folder)["runs"]] == [True]


def test_what_several_runs_reach_is_not_of_one(evaluated, tmp_path):
    run = shutil.copytree(evaluated, tmp_path / "run")
    shutil.copytree(run / "evaluation" / "cv-test", run / "evaluation" / "cv-test-x-other-test")  # a run may end so
    assert len(model_card.figures_of(run_directory.RunDirectory(run))) == 1


def test_seeds_of_one_recipe_are_put_together(evaluated, folder):
    (figures,) = model_card.figures_of(run_directory.RunDirectory(evaluated))
    figures = {**figures, "protocol": "cs"}
    runs = [{**figures, "seed": seed, "top1": top1} for seed, top1 in ((1, 0.8), (0, 0.6))]
    other = {**figures, "resolved": {**figures["resolved"], "batch": 7}, "top1": 0.1}
    page = cards.pages({"parameters": {}, "runs": [*runs, other]})["pose_cnn.md"]
    assert "| synthetic/cs | - | 70.0 ± 14.1 (60.0 to 80.0) |" in page
    assert "| synthetic/cs | - | 10.0 |" in page
    assert page.count("--protocol cs") == 3  # the recipe itself says cv


def test_folds_stand_beside_the_papers_mean(evaluated):
    (figures,) = model_card.figures_of(run_directory.RunDirectory(evaluated), hardware="a | b")
    fold = {**figures, "method": "pose_cnn", "dataset": "sbu", "protocol": "fold_2"}
    page = cards.pages({"parameters": {}, "runs": [fold]})["pose_cnn.md"]
    assert "| sbu/fold_2 (one of 5 folds) | 90.5 (after NTU-60) (mean of 5 folds) |" in page
    assert f"{figures['recipe']}: sbu/fold_2 (one of 5 folds)" in page
    assert r"| hardware | a \| b |" in page


def test_the_command_is_that_of_the_project_with_what_was_changed_later():
    begun = "/usr/bin/adl train --recipe r --output /home/ada/mine --set stages.pose.init=[first,/home/ada/other]"
    shown = "python recipes/train.py --recipe r --output runs/mine --set 'stages.pose.init=[first,runs/other]'"
    assert model_card._train_command(begun, {"stages.pose.epochs": 3}) == f"{shown} --set stages.pose.epochs=3"


def test_no_part_of_a_path_with_spaces_stays():
    begun = "recipes/train.py --recipe r --data '/Volumes/Ada L/My data/nucla' --set 'model.weights=~/A B/i 3d/w.h5'"
    shown = "python recipes/train.py --recipe r --data data/nucla --set model.weights=w.h5"
    assert model_card._train_command(begun, {}) == shown
    assert model_card.without_folders({"init": ["/home/Ada L/i3d", "backbone"]}) == {"init": ["runs/i3d", "backbone"]}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("model_sha256", "was trained further since its evaluation: python"),
        ("manifest_sha256", "is of other data than"),
    ],
)
def test_figures_of_another_model_or_of_other_data_are_not_its_own(evaluated, tmp_path, key, message):
    run = shutil.copytree(evaluated, tmp_path / "run")
    path = run / "evaluation" / "cv-test" / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: "0" * 64}))
    with pytest.raises(UserError, match=message):
        model_card.figures_of(run_directory.RunDirectory(run))


def test_mistakes_are_one_line(trained, folder, tmp_path):
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for name in ("recipe.yaml", "environment.json"):
        shutil.copyfile(trained / name, fresh / name)
    line = error_of(command("model_card.py", "--run", fresh, "--to", folder))
    assert f"was not evaluated on its test split: do so with python recipes/evaluate.py --run {fresh}" in line
    (folder / model_card.RESULTS).write_text("[]")
    assert "restore it or move it away" in error_of(command("model_card.py", "--to", folder))
