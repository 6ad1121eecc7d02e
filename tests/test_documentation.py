"""The pages: their links lead somewhere, and the site shows all of them, all public names and all models."""

import fnmatch
import importlib
import inspect
import re

import pytest

import zoo
from recipes import config
from tests.documented import DOCS, PAGES, ROOT

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _anchors(page):
    """Anchors of a page's headings, as the code host and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page):
    wrong = []
    for link in _LINK.findall(_FENCED.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            wrong.append(link)
    assert not wrong


def test_every_page_is_in_the_site():
    shown = {"index"}
    for page in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            # A card is a part of its method's generated page.
            shown |= {re.sub(r".*<(.*)>$", r"\1", entry).removeprefix("_generated/") for entry in entries}
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES if DOCS in path.parents}
    assert {page for page in pages if not any(fnmatch.fnmatchcase(page, entry) for entry in shown)} == set()


@pytest.fixture
def generator(monkeypatch):
    """Module of the folder ``docs`` by its name."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module


def test_reference_has_every_public_name(generator):
    reference = generator("reference")
    text = "".join(reference.pages().values())
    missing = []
    for package in reference.PACKAGES:
        for path in (ROOT / package).rglob("[!_]*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            defined = re.findall(r"^(?:async def|def|class) ([a-zA-Z]\w*)", path.read_text("utf-8"), re.MULTILINE)
            homes = [reference.homes()[f"{module}.{name}"] for name in defined]
            missing += [home for home in (module, *homes) if f":: {home}\n" not in text]
    assert not missing
    for module in (zoo, importlib.import_module("serving.client"), importlib.import_module("zoo.skeletons")):
        functions = [name for name in module.__all__ if inspect.isfunction(getattr(module, name))]
        assert all(f".. autofunction:: {module.__name__}.{name}\n" in text for name in functions)


def test_every_model_has_a_page(generator, monkeypatch):
    monkeypatch.setattr(config, "names", lambda: ["pose_gcn_nucla"])  # all of them take seconds
    pages = generator("model_pages").pages()
    assert set(pages) == {*zoo.list_models(), *zoo.registry.ESTIMATORS}
    for name in zoo.list_models():
        documented = set(re.findall(r"^\| `(\w+)` \|", pages[name], re.MULTILINE))
        assert documented == set(zoo.registry.options(name)), name
    assert "`adl train --recipe pose_gcn_nucla`: Pose GCN on Northwestern-UCLA" in pages["pose_gcn"]


def test_docstrings_are_completed(generator):
    text = """Reads.

Args:
    name: As :class:`ZooError`.

Returns:
    Joints: all.

Raises:
    ZooError: There is none."""
    lines = text.splitlines()
    generator("reference").complete(None, "function", "zoo.checks.layout_of", None, None, lines)
    assert lines[3] == "    name (*str*): As :class:`ZooError <zoo.ZooError>`."
    assert lines[6] == "    :py:obj:`skeletons.Layout <zoo.skeletons.Layout>`: Joints: all."
    assert lines[9] == "    zoo.ZooError: There is none."
