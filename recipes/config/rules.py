"""The rules between the sections of a recipe."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import Any

from recipes.config.sections import Recipe, Stage, is_path
from tfrecords import datasets
from tfrecords.reading import augmentation
from zoo import registry, skeletons
from zoo.shared import messages


class Invalid(Exception):
    """A value at ``path`` (dotted keys) is wrong."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)


def unknown(kind: str, name: object, valid: Iterable) -> str:
    """``<kind> <name>, did you mean <nearest>? Valid: <all>``: the message about an invalid name."""
    return f"{kind} {name!r}{messages.nearest(name, list(valid) or ['none'])}"


def check(recipe: Recipe) -> None:
    """Raises :class:`Invalid` if keys do not fit together."""
    _check_data(recipe)
    _check_views(recipe)
    if recipe.is_estimator:
        _check_estimator(recipe)
    else:
        _check_stages(recipe)


def _sees_pictures(recipe: Recipe) -> bool:
    """Whether pictures are read. A video model without an option ``frames`` reads the pictures at its pose steps."""
    name = recipe.model.name
    at_steps = name in registry.with_option("size") and name not in registry.with_option("frames")
    return bool(recipe.data.frames or (recipe.data.pose_steps and at_steps))


def _check_data(recipe: Recipe) -> None:
    data = recipe.data
    if data.dataset not in datasets.NAMES:
        raise Invalid("data.dataset", unknown("unknown dataset", data.dataset, datasets.NAMES))
    if not (data.frames or data.pose_steps or data.granularities or recipe.is_estimator):
        nothing = "frames and pose_steps are both 0 and granularities is empty"
        raise Invalid("data", f"{nothing}, expected at least one above: nothing would be read")
    for part in data.parts:
        if part not in skeletons.PARTS:
            raise Invalid("data.parts", unknown("unknown body part", part, skeletons.PARTS))
    if not data.parts:
        raise Invalid("data.parts", f"is empty, expected at least one of {', '.join(skeletons.PARTS)}")
    if data.layout is not None and data.layout not in skeletons.LAYOUTS:
        raise Invalid("data.layout", unknown("unknown skeleton layout", data.layout, skeletons.LAYOUTS))
    if data.layout and not data.pose_steps and not data.segment_steps:
        raise Invalid("data.layout", "is the layout of poses, which are not read: leave it out")
    if data.granularities and data.augment.flip:
        raise Invalid("data.augment.flip", "stored features cannot be mirrored, set it to false")
    if data.interpolate and data.segment_steps:
        raise Invalid("data.interpolate", "the poses of segments are those of frames, set it to false")
    if data.augment.pose_missing and not (_sees_pictures(recipe) or data.granularities):
        raise Invalid("data.augment.pose_missing", "is for models of video and poses, of poses alone set it to 0")
    if data.augment.swap_persons and _sees_pictures(recipe) and set(data.parts) != {"full_body"}:
        raise Invalid("data.augment.swap_persons", "the pictures of hands are the first person's, set it to false")
    for name in ("pose_crop", "pose_pad", "time_warp"):
        unchanged = getattr(augmentation.Augmentation(), name)
        if data.segment_steps and getattr(data.augment, name) != unchanged:
            raise Invalid(f"data.augment.{name}", f"the poses of segments are of whole clips, set it to {unchanged:g}")


def _check_views(recipe: Recipe) -> None:
    data = recipe.data
    if recipe.evaluate.crops != 1 and not _sees_pictures(recipe):
        raise Invalid("evaluate.crops", "crops are of video, but this recipe reads no pictures: set it to 1")
    name = recipe.model.name
    if recipe.evaluate.crops == "full" and name not in (able := registry.with_option("fully_convolutional")):
        raise Invalid("evaluate.crops", f"{name} takes squares alone, full is for {', '.join(able)}: set it to 1 or 3")
    poses_alone = data.pose_steps and not (_sees_pictures(recipe) or data.granularities)
    if recipe.evaluate.pose_crop < 1 and not poses_alone:
        raise Invalid("evaluate.pose_crop", "only a model of poses alone is scored on parts of a clip: set it to 1")
    if recipe.evaluate.swap_persons and not poses_alone:
        raise Invalid(
            "evaluate.swap_persons", "only a model of poses alone is scored with persons swapped: set it to false"
        )
    if recipe.evaluate.flip and data.granularities:
        raise Invalid("evaluate.flip", "stored features cannot be mirrored, set it to false")


