"""The figures of the papers: conditions that runs can meet, protocols that exist."""

import pytest

from recipes.reports.reported import reported_key
from tfrecords import protocols
from zoo import checks, papers, registry
from zoo.papers import Row

METHODS = [*registry.list_models(), *registry.ESTIMATORS]
BASIS = {"base_model": set(registry.list_models()), "pretrained_on": {None, "ntu60"}}


@pytest.mark.parametrize("name", METHODS)
def test_rows_are_of_protocols_and_options_that_there_are(name):
    facts = registry.facts(name, {})
    for row in registry.reported(name):
        for key, figure in row.figures.items():
            dataset = key.partition("/")[0]
            assert key in {reported_key(dataset, protocol) for protocol in protocols.names(dataset)}
            assert 0 < figure < 100
        conditions = dict(row.when or {})
        for key, values in BASIS.items():
            if key in conditions:
                assert conditions.pop(key) in values
        assert set(conditions) <= set(facts)
        if name not in registry.ESTIMATORS:
            checks.check_options(name, conditions, registry.hints(name))
    notes = [(key, row.note) for row in registry.reported(name) for key in row.figures]
    assert len(notes) == len(set(notes)), "two figures that nothing tells apart"


def test_options_choose_the_figures_of_a_description():
    end_to_end = papers.figures(registry.reported("temporal"), registry.facts("temporal", {"backbone": "i3d"}))
    assert end_to_end["nucla/v3_12 (features of I3D)"] == 89.5
    assert not [key for key in end_to_end if "VPN" in key]
    resnext = papers.figures(registry.reported("vpn"), registry.facts("vpn", {"backbone": "resnext3d101"}))
    assert resnext == {"ntu60/cs (3D ResNeXt-101)": 95.5, "ntu60/cv (3D ResNeXt-101)": 98.0}


def test_plain_figures_are_one_row_and_sources_are_papers():
    assert papers.rows({}) == papers.rows([]) == ()
    assert papers.rows({"ntu60/cs": 90.0}) == (Row({"ntu60/cs": 90.0}),)
    with pytest.raises(ValueError, match="'ECCV02' is no key"):
        Row({}, source="ECCV02")
