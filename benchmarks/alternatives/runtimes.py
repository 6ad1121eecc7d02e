"""The frameworks that `benchmarks/inference.py` compares, each in a process of its own.

A process reads requests as lines of JSON and writes one line for each. Between turns it sleeps, so that thread pools do
not disturb each other. Every framework gets a batch in its own kind of tensor, made beforehand from the same
channels-last array, and returns probabilities as a NumPy array. Every framework uses all cores.
"""

import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import warnings
from importlib import metadata

import numpy as np

from benchmarks.alternatives.cases import NUM_CLASSES, Case
from zoo.shared import command_line

CORES = len(os.sched_getaffinity(0))
PRODUCT = 4096  # rows and columns of the matrices whose product measures the machine's peak
SAVED_MODEL = "saved_model"
ONNX = "model.onnx"
PYTORCH = "pytorch.npz"


class TensorFlow:
    """The zoo's model: as Keras runs it, and as it is exported."""

    needs = ("tensorflow",)
    versions = ("tensorflow", "keras")

    def __init__(self):
        command_line.quiet_tensorflow()
        self._models = {}

    def variants(self, case, tuning):
        """Ways to run a case; with ``tuning`` also those that are known to gain nothing."""
        more = ["saved_model", "xla"] if tuning and case.precision == "float32" else []
        return [*(["keras"] if tuning or case.batch == 1 else []), "frozen", *more]

    def make(self, case):
        """Writes a case's model for all frameworks, and its probabilities; returns multiply-accumulates of a clip."""
        import tensorflow as tf

        from zoo import complexity

        model = self._model(case, "float32")
        expected = model({name: tf.constant(batch) for name, batch in case.clips().items()}, training=False).numpy()
        case.files.mkdir(exist_ok=True)
        np.save(case.expected, expected)
        if not (case.files / SAVED_MODEL).exists():
            self._export(case, model)
        return {"macs": complexity.multiply_accumulates(model), "largest_probability": float(expected.max())}

    def _model(self, case, precision):
        """The model of a case, with weights that are the same in every process."""
        import tensorflow as tf

        import zoo

        key = case.files, precision
        if key not in self._models:
            self._models = {}  # one at a time
            tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
            model = zoo.build(case.model, num_classes=NUM_CLASSES, frames=case.frames, size=case.size)
            tf.keras.mixed_precision.set_global_policy("float32")
            give_weights(model)
            self._models[key] = model
        return self._models[key]

    def _export(self, case, model):
        import tensorflow as tf

        function = tf.function(lambda **fed: {"probabilities": model(fed, training=False)})
        specs = {name: tf.TensorSpec([None, *shape], tf.float32, name) for name, shape in case.shapes().items()}
        signatures = function.get_concrete_function(**specs)
        module = tf.Module()
        module.network_variables = model.variables  # variables only: saving the model would trace every layer again
        tf.saved_model.save(module, os.fspath(case.files / SAVED_MODEL), signatures=signatures)
        if case.model == "i3d" and importlib.util.find_spec("torch"):
            from benchmarks.alternatives import i3d_pytorch

            np.savez(case.files / PYTORCH, **i3d_pytorch.weights_of(model))
        if importlib.util.find_spec("tf2onnx"):
            command = [sys.executable, "-m", "tf2onnx.convert", "--opset", "17"]
            command += ["--saved-model", os.fspath(case.files / SAVED_MODEL), "--output", os.fspath(case.files / ONNX)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def prepare(self, case, variant):
        """A function that computes a case."""
        import tensorflow as tf

        from serving.savedmodel import freezing

        fed = {name: tf.constant(batch) for name, batch in case.clips().items()}
        if variant == "saved_model":
            loaded = tf.saved_model.load(os.fspath(case.files / SAVED_MODEL))
            call = loaded.signatures["serving_default"]
            return lambda loaded=loaded: call(**fed)["probabilities"].numpy()
        model = self._model(case, case.precision if variant != "frozen" else "float32")
        specs = {name: tf.TensorSpec([None, *shape], tf.float32, name) for name, shape in case.shapes().items()}
        function = tf.function(
            lambda fed: {"probabilities": model(fed, training=False)},
            input_signature=[specs] if variant != "xla" else None,
            jit_compile=variant == "xla",
        )
        if variant == "frozen":
            function = freezing.rewrite(function.get_concrete_function(), freeze=True, compute=case.precision)
        return lambda: function(fed)["probabilities"].numpy()

    def product(self, precision):
        """A function that multiplies two matrices."""
        import tensorflow as tf

        a = tf.cast(tf.random.normal((PRODUCT, PRODUCT)), precision)
        multiply = tf.function(lambda: tf.linalg.matmul(a, a)[0, 0])
        return lambda: multiply().numpy()


class TensorFlowOneInterOp(TensorFlow):
    """TensorFlow with one operation at a time, each on all cores."""

    def __init__(self):
        super().__init__()
        import tensorflow as tf

        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.threading.set_intra_op_parallelism_threads(CORES)

    def variants(self, case, tuning):
        """The fastest way with this setting."""
        return ["frozen"] if tuning else []


class PyTorch:
    """The same I3D in PyTorch: channels last, batch normalisation folded, no gradients."""

    needs = ("torch",)
    versions = ("torch",)

    def variants(self, case, tuning):
        """Ways to run a case."""
        if case.model != "i3d":
            return []
        best = "compile" if shutil.which("c++") else "eager"  # eager needs no compiler
        return ["eager", "jit_freeze", "compile"] if tuning and best == "compile" else [best]

    def prepare(self, case, variant):
        """A function that computes a case."""
        import torch

        from benchmarks.alternatives import i3d_pytorch

        warnings.simplefilter("ignore")  # torch.jit warns that it is deprecated and that it traces sizes
        dtype = getattr(torch, case.precision)
        with np.load(case.files / PYTORCH) as weights:
            network = i3d_pytorch.network(dict(weights))
        if variant != "compile":  # the compiler folds them itself
            network = i3d_pytorch.folded(network)
        network = network.to(dtype).to(memory_format=torch.channels_last_3d)
        x = torch.from_numpy(case.clips()["rgb"]).permute(0, 4, 1, 2, 3)  # channels last in memory
        with torch.inference_mode():
            if variant == "jit_freeze":
                network = torch.jit.freeze(torch.jit.trace(network, x.to(dtype)))
                # optimize_for_inference has no kernels for bfloat16.
                network = torch.jit.optimize_for_inference(network) if dtype == torch.float32 else network
            if variant == "compile":
                import torch._inductor.config

                torch._inductor.config.freezing = True
                torch._dynamo.reset()
                network = torch.compile(network)

        def run():
            with torch.inference_mode():
                return network(x.to(dtype)).numpy()

        return run

    def product(self, precision):
        """A function that multiplies two matrices."""
        import torch

        a = torch.randn(PRODUCT, PRODUCT).to(getattr(torch, precision))
        return lambda: torch.matmul(a, a)


class OnnxRuntime:
    """The exported model in ONNX Runtime, all optimisations of graphs switched on."""

    needs = ("onnxruntime", "tf2onnx")
    versions = ("onnxruntime", "onnx", "tf2onnx")

    def variants(self, case, tuning):
        """Ways to run a case, in float32 only: the CPU provider has no convolution in bfloat16."""
        return ["default"] if case.precision == "float32" else []

    def prepare(self, case, variant):
        """A function that computes a case."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.intra_op_num_threads = CORES
        path = os.fspath(case.files / ONNX)
        for given in onnxruntime.InferenceSession(path).get_inputs():
            options.add_free_dimension_override_by_name(given.shape[0], case.batch)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        fed = {name: onnxruntime.OrtValue.ortvalue_from_numpy(batch) for name, batch in case.clips().items()}
        names = [output.name for output in session.get_outputs()]
        return lambda: session.run_with_ort_values(names, fed)[0].numpy()


class OpenVINO:
    """The exported model in OpenVINO, tuned for latency, its inputs of a fixed shape."""

    needs = ("openvino",)
    versions = ("openvino",)

    def variants(self, case, tuning):
        """Ways to run a case."""
        return ["default"]

    def prepare(self, case, variant):
        """A function that computes a case."""
        from serving.runtimes import openvino as guarded

        openvino = guarded.library()  # imported directly, OpenVINO would send telemetry
        model = openvino.convert_model(os.fspath(case.files / SAVED_MODEL))
        model.reshape({name: (case.batch, *shape) for name, shape in case.shapes().items()})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": CORES,
            "INFERENCE_PRECISION_HINT": "f32" if case.precision == "float32" else "bf16",
        }
        request = openvino.compile_model(model, "CPU", settings).create_infer_request()
        for name, batch in case.clips().items():
            request.set_tensor(name, openvino.Tensor(batch))

        def run():
            request.infer()
            return request.get_output_tensor(0).data.copy()

        return run


class NumPy:
    """Measures the machine's peak only."""

    needs = versions = ("numpy",)

    def variants(self, case, tuning):
        """None."""
        return []

    def product(self, precision):
        """A function that multiplies two matrices; none in bfloat16."""
        if precision != "float32":
            return None
        a = np.random.default_rng(0).normal(size=(PRODUCT, PRODUCT)).astype("float32")
        return lambda: a @ a


RUNTIMES = {
    "tensorflow": TensorFlow,
    "tensorflow_inter_op_1": TensorFlowOneInterOp,
    "pytorch": PyTorch,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVINO,
    "numpy": NumPy,
}


def give_weights(model):
    """Random weights with which signals neither fade nor grow from layer to layer, so that the outputs differ."""
    rng = np.random.default_rng(0)
    values = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "moving_variance" in (getattr(weight, "path", None) or weight.name):
            values.append(rng.uniform(0.5, 1.5, shape))
        elif len(shape) < 2:
            values.append(rng.normal(size=shape) * 0.1)
        else:
            values.append(rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1])))  # He et al., ICCV 2015
    model.set_weights(values)


