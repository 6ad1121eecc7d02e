"""Two-level fusion from the command line, and how its clips are cut out of records."""

import contextlib
import io
import json
import types

import joblib
import numpy as np
import pytest

from recipes import config, evaluate, run_directory, train
from recipes.trainers import base
from recipes.trainers import fusion as two_level_fusion
from tfrecords import schema
from tfrecords.reading import pipeline
from zoo import skeletons
from zoo.fusion import Pair
from zoo.shared.errors import UserError

RECIPE = """
model:
  name: two_level_fusion
  regions: [upper_body, right_hand]
  network: mobilenet_v2
  weights: null
  motion_region: full_body
  track_length: 6
  gaussians: 1
  lstm_units: 4
  pose_epochs: 2
  epsilon: 0.4
data: {dataset: synthetic, protocol: cv, size: 32, pose_steps: 3}
batch: 16
"""


@pytest.fixture(scope="module")
def hands(small_synthadl):
    """SynthADL in 60 clips: 36 train, 4 validate, 20 test in protocol cv; with pictures of the right hand."""
    return small_synthadl(subjects=2, size=64, parts="full_body,right_hand")


@pytest.fixture(scope="module")
def recipe_path(written_recipe):
    return written_recipe("fusion", RECIPE)


@pytest.fixture(scope="module")
def run(tmp_path_factory, hands, recipe_path):
    """A trained run directory; in it, stdout.txt is what the command printed."""
    output = tmp_path_factory.mktemp("runs") / "fusion"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        train.main(["--recipe", str(recipe_path), "--data", str(hands), "--output", str(output)])
    (output / "stdout.txt").write_text(printed.getvalue())
    return output


def test_trained_and_evaluated_by_command(run, hands, run_command):
    printed = (run / "stdout.txt").read_text()
    cues = json.loads((run / "cues.json").read_text())
    for name, accuracy in cues["validation"].items():
        shown = "late fusion and similar pairs" if name == "two_level_fusion" else name.replace("_", " ")
        assert [line for line in printed.splitlines() if line.startswith(shown) and f"{accuracy:.1%}" in line]
    assert f"appearance of {cues['region']}; late fusion with a = {cues['alpha']:.2f}" in printed

    status, printed, errors = run_command(evaluate.main, "--run", run)
    assert status == 0, errors
    metrics = json.loads((run / "evaluation" / "cv-test" / "metrics.json").read_text())
    assert f"{metrics['top1']:.1%} of 20 clips" in printed
    assert metrics["clips"] == 20
    assert metrics["cues"]["two_level_fusion"] == metrics["top1"]
    directory = run_directory.RunDirectory(run)
    assert directory.recipe.model.name == "two_level_fusion"
    assert directory.environment["versions"]["scikit-learn"]

    model = joblib.load(run / "model.joblib").set_params(memory=str(run / "features"))
    clips, labels, _ = two_level_fusion.clips(pipeline.Records(hands), "cv", "test", directory.recipe)
    assert model.score(clips, labels) == metrics["top1"]
    with pytest.raises(UserError, match=r"holds a.* scikit-learn"):
        directory.model()


def test_the_similar_pairs_are_printed():
    pairs = [Pair(0, 2, 0.44, "pose", 0.75), Pair(1, 2, 0.4, "late_fusion", 0.5)]
    model = types.SimpleNamespace(fusion="late", region_="left_hand", alpha_=0.35, epsilon=0.4, pairs_=pairs)
    assert two_level_fusion.choices_text(model, ["drink", "eat", "wave"]).splitlines() == [
        "appearance of left_hand; late fusion with a = 0.35",
        "similar classes: drink / wave, confused by 0.44, separated by pose (75% of their validation clips)",
        "similar classes: eat / wave, confused by 0.40, separated by late_fusion (50% of their validation clips)",
    ]
    model.pairs_ = []
    assert "no two are confused by 0.4 or more" in two_level_fusion.choices_text(model, [])


