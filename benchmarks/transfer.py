"""What does it cost to send a clip of raw frames through gRPC, and which part of the way costs how much?

A client sends 32 frames of 224 x 224 (4.8 MB) to a server of a model that does next to nothing, and the same bytes to
a bare gRPC server that does nothing, with several settings of the channel. All take turns, in another order every
round. Processor time and page faults change little when other programs run; latencies do.

    python benchmarks/transfer.py                     # what the server takes beyond the bytes alone
    python benchmarks/transfer.py --settings          # the bytes alone, with other settings of gRPC
    python benchmarks/transfer.py --beside DIR        # in turn with the server of another checkout of the project
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import environment
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = "stand_in"
SHAPE = (1, 32, 224, 224, 3)
WARM_UP = 3
COLUMNS = {"p10": "6.1f", "p50": "6.1f", "client": "7.1f", "server": "7.1f", "faults": "12.0f"}
PREDICT = "/tensorflow.serving.PredictionService/Predict"
_MIB = 2**20
_FRAMES = ["grpc.http2.max_frame_size", 2**24 - 1]
_WINDOW = ["grpc.http2.lookahead_bytes", 16 * _MIB]
_READS = [[f"grpc.experimental.tcp_{which}read_chunk_size", 4 * _MIB] for which in ("", "min_", "max_")]
# Name -> options of the client's channel, options of the server.
SETTINGS = {
    "bytes alone": ([], []),
    "frames of 16 MiB": ([], [_FRAMES]),
    "window of 16 MiB": ([], [_WINDOW]),
    "frames, window": ([], [_FRAMES, _WINDOW]),
    "frames, window, reads of 4 MiB": ([], [_FRAMES, _WINDOW, *_READS]),
    "no bandwidth probe": ([], [["grpc.http2.bdp_probe", 0]]),
    "receive buffer of 4 MiB": ([], [["grpc.tcp_receive_buffer_size", 4 * _MIB]]),
    "write buffer of 8 MiB": ([["grpc.http2.write_buffer_size", 8 * _MIB]], []),
    "zero-copy": ([["grpc.experimental.tcp_tx_zerocopy_enabled", 1]], []),
}


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="transfer.py", description="The way of raw frames through gRPC.")
    parser.add_argument("--requests", type=int, default=40, help="requests to each server (default: 40)")
    parser.add_argument("--settings", action="store_true", help="settings of gRPC, without a model")
    parser.add_argument("--beside", type=pathlib.Path, metavar="DIR", help="another checkout, to compare with")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--serve", help=argparse.SUPPRESS)  # the bare server: its options as JSON
    arguments = parser.parse_args(argv)
    if arguments.serve is not None:
        return _serve(json.loads(arguments.serve))
    if arguments.beside and not (arguments.beside / "serving" / "server").is_dir():
        raise UserError(f"{arguments.beside}: no checkout of the project, expected its folder")
    command_line.quiet_tensorflow()
    with contextlib.ExitStack() as stack:
        contenders = {}
        for name, (client, server) in SETTINGS.items():
            if arguments.settings or not server + client:
                line = [sys.executable, os.path.abspath(__file__), "--serve", json.dumps(server)]
                contenders[name] = (*stack.enter_context(_running(line, ROOT)), client)
        if not arguments.settings:
            base = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory())) / MODEL
            _export(base)
            for folder in filter(None, (ROOT, arguments.beside)):
                line = [sys.executable, "-m", "serving.server", "--model_base_path", str(base), "--model_name", MODEL]
                name = "serving.server" if folder == ROOT else f"serving.server of {folder}"
                contenders[name] = (*stack.enter_context(_running([*line, "--port", "0"], folder.absolute())), [])
        result = measure(contenders, arguments.requests)
    if arguments.json:
        files.write_json(arguments.json, {**environment.describe("tensorflow", "grpcio", "protobuf"), **result})
    return 0


def _serve(options):
    """A server that receives bytes and does nothing."""
    import grpc

    server = grpc.server(
        concurrent.futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1), *map(tuple, options)],
    )
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    service, method = PREDICT.strip("/").split("/")
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()


@contextlib.contextmanager
def _running(line, folder):
    """``(address, process)`` of a server."""
    process = subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        words = process.stdout.readline().split()
        if not words:
            raise UserError(f"a server did not start: {' '.join(line)}")
        yield words[-1], process
    finally:
        process.terminate()
        process.wait()


def _export(base):
    """A model that takes frames and looks at a few of their values."""
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda frames: {"probabilities": tf.reduce_mean(tf.cast(frames[:, 0, ::32, ::32], tf.float32), [1, 2])},
        input_signature=[tf.TensorSpec([None, None, None, None, 3], tf.uint8, name="frames")],
    )
    tf.saved_model.save(module, os.fspath(base / "1"), signatures={"serving_default": module.serve})


def measure(contenders, count):
    """Latency, processor time and page faults of a request.

    Args:
        contenders: Name -> (address, process, options of the channel).
        count: Requests to each.

    Returns:
        Name -> figures; prints a table.
    """
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    frames = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    request.inputs["frames"].CopyFrom(tf.make_tensor_proto(frames))
    calls = {}
    for name, (address, _, options) in contenders.items():
        channel = grpc.insecure_channel(address, [("grpc.max_send_message_length", -1), *map(tuple, options)])
        calls[name] = channel.unary_unary(PREDICT, request_serializer=lambda message: message.SerializeToString())
    found = {name: [] for name in contenders}
    for turn in range(count + WARM_UP):
        for name in random.sample(list(contenders), len(contenders)):
            pid = contenders[name][1].pid
            before = time.process_time(), _processor_ms(pid), _faults(pid)
            begin = time.perf_counter()
            calls[name](request, timeout=120)
            latency = 1000 * (time.perf_counter() - begin)
            client = 1000 * (time.process_time() - before[0])
            time.sleep(0.01)  # the server frees what it has used
            if turn >= WARM_UP:
                found[name].append((latency, client, _processor_ms(pid) - before[1], _faults(pid) - before[2]))
    result = {}
    print(
        f"{'':32} {'p10':>6} {'p50':>6} {'client':>7} {'server':>7} {'page faults':>12}   latency, processor time: ms"
    )
    for name, rows in found.items():
        latency, client, server, faults = zip(*rows)
        result[name] = {
            "p10": float(np.percentile(latency, 10)),
            "p50": statistics.median(latency),
            "client": statistics.median(client),
            "server": statistics.median(server),
            "faults": statistics.median(faults),
        }
        print(f"{name:32} " + " ".join(f"{result[name][key]:{width}}" for key, width in COLUMNS.items()))
    return {"requests": count, "request_bytes": request.ByteSize(), "servers": result}


def _processor_ms(pid):
    """Milliseconds of processor time of all threads that a process has."""
    total = 0
    for schedule in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            total += int(schedule.read_text().split()[0])
    return total / 1e6


def _faults(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7])


if __name__ == "__main__":
    sys.exit(command_line.run(main))
