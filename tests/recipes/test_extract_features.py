"""Features of segments from the command line, what is trained on them, and the fusion of two runs."""

import csv
import dataclasses
import json
import shutil
import signal
import time

import numpy as np
import pytest

from recipes import config, extract_features, run_directory
from recipes.reports import scoring
from tests.recipes.conftest import command, error_of, start
from tests.zoo import tiny_models
from tfrecords import inspect
from tfrecords.reading import pictures, pipeline, poses
from zoo.models.temporal import segment_features
from zoo.shared import command_line
from zoo.shared.errors import UserError

BASIC = """
model: {name: i3d, width: 0.0625}
data: {dataset: synthetic, protocol: cv, frames: 8, size: 32, augment: {crop: false}}
stages: [{name: only, epochs: 1, optimizer: {name: adam, learning_rate: 1e-3}}]
evaluate: {clips: 2}
batch: 12
"""
TEMPORAL = """
model: {name: temporal, gru_units: 8, pose_units: 4}
data: {dataset: synthetic, protocol: cv, granularities: [2, 3], segment_steps: 3, augment: {rotation: 20}, cache: true}
stages: [{name: only, epochs: 2, optimizer: {name: adam, learning_rate: 5e-3}}]
batch: 6
"""
GLOBAL = """
model: {name: global, base_model: i3d, width: 0.0625, gru_units: 8, pose_units: 4}
data: {dataset: synthetic, protocol: cv, frames: 8, size: 32, granularities: [2, 3], segment_steps: 3}
stages: [{name: fusion, epochs: 0, init: [BASIC, TEMPORAL], optimizer: {name: adam, learning_rate: 5e-4}}]
batch: 12
"""


