"""Stored scores and the analyses of a report: equations, and the commands on small runs."""

import csv
import dataclasses
import json
import shutil
import types

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import tensorflow as tf

import zoo
from recipes import config, evaluate, run_directory
from recipes.reports import common_clips, poses, scoring, sections, stored, tables
from recipes.trainers import keras, models
from tests.recipes.conftest import TINY
from tests.zoo import tiny_models
from tfrecords.reading import pipeline
from zoo.shared import files
from zoo.shared.errors import UserError


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------------- equations


def test_stored_scores_come_back(tmp_path):
    scores = np.array([[0.9, 0.1], [0.0, 0.0]], np.float32)
    state = {"model_sha256": "1", "views": {"clips": "all"}}
    written = stored.Scores(["ä b", "c,d"], np.array([1, 0]), ("sit", "stand"), scores, {"motion": 0.5})
    path = tmp_path / "new" / stored.NAME
    stored.write(path, written, state)
    found = stored.read(path, state)
    assert (found.ids, found.classes, found.parts) == (["ä b", "c,d"], ["sit", "stand"], {"motion": 0.5})
    np.testing.assert_array_equal(found.scores, scores)
    assert found.scores.dtype == np.float32
    assert found.metrics.predictions.tolist() == [0, -1]
    with np.load(path) as file:  # without pickles
        assert sorted(file) == ["classes", "ids", "labels", "scores", "state"]
    assert stored.read(path, {**state, "model_sha256": "2"}) is None
    path.write_bytes(path.read_bytes()[:-30])
    assert stored.read(path) is None
    path.write_bytes(b"")
    assert stored.read(path) is None
    assert stored.read(tmp_path / "none.npz") is None


def test_mcnemar_is_the_binomial_test_of_the_clips_that_differ():
    this, other = np.random.default_rng(0).integers(0, 2, (2, 60))
    parts = [[{"id": str(n), "correct": str(right)} for n, right in enumerate(values)] for values in (this, other)]
    found = tables.mcnemar(parts[0], parts[1][::-1])  # in any order
    first, second = int((this > other).sum()), int((this < other).sum())
    expected = sum(scipy.stats.binom.pmf(k, first + second, 0.5) for k in range(min(first, second) + 1))
    assert found == {
        "only_this_right": first,
        "only_other_right": second,
        "p_value": pytest.approx(min(1, 2 * expected)),
    }
    assert tables.mcnemar(parts[0], parts[0])["p_value"] == 1.0


def test_confusions_of_pairs():
    def run(*predictions):
        return [
            {"id": str(n), "label": label, "prediction": found}
            for n, (label, found) in enumerate(zip("aabbc", predictions))
        ]

    runs = {"one": run(*"abaac"), "two": run(*"aabbb"), "three": run("", *"abbc")}  # the third abstains once
    assert tables.mutual_confusions("abc", runs, 9) == [
        {"first": "a", "second": "b", "one": 0.75, "two": 0, "three": 0},
        {"first": "b", "second": "c", "one": 0, "two": 0.3333, "three": 0},
    ]
    assert len(tables.mutual_confusions("abc", runs, 1)) == 1


def test_dynamicity_is_the_mean_procrustes_distance():
    pose = np.random.default_rng(0).normal(size=(5, 2, 6, 3))
    pose[2, 1] = 0  # the second person is away
    pairs = [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (3, 1)]  # step, person
    expected = [scipy.spatial.procrustes(pose[t, m], pose[t + 1, m])[2] for t, m in pairs]
    assert poses.dynamicity(pose) == pytest.approx(np.mean(expected))
    angle = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    turned = np.stack([pose[0], 3 * pose[0] @ angle + 5])
    assert poses.dynamicity(turned) == pytest.approx(0, abs=1e-12)
    assert np.isnan(poses.dynamicity(np.zeros((3, 1, 6, 3))))


XYZ = np.random.default_rng(0).normal(size=(40, 2, 20, 3)).astype(np.float32)
XYZ[10:, 1] = 0  # the second person leaves
NUMBER = tf.constant(7, tf.int64)