@pytest.mark.slow
def test_dense_trajectories_alone(recipe_path, hands, tmp_path, run_command):
    changes = ["model.fusion=early", "model.cues=[motion]", "data.pose_steps=0"]
    arguments = ["--recipe", recipe_path, "--data", hands, "--output", tmp_path, "--set", *changes]
    status, printed, errors = run_command(train.main, *arguments)
    assert status == 0, errors
    assert printed.splitlines()[-1] == "one SVM on motion"
    status, printed, errors = run_command(evaluate.main, "--run", tmp_path)
    assert status == 0, errors
    (path,) = tmp_path.glob("evaluation/*/metrics.json")
    assert json.loads(path.read_text())["clips"] == 20


@pytest.mark.slow
def test_resumed_it_repeats_nothing(run, recipe_path, hands, run_command):
    arguments = ["--recipe", recipe_path, "--data", hands, "--output", run]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("output.pkl")}
    (run / "model.joblib").rename(run / "first.joblib")
    status, _, errors = run_command(train.main, *arguments, "--resume")
    assert status == 0, errors
    kept = {path: path.stat().st_mtime_ns for path in before if "_encode" not in str(path)}
    assert kept == {path: time for path, time in before.items() if path in kept}
    assert len(kept) >= 3 * 40  # trajectories and two regions of the training clips; more once the run is evaluated
    first, second = (joblib.load(run / name) for name in ("first.joblib", "model.joblib"))
    assert first.cue_scores_ == second.cue_scores_


@pytest.mark.slow
def test_runs_share_a_cache(run, recipe_path, hands, tmp_path, run_command):
    shared = run / "features"
    before = {path: path.stat().st_mtime_ns for path in shared.rglob("output.pkl")}
    arguments = ["--recipe", recipe_path, "--data", hands, "--output", tmp_path, "--set", f"stored_maps={shared}"]
    status, _, errors = run_command(train.main, *arguments)
    assert status == 0, errors
    assert not (tmp_path / "features").exists()
    assert before == {path: path.stat().st_mtime_ns for path in shared.rglob("output.pkl")}
    first, second = (joblib.load(folder / "model.joblib") for folder in (run, tmp_path))
    assert first.cue_scores_ == second.cue_scores_
    loaded = two_level_fusion.FusionTrainer().load(run_directory.RunDirectory(tmp_path))
    assert loaded.memory == str(shared)


def test_a_finished_training_is_not_repeated(run, hands, capsys):
    directory = run_directory.RunDirectory(run)
    prepared = base.Prepared(directory.inputs)
    two_level_fusion.FusionTrainer().train(directory.recipe, pipeline.Records(hands), prepared, None, run)
    assert "finished before, not repeated" in capsys.readouterr().out


def test_a_training_that_has_not_ended_cannot_be_evaluated(run, tmp_path):
    for name in ("recipe.yaml", "inputs.json", "labels.txt", "environment.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(UserError, match=r"model\.joblib is missing: the training has not ended"):
        evaluate.evaluate(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages=[{name: a, epochs: 1, optimizer: {name: sgd, learning_rate: 1}}]", "stages: has no effect on two_lev"),
        ("data.frames=16", "data.frames: has no effect"),
        ("data.short_clips=spread", "data.short_clips: has no effect"),
        ("data.segment_steps=4", "data.segment_steps: has no effect"),
        ("data.augment.flip=true", "data.augment: has no effect"),
        ("data.pose_steps=0", "data.pose_steps: two_level_fusion reads poses|frames and pose_steps are both 0"),
        ("mixed_precision=bfloat16", "mixed_precision: has no effect"),
        ("model.cues=[motion]", "data.pose_steps: two_level_fusion reads no poses where its cues have none"),
    ],
)
def test_keys_without_effect_are_refused(override, message, recipe_path):
    with pytest.raises(UserError, match=message):
        config.load(recipe_path, [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.gausians=3", "no option 'gausians', did you mean 'gaussians'"),
        ("model.gaussians=many", "motion: gaussians is 'many', expected a whole number"),
        ("model.lstm_units=null", "lstm_units is None, expected a whole number"),
        ("model.validation=1.5", "validation is 1.5, expected a fraction"),
        ("model.pose_steps=3", "option pose_steps of two_level_fusion is set elsewhere in the recipe"),
        ("model.appearance__size=64", "option appearance__size of two_level_fusion is set elsewhere"),
        ("model.svm=rbf", "svm is 'rbf', expected one of linear, sgd"),
    ],
)
def test_options_that_are_wrong(override, message, recipe_path, hands):
    recipe = config.load(recipe_path, [override])
    with pytest.raises(UserError, match=message):
        two_level_fusion.FusionTrainer().prepare(recipe, pipeline.Records(hands))


