"""Extras: what setup.cfg declares, and what a command says where a package of one is missing."""

import configparser
import sys

import pytest

from tests.conftest import REPOSITORY
from zoo.shared import extras


@pytest.fixture(scope="module")
def declared():
    """Extra -> its requirements, as setup.cfg has them."""
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg")
    section = parser["options.extras_require"]
    return {extra: [line for line in text.splitlines() if line] for extra, text in section.items()}


def test_a_missing_package_is_one_line(monkeypatch, run_command):
    monkeypatch.setitem(sys.modules, "skimage", None)  # as if it were not installed

    def main(_):
        import skimage.feature  # noqa: F401

    status, out, err = run_command(main)
    assert (status, out) == (2, "")
    assert err == (
        "error: the package skimage is not installed, which the extra fusion has: pip install 'keras-adl-zoo[fusion]'\n"
    )


def test_another_missing_module_is_a_fault_of_ours(run_command):
    def main(_):
        import zoo.no_such_module  # noqa: F401

    with pytest.raises(ModuleNotFoundError):
        run_command(main)


def test_advice_names_extras_that_exist(declared):
    assert set(extras.EXTRAS.values()) <= set(declared)


def test_extras_of_extras_exist(declared):
    nested = [line for lines in declared.values() for line in lines if line.startswith(f"{extras.PROJECT}[")]
    assert nested
    for line in nested:
        assert set(line.partition("[")[2].rstrip("]").split(",")) <= set(declared)


def test_a_lazy_module_is_imported_at_its_first_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    module = extras.lazy("colorsys")
    assert not hasattr(module, "__wrapped__")  # asked by inspect
    assert "colorsys" not in sys.modules
    assert module.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_a_lazy_module_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(extras.MissingPackageError, match=r"pip install 'keras-adl-zoo\[video\]'"):
        extras.lazy("av").open("film.mp4")
