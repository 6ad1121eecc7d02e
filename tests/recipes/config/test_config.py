"""Recipes: what is read, what is refused and how it is said."""

import dataclasses
import re

import numpy as np
import pytest
import yaml

import zoo
from recipes import config
from recipes.trainers import fusion as two_level_fusion
from recipes.trainers import models, optimisation
from tests.recipes.conftest import TINY
from tests.zoo import tiny_models
from tfrecords import protocols
from tfrecords.reading import pipeline
from zoo import registry
from zoo.pretrained import i3d_checkpoint
from zoo.shared.errors import UserError


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


class Records:
    """What building a model needs to know of a dataset."""

    persons = 1
    layout = "kinect_v1_20"
    feature_size = 24

    @staticmethod
    def labels_of(protocol):
        return tuple("abcd")

    @staticmethod
    def framing(protocol, split, part):
        return "person"


def stage_models(recipe):
    """The models of all stages; that of an estimator, which has none."""
    return [recipe.stage_model(stage) for stage in recipe.stages] or [recipe.model]


def small(recipe):
    """Overrides that make a recipe's models small, and need no download."""
    changes = {"width": 0.0625, "network": "mobilenet_v2", "network_weights": None, "glimpse_size": 32}
    known = registry.options(recipe.model.name)
    video = ["data.frames=8", "data.size=32"] if recipe.data.frames else []
    if any("weights" in model.options for model in stage_models(recipe)):
        changes, known = {**changes, "weights": None}, {*known, "weights"}
    return video + [f"model.{key}={'null' if v is None else v}" for key, v in changes.items() if key in known]


@pytest.mark.parametrize("name", config.names())
def test_every_recipe_resolves(name):
    recipe = config.load(name)
    known = ("default",) if recipe.data.dataset == "folder" else protocols.names(recipe.data.dataset)
    assert recipe.data.protocol in known
    assert config.from_dict(yaml.safe_load(recipe.to_yaml())) == recipe
    assert (config.CONFIGS / f"{name}.yaml").read_text().startswith("#")
    # <method>_<variant of it>_<dataset>_<variant of the training>
    dataset = {"urfd": "falls"}.get(recipe.data.dataset, recipe.data.dataset)  # after what they recognise
    assert re.fullmatch(rf"{recipe.model.name}(_\w+)?_{dataset}(_small|_paper|_from_ntu60)?", name)
    runs = [source for stage in recipe.stages for source in stage.init if config.is_path(source)]
    assert {run.split("/")[1] for run in runs} <= set(config.names())  # where train.py puts them
    if recipe.model.name in registry.ESTIMATORS:
        assert two_level_fusion.estimator(recipe).get_params()["random_state"] == recipe.seed
    else:
        own = set(recipe.model.options) - {"weights"}  # an argument of zoo.build for every model
        assert own <= set(registry.options(recipe.model.name))


def own_model(model):
    """A stage's own model, without the weights that it starts from."""
    return model and (model.name, [option for option in model.options.items() if option[0] != "weights"])


def structure(name):
    """What of a recipe decides whether its stages fit together; recipes of a method on several datasets share it."""
    recipe = config.load(name)
    options = {k: v for k, v in recipe.model.options.items() if not isinstance(v, (int, float))}
    stages_of = [
        (s.name, own_model(s.model), tuple(x for x in s.init if not config.is_path(x)), s.freeze) for s in recipe.stages
    ]
    return str((recipe.model.name, options, stages_of, bool(recipe.data.frames), bool(recipe.data.pose_steps)))


STRUCTURES = {structure(name): name for name in config.names() if config.load(name).stages}


QUICK = ("pose_lstm_synthetic", "separable_sta_synthetic")  # one stage; three stages of three models


