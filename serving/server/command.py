"""The command ``python -m serving.server``.

``python -m serving.server --model_base_path BASE/<model> --model_name NAME --port 8500``
"""

from __future__ import annotations

import argparse
import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from serving.runtimes.loading import RUNTIMES
from serving.savedmodel import versions
from serving.savedmodel.servable import MAX_MESSAGE_BYTES
from serving.server import batching, memory, tls
from serving.server.manager import ConfigFile, Manager
from serving.server.metrics import Metrics
from serving.server.server import GRACE_SECONDS, MAX_REQUESTS, Server
from zoo.shared import command_line
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from serving.savedmodel.servable import Run

_log = logging.getLogger(__name__)


class _JsonLines(logging.Formatter):
    """A log record as one JSON object."""

    def format(self, record):
        document = {"time": self.formatTime(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False)


def _set_up_log(as_json: bool, verbose: bool) -> None:
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_JsonLines() if as_json else plain)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("serving").setLevel(logging.DEBUG if verbose else logging.INFO)


def _watch(
    manager: Manager, config_file: ConfigFile | None, arguments: argparse.Namespace, stopping: threading.Event
) -> None:
    """Starts the threads that follow the folders and the configuration file."""

    def every(seconds, check):
        while not stopping.wait(seconds):
            try:
                check()
            except UserError as error:  # the old configuration keeps serving
                _log.error("%s", error)
            except Exception:  # a thread that ends would never see a new version
                _log.exception("looking for changes failed")

    checks = [(arguments.file_system_poll_wait_seconds, manager.refresh)]
    if config_file:
        checks.append((arguments.model_config_file_poll_wait_seconds, config_file.apply))
    for seconds, check in checks:
        if seconds > 0:
            threading.Thread(target=every, args=(seconds, check), daemon=True).start()


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="python -m serving.server", description="Serve exported models over gRPC and REST."
    )
    parser.add_argument("--model_base_path", help="folder of one model, BASE/<model>, with a folder for each version")
    parser.add_argument("--model_name", help="name of the model for clients")
    parser.add_argument(
        "--model_config_file", metavar="FILE", help="text file with a ModelServerConfig: several models"
    )
    parser.add_argument("--port", type=int, default=8500, help="gRPC port; 0 takes a free one")
    parser.add_argument(
        "--rest_api_port",
        type=int,
        metavar="PORT",
        help="port of REST and metrics; 0 takes a free one; default: no REST and no metrics",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on, such as ::1; 0.0.0.0 or :: for all networks"
    )
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds between searches for new versions; 0: never",
    )
    parser.add_argument(
        "--model_config_file_poll_wait_seconds",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds between reads of --model_config_file; default: 0, never again",
    )
    parser.add_argument(
        "--runtime", choices=RUNTIMES, help="what runs the networks; default: the runtime of the model's format"
    )
    parser.add_argument("--enable_batching", action="store_true", help="join concurrent requests into batches")
    parser.add_argument("--batching_parameters_file", metavar="FILE", help="text file with BatchingParameters")
    parser.add_argument("--ssl_config_file", metavar="FILE", help="text file with an SSLConfig: TLS on every port")
    parser.add_argument(
        "--max_message_bytes", type=int, default=MAX_MESSAGE_BYTES, metavar="N", help="size of the largest request"
    )
    parser.add_argument(
        "--max_requests", type=int, default=MAX_REQUESTS, metavar="N", help="gRPC requests handled at the same time"
    )
    parser.add_argument("--log_json", action="store_true", help="log JSON, one object per line")
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments = parser.parse_args(argv)
    one = bool(arguments.model_base_path) + bool(arguments.model_name)
    if one == 1 or bool(one) == bool(arguments.model_config_file):
        parser.error("give --model_base_path and --model_name, or --model_config_file")
    if arguments.batching_parameters_file and not arguments.enable_batching:
        parser.error("--batching_parameters_file needs --enable_batching")
    if not 0 < arguments.max_message_bytes <= MAX_MESSAGE_BYTES or arguments.max_requests < 1:
        parser.error(f"--max_message_bytes is 1 to {MAX_MESSAGE_BYTES}, --max_requests at least 1")
    return arguments


def _batcher(arguments: argparse.Namespace, metrics: Metrics) -> Callable[[Run], Run] | None:
    if not arguments.enable_batching:
        return None
    file = arguments.batching_parameters_file
    parameters = batching.read(file) if file else batching.Parameters()
    return lambda run: batching.Batcher(run, parameters, metrics.queuing)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status when SIGTERM or SIGINT has stopped the server."""
    command_line.quiet_tensorflow()
    arguments = _arguments(argv)
    _set_up_log(arguments.log_json, arguments.verbose)
    memory.keep_freed()
    if arguments.model_base_path:
        versions.require(arguments.model_base_path)  # reports a wrong path before TensorFlow is loaded
    stopping = threading.Event()
    metrics = Metrics()
    manager = Manager(
        arguments.model_name,
        arguments.model_base_path,
        batcher=_batcher(arguments, metrics),
        runtime=arguments.runtime,
    )
    server = Server(
        manager,
        host=arguments.host,
        port=arguments.port,
        rest_port=arguments.rest_api_port,
        tls=tls.read(arguments.ssl_config_file) if arguments.ssl_config_file else None,
        max_message_bytes=arguments.max_message_bytes,
        max_requests=arguments.max_requests,
        metrics=metrics,
    )
    config_file = ConfigFile(manager, arguments.model_config_file) if arguments.model_config_file else None
    if config_file:
        config_file.apply()
    else:
        manager.load_newest()
    signals = command_line.StopSignals()
    server.start()
    for servable in manager.servables():
        print(f"Serving {servable.name} version {servable.version} on {server.address}", flush=True)
    if server.rest_address:
        print(f"REST on {server.rest_address}", flush=True)
    _watch(manager, config_file, arguments, stopping)
    signals.wait()
    stopping.set()
    _log.info("stopping: requests under way have %g s to end", GRACE_SECONDS)
    server.stop()
    return 0
