"""YAML that people write."""

import pytest

from zoo.shared import yaml_text
from zoo.shared.errors import UserError

ANCHORS = """
nested: {first: &first {<<: &base {rate: 0.1, momentum: 0.9}, rate: 1e-2}}
second: {<<: *first, momentum: 0.5}
third: {<<: [*first, *base]}
"""


def test_a_mapping_replaces_keys_of_those_that_it_merges():
    found = yaml_text.parse(ANCHORS, "recipe.yaml")
    assert found["nested"]["first"] == found["third"] == {"rate": 0.01, "momentum": 0.9}
    assert found["second"] == {"rate": 0.01, "momentum": 0.5}


@pytest.mark.parametrize("text", ["{rate: 1, rate: 2}", "{<<: {rate: 1}, rate: 2, rate: 3}"])
def test_a_key_of_its_own_comes_once(text):
    with pytest.raises(UserError, match=r"recipe\.yaml, line 1: not valid YAML: key 'rate' comes twice"):
        yaml_text.parse(text, "recipe.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name: K\xe4se", "is no text in UTF-8"), (b"\xff\xfen\x00", "is no text in UTF-8"), (None, "cannot be read")],
)
def test_files_that_hold_no_text(tmp_path, content, message):
    if content is not None:
        (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(UserError, match=f"^recipe: {message}"):
        yaml_text.read(tmp_path / "recipe.yaml", "recipe")


def test_a_file_of_windows(tmp_path):
    (tmp_path / "recipe.yaml").write_bytes("\ufeffname: Käse\r\nstages: [1,\r\n  2]\r\n".encode())
    assert yaml_text.read(tmp_path / "recipe.yaml", "recipe") == {"name": "Käse", "stages": [1, 2]}
