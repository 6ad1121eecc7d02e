"""A server with TF-Serving's API, for a laptop.

* :mod:`~serving.server.server`: ``Server``, gRPC and REST; :mod:`~serving.server.command`: the command line.
* :mod:`~serving.server.manager`: the models, their versions and labels.
* :mod:`~serving.server.services`: the methods of both interfaces; :mod:`~serving.server.rest`: JSON over HTTP;
  :mod:`~serving.server.bodies`: bodies with gzip; :mod:`~serving.server.connections`: limits of time and number;
  :mod:`~serving.server.web`: an application on an address; :mod:`~serving.server.addresses`: IPv4, IPv6 and names.
* :mod:`~serving.server.open_inference`, :mod:`~serving.server.open_inference_grpc`: the open inference protocol (V2).
* :mod:`~serving.server.batching`: requests joined to batches.
* :mod:`~serving.server.metrics`, :mod:`~serving.server.tls`: Prometheus; certificates;
  :mod:`~serving.server.memory`: freed memory stays in the process.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.server.server import Server

__all__ = ["Server"]


def __getattr__(name: str) -> Any:
    """Imports ``Server`` when it is first used, so that the command can report a missing package in one line."""
    if name != "Server":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from serving.server.server import Server

    return Server
