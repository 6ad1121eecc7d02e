"""Predictions from a SavedModel, without a server."""

import copy
import json

import cv2
import numpy as np
import pytest
import tensorflow as tf

from serving import export, picture, predict
from serving.client.clips import read_video
from serving.savedmodel.servable import ServingError
from tests.serving.conftest import INPUTS, LABELS, PERSONS
from tests.tfrecords.recording_files import write_video
from zoo.shared.errors import UserError


@pytest.fixture(scope="module")
def predictor(base):
    return predict.Predictor(base / "separable_sta")


def test_record_equals_evaluation(predictor, clips, expected):
    for clip_id, clip in clips.items():
        prediction = predictor.predict_clip(clip)
        assert (prediction.model, prediction.version) == ("separable_sta", 1)
        of_label = dict(zip(prediction.labels, prediction.probabilities))
        np.testing.assert_allclose([of_label[label] for label in LABELS], expected[clip_id], atol=1e-6)
        assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)


def test_stored_pictures_equal_the_record(predictor, clips):
    clip = clips["long"]
    of_pictures = predictor.predict(clip.images, clip.pose_xyz, signature="serve_jpeg")
    np.testing.assert_allclose(of_pictures.probabilities, predictor.predict_clip(clip).probabilities, atol=1e-6)


def test_a_file_gives_the_prediction_of_its_frames(predictor, clips, tmp_path):
    """Whether the export has the model's inputs or not; pictures so small are not shrunk beforehand."""
    frames = np.random.default_rng(0).integers(0, 256, (30, 40, 64, 3), np.uint8)
    path, poses = write_video(tmp_path / "clip.mp4", frames), clips["long"].pose_xyz
    expected = predictor.predict(read_video(path), poses)
    assert predictor.inputs == INPUTS
    assert predictor.predict_files(path, poses) == expected
    of_another_origin = copy.copy(predictor)
    of_another_origin.inputs = None
    assert of_another_origin.predict_files(path, poses) == expected
    with pytest.raises(UserError, match="give a video"):
        predictor.predict_files(poses=poses)


def test_arrays_that_do_not_fit(predictor):
    arrays = {"frames": np.zeros((1, 3, 8, 8), np.uint8), "poses": np.zeros((1, 3, PERSONS, 25, 3), np.float32)}
    with pytest.raises(ServingError, match=r"input frames: expected shape \[\?,\?,\?,\?,3\], got \[1,3,8,8\]"):
        predictor.servable.predict_arrays("serving_default", arrays, ["classes"])


def test_a_model_whose_probabilities_are_no_numbers(linear_version, monkeypatch):
    predictor = predict.Predictor(linear_version)
    whole = predictor.servable.predict_arrays

    def without_numbers(*arguments):
        response = whole(*arguments)
        nan = np.full((1, len(LABELS)), np.nan, np.float32)
        response.outputs["probabilities"].CopyFrom(tf.make_tensor_proto(nan))
        return response

    poses = np.random.default_rng(0).normal(size=(8, PERSONS, 25, 3)).astype(np.float32)
    assert sorted(predictor.predict(None, poses).labels) == sorted(LABELS)
    monkeypatch.setattr(predictor.servable, "predict_arrays", without_numbers)
    with pytest.raises(UserError, match=r"returned no prediction of a model .*: expected .* finite"):
        predictor.predict(None, poses)


def test_a_gap_in_poses_is_filled_at_the_rate_of_their_file(linear_version, tmp_path, run_command, monkeypatch):
    predictor = predict.Predictor(linear_version)
    poses = np.random.default_rng(0).normal(size=(40, 1, 25, 3)).astype(np.float32)
    poses[8:18] = 0  # a second at ten poses a second, a third of one at thirty
    np.savez(tmp_path / "pose.npz", xyz=poses, fps=10)
    monkeypatch.setattr(predict, "Predictor", lambda path, runtime: predictor)
    status, out, _ = run_command(predict.main, "--model", "any", "--pose", tmp_path / "pose.npz", "--format", "json")
    expected, filled = (predictor.predict(None, poses, pose_fps=fps).probabilities[0] for fps in (10, 30))
    assert status == 0
    assert json.loads(out)["predictions"][0]["probability"] == pytest.approx(expected)
    assert abs(expected - filled) > 0.001


@pytest.fixture
def loaded_once(predictor, monkeypatch):
    """Commands use the model that is loaded already."""
    monkeypatch.setattr(predict, "Predictor", lambda path, runtime: predictor)


