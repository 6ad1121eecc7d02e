"""The mean over folds, and one fold beside it, from made-up evaluations."""

import json
import shutil

import numpy as np
import pytest

from recipes import config, run_directory
from recipes.reports import html, scoring, tables
from tests.recipes.conftest import command, error_of

TOP1 = {"fold_1": 0.9, "fold_2": 0.8, "fold_4": 0.85}


def make_run(folder, protocol, recipe="pose_cnn_sbu", changes=()):
    """An evaluated run of a fold with ten times as many clips as the fold's number."""
    loaded = config.load(recipe, [f"data.protocol={protocol}", *changes])
    (folder / "evaluation" / f"{protocol}-test").mkdir(parents=True)
    (folder / run_directory.RECIPE).write_text(loaded.to_yaml())
    metrics = {
        "clips": 10 * int(protocol[-1]),
        "top1": TOP1.get(protocol, 0.5),
        "mean_class_accuracy": 0.7,
        "top5": 1.0,
    }
    (folder / "evaluation" / f"{protocol}-test" / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def runs(tmp_path):
    return [make_run(tmp_path / fold, fold, changes=[f"seed={number}"]) for number, fold in enumerate(TOP1)]


def test_mean_and_standard_deviation(runs):
    result = command("average.py", *runs)
    assert result.returncode == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert " ".join(lines[0]) == "pose_cnn, sbu test: mean over 3 of 5 folds, without fold_3, fold_5"
    assert lines[2] == ["fold_1", "10", "90.0%", "70.0%", "100.0%"]
    assert lines[5] == ["mean", "85.0%", "70.0%", "100.0%"]  # folds count equally
    assert lines[6] == ["standard", "deviation", "5.0%", "0.0%", "0.0%"]  # sqrt((0.05^2 + 0.05^2) / 2)
    assert " ".join(lines[7]) == "reported by its paper, mean over 5 folds: 90.5% (after NTU-60)"


def test_folds_that_were_evaluated_on_another_conversion(runs):
    for run, manifest in zip(runs, ("a" * 64, "b" * 64)):  # the third is of a version that did not state it
        (path,) = run.glob("evaluation/*/metrics.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "manifest_sha256": manifest}))
    result = command("average.py", *runs)
    assert result.returncode == 0
    assert (
        "warning: another conversion of the dataset than in fold_1 was evaluated in fold_2: the mean" in result.stderr
    )
    assert "warning" not in command("average.py", *runs[1:]).stderr


def events(recognised, quiet):
    """Four falls and four other videos of a fold, an hour together; a delay of a second."""
    counts = {"false_alarms": 0, "quiet": 4, "quiet_without_alarm": quiet, "alarms_in_quiet": 4 - quiet}
    return {"events": 4, "delays": [1.0] * recognised, "quiet_hours": 1.0, **counts}


def test_alarms_at_thresholds_that_are_chosen_on_the_other_folds(runs):
    for run, best in zip(runs, [(0.6, 0.7), (0.6,), (0.7, 0.8)]):
        (path,) = run.glob("evaluation/*/metrics.json")
        whole = {
            "videos": 8,
            "seconds": 3600.0,
            "frame_accuracy": 0.8,
            "segment_f1": {"0.5": None if run == runs[0] else 0.4},  # a fold without a labelled frame
            "mean_average_precision": {"0.5": None},
        }
        thresholds = {str(n / 100): events(4, 4) if n / 100 in best else events(3, 2) for n in range(5, 100, 5)}
        untrimmed = {**whole, "event": "fall", "events": thresholds["0.5"], "thresholds": thresholds}
        path.write_text(json.dumps({**json.loads(path.read_text()), "untrimmed": untrimmed}))
    result = command("average.py", *runs)
    assert result.returncode == 0, result.stderr
    *_, f1, precision, at_half, chosen, nested, whole, _ = result.stdout.splitlines()
    assert (f1, precision) == ("segment F1: 40.0% at 0.5", "mAP: - at 0.5")
    assert at_half.startswith("fall: 9 of 12 recognised (75.0%)")
    assert chosen == "each fold at the threshold that is best on the others, 0.7, 0.7, 0.6:"
    assert nested.startswith(
        "fall: 10 of 12 recognised (83.3%), median delay 1.00 s, 0 other alarms in these videos; no"
    )
    assert "no alarm in 8 of 12 videos without one (66.7%), 1.3 false alarms per hour" in nested
    assert whole == "best on all folds, for a network that is trained on all: 0.7"


def test_untrimmed_figures_of_other_settings(runs):
    def store(run, **settings):
        (path,) = run.glob("evaluation/*/metrics.json")
        whole = {"videos": 8, "seconds": 60.0, "frame_accuracy": 0.8, "segment_f1": {}, "mean_average_precision": {}}
        path.write_text(json.dumps({**json.loads(path.read_text()), "untrimmed": {**whole, **settings}}))

    store(runs[0], window="2s", event="fall", probability=0.5)
    store(runs[1], window="2s", event="fall", probability=0.85)
    message = error_of(command("average.py", *runs))
    assert f"{runs[1]} classified untrimmed videos with another --event-probability than {runs[0]} (0.85," in message
    store(runs[1], window=None, event="fall", probability=0.5)
    assert "another --window" in error_of(command("average.py", *runs))
    store(runs[1], window="2s", event="fall", probability=0.5)
    printed = command("average.py", *runs).stdout
    assert f"untrimmed videos: no mean, {runs[2]} lack them" in printed
    assert "frame accuracy" not in printed


def test_runs_that_are_no_folds_of_one_recipe(runs, tmp_path):
    def refused(*paths):
        return error_of(command("average.py", *paths))

    assert "is one run, expected one of each fold" in refused(runs[0])
    again = shutil.copytree(runs[1], tmp_path / "again")
    assert f"{again} and {runs[1]} are both of fold_2" in refused(*runs, again)
    other = make_run(tmp_path / "other", "fold_3", changes=["stages.pose.epochs=3"])
    assert "differs from" in refused(runs[0], other)
    assert "in stages.pose.epochs, expected runs of one recipe" in refused(runs[0], other)
    subject, halves = (make_run(tmp_path / p, p, recipe="pose_lstm_msr_daily") for p in ("loso_2", "loso_3"))
    (halves / run_directory.RECIPE).write_text(config.load("pose_lstm_msr_daily", ["data.protocol=odd_even"]).to_yaml())
    assert "are no folds of one cross-validation" in refused(subject, halves)
    shutil.rmtree(runs[2] / "evaluation")
    assert f"python recipes/evaluate.py --run {runs[2]} --protocol fold_4 --split test" in refused(*runs)


def test_one_fold_is_marked_beside_the_papers_mean():
    recipe = config.load("pose_cnn_sbu")
    metrics = scoring.Metrics(np.array([0, 1]), np.eye(2))
    head, own, *_ = tables.comparison(recipe, "fold_1", "test", metrics).splitlines()
    assert head.split("  ")[0] == "sbu/fold_1 (one of 5 folds)"
    assert head.endswith("reported by its paper (mean of 5 folds)")
    assert own.endswith("90.5% (after NTU-60)")
    summary = tables.summary(recipe, "fold_1", "test", ["a", "b"], metrics)
    assert len(summary["folds"]) == 5
    shown = html._figures(recipe, summary)
    assert "protocol fold_1 (one of 5 folds), test" in shown
    assert "reported by its paper (mean of 5 folds), not measured here" in shown
    whole = config.load("pose_cnn_ntu60")
    assert "fold" not in tables.comparison(whole, "cs", "test", metrics)
    assert tables.summary(whole, "cs", "test", ["a", "b"], metrics)["folds"] == []
