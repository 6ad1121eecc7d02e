"""Numbers of sections, equations, tables and so on that are cited of the methods' papers exist there."""

import pathlib
import re

from zoo.papers import PAPERS

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("zoo", "recipes", "tfrecords", "serving", "docs", "tests", "benchmarks")

# What was looked up in each paper. A number that is not here is looked up, and added, before it is cited.
KNOWN = {
    "LRCN15": "section 3",
    "I3D17": "section 2.4, figure 3",
    "NL18": "sections 3, 3.2, 4.1, figure 2",
    "R3D18": "section 3.2, table 1",
    "STGCN18": "section 3.3",
    "BMVC18": "section 4, tables 1, 2, 3, 6",
    "AVSS18": "",
    "MMM19": "",
    "WACV19": "equations 1 to 5, tables 1, 2, algorithm 1",
    "ICCV19": "section 3.1, equations 1 to 4, table 5",
    "WACV20": "",
    "ECCV20": "sections 3.2, 4.1, equations 1 to 6, tables 1 to 5",
    "PhD20": (
        "chapters 3, 4, 5, 6, sections 3.3.1, 3.3.3, 4.2, 4.6.1, 5.4.1, 6.3, equations 3.5, 4.16, 4.19, "
        "tables 3.2, 5.1, 6.7, algorithms 1 to 4"
    ),
}
_NUMBERS = r"\d+(?:\.\d+)*(?:(?:, | and | to )\d+(?:\.\d+)*)*"
_PLACE = rf"(section|equation|eq\.|table|figure|algorithm|chapter)s? ({_NUMBERS})"
_PLACES = rf"{_PLACE}(?:(?:, | and |; ){_PLACE})*"


def _name(key):
    """How a paper is named: by its key, by its venue (``ICCV 2019``), or as the thesis."""
    venue, published = key[:-2], PAPERS[key].rsplit(". ", 1)[1]
    if key == "PhD20":
        return rf"{key}|the thesis(?: \(PhD20\))?"
    return rf"{key}|{published}" if published.startswith(f"{venue} 20") else key


def _cited(text):
    """``{"table 5", ...}`` of a list of places."""
    found = set()
    for kind, numbers in re.findall(_PLACE, text):
        for part in re.split(r", | and ", numbers):
            first, _, last = part.partition(" to ")
            steps = range(int(first), int(last) + 1) if last else [first]
            found |= {f"{kind.replace('eq.', 'equation')} {step}" for step in steps}
    return found


def _citations():
    """Yields file, paper, place."""
    names = "|".join(f"(?P<{key}>{_name(key)})" for key in KNOWN)
    citation = re.compile(rf"\b(?:{names}),? (?P<places>{_PLACES})")
    files = [ROOT / "README.md", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")))]
    for path in files:
        if path.suffix in (".py", ".yaml", ".md") and path != pathlib.Path(__file__):
            text = re.sub(r"\n\s*#?\s*", " ", path.read_text(encoding="utf-8"))
            for match in citation.finditer(text):
                for place in _cited(match["places"]):
                    yield path.relative_to(ROOT).as_posix(), next(key for key in KNOWN if match[key]), place


def test_cited_numbers_are_known():
    assert set(KNOWN) == set(PAPERS)
    found = list(_citations())
    unknown = [f"{path}: {key} {place}" for path, key, place in found if place not in _cited(KNOWN[key])]
    assert not unknown
    assert {"zoo/layers.py ICCV19 equation 2", "recipes/configs/vpn_ntu60.yaml ECCV20 section 4.1"} <= {
        f"{path} {key} {place}" for path, key, place in found
    }
