"""Settings of the documentation site, which ``make docs`` builds from this folder."""

from __future__ import annotations

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import site_pages  # noqa: E402  it lies in this folder

import zoo  # noqa: E402

project = "Keras ADL zoo"
version = release = zoo.__version__
html_title = f"{project} {release}"
html_theme = "furo"
html_show_sphinx = html_show_copyright = html_copy_source = False

extensions = ["sphinx.ext.mathjax", "myst_parser"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"  # most blocks without a language are command lines or diagrams
suppress_warnings = ["myst.header"]  # a page may begin below the first level


def setup(app: object) -> None:
    """Writes the generated pages before Sphinx reads its sources."""
    app.connect("builder-inited", lambda app: site_pages.write(HERE / "_generated"))
    app.connect("source-read", site_pages.mend_links)
