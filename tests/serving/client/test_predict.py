"""Predictions from a SavedModel without a server."""

import copy
import json

import numpy as np
import pytest

from serving import predict
from serving.client.clips import read_video
from serving.savedmodel.servable import Refused
from tests.serving.conftest import INPUTS, LABELS, PERSONS
from tests.tfrecords.recording_files import write_video
from zoo.shared import command_line
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


def test_a_file_is_answered_as_its_frames_are(predictor, clips, tmp_path):
    """Whether the export says what the model looks at or not."""
    frames = np.random.default_rng(0).integers(0, 256, (30, 48, 64, 3), np.uint8)
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
    with pytest.raises(Refused, match=r"input frames: expected shape \[\?,\?,\?,\?,3\], got \[1,3,8,8\]"):
        predictor.servable.predict_arrays("serving_default", arrays, ["classes"])


def test_command(base, dataset, tmp_path, capsys, predictor):
    model = base / "separable_sta"
    line = ["--model", str(model), "--record", str(dataset), "--clip", "short", "--format", "json"]
    assert command_line.run(predict.main, line) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["signature"] == "serve_examples"
    assert sorted(row["class"] for row in printed["predictions"]) == sorted(LABELS)


def test_command_of_a_version_and_a_pose_file(tmp_path, pose_run_folder, capsys):
    from serving import export

    folder, _ = export.export(export.Run(pose_run_folder), tmp_path, name="adl", version=4)
    np.save(tmp_path / "pose.npy", np.random.default_rng(0).normal(size=(9, 25, 3)).astype(np.float32))
    assert command_line.run(predict.main, ["--model", str(folder), "--pose", str(tmp_path / "pose.npy")]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head == "adl version 4, serving_default"
    assert len(rows) == len(LABELS)
    (folder / "saved_model.pb").write_bytes(b"damaged")
    assert command_line.run(predict.main, ["--model", str(folder), "--pose", str(tmp_path / "pose.npy")]) == 2
    assert "is not a SavedModel that can be loaded" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "give a clip"),
        (["--record", "x"], "--record and --clip belong together"),
        (["--model", "missing", "--pose", "pose.npy"], "missing: no such folder"),
        (["--pose", "pose.npy"], "the model needs pictures of full_body"),
        (["--pose", "no.npy"], "no.npy: cannot be read"),
    ],
)
def test_nothing_to_predict(base, tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.chdir(tmp_path)
    np.save("pose.npy", np.zeros((9, 25, 3), np.float32))
    assert command_line.run(predict.main, ["--model", str(base / "separable_sta"), *line]) == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert message in printed
