"""The report of an evaluation: one HTML page that needs no other file."""

from __future__ import annotations

import base64
import dataclasses
import html
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recipes.reports import reported, tables

if TYPE_CHECKING:
    from recipes.config import Recipe
    from recipes.run_directory import RunDirectory

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { border-bottom: 1px solid #ccc; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #ddd; padding: .2rem .6rem; text-align: left; }
th { background: #f3f3f3; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; }
img { max-width: 100%; }
figure { margin: 1rem 0; }
"""
_NUMBER = re.compile(r"-|[+-]?\d{1,9}(\.\d+)?%?")
_PAIRS = 20  # most confused pairs on the page; the CSV file has all


@dataclasses.dataclass(frozen=True)
class Section:
    """An additional section of the page.

    Attributes:
        heading: Its heading.
        pictures: List of ``(path, caption)``.
        rows: A table: dictionaries with the same keys.
        percent: Keys of fractions that the table shows as percent.
        text: A paragraph above pictures and table.
    """

    heading: str
    pictures: Sequence[tuple[pathlib.Path, str]] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    percent: Sequence[str] = ()
    text: str = ""


def page(
    *,
    title: str,
    command: str,
    run: RunDirectory,
    recipe: Recipe,
    summary: Mapping[str, Any],
    rows: Sequence[Mapping],
    pairs: Sequence[Mapping],
    pictures: Mapping[str, Sequence[tuple[pathlib.Path, str]]],
    more: Sequence[Section] = (),
) -> str:
    """The page.

    Args:
        title: Its heading.
        command: The command that evaluated.
        run: The :class:`recipes.run_directory.RunDirectory`.
        recipe: The evaluated :class:`recipes.config.Recipe`; of fused runs it names all.
        summary: The content of ``metrics.json``.
        rows: Rows of :func:`recipes.reports.tables.per_class`.
        pairs: Rows of :func:`recipes.reports.tables.confused_pairs`.
        pictures: Section (``confusion``, ``curves``) -> list of ``(path, caption)``.
        more: Additional sections, in their order.

    Returns:
        HTML text. Names of classes, files and recipes are escaped; pictures are inlined.
    """
    percent = _percent(rows, "accuracy")
    sections = [
        _section("Accuracy", _figures(recipe, summary)),
        _section("Classes", _table(percent)),
        _section("Confusion matrix", _pictures(pictures["confusion"])),
        _section("Most confused pairs", _pairs(pairs)),
    ]
    for part in more:
        paragraph = f"<p>{_text(part.text)}</p>\n" if part.text else ""
        table = _table(_percent(part.rows, *part.percent)) if part.rows else ""
        sections.append(_section(part.heading, paragraph + _pictures(part.pictures) + table))
    if pictures.get("curves"):
        sections.append(_section("Training", _pictures(pictures["curves"])))
    sections.append(_section("How it was made", _origin(command, run, summary)))
    head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style>'
    body = f"<h1>{_text(title)}</h1>\n" + "\n".join(sections)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _text(value):
    return html.escape(str(value))


def _section(heading, content):
    return f"<section>\n<h2>{_text(heading)}</h2>\n{content}\n</section>"


def _figures(recipe, summary):
    """This run's figures, and those of the papers in a column of their own."""
    own = {key: f"{summary[key]:.1%}" for key in ("top1", "mean_class_accuracy", "top5")}
    papers = reported.figures(recipe, summary["protocol"], summary["split"], summary["basis"])
    of = summary["dataset"], summary["protocol"]
    source = f"reported by its paper{tables.mean_note(*of)}, not measured here"
    columns = ("method", "top-1", "mean per class", "top-5", source)
    lines = [(f"{recipe.model.name}, this run", *own.values(), tables.own_figures(papers))]
    lines += [(figure.name, "", "", "", figure.bare) for figure in reported.others(papers)]
    protocol = f"{summary['protocol']}{tables.fold_note(*of)}"
    measured = f"{summary['dataset']}, protocol {protocol}, {summary['split']}: {summary['clips']} clips."
    if "common_clips" in summary:
        measured += f" {summary['common_clips']['note']}."
    if summary.get("abstained"):
        measured += f" {summary['abstained']} of them have no pose and count as wrong."
    return f"<p>{_text(measured)}</p>\n" + _table([dict(zip(columns, line)) for line in lines])


def _pairs(pairs):
    if not pairs:
        return "<p>No clip was taken for another class.</p>"
    shown = _percent(pairs[:_PAIRS], "fraction")
    rows = [{key.replace("_", " "): value for key, value in row.items()} for row in shown]
    more = f"<p>{len(pairs) - _PAIRS} more pairs are in confused_pairs.csv.</p>" if len(pairs) > _PAIRS else ""
    return _table(rows) + more


def _percent(rows, *keys):
    """The rows with fractions as percent; an empty value stays empty."""
    shown = {"gain": "{:+.1%}"}
    return [
        {k: shown.get(k, "{:.1%}").format(v) if k in keys and v != "" else v for k, v in row.items()} for row in rows
    ]


def _table(rows):
    """A table of dictionaries with the same keys."""
    header = "".join(f"<th>{_text(key.replace('_', ' '))}</th>" for key in rows[0])
    lines = "\n".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>"


def _cell(value):
    text = str(value)
    return f'<td class="number">{_text(text)}</td>' if _NUMBER.fullmatch(text) else f"<td>{_text(text)}</td>"


def _pictures(pictures):
    """Pictures with captions, as data URIs."""
    return "\n".join(
        f'<figure><img alt="{_text(caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}"><figcaption>{_text(caption)}</figcaption></figure>'
        for path, caption in pictures
    )


def _origin(command, run, summary):
    """What is needed to repeat the evaluation."""
    environment = run.environment
    facts = {
        "evaluated by": command,
        "trained by": environment["command"],
        "training started": environment["started"],
        "seed": environment["seed"],
        "SHA-256 of the evaluated data's manifest": summary["manifest_sha256"],
        "SHA-256 of the training data's manifest": environment["data"]["manifest_sha256"],
        "versions": ", ".join(f"{name} {version or '-'}" for name, version in environment["versions"].items()),
        "platform": environment["platform"],
        "devices": ", ".join(environment["devices"]),
        "views": ", ".join(f"{key}: {value}" for key, value in summary["views"].items()),
    }
    table = _table([{"fact": key, "value": value} for key, value in facts.items()])
    return f"{table}\n<h3>Recipe {_text(run.recipe.name)}</h3>\n<pre>{_text(run.recipe.to_yaml())}</pre>"
