"""Which of the papers' figures stand beside a run."""

import dataclasses

import numpy as np
import pytest

from recipes import config
from recipes.reports import cards, html, reported, scoring, tables

FEATURES = {"options": {"features_model": "vpn"}}
UNKNOWN = "stages.backbone.init=[runs/of_somebody]"
AFTER_NTU60 = "stages.backbone.init=[runs/i3d_ntu60]"


@pytest.mark.parametrize(
    ("recipe", "changes", "protocol", "own"),
    [
        ("global_nucla", ["model.base_model=separable_sta"], "v3_12", "92.8% (with Separable STA)"),
        ("global_nucla", ["model.base_model=pi3d"], "v3_12", "93.5% (with P-I3D)"),
        ("global_smarthome", ["model.base_model=i3d"], "cv2", "54.3% (with I3D)"),
        ("vpn_ntu60", [], "cv", "96.2%"),
        ("vpn_ntu60", ["model.backbone=resnext3d101"], "cv", "98.0% (3D ResNeXt-101)"),
        ("vpn_ntu120", ["model.backbone=resnext3d101"], "cs1", "-"),
        ("i3d_nucla", ["stages.backbone.init=[]"], "v3_12", "86.0% (without NTU-60)"),
        ("i3d_nucla", [AFTER_NTU60], "v3_12", "88.8% (after NTU-60)"),
        ("i3d_nucla", [UNKNOWN], "v3_12", "-"),
        ("pi3d_nucla", [AFTER_NTU60.replace("backbone", "full_body")], "v3_12", "93.1% (after NTU-60)"),
        ("separable_sta_nucla", [], "v3_12", "92.4% (after NTU-60)"),
        ("pi3d_smarthome", [], "cs", "54.2%, 54.0% (PhD20)"),
        ("separable_sta_ntu120", [], "cs1", "83.8% (rerun, ECCV20)"),
        ("lrcn_ntu60", [], "cs", "71.3% (ResNet-50, BMVC18)"),
        ("lrcn_ntu60", ["model.network=mobilenet_v2"], "cs", "-"),
        ("two_level_fusion_ntu60", [], "cs", "87.09%"),
        ("two_level_fusion_ntu60", ["model.fusion=early"], "cs", "-"),
        ("two_level_fusion_i3d_ntu60", [], "cs", "92.2% (appearance by I3D, PhD20)"),
        ("two_level_fusion_motion_smarthome", [], "cv1", "20.9% (dense trajectories alone)"),
        ("sta_hands_sbu", ["model.streams=rgb"], "fold_1", "72.0% (RGB alone)"),
        ("sta_hands_sbu", [], "fold_1", "94.1% (after NTU-60)"),
        ("pose_lstm_cad60", [], "loso_2", "67.64%"),
    ],
)
def test_the_row_of_the_runs_own_options(recipe, changes, protocol, own):
    found = reported.figures(config.load(recipe, changes), protocol)
    assert tables.own_figures(found) == own
    assert not reported.figures(config.load(recipe, changes), protocol, "val")


def test_the_row_of_the_network_whose_features_are_read():
    recipe = config.load("temporal_ntu60")
    basis = reported.basis_of(recipe, FEATURES)
    assert basis == {"base_model": "vpn", "pretrained_on": None}
    own = tables.own_figures(reported.figures(recipe, "cv", basis=basis))
    assert own == "96.2% (features of VPN), 95.5% (features of VPN, another table, PhD20)"
    unknown = reported.figures(recipe, "cv")  # which network, only the data show
    assert (tables.own_figures(unknown), sum(figure.possible for figure in unknown)) == ("-", 5)
    fused = dataclasses.replace(recipe, model=config.Model("temporal x vpn"))
    assert tables.own_figures(reported.figures(fused, "cv", basis=basis)) == "96.5% (with VPN)"
    end_to_end = config.load("temporal_nucla", ["model.backbone=i3d"])
    assert tables.own_figures(reported.figures(end_to_end, "v3_12")) == "89.5% (features of I3D)"


def test_a_run_is_followed_to_what_it_started_from(tmp_path):
    for name, recipe, changes in (
        ("first", "i3d_ntu60", []),
        ("second", "i3d_nucla", [f"stages.backbone.init=[{tmp_path}/first]"]),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(config.load(recipe, changes).to_yaml())
    recipe = config.load("pi3d_nucla", [f"stages.full_body.init=[{tmp_path}/second/model.keras]"])
    assert reported.basis_of(recipe)["pretrained_on"] == "ntu60"


def test_all_rows_stand_in_the_tables_and_a_missing_one_is_named():
    metrics = scoring.Metrics(np.array([0, 1]), np.eye(2))
    recipe = config.load("vpn_nucla", ["model.backbone=resnext3d101"])
    printed = tables.comparison(recipe, "v3_12", "test", metrics)
    assert "vpn (after NTU-60)  " in printed
    assert "SkateFormer (poses only, streams fused, epoch chosen on the test view)" in printed
    assert "no paper reports an accuracy of vpn on nucla/v3_12 with this run's options and pre-training" in printed
    recipe = config.load("vpn_nucla")
    summary = tables.summary(recipe, "v3_12", "test", ["a", "b"], metrics)
    assert (summary["reported_own"], summary["reported_percent"]["vpn (after NTU-60)"]) == (
        ["vpn (after NTU-60)"],
        93.5,
    )
    shown = html._figures(recipe, summary)
    assert shown.count("93.5% (after NTU-60)") == 1
    smarthome = tables.comparison(config.load("i3d_smarthome"), "cv1", "test", metrics)
    assert "two_level_fusion (dense trajectories alone)" in smarthome


def test_a_card_puts_a_run_beside_its_own_row():
    run = {
        "dataset": "nucla",
        "protocol": "v3_12",
        "resolved": {"model": {"name": "temporal"}},
        "top1": 0.5,
        "mean_class_accuracy": 0.5,
        "seed": 0,
        "basis": {"base_model": "vpn", "pretrained_on": None},
    }
    page = cards._figures("temporal", [[run]])
    assert "| nucla/v3_12 | 91.4 (features of VPN) | 50.0 | 50.0 | 0 |" in page
    assert "| nucla/v3_12 | 89.5 (features of I3D) | not run | not run | - |" in page