def test_noise_has_the_deviation_and_leaves_absent_persons():
    noisy = poses.add_noise(0.1, seed=3)(XYZ, NUMBER).numpy()
    assert not noisy[10:, 1].any()
    assert (noisy - XYZ)[:, 0].std() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_array_equal(noisy, poses.add_noise(0.1, seed=3)(XYZ, NUMBER))
    assert (noisy != poses.add_noise(0.1, seed=3)(XYZ, NUMBER + 1).numpy()).any()


def test_joints_lost_in_frames_lie_on_lines():
    for fraction in (0.3, 1.0):
        changed = poses.lose_in_frames(fraction, seed=0)(XYZ, NUMBER).numpy()
        there = XYZ.any(axis=(2, 3))
        assert not changed[~there].any()
        same = (changed == XYZ).all(axis=-1)
        assert same[there].mean() == pytest.approx(max(1 - fraction, 1 / 40), abs=0.05)
        for joint in range(20):
            frames = np.flatnonzero(same[:, 0, joint])
            for axis in range(3):
                line = np.interp(np.arange(40), frames, XYZ[frames, 0, joint, axis])
                np.testing.assert_allclose(changed[:, 0, joint, axis], line, atol=1e-5)


def test_joints_lost_throughout_are_zero():
    changed = poses.lose_throughout(0.3, seed=0)(XYZ, NUMBER).numpy()
    lost = ~changed[0].any(axis=-1)  # [M, J]
    assert lost.mean() == pytest.approx(0.3, abs=0.15)
    np.testing.assert_array_equal(changed, np.where(lost[..., np.newaxis], 0, XYZ))


def test_joints_of_a_split_without_poses(monkeypatch):
    unknown = np.full((2, 20), np.nan), np.full((2, 20, 3), np.nan), np.zeros(3, int)
    monkeypatch.setattr(poses, "joint_activations", lambda **_: unknown)
    scored = types.SimpleNamespace(run=None, source={}, protocol="cv", split="test")
    with pytest.raises(UserError, match="--joints: no clip of cv test has a pose"):
        sections.joints(scored)


@pytest.mark.parametrize("name", ["pose_gcn", pytest.param("vpn", marks=pytest.mark.slow)])
def test_strength_of_joints(name):
    model = tiny_models.shared(name)
    joints = poses.joint_model(model)
    clip = {key: tf.random.stateless_normal((2, *t.shape[1:]), (0, 1)) for key, t in model.input.items()}
    features = tf.keras.Model(model.input, joints.get_layer("joint_strength").input)(clip).numpy()
    steps = 1 if name == "vpn" else 2
    expected = np.sqrt((features**2).sum(axis=-1)).mean(axis=steps)
    np.testing.assert_allclose(joints(clip).numpy(), expected, rtol=1e-4)
    assert joints.output_shape[1] == np.prod(model.input["pose"].shape[2:4])


# --------------------------------------------------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def trained(trained, tmp_path_factory):
    """A copy of the run that all modules share: evaluation writes into it."""
    return shutil.copytree(trained, tmp_path_factory.mktemp("copied") / "run")


@pytest.fixture
def never_scored(monkeypatch):
    """Fails where a network is run."""

    def fail(*args, **options):
        raise AssertionError("a network was run")

    monkeypatch.setattr(keras, "outputs", fail)