def test_nested_names_are_options_too(recipe_path):
    recipe = config.load(recipe_path, ["model.pose__learning_rate=0.01", "model.lstm_dropout=0.1"])
    pose = two_level_fusion.estimator(recipe).pose
    assert (pose.learning_rate, pose.lstm_dropout, pose.lstm_units, pose.pose_steps) == (0.01, 0.1, 4, 3)


def test_pictures_that_are_not_stored(recipe_path, hands, tmp_path, run_command):
    arguments = ["--recipe", recipe_path, "--data", hands, "--output", tmp_path / "run"]
    status, _, errors = run_command(train.main, *arguments, "--set", "model.regions=[left_hand]")
    assert status == 2
    assert "convert again with --parts full_body,left_hand" in errors


def test_clips_are_those_of_the_records(recipe_path, hands):
    records, recipe = pipeline.Records(hands), config.load(recipe_path)
    clips, labels, subjects = two_level_fusion.clips(records, "cv", "test", recipe)
    ids = pipeline.clip_ids(records, "cv", "test")
    assert [clip.id.partition("/")[2] for clip in clips] == ids
    assert [int(clip_id[-3:]) - 1 for clip_id in ids] == labels.tolist()
    assert [int(clip_id[9:12]) for clip_id in ids] == subjects.tolist()
    assert {clip.id.partition("/")[0] for clip in clips} == {records.sha256[:16]}
    clip = clips[7]
    assert set(clip.regions) == {"full_body", "right_hand", "upper_body"}
    whole, upper = clip.frames("full_body"), clip.frames("upper_body")
    assert whole.shape == (len(clip.poses), 64, 64, 3)
    assert whole.shape[1] * 0.3 < upper.shape[1] < whole.shape[1]
    np.testing.assert_allclose(clip.poses[0, 0, 0], 0, atol=1e-6, err_msg="the hip centre is the origin")


def test_the_upper_body_holds_its_joints_in_all_frames():
    joints = skeletons.get("lcrnet_13").joints
    xy = np.zeros((2, 1, 13, 2), np.float32)
    xy[:, 0] = np.linspace([100, 90], [104, 10], 13)  # ankles, knees and hips before wrists, ..., head
    xy[1, 0, joints.index("left_wrist")] = [130, 40]
    boxes = {"full_body": np.array([[50, 0, 150, 100]] * 2, np.float32)}
    info = schema.ClipInfo("a", 0)
    clip = schema.Clip(info, "d", "l", 30.0, {}, boxes, "lcrnet_13", np.ones((2, 1, 13, 3), np.float32), xy)
    left, top, right, bottom = two_level_fusion.upper_body_box(clip, (50, 50))
    upper = xy[:, 0, joints.index("right_wrist") :].reshape(-1, 2)
    inside = (upper - [50, 0]) / 2
    assert left <= inside[:, 0].min() and inside[:, 0].max() <= right  # noqa: PT018
    assert top <= inside[:, 1].min() and inside[:, 1].max() <= bottom < 45  # noqa: PT018
    in_pixels_alone = schema.Clip(info, "d", "l", 30.0, {}, boxes, "lcrnet_13", None, xy)
    assert two_level_fusion.upper_body_box(in_pixels_alone, (50, 50)) == (left, top, right, bottom)
    absent = schema.Clip(info, "d", "l", 30.0, {}, boxes, "lcrnet_13", np.zeros((2, 1, 13, 3), np.float32), xy)
    assert two_level_fusion.upper_body_box(absent, (50, 50)) == (0, 0, 50, 50)
