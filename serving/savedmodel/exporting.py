"""Exports a trained run as a SavedModel that TF-Serving can serve.

``python -m serving.export --run RUN --to BASE [--name NAME] [--version N] [--batch_sizes 1 2 4] [--precision bfloat16]
[--freeze] [--compute bfloat16]``

::

    BASE/<model>/<version>/saved_model.pb, variables/
                           assets/labels.txt, recipe.yaml, inputs.json, environment.json,
                                  evaluation/<protocol>-<split>/metrics.json
                           assets.extra/tf_serving_warmup_requests
                           batching_params.pbtxt    with --batch_sizes

A version is written under a name that is no number, loaded once and asked its warm-up requests, and renamed: a server
that watches the folder sees all of it or nothing.
"""

import argparse
import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile

import numpy as np

import zoo
from serving.savedmodel import batching_parameters, freezing, signatures, versions, warmup
from tfrecords import manifest
from zoo.shared import command_line
from zoo.shared.errors import UserError

LABELS = "assets/labels.txt"
_COPIED = ("labels.txt", "recipe.yaml", "inputs.json", "environment.json")  # of the run, where it has them
_METRICS = "evaluation/*/metrics.json"
_LOCK = ".export.lock"
_UNFINISHED = ".export-"  # prefix of a version under construction
# Of probabilities, SavedModel against Keras model. GPUs round convolutions to TF32; a float16's mantissa has 11 bits,
# that of a bfloat16 8.
TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}


class Run:
    """What an export needs of a run directory.

    Args:
        path: The run directory, as ``recipes/train.py`` leaves it.

    Attributes:
        path: The same, as a ``Path``.
        inputs: What the model is fed, a :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names, in the order of the softmax.

    Raises:
        UserError: A file is missing or damaged.
    """

    def __init__(self, path):
        from tfrecords.reading.pipeline import Inputs

        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such folder, expected a run directory of recipes/train.py")
        try:
            self.inputs = Inputs.from_dict(json.loads(self._read("inputs.json")))
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"{self.path / 'inputs.json'} is damaged: {error}; train again") from error
        self.labels = self._read("labels.txt").splitlines()
        repeated = sorted({label for label in self.labels if self.labels.count(label) > 1})
        if repeated or "" in self.labels:
            wrong = f"{', '.join(repeated)} is repeated" if repeated else "a line is empty"
            raise UserError(f"{self.path / 'labels.txt'}: {wrong}, expected one class per line, each once")

    def _read(self, name):
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(
                f"{self.path} has no {name}, expected a run directory of recipes/train.py: finish the training first"
            ) from None

    def model(self):
        """The trained ``tf.keras.Model``; :class:`~zoo.shared.errors.UserError` if there is none."""
        try:
            return zoo.load_model(self.path / "model.keras")
        except zoo.ZooError as error:
            raise UserError(f"{error}; finish the training first") from error