@pytest.mark.parametrize(
    "name",
    [
        name if structure(name) in map(structure, QUICK) else pytest.param(name, marks=pytest.mark.slow)
        for name in STRUCTURES.values()
    ],
)
def test_stages_fit_together(name):
    recipe = config.load(name, small(config.load(name)))
    built = {}
    for stage in recipe.stages:
        built[stage.name], inputs = models.build_model(recipe, stage, Records)
        assert {k: tuple(v.shape[1:]) for k, v in built[stage.name].input.items()} == {
            key: tuple(spec.shape) for key, spec in inputs.signature().items()
        }
        earlier = {source for source in stage.init if not config.is_path(source)}
        models.initialise(built[stage.name], dataclasses.replace(stage, init=earlier), built.get)
        models.freeze(built[stage.name], stage)
        if stage.epochs:
            optimisation.make_optimizer(stage, built[stage.name])  # the patterns of its rates fit layers
    assert built[recipe.stages[-1].name].name == recipe.model.name


def test_video_recipes_of_papers_start_from_kinetics():
    """The networks that are trained first do; not those that other weights go into, where they would be lost."""
    methods = ("i3d", "i3d_nonlocal", "pi3d", "separable_sta", "vpn")
    for name in config.names():
        recipe = config.load(name)
        if recipe.model.name not in methods or recipe.data.dataset not in ("ntu60", "ntu120", "smarthome", "nucla"):
            continue
        for stage in recipe.stages:
            model = recipe.stage_model(stage)
            first = model.name in ("i3d", "pi3d") and not stage.init
            assert model.options.get("weights") == ("kinetics400" if first else None), (name, stage.name)
        instead = config.load(name, ["model.weights=null"])
        assert not any(model.options.get("weights") for model in stage_models(instead)), name


class NtuRecords(Records):
    """What NTU RGB+D 60 has."""

    persons = 2
    layout = "kinect_v2_25"

    @staticmethod
    def labels_of(protocol):
        return tuple(map(str, range(60)))


class SbuRecords(Records):
    """What SBU has."""

    persons = 2
    layout = "nite_15"


@pytest.mark.parametrize(
    "name",
    [
        name if name.startswith("pose_cnn") else pytest.param(name, marks=pytest.mark.slow)
        for name in config.names()
        if name.endswith("_from_ntu60")
    ],
)
def test_a_run_of_ntu60_fits_the_recipes_that_start_from_it(name, monkeypatch):
    """All layers but the classifier are filled, however many joints and persons the own dataset has."""
    recipe = config.load(name, small(config.load(name)))
    records = SbuRecords if recipe.data.dataset == "sbu" else Records

    def trained(source, earlier):
        _, run, *inside = source.split("/")  # runs/<recipe>, or runs/<recipe>/stages/<stage>/model.keras
        other = config.load(run, small(config.load(run)))
        stage = next(s for s in other.stages if s.name == inside[1]) if inside else other.stages[-1]
        made.append(models.build_model(other, stage, NtuRecords)[0])
        return made[-1]

    monkeypatch.setattr(models, "_trained", trained)
    for stage in recipe.stages:
        if any(config.is_path(source) for source in stage.init):
            made = []
            model, _ = models.build_model(recipe, stage, records)
            models.initialise(model, stage, None)
            own, source = ({w.name: w for w in m.layers if w.weights} for m in (model, made[0]))
            assert own.keys() == source.keys()
            for layer in own.keys() - {"classifier", "pose_cnn.classifier"}:
                for value, expected in zip(own[layer].get_weights(), source[layer].get_weights()):
                    np.testing.assert_array_equal(value, expected)


