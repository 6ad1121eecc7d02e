"""Building by name: what a user gets wrong is named, with what is valid."""

import subprocess
import sys

import numpy as np
import pytest

import zoo


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("i3dd", {}, "did you mean 'i3d'.*pose_lstm"),
        ("i3d", {"framez": 16}, "no option 'framez', did you mean 'frames'"),
        ("i3d", {"frames": "16"}, "frames is '16', expected int"),
        ("i3d", {"frames": 4}, "frames is 4, expected at least 8"),
        ("i3d", {"num_classes": 1}, "num_classes is 1, expected an integer of at least 2"),
        ("pose_lstm", {"loss": "all_step"}, "did you mean 'all_steps'"),
        ("pose_lstm", {"dropout": "0.5"}, "dropout is '0.5', expected float"),
        ("pose_lstm", {"dropout": 1.0}, "dropout is 1.0, expected a share from 0 to less than 1"),
        ("pose_lstm", {"lstm_units": 0}, "lstm_units is 0, expected at least 1"),
        ("i3d", {"width": 0.0}, "width is 0.0, expected a multiplier above 0"),
        ("vpn", {"embedding_weight": -1}, "embedding_weight is -1, expected at least 0"),
        ("separable_sta", {"strategy": "seperable"}, "did you mean 'separable'"),
        ("resnext3d101", {"blocks": (1, 1.5, 1, 1)}, r"blocks is \(1, 1.5, 1, 1\), expected tuple such as \(3"),
        ("temporal", {"granularities": ([2], 3)}, "granularities is .* expected tuple"),
        ("pose_lstm", {"layout": "nonsense"}, "unknown skeleton layout 'nonsense'"),
    ],
)
def test_errors_name_what_is_valid(name, options, message):
    with pytest.raises(zoo.ZooError, match=message):
        zoo.build(name, **{"num_classes": 3, **options})


def test_numbers_of_numpy_are_numbers():
    options = {"pose_steps": 4, "joints": 5, "lstm_units": 6, "dropout": 0.25}
    numpy = {option: np.float32(value) if option == "dropout" else np.int64(value) for option, value in options.items()}
    model = zoo.build("pose_lstm", num_classes=np.int32(3), **numpy)
    assert model.get_config() == zoo.build("pose_lstm", num_classes=3, **options).get_config()


def test_import_is_light():
    """No TensorFlow, no output, no environment variable."""
    program = (
        "import os, sys; before = dict(os.environ); import zoo; "
        "assert dict(os.environ) == before; assert 'tensorflow' not in sys.modules; assert zoo.list_models()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
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
