"""Writes a trained run as a folder to publish: ``python recipes/publish.py --run runs/pose_gcn_nucla --to DIR``.

The folder holds the model (``config.json``, ``model.safetensors``), its classes, its inputs and a card, but nothing
about the machine it was trained on: see :mod:`zoo.pretrained.model_folder`. ``zoo.from_pretrained`` reads it, also from
a model hub after an upload (``huggingface-cli upload OWNER/NAME DIR``), and ``serving.export --pretrained`` exports it.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from zoo.shared import command_line


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="publish.py", description="Write a trained run as a folder to publish.")
    parser.add_argument("--run", type=pathlib.Path, required=True, metavar="DIR", help="run directory of train.py")
    parser.add_argument("--to", type=pathlib.Path, required=True, metavar="DIR", help="the folder to make")
    arguments = parser.parse_args(argv)
    command_line.quiet_tensorflow()
    written = publish(arguments.run, arguments.to)
    size = sum(file.stat().st_size for file in written.iterdir()) / 1e6
    print(f"{written}: {size:.1f} MB, zoo.from_pretrained({str(written)!r})", flush=True)
    return 0


def publish(run: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Writes a run's model as a folder, whole or not at all.

    Args:
        run: The run directory.
        folder: The folder to make; it must not exist.

    Returns:
        The folder's path.

    Raises:
        UserError: There is no trained run, or the folder exists.
    """
    import zoo
    from recipes import model_card, run_directory
    from recipes.reports import cards

    trained = run_directory.RunDirectory(run)
    figures = model_card.figures_of(trained) if model_card.evaluations(trained) else []
    card = cards.published(folder.name, trained.recipe.model.name, trained.labels, figures)
    return zoo.save_pretrained(
        trained.model(), folder, labels=trained.labels, inputs=trained.inputs.to_dict(), card=card
    )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
