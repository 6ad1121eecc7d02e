"""An exported SavedModel runs without Python, in TensorFlow's C++ loader."""

import os
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from serving import export
from serving.savedmodel import signatures, warmup
from tests.serving.conftest import LABELS
from tfrecords import schema

pytestmark = pytest.mark.slow  # a program is compiled

SOURCE = pathlib.Path(__file__).with_name("load_saved_model.cc")
LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled program; needs a compiler, and TensorFlow's headers and libraries as its package brings them."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("no C++ compiler (g++ or clang++)")
    folder = pathlib.Path(tf.sysconfig.get_lib())
    needed = [folder / "include" / "tensorflow/cc/saved_model/loader.h", *(folder / name for name in LIBRARIES)]
    missing = [path.name for path in needed if not path.exists()]
    if missing:
        pytest.skip(f"this TensorFlow package has no {', '.join(missing)}")
    built = tmp_path_factory.mktemp("program") / "load_saved_model"
    line = [
        compiler,
        "-O0",
        "-w",
        *tf.sysconfig.get_compile_flags(),
        str(SOURCE),
        "-o",
        str(built),
        f"-L{folder}",
        "-Wl,--no-as-needed",
    ]
    line += [*(f"-l:{name}" for name in LIBRARIES), f"-Wl,-rpath,{folder}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return built


@pytest.fixture
def run(program, tmp_path):
    """A function (version folder, signature, tensors) -> output name -> values, as the program prints them."""

    def call(folder, signature, tensors):
        line = [str(program), str(folder), signature]
        for name, tensor in tensors.items():
            (tmp_path / name).write_bytes(tf.make_tensor_proto(tensor).SerializeToString())
            line.append(f"{name}={tmp_path / name}")
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(line, capture_output=True, encoding="utf-8", timeout=120, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        rows = [row.split("\t") for row in done.stdout.splitlines()]
        return {name: values for name, *values in rows}

    return call


def test_records_and_jpegs_give_the_same_as_in_python(run, base, clips, expected):
    folder = base / "separable_sta" / "1"
    clip = clips["long"]
    jpegs = {"jpegs": np.array([clip.images["full_body"]], object), "poses": clip.pose_xyz[np.newaxis]}
    records = {"examples": np.array([schema.encode(clip)], object)}
    for signature, tensors in (("serve_examples", records), ("attention", jpegs)):
        outputs = run(folder, signature, tensors)
        assert outputs["classes"] == LABELS
        difference = np.abs(np.array(outputs["probabilities"], float) - expected["long"]).max()
        print(f"C++ {signature}: largest difference {difference:.2g}")
        assert difference < 1e-5
    assert len(outputs["temporal_attention"]) > 0


@pytest.mark.parametrize(("precision", "freeze"), [("float32", True), ("float16", False), ("bfloat16", True)])
def test_rewritten_graphs_run_too(run, pose_run_folder, tmp_path, precision, freeze):
    kept = export.Run(pose_run_folder)
    folder, _ = export.export(kept, tmp_path, precision=precision, freeze=freeze)
    (request, *_) = warmup.requests("pose_lstm", kept.inputs, noise=True)
    tensors = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
    outputs = run(folder, signatures.DEFAULT, tensors)
    expected = tf.saved_model.load(str(folder)).signatures[signatures.DEFAULT](**tensors)
    np.testing.assert_allclose(np.array(outputs["logits"], float), expected["logits"][0], atol=1e-5)
