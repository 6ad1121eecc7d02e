"""Runs the notebooks and stores their outputs: ``make notebooks``, or ``python notebooks/execute.py FILE ...``.

A notebook runs in a temporary folder, where its data, runs and models are. What is printed on stderr (progress) is not
stored, nor are times and versions.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

if not __package__:  # run as a script
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from zoo.shared import command_line, files

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 600  # that a cell may take


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(prog="execute.py", description="Run notebooks and store their outputs.")
    parser.add_argument("notebooks", nargs="*", type=pathlib.Path, metavar="FILE", help="default: all")
    for path in parser.parse_args(argv).notebooks or sorted(HERE.glob("*.ipynb")):
        print(f"run {path.name}", flush=True)
        files.write_text(path, executed(path))
    return 0


def executed(path: pathlib.Path) -> str:
    """A notebook's text with the outputs of a run.

    Args:
        path: The notebook.

    Returns:
        Its JSON.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = list(_joined(output for output in cell.outputs if output.get("name") != "stderr"))
    return nbformat.writes(notebook) + "\n"


def _joined(outputs: Iterable[Any]) -> Iterator[Any]:
    """Outputs of a cell; what it printed between two others is one, however it arrived."""
    printed: Any = None
    for output in outputs:
        if printed is not None and output.output_type == "stream":
            printed.text += output.text
            continue
        printed = output if output.output_type == "stream" else None
        yield output


if __name__ == "__main__":
    sys.exit(command_line.run(main))
