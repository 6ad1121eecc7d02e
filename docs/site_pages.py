"""Pages of the site that are generated: those of the project's root."""

from __future__ import annotations

import pathlib
import re
from typing import Any

BESIDE = ("README", "CONTRIBUTING", "CHANGELOG")  # pages of the project's root
# Links and definitions of links: ](README.md and ]: README.md
_LINK = re.compile(r"\](\(|: )(?:\.\./)*(README|CONTRIBUTING|CHANGELOG)\.md")


def write(folder: pathlib.Path) -> None:
    """Writes the generated pages; one whose text is the same keeps its time: Sphinx does not read it again."""
    root = folder.parents[1]
    pages = {f"{name.lower()}.md": beside((root / f"{name}.md").read_text("utf-8")) for name in BESIDE}
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for path in folder.rglob("*.*"):
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()


def beside(text: str) -> str:
    """A page of the project's root as one of ``docs/_generated``."""
    text = re.sub(r"\](\(|: )docs/", r"]\1/", text)
    return re.sub(r"\](\(|: )(?!/|#|https?:|(?:README|CONTRIBUTING|CHANGELOG)\.md)(?=\S)", r"]\1../../", text)


def mend_links(app: Any, name: str, source: list[str]) -> None:
    """Links to pages of the project's root lead to their copies in the site."""
    source[0] = _LINK.sub(lambda found: f"]{found[1]}/_generated/{found[2].lower()}.md", source[0])