def done(script, *arguments):
    result = command(script, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def dataset(small_synthadl):
    """SynthADL in 60 clips: 36 train, 4 validate, 20 test in protocol cv."""
    return small_synthadl(subjects=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("temporal")


def train(folder, name, text, data):
    (folder / f"{name}.yaml").write_text(text)
    done("train.py", "--recipe", folder / f"{name}.yaml", "--data", data, "--output", folder / name)
    return folder / name


@pytest.fixture(scope="module")
def basic(folder, dataset):
    return train(folder, "basic", BASIC, dataset)


@pytest.fixture(scope="module")
def features(folder, basic, dataset):
    """Extracted from the tiny dataset without a disturbance, pictures kept."""
    out = folder / "features"
    arguments = ["--granularities", "2,3", "--batch", "7", "--keep-pictures"]
    printed = done("extract_features.py", "--run", basic, "--data", dataset, "--out", out, *arguments)
    assert printed.startswith("60 clips, ")
    assert "values for each of 2,3 segments" in printed
    return out


@pytest.fixture(scope="module")
def temporal(folder, features):
    return train(folder, "temporal", TEMPORAL, features)


def clips(directory):
    found = pipeline.Records(directory)
    return {
        clip.info.id: (cell, clip)
        for cell, value in found.manifest["cells"].items()
        for shard in value["shards"]
        for clip in inspect.records(directory / shard["file"])
    }


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != ".lock"}


def check_it_continues(arguments, out, expected):
    """What was stopped has no manifest, takes no other options, and ends with the same files."""
    assert not (out / "manifest.json").exists()
    other = command("extract_features.py", *arguments)
    assert "holds another conversion (features_keep_pictures True, now False)" in error_of(other)
    done("extract_features.py", *arguments, "--keep-pictures")
    assert contents(out) == contents(expected)
    assert "already complete" in done("extract_features.py", *arguments, "--keep-pictures")


def middles(length, segments, steps):
    """The middle of each of ``segments * steps`` equal parts of a recording, by segment."""
    return ((np.arange(segments * steps) + 0.5) / (segments * steps) * length).astype(int).reshape(segments, steps)


def test_the_same_clips_with_features_of_their_segments(basic, dataset, features):
    before, after = clips(dataset), clips(features)
    assert before.keys() == after.keys()
    model = segment_features(run_directory.RunDirectory(basic).model())
    for clip_id, (cell, clip) in after.items():
        old_cell, old = before[clip_id]
        assert (cell, clip.info, clip.fps, clip.images) == (old_cell, old.info, old.fps, old.images)
        np.testing.assert_array_equal(clip.pose_xyz, old.pose_xyz)
        assert {g: values.shape for g, values in clip.features.items()} == {
            2: (2, model.output_shape[-1]),
            3: (3, model.output_shape[-1]),
        }
    frames = [pipeline.tf.io.decode_jpeg(jpeg, dct_method="INTEGER_FAST") for jpeg in clip.images["full_body"]]
    video = pictures.to_network_range(np.stack(frames)).numpy()
    for g in (2, 3):
        expected = model({"rgb": video[middles(len(video), g, 8)]})
        np.testing.assert_allclose(clip.features[g], expected, rtol=1e-4, atol=1e-5)


def test_what_is_fed_to_the_temporal_model(features):
    stored = clips(features)
    records = pipeline.Records(features)
    layout = {"persons": 1, "layout": "kinect_v2_25"}
    inputs = pipeline.Inputs(granularities=(2, 3), feature_size=records.feature_size, segment_steps=3, **layout)
    ids = pipeline.clip_ids(records, "cv", "test")
    seen = 0
    for fed, labels, numbers in pipeline.evaluation(records, "cv", "test", inputs, batch=16, clips="all"):
        for row, number in enumerate(numbers.numpy()):
            _, clip = stored[ids[number]]
            assert labels[row] == clip.info.label
            pose = poses.normalise(clip.pose_xyz, "kinect_v2_25").numpy()
            for g in (2, 3):
                np.testing.assert_array_equal(fed[f"features_g{g}"][row], clip.features[g])
                np.testing.assert_array_equal(fed[f"pose_g{g}"][row], pose[middles(clip.num_frames, g, 3)])
            seen += 1
    assert seen == len(ids)


def test_training_draws_pose_steps_from_their_segments(features):
    records = pipeline.Records(features)
    layout = {"persons": 1, "layout": "kinect_v2_25"}
    inputs = pipeline.Inputs(granularities=(3,), feature_size=records.feature_size, segment_steps=2, **layout)
    (batch, _), *_ = pipeline.training(records, "cv", inputs, batch=30, seed=1, epochs=1)
    stored = {clip.features[3].tobytes(): clip for _, clip in clips(features).values()}
    steps = set()
    for values, pose in zip(batch["features_g3"].numpy(), batch["pose_g3"].numpy()):
        clip = stored[values.tobytes()]
        every = poses.normalise(clip.pose_xyz, "kinect_v2_25").numpy()
        for place, step in enumerate(pose.reshape(6, *pose.shape[2:])):
            (frames,) = np.nonzero((np.abs(every - step) < 1e-6).all(axis=(1, 2, 3)))
            parts = np.minimum((frames + 0.999) / len(every) * 6, 5.999)
            assert any(place <= part and frame / len(every) * 6 < place + 1 for part, frame in zip(parts, frames))
            steps.update((frames * 6 / len(every) - place).round(2))
    assert len(steps) > 3  # not always the same


def test_inspect_shows_and_verifies_features(features, capsys):
    assert inspect.main([str(features), "--verify"]) == 0
    size = pipeline.Records(features).feature_size
    assert f"features   {size} values for each of 2, 3 segments" in capsys.readouterr().out
    clip = inspect.find_clip(features, pipeline.Records(features).manifest, "S001C001P001R001A001")
    assert inspect.describe_clip(clip)["features/g3"]["shape"] == [3, size]


@pytest.mark.slow
def test_stopped_and_run_again_it_writes_the_same_files(basic, dataset, features, tmp_path, monkeypatch):
    """The process goes on; that it can be killed is a slow test."""
    arguments = ["--run", basic, "--data", dataset, "--out", tmp_path / "out", "--granularities", "2,3", "--batch", "7"]
    records, done_shards = extract_features._records, []

    def stop_after_one(*options):
        if done_shards:
            raise KeyboardInterrupt
        done_shards.append(options[0])
        return records(*options)

    with monkeypatch.context() as patch:
        patch.setattr(extract_features, "_records", stop_after_one)
        assert command("extract_features.py", *arguments, "--keep-pictures").returncode == command_line.INTERRUPTED
    check_it_continues(arguments, tmp_path / "out", features)


@pytest.mark.slow
def test_killed_and_run_again_it_writes_the_same_files(basic, dataset, features, tmp_path):
    arguments = ["--run", basic, "--data", dataset, "--out", tmp_path / "out", "--granularities", "2,3", "--batch", "7"]
    process = start("extract_features.py", *arguments, "--keep-pictures")
    deadline = time.monotonic() + 240
    while not list((tmp_path / "out" / ".conversion").glob("*.tfrecord.json")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    check_it_continues(arguments, tmp_path / "out", features)


@pytest.mark.slow
def test_a_model_file_in_bfloat16_without_pictures(basic, dataset, features, tmp_path):
    found, written = extract_features.extract(
        tmp_path, model=basic / "model.keras", data=dataset, granularities=[3], batch=50, precision="bfloat16"
    )
    assert written
    assert (found["parts"], found["features"]["granularities"]) == ([], [3])
    exact = clips(features)
    for clip_id, (_, clip) in clips(tmp_path).items():
        assert not clip.images
        assert clip.num_frames == exact[clip_id][1].num_frames
        difference = clip.features[3] - exact[clip_id][1].features[3]
        assert 0 < np.abs(difference).max() < 0.05 * np.abs(clip.features[3]).max()


def test_a_model_file_of_a_run_is_fed_as_the_run(basic, dataset, tmp_path):
    """A model trained on whole frames must not be fed pictures of the person."""
    run = tmp_path / "run"
    shutil.copytree(basic, run)
    stated = json.loads((run / "inputs.json").read_text())
    (run / "inputs.json").write_text(json.dumps({**stated, "whole_frames": True}))
    for source in ({"run": run}, {"model": run / "model.keras"}):
        with pytest.raises(UserError, match="full_image"):
            extract_features.extract(tmp_path / "out", data=dataset, granularities=[2], **source)


def test_a_model_file_of_a_run_serves_the_protocol_of_the_run(basic, dataset, tmp_path):
    network = run_directory.stage_folder(basic, "only") / "model.keras"
    for number, file in enumerate((basic / "model.keras", network)):
        found, _ = extract_features.extract(tmp_path / str(number), model=file, data=dataset, granularities=[2])
        assert found["features"]["trained_under"] == "cv"


def test_features_of_frozen_layers_serve_every_protocol(basic):
    run = run_directory.RunDirectory(basic)
    network = segment_features(run.model())
    assert extract_features._trained_under(run, network) == "cv"
    (stage,) = run.recipe.stages
    run.recipe = dataclasses.replace(run.recipe, stages=[dataclasses.replace(stage, freeze=["Conv3d_*", "Mixed_*"])])
    assert extract_features._trained_under(run, network) is None
    run.recipe.stages[0].freeze.pop()
    assert extract_features._trained_under(run, network) == "cv"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--granularities", "2,x"], "expected numbers from 2"),
        (["--granularities", "3,3"], "each once"),
        (["--batch", "0"], "--batch 0: expected at least 1"),
        (["--data", "nowhere"], "no manifest.json there"),
        (["--mixed-precision", "int8"], "invalid choice: 'int8'"),
    ],
)
def test_mistakes_are_one_line(basic, tmp_path, capsys, arguments, words):
    assert words in failure(capsys, ["--run", str(basic), "--out", str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()


def failure(capsys, arguments):
    try:
        status = command_line.run(extract_features.main, arguments)
    except SystemExit as leaving:  # argparse's own errors
        status = leaving.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    return line


def test_networks_that_do_not_fit(basic, dataset, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out")]
    poses_alone = tmp_path / "poses.keras"
    tiny_models.build("pose_cnn", layout="kinect_v2_25", persons=1).save(poses_alone)
    arguments = ["--model", str(poses_alone), "--data", str(dataset)]
    assert "pose_cnn gives no features" in failure(capsys, [*arguments, *out])
    assert "--data is missing" in failure(capsys, ["--model", str(basic / "model.keras"), *out])
    assert "holds another conversion" in failure(capsys, ["--run", str(basic), "--out", str(dataset)])


def test_features_serve_the_protocol_their_network_was_trained_under(features):
    records = pipeline.Records(features)
    inputs = pipeline.Inputs(granularities=(2,), feature_size=records.feature_size)
    records.check(inputs, "cv", "test")
    with pytest.raises(UserError, match="was trained under cv, so they must not be tested under cs"):
        records.check(inputs, "cs", "test")
    with pytest.raises(UserError, match=r"no features of 4 segments \(stored: 2, 3\)"):
        records.check(pipeline.Inputs(granularities=(2, 4), feature_size=records.feature_size), "cv", "test")
    with pytest.raises(UserError, match="the model expects 1"):
        records.check(pipeline.Inputs(granularities=(2,), feature_size=1), "cv", "test")


# ----------------------------------------------------------------------------------------------------------- fusion


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def scores_of(run, data):
    """Clip -> softmax of a run, one view."""
    run, records = run_directory.RunDirectory(run), pipeline.Records(data)
    batches = list(pipeline.evaluation(records, "cv", "test", run.inputs, batch=25, clips=2))
    scores = np.concatenate([run.model()(features).numpy() for features, _, _ in batches])
    numbers = np.concatenate([number for _, _, number in batches])
    ids = pipeline.clip_ids(records, "cv", "test")
    return {clip: scores[numbers == number].mean(axis=0) for number, clip in enumerate(ids)}


@pytest.mark.slow
def test_scores_of_two_runs_are_multiplied(basic, dataset, temporal, features):
    printed = done("evaluate.py", "--run", temporal, "--fuse", basic)
    assert "temporal alone" in printed
    assert "temporal x basic, synthetic cv test" in printed
    folder = temporal / "evaluation" / "cv-test-x-basic"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["model"], metrics["basis"]["base_model"]) == ("temporal x i3d", "i3d")
    labels = run_directory.RunDirectory(temporal).labels
    first, second = scores_of(temporal, features), scores_of(basic, dataset)
    predictions = rows(folder / "predictions.csv")
    assert {row["id"] for row in predictions} == first.keys()
    for row in predictions:
        product = first[row["id"]] * second[row["id"]]
        assert row["prediction"] == labels[product.argmax()]
        assert float(row["score"]) == pytest.approx(product.max() / product.sum(), abs=1e-5)


def test_scores_are_multiplied_or_averaged():
    scores, others = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.5, 0.5], [0.2, 0.8]])
    np.testing.assert_allclose(scoring.product(scores, others), [[0.9, 0.1], [0.08 / 0.56, 0.48 / 0.56]])
    certain = np.array([[1.0, 0.0]], np.float32)  # a softmax that is exactly 0
    np.testing.assert_allclose(scoring.product(certain, others[:1].astype(np.float32), weights=[0, 1]), [[0.5, 0.5]])
    np.testing.assert_allclose(scoring.mean(scores, others, others), [[1.9 / 3, 1.1 / 3], [0.8 / 3, 2.2 / 3]])


@pytest.mark.slow
def test_one_model_of_two_runs(basic, temporal, features, folder):
    text = GLOBAL.replace("BASIC", str(basic)).replace("TEMPORAL", str(temporal))
    fused = run_directory.RunDirectory(train(folder, "fused", text, features))
    trained = [run_directory.RunDirectory(path).model() for path in (basic, temporal)]
    records = pipeline.Records(features)
    ((fed, _, _), *_) = pipeline.evaluation(records, "cv", "test", fused.inputs, batch=4)  # pictures and features
    product = np.prod([part({name: fed[name] for name in part.input}) for part in trained], axis=0)
    np.testing.assert_allclose(fused.model()(fed), product / product.sum(axis=1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.fusion.init=[]", "0 epochs need trained weights"),
        ("data.augment.flip=true", "stored features cannot be mirrored"),
        ("data.interpolate=true", "the poses of segments are those of frames"),
        ("data.segment_steps=-1", "expected a number at least 0"),
    ],
)
def test_recipes_that_make_no_sense(tmp_path, override, words):
    (tmp_path / "fused.yaml").write_text(GLOBAL)
    with pytest.raises(UserError, match=words):
        config.load(tmp_path / "fused.yaml", [override])
