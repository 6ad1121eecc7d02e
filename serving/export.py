"""Exports a model for serving; see :mod:`serving.savedmodel.exporting`.

A trained run: ``python -m serving.export --run RUN --to BASE [--name NAME] [--version N] [--batch_sizes 1 2 4]
[--precision bfloat16] [--freeze] [--compute bfloat16] [--new-labels] [--format openvino [--int8 --calibrate DATA]]``

Published weights: ``python -m serving.export --pretrained kinetics400 --to BASE [--classes adl] [--frames T]
[--size S]`` and the same further options.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from serving.runtimes import settings
from serving.savedmodel import freezing, published, warmup
from serving.savedmodel.exporting import FORMATS, SAVED_MODEL, TOLERANCES, Exportable, Run, export, tolerance_of
from serving.savedmodel.versions import LABELS, LAST_VERSION
from zoo.shared import command_line, sharing
from zoo.shared.errors import UserError

__all__ = ["LABELS", "TOLERANCES", "Run", "export", "main"]


def _version(text: str) -> int:
    """A version number, for ``argparse``."""
    if not text.isdecimal() or not 0 < int(text) <= LAST_VERSION:
        raise argparse.ArgumentTypeError(f"{text!r} is no version, expected a whole number from 1")
    return int(text)


def _batch_size(text: str) -> int:
    """A number of clips, for ``argparse``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no batch size, expected a whole number from 1")
    return int(text)


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="python -m serving.export",
        description="Export a trained run, or published weights, for TF-Serving or another runtime.",
    )
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--run", help="run directory of recipes/train.py")
    origin.add_argument(
        "--pretrained",
        metavar="NAME|DIR",
        help="published weights, such as kinetics400 (list: python -m zoo.weights), or a folder of recipes/publish.py",
    )
    parser.add_argument(
        "--classes",
        choices=published.CLASSES,
        help="classes of --pretrained; adl: activities of daily living, all others as one class, other",
    )
    positive = command_line.positive(int)
    parser.add_argument("--frames", type=positive, metavar="T", help="frames of a clip of --pretrained; default: 64")
    parser.add_argument("--size", type=positive, metavar="S", help="pixels of a frame of --pretrained; default: 224")
    parser.add_argument("--to", required=True, metavar="BASE", help="folder to export to, as BASE/<name>/<version>")
    parser.add_argument("--name", help="name of the model; default: that of its method, such as vpn")
    parser.add_argument(
        "--version", type=_version, metavar="N", help="version number; default: one more than the newest"
    )
    parser.add_argument(
        "--batch_sizes",
        type=_batch_size,
        nargs="+",
        default=[1],
        metavar="B",
        help="batch sizes (numbers of clips) that a server may use; default: 1",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=SAVED_MODEL,
        help="savedmodel: for TF-Serving; openvino, onnx: the network alone; litert: models of poses for small devices",
    )
    parser.add_argument("--precision", choices=freezing.PRECISIONS, default="float32", help="how weights are stored")
    parser.add_argument("--freeze", action="store_true", help="weights become constants of a graph optimised for CPUs")
    parser.add_argument(
        "--compute",
        choices=freezing.COMPUTED,
        default="float32",
        help="with --freeze or --format openvino: type in which convolutions are computed",
    )
    parser.add_argument(
        "--int8", action="store_true", help="compute in 8-bit integers, with --format openvino or litert"
    )
    parser.add_argument("--calibrate", metavar="DATA", help="converted dataset to calibrate --int8 with")
    parser.add_argument("--protocol", metavar="NAME", help="protocol of --calibrate; default: the dataset's first")
    parser.add_argument(
        "--share-computation",
        nargs="?",
        const=sharing.BLOCK,
        metavar="BLOCK",
        help=f"for `serving.predict --window`: I3D up to a block (default: {sharing.BLOCK}) is computed once for "
        "overlapping windows",
    )
    parser.add_argument(
        "--new-labels", action="store_true", help="export even if the newest version of the model has other labels"
    )
    return parser


def _exportable(arguments: argparse.Namespace) -> Exportable:
    """What the arguments name: a run or published weights."""
    chosen = {name: getattr(arguments, name) for name in ("classes", "frames", "size")}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if arguments.pretrained:
        return published.find(arguments.pretrained, **chosen)
    if chosen:
        raise UserError(f"--{next(iter(chosen))} is for --pretrained: a run has its own classes, frames and size")
    return Run(arguments.run)


def _verified(arguments: argparse.Namespace, folder: pathlib.Path, difference: float) -> str:
    """How much the written model differs; for 8-bit integers their loss of accuracy, which random clips do not show."""
    if not arguments.int8:
        tolerance = tolerance_of(arguments.precision, arguments.compute)
        return f"largest difference of probabilities to the Keras model: {difference:.2g} (tolerance {tolerance:g})"
    cost = settings.read(folder).int8
    return f"{cost['measured']} on {cost['compared']} clips: {cost['float']:.1%} in floats, {cost['int8']:.1%} in int8"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command_line.quiet_tensorflow()
    arguments = _parser().parse_args(argv)
    if arguments.int8 != bool(arguments.calibrate) or (arguments.protocol and not arguments.int8):
        raise UserError("--int8 and --calibrate belong together, and --protocol to them: give the dataset's folder")
    folder, difference = export(
        _exportable(arguments),
        arguments.to,
        name=arguments.name,
        version=arguments.version,
        batch_sizes=arguments.batch_sizes,
        precision=arguments.precision,
        freeze=arguments.freeze,
        compute=arguments.compute,
        new_labels=arguments.new_labels,
        form=arguments.format,
        calibrate=arguments.calibrate,
        protocol=arguments.protocol,
        share_computation=arguments.share_computation,
    )
    offered = {request.model_spec.signature_name: None for request in warmup.read(folder)}  # each once, in order
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"exported {folder} ({size / 1e6:.1f} MB, signatures {', '.join(offered)})")
    print(_verified(arguments, folder, difference))
    options = shlex.join(["--model_base_path", str(folder.parent), "--model_name", folder.parent.name])
    print(f"serve it: python -m serving.server {options}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
