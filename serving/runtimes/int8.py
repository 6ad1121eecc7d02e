"""Networks in 8-bit integers: the clips that they are calibrated with, and what they cost in accuracy.

Ranges of activations are measured on some clips of the training and validation splits. Then the networks in floats and
in integers are compared on others. Layers of an OpenVINO network return to floats until the loss is small enough.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.runtimes import openvino, settings
from zoo.shared import messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    from tfrecords.reading.pipeline import Inputs

    Features = dict[str, np.ndarray]
    Network = Callable[[Features], Mapping[str, np.ndarray]]

CALIBRATED = 100  # clips on which ranges are measured
COMPARED = 200  # most clips on which accuracy is measured
MAX_DROP = 0.01  # largest allowed drop in the fraction of clips whose class is right
_RANKED = 40  # clips by which layers are ranked, if some have to return to floats


@dataclasses.dataclass(frozen=True)
class Clips:
    """Some clips of a split, spread evenly over it; they are read anew by every iteration.

    Attributes:
        records: A :class:`tfrecords.reading.pipeline.Records`.
        protocol: One of its protocols.
        split: One of the protocol's splits.
        inputs: The network's inputs.
        numbers: Indices of the clips in the split.
        labels: Classes of the clips; default: those of the dataset.
    """

    records: Any
    protocol: str
    split: str
    inputs: Inputs
    numbers: tuple[int, ...]
    labels: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[tuple[Features, int]]:
        """``(features [1, ...], label)`` of each clip."""
        from tfrecords.reading import pipeline

        wanted = {number: index for index, number in enumerate(self.numbers)}
        data = pipeline.evaluation(self.records, self.protocol, self.split, self.inputs, batch=1)
        for features, label, number in data.take(max(wanted) + 1).as_numpy_iterator():
            if int(number[0]) in wanted:
                yield features, self.labels[wanted[int(number[0])]] if self.labels else int(label[0])


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Clips to calibrate and compare a network with.

    Attributes:
        calibrated: Clips of the training and validation splits on which ranges are measured.
        compared: Other clips of these splits, on which the networks are compared.
        labelled: Whether the dataset's classes are the network's, so that accuracy can be measured. Else the measure is
            the fraction of clips that keep their class.
    """

    calibrated: Clips
    compared: Clips
    labelled: bool