def test_weights_reach_the_stages_that_name_them(tmp_path, monkeypatch):
    sizes = ["data.frames=8", "data.size=32", "model.width=0.0625"]
    small = zoo.build("i3d", num_classes=4, frames=8, size=32, width=0.0625)
    layers = [layer for layer in small.layers if i3d_checkpoint.I3D.variables(layer)]
    values = {}
    for layer in layers:
        values.update(zip(i3d_checkpoint.I3D.variables(layer), layer.get_weights()))
    values.update(zip(i3d_checkpoint.I3D.head, small.get_layer("classifier").get_weights()))
    i3d_checkpoint.write(tmp_path / "model.ckpt", values)
    recipe = config.load("pi3d_nucla", [*sizes, f"model.weights={tmp_path / 'model.ckpt'}"])
    assert [stage.model.options["weights"] for stage in recipe.stages[:3]] == [str(tmp_path / "model.ckpt")] * 3
    tower, _ = models.build_model(recipe, recipe.stages[1], Records)
    for layer in layers:
        own = tower.get_layer(f"left_hand.{layer.name}").get_weights()
        np.testing.assert_array_equal(own[0], layer.get_weights()[0])
    assert "weights" not in recipe.model.options
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    recipe = config.load("pi3d_nucla", sizes)
    with pytest.raises(UserError) as error:
        models.build_model(recipe, recipe.stages[1], Records)
    assert str(error.value) == (
        f"recipe pi3d_nucla: stages.left_hand: weights 'kinetics400' are not in {tmp_path}/keras-adl-zoo/kinetics400: "
        "fetch them with python -m zoo.weights kinetics400; or start from random ones: --set model.weights=null"
    )


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("vpn_ntu60_cv", "cv"),
        ("pose_lstm_msr_daily_loso_7", "loso_7"),
        ("pose_lstm_cad60_paper_loso_4", "loso_4"),
        ("i3d_ntu120", "cs1"),
        ("i3d_nucla_from_ntu60_v2_13", "v2_13"),
    ],
)
def test_a_name_may_end_in_a_protocol(name, protocol):
    recipe = config.load(name)
    assert (recipe.name, recipe.data.protocol) == (name, protocol)
    assert config.load(name, ["data.protocol=cs"]).data.protocol == "cs"
    with pytest.raises(UserError, match="unknown recipe 'vpn_ntu60_cs1', did you mean"):
        config.load("vpn_ntu60_cs1")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("modle=1", ["unknown key 'modle'", "did you mean 'model'"]),
        ("data.augment.rotatoin=3", ["data.augment", "did you mean 'rotation'"]),
        ("stages.first.optimizer.lerning_rate=1", ["stages.first.optimizer", "did you mean 'learning_rate'"]),
        ("stages.frist.epochs=3", ["stages has no stage 'frist'", "did you mean 'first'"]),
        ("stages.first.optimizer.name=sdg", ["stages.first.optimizer.name", "did you mean 'sgd'"]),
        ("stages.first.schedule=cosine", ["stages.first.schedule: expected {name:"]),
        ("stages.first.schedule={name: step}", ["stages.first.schedule.every: missing", "whole number"]),
        ("stages.first=3", ["stages.first", "a key of the stage"]),
        ("stages.first.optimizer.name=[sgd]", ["stages.first.optimizer.name", "unknown name"]),
        (f"seed={10**400}", ["seed: expected a number at least 0"]),
        ("batch=many", ["batch: expected a whole number", "'many'"]),
        ("batch=2.5", ["batch: expected a whole number", "2.5"]),
        ("batch=true", ["batch: expected a whole number", "True"]),
        ("batch=0", ["batch: expected a number at least 1", "0"]),
        ("seed=null", ["seed: expected a whole number", "nothing"]),
        ("stages.first.optimizer.learning_rate=.nan", ["expected a number above 0", "nan"]),
        ("stages.first.optimizer.momentum=1", ["expected a number at least 0 and below 1"]),
        ("evaluate.clips=some", ["evaluate.clips: expected a whole number or all"]),
        ("evaluate.crops=2", ["evaluate.crops: expected 1 or 3 or full"]),
        ("evaluate.crops=3", ["evaluate.crops: crops are of video"]),
        ("evaluate.pose_crop=1.5", ["evaluate.pose_crop: expected a number above 0 and at most 1"]),
        ("evaluate.pool=[mean]", ["evaluate.pool: expected mean_softmax or"]),
        ("data.cache=1", ["data.cache: expected true or false"]),
        ("data.balance=subjects", ["data.balance: expected none or classes", "'subjects'"]),
        ("data.train_on=test", ["data.train_on: expected train or train_and_val"]),
        ("data.train_on=train_and_val", ["stages.first.monitor", "nothing to choose on, set it to last"]),
        ("stages.second.monitor=last", ["stages.second.monitor", "leave early_stopping and plateau out"]),
        (
            "data={dataset: synthetic, protocol: cv, granularities: [2], segment_steps: 3, augment: {pose_crop: 0.5}}",
            ["data.augment.pose_crop", "whole clips"],
        ),
        (
            "data={dataset: synthetic, protocol: cv, granularities: [2], segment_steps: 3, augment: {time_warp: 2}}",
            ["data.augment.time_warp", "whole clips"],
        ),
        ("data.augment.pose_pad=-1", ["data.augment: pose_pad is -1, expected a number from 0 to 10"]),
        ("data.augment.noise=-0.1", ["data.augment: noise is -0.1, expected a number from 0"]),
        ("data.augment.tilt=200", ["data.augment: tilt is 200, expected a number from 0 to 180"]),
        ("data.augment.hue=0.6", ["data.augment: hue is 0.6, expected a number from 0 to 0.5"]),
        ("data.augment.temporal_jitter=2", ["data.augment.temporal_jitter: expected true or false"]),
        ("data.parts=full_body", ["data.parts: expected a list of text"]),
        ("data.parts=[full_bdoy]", ["data.parts: unknown body part", "did you mean 'full_body'"]),
        ("data.parts=[]", ["data.parts: is empty, expected at least one of full_body"]),
        ("data.layout=kinect_v2", ["data.layout: unknown skeleton layout", "did you mean 'kinect_v2_25'"]),
        (
            "data={dataset: synthetic, protocol: cv, frames: 2, layout: nite_15}",
            ["data.layout: is the layout of poses, which"],
        ),
        ("data.persons=0", ["data.persons: expected a number at least 1"]),
        ("data.dataset=synthetc", ["data.dataset", "did you mean 'synthetic'"]),
        ("data.normalisation.axes=bodi", ["data.normalisation", "did you mean 'body'"]),
        ("data.pose_steps=0", ["frames and pose_steps are both 0"]),
        ("stages.second.init=[third]", ["stages.second.init", "no earlier stage 'third'", "first"]),
        ("stages.second.gradient_checkpointing=1", ["stages.second.gradient_checkpointing: expected true or false"]),
        ("stages.second.model=i3d", ["stages.second.model", "last stage"]),
        ("stages.second.name=first", ["stages.first", "two stages"]),
        ("stages.second.name=a/b", ["folder", "letters"]),
        ("stages=[]", ["at least one stage"]),
        ("model={lstm_units: 3}", ["model: expected a model such as"]),
        ("batch", ["--set batch", "key=value"]),
        ("batch.size=3", ["--set batch.size=3", "expected a section with keys"]),
        ("data.augment={rotation: 1", ["--set data.augment", "not valid YAML"]),
    ],
)
def test_mistakes_are_named(tiny, override, words):
    with pytest.raises(UserError) as error:
        config.load(tiny, [override])
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_parts_of_a_clip_are_of_poses_alone():
    assert config.load("pose_gcn_synthetic", ["evaluate.pose_crop=0.5"]).evaluate.pose_crop == 0.5
    with pytest.raises(UserError, match=r"evaluate\.pose_crop: only a model of poses alone"):
        config.load("separable_sta_synthetic", ["evaluate.pose_crop=0.5"])
    for key, recipe in (("evaluate", "separable_sta_synthetic"), ("data.augment", "pi3d_synthetic")):
        with pytest.raises(UserError, match=rf"{key}\.swap_persons: .* set it to false"):
            config.load(recipe, [f"{key}.swap_persons=true"])
    steps = "sta_hands_synthetic"  # sees pictures of hands at its pose steps, and data.frames is 0
    for wrong in ("data.augment.swap_persons=true", "evaluate.swap_persons=true", "evaluate.pose_crop=0.5"):
        with pytest.raises(UserError, match=f"{wrong.partition('=')[0]}: "):
            config.load(steps, [wrong])
    assert config.load(steps, ["evaluate.crops=3"]).evaluate.crops == 3
    assert config.load("vpn_nucla", ["evaluate.flip=true"]).evaluate.flip
    with pytest.raises(UserError, match=r"evaluate\.flip: stored features cannot be mirrored, set it to false"):
        config.load("temporal_nucla", ["evaluate.flip=true"])