def test_stored_scores_are_read_while_nothing_changed(trained, run_command, tmp_path, monkeypatch):
    first = tmp_path / "first"
    shutil.copytree(trained, first)
    status, printed, err = run_command(evaluate.main, "--run", first)
    assert status == 0, err
    folder = first / "evaluation" / "cv-test"
    before = (folder / "predictions.csv").read_bytes()
    runs = []
    monkeypatch.setattr(
        keras, "outputs", lambda *args, real=keras.outputs, **options: runs.append(1) or real(*args, **options)
    )
    status, printed, _ = run_command(evaluate.main, "--run", first)
    assert (status, runs) == (0, [])
    assert "scores.npz has the scores of this model, these clips and views: read" in printed
    assert (folder / "predictions.csv").read_bytes() == before
    assert run_command(evaluate.main, "--run", first, "--rescore")[0] == 0
    assert len(runs) == 1
    recipe = (first / "recipe.yaml").read_text()
    (first / "recipe.yaml").write_text(recipe.replace("clips: 2", "clips: 1"))  # other views
    scored(first)
    model = zoo.load_model(first / "model.keras")
    model.set_weights([0.9 * weight for weight in model.get_weights()])
    model.save(first / "model.keras")
    scored(first)
    assert len(runs) == 3


def test_fusion_calibration_and_comparison_need_stored_scores_alone(
    trained, run_command, tmp_path, request, monkeypatch
):
    other = shutil.copytree(trained, tmp_path / "other")
    model = zoo.load_model(other / "model.keras")
    model.set_weights([2 * weight for weight in model.get_weights()])
    model.save(other / "model.keras")
    for run in (trained, other):
        for split in ("val", "test"):
            scored(run, split)
    evaluate.evaluate(trained)
    request.getfixturevalue("never_scored")
    options = ("--fuse-weights", "validation", "--calibrate", "--compare", trained)
    status, printed, err = run_command(evaluate.main, "--run", trained, "--fuse", other, *options)
    assert status == 0, err
    folder = trained / "evaluation" / "cv-test-x-other-weighted"
    summary = json.loads((folder / "metrics.json").read_text())
    first, second = (stored.read(run / "evaluation" / "cv-test" / stored.NAME) for run in (trained, other))
    fused = scoring.product(first.scores, second.scores, weights=summary["fusion"]["weights"])
    np.testing.assert_allclose(stored.read(folder / stored.NAME).scores, fused, atol=1e-6)
    assert summary["top1"] == np.mean(fused.argmax(axis=1) == first.labels)
    assert f"weights of the product: run {summary['fusion']['weights'][0]:g}, other" in printed
    assert "exact McNemar test p = " in printed
    assert summary["mcnemar"]["p_value"] <= 1
    assert (folder / "calibration.json").is_file()
    assert not (trained / "calibration.json").exists()  # that of one run

    hashed = []
    with monkeypatch.context() as patch:
        patch.setattr(files, "sha256_of", lambda path, real=files.sha256_of: hashed.append(path) or real(path))
        status, printed, err = run_command(evaluate.main, "--run", trained, "--calibrate", "0.5", "--dynamicity")
    assert status == 0, err
    assert hashed == [trained / "model.keras"], "large models take seconds to hash"
    file = json.loads((trained / "calibration.json").read_text())
    validation = stored.read(trained / "evaluation" / "cv-val" / stored.NAME)
    assert file["fitted_on"]["clips"] == len(validation.labels)
    assert file["model_sha256"] == files.sha256_of(trained / "model.keras")
    assert f"temperature {file['temperature']:.3f}, fitted on 12 validation clips" in printed
    folder = trained / "evaluation" / "cv-test"
    moved = poses.clip_dynamicity(run_directory.RunDirectory(trained), *of(trained))
    for row in rows(folder / "dynamicity.csv"):
        own = moved[np.array(first.labels) == first.classes.index(row["class"])]
        assert float(row["dynamicity"]) == pytest.approx(own.mean(), abs=1e-5)
    page = (folder / "report.html").read_text()
    for heading in ("Calibration and reject option", "Action dynamicity", "Areas under the ROC curve"):
        assert heading in page
    assert "fitted on the clips that are evaluated here" not in page

    status, _, err = run_command(evaluate.main, "--run", trained, "--fuse", other, "--fuse-weights", "3,1")
    assert status == 0, err
    given = stored.read(trained / "evaluation" / "cv-test-x-other-weighted-0.75-0.25" / stored.NAME).scores
    np.testing.assert_allclose(given, scoring.product(first.scores, second.scores, weights=[0.75, 0.25]), atol=1e-6)

    options = ("--split", "val", "--fuse", other, "--fuse-weights", "validation", "--calibrate", "0.5")
    status, _, err = run_command(evaluate.main, "--run", trained, *options)
    assert status == 0, err
    assert "warning: --calibrate: is fitted on the clips that are evaluated here" in err
    page = (trained / "evaluation" / "cv-val-x-other-weighted" / "report.html").read_text()
    assert page.count("It was fitted on the clips that are evaluated here") == 2