def of_dataset(data: str | os.PathLike, inputs: Inputs, labels: Sequence[str], protocol: str | None) -> Calibration:
    """The :class:`Calibration` of a converted dataset.

    Args:
        data: The dataset's folder or address.
        inputs: The network's inputs.
        labels: The network's classes.
        protocol: One of the dataset's protocols; default: its first.

    Raises:
        UserError: The dataset cannot feed the network, has no such protocol, or too few clips.
    """
    from tfrecords.reading import pipeline

    records = pipeline.Records(data)
    protocol = protocol or records.protocols[0]
    if protocol not in records.protocols:
        raise UserError(f"{data} has no protocol {protocol!r}{messages.nearest(protocol, records.protocols)}")
    records.check(inputs, protocol, pipeline.TRAIN_AND_VAL)
    every = range(records.count(protocol, pipeline.TRAIN_AND_VAL))
    chosen = _spread(every, min(CALIBRATED, len(every) // 2))
    others = _spread([number for number in every if number not in set(chosen)], COMPARED)
    if not chosen:
        raise UserError(f"{data} has one training clip in {protocol}, expected at least 2 to calibrate with")
    return Calibration(
        Clips(records, protocol, pipeline.TRAIN_AND_VAL, inputs, chosen),
        Clips(records, protocol, pipeline.TRAIN_AND_VAL, inputs, others),
        labelled=list(records.labels_of(protocol)) == list(labels),
    )


def _spread(numbers: Sequence[int], count: int) -> tuple[int, ...]:
    """``count`` of some numbers, evenly spread; all of them if there are fewer."""
    step = max(len(numbers) / count, 1.0) if count else 1.0
    return tuple(numbers[int(index * step)] for index in range(min(count, len(numbers))))


def quantise(model: Any, calibration: Calibration, stated: settings.Settings) -> tuple[Any, dict[str, Any]]:
    """An OpenVINO model in 8-bit integers, by NNCF.

    Args:
        model: The ``openvino.Model`` in float32.
        calibration: The clips.
        stated: The version's properties: its outputs, and the type of the layers that stay floats.

    Returns:
        ``(model, report)``: the quantised model, and what it cost, see :func:`report`.

    Raises:
        UserError: NNCF is not installed, or the loss stays above :data:`MAX_DROP`.
    """
    nncf = openvino.library("nncf")
    nncf.set_log_level(logging.ERROR)
    clips = calibration.compared
    network = openvino.Network(model, stated)
    if not calibration.labelled:
        clips = dataclasses.replace(clips, labels=tuple(_classes(network, clips)))
    before = _hits(network, clips)
    given = {
        "calibration_dataset": nncf.Dataset(calibration.calibrated, _features),
        "subset_size": len(calibration.calibrated),
    }
    with settings.quiet():
        quantised = nncf.quantize(model, **given)
    after = _hits(openvino.Network(quantised, stated), clips)
    if _loses_too_much(before, after):
        ranking = nncf.AdvancedAccuracyRestorerParameters(ranking_subset_size=min(_RANKED, len(clips)))
        with settings.quiet():
            quantised = nncf.quantize_with_accuracy_control(
                model,
                validation_dataset=nncf.Dataset(clips, _features),
                validation_fn=_validated,
                max_drop=MAX_DROP,
                advanced_accuracy_restorer_parameters=ranking,
                **given,
            )
        after = _hits(openvino.Network(quantised, stated), clips)
    return quantised, report(calibration, before, after)


def _loses_too_much(before: Sequence[bool], after: Sequence[bool]) -> bool:
    """Whether more than :data:`MAX_DROP` is lost; rounded, as 0.905 - 0.895 is above 0.01 in binary fractions."""
    return round(float(np.mean(before) - np.mean(after)), 9) > MAX_DROP


def report(calibration: Calibration, before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    """The properties that a version in 8-bit integers records.

    Args:
        calibration: The clips.
        before: For each compared clip, whether the network in floats gives it its class.
        after: The same for the network in integers.

    Returns:
        Names of the dataset and its protocol, numbers of clips, what was measured, and its values.

    Raises:
        UserError: The loss is above :data:`MAX_DROP`.
    """
    of = calibration.compared
    values = {"float": float(np.mean(before)), "int8": float(np.mean(after))}
    measured = "accuracy" if calibration.labelled else "agreement"
    if _loses_too_much(before, after):
        raise UserError(
            f"in 8-bit integers the network's {measured} falls from {values['float']:.1%} to {values['int8']:.1%} on "
            f"{len(of)} clips of {of.protocol}, at most {MAX_DROP:.0%} may be lost: export it without --int8"
        )
    return {
        "dataset": of.records.dataset,
        "protocol": of.protocol,
        "calibrated": len(calibration.calibrated),
        "compared": len(of),
        "measured": measured,
        **values,
    }


def measured(network: Network, calibration: Calibration, reference: Network) -> dict[str, Any]:
    """:func:`report` of a network in integers, compared with its reference in floats."""
    clips = calibration.compared
    if not calibration.labelled:
        clips = dataclasses.replace(clips, labels=tuple(_classes(reference, clips)))
    return report(calibration, _hits(reference, clips), _hits(network, clips))


def _features(item: tuple[Features, int]) -> Features:
    return item[0]


def _classes(network: Network, clips: Iterable[tuple[Features, int]]) -> list[int]:
    """The classes that a network gives to clips."""
    return [int(network(features)["probabilities"][0].argmax()) for features, _ in clips]


def _hits(network: Network, clips: Iterable[tuple[Features, int]]) -> list[bool]:
    """For each clip, whether a network gives it its class."""
    return [int(network(features)["probabilities"][0].argmax()) == label for features, label in clips]


def _validated(compiled: Any, clips: Iterable[tuple[Features, int]]) -> tuple[float, list[float]]:
    """What NNCF maximises: the fraction of clips that a compiled model gives their class."""
    hits = _hits(lambda features: {"probabilities": compiled(features)["probabilities"]}, clips)
    return float(np.mean(hits)), [float(hit) for hit in hits]