def test_models_of_video_and_poses_are_trained_without_poses_too(tiny):
    for recipe in ("sta_hands_synthetic", "temporal_synthetic"):  # frames at the pose steps; stored features
        assert config.load(recipe, ["data.augment.pose_missing=0.1"]).data.augment.pose_missing == 0.1
    with pytest.raises(UserError, match=r"data\.augment\.pose_missing: .* of poses alone set it to 0"):
        config.load(tiny, ["data.augment.pose_missing=0.1"])


def test_losses_of_several_outputs_have_no_weights_of_classes(tiny):
    with pytest.raises(UserError, match=r"stages\.second\.class_weights: .*leave them out"):
        config.load(tiny, ["model.loss=all_steps", "stages.second.class_weights=balanced"])
    with pytest.raises(UserError, match=r"stages\.hands\.class_weights: .* both streams .*leave them out"):
        config.load("sta_hands_synthetic", ["stages.hands.class_weights=balanced"])


def test_former_keys_are_read_with_a_notice(tiny, capsys):
    former = ["stages.second.recompute=true", 'stages.second.rates=[{layers: "lstm_1", factor: 0.2}]']
    second = config.load(tiny, former).stages[1]
    assert (second.gradient_checkpointing, second.layer_learning_rates) == (True, (config.Rate("lstm_1", 0.2),))
    assert capsys.readouterr().err.splitlines() == [
        "notice: stages.second.recompute is now gradient_checkpointing",
        "notice: stages.second.rates is now layer_learning_rates",
    ]
    model = config.load("global_synthetic", ["model.basic=vpn", "model.basic_options={width: 2.0}"]).model
    assert (model.options["base_model"], model.options["base_model_options"]) == ("vpn", {"width": 2.0})
    assert "basic" not in model.options
    assert "notice: model.basic is now base_model" in capsys.readouterr().err
    sta = config.load("separable_sta_synthetic", ["model.strategy=sa"])
    assert sta.model.options["attention"] == "sa"