def export(
    run, base, *, name=None, version=None, batch_sizes=(1,), precision="float32", freeze=False, compute="float32"
):
    """Writes a new version of a model.

    Args:
        run: A :class:`Run`.
        base: Folder of all models.
        name: The model's name; default: the method's, such as ``separable_sta``.
        version: The version's number; default: one more than the highest there is.
        batch_sizes: Numbers of clips a server may answer at once. Every one is warmed up; more than one size, or one
            above 1, makes servers put requests together (:mod:`serving.savedmodel.batching_parameters`).
        precision: How weights are stored, see :mod:`serving.savedmodel.freezing`; all is computed as the model computes
            it.
        freeze: Whether weights become constants of a graph made ready for a CPU.
        compute: What the convolutions of such a graph are computed in, ``float32`` or ``bfloat16``.

    Returns:
        ``(folder, difference)``: the new version's folder, and the largest absolute difference between the
        probabilities that the SavedModel and the Keras model give for random clips, asked through every signature.

    Raises:
        UserError: The version exists already, another export is under way, the run cannot be exported, or the
            difference is above the tolerance, :data:`TOLERANCES`.
    """
    if compute != "float32" and not freeze:
        raise UserError(f"--compute {compute} is for frozen graphs alone: add --freeze")
    tolerance = _tolerance(precision, compute)
    batching_parameters.check(run.inputs, batch_sizes)
    model = run.model()
    name = name or model.name
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UserError(f"--name {name!r}: expected letters, digits, '_', '-' and '.', as in {model.name}")
    module, functions = signatures.build(
        model, run.inputs, run.labels, precision=precision, freeze=freeze, compute=compute
    )
    attention = bool(zoo.attention.attention_names(model))
    requests = warmup.requests(name, run.inputs, attention=attention, batch_sizes=sorted(set(batch_sizes)))
    with _only_exporter(pathlib.Path(base) / name) as folder:
        existing = versions.find(folder)
        version = max(existing, default=0) + 1 if version is None else version
        if version in existing:
            free = max(existing) + 1
            raise UserError(f"{existing[version]} exists already, versions are never overwritten: use --version {free}")
        unfinished = pathlib.Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        try:
            _save(module, functions, unfinished)
            _copy_assets(run.path, unfinished / "assets")
            warmup.write(unfinished, requests)
            if set(batch_sizes) != {1}:
                batching_parameters.write(unfinished, batching_parameters.fit(run.inputs, batch_sizes))
            trials = warmup.requests(name, run.inputs, attention=attention, noise=True)
            difference = _check(unfinished, name, version, model, run.inputs, trials, tolerance)
            _sync(unfinished)
            unfinished.chmod(0o755)  # mkdtemp's 0700 would keep a server of another user out
            unfinished.rename(folder / str(version))
            manifest.sync_folder(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    return folder / str(version), difference


@contextlib.contextmanager
def _only_exporter(folder):
    """The model's folder, created, for this process alone; what exports that were killed left there is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--to {folder}: a file is in the way, expected a folder") from None
    with open(folder / _LOCK, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another export is writing there, wait until it has ended") from None
        for abandoned in folder.glob(_UNFINISHED + "*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        yield folder


def _save(module, functions, folder):
    import tensorflow as tf

    try:
        tf.saved_model.save(module, os.fspath(folder), signatures=functions)
    except tf.errors.OpError as error:  # such as a full disk, which is no OSError in TensorFlow
        raise UserError(f"cannot write the SavedModel to {folder.parent}: {error.message.splitlines()[0]}") from error


def _copy_assets(run, assets):
    assets.mkdir(exist_ok=True)
    files = [run / name for name in _COPIED if (run / name).is_file()] + sorted(run.glob(_METRICS))
    for file in files:
        target = assets / file.relative_to(run)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _check(folder, name, version, model, inputs, requests, tolerance):
    """Loads what was written as a server does; the largest difference to the Keras model."""
    import tensorflow as tf

    from serving.savedmodel.servable import Servable, request_tensors

    servable = Servable(name, version, folder)  # replays the warm-up requests
    differences = []
    for request in requests:
        signature = request.model_spec.signature_name
        tensors = request_tensors(request, servable.signature_def(signature))
        expected = model(signatures.features(signature, inputs, tensors), training=False).numpy()
        served = tf.make_ndarray(servable.predict(request).outputs["probabilities"])
        differences.append(float(np.abs(served - expected).max()))
    if not max(differences) <= tolerance:  # not (a > b): NaN must not pass
        raise UserError(
            f"the SavedModel differs from the model by {max(differences):.2g} (tolerance {tolerance:g}): nothing was "
            "exported; if --precision or --compute was given, try a higher one"
        )
    return max(differences)


def _tolerance(precision, compute):
    """How much probabilities may differ: what is computed in few bits decides, else what is stored."""
    return TOLERANCES[precision if compute == "float32" else compute]


def _sync(folder):
    """Makes a folder's contents durable, so that a power cut after the rename leaves no empty files."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        else:
            manifest.sync_folder(path)
    manifest.sync_folder(folder)


def _version(text):
    """A version number, for ``argparse``."""
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no version, expected a whole number from 1")
    return int(text)


def _batch_size(text):
    """A number of clips, for ``argparse``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no batch size, expected a whole number from 1")
    return int(text)


def main(argv=None):
    """The command line."""
    parser = command_line.ArgumentParser(
        prog="python -m serving.export", description="Export a trained run as a SavedModel for TF-Serving."
    )
    parser.add_argument("--run", required=True, help="run directory of recipes/train.py")
    parser.add_argument("--to", required=True, metavar="BASE", help="folder of all models")
    parser.add_argument("--name", help="name of the model; default: the method's")
    parser.add_argument("--version", type=_version, metavar="N", help="version; default: the next")
    parser.add_argument(
        "--batch_sizes",
        type=_batch_size,
        nargs="+",
        default=[1],
        metavar="B",
        help="numbers of clips a server may put together",
    )
    parser.add_argument("--precision", choices=freezing.PRECISIONS, default="float32", help="how weights are stored")
    parser.add_argument("--freeze", action="store_true", help="make weights constants, the graph ready for a CPU")
    parser.add_argument(
        "--compute", choices=freezing.COMPUTED, default="float32", help="of a frozen graph's convolutions"
    )
    arguments = parser.parse_args(argv)
    run = Run(arguments.run)
    folder, difference = export(
        run,
        arguments.to,
        name=arguments.name,
        version=arguments.version,
        batch_sizes=arguments.batch_sizes,
        precision=arguments.precision,
        freeze=arguments.freeze,
        compute=arguments.compute,
    )
    offered = {request.model_spec.signature_name: None for request in warmup.read(folder)}  # in their order
    tolerance = _tolerance(arguments.precision, arguments.compute)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"exported {folder} ({size / 1e6:.1f} MB, signatures {', '.join(offered)})")
    print(f"largest difference of probabilities to the Keras model: {difference:.2g} (tolerance {tolerance:g})")
    print(f"serve it: python -m serving.server --model_base_path {folder.parent} --model_name {folder.parent.name}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
