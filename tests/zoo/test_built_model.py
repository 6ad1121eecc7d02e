"""A saved model is built again from its name and options, under both versions of Keras."""

import json
import subprocess
import threading
import zipfile
from importlib import metadata

import numpy as np
import pytest
import tensorflow as tf

import zoo
from tests.conftest import REPOSITORY
from tests.zoo import tiny_models
from zoo import built_model
from zoo.models import lrcn

KERAS = metadata.version("keras")[0]
OPTIONS = {"joints": 5, "lstm_units": 4}
LOAD = """
import pathlib, sys
import numpy as np
import zoo
for file in pathlib.Path(sys.argv[1]).glob("*.keras"):
    stored = dict(np.load(file.with_suffix(".npz")))
    expected = stored.pop("expected")
    for model in (zoo.load_model(file), zoo.from_pretrained(file.with_suffix(""))):
        found = model(stored, training=False)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6, err_msg=file.name)
    print(file.stem)
"""


def _rewrite(path, change):
    """Changes the configuration and metadata in a .keras file: ``change(config, metadata)``."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    names = ("config.json", "metadata.json")
    parts = [json.loads(content[name]) for name in names]
    change(*parts)
    content.update({name: json.dumps(part) for name, part in zip(names, parts)})
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)


def test_what_a_model_was_built_as_goes_with_its_file(tmp_path):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = zoo.build("pose_lstm", num_classes=3, **OPTIONS)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    model.get_layer("lstm_2").trainable = False
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    assert again.built_as == model.built_as
    assert again.built_as.options["dropout"] == 0.5, "the defaults of the day are kept too"
    assert [layer.name for layer in again.layers if layer.weights and not layer.trainable] == ["lstm_2"]
    assert again.get_layer("lstm_1").compute_dtype == "bfloat16"
    assert again.get_layer("lstm_1").dtype == "float32"
    np.testing.assert_array_equal(again.get_layer("classifier").kernel, model.get_layer("classifier").kernel)


def _late_fusion():
    parts = {"video_model": "separable_sta", "pose_model": "pose_lstm"}
    own = {f"{role}_options": {"lstm_units": np.int64(4)} for role in parts}
    sizes = {"frames": 8, "size": 32, "width": 0.03, "pose_steps": 4, "layout": "lcrnet_13"}
    return zoo.build("late_fusion", num_classes=3, **parts, **own, **sizes)


def test_of_two_layers_of_one_name_the_frozen_one_stays_frozen(tmp_path):
    """Both parts of a late fusion have a classifier and three LSTMs."""
    model = _late_fusion()
    model.get_layer("separable_sta").trainable = False
    model.save(tmp_path / "model.keras")
    again = zoo.load_model(tmp_path / "model.keras")
    assert len(again.trainable_weights) == len(model.trainable_weights) == 11


def test_what_a_builder_freezes_and_somebody_thaws_stays_thawed(tmp_path):
    model = tiny_models.build("sta_hands")
    frozen = len(model.trainable_weights)
    for layer in model.get_layer("frame_network").layers:
        layer.trainable = True
    model.save(tmp_path / "model.keras")
    again = zoo.load_model(tmp_path / "model.keras")
    assert len(again.trainable_weights) == len(model.trainable_weights) > frozen


def test_options_are_kept_as_text_and_numbers_of_python(tmp_path):
    model = _late_fusion()
    assert type(model.built_as.options["pose_model_options"]["lstm_units"]) is int
    network = lrcn.frame_network("mobilenet_v2", 32)
    network.save_weights(tmp_path / "cnn.weights.h5")
    options = tiny_models.options("lrcn", network_weights=tmp_path / "cnn.weights.h5")
    model = zoo.build("lrcn", num_classes=3, **options)
    assert model.built_as.options["network_weights"] == str(tmp_path / "cnn.weights.h5")
    folder = zoo.save_pretrained(model, tmp_path / "published")
    (tmp_path / "cnn.weights.h5").unlink()
    again = zoo.from_pretrained(folder)  # has all values itself
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


def test_threads_do_not_change_the_precision_of_each_other():
    entered, leave = threading.Event(), threading.Event()

    def other():
        with built_model.precision("mixed_bfloat16"):
            entered.set()
            leave.wait(0.3)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    model = zoo.build("pose_lstm", num_classes=3, **OPTIONS)
    leave.set()
    thread.join()
    assert model.built_as.precision == model.get_layer("lstm_1").compute_dtype == "float32"


def test_a_clone_is_saved_as_any_functional_model(tmp_path):
    model = zoo.build("pose_lstm", num_classes=3, **OPTIONS)
    clone = tf.keras.models.clone_model(model)
    clone.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(zoo.load_model(tmp_path / "model.keras").get_weights()[0], clone.get_weights()[0])


@pytest.mark.parametrize(
    ("name", "former", "others"),
    [
        ("temporal", {"granularity_pooling": "mean"}, {"granularity_attention": False}),
        ("pose_gcn", {"shared_persons": False}, {}),
    ],
)
def test_a_file_older_than_an_option_gives_the_same_predictions(name, former, others, tmp_path):
    """A model of before behaves as it did, although the option's default is another one."""
    (option,) = former
    model = tiny_models.build(name, **former, **others)
    features, _ = tiny_models.batch(model)
    model.save(tmp_path / "model.keras")
    _rewrite(tmp_path / "model.keras", lambda config, _: config["config"]["built_as"]["options"].pop(option))
    config = zoo.save_pretrained(model, tmp_path / "folder") / "config.json"
    content = json.loads(config.read_text())
    del content["options"][option]
    config.write_text(json.dumps(content))
    for old in (zoo.load_model(tmp_path / "model.keras"), zoo.from_pretrained(tmp_path / "folder")):
        np.testing.assert_array_equal(old(features, training=False), model(features, training=False))


def test_a_network_that_is_built_otherwise_today_is_refused(tmp_path):
    zoo.build("pose_lstm", num_classes=3, **OPTIONS).save(tmp_path / "model.keras")
    _rewrite(tmp_path / "model.keras", lambda config, _: config["config"]["built_as"]["layers"].insert(1, "lstm_9"))
    with pytest.raises(zoo.ZooError, match=r"model\.keras: .*pose_lstm was saved by another version .*\(lstm_9\)"):
        zoo.load_model(tmp_path / "model.keras")


def test_a_graph_of_layers_of_the_other_keras_is_refused_in_one_true_line(tmp_path):
    """As models were saved before they knew how they were built."""
    model = zoo.build("pose_lstm", num_classes=3, **OPTIONS)
    tf.keras.Model(model.input, model.output, name="pose_lstm").save(tmp_path / "model.keras")
    other = {"2": "3.9.0", "3": "2.15.0"}[KERAS]
    _rewrite(tmp_path / "model.keras", lambda _, metadata: metadata.update(keras_version=other))
    with pytest.raises(zoo.ZooError, match=rf"saved it under Keras {other}, and Keras \d.* use it under Python 3\.1"):
        zoo.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("names", tiny_models.quick([["pose_gcn"], zoo.list_models()], ["pose_gcn"]))
def test_the_other_row_opens_models(tmp_path, other_python, names):
    for name in names:
        model = tiny_models.shared(name)
        model.save(tmp_path / f"{name}.keras")
        zoo.save_pretrained(model, tmp_path / name)
        features, _ = tiny_models.batch(model)
        expected = model(features, training=False)
        np.savez(tmp_path / f"{name}.npz", expected=expected, **{key: np.asarray(x) for key, x in features.items()})
    done = subprocess.run(
        [other_python, "-c", LOAD, tmp_path], capture_output=True, text=True, check=False, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == names
