"""Public names for streams; see :mod:`serving.client.streams`."""

from serving.client.streams import CameraFrames, FolderFrames, VideoFrames

__all__ = ["CameraFrames", "FolderFrames", "VideoFrames"]