def test_a_recipe_that_was_resolved_before_is_the_same(tiny):
    """Run directories written earlier hold former keys; they are read without a notice."""
    recipe = config.load(tiny)
    values = recipe.to_dict()
    for stage in values["stages"]:
        stage["least_steps"] = 0
        stage["recompute"], stage["rates"] = stage.pop("gradient_checkpointing"), stage.pop("layer_learning_rates")
    assert config.from_dict(values) == recipe


@pytest.mark.parametrize("excluded", ["xla=true", "mixed_precision=bfloat16"])
def test_what_activation_checkpointing_does_not_go_with(tiny, excluded):
    reason = r"stages.first.gradient_checkpointing: .*set (xla to false|mixed_precision to float32)$"
    with pytest.raises(UserError, match=reason):
        config.load(tiny, ["stages.first.gradient_checkpointing=true", excluded])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["expected {model, data, stages"]),
        ("- a", ["expected {model, data, stages"]),
        ("model: pose_lstm\n", ["data: missing"]),
        ("batch: 3\nbatch: 4\n", ["line", "'batch' comes twice"]),
        ("model: [", ["line", "not valid YAML"]),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, text, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        config.load(path)
    for word in words:
        assert word in str(error.value)


def test_unknown_recipe_lists_the_valid_ones_and_the_nearest():
    with pytest.raises(UserError, match=r"did you mean 'pose_lstm_nucla'.*i3d_synthetic"):
        config.load("pose_lstm_ncula")
    with pytest.raises(UserError, match="no such file"):
        config.load("no/such.yaml")


