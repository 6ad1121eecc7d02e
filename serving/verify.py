"""Compares a server's predictions with those of the trained Keras model.

``python -m serving.verify --run RUN --data DATA --server HOST:PORT --model NAME --clips N``

The same test clips are read by the evaluation's reader for the Keras model in this process, and sent to the server as
records. The largest difference of the probabilities is printed; above the tolerance the command fails. The two graphs
are optimised differently, so float32 results agree to rounding, not bit by bit.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import yaml

from serving.client import Client, read_records
from serving.savedmodel.exporting import Run
from zoo.shared import command_line
from zoo.shared.command_line import positive
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.reading.records import Records
    from tfrecords.schema import Clip

TOLERANCE = 1e-5  # of probabilities, float32 on a CPU
DIFFERENT = 1  # exit status


def local_probabilities(run: Run, records: Records, protocol: str, split: str, clips: int) -> np.ndarray:
    """Probabilities of the first clips of a split, by the Keras model.

    Args:
        run: A :class:`serving.export.Run`.
        records: A :class:`tfrecords.reading.pipeline.Records`.
        protocol: One of its protocols.
        split: ``train``, ``val`` or ``test``.
        clips: Number of clips.

    Returns:
        ``[clips, C]`` float32.
    """
    from tfrecords.reading import pipeline

    model = run.model()
    data = pipeline.evaluation(records, protocol, split, run.inputs, batch=1, clips=1).take(clips)
    return np.concatenate([model.predict_on_batch(features) for features, _, _ in data])


def served_probabilities(client: Client, clips: Iterable[Clip], labels: Sequence[str]) -> np.ndarray:
    """Probabilities of clips, by the server.

    Args:
        client: A :class:`serving.client.Client`.
        clips: :class:`tfrecords.schema.Clip` of each.
        labels: The C class names, in the order of the columns.

    Returns:
        ``[clips, C]`` float32.

    Raises:
        UserError: The server has other classes.
    """
    rows = []
    for clip in clips:
        prediction = client.predict_clip(clip)
        if sorted(prediction.labels) != sorted(labels):
            raise UserError(
                f"{client.model} at {client.address} has other classes than the run: is it this run's export?"
            )
        of_label = dict(zip(prediction.labels, prediction.probabilities))
        rows.append([of_label[label] for label in labels])
    return np.array(rows, np.float32)


def _protocol(run: Run) -> str:
    """The protocol the run was trained on."""
    try:
        return yaml.safe_load((run.path / "recipe.yaml").read_text(encoding="utf-8"))["data"]["protocol"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        raise UserError(f"{run.path / 'recipe.yaml'} names no data.protocol: give --protocol") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command_line.quiet_tensorflow()
    parser = command_line.ArgumentParser(
        prog="python -m serving.verify", description="Compare a server's predictions with the Keras model's."
    )
    parser.add_argument("--run", required=True, help="run directory the served model was exported from")
    parser.add_argument("--data", required=True, help="converted dataset")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="address of the server")
    parser.add_argument("--model", required=True, metavar="NAME", help="name of the model")
    parser.add_argument(
        "--clips",
        type=positive(int),
        default=8,
        metavar="N",
        help="number of clips to compare, from the start of the split",
    )
    parser.add_argument("--protocol", help="evaluation protocol; default: the run's")
    parser.add_argument("--split", default="test", help="split of the protocol")
    parser.add_argument("--tolerance", type=positive(float), default=TOLERANCE, help="largest difference allowed")
    arguments = parser.parse_args(argv)
    from tfrecords.reading import pipeline

    run = Run(arguments.run)
    records = pipeline.Records(arguments.data)
    protocol = arguments.protocol or _protocol(run)
    records.check(run.inputs, protocol, arguments.split)
    ids = pipeline.clip_ids(records, protocol, arguments.split)[: arguments.clips]
    with Client(arguments.server, arguments.model) as client:
        served = served_probabilities(client, read_records(records.directory, ids), run.labels)
    local = local_probabilities(run, records, protocol, arguments.split, len(ids))
    difference = float(np.abs(served - local).max())
    agree = int((served.argmax(axis=1) == local.argmax(axis=1)).sum())
    print(f"{len(ids)} clips of {protocol} {arguments.split}: the same class for {agree}")
    print(f"largest difference of probabilities: {difference:.3g} (tolerance {arguments.tolerance:g})")
    return 0 if difference <= arguments.tolerance else DIFFERENT


if __name__ == "__main__":
    sys.exit(command_line.run(main))
