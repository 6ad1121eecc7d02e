"""Exports a trained run as a SavedModel that TF-Serving can serve; see :mod:`serving.savedmodel.exporting`.

``python -m serving.export --run RUN --to BASE [--name NAME] [--version N] [--batch_sizes 1 2 4] [--precision bfloat16]
[--freeze] [--compute bfloat16]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from serving.savedmodel import freezing, warmup
from serving.savedmodel.exporting import LABELS, TOLERANCES, Run, export, tolerance_of
from zoo.shared import command_line

__all__ = ["LABELS", "TOLERANCES", "Run", "export", "main"]


def _version(text: str) -> int:
    """A version number, for ``argparse``."""
    if not text.isdecimal() or not 0 < int(text) < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no version, expected a whole number from 1")
    return int(text)


def _batch_size(text: str) -> int:
    """A number of clips, for ``argparse``."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no batch size, expected a whole number from 1")
    return int(text)


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(
        prog="python -m serving.export", description="Export a trained run as a SavedModel for TF-Serving."
    )
    parser.add_argument("--run", required=True, help="run directory of recipes/train.py")
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
        help="batch sizes (numbers of clips) that a server may use",
    )
    parser.add_argument("--precision", choices=freezing.PRECISIONS, default="float32", help="how weights are stored")
    parser.add_argument(
        "--freeze", action="store_true", help="freeze the graph: weights become constants, folded for CPUs"
    )
    parser.add_argument(
        "--compute",
        choices=freezing.COMPUTED,
        default="float32",
        help="with --freeze: type in which convolutions are computed",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    command_line.quiet_tensorflow()
    arguments = _parser().parse_args(argv)
    folder, difference = export(
        Run(arguments.run),
        arguments.to,
        name=arguments.name,
        version=arguments.version,
        batch_sizes=arguments.batch_sizes,
        precision=arguments.precision,
        freeze=arguments.freeze,
        compute=arguments.compute,
    )
    offered = {request.model_spec.signature_name: None for request in warmup.read(folder)}  # in their order
    tolerance = tolerance_of(arguments.precision, arguments.compute)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"exported {folder} ({size / 1e6:.1f} MB, signatures {', '.join(offered)})")
    print(f"largest difference of probabilities to the Keras model: {difference:.2g} (tolerance {tolerance:g})")
    print(f"serve it: python -m serving.server --model_base_path {folder.parent} --model_name {folder.parent.name}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