def test_overrides_are_typed_as_yaml(tiny):
    recipe = config.load(
        tiny,
        [
            "stages.first.optimizer.learning_rate=1e-4",  # text in YAML 1.1
            "stages.first.schedule={name: step, every: 3}",
            "stages.second.freeze=[lstm_1, lstm_*]",
            "data.augment.flip=true",
            "model.dropout=[0.1, 0.2, 0.3]",
            "evaluate.clips=all",
        ],
    )
    first, second = recipe.stages
    assert first.optimizer == config.SGD("sgd", learning_rate=1e-4, momentum=0.9)
    assert first.schedule == config.Step("step", every=3, factor=0.1)
    assert second.freeze == ("lstm_1", "lstm_*")
    assert recipe.data.augment.flip is True
    assert recipe.data.augment.rotation == 20.0
    assert recipe.model.options["dropout"] == (0.1, 0.2, 0.3)
    assert recipe.evaluate.clips == "all"
    assert recipe.name == "tiny"


def test_settings_of_a_protocol(tiny):
    """They replace the recipe's values under that protocol, and --set replaces them."""
    tiny.write_text(TINY + "protocols: {cs: {model.width: 0.7, stages.first.epochs: 5}, cv: {batch: 4}}\n")
    recipe = config.load(tiny)
    assert (recipe.model.options["width"], recipe.stages[0].epochs, recipe.batch) == (0.1, 3, 4)
    recipe = config.load(tiny, ["data.protocol=cs", "model.width=0.9"])
    assert (recipe.model.options["width"], recipe.stages[0].epochs, recipe.batch) == (0.9, 5, 6)
    assert config.from_dict(yaml.safe_load(recipe.to_yaml())) == recipe


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("[cs]", ["protocols: expected {cv1: {model.dropout: 0.5}}", "list"]),
        ("{cs: 3}", ["protocols.cs: expected {model.dropout: 0.5}", "int 3"]),
        ("{cs2: {batch: 3}}", ["protocols: unknown protocol 'cs2'", "did you mean 'cs'"]),
        ("{cv: {stages.frist.epochs: 3}}", ["protocols.cv: stages.frist.epochs", "did you mean 'first'"]),
        ("{cv: {batch: many}}", ["batch: expected a whole number"]),
    ],
)
def test_mistakes_in_settings_of_a_protocol_are_named(tiny, section, words):
    tiny.write_text(f"{TINY}protocols: {section}\n")
    with pytest.raises(UserError) as error:
        config.load(tiny)
    for word in ["tiny.yaml", *words]:
        assert word in str(error.value)


def test_settings_of_smarthomes_protocols():
    """PhD20 table 6.7: units and dropout in cs, cv1 and cv2."""

    def options(name, part=None):
        found = [config.load(name if p == "cs" else f"{name}_{p}") for p in ("cs", "cv1", "cv2")]
        return [(recipe.stages[0].model if part else recipe.model).options for recipe in found]

    assert [(o["lstm_units"], o["dropout"]) for o in options("lrcn_smarthome")] == [(256, 0.5), (128, 0.6), (128, 0.5)]
    found = [(o["lstm_units"], o["dropout"]) for o in options("pose_lstm_smarthome")]
    assert found == [(512, 0.5), (128, 0.6), (128, 0.5)]
    for name, part in (("i3d", None), ("i3d_nonlocal", None), ("separable_sta", "backbone"), ("vpn", "backbone")):
        found = options(f"{name}_smarthome", part)
        assert [o["dropout"] for o in found] == [0.2, 0.5, 0.5]
        assert all((o["classifier_l2"], o["classifier_l1"]) == (0.01, 0.01) for o in found)


def test_video_is_mirrored_in_the_papers_trainings():
    """Flip and crop in all stages of video (PhD20 section 4.6.1); stored features cannot be mirrored."""
    methods = ("i3d", "i3d_nonlocal", "lrcn", "pi3d", "separable_sta", "vpn")
    for name in [f"{method}_{data}" for method in methods for data in ("ntu60", "ntu120", "nucla", "smarthome")]:
        augment = config.load(name).data.augment
        assert (augment.flip, augment.crop) == (True, True), name


