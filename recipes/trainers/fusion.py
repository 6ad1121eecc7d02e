"""Two-level fusion from converted datasets: what ``train.py`` and ``evaluate.py`` do for its recipes.

The run directory holds ``model.joblib`` (a :class:`zoo.fusion.TwoLevelFusion`, read by ``joblib.load``),
``cues.json`` (accuracy of every cue on validation, the region, a, the similar pairs) and ``features`` (the cache: a
training that was stopped does not compute these features again). If the recipe sets ``stored_maps``, the cache is in
that folder instead, where other runs find it: a clip's features do not depend on the protocol.

Parameters are chosen on the validation split of the dataset. With ``model.validation``, a fraction, they are chosen on
whole subjects of training and validation together, which suits a protocol that tests on other people.

The options of a recipe's ``model`` are the flat names of :data:`zoo.fusion.options.FLAT_OPTIONS` (``lstm_units``); the
nested names (``pose__lstm_units``) are read as well.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import joblib
import numpy as np
from sklearn.model_selection import PredefinedSplit

from recipes.config import Recipe
from recipes.reports import scoring
from recipes.reports import tables as report
from recipes.run_directory import RunDirectory
from recipes.trainers import distribution
from recipes.trainers.base import Prepared, Scored, Trainer
from recipes.trainers.callbacks import MakesCallback
from tfrecords import schema
from tfrecords.converting import crops
from tfrecords.reading import pipeline, poses, random_access
from tfrecords.reading.pipeline import Records
from zoo import ZooError, skeletons
from zoo.checks import WeightsError
from zoo.fusion import Clip, TwoLevelFusion
from zoo.fusion.options import nested_options
from zoo.shared import command_line, files, messages
from zoo.shared.errors import UserError

MODEL = "model.joblib"
CUES = "cues.json"
FEATURES = "features"
_PART = {"upper_body": "full_body"}  # regions that are cut out of the pictures of a part
_BELOW = ("hip", "knee", "ankle", "foot")  # joints that are not of the upper body


def estimator(recipe: Recipe, memory: str = FEATURES) -> TwoLevelFusion:
    """The unfitted estimator of a recipe; ``UserError`` if an option is wrong.

    Args:
        recipe: The recipe.
        memory: Folder of the cache.
    """
    data = recipe.data
    given: dict[str, Any] = {"size": data.size, "batch": recipe.batch}
    if data.pose_steps:
        given["pose_steps"] = data.pose_steps
    given.update(random_state=recipe.seed, memory=memory)
    try:
        for option in recipe.model.options:
            if not nested_options({option: None}).keys().isdisjoint(nested_options(given)):
                raise ZooError(f"option {option} of {recipe.model.name} is set elsewhere in the recipe, leave it out")
        return TwoLevelFusion.from_options(**recipe.model.options, **given).check_parameters()
    except ZooError as error:
        raise UserError(f"recipe {recipe.name}: {error}") from None


class FusionTrainer(Trainer):
    """Trains a :class:`zoo.fusion.TwoLevelFusion`, in one process."""

    has_layers = False

    def check(self, recipe: Recipe, records: Records, strategy: Any) -> None:
        """Raises ``UserError`` if the recipe is trained by several processes."""
        if distribution.workers(strategy)[1] > 1:
            raise UserError(f"{recipe.model.name} is trained by one process: leave {distribution.VARIABLE} out")

    def prepare(
        self, recipe: Recipe, records: Records, strategy: Any = None, run: pathlib.Path | None = None
    ) -> Prepared:
        """Checks the options, and finds out which parts of the body are read."""
        chosen = estimator(recipe)
        regions = [*((chosen.regions or ()) if "appearance" in chosen.cues else ())]
        if "motion" in chosen.cues:
            regions.append(chosen.get_params()["motion__region"])
        parts = {_PART.get(region, region) for region in regions}
        # frames=1 means that pictures are read; in fact, the pictures of every frame are read.
        ordered = tuple(part for part in skeletons.PARTS if part in parts)
        read = dataclasses.replace(recipe.data, frames=1, parts=ordered or recipe.data.parts)
        return Prepared(read.inputs(records))

    def train(
        self,
        recipe: Recipe,
        records: Records,
        prepared: Prepared,
        strategy: Any,
        run: str | os.PathLike,
        callbacks: Sequence[MakesCallback] = (),
    ) -> None:
        """Trains, unless the run directory holds a trained estimator; there are no epochs for callbacks."""
        run = pathlib.Path(run)
        if (run / MODEL).is_file():
            print(f"{recipe.name}: finished before, not repeated", flush=True)
            return
        for split in ("train", "val"):
            records.check(prepared.inputs, recipe.data.protocol, split)
        parts = [clips(records, recipe.data.protocol, split, recipe) for split in ("train", "val")]
        found = [clip for part in parts for clip in part[0]]
        labels, subjects = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
        names = records.labels_of(recipe.data.protocol)
        model = estimator(recipe, memory=_cache(recipe, run))
        groups = subjects if "validation" in recipe.model.options else None
        if groups is None:
            fold = np.repeat([-1, 0], [len(part[0]) for part in parts])  # -1: never validates
            model.set_params(validation=PredefinedSplit(fold))
        try:
            with command_line.progress(len(found), "features") as bar:
                model.prepare(found, on_clip=bar.update)
            print("fitting", flush=True)
            model.fit(found, labels, groups=groups)
        except ZooError as error:
            random = "; or take random ones: --set model.weights=null"
            instead = random if isinstance(error, WeightsError) else ""
            raise UserError(f"recipe {recipe.name}: {error}{instead}") from None
        files.write_json(run / CUES, {"validation": model.cue_scores_, **_choices(model, names)})
        # The run directory may be moved: the cache's folder is set again when the model is read.
        with files.whole_file(run / MODEL) as partial:
            joblib.dump(model.set_params(memory=None), partial)
        print(_cue_table(model.cue_scores_, f"validation on {len(model.validation_)} clips"))
        print(choices_text(model, names), flush=True)

    def load(self, run: RunDirectory) -> TwoLevelFusion:
        """The trained estimator, with the run's cache; ``UserError`` while the training has not ended."""
        path = self.model_file(run)
        if not path.is_file():
            raise UserError(f"{path} is missing: the training has not ended, go on with recipes/train.py --resume")
        try:
            return joblib.load(path).set_params(memory=_cache(run.recipe, run.path))
        except Exception as error:  # unpickling raises what it likes
            reason = messages.one_line(error)
            raise UserError(f"{path}: cannot be read ({reason}): get it from a copy, or train again") from None

    def model_file(self, run: RunDirectory) -> pathlib.Path:
        """The saved estimator."""
        return run.path / MODEL

    def score(self, run: RunDirectory, records: Records, protocol: str, split: str) -> Scored:
        """Scores the estimator; ``parts`` are its cues and levels. ``UserError`` if the clips lack something."""
        model = self.load(run)
        found, labels, _ = clips(records, protocol, split, run.recipe)
        probabilities = {name: np.zeros((len(found), len(run.labels))) for name in model.cue_scores_}
        try:
            with command_line.progress(len(found), f"{protocol} {split}") as bar:
                for number, clip in enumerate(found):
                    for name, values in model.cue_probabilities([clip]).items():
                        probabilities[name][number, model.classes_] = values[0]
                    bar.update()
        except ZooError as error:
            raise UserError(f"{run.path}: {error}") from None
        metrics = {name: scoring.Metrics(labels, values) for name, values in probabilities.items()}
        cues = {name: values.top1 for name, values in metrics.items()}
        print(_cue_table(cues, f"{protocol} {split}"))
        print(choices_text(model, run.labels), flush=True)
        return Scored(metrics[model.level], cues)

    def views(self, recipe: Recipe) -> str:
        """The estimator sees all frames."""
        return "all frames of each"


