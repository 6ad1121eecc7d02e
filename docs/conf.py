"""Settings of the documentation site, which ``make docs`` builds from this folder."""

from __future__ import annotations

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import reference  # noqa: E402  these two lie in this folder
import site_pages  # noqa: E402

import zoo  # noqa: E402

project = "Keras ADL zoo"
version = release = zoo.__version__
html_title = f"{project} {release}"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "formulas", "myst_parser"]
html_math_renderer = "mathml"
exclude_patterns = ["_build", "models/[!R]*.md"]  # cards are parts of generated pages
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
highlight_language = "none"  # most blocks without a language are command lines or diagrams
suppress_warnings = ["myst.header"]  # a page may begin below the first level

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # reference.complete adds them
autodoc_mock_imports = ["mlflow"]  # no version of it works with both supported sets of package versions
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

# Every cross reference in the project's docstrings must resolve; names of other packages are not looked up.
nitpicky = True
nitpick_ignore_regex = [("py:.*", reference.NAMES_OF_OTHERS)]


def setup(app: object) -> None:
    """Writes the generated pages before Sphinx reads its sources."""
    app.connect("builder-inited", lambda app: site_pages.write(HERE / "_generated"))
    app.connect("source-read", site_pages.mend_links)
    app.connect("source-read", site_pages.keep_pairs)
    app.connect("autodoc-process-docstring", reference.complete, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", reference.skip)