def test_differences_name_the_keys(tiny):
    changed = ["stages.second.optimizer.learning_rate=0.5", "model.width=0.5", "stages.first.schedule.name=cosine"]
    keys = config.differences(config.load(tiny), config.load(tiny, changed))
    assert sorted(keys) == [
        "model.width",
        "stages.first.schedule.final",
        "stages.first.schedule.name",
        "stages.second.optimizer.learning_rate",
    ]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.widt=3", ["stages.second", "did you mean 'width'"]),
        ("model.name=pose_lstn", ["stages.second", "did you mean 'pose_lstm'"]),
        ("model.pose_steps=3", ["stages.second", "pose_steps", "data"]),
        ("stages.second.gradient_checkpointing=true", ["stages.second", "pose_cnn has no video network"]),
        ("model.name=separable_sta", ["separable_sta needs frames", "data.frames"]),
    ],
)
def test_options_are_the_zoos(tiny, override, words):
    recipe = config.load(tiny, [override])
    with pytest.raises(UserError) as error:
        models.build_model(recipe, recipe.stages[-1], Records)
    for word in words:
        assert word in str(error.value)


SMALL_HANDS = "name: sta_hands, network: mobilenet_v2, glimpse_size: 32, width: 0.0625, lstm_units: 4"


def test_video_without_frames_of_its_own_has_those_of_the_pose_steps(tiny):
    hands = ["data.size=40", "data.parts=[left_hand, right_hand]", f"model={{{SMALL_HANDS}}}"]
    recipe = config.load(tiny, [*hands, "stages.first.model=pose_cnn", "data.frames=8"])
    (pose, fed_poses), (whole, fed) = (models.build_model(recipe, stage, Records) for stage in recipe.stages)
    assert (fed.frames, fed.frames_at, fed.pose_steps, fed.parts) == (3, "pose_steps", 3, ("left_hand", "right_hand"))
    assert (fed_poses.frames, fed_poses.pose_steps, fed_poses.pose_xy) == (0, 3, False)
    models.initialise(whole, recipe.stages[1], {"first": pose}.get)
    models.freeze(whole, config.load(tiny, ["stages.second.freeze=[pose_*]"]).stages[1])
    trained = {layer.name for layer in whole.layers if layer.trainable_weights}
    assert trained == {"glimpse_lstm", "step_features", "temporal_hidden", "temporal_attention", "classifier"}
    places = config.load(tiny, ["data.size=40", f"model={{{SMALL_HANDS}, glimpses: frames}}"])
    _, fed = models.build_model(places, places.stages[-1], Records)
    assert (fed.frames, fed.frames_at, fed.pose_xy, fed.parts) == (3, "pose_steps", True, ("full_body",))


def test_poses_as_another_dataset_has_them(tiny):
    """What fine-tuning of another dataset's model needs: its layout and its number of persons."""
    recipe = config.load(tiny, ["data.layout=kinect_v2_25", "data.persons=2"])
    model, fed = models.build_model(recipe, recipe.stages[0], Records)
    assert tuple(model.input["pose"].shape) == (None, 3, 2, 25, 3)
    assert (fed.layout, fed.persons, fed.stored_pose) == ("kinect_v2_25", 2, (1, "kinect_v1_20"))
    same = config.load(tiny, ["data.layout=kinect_v1_20", "data.persons=1"]).data.inputs(Records)
    assert same == config.load(tiny).data.inputs(Records)
    with pytest.raises(UserError, match=r"data\.layout: poses of kinect_v1_20 can be mapped onto .*, not coco_17"):
        models.build_model(config.load(tiny, ["data.layout=coco_17"]), recipe.stages[0], Records)


