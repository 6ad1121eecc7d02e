"""Training from the command line: the run directory, interruptions, mistakes."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import yaml

import zoo
from recipes import config, run_directory, train
from recipes.reports import scoring
from tests.recipes.conftest import ROOT, command, error_of, finished, run_process, start
from tfrecords import protocols, schema
from tfrecords.reading import pipeline
from zoo.shared import command_line


def test_the_run_directory_is_complete(trained, recipe_file, dataset):
    run = run_directory.RunDirectory(trained)
    assert run.recipe == config.load(recipe_file, ["deterministic=false"])
    assert run.inputs.frames == 0
    assert (run.inputs.pose_steps, run.inputs.persons, run.inputs.layout) == (3, 1, "kinect_v2_25")
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert list(run.labels) == manifest["labels"]
    environment = run.environment
    assert environment["seed"] == 3
    assert environment["versions"]["tensorflow"]
    assert "recipes/train.py --recipe" in environment["command"]
    assert [(row["stage"], row["epoch"]) for row in run.history] == [
        (stage, epoch) for stage in ("first", "second") for epoch in range(1, 4)
    ]
    assert list((trained / "logs" / "second").glob("events*"))
    assert run.model().output_shape == (None, 10)
    equal(run.model(), zoo.load_model(trained / "stages" / "second" / "model.keras"))
    assert not list(trained.rglob("*partial*"))


def test_the_page_on_python_predicts_a_clip(trained, dataset, tmp_path, monkeypatch, capsys):
    """The code of docs/python.md gives what evaluation gives."""
    run = run_directory.RunDirectory(trained)
    shard = next(dataset.rglob("*.tfrecord*"))
    clip = schema.decode(next(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "pose_lstm_nucla").symlink_to(trained)
    np.save(tmp_path / "clip.npy", clip.pose_xyz)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    defined = {}
    exec(code, defined)
    view = pipeline.centre_view(schema.encode(clip), run.inputs)
    expected = run.model()({name: tensor[np.newaxis] for name, tensor in view.items()}, training=False)[0]
    np.testing.assert_allclose(defined["probabilities"], expected, atol=1e-6)
    assert run.labels[int(np.argmax(expected))] in capsys.readouterr().out.splitlines()[0]


def test_the_result_is_the_best_epoch_on_validation(trained, dataset):
    run = run_directory.RunDirectory(trained)
    best = max(run.history[3:], key=lambda row: (row["val_accuracy"], row["epoch"]))
    ((features, labels, _),) = pipeline.evaluation(pipeline.Records(dataset), "cv", "val", run.inputs, batch=12)
    scores = run.model()(features).numpy()
    assert np.mean(scores.argmax(axis=1) == labels) == best["val_accuracy"]
    assert scoring.cross_entropy(labels.numpy(), scores) == pytest.approx(best["val_loss"], rel=1e-5)


def equal(model, other):
    for weight, other_weight in zip(model.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(weight, other_weight)


def stop(process, folder, epoch, number):
    """Sends a signal as soon as an epoch's checkpoint is there."""
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints" / f"epoch-{epoch:05d}").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert not (folder / "model.keras").exists(), "the stage ended before it was stopped"
    return stderr


def test_killed_and_resumed_it_ends_with_all_epochs(tmp_path, recipe_file, dataset):
    """The process is killed; that the weights are the same to the last bit is a slow test."""
    output, short = (
        tmp_path / "run",
        ["--set", "stages.first.epochs=10", "stages.second.epochs=1", "deterministic=false"],
    )
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", output, *short, "--resume"]
    stop(start("train.py", *arguments), output / "stages" / "first", 3, signal.SIGKILL)
    result = command("train.py", *arguments)
    assert result.returncode == 0, result.stderr
    history = run_directory.RunDirectory(output).history
    assert [row["epoch"] for row in history] == [*range(1, 11), 1]
    printed = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("first ")]
    assert "1/10" not in printed  # it went on where it was