def _cache(recipe, run):
    """Folder of the features' cache."""
    return recipe.stored_maps or str(run / FEATURES)


def _choices(model, labels):
    """JSON values of what was chosen on validation."""
    pairs = [dataclasses.asdict(pair) for pair in model.pairs_]
    names = [{"first": labels[pair["first"]], "second": labels[pair["second"]]} for pair in pairs]
    return {
        "regions": model.region_scores_,
        "region": model.region_,
        "alpha": model.alpha_,
        "pairs": [{**pair, **name} for pair, name in zip(pairs, names)],
    }


def choices_text(model: TwoLevelFusion, labels: Sequence[str]) -> str:
    """What an estimator chose on validation: a line on region and a, and one for each similar pair."""
    if model.fusion == "early":
        return f"one SVM on {', '.join(model.cues)}" + (f"; appearance of {model.region_}" if model.region_ else "")
    lines = [f"appearance of {model.region_}; late fusion with a = {model.alpha_:.2f}"]
    if not model.pairs_:
        lines.append(f"no similar classes: no two are confused by {model.epsilon:g} or more on validation")
    for pair in model.pairs_:
        names = f"{labels[pair.first]} / {labels[pair.second]}"
        lines.append(
            f"similar classes: {names}, confused by {pair.confusion:.2f}, separated by {pair.features} "
            f"({pair.accuracy:.0%} of their validation clips)"
        )
    return "\n".join(lines)


