"""Models as folders to publish: what is written is read again, what is damaged is refused, and a hub gives the same."""

import json
import re
import sys
import types

import numpy as np
import pytest
from safetensors import numpy as arrays

import zoo
from tests.zoo import tiny_models
from zoo.pretrained import model_folder
from zoo.pretrained.model_folder import ModelFolder

LABELS = ["sit", "stand", "drink"]


@pytest.fixture(scope="module")
def model():
    return tiny_models.build("pose_lstm")


@pytest.fixture
def folder(model, tmp_path):
    return zoo.save_pretrained(model, tmp_path / "published", labels=LABELS, inputs={"pose_steps": 4})


# Weights of all shapes, networks inside networks, layers with layers of their own; the slow ones are the others.
@pytest.mark.parametrize("name", tiny_models.quick(zoo.list_models(), "pose_gcn", "sta_hands"))
def test_a_folder_gives_the_model_again(name, tmp_path):
    model = tiny_models.shared(name)
    again = zoo.from_pretrained(zoo.save_pretrained(model, tmp_path / name))
    assert again.built_as == model.built_as
    named = model_folder.named_weights(model)
    assert len(named) == len(model.weights)
    for key, weight in model_folder.named_weights(again).items():
        np.testing.assert_array_equal(weight, named[key], err_msg=key)


def test_what_travels_with_the_model(folder):
    read = ModelFolder(folder)
    assert read.labels == tuple(LABELS)
    assert read.inputs == {"pose_steps": 4}
    assert 'from_pretrained("published")' in (folder / "README.md").read_text()


def _change_config(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def _change_weights(change):
    def apply(folder):
        path = folder / "model.safetensors"
        arrays.save_file(change(arrays.load_file(path)), path)

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json: is no JSON"),
        (lambda f: (f / "config.json").write_text("{}"), r"config\.json: is not what zoo\.save_pretrained wrote"),
        (_change_config(format_version=9), "has format 9, this zoo reads 1: update the zoo"),
        (_change_config(model="pose_lstn"), "unknown model 'pose_lstn'.*pose_lstm"),
        (_change_config(options={"lstm_unit": 3}), "lstm_unit"),
        (_change_config(num_classes=7), "has 3 classes, config.json says 7"),
        (lambda f: (f / "model.safetensors").unlink(), r"model\.safetensors: no such file"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\0" * 99), r"model\.safetensors: is damaged"),
        (_change_weights(lambda w: {k: v for k, v in w.items() if k != "lstm_2/bias"}), "has no lstm_2/bias"),
        (
            _change_weights(lambda w: {**w, "lstm_9/bias": w["lstm_2/bias"]}),
            "has lstm_9/bias, which",
        ),
        (
            _change_weights(lambda w: {**w, "lstm_2/bias": w["lstm_2/bias"][1:]}),
            r"shape \[23\], .*\[24\]",
        ),
    ],
)
def test_a_damaged_folder_is_refused(folder, change, message):
    change(folder)
    with pytest.raises(zoo.ZooError, match=message):
        zoo.from_pretrained(folder)


def test_what_cannot_be_written_is_refused(model, folder, tmp_path):
    import tensorflow as tf

    with pytest.raises(zoo.ZooError, match="published exists"):
        zoo.save_pretrained(model, folder)
    with pytest.raises(zoo.ZooError, match="2 labels, but the model has 3 classes"):
        zoo.save_pretrained(model, tmp_path / "other", labels=LABELS[:2])
    for label in ("sit\nup", "sit\n", ""):  # the second as a file's lines have it
        with pytest.raises(zoo.ZooError, match=re.escape(f"label {label!r} is empty or has a line break")):
            zoo.save_pretrained(model, tmp_path / "other", labels=[label, *LABELS[1:]])
    with pytest.raises(zoo.ZooError, match="does not know its options"):
        zoo.save_pretrained(tf.keras.Model(model.input, model.output), tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["published"]


def test_a_model_of_a_hub_is_the_folder_that_the_hub_gives(folder, monkeypatch):
    asked = []

    def snapshot_download(repository, **options):
        asked.append((repository, options))
        if repository != "ada/kitchen":
            raise OSError("404 Client Error: Repository Not Found")
        return str(folder)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    assert zoo.from_pretrained("ada/kitchen", revision="v1").name == "pose_lstm"
    assert asked == [("ada/kitchen", {"revision": "v1", "allow_patterns": list(model_folder.CONTENT)})]
    with pytest.raises(zoo.ZooError, match=r"ada/typo: neither a folder nor a model of the hub \(404"):
        zoo.from_pretrained("ada/typo")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(zoo.ZooError, match=r"ada/kitchen: no such folder, .*pip install 'keras-adl-zoo\[hub\]'"):
        zoo.from_pretrained("ada/kitchen")