class Process:
    """A framework in a process of its own.

    Args:
        name: One of :data:`RUNTIMES`.
    """

    def __init__(self, name):
        self.name = name
        root = pathlib.Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "benchmarks.alternatives.runtimes", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
        self.missing = self.call("missing")

    def call(self, do, **arguments):
        """Result of a method in the process; :class:`RuntimeError` if it fails."""
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        response = json.loads(line) if line else {"error": "the process ended, see above (out of memory?)"}
        if "error" in response:
            raise RuntimeError(f"{self.name}: {do}: {response['error']}")
        return response["result"]

    def end(self):
        """Ends it."""
        self._process.stdin.close()
        self._process.wait()


class _Served:
    """The methods of a process."""

    def __init__(self, name):
        self._kind = RUNTIMES[name]
        self._runtime = None
        self._run = {}

    def missing(self):
        """The first package that the framework needs and that is not installed."""
        missing = next((name for name in self._kind.needs if not importlib.util.find_spec(name)), None)
        if not missing:
            self._runtime = self._kind()
        return missing

    def versions(self):
        """Package -> version."""
        return {name: metadata.version(name) for name in self._kind.versions}

    def variants(self, case, tuning):
        """Ways to run a case."""
        return self._runtime.variants(Case(**case), tuning)

    def make(self, case):
        """Writes a case's model for all frameworks."""
        return self._runtime.make(Case(**case))

    def prepare(self, case, variant):
        """Prepares a contender; returns its largest error of probabilities, and the seconds until the first result."""
        case = Case(**case)
        start = time.perf_counter()
        run = self._runtime.prepare(case, variant)
        result = run()
        seconds = time.perf_counter() - start
        run()
        self._run[variant] = run
        return {"difference": float(np.abs(result - np.load(case.expected)).max()), "ready_s": seconds}

    def time(self, variant):
        """Seconds of one run."""
        start = time.perf_counter()
        self._run[variant]()
        return time.perf_counter() - start

    def release(self):
        """Forgets all contenders."""
        self._run.clear()

    def product(self, precision, repetitions):
        """GFLOP/s of a product of two matrices: the fastest of some repetitions; None if there is none."""
        multiply = getattr(self._runtime, "product", lambda precision: None)(precision)
        if multiply is None:
            return None
        multiply()
        seconds = []
        for _ in range(repetitions):
            start = time.perf_counter()
            multiply()
            seconds.append(time.perf_counter() - start)
        return 2 * PRODUCT**3 / min(seconds) / 1e9


def _serve(name):
    """Handles requests until there are no more."""
    responses = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print must not mix with responses
    served = _Served(name)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            response = {"result": getattr(served, request.pop("do"))(**request)}
        except Exception as error:
            response = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
        responses.write(json.dumps(response) + "\n")
        responses.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