def test_whole_pictures_are_for_networks_that_are_convolutional_in_space():
    """VPN is tested so (PhD20 section 4.6.1); P-I3D adds maps of several pictures."""
    assert {config.load(f"vpn_{data}").evaluate.crops for data in ("ntu60", "ntu120", "nucla", "smarthome")} == {"full"}
    assert config.load("separable_sta_nucla", ["evaluate.crops=full"]).evaluate.crops == "full"
    with pytest.raises(UserError, match=r"evaluate\.crops: pi3d takes squares alone, full is for i3d, .*vpn: set it"):
        config.load("pi3d_nucla", ["evaluate.crops=full"])


def test_a_network_of_one_video_may_read_whole_images(tiny):
    """With data.parts [full_image]; a tower of P-I3D reads them as such."""
    recipe = config.load("i3d_synthetic", ["data.parts=[full_image]", "model.width=0.0625", "data.size=32"])
    _, inputs = models.build_model(recipe, recipe.stages[-1], Records())
    assert (inputs.parts, inputs.whole_frames, inputs.stored_part("full_body")) == (("full_body",), True, "full_image")
    whole = pipeline.Inputs(frames=8, parts=("full_body", "full_image"))
    model = tiny_models.build("pi3d", parts=("full_image",), attention=False, frames=8, size=32)
    inputs = models.inputs_of(model, whole)
    assert (inputs.parts, inputs.whole_frames) == (("full_image",), False)


def test_parts_that_are_not_read(tiny):
    recipe = config.load(tiny, ["data.size=40", f"model={{{SMALL_HANDS}}}"])
    with pytest.raises(UserError, match="sta_hands reads pictures of left_hand, right_hand, add them"):
        models.build_model(recipe, recipe.stages[-1], Records)


def test_a_part_takes_the_options_it_shares_with_the_whole(tiny):
    whole = "model={name: separable_sta, width: 0.0625, lstm_units: 5, dropout: 0.3}"
    shared = ["data.frames=8", "data.size=32", whole, "stages.first.model=pose_lstm"]
    recipe = config.load(tiny, shared)
    pose, _ = models.build_model(recipe, recipe.stages[0], Records)
    assert pose.get_layer("lstm_3").units == 5
    assert pose.get_layer("lstm_3_dropout").rate == 0.5  # its own dropout, not that of the whole model's head
    own = config.load(tiny, [*shared, "stages.first.model={name: pose_lstm, lstm_units: 7}"])
    pose, _ = models.build_model(own, own.stages[0], Records)
    assert pose.get_layer("lstm_3").units == 7
    whole, _ = models.build_model(own, own.stages[1], Records)
    with pytest.raises(UserError, match="lstm_1"):
        models.initialise(whole, own.stages[1], {"first": pose}.get)


def test_a_stage_starts_from_a_trained_model(tiny, tmp_path):
    recipe = config.load(tiny)
    trained, _ = models.build_model(recipe, recipe.stages[0], Records)
    path = tmp_path / "trained.keras"
    trained.save(path)
    recipe = config.load(tiny, [f"stages.second.init=[{path}]"])
    model, _ = models.build_model(recipe, recipe.stages[1], Records)
    models.initialise(model, recipe.stages[1], None)
    for before, after in zip(trained.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(before, after)
    other = config.load(tiny, [f"stages.first.model={{name: pose_cnn, width: 0.1, weights: {path}}}"])
    model, _ = models.build_model(other, other.stages[0], Records)
    for before, after in zip(trained.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(before, after)
    path.unlink()
    with pytest.raises(UserError, match=r"stages\.second\.init: .*trained.keras: no such file"):
        models.initialise(model, recipe.stages[1], None)


def test_freezing_takes_patterns(tiny):
    recipe = config.load(tiny, ["stages.second.freeze=[pose_conv_*]"])
    model, _ = models.build_model(recipe, recipe.stages[1], Records)
    models.freeze(model, recipe.stages[1])
    assert len(model.trainable_variables) == 2  # the classifier's kernel and bias
    wrong = config.load(tiny, ["stages.second.freeze=[pose_conv_9]"]).stages[1]
    with pytest.raises(UserError, match=r"stages\.second\.freeze.*did you mean 'pose_conv_"):
        models.freeze(model, wrong)
