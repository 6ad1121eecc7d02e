"""The command ``adl``: ``adl train --recipe NAME`` is ``python -m recipes.train --recipe NAME``, and so on.

A command's module is imported only when the command is called: ``adl --help`` imports no such module, nor TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import zoo
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError


class Command(NamedTuple):
    """One command.

    Attributes:
        module: The module whose function ``main`` it calls.
        help: What it does.
    """

    module: str
    help: str


COMMANDS = {
    "models": Command("zoo.__main__", "list the models, or describe some of them"),
    "weights": Command("zoo.pretrained.fetching", "list published weights, or fetch some"),
    "convert": Command("tfrecords.convert", "convert a dataset, or videos of your own, to TFRecords"),
    "estimate": Command("tfrecords.estimate", "estimate the poses of the persons in videos"),
    "inspect": Command("tfrecords.inspect", "show what a converted dataset holds, and verify it"),
    "train": Command("recipes.train", "train a recipe"),
    "evaluate": Command("recipes.evaluate", "evaluate a trained run: metrics, tables, plots"),
    "average": Command("recipes.average", "average the folds of a cross-validation"),
    "extract-features": Command(
        "recipes.extract_features", "write features of clips' segments, which temporal and global read"
    ),
    "model-card": Command("recipes.model_card", "write the model cards of evaluated runs"),
    "publish": Command("recipes.publish", "write a trained run as a folder to publish"),
    "export": Command("serving.export", "export a trained run, or published weights, for a server"),
    "predict": Command("serving.predict", "classify a clip with an exported model, without a server"),
    "serve": Command("serving.server.command", "serve exported models over gRPC and REST"),
    "ask": Command("serving.client.command", "classify a clip, a long video or a camera with a served model"),
    "live": Command("serving.live.command", "watch a camera: people, what they do, events"),
    "verify": Command("serving.verify", "compare a server's predictions with the trained model's"),
    "deploy": Command("serving.deploy.configuration", "write TF-Serving's configuration for exported models"),
    "completion": Command("adl.completion", "print the completion script of a shell"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        argv: Name of a command and its arguments; default: ``sys.argv[1:]``.

    Returns:
        The exit status of that command.

    Raises:
        UserError: There is no such command.

    Example:
        >>> main(["inspect", "--help"])  # doctest: +SKIP
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0].startswith("-"):
        parser = _parser()
        parser.parse_args(arguments or ["--help"])
        parser.error("name a command")
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"adl has no command {name!r}{messages.nearest(name, COMMANDS)}")
    with command_line.called_as(f"adl {name}"):
        return function(name)(rest) or 0


def function(name: str) -> Callable[[Sequence[str]], int]:
    """The function that a command calls with its arguments; imports its module."""
    return importlib.import_module(COMMANDS[name].module).main


def script() -> int:
    """What the installed script ``adl`` runs: :func:`main`, with errors of one line."""
    return command_line.run(main)


def _parser() -> command_line.ArgumentParser:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items())
    parser = command_line.ArgumentParser(
        prog="adl",
        usage="adl COMMAND [ARGUMENT ...]",
        description="Recognise activities of daily living: from a dataset to a served model.",
        epilog=f"commands (adl COMMAND --help shows the options of one):\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"adl {zoo.__version__}")
    return parser
