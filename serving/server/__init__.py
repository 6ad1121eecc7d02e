"""A server of TF-Serving's API for a laptop."""

from serving.server.server import Server

__all__ = ["Server"]
