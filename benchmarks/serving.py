"""What does serving cost compared with the model alone, and does the server last?

A Separable STA for 16 frames of 112 x 112 pixels is exported and served by ``serving.server``; clients send it clips of
SynthADL, 32 frames of 224 x 224. In the same run the exported model is called in this process with the same tensors, in
turn with single requests, so that both run under the same conditions.

    python benchmarks/serving.py                    # latency and clips per second with 1, 4 and 16 clients
    python benchmarks/serving.py --soak 30          # 30 minutes of requests, faults and changes of version
    python benchmarks/serving.py --server HOST:PORT --model NAME --export BASE/NAME/1    # a server that runs already

Latencies are measured at the client, without building the request. The overhead is the median latency of one client
with a batch of one minus the model's own time.
"""

import collections
import contextlib
import itertools
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib import metadata

import numpy as np

if not __package__:  # run as a script: `serving` is the package, not this file
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from serving.savedmodel import signatures
from zoo.shared import command_line, files
from zoo.shared.errors import UserError

CLIENTS = (1, 4, 16)
MODEL = "separable_sta"
OPTIONS = {"frames": 16, "size": 112, "pose_steps": 10}
WIDTHS = {"speed": 1.0, "endurance": 0.25}  # the paper's model; a small one, for many requests
CLIP_FRAMES, CLIP_SIZE = 32, 224
WARM_UP = 3
TOLERANCE = 1e-3  # of probabilities, above which a response is wrong; other clips differ by more


def main(argv=None):
    """Runs the command and returns its exit status."""
    parser = command_line.ArgumentParser(prog="serving.py", description="Cost and endurance of serving.")
    parser.add_argument("--requests", type=int, default=20, help="requests of each client (default: 20)")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="endurance in place of speed")
    parser.add_argument("--server", metavar="HOST:PORT", help="measure a server that runs already")
    parser.add_argument("--model", default=MODEL, metavar="NAME", help="its model")
    parser.add_argument("--export", type=pathlib.Path, metavar="DIR", help="the version folder that it serves")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    if bool(arguments.server) != bool(arguments.export):
        raise UserError("--server and --export belong together: an address, and the version folder served there")
    if arguments.soak and arguments.server:
        raise UserError("--soak changes versions: it starts a server of its own, leave --server out")
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.server:
            result = measure(arguments.server, arguments.model, arguments.export, arguments.requests)
        else:
            folder = export(pathlib.Path(scratch), WIDTHS["endurance" if arguments.soak else "speed"])
            with _served(folder.parent) as (address, process):
                if arguments.soak:
                    result = soak(address, process, folder, minutes=arguments.soak)
                else:
                    result = measure(address, MODEL, folder, arguments.requests)
    packages = {name: metadata.version(name) for name in ("tensorflow", "grpcio", "numpy")}
    result["machine"] = {"cores": os.cpu_count(), "processor": _processor(), "versions": packages}
    if arguments.json:
        files.write_json(arguments.json, result)
    return result.get("failures", 0) and 1


def _processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


# --------------------------------------------------------------------------------------------- model and requests


def export(scratch, width):
    """Exports a Separable STA with random weights, which take the time of trained ones; returns the version's folder.

    An untrained model gives nearly the same prediction for every clip, so that a response to the wrong client would not
    be noticed. Therefore the weights of the last layer are made a thousand times larger.
    """
    import tensorflow as tf

    import zoo
    from serving.export import Run
    from serving.export import export as write
    from tfrecords.datasets.synthetic import SynthADL
    from tfrecords.reading.pipeline import Inputs

    tf.keras.utils.set_random_seed(0)
    model = zoo.build(MODEL, num_classes=len(SynthADL.labels), joints=25, width=width, **OPTIONS)
    classifier = model.get_layer("classifier")
    classifier.set_weights([1000 * weight for weight in classifier.get_weights()])
    inputs = Inputs(frames=OPTIONS["frames"], stride=2, size=OPTIONS["size"], pose_steps=10, layout=SynthADL.layout)
    run = scratch / "run"
    run.mkdir()
    model.save(run / "model.keras")
    (run / "inputs.json").write_text(json.dumps(inputs.to_dict()))
    (run / "labels.txt").write_text("".join(f"{label}\n" for label in SynthADL.labels))
    folder, _ = write(Run(run), scratch / "models")
    return folder


