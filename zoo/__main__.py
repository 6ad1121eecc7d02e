"""``python -m zoo``: the table of all models, at full size with 60 classes; ``python -m zoo vpn``: one of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from zoo.shared import command_line


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    description = "Describe the models, at full size with 60 classes."
    parser = command_line.ArgumentParser(prog="python -m zoo", description=description)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="describe these models; default: a table of all")
    names = parser.parse_args(argv).models
    command_line.quiet_tensorflow()
    if names:
        from zoo import registry

        entries = [registry.get(name) for name in names]  # a wrong name is reported before any model is built
        print("\n\n".join(_description(entry.name) for entry in entries))
    else:
        _print_table()
    return 0


def _print_table() -> None:
    """A line for each model, as soon as it is built."""
    import zoo

    print("parameters in millions for 60 classes: in all, without the classifier, in inference")
    print(f"{'model':14} {'all':>7} {'no head':>7} {'infer':>7} {'GMACs':>7} {'activations':>11}  inputs")
    for name in zoo.list_models():
        known = zoo.describe(name)
        print(
            f"{name:14} {known['parameters'] / 1e6:7.3f} {known['parameters_without_head'] / 1e6:7.3f} "
            f"{known['parameters_in_inference'] / 1e6:7.3f} {known['gmacs']:7.2f} "
            f"{known['activation_bytes'] / 2**20:7.0f} MiB  {_inputs(known)}",
            flush=True,
        )


def _description(name: str) -> str:
    """What :func:`zoo.describe` states, a line for each fact and each option."""
    import zoo

    known = zoo.describe(name)
    total, headless, inference = (
        f"{known[key] / 1e6:.3f} M" for key in ("parameters", "parameters_without_head", "parameters_in_inference")
    )
    facts = {
        "paper": known["paper"],
        "reported": _reported(name),
        "inputs": _inputs(known),
        "parameters": f"{total} for 60 classes; {headless} without the classifier; {inference} in inference",
        "cost": f"{known['gmacs']:.2f} GMACs and {known['activation_bytes'] / 2**20:.1f} MiB of activations per clip",
        "attention": ", ".join(known["attention"]) or "-",
    }
    lines = [f"{name}: {known['summary']}", *(f"  {fact:12}{text}" for fact, text in facts.items())]
    width = max(map(len, known["options"]))
    return "\n".join(
        [*lines, "  options", *(f"    {key:{width}} = {value!r}" for key, value in known["options"].items())]
    )


def _reported(name: str) -> str:
    """All rows of the papers' tables, not only the row of the default options; one line for each."""
    from zoo import papers, registry

    lines = []
    for row in registry.reported(name):
        figures = ", ".join(f"{key} {papers.percent(figure)} %" for key, figure in row.figures.items())
        lines.append(f"{row.note}: {figures}" if row.note else figures)
    return f"\n{' ' * 14}".join(lines) or "-"


def _inputs(known: dict[str, Any]) -> str:
    return ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in known["inputs"].items())


if __name__ == "__main__":
    sys.exit(command_line.run(main))