def test_runs_whose_data_lack_clips_are_fused_and_compared_on_those_of_both(
    trained, dataset, run_command, tmp_path, request
):
    first, labels = scored(trained), run_directory.RunDirectory(trained).labels
    evaluate.evaluate(trained)
    data = shutil.copytree(dataset, tmp_path / "data")
    described = data / "manifest.json"
    described.write_text(described.read_text() + "\n")  # other data, in which six clips are missing
    other, kept = shutil.copytree(trained, tmp_path / "other"), np.arange(49, 5, -1)
    random = np.random.default_rng(0).dirichlet(np.ones(len(labels)), len(kept)).astype(np.float32)
    second = stored.Scores([first.ids[row] for row in kept], first.metrics.labels[kept], labels, random)
    opened, model_sha256 = run_directory.RunDirectory(other), files.sha256_of(other / "model.keras")
    state = stored.state_of(opened, model_sha256, pipeline.Records(data), "cv", "test")
    stored.write(other / "evaluation" / "cv-test" / stored.NAME, second, state)
    request.getfixturevalue("never_scored")
    evaluate.evaluate(other, data=data)
    note = "44 of 50 clips count, those that all runs have (missing: 6 in"

    options = ("--fuse", other, "--fuse-data", data, "--compare", trained, "--dynamicity")
    status, printed, err = run_command(evaluate.main, "--run", trained, *options)
    assert status == 0, err
    assert f"cv test: {note} {other})" in printed
    assert "synthetic cv test, 44 of 50 clips: " in printed
    folder = trained / "evaluation" / "cv-test-x-other"
    summary, fused = json.loads((folder / "metrics.json").read_text()), stored.read(folder / stored.NAME)
    assert (summary["clips"], summary["common_clips"]["missing"]) == (44, {str(other): 6})
    assert fused.ids == first.ids[6:]
    np.testing.assert_allclose(fused.scores, scoring.product(first.metrics.scores[6:], random[::-1]), atol=1e-6)
    alone = np.mean(first.metrics.predictions[6:] == first.metrics.labels[6:])
    assert summary["compared_top1"] == [summary["top1"], alone]
    assert sum(int(row["clips"]) for row in rows(folder / "dynamicity.csv")) == 44
    assert f"{note} {other})." in (folder / "report.html").read_text()

    status, printed, err = run_command(evaluate.main, "--run", trained, "--compare", other)
    assert status == 0, err
    assert f" to {alone:.1%}; {note} other)" in printed
    summary = json.loads((trained / "evaluation" / "cv-test" / "metrics.json").read_text())
    assert (summary["clips"], summary["compared_clips"]["clips"]) == (50, 44)
    assert summary["compared_top1"] == [alone, second.metrics.top1]
    assert sum(row["clips"] for row in summary["gain"]) == 44

    relabelled = np.where(np.arange(len(kept)) < 3, (second.labels + 1) % len(labels), second.labels)
    path = other / "evaluation" / "cv-test" / stored.NAME
    stored.write(path, dataclasses.replace(second, labels=relabelled), state)
    with pytest.raises(UserError, match=rf"{other}: {data} labels 3 of 44 clips, such as .*, expected the same labels"):
        evaluate.evaluate(trained, fuse=[other], fuse_data=data)
    evaluate.evaluate(other, data=data)
    for option in ({"compare": other}, {"radar": [other]}):
        with pytest.raises(UserError, match=r"other labels 3 of 44 clips, such as .*, expected the same labels"):
            evaluate.evaluate(trained, **option)
    with pytest.raises(UserError, match="a, b: have no clip in common"):
        common_clips.CommonClips.of([("a", ["x"]), ("b", ["y"])])