def clips(count):
    """Clips of SynthADL: ``(frames [T, H, W, 3] uint8, poses [T, 1, J, 3])``."""
    from tfrecords.converting import crops
    from tfrecords.datasets.synthetic import SynthADL

    source = SynthADL(subjects=2, repetitions=1, frames=CLIP_FRAMES, size=CLIP_SIZE)
    found = [source.read(info) for info in source.index().clips[:count]]
    return [(np.stack([crops.decode_jpeg(jpeg) for jpeg in clip.images["full_body"]]), clip.pose_xyz) for clip in found]


def requests(model, signature, found):
    """A ``PredictRequest`` of each clip."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from serving.client import encode_jpeg

    made = []
    for frames, poses in found:
        request = predict_pb2.PredictRequest(output_filter=["probabilities"])
        request.model_spec.name, request.model_spec.signature_name = model, signature
        pictures = [[encode_jpeg(frame) for frame in frames]] if signature == signatures.JPEG else frames[np.newaxis]
        name = signatures.pictures_name(signature, "full_body")
        request.inputs[name].CopyFrom(tf.make_tensor_proto(pictures))
        request.inputs[signatures.POSES].CopyFrom(tf.make_tensor_proto(poses[np.newaxis]))
        made.append(request)
    return made


def _stub(address):
    import grpc
    from tensorflow_serving.apis import prediction_service_pb2_grpc

    limits = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
    channel = grpc.insecure_channel(address, options=[(limit, -1) for limit in limits])
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@contextlib.contextmanager
def _served(model_folder):
    """``(address, process)`` of a server in a process of its own."""
    line = [sys.executable, "-m", "serving.server", "--model_base_path", str(model_folder), "--model_name", MODEL]
    line += ["--port", "0", "--file_system_poll_wait_seconds", "1"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = process.stdout.readline()
            if not line.startswith("Serving"):
                log.seek(0)
                raise UserError(f"the server did not start: {log.read()[-300:]}")
            yield line.split()[-1], process
        finally:
            process.terminate()
            process.wait()


# --------------------------------------------------------------------------------------------------------------- speed


def measure(address, model, folder, count):
    """Latency and throughput of a server, and the model's own time.

    Args:
        address: ``HOST:PORT``.
        model: Name of the model.
        folder: The version folder that is served.
        count: Requests of each client.

    Returns:
        Signature -> figures; prints a table.
    """
    result = {"requests": count, "signatures": {}}
    found = clips(2)
    head = f"{'signature':16} {'':12} {'p50':>8} {'p95':>8} {'p99':>8} {'clips/s':>8}  milliseconds"
    print(head)
    for signature in (signatures.DEFAULT, signatures.JPEG):
        sent = requests(model, signature, found)
        own, single = _in_turn(_own(folder, signature), _stub(address), sent, count)
        figures = {"request_bytes": sent[0].ByteSize(), "in_process": _figures(own, sum(own))}
        figures["clients"] = {1: _figures(single, sum(single))}
        for clients in CLIENTS[1:]:
            times, seconds = _together(address, sent, clients, count)
            figures["clients"][clients] = _figures(times, seconds)
        figures["overhead_p50"] = figures["clients"][1]["p50"] / figures["in_process"]["p50"] - 1
        result["signatures"][signature] = figures
        rows = {"in process": figures["in_process"]}
        rows.update({f"{clients} client{'s' * (clients > 1)}": figures["clients"][clients] for clients in CLIENTS})
        for name, row in rows.items():
            print(f"{signature:16} {name:12} " + " ".join(f"{row[key]:8.1f}" for key in ("p50", "p95", "p99", "rate")))
        print(f"{signature:16} overhead at p50 with one client: {figures['overhead_p50']:+.1%}")
    sizes = [result["signatures"][name]["request_bytes"] for name in (signatures.DEFAULT, signatures.JPEG)]
    result["payload_ratio"] = sizes[0] / sizes[1]
    print(f"payload: {sizes[0]:,} bytes as uint8, {sizes[1]:,} as JPEG: {result['payload_ratio']:.1f} times smaller")
    return result


def _own(folder, signature):
    """Function that calls the exported model in this process."""
    import tensorflow as tf

    return tf.saved_model.load(os.fspath(folder)).signatures[signature]


def _in_turn(own, stub, sent, count):
    """Seconds of calls in this process and of single requests, one after the other."""
    import tensorflow as tf

    tensors = [
        {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()} for request in sent
    ]
    times = [], []
    for number in range(count + WARM_UP):
        which = number % len(sent)
        begin = time.perf_counter()
        own(**tensors[which])["probabilities"].numpy()
        between = time.perf_counter()
        stub.Predict(sent[which], timeout=120)
        end = time.perf_counter()
        if number >= WARM_UP:
            times[0].append(between - begin)
            times[1].append(end - between)
    return times


def _together(address, sent, clients, count):
    """Seconds of every request of clients that run at the same time, and of all requests together."""
    times = []

    def client(number):
        stub = _stub(address)
        for turn in range(count):
            begin = time.perf_counter()
            stub.Predict(sent[(number + turn) % len(sent)], timeout=600)
            times.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) < clients * count:
        raise UserError(f"{clients * count - len(times)} requests of {clients} clients failed, see above")
    return times, time.perf_counter() - begin


def _figures(times, seconds):
    """Percentiles in milliseconds, and clips per second."""
    p50, p95, p99 = (1000 * float(np.percentile(times, percent)) for percent in (50, 95, 99))
    return {"p50": p50, "p95": p95, "p99": p99, "rate": len(times) / seconds}


# ----------------------------------------------------------------------------------------------------------- endurance


def soak(address, process, folder, *, minutes):
    """Sends requests and faults, and changes versions, for some minutes.

    Args:
        address: ``HOST:PORT``.
        process: The server.
        folder: The first version; copies of it replace it, one after the other.
        minutes: The duration.

    Returns:
        Counts, and the server's memory over time; ``failures`` counts what must not happen.
    """
    found, stub = clips(3), _stub(address)
    sent, expected = [], []
    for signature in (signatures.DEFAULT, signatures.JPEG):
        made = requests(MODEL, signature, found)
        responses = [_probabilities(stub.Predict(request, timeout=120)) for request in made]
        if min(np.abs(one - other).max() for one, other in itertools.combinations(responses, 2)) < 10 * TOLERANCE:
            raise UserError(f"{signature}: the clips have nearly the same prediction, a wrong one would not be noticed")
        sent += made
        expected += responses
    until = time.monotonic() + 60 * minutes
    counts, problems = collections.Counter(), []

    def good(seed):
        rng, mine = random.Random(seed), _stub(address)
        while time.monotonic() < until:
            which = rng.randrange(len(sent))
            try:
                response = _probabilities(mine.Predict(sent[which], timeout=120))
            except Exception as error:
                problems.append(f"a request failed: {_short(error)}")
                continue
            if response.shape != expected[which].shape or np.abs(response - expected[which]).max() > TOLERANCE:
                problems.append("a wrong response")
            counts["responses"] += 1

    def faulty():
        rng = random.Random(99)
        while time.monotonic() < until:
            counts[f"fault: {_fault(address, sent, rng, problems)}"] += 1
            time.sleep(0.2)

    def change():
        number = int(folder.name)
        while time.monotonic() < until - 10:
            newer = folder.with_name(str(number + 1))
            shutil.copytree(folder.with_name(str(number)), newer.with_name(f".copy-{number + 1}"))
            newer.with_name(f".copy-{number + 1}").rename(newer)
            _wait_for(stub, sent[0], number + 1, until)
            shutil.rmtree(folder.with_name(str(number)))
            number += 1
            counts["versions"] += 1
            time.sleep(5)

    threads = [threading.Thread(target=good, args=(seed,)) for seed in range(3)]
    threads += [threading.Thread(target=faulty), threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    memory = []
    while time.monotonic() < until:
        memory.append(_resident(process.pid))
        time.sleep(min(5, 6 * minutes))
    for thread in threads:
        thread.join()
    if process.poll() is not None:
        problems.append(f"the server ended with status {process.returncode}")
    half = len(memory) // 2  # the first half fills caches and pools
    slope = float(np.polyfit(range(len(memory) - half), memory[half:], 1)[0]) * (len(memory) - half)
    for name, value in sorted(counts.items()):
        print(f"{name:28} {value:8,}")
    print(f"memory {memory[0] / 2**20:.0f} MiB at the start, {memory[half] / 2**20:.0f} half-way, "
          f"{memory[-1] / 2**20:.0f} at the end; over the second half {slope / 2**20:+.1f} MiB")  # fmt: skip
    print(f"wrong responses and failures: {len(problems)}")
    for problem, times in collections.Counter(problems).most_common(5):
        print(f"  {times} x {problem}")
    return {"minutes": minutes, "counts": dict(counts), "failures": len(problems), "memory_bytes": memory}


def _probabilities(response):
    import tensorflow as tf

    return tf.make_ndarray(response.outputs["probabilities"])


def _wait_for(stub, request, version, until):
    """Waits until a version responds."""
    while time.monotonic() < until:
        if stub.Predict(request, timeout=120).model_spec.version.value >= version:
            return
        time.sleep(0.2)


def _fault(address, sent, rng, problems):
    """Sends a wrong request and returns its kind. A response with an unexpected status is a problem."""
    import grpc

    request = type(sent[0])()
    request.CopyFrom(rng.choice(sent))
    kind = rng.choice(("corrupt JPEG", "no such version", "mutated bytes", "missing input", "given up"))
    expected = {"corrupt JPEG": "INVALID_ARGUMENT", "no such version": "NOT_FOUND", "missing input": "INVALID_ARGUMENT"}
    channel = grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)])
    stub = _stub(address)
    timeout = 120
    try:
        if kind == "corrupt JPEG":
            request.CopyFrom(next(other for other in sent if "jpegs" in other.inputs))
            for number in range(len(request.inputs["jpegs"].string_val)):
                request.inputs["jpegs"].string_val[number] = b"\xff\xd8 no picture"
        elif kind == "no such version":
            request.model_spec.version.value = 10**9
        elif kind == "missing input":
            del request.inputs[signatures.POSES]
        elif kind == "given up":
            timeout = 0.01
        if kind == "mutated bytes":
            data = bytearray(request.SerializeToString())
            for _ in range(8):
                data[rng.randrange(min(len(data), 400))] = rng.randrange(256)
            channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(bytes(data), timeout=timeout)
        else:
            stub.Predict(request, timeout=timeout)
            code = "OK"
    except grpc.RpcError as error:
        code = error.code().name
    else:
        code = "OK"
    finally:
        channel.close()
    if kind in expected and code != expected[kind]:
        problems.append(f"{kind} has the status {code}")
    if code in ("UNKNOWN", "UNAVAILABLE"):
        problems.append(f"{kind} has the status {code}")
    return kind


def _short(error):
    code = getattr(error, "code", lambda: type(error).__name__)()
    return f"{code} {re.sub(r'[0-9]+', 'N', str(getattr(error, 'details', lambda: error)()))[:120]}"


def _resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text).group(1)) * 1024


if __name__ == "__main__":
    sys.exit(command_line.run(main))
