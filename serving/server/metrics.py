"""Prometheus metrics with TF-Serving's names, in microseconds where they measure time."""

import collections
import threading

PATH = "/monitoring/prometheus/metrics"
_REQUEST_COUNT = ":tensorflow:serving:request_count"
_BUCKETS = tuple(10 * 1.8**power for power in range(33))  # microseconds: TF-Serving's


class _RequestCount:
    """Counts requests. ``prometheus_client.Counter`` would add ``_total`` to the name, which TF-Serving's lacks."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = collections.Counter()

    def add(self, model, status):
        with self._lock:
            self._counts[model, status] += 1

    def collect(self):
        from prometheus_client import metrics_core

        metric = metrics_core.Metric(_REQUEST_COUNT, "The total number of requests.", "unknown")
        with self._lock:
            counts = dict(self._counts)
        for (model, status), count in counts.items():
            metric.add_sample(_REQUEST_COUNT, {"model_name": model, "status": status}, count)
        yield metric


class Metrics:
    """What a server measures; every server has its own.

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
            "Time from a request to its answer, in microseconds.",
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

    def request(self, model, api, entrypoint, status, seconds):
        """One request was answered."""
        self._count.add(model, status)
        self._latency.labels(model, api, entrypoint).observe(seconds * 1e6)

    def runtime(self, model, seconds):
        """A model has answered."""
        self._runtime.labels(model, "Predict", "TF2").observe(seconds * 1e6)

    def queuing(self, seconds):
        """A batch was run after so long."""
        self._queuing.observe(seconds * 1e6)

    def text(self):
        """All of them, in Prometheus' text format."""
        import prometheus_client

        return prometheus_client.generate_latest(self._registry)