def _check_stages(recipe: Recipe) -> None:
    stages = recipe.stages
    if not stages:
        raise Invalid("stages", "expected at least one stage")
    earlier: list[str] = []
    for stage in stages:
        _check_stage(recipe, stage, earlier)
        earlier.append(stage.name)
    if stages[-1].model is not None:
        raise Invalid(f"stages.{stages[-1].name}.model", "the last stage trains the recipe's model, leave it out")


def _check_stage(recipe: Recipe, stage: Stage, earlier: list[str]) -> None:
    """The rules of one stage; ``earlier``: names of the stages before it."""
    path, data = f"stages.{stage.name}", recipe.data
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", stage.name):
        raise Invalid(path, "a stage's name is a folder's, expected letters, digits, _ and -")
    if stage.name in earlier:
        raise Invalid(path, "two stages have this name, expected different ones")
    for source in stage.init:
        if source not in earlier and not is_path(source):
            raise Invalid(f"{path}.init", unknown("no earlier stage", source, earlier))
    needs_best = stage.early_stopping or stage.schedule.name == "plateau"
    if stage.monitor == "last" and needs_best:
        raise Invalid(f"{path}.monitor", "last chooses no epoch: leave early_stopping and plateau out")
    if data.train_on == "train_and_val" and stage.monitor != "last":
        raise Invalid(f"{path}.monitor", "data.train_on train_and_val leaves nothing to choose on, set it to last")
    if stage.gradient_checkpointing and recipe.xla:
        raise Invalid(
            f"{path}.gradient_checkpointing",
            "XLA merges repeated computations, so no memory is saved: set xla to false",
        )
    if stage.gradient_checkpointing and recipe.mixed_precision != "float32":
        raise Invalid(f"{path}.gradient_checkpointing", "was tested in float32 only: set mixed_precision to float32")
    model = recipe.stage_model(stage)
    if stage.class_weights != "none" and model.options.get("loss") == "all_steps":
        raise Invalid(
            f"{path}.class_weights", "the loss of all steps is exact without class weights only: leave them out"
        )
    if stage.class_weights != "none" and model.name == "sta_hands" and model.options.get("streams") != "rgb":
        exact = "the loss of both streams is exact without class weights only"
        raise Invalid(f"{path}.class_weights", f"{exact}: leave them out")
    if stage.cache_frozen and not stage.freeze:
        raise Invalid(f"{path}.cache_frozen", "stores the output of frozen layers, name them in freeze")
    if stage.cache_frozen and stage.gradient_checkpointing:
        raise Invalid(f"{path}.cache_frozen", "does not go with gradient_checkpointing: set one of them")
    if stage.linear_probe and not stage.cache_frozen:
        raise Invalid(f"{path}.linear_probe", "is fitted to stored features, set cache_frozen to their views of a clip")
    if stage.linear_probe and stage.average:
        raise Invalid(f"{path}.linear_probe", "an average of weights begins before it is fitted: leave average out")
    if not stage.epochs and not stage.init and not stage.linear_probe:
        raise Invalid(f"{path}.epochs", "0 epochs need trained weights to start from, name them in init")


def _check_estimator(recipe: Recipe) -> None:
    """A key that an estimator does not use is an error: it would silently have no effect."""
    name, data = recipe.model.name, recipe.data
    cues = recipe.model.options.get("cues", ("pose",))
    if "pose" in cues and not data.pose_steps:
        raise Invalid("data.pose_steps", f"{name} reads poses, expected a number above 0")
    if "pose" not in cues and data.pose_steps:
        raise Invalid("data.pose_steps", f"{name} reads no poses where its cues have none, leave it out")
    of_data = (
        "train_on",
        "frames",
        "stride",
        "short_clips",
        "parts",
        "interpolate",
        "augment",
        "cache",
        "balance",
        "granularities",
        "segment_steps",
        "layout",
        "persons",
    )
    useless: dict[str, tuple[Any, str]] = {f"data.{key}": (data, key) for key in of_data}
    useless.update({key: (recipe, key) for key in ("stages", "evaluate", "mixed_precision", "xla")})
    for key, (section, field) in useless.items():
        (default,) = [_default(f) for f in dataclasses.fields(section) if f.name == field]
        if getattr(section, field) != default:
            raise Invalid(key, f"has no effect on {name}, leave it out")


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
