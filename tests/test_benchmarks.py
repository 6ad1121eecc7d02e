"""The networks that the benchmarks compare with the zoo's compute the same outputs, and what benchmarks check."""

import json

import numpy as np
import pytest

import zoo
from tests.zoo import tiny_models
from zoo.shared.errors import UserError


@pytest.mark.parametrize("size", [32, 48])  # pools and strides whose SAME padding is even, and uneven
def test_i3d_in_pytorch_has_the_same_outputs(size):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -e '.[bench]'")
    from benchmarks.alternatives import i3d_pytorch

    model = zoo.build("i3d", num_classes=5, frames=12, size=size, width=0.25)
    tiny_models.randomize(model)
    clip = np.random.default_rng(0).uniform(-1, 1, (2, 12, size, size, 3)).astype("float32")
    expected = model({"rgb": clip}, training=False).numpy()
    assert expected.max() - expected.min() > 0.2  # outputs that depend on the weights
    network = i3d_pytorch.network(i3d_pytorch.weights_of(model))
    with torch.inference_mode():
        for variant in (network, i3d_pytorch.folded(network)):
            output = variant(torch.from_numpy(clip).permute(0, 4, 1, 2, 3)).numpy()
            np.testing.assert_allclose(output, expected, atol=1e-4)


@pytest.mark.slow
def test_networks_with_random_weights_run_in_every_runtime(run_command, tmp_path, monkeypatch):
    from benchmarks import runtimes

    monkeypatch.setattr(runtimes.os, "sched_setaffinity", lambda *_: None)  # of the process of the tests
    small = ["--sizes", "8x32", "--width", "0.125", "--repetitions", "2"]
    status, out, _ = run_command(runtimes.main, *small, "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert status == 0
    assert list(found["networks"]) == ["i3d 8x32", "vpn 8x32"]
    for rows in found["networks"].values():
        assert {"tensorflow float32", "tensorflow bfloat16"} <= set(rows)
        assert len(rows) == 6 or "not measured" in out
        assert all(row["difference"] < 0.3 for row in rows.values())
        assert all(row["least"] <= row["speed"] <= row["most"] for row in rows.values())


def test_training_steps_of_one_network_begin_with_one_loss():
    from benchmarks import training_step

    same = {"keras": 4.0, "pytorch": 4.001, "keras_bfloat16": 4.1, "keras_cached": 9.0}
    training_step._check_losses("16x112x2", same)
    for way, loss in (("pytorch", 4.1), ("keras_bfloat16", 4.5)):
        with pytest.raises(ValueError, match="several losses"):
            training_step._check_losses("16x112x2", {**same, way: loss})


def test_a_measurement_in_a_process_of_its_own(tmp_path):
    from benchmarks import processes

    script = tmp_path / "measure.py"
    script.write_text(
        "import json, os, sys\n"
        "print('compiling')\n"
        "print(json.dumps([sys.argv[1:], os.environ['SETTING']]))\n"
        "sys.exit('fail' in sys.argv)"
    )
    found = processes.measured("i3d", str(script), "--repetitions", 3, environment={"SETTING": "1"})
    assert found == [["--repetitions", "3"], "1"]
    with pytest.raises(UserError, match=r"i3d: the measurement ended with status 1 \(out of memory\?\)"):
        processes.measured("i3d", str(script), "fail", environment={"SETTING": "1"})