def test_runs_of_other_classes_are_neither_fused_nor_compared(trained, run_command, tmp_path, never_scored):
    other = shutil.copytree(trained, tmp_path / "other", ignore=shutil.ignore_patterns("evaluation"))
    labels = run_directory.RunDirectory(trained).labels
    refused, passed = f"{other} has other classes than {trained}, expected runs of one dataset", "was not evaluated on"
    for classes, compared in (("sleep", *labels[1:]), refused), (labels[::-1], passed):  # compared by their names
        (other / "labels.txt").write_text("\n".join(classes))
        for option, message in ("--fuse", refused), ("--compare", compared), ("--radar", compared):
            status, _, err = run_command(evaluate.main, "--run", trained, option, other)
            assert (status, len(err.splitlines())) == (2, 1), err
            assert message in err


def scored(run, split="test"):
    """A run on a split, as the command scores it, without a report."""
    opened = run_directory.RunDirectory(run)
    return evaluate._score(opened, of(run)[0], evaluate._model_sha256(opened), "cv", split, False)


def of(run):
    """Records, protocol and split of the tests."""
    return pipeline.Records(run_directory.RunDirectory(run).environment["data"]["path"]), "cv", "test"


def untrained(folder, recipe_text, dataset):
    """A run directory of untrained models, one for every stage of the recipe."""
    (folder / "run").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe_text)
    recipe, records, run = config.load(folder / "recipe.yaml"), pipeline.Records(dataset), folder / "run"
    model, inputs = models.build_model(recipe, recipe.stages[-1], records)
    environment = {"data": {"path": str(dataset), "manifest_sha256": ""}, "versions": {}, "devices": []}
    environment.update(dict.fromkeys(("command", "started", "seed", "platform"), ""))
    run_directory.create(run, recipe=recipe, inputs=inputs, labels=records.labels_of("cv"), environment=environment)
    model.save(run / run_directory.MODEL)
    for stage in recipe.stages[:-1]:
        file = run_directory.stage_folder(run, stage.name) / run_directory.MODEL
        file.parent.mkdir(parents=True)
        models.build_model(recipe, stage, records)[0].save(file)
    return run


@pytest.mark.slow
def test_joints_worse_poses_and_radar(trained, dataset, run_command, tmp_path, monkeypatch):
    text = TINY[: TINY.index("stages:")].replace("pose_cnn, width: 0.1", "pose_gcn, width: 0.2")
    text += "stages: [{name: pose, epochs: 1, optimizer: {name: sgd, learning_rate: 0.1}}]"
    run = untrained(tmp_path, text, dataset)
    monkeypatch.setattr(poses, "SWEEPS", (("joint noise, m", poses.add_noise, (0.5,)),))
    evaluate.evaluate(trained, split="val")
    options = ("--split", "val", "--joints", "--pose-noise", "--radar", trained)
    status, _, err = run_command(evaluate.main, "--run", run, *options)
    assert status == 0, err
    folder = run / "evaluation" / "cv-val"
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary["pose_noise"][0]["top1"] == round(summary["top1"], 4)  # of the poses as they are
    assert [row["amount"] for row in rows(folder / "pose_noise.csv")] == ["0.0", "0.5"]
    joints = rows(folder / "joints.csv")
    assert len(joints) == 10
    assert {row["class"] for row in joints if row["neck"]} == {
        row["class"] for row in rows(folder / "per_class.csv") if int(row["clips"])
    }
    assert len(summary["radar"]) >= 3
    page = (folder / "report.html").read_text()
    for heading in ("Joint activations", "Worse poses", "Confused pairs of several runs"):
        assert heading in page