@pytest.mark.usefixtures("loaded_once")
def test_command(base, dataset, run_command):
    model = base / "separable_sta"
    line = ["--model", model, "--record", dataset, "--clip", "short", "--format", "json"]
    status, out, _ = run_command(predict.main, *line)
    assert status == 0
    printed = json.loads(out)
    assert printed["signature"] == "serve_examples"
    assert sorted(row["class"] for row in printed["predictions"]) == sorted(LABELS)


@pytest.mark.usefixtures("loaded_once")
def test_command_with_a_picture_of_a_video(tmp_path, clips, run_command):
    frames = np.full((40, 48, 64, 3), (200, 30, 30), np.uint8)
    frames[:12] = frames[28:] = 0  # outside of the middle window of 16 frames
    video = write_video(tmp_path / "one 'odd' $name$.mp4", frames)
    np.save(tmp_path / "pose.npy", clips["long"].pose_xyz)
    made = tmp_path / "new folder" / "picture.png"
    line = ["--model", "any", "--video", video, "--pose", tmp_path / "pose.npy", "--picture", made]
    status, out, err = run_command(predict.main, *line)
    assert (status, len(out.splitlines())) == (0, 2 + len(LABELS))
    _, notice = err.splitlines()  # after that of random numbers as poses
    assert "longer than a clip" in notice
    assert "frames 13 to 28 of 40" in notice
    picture = cv2.imread(str(made)).astype(int)
    is_red = np.abs(picture - (30, 30, 200)).max(axis=-1) < 20
    assert is_red.mean() > 0.4  # the strip shows frames of the window alone
    assert not (picture.max(axis=-1) < 10)[: is_red.any(axis=1).nonzero()[0][-1]].mean() > 0.01
    assert [file.name for file in made.parent.iterdir()] == ["picture.png"]


def test_a_long_class_in_a_picture_is_cut_where_it_has_no_blank():
    found = predict.Prediction("i3d", 1, "serve_jpeg", ("Putting_something_next_to_something", "yoga"), (0.9, 0.1))
    (*_, bars) = picture.draw(np.zeros((3, 8, 8, 3), np.uint8), found).axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["Putting_something_next_to_somet…", "yoga"]


def test_command_of_a_version_and_a_pose_file(tmp_path, pose_run_folder, run_command):
    folder, _ = export.export(export.Run(pose_run_folder), tmp_path, name="adl", version=4)
    poses = 1000 * np.random.default_rng(0).normal(size=(9, 25, 3))
    np.save(tmp_path / "pose.npy", poses.astype(np.float32))
    line = ["--model", folder, "--pose", tmp_path / "pose.npy"]
    status, out, err = run_command(predict.main, *line)
    assert status == 0
    assert err.startswith(f"warning: {tmp_path / 'pose.npy'}: its poses cannot be right: a body of ")
    head, _, *rows = out.splitlines()
    assert head == "adl version 4, serving_default"
    assert len(rows) == len(LABELS)
    (folder / "saved_model.pb").write_bytes(b"damaged")
    status, _, err = run_command(predict.main, *line)
    assert status == 2
    assert "is not a SavedModel that can be loaded" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "give a clip"),
        (["--record", "x"], "--record and --clip belong together"),
        (["--model", "missing", "--pose", "pose.npy"], "missing: no such folder"),
        (["--pose", "no.npy"], "no.npy: cannot be read"),
        (["--model", "missing", "--video", "pose.npy"], "pose.npy: damaged or no video file"),  # seen before the model
        (["--pose", "pose.npy", "--picture", "x.png"], "--picture draws frames of a video: give --video"),
        (["--video", "x.mp4", "--picture", "x.gif"], "--picture x.gif: expected the name of a .png file"),
    ],
)
def test_nothing_to_predict(base, tmp_path, monkeypatch, run_command, line, message):
    monkeypatch.chdir(tmp_path)
    np.save("pose.npy", np.ones((9, 25, 3), np.float32))
    status, _, err = run_command(predict.main, "--model", base / "separable_sta", *line)
    assert status == 2
    (printed,) = err.splitlines()
    assert message in printed


@pytest.mark.usefixtures("loaded_once")
def test_command_with_a_clip_that_does_not_fit(tmp_path, run_command):
    np.save(tmp_path / "pose.npy", np.ones((9, 25, 3), np.float32))
    status, _, err = run_command(predict.main, "--model", "any", "--pose", tmp_path / "pose.npy")
    assert status == 2
    (printed,) = err.splitlines()
    assert "the model needs pictures of full_body" in printed
