"""Building by name: what a user gets wrong is named, with what is valid."""

import os
import subprocess
import sys

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from zoo import __main__ as zoo_command
from zoo import models, registry


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("i3dd", {}, "did you mean 'i3d'.*pose_lstm"),
        ("i3d", {"framez": 16}, "no option 'framez', did you mean 'frames'"),
        ("i3d", {"frames": "16"}, "frames is '16', expected a whole number"),
        ("i3d", {"frames": 4}, "frames is 4, expected at least 8"),
        ("i3d", {"num_classes": 1}, "num_classes is 1, expected an integer of at least 2"),
        ("pose_lstm", {"loss": "all_step"}, "did you mean 'all_steps'"),
        ("pose_lstm", {"dropout": "0.5"}, "dropout is '0.5', expected a number"),
        ("pose_lstm", {"dropout": 1.0}, "dropout is 1.0, expected a number from 0 to less than 1"),
        ("pose_lstm", {"lstm_units": 0}, "lstm_units is 0, expected a whole number from 1"),
        ("i3d", {"width": 0.0}, "width is 0.0, expected a number above 0"),
        ("vpn", {"embedding_weight": -1}, "embedding_weight is -1, expected a number of at least 0"),
        ("separable_sta", {"attention": "seperable"}, "did you mean 'separable'"),
        (
            "resnext3d101",
            {"blocks": (1, 1.5, 1, 1)},
            r"blocks is \(1, 1.5, 1, 1\), expected a list of 4 values, each a whole number",
        ),
        (
            "temporal",
            {"granularities": ([2], 3)},
            "granularities is .* expected a list of values, each a whole",
        ),
        ("pose_lstm", {"layout": "nonsense"}, "layout is 'nonsense', expected one of kinect_v1_20"),
    ],
)
def test_errors_name_what_is_valid(name, options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build(name, **{"num_classes": 3, **options})


def test_one_model_on_the_command_line(run_command):
    status, out, _ = run_command(zoo_command.main, "pose_lstm")
    assert status == 0
    assert out.startswith("pose_lstm: ")
    known = zoo.describe("pose_lstm")
    stated = (
        known["paper"],
        "smarthome/cs 42.5 %",
        f"pose {'x'.join(map(str, known['inputs']['pose']))}",
        f"{known['parameters'] / 1e6:.3f} M for 60 classes",
    )
    assert all(fact in out for fact in stated)
    assert {line.split(" = ")[0].strip() for line in out.splitlines() if " = " in line} == set(known["options"])
    status, out, err = run_command(zoo_command.main, "pose_lstm", "pose_lstn")
    assert (status, out) == (2, "")
    assert "did you mean 'pose_lstm'" in err


def test_former_names_of_options_are_still_taken():
    new = zoo.build("separable_sta", num_classes=3, attention="none", **tiny_models.options("separable_sta"))
    with pytest.warns(FutureWarning, match="^separable_sta: option 'strategy' is now 'attention'$"):
        old = zoo.build("separable_sta", num_classes=3, strategy="none", **tiny_models.options("separable_sta"))
    assert old.get_config()["layers"][-3:] == new.get_config()["layers"][-3:]
    assert registry.renamed("global") == {"basic": "base_model", "basic_options": "base_model_options"}
    with pytest.raises(zoo.ZooError, match="attention is given twice"):
        zoo.build("separable_sta", num_classes=3, attention="sa", strategy="sa")


TOY = '''
"""A toy."""

import tensorflow as tf

from zoo.checks import Size
from zoo.layers import classify
from zoo.registry import register


@register(paper="Doe. Toys. Journal of Toys 2026")
def NAME(num_classes: int, *, units: Size = 4) -> tf.keras.Model:
    """A toy of one layer."""
    pose = tf.keras.Input((2, 1, 5, 3), name="pose")
    x = tf.keras.layers.Dense(units)(tf.keras.layers.Flatten()(pose))
    return tf.keras.Model({"pose": pose}, classify(x, num_classes), name="toy")
'''


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    """A folder whose files are models too."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    yield tmp_path
    for name in ("toy", "toy_2"):
        sys.modules.pop(f"zoo.models.{name}", None)
        registry._entries.pop(name, None)


def test_a_model_is_one_file(models_folder):
    (models_folder / "toy.py").write_text(TOY.replace("NAME", "toy"))
    assert "toy" in zoo.list_models()
    described = zoo.describe("toy", num_classes=3, units=7)
    assert (described["paper"], described["options"]) == ("Doe. Toys. Journal of Toys 2026", {"units": 4})
    assert described["parameters"] == (30 + 1) * 7 + (7 + 1) * 3
    with pytest.raises(zoo.ZooError, match="toy: units is 0, expected a whole number from 1"):
        zoo.build("toy", num_classes=3, units=0)


def test_a_builder_has_the_name_of_its_file(models_folder):
    (models_folder / "toy_2.py").write_text(TOY.replace("NAME", "toy"))
    with pytest.raises(ValueError, match=r"the builder toy is in toy_2\.py, expected in toy\.py"):
        registry.get("toy_2")


def test_numbers_of_numpy_are_numbers():
    options = {"pose_steps": 4, "joints": 5, "lstm_units": 6, "dropout": 0.25}
    numpy = {option: np.float32(value) if option == "dropout" else np.int64(value) for option, value in options.items()}
    model = zoo.build("pose_lstm", num_classes=np.int32(3), **numpy)
    assert model.get_config() == zoo.build("pose_lstm", num_classes=3, **options).get_config()


@pytest.mark.parametrize("own", [{}, {"TF_ENABLE_ONEDNN_OPTS": "0"}])
def test_import_is_light(own):
    """No TensorFlow, no output, and of the environment oneDNN alone, unless the user has set it."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    program = (
        "import os, sys; before = dict(os.environ); import zoo; "
        "assert dict(os.environ) == {'TF_ENABLE_ONEDNN_OPTS': '1', **before}; "
        "assert 'tensorflow' not in sys.modules; assert zoo.list_models()"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**environment, **own})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    for name in ("model.keras", "model.weights.h5"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(zoo.ZooError, match=r"model\.keras: (no such file|not a Keras model)"):
        zoo.load_model(tmp_path / "model.keras")
    model = zoo.build("pose_lstm", num_classes=3, joints=5, lstm_units=4)
    with pytest.raises(zoo.ZooError, match=r"model\.weights\.h5: (no such file|does not fit)"):
        zoo.load_weights(model, tmp_path / "model.weights.h5")
