"""Prometheus metrics with TF-Serving's names, in microseconds where they measure time."""

from __future__ import annotations

import collections
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import metrics_core

PATH = "/monitoring/prometheus/metrics"
_REQUEST_COUNT = ":tensorflow:serving:request_count"
_BUCKETS = tuple(10 * 1.8**power for power in range(33))  # microseconds: TF-Serving's


class _RequestCount:
    """Counts requests. ``prometheus_client.Counter`` would add ``_total`` to the name, which TF-Serving's lacks."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = collections.Counter()

    def add(self, model: str, status: str) -> None:
        with self._lock:
            self._counts[model, status] += 1

    def collect(self) -> Iterator[metrics_core.Metric]:
        from prometheus_client import metrics_core

        metric = metrics_core.Metric(_REQUEST_COUNT, "The total number of requests.", "unknown")
        with self._lock:
            counts = dict(self._counts)
        for (model, status), count in counts.items():
            metric.add_sample(_REQUEST_COUNT, {"model_name": model, "status": status}, count)
        yield metric


class Metrics:
    """The metrics of one server.

    Example:
        >>> metrics = Metrics()
        >>> metrics.request("adl", "Predict", "gRPC", "OK", seconds=0.5)
        >>> b'request_count{model_name="adl",status="OK"} 1.0' in metrics.text()
        True
    """

    def __init__(self):
        import prometheus_client

        self._registry = prometheus_client.CollectorRegistry()
        self._count = _RequestCount()
        self._registry.register(self._count)

        def histogram(name, what, labels):
            return prometheus_client.Histogram(name, what, labels, registry=self._registry, buckets=_BUCKETS)

        self._latency = histogram(
            ":tensorflow:serving:request_latency",
            "Time from a request to its response, in microseconds.",
            ("model_name", "API", "entrypoint"),
        )
        self._runtime = histogram(
            ":tensorflow:serving:runtime_latency",
            "Time in TensorFlow, in microseconds.",
            ("model_name", "API", "runtime"),
        )
        self._queuing = histogram(
            ":tensorflow:serving:batching_session:queuing_latency", "Time a batch waits, in microseconds.", ()
        )

    def request(self, model: str, api: str, entrypoint: str, status: str, seconds: float) -> None:
        """Records a request and the time to its response."""
        self._count.add(model, status)
        self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def runtime(self, model: str, seconds: float) -> None:
        """Records the time that a model took for a request."""
        self._runtime.labels(model, "Predict", "TF2").observe(seconds * 1e6)

    def queuing(self, seconds: float) -> None:
        """Records the time that a batch waited."""
        self._queuing.observe(seconds * 1e6)

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        import prometheus_client

        return prometheus_client.generate_latest(self._registry)
