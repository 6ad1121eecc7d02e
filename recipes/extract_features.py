"""Writes a trained network's features of clips' segments: ``python recipes/extract_features.py --run RUN --out DIR``.

The result is a converted dataset of the same clips in the same split groups, with features instead of pictures:
``temporal`` is trained on it (docs/temporal.md). After an interruption, the same command continues the work.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import storage
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from recipes.run_directory import RunDirectory
    from tfrecords.reading.pipeline import Inputs, Records

PRECISIONS = ("float32", "bfloat16", "float16")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="extract_features.py", description="Write features of clips' segments.")
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--run", type=pathlib.Path, metavar="DIR", help="run directory of train.py")
    network.add_argument("--model", type=pathlib.Path, metavar="FILE", help="a model saved as .keras")
    parser.add_argument("--data", type=storage.location, metavar="DIR", help="converted dataset (default: the run's)")
    parser.add_argument("--out", type=storage.folder, required=True, metavar="DIR", help="folder to write")
    cuts = "numbers of segments a clip is cut into"
    parser.add_argument("--granularities", default="2,3,4", metavar="G[,G]", help=cuts)
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="batch size, in segments")
    parser.add_argument("--mixed-precision", choices=PRECISIONS, default="float32", help="what the network computes in")
    parser.add_argument("--keep-pictures", action="store_true", help="store the pictures too, as training global needs")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    if arguments.batch < 1:
        raise UserError(f"--batch {arguments.batch}: expected at least 1")
    if arguments.model and not arguments.data:
        raise UserError("--data is missing: expected the converted dataset that --model reads")
    found, written = extract(
        arguments.out,
        run=arguments.run,
        model=arguments.model,
        data=arguments.data,
        granularities=_granularities(arguments.granularities),
        batch=arguments.batch,
        precision=arguments.mixed_precision,
        keep_pictures=arguments.keep_pictures,
    )
    clips, size = found["counts"]["clips"], found["features"]["size"]
    done = "" if written else "already complete: "
    print(f"{done}{clips} clips, {size} values for each of {arguments.granularities} segments: {arguments.out}")
    return 0


def _granularities(text: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 2 or len(set(numbers)) < len(numbers):
        raise UserError(f"--granularities {text}: expected numbers from 2, each once, such as 2,3,4")
    return sorted(numbers)


def extract(
    out: str | os.PathLike,
    *,
    run: str | os.PathLike | None = None,
    model: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
    granularities: Sequence[int] = (2, 3, 4),
    batch: int = 16,
    precision: str = "float32",
    keep_pictures: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Writes a dataset of features, or goes on where an earlier call was stopped.

    Args:
        out: Folder to write.
        run: Run directory whose model is used; alternatively, give ``model``.
        model: A model's ``.keras`` file. If it is in a run directory, the run states the model's inputs; else they
            follow from the shapes that the model expects. The protocol of a run's features is also found from a
            file in one of its folders, the model of a stage.
        data: Folder of the converted dataset; default: that of the run.
        granularities: Numbers of segments, ascending.
        batch: Segments that the network sees at once.
        precision: What the network computes in, one of :data:`PRECISIONS`; features are float32.
        keep_pictures: Store the pictures too.

    Returns:
        ``(manifest, written)`` as :func:`tfrecords.converting.writer.convert`.

    Raises:
        UserError: The network does not see video, does not fit the data, or the folder holds something else.
    """
    import zoo
    from recipes import run_directory
    from recipes.reports import reported
    from tfrecords.converting import writer
    from tfrecords.reading import pipeline
    from zoo.models.temporal import segment_features

    protocol = None
    try:
        if run is not None:
            trained = run_directory.RunDirectory(run)
            records = pipeline.Records(data or trained.environment["data"]["path"])
            if records.dataset != trained.recipe.data.dataset:
                raise UserError(f"{records.directory} holds {records.dataset}, but {run} was trained on other data")
            network, inputs = segment_features(trained.model()), trained.inputs
            protocol = _trained_under(trained, network)
        else:
            if model is None or data is None:
                raise ValueError("expected a run, or a model and data")
            network = segment_features(zoo.load_model(model))
            records = pipeline.Records(data)
            owner = reported.run_of(str(model))  # of the run's model, or of the model of a stage in one of its folders
            beside = owner if owner is not None and owner.path == pathlib.Path(model).parent else None
            inputs = beside.inputs if beside is not None else _inputs_of(network, records)
            if owner is not None and owner.recipe.data.dataset == records.dataset:
                protocol = _trained_under(owner, network)
    except zoo.ZooError as error:
        raise UserError(str(error)) from None
    records.check_stored(inputs)
    options = {
        "features_model": network.name[: -len("_features")],
        "features_sha256": _hash(network),
        "features_inputs": inputs.to_dict(),
        "features_granularities": granularities,
        "features_precision": precision,
        "features_keep_pictures": keep_pictures,
    }
    size = network.output_shape[-1]
    changes = {
        "parts": list(records.parts) if keep_pictures else [],
        "features": {"granularities": list(granularities), "size": size, "trained_under": protocol},
    }
    compute = _compiled(network, precision)

    def encode(file: str) -> Iterator[bytes]:
        return _records(records.directory / file, compute, inputs, tuple(granularities), batch, keep_pictures)

    def progress(total: int) -> Any:
        return command_line.progress(total, f"features of {records.dataset}")

    return writer.rewrite(records.manifest, out, encode, options=options, changes=changes, progress=progress)


