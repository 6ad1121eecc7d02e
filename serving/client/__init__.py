"""The client: clips, requests and answers over gRPC and REST."""

from serving.client.client import AsyncClient, Client, Prediction, RequestFailed, Tls
from serving.client.clips import encode_jpeg, read_poses, read_records, read_video

__all__ = [
    "AsyncClient",
    "Client",
    "Prediction",
    "RequestFailed",
    "Tls",
    "encode_jpeg",
    "read_poses",
    "read_records",
    "read_video",
]