def _cue_table(accuracies, where):
    names = {"two_level_fusion": "late fusion and similar pairs' SVMs"}
    rows = [[names.get(name, name.replace("_", " ")), f"{value:.1%}"] for name, value in accuracies.items()]
    return report.table([where, "accuracy"], rows)


# ------------------------------------------------------------------------------------------------------------- clips


def clips(records: Records, protocol: str, split: str, recipe: Recipe) -> tuple[list[Clip], np.ndarray, np.ndarray]:
    """The clips of a split, pictures unread, their labels and subjects.

    Args:
        records: The converted dataset.
        protocol: Evaluation protocol.
        split: Part of it.
        recipe: The recipe, which states how poses are normalised.

    Returns:
        ``(clips, [N] int64, [N] int64)``, in the order of
        :func:`tfrecords.reading.pipeline.clip_ids`; labels are numbered as the protocol does.
    """
    # In another conversion, a clip of the same name may have other pictures.
    prefix = records.sha256[:16]
    by_id = {}
    for path in records.shards(protocol, split):
        for location in random_access.locations(path):
            stored = location.read()
            pose = np.zeros((1, 1, 1, 3), np.float32)  # of a model of pictures alone
            if recipe.data.pose_steps:
                pose = poses.normalise(stored.pose_xyz, stored.layout, recipe.data.normalisation).numpy()
            regions = {region: functools.partial(_frames, location, region) for region in _regions(stored)}
            by_id[stored.info.id] = Clip(f"{prefix}/{stored.info.id}", regions, pose), stored.info
    ordered = [by_id[clip_id] for clip_id in pipeline.clip_ids(records, protocol, split)]
    label_numbers = records.label_numbers(protocol)
    numbers = np.array([(label_numbers[info.label], info.subject) for _, info in ordered], np.int64)
    return [clip for clip, _ in ordered], numbers[:, 0], numbers[:, 1]


def _regions(stored):
    """Regions that a record has pictures of."""
    regions = list(stored.images)
    if "full_body" in stored.images and "full_body" in stored.boxes and stored.pose_xy is not None:
        regions.append("upper_body")
    return regions


@functools.lru_cache(maxsize=1)  # the regions of a clip are read one after the other
def _read(location):
    return location.read()


def _frames(location, region):
    """Pictures ``[T, H, W, 3]`` of a record's region."""
    stored = _read(location)
    frames = np.stack([crops.decode_jpeg(jpeg) for jpeg in stored.images[_PART.get(region, region)]])
    if region != "upper_body":
        return frames
    left, top, right, bottom = upper_body_box(stored, frames.shape[1:3])
    return frames[:, top:bottom, left:right]


def upper_body_box(stored: schema.Clip, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Box of the upper body in the pictures of the full body: a square that holds its joints in all frames.

    Args:
        stored: A :class:`tfrecords.schema.Clip` with boxes of the full body and poses in pixels.
        shape: Height and width of its pictures.

    Returns:
        Left, top, right and bottom in pixels of the pictures; all of them if no joint is known.
    """
    height, width = shape
    joints = skeletons.get(stored.layout).joints
    upper = [i for i, joint in enumerate(joints) if not any(word in joint for word in _BELOW)]
    pose_xy = np.asarray(stored.pose_xy)
    known = pose_xy if stored.pose_xyz is None else np.asarray(stored.pose_xyz)  # some datasets have pixels alone
    present = (known != 0).any(axis=(-2, -1))  # [T, M]
    xy = np.where(present[..., np.newaxis, np.newaxis], pose_xy[:, :, upper], np.nan)  # [T, M, joints, 2]
    box = stored.boxes["full_body"][:, np.newaxis, np.newaxis]  # [T, 1, 1, 4]
    xy = (xy - box[..., :2]) / (box[..., 2:] - box[..., :2]) * [width, height]
    left, top, right, bottom = crops.person_box(xy.reshape(-1, 2), width, height)
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)
