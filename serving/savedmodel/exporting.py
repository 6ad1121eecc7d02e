"""Exports a run directory, or published weights, as a version of a served model.

::

    BASE/<model>/<version>/saved_model.pb, variables/
                           or model.xml and model.bin, model.onnx, model.tflite of another format
                           assets/labels.txt, recipe.yaml, inputs.json, environment.json,
                                  evaluation/<protocol>-<split>/metrics.json
                                  or labels.txt, inputs.json, pretrained.json of published weights
                                  runtime.json of another format
                           assets.extra/tf_serving_warmup_requests
                           batching_params.pbtxt    with --batch_sizes

A version is written under a name that is no number, loaded once, compared with the Keras model, and renamed, so that a
server that watches the folder sees the whole version or nothing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

import zoo
from serving.runtimes import converting, int8
from serving.savedmodel import batching_parameters, shared, signatures, versions, warmup
from zoo.shared import files, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from tfrecords.reading.pipeline import Inputs

SAVED_MODEL = "savedmodel"
FORMATS = tuple(versions.MODEL_FILES)
# Files of the run, if it has them.
_COPIED = ("labels.txt", "recipe.yaml", "inputs.json", "environment.json", "calibration.json")
_METRICS = "evaluation/*/metrics.json"
_LOCK = ".export.lock"
# Allowed differences of probabilities, SavedModel against Keras model. GPUs round convolutions to TF32; the mantissa of
# a float16 has 11 bits, that of a bfloat16 has 8.
TOLERANCES: dict[str, float] = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}


class Exportable(Protocol):
    """What an export needs: a :class:`Run`, or a :class:`serving.savedmodel.published.Published`.

    Attributes:
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names, in the order of the softmax.
    """

    inputs: Inputs
    labels: list[str]

    def model(self) -> tf.keras.Model:
        """The ``tf.keras.Model`` with its weights."""

    def write_assets(self, folder: pathlib.Path) -> None:
        """Writes the files that accompany the model into a folder."""


class Run:
    """What an export needs from a run directory.

    Args:
        path: The run directory, as ``recipes/train.py`` leaves it.

    Attributes:
        path: The same, as a ``Path``.
        inputs: The model's inputs, a :class:`tfrecords.reading.pipeline.Inputs`.
        labels: Class names, in the order of the softmax.

    Raises:
        UserError: A file is missing or damaged.
    """

    path: pathlib.Path
    inputs: Inputs
    labels: list[str]

    def __init__(self, path: str | os.PathLike):
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

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            begun = (self.path / "recipe.yaml").is_file()
            what = "finish the training first" if begun else "expected a run directory of recipes/train.py"
            raise UserError(f"{self.path} has no {name}: {what}") from None

    def model(self) -> tf.keras.Model:
        """The trained ``tf.keras.Model``; :class:`~zoo.shared.errors.UserError` if there is none."""
        path = self.path / "model.keras"
        if not path.is_file():
            raise UserError(f"{path}: no such file, finish the training first")
        try:
            return zoo.load_model(path)
        except zoo.ZooError as error:
            raise UserError(str(error)) from error

    def write_assets(self, folder: pathlib.Path) -> None:
        """Copies those files that accompany the model and that the run has."""
        found = [self.path / name for name in _COPIED if (self.path / name).is_file()]
        for file in found + sorted(self.path.glob(_METRICS)):
            target = folder / file.relative_to(self.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def export(
    run: Exportable,
    base: str | os.PathLike,
    *,
    name: str | None = None,
    version: int | None = None,
    batch_sizes: Sequence[int] = (1,),
    precision: str = "float32",
    freeze: bool = False,
    compute: str = "float32",
    new_labels: bool = False,
    form: str = SAVED_MODEL,
    calibrate: str | os.PathLike | None = None,
    protocol: str | None = None,
    share_computation: str | None = None,
) -> tuple[pathlib.Path, float]:
    """Writes a new version of a model.

    Args:
        run: A :class:`Run`, or a :class:`serving.savedmodel.published.Published`.
        base: Folder of all models.
        name: The model's name; default: the method's, such as ``separable_sta``.
        version: The version's number; default: one more than the highest existing one.
        batch_sizes: Numbers of clips that a server may run at once. Every one is warmed up; more than one size, or one
            above 1, makes servers join requests (:mod:`serving.savedmodel.batching_parameters`).
        precision: How weights are stored, see :mod:`serving.savedmodel.freezing`; the computation keeps its precision.
        freeze: Whether weights become constants of a graph that is optimised for a CPU.
        compute: Type that the convolutions of such a graph are computed in, ``float32`` or ``bfloat16``.
        new_labels: Whether the classes may differ from those of the newest existing version. Servers give clients the
            newest version, and a client that knows classes by their numbers would confuse them.
        form: The format, one of :data:`FORMATS`. All but ``savedmodel`` are frozen graphs of the network alone.
        calibrate: Converted dataset to calibrate a network in 8-bit integers with (:mod:`serving.runtimes.int8`);
            default: floats.
        protocol: Protocol of that dataset; default: its first.
        share_computation: Block of I3D up to which windows of a long video share computation
            (:mod:`serving.savedmodel.shared`); default: each window is computed separately.

    Returns:
        ``(folder, difference)``: the new version's folder, and the largest absolute difference between the
        probabilities that the written and the Keras model give for random clips, over all signatures.

    Raises:
        UserError: The version exists already, another export is under way, the run cannot be exported, its classes or
            its format are not those of the newest version, the format cannot hold the network, or the difference is
            above the tolerance, :data:`TOLERANCES`.
    """
    if form != SAVED_MODEL and share_computation:
        raise UserError("--share-computation is for --format savedmodel")
    if form == SAVED_MODEL and compute != "float32" and not freeze:
        raise UserError(f"--compute {compute} is for frozen graphs alone: add --freeze")
    if form != SAVED_MODEL:
        converting.check(form, precision, compute, int8=calibrate is not None)
    elif calibrate is not None:
        raise UserError("--int8 is for --format openvino and litert: TensorFlow computes in floats")
    tolerance = tolerance_of(precision, compute) if calibrate is None else math.inf
    batching_parameters.check(run.inputs, batch_sizes)
    model = run.model()
    name = name or model.name
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UserError(f"--name {name!r}: expected letters, digits, '_', '-' and '.', as in {model.name}")
    _require_same_format(pathlib.Path(base) / name, form)
    if not new_labels:
        _require_same_labels(pathlib.Path(base) / name, run)
    rewriting = {"precision": precision, "compute": compute}
    write = functools.partial(_write_saved_model, freeze=freeze, share_computation=share_computation)
    if form != SAVED_MODEL:
        calibration = None if calibrate is None else int8.of_dataset(calibrate, run.inputs, run.labels, protocol)
        write = functools.partial(converting.write, form=form, calibration=calibration)
    attention = bool(zoo.attention.attention_names(model))
    requests = warmup.requests(name, run.inputs, attention=attention, batch_sizes=sorted(set(batch_sizes)))
    with _only_exporter(pathlib.Path(base) / name) as folder:
        number = _free_version(folder, version)
        with files.whole_folder(folder / str(number)) as unfinished:
            (unfinished / "assets").mkdir()
            write(model, run.inputs, run.labels, unfinished, **rewriting)
            run.write_assets(unfinished / "assets")
            warmup.write(unfinished, requests)
            if set(batch_sizes) != {1}:
                batching_parameters.write(unfinished, batching_parameters.fit(run.inputs, batch_sizes))
            trials = warmup.requests(name, run.inputs, attention=attention, noise=True)
            difference = _difference(unfinished, name, number, model, run.inputs, trials, tolerance, form)
            for path in (unfinished, *unfinished.rglob("*")):
                _open_to_read(path)
    return folder / str(number), difference


def tolerance_of(precision: str, compute: str) -> float:
    """The allowed difference of probabilities: by ``precision`` if ``compute`` is float32, else by ``compute``."""
    return TOLERANCES[precision if compute == "float32" else compute]


@contextlib.contextmanager
def _only_exporter(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes and locks the model's folder, and removes the files that aborted exports left there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"--to {folder}: a file is in the way, expected a folder") from None
    for path in missing:
        _open_to_read(path)
    with files.locked(folder / _LOCK, f"{folder}: another export is writing there, wait until it has ended"):
        files.remove_partial(folder)
        yield folder


def _open_to_read(path: pathlib.Path) -> None:
    """Lets everybody read a file or a folder, whatever the umask: a server may run as another user."""
    path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))


def _free_version(folder: pathlib.Path, version: int | None) -> int:
    """The number of the new version."""
    existing = versions.find(folder)
    free = max(existing, default=0) + 1
    if version in existing:
        raise UserError(f"{existing[version]} exists already, versions are never overwritten: use --version {free}")
    return free if version is None else version


def _require_same_labels(folder: pathlib.Path, run: Exportable) -> None:
    """Raises ``UserError`` if the newest version that states its labels has other labels or another order."""
    stated = [path for path in versions.find(folder).values() if (path / versions.LABELS).is_file()]
    if not stated:
        return
    newest = stated[-1]
    served = (newest / versions.LABELS).read_text(encoding="utf-8").splitlines()
    if served == run.labels:
        return
    gone, added = ([label for label in a if label not in b] for a, b in ((served, run.labels), (run.labels, served)))
    only = [
        f"{messages.first_of(labels)} only {where}" for labels, where in ((gone, "there"), (added, "here")) if labels
    ]
    differences = ", ".join(only) or "in another order"
    raise UserError(
        f"{newest} has other labels than this export ({differences}), and clients of the model {folder.name} "
        "would get the new ones: give another --name, or --new-labels if they may"
    )


def _require_same_format(folder: pathlib.Path, form: str) -> None:
    """Raises ``UserError`` if existing versions have another format: a server loads versions of one format only."""
    for path in versions.find(folder).values():
        other = versions.format_of(path)
        if other not in (form, None):
            raise UserError(
                f"{path} has the format {other}, and the versions of one model share theirs: "
                f"give another --to, or --name {folder.name}_{form}"
            )


def _write_saved_model(
    model: tf.keras.Model,
    inputs: Inputs,
    labels: Sequence[str],
    folder: pathlib.Path,
    share_computation: str | None,
    **rewriting: Any,
) -> None:
    import tensorflow as tf

    module, functions = signatures.build(model, inputs, labels, **rewriting)
    if share_computation:
        functions.update(shared.functions(model, inputs, labels, share_computation, **rewriting))
        module.network_variables = signatures.variables(functions)
    try:
        tf.saved_model.save(module, os.fspath(folder), signatures=functions)
    except tf.errors.OpError as error:  # such as a full disk, which is no OSError in TensorFlow
        raise UserError(f"cannot write the SavedModel to {folder.parent}: {error.message.splitlines()[0]}") from error


def _difference(
    folder: pathlib.Path,
    name: str,
    version: int,
    model: tf.keras.Model,
    inputs: Inputs,
    requests: Sequence[predict_pb2.PredictRequest],
    tolerance: float,
    form: str,
) -> float:
    """Loads the written version as a server does; its largest difference to the Keras model, if within tolerance."""
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
    if shared.offered(servable):
        differences.append(shared.difference(servable, inputs, model))
    if not max(differences) <= tolerance:  # not (a > b): NaN must not pass
        raise UserError(
            f"what was written as {form} differs from the model by {max(differences):.2g} (tolerance {tolerance:g}): "
            "nothing was exported; if --precision or --compute was given, try a higher one"
        )
    return max(differences)