@pytest.mark.slow
def test_mirrored_views_do_not_mix_left_and_right_joints(dataset, tmp_path):
    text = TINY[: TINY.index("stages:")].replace("pose_cnn, width: 0.1", "pose_gcn, width: 0.2")
    text += "stages: [{name: pose, epochs: 1, optimizer: {name: sgd, learning_rate: 0.1}}]"
    run, records = run_directory.RunDirectory(untrained(tmp_path, text, dataset)), pipeline.Records(dataset)
    found = []
    for flip in (False, True):
        views = dataclasses.replace(run.recipe.evaluate, flip=flip)
        run.recipe = dataclasses.replace(run.recipe, evaluate=views)
        found.append(poses.joint_activations(run, records, "cv", "val")[0])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.slow
def test_attention_to_parts_beside_their_accuracies(small_synthadl, run_command, tmp_path):
    data = small_synthadl(subjects=5, parts="full_body,left_hand,right_hand")
    text = TINY[: TINY.index("stages:")].replace("pose_cnn, width: 0.1", "pi3d, width: 0.05, lstm_units: 4")
    text = text.replace("cache: true", "frames: 8, stride: 1, size: 32, parts: [full_body, left_hand, right_hand]")
    stage = "epochs: 1, optimizer: {name: sgd, learning_rate: 0.1}"
    alone = "model: {name: pi3d, parts: [left_hand], attention: false}"
    run = untrained(tmp_path, f"{text}stages: [{{name: left, {alone}, {stage}}}, {{name: joint, {stage}}}]", data)
    status, _, err = run_command(evaluate.main, "--run", run, "--split", "val", "--parts", "--stages")
    assert status == 0, err
    summary = json.loads((run / "evaluation" / "cv-val" / "metrics.json").read_text())
    with_clips = [row for row in summary["parts"] if row["attention_full_body"] != ""]
    for row in with_clips:  # untrained: equal
        assert [row[f"attention_{part}"] for part in ("full_body", "left_hand", "right_hand")] == [0.3333] * 3
        assert row["accuracy_full_body"] == ""
    left = stored.read(run / "evaluation" / "cv-val" / "scores-left.npz").metrics
    assert {row["class"]: row["accuracy_left_hand"] for row in with_clips} == {
        label: round(float(accuracy), 4)
        for label, accuracy in zip(run_directory.RunDirectory(run).labels, left.class_accuracies)
        if not np.isnan(accuracy)
    }


def test_mistakes_are_one_line(trained, run_command, tmp_path):
    for options, message in (
        (("--fuse-weights", "validation"), "--fuse-weights applies to several runs: name the others with --fuse"),
        (("--fuse-data", tmp_path), "--fuse-data applies to several runs: name the others with --fuse"),
        (("--fusion", "product"), "--fusion applies to several runs: name the others with --fuse"),
        (("--fuse-weights", "2,-1"), "'2,-1', expected equal, validation or numbers from 0"),
        (("--parts",), "pose_cnn has no attention over body parts"),
        (("--joints",), "pose_cnn has no graph of joints"),
        (("--joints", "--pose-noise", "--fuse", trained), "--joints and --pose-noise: of one model only"),
        (("--calibrate", "95"), "'95' is no fraction"),
        (("--radar", trained, "--protocol", "cs"), "was not evaluated on cs test"),
    ):
        status, _, err = run_command(evaluate.main, "--run", trained, *options)
        assert (status, len(err.splitlines())) == (2, 1), err
        assert message in err
    run = shutil.copytree(trained, tmp_path / "both")
    text = (run / "recipe.yaml").read_text().replace("train_on: train\n", "train_on: train_and_val\n")
    text = text.replace("monitor: val_accuracy", "monitor: last").replace(
        "name: plateau, patience: 2, factor: 0.5", "name: constant"
    )
    (run / "recipe.yaml").write_text(text)
    status, _, err = run_command(evaluate.main, "--run", run, "--calibrate")
    assert status == 2
    assert "--calibrate: " in err
    assert "was trained on its validation clips too" in err
