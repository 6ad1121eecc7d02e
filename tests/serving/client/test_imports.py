"""The front door of the client: documented names, and no heavy import behind them."""

import subprocess
import sys

import serving.client
import serving.sliding_window
import serving.streams
from tests.conftest import REPOSITORY


def test_documented_names():
    for name in serving.client.__all__:
        assert hasattr(serving.client, name), name
    for module in (serving.sliding_window, serving.streams):
        for name in set(module.__all__) & set(serving.client.__all__):
            assert getattr(module, name) is getattr(serving.client, name)
    assert {"MovingAverage", "Plan", "TimeLine", "predict", "predict_async"} <= set(serving.sliding_window.__all__)
    assert set(serving.streams.__all__) == {"CameraFrames", "FolderFrames", "VideoFrames"}


def test_importing_the_client_is_light():
    program = "import sys, serving.client; print({'tensorflow', 'grpc', 'cv2', 'av'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
