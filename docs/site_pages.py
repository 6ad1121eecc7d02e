"""Pages of the site that are generated: the API reference, the models, and those of the project's root."""

from __future__ import annotations

import pathlib
import posixpath
import re
from typing import Any

import model_pages
import reference

BESIDE = ("README", "CONTRIBUTING", "CHANGELOG")  # pages of the project's root
# Targets of links and of definitions of links: ](README.md#part) and ]: README.md
_LINK = re.compile(r"\](\(|: )(?!#|[a-z]+:)([^)\s]+\.md)")
# Figures that belong together in a cell of a table: 93.0 / 95.4 or 60.4 / - / 49.9
_PAIR = re.compile(r"(?<=\d|-) / (?=\d|-)")


def write(folder: pathlib.Path) -> None:
    """Writes the generated pages. An unchanged page keeps its time stamp, so that Sphinx does not read it again."""
    root = folder.parents[1]
    pages = {f"{name.lower()}.md": beside((root / f"{name}.md").read_text("utf-8")) for name in BESIDE}
    pages["readme.md"] = re.sub(r"^# .*", "# Overview", pages["readme.md"])  # the start page has the project's name
    pages |= {f"api/{name}.rst": text for name, text in reference.pages().items()}
    pages |= {f"models/{name}.md": text for name, text in model_pages.pages().items()}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in folder.rglob("*.*"):
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()


def beside(text: str) -> str:
    """A page of the project's root, with its links changed for a copy in ``docs/_generated``."""
    text = re.sub(r"\](\(|: )docs/", r"]\1/", text)
    return re.sub(r"\](\(|: )(?!/|#|https?:|(?:README|CONTRIBUTING|CHANGELOG)\.md)(?=\S)", r"]\1../../", text)


def mend_links(app: Any, name: str, source: list[str]) -> None:
    """Links to pages of the project's root and to cards of models lead to their pages in the site."""
    shown = {f"../{page}.md": f"/_generated/{page.lower()}.md" for page in BESIDE}
    shown |= {f"_generated/{page}.md": f"/_generated/{page.lower()}.md" for page in BESIDE}
    shown |= {f"models/{method}.md": f"/_generated/models/{method}.md" for method in model_pages.methods()}

    def mended(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[2])).lstrip("/")
        return f"]{found[1]}{shown.get(target, found[2])}"

    source[0] = _LINK.sub(mended, source[0])


def keep_pairs(app: Any, name: str, source: list[str]) -> None:
    """Figures that belong together, such as those of two protocols, stay in one line of a table's cell."""
    kept = "\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}"
    source[0] = re.sub(r"^\|.*", lambda row: _PAIR.sub(kept, row[0]), source[0], flags=re.MULTILINE)
