"""The model of a session: replaced by a newer version, or on a server that takes few windows in a request."""

import json
import shutil
import types

import grpc
import numpy as np
import pytest

from serving.client.client import RequestFailed
from serving.live import models
from serving.live.people import Window
from serving.live.settings import LiveSettings
from tests.serving.fake_server import FRAMES, POSES, signature_map
from tfrecords.reading.pipeline import Inputs
from zoo.shared.errors import UserError


def window(track):
    poses = np.random.default_rng(track).normal(size=(30, 2, 25, 3)).astype(np.float32)
    return Window(track, 0.0, 1.0, None, poses)


def test_a_newer_version_takes_the_place_of_the_first(linear_version, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "RELOAD_SECONDS", 0.0)
    base = tmp_path / "pose_lstm"
    shutil.copytree(linear_version, base / "1")
    model = models.load(LiveSettings("0", str(base)))
    first = model.predict([window(0), window(1)])
    assert [one.version for one in first] == [1, 1]
    (base / "2").mkdir()  # a damaged one
    with pytest.raises(UserError, match="2"):
        model.predict([window(0)])
    assert model.predict([window(0)])[0].version == 1
    shutil.copytree(linear_version, base / "3")
    (again,) = model.predict([window(0)])
    assert again.version == 3
    assert again.probabilities == pytest.approx(first[0].probabilities, abs=1e-6)
    assert capsys.readouterr().err.count("version 3 is used from now on") == 1


def test_a_version_that_is_being_copied_is_used_when_it_is_complete(linear_version, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "RELOAD_SECONDS", 0.0)
    base = tmp_path / "pose_lstm"
    shutil.copytree(linear_version, base / "1")
    model = models.load(LiveSettings("0", str(base)))
    shutil.copytree(linear_version / "assets", base / "2" / "assets")
    with pytest.raises(UserError, match="2"):
        model.predict([window(0)])
    assert model.predict([window(0)])[0].version == 1
    shutil.copytree(linear_version, base / "2", dirs_exist_ok=True)
    assert model.predict([window(0)])[0].version == 2


def test_a_version_that_takes_other_windows_is_not_used(base, tmp_path, monkeypatch, capsys):
    """The session goes on to cut windows, and pictures, as the version needs them that it was started with."""
    monkeypatch.setattr(models, "RELOAD_SECONDS", 0.0)
    folder = tmp_path / "separable_sta"
    shutil.copytree(base / "separable_sta" / "1", folder / "1")
    model = models.load(LiveSettings("0", str(folder)))
    first = models._window_seconds(model)
    shutil.copytree(folder / "1", folder / "2")
    inputs = folder / "2" / "assets" / "inputs.json"
    values = json.loads(inputs.read_text())
    inputs.write_text(json.dumps({**values, "stride": 2 * values["stride"]}))
    model._reload()
    model._reload()
    assert model.folder == folder / "1"
    assert models._window_seconds(model) == first
    assert capsys.readouterr().err.count("version 2 takes other windows or pictures") == 1


def test_windows_of_all_people_in_one_request_where_the_server_takes_them(linear_address, monkeypatch, capsys):
    model = models.load(LiveSettings("0", "pose_lstm", server=linear_address))
    together = model.predict([window(0), window(1), window(2)])
    sent, send = [], model._client.predict_batch

    def predict_batch(frames, poses, **options):
        sent.append(len(poses))
        if len(poses) > 1:
            raise RequestFailed("INVALID_ARGUMENT: more than max_batch_size", grpc.StatusCode.INVALID_ARGUMENT)
        return send(frames, poses, **options)

    monkeypatch.setattr(model._client, "predict_batch", predict_batch)
    for _ in range(2):
        alone = model.predict([window(0), window(1), window(2)])
        assert [one.labels for one in alone] == [one.labels for one in together]
    assert sent == [3, 1, 1, 1, 1, 1, 1]
    assert capsys.readouterr().err.count("each now gets its own request") == 1
    model.close()


def test_the_default_window_is_what_the_frames_cover():
    """Frames at the pose steps are spread over a whole clip, however long it is: the stride does not matter."""

    def window_seconds(tensors, **values):
        definition = signature_map(one=tensors).signature_def["one"]
        inputs = Inputs(pose_steps=10, layout="kinect_v2_25", **values)
        return models._window_seconds(types.SimpleNamespace(inputs=inputs, definition=lambda: definition))

    assert window_seconds({**FRAMES, **POSES}, frames=30, stride=3) == 3.0
    assert window_seconds({**FRAMES, **POSES}, frames=10, frames_at="pose_steps") == models.WINDOW
    assert window_seconds(POSES) == models.WINDOW