@pytest.mark.slow
def test_killed_in_each_stage_and_resumed_it_ends_with_the_same_weights(tmp_path, recipe_file, dataset):
    # Time to stop it in the middle; an epoch of the second stage ends in the middle of a pass over its 14 batches.
    long = ["--set", "stages.first.epochs=10", "stages.second.epochs=10", "stages.second.least_epoch_steps=20"]
    complete = tmp_path / "complete"
    result = run_process("train.py", "--recipe", recipe_file, "--data", dataset, "--output", complete, *long)
    assert result.returncode == 0, result.stderr
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--resume", *long]
    first, second = (tmp_path / "run" / "stages" / name for name in ("first", "second"))
    stop(start("train.py", *arguments), first, 3, signal.SIGKILL)
    stop(start("train.py", *arguments), second, 2, signal.SIGKILL)
    # A disk that fills: no file may grow beyond what the next checkpoint needs.
    full = start("train.py", *arguments, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, 15_000)))
    line = error_of(finished(full))
    assert re.search(r"second/checkpoints/epoch-\d+.tmp: cannot be written \(File too large", line)
    assert "make space and continue with --resume" in line
    interrupted = start("train.py", *arguments)
    stderr = stop(interrupted, second, 5, signal.SIGINT)
    assert interrupted.returncode == 130
    assert "Traceback" not in stderr
    assert "continue with --resume" in stderr
    result = run_process("train.py", *arguments, "stages.second.epochs=7")
    assert result.returncode == 0, result.stderr
    assert "first: finished before, not repeated" in result.stdout
    result = run_process("train.py", *arguments)  # it goes on after its end
    assert result.returncode == 0, result.stderr
    assert "second: goes on after epoch 7" in result.stdout

    run, expected_run = run_directory.RunDirectory(tmp_path / "run"), run_directory.RunDirectory(complete)
    equal(run.model(), expected_run.model())
    timeless = ("stage", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    for row, expected in zip(run.history, expected_run.history):
        assert {key: row[key] for key in timeless} == {key: expected[key] for key in timeless}
    assert len(run.history) == len(expected_run.history)


@pytest.mark.slow
def test_killed_in_each_stage_of_separable_sta(tmp_path, dataset):
    small = [
        *("data.protocol=cv", "data.frames=8", "data.size=32", "model.width=0.0625", "model.lstm_units=4"),
        *("batch=6", "stages.pose.batch=6"),
        *("stages.backbone.epochs=4", "stages.pose.epochs=30", "stages.joint.epochs=4"),
    ]
    arguments = ["--recipe", "separable_sta_synthetic", "--data", dataset, "--set", *small, "--output"]
    undisturbed, output = tmp_path / "undisturbed", tmp_path / "run"
    result = run_process("train.py", *arguments, undisturbed)
    assert result.returncode == 0, result.stderr
    for stage, epoch in (("backbone", 2), ("pose", 3), ("joint", 2)):
        process = start("train.py", *arguments, output, "--resume")
        stop(process, output / "stages" / stage, epoch, signal.SIGKILL)
    result = run_process("train.py", *arguments, output, "--resume")
    assert result.returncode == 0, result.stderr
    equal(run_directory.RunDirectory(output).model(), run_directory.RunDirectory(undisturbed).model())


def test_a_second_training_in_the_same_folder_is_refused(trained, recipe_file, dataset):
    with run_directory.lock(trained):
        arguments = ["--recipe", recipe_file, "--data", dataset, "--output", trained, "--resume"]
        assert "another training runs there" in error_of(command("train.py", *arguments))


def test_a_run_is_neither_overwritten_nor_continued_as_another(trained, recipe_file, dataset):
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", trained]
    assert "holds a training already: continue with --resume" in error_of(command("train.py", *arguments))
    other = error_of(command("train.py", *arguments, "--resume", "--set", "model.width=0.2"))
    assert "started with another model.width" in other
    ended = error_of(command("train.py", *arguments, "--resume", "--set", "stages.first.epochs=30"))
    assert "stage first has ended" in ended
    assert "and second has begun" in ended
    less = error_of(command("train.py", *arguments, "--resume", "--set", "stages.second.epochs=2"))
    assert "after 3 epochs: set stages.second.epochs to more" in less


def test_data_that_have_moved_are_found_after_resuming(trained, recipe_file, dataset, tmp_path):
    run, moved = shutil.copytree(trained, tmp_path / "run"), shutil.copytree(dataset, tmp_path / "moved")
    before = run_directory.RunDirectory(run).environment
    result = command("train.py", "--recipe", recipe_file, "--data", moved, "--output", run, "--resume")
    assert result.returncode == 0, result.stderr
    after = run_directory.RunDirectory(run).environment
    assert after == {**before, "data": {**before["data"], "path": str(moved.resolve())}}


def test_resumed_without_the_run_that_it_started_from(trained, recipe_file, dataset, tmp_path):
    run, gone = shutil.copytree(trained, tmp_path / "run"), tmp_path / "gone"
    init = {"first": [str(gone)], "second": ["first", str(gone)]}
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    for stage in recipe["stages"]:
        stage["init"] = init[stage["name"]]
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    changes = [f"stages.first.init=[{gone}]", f"stages.second.init=[first, {gone}]", "stages.second.epochs=4"]
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", run, "--resume", "--set", *changes]
    result = command("train.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert "second: goes on after epoch 3" in result.stdout
    shutil.rmtree(run / "stages" / "second")  # it begins again
    assert f"stages.second.init: {gone}: no run directory" in error_of(command("train.py", *arguments))


def test_a_network_that_was_trained_on_test_clips_is_no_start(trained, recipe_file, dataset, tmp_path, monkeypatch):
    """Of the tests of cs, that run under cv has trained on those of two cameras."""
    changes = ["data.protocol=cs", f"stages.first.init=[{trained}]"]
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--set", *changes]
    line = error_of(command("train.py", *arguments))
    assert f"init: {trained} was trained, or chosen, under cv on some of the test clips of cs: start from" in line
    model = ["data.protocol=cs", f"stages.first.init=[{trained}/stages/first/model.keras]"]
    assert "some of the test clips of cs" in error_of(command("train.py", *arguments[:-2], *model))
    monkeypatch.setitem(protocols.PROTOCOLS, "synthetic", ())  # as those of a CSV, which are its own
    assert "some of the test clips of cs" in error_of(command("train.py", *arguments[:-2], *model))


@pytest.mark.slow
def test_a_training_that_has_ended_goes_on_to_more_epochs(tmp_path, recipe_file, dataset):
    """That it ends as if it had had them from the start is a part of a slow test."""
    output = tmp_path / "run"

    def train_for(epochs):
        stage = f"{{name: only, epochs: {epochs}, optimizer: {{name: adam, learning_rate: 0.01}}}}"
        arguments = ["--recipe", recipe_file, "--data", dataset, "--output", output, "--resume"]
        result = command("train.py", *arguments, "--set", f"stages=[{stage}]")
        assert result.returncode == 0, result.stderr
        return result.stdout, run_directory.RunDirectory(output).history

    _, before = train_for(2)
    printed, after = train_for(3)
    assert "only: goes on after epoch 2" in printed
    assert after[:2] == before
    assert len(after) == 3
    assert "only: finished before" in train_for(3)[0]
    fewer = "stages=[{name: only, epochs: 2, optimizer: {name: adam, learning_rate: 0.01}}]"
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", output, "--resume", "--set", fewer]
    assert "after 3 epochs: set stages.only.epochs to more" in error_of(command("train.py", *arguments))
    assert run_directory.RunDirectory(output).environment["changed"] == {"stages.only.epochs": 3}


def test_a_class_without_a_training_clip_is_named(trained, recipe_file, dataset, tmp_path):
    copied = shutil.copytree(dataset, tmp_path / "data")
    found = json.loads((copied / "manifest.json").read_text())
    (copied / "manifest.json").write_text(json.dumps({**found, "labels": [*found["labels"], "sleep"]}))
    result = command("train.py", "--recipe", recipe_file, "--data", copied, "--output", trained)
    warning = f"warning: {copied}: no clip to train on of the classes sleep under cv: a model cannot learn them"
    assert result.stderr.splitlines()[0] == warning
    assert "holds a training already" in error_of(result)


MIXED = "stages.pose.layer_learning_rates=[{layers: 'Mixed_*', factor: 2}]"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--recipe is missing"),
        (["--recipe", "pose_lstm_ncula"], "did you mean 'pose_lstm_nucla'"),
        (["--recipe", "pose_lstm_nucla", "--resmue"], "did you mean --resume"),
        (
            ["--recipe", "pose_lstm_nucla", "--data", "DATASET"],
            "holds synthetic, but",
        ),
        (["--recipe", "pose_lstm_synthetic", "--data", "nowhere"], "nowhere: no manifest.json there"),
        (["--recipe", "pose_lstm_synthetic", "--data", "DATASET", "--set", "data.protocol=cx"], "Valid: cs, cv"),
        (["--recipe", "pose_lstm_synthetic", "--data", "DATASET", "--set", "batch=100"], "batch 100 is larger than"),
        (
            ["--recipe", "pose_lstm_synthetic", "--data", "DATASET", "--set", "batch=8", MIXED],
            "stages.pose.layer_learning_rates: no layer fits 'Mixed_*'",
        ),
        (
            ["--recipe", "pose_lstm_synthetic", "--data", "DATASET", "--set", "batch=8", "mixed_precision=float16"],
            "needs a GPU",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, dataset, capsys, arguments, words):
    arguments = [str(dataset) if argument == "DATASET" else argument for argument in arguments]
    try:
        status = command_line.run(train.main, [*arguments, "--output", str(tmp_path / "run")])
    except SystemExit as leaving:  # argparse's own errors
        status = leaving.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "run").exists()


def test_too_few_validation_clips(tmp_path, recipe_file, run_command, small_synthadl, capsys):
    data = small_synthadl(subjects=2, parts="none")
    capsys.readouterr()
    train._warn_of_few_validation_clips(config.load(recipe_file), pipeline.Records(data))
    expected = "has 4 validation clips in cv, few to choose on: convert again with more --subjects or --repetitions"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{expected}, or --set stages.first.monitor=last" in line
    arguments = ["--recipe", recipe_file, "--data", data, "--output", tmp_path / "run", "--set", "data.protocol=cs"]
    status, _, err = run_command(train.main, *arguments)
    assert status == 2
    assert "has no validation clips in protocol cs: convert again with more --subjects or --repetitions" in err


def test_list_and_print(capsys):
    assert train.main(["--list"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("separable_sta_nucla ")]
    assert all(word in line for word in ("nucla/v3_12", "92.4%", "backbone", "pose", "joint (30 epochs)"))


def test_print_as_a_module():
    line = [sys.executable, "-m", "recipes.train", "--recipe", "i3d_synthetic", "--print", "--seed", "7"]
    done = subprocess.run([*line, "--set", "batch=4"], cwd=ROOT, capture_output=True, text=True, check=True)
    recipe = config.from_dict(yaml.safe_load(done.stdout))
    assert recipe == config.load("i3d_synthetic", ["seed=7", "batch=4"])


def test_bfloat16_trains_and_saves_a_float32_model(tmp_path, recipe_file, dataset):
    stage = "{name: only, epochs: 1, optimizer: {name: sgd, learning_rate: 0.05}}"
    short = [f"stages=[{stage}]", "mixed_precision=bfloat16"]
    arguments = ["--recipe", recipe_file, "--data", dataset, "--output", tmp_path / "run", "--set", *short]
    result = command("train.py", *arguments)
    assert result.returncode == 0, result.stderr
    model = run_directory.RunDirectory(tmp_path / "run").model()
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert tf.keras.mixed_precision.global_policy().name == "float32"  # of whatever this process builds next
