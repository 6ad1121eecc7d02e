"""The example for small devices prepares poses as training does, and imports nothing of TensorFlow or this project."""

import ast
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

import zoo
from serving import export
from serving.runtimes import converting, loading
from serving.savedmodel import signatures
from tests.serving.conftest import write_run
from tests.zoo import tiny_models
from tfrecords.reading import pipeline, poses
from zoo import skeletons

EXAMPLE = pathlib.Path(__file__).resolve().parents[3] / "examples" / "pose_on_a_small_device.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("pose_on_a_small_device", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_imports_four_packages():
    imported = set()
    for node in ast.walk(ast.parse(EXAMPLE.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - set(sys.stdlib_module_names if hasattr(sys, "stdlib_module_names") else imported) == (
        {"numpy", "PIL", "mediapipe", "ai_edge_litert"} if hasattr(sys, "stdlib_module_names") else set()
    )


def clip(frames=11):
    rng = np.random.default_rng(0)
    moving = rng.normal(size=(1, 33, 3)) + 0.1 * rng.normal(size=(frames, 33, 3)).cumsum(axis=0)
    return moving.astype(np.float32)


SETTINGS = [
    ("kinect_v1_20", poses.Normalisation(axes="vertical"), True, 1),
    ("lcrnet_13", poses.Normalisation(reference="mean", axes="camera", scale=False, depth=0.3), True, 2),
    ("kinect_v1_20", poses.Normalisation(reference="frame", axes="body", origin="spine"), False, 1),
    ("blazepose_33", poses.Normalisation(reference="mean", axes="body", origin="root"), True, 1),
]


@pytest.mark.parametrize(("layout", "normalisation", "interpolate", "persons"), SETTINGS)
def test_it_prepares_poses_as_training_does(example, layout, normalisation, interpolate, persons):
    inputs = pipeline.Inputs(
        pose_steps=7, layout=layout, normalisation=normalisation, interpolate=interpolate, persons=persons
    )
    network = object.__new__(example.Network)
    network._inputs = json.loads(json.dumps(inputs.to_dict()))
    network._skeleton = json.loads(json.dumps(converting._skeleton(inputs)))
    mapped = skeletons.map_joints(clip(), "blazepose_33", layout)[:, np.newaxis]
    mapped = np.concatenate([mapped, *[np.zeros_like(mapped)] * (persons - 1)], axis=1)
    expected = signatures.features(signatures.DEFAULT, inputs, {signatures.POSES: mapped[np.newaxis]})["pose"][0]
    np.testing.assert_allclose(network.features(clip()), expected, rtol=1e-4, atol=1e-4)


def test_frames_without_a_person_lie_between_their_neighbours(example):
    whole = np.linspace(1, 2, 9)[:, np.newaxis, np.newaxis] * clip(1)
    cut = whole.copy()
    cut[[0, 3, 4, 8]] = 0
    filled = example.without_gaps(cut)
    np.testing.assert_allclose(filled[1:8], whole[1:8], atol=1e-5)
    np.testing.assert_array_equal(filled[[0, 8]], whole[[1, 7]].astype(np.float32))
    with pytest.raises(ValueError, match="no person"):
        example.without_gaps(np.zeros_like(cut))


def test_it_reads_pictures_as_a_viewer_shows_them(example, tmp_path):
    shown = np.zeros((6, 4, 3), np.uint8)
    shown[:3] = 200
    turned = Image.Exif()
    turned[0x0112] = 6  # to be shown turned by 90 degrees
    Image.fromarray(np.rot90(shown)).save(tmp_path / "10.jpeg", exif=turned, quality=100)
    Image.fromarray(shown[..., 0]).save(tmp_path / "9.PNG")
    Image.fromarray(shown).convert("RGBA").save(tmp_path / "11.png")
    (tmp_path / "notes.txt").touch()
    files = example.picture_files(tmp_path)
    assert [path.name for path in files] == ["9.PNG", "10.jpeg", "11.png"]
    for path in files:
        np.testing.assert_allclose(example.read(path), shown, atol=8)


def test_a_damaged_picture_is_named_in_one_line(example, tmp_path, monkeypatch, capsys):
    (tmp_path / "1.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"1\.jpg cannot be read"):
        example.read(tmp_path / "1.jpg")
    monkeypatch.setattr(
        sys, "argv", ["", "--model", "none", "--poses", "none", "--pictures", str(tmp_path / "nothing")]
    )
    assert example.main() == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_it_runs_an_exported_network(example, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'keras-adl-zoo[litert]'")
    inputs = pipeline.Inputs(pose_steps=4, layout="kinect_v1_20")
    made = zoo.build("pose_lstm", num_classes=3, pose_steps=4, joints=20, lstm_units=6)
    tiny_models.randomize(made)
    run = write_run(tmp_path / "run", made, inputs)
    folder, _ = export.export(export.Run(run), tmp_path / "base", form="litert")
    network = example.Network(folder)
    found = network(clip())
    expected = loading.open_network(folder)({"pose": network.features(clip())[np.newaxis]})["probabilities"][0]
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-6)
