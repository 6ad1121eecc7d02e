"""Configuration of OpenVINO Model Server and Triton, for models that need no conversion to be described."""

import json
import shutil

import yaml

from serving.deploy import configuration
from serving.runtimes.settings import Settings
from serving.savedmodel import versions


def test_models_of_other_formats_get_servers_of_their_own(linear_version, run_command, tmp_path):
    base, out = tmp_path / "base", tmp_path / "deploy"
    for form in ("openvino", "onnx", "litert"):
        folder = base / f"pose_{form}" / "3"
        shutil.copytree(linear_version / "assets", folder / "assets")
        (folder / versions.MODEL_FILES[form]).write_text("")
        Settings({"logits": (3,), "probabilities": (3,)}, "bfloat16").write(folder)
    status, printed, _ = run_command(configuration.main, "--models", base, "--out", out)
    assert (status, "triton/pose_onnx/config.pbtxt" in printed) == (0, True)
    assert "compose.yaml --profile openvino up --detach --wait (or --profile triton)" in printed
    assert not (out / "models.config").exists()  # TF-Serving has no model
    listed = [one["config"] for one in json.loads((out / "openvino.json").read_text())["model_config_list"]]
    assert [(one["name"], one["model_version_policy"]) for one in listed] == [
        ("pose_onnx", {"specific": {"versions": [3]}}),
        ("pose_openvino", {"specific": {"versions": [3]}}),
    ]
    assert listed[1]["plugin_config"]["INFERENCE_PRECISION_HINT"] == "bf16"
    triton = (out / "triton" / "pose_openvino" / "config.pbtxt").read_text()
    assert 'backend: "openvino"' in triton
    assert 'input { name: "pose" data_type: TYPE_FP32 dims: [4, 2, 25, 3] }' in triton
    assert 'output { name: "probabilities" data_type: TYPE_FP32 dims: [3] }' in triton
    services = yaml.safe_load((out / "compose.yaml").read_text())["services"]
    assert {name: one["profiles"] for name, one in services.items()} == {
        "openvino-model-server": ["openvino"],
        "triton": ["triton"],
    }
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one["ports"])
    shutil.rmtree(base / "pose_onnx")
    shutil.rmtree(base / "pose_openvino")
    status, _, err = run_command(configuration.main, "--models", base, "--out", out)
    assert (status, "models for small devices alone" in err) == (2, True)