def _trained_under(run: RunDirectory, network: tf.keras.Model) -> str | None:
    """The protocol under which a run's feature network was trained; ``None``: on no clip of this dataset."""
    from recipes.trainers import models

    first, *others = run.recipe.stages
    frozen = {layer.name for layer in models.matching(network, first.freeze)}
    all_frozen = all(layer.name in frozen for layer in network.layers if layer.weights)
    return None if all_frozen and not others and not first.init else run.recipe.data.protocol


def _inputs_of(model: tf.keras.Model, records: Records) -> Inputs:
    """The inputs of a model without a run directory, from their shapes; poses get the default normalisation."""
    from tfrecords.reading import pipeline
    from zoo import skeletons

    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in model.input.items()}
    parts = skeletons.parts_of(shapes)
    frames, size = shapes[skeletons.input_name(parts[0])][:2] if parts else (0, 1)
    steps, persons = shapes["pose"][:2] if "pose" in shapes else (0, 1)
    layout = records.layout if steps else ""
    inputs = pipeline.Inputs(
        frames=frames,
        stride=1,
        size=size,
        parts=parts or ("full_body",),
        pose_steps=steps,
        persons=persons,
        layout=layout,
    )
    if steps and inputs.joints != shapes["pose"][2]:
        expected = f"{inputs.joints} joints ({layout})"
        raise UserError(f"{records.directory} has poses of {expected}, {model.name} expects {shapes['pose'][2]}")
    return inputs


def _hash(model: tf.keras.Model) -> str:
    """SHA-256 of a model's weights."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    return digest.hexdigest()


def _compiled(model: tf.keras.Model, precision: str) -> Callable:
    """A function from a batch of segments to their features, float32."""
    import tensorflow as tf

    if precision != "float32":
        model = _in_precision(model, f"mixed_{precision}")
    specs = {name: tf.TensorSpec(tensor.shape, tf.float32, name=name) for name, tensor in model.input.items()}
    return tf.function(lambda batch: tf.cast(model(batch, training=False), tf.float32), input_signature=[specs])


def _in_precision(model: tf.keras.Model, policy: str) -> tf.keras.Model:
    """The model in another precision than float32, which saved models have."""
    import tensorflow as tf

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if hasattr(layer, "layers"):
            return _in_precision(layer, policy)
        return layer.__class__.from_config({**layer.get_config(), "dtype": policy})

    cloned = tf.keras.models.clone_model(model, clone_function=clone)
    cloned.set_weights(model.get_weights())
    return cloned


def _records(
    path: pathlib.Path | storage.Remote,
    compute: Callable,
    inputs: Inputs,
    granularities: tuple[int, ...],
    batch: int,
    keep_pictures: bool,
) -> Iterator[bytes]:
    """The records of a shard with features."""
    import numpy as np
    import tensorflow as tf

    from tfrecords import inspect, schema
    from tfrecords.reading import pipeline

    batches = pipeline.segments(path, inputs, granularities).batch(batch).prefetch(2)
    rows = (row for features in batches for row in compute(features).numpy())
    try:
        for clip in inspect.records(path):
            features = {g: np.stack(list(itertools.islice(rows, g))) for g in granularities}  # G -> [G, D]
            if not all(np.isfinite(values).all() for values in features.values()):
                raise UserError(f"{path}: clip {clip.info.id} has features that are not finite: use float32")
            images = clip.images if keep_pictures else {}
            yield schema.encode(dataclasses.replace(clip, images=images, features=features))
    except tf.errors.ResourceExhaustedError:
        raise UserError(f"no memory left for {batch} segments at once: give a smaller --batch") from None
    except tf.errors.OpError as error:
        reason = messages.one_line(error.message)
        raise UserError(f"{path}: a clip cannot be read ({reason}): convert the dataset again") from None


if __name__ == "__main__":
    sys.exit(command_line.run(main))
