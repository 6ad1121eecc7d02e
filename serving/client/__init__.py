"""The client of a server, over gRPC and REST.

* :mod:`~serving.client.client`: ``Client`` and ``AsyncClient``; :mod:`~serving.client.command`: the command line.
* :mod:`~serving.client.clips`, :mod:`~serving.client.streams`: clips and frames from files, folders and cameras.
* :mod:`~serving.client.request`, :mod:`~serving.client.prediction`: the request for a clip; reading the response.
* :mod:`~serving.client.connection`, :mod:`~serving.client.rest_client`, :mod:`~serving.client.credentials`: gRPC and
  retries; REST; TLS.
* :mod:`~serving.client.sliding_window`, :mod:`~serving.client.smoothing`, :mod:`~serving.client.time_line`: windows
  over a stream; their smoothed probabilities; segments of one class.
* :mod:`~serving.client.printing`: tables, JSON and CSV.
"""

from serving.client.client import AsyncClient, Client, RequestFailed
from serving.client.clips import encode_jpeg, read_poses, read_records, read_video
from serving.client.credentials import Tls
from serving.client.prediction import Prediction
from serving.client.sliding_window import Plan, predict, predict_async
from serving.client.smoothing import Exponential, MovingAverage
from serving.client.streams import CameraFrames, FolderFrames, VideoFrames
from serving.client.time_line import TimeLine

__all__ = [
    "AsyncClient",
    "CameraFrames",
    "Client",
    "Exponential",
    "FolderFrames",
    "MovingAverage",
    "Plan",
    "Prediction",
    "RequestFailed",
    "TimeLine",
    "Tls",
    "VideoFrames",
    "encode_jpeg",
    "predict",
    "predict_async",
    "read_poses",
    "read_records",
    "read_video",
]
