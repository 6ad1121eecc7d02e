"""Trains a recipe: ``python recipes/train.py --recipe pose_lstm_nucla``.

The stages of the recipe follow each other on all devices of this machine, or of all machines that ``TF_CONFIG`` names
(:mod:`recipes.trainers.distribution`). A training that was stopped for any reason continues with ``--resume``. On CPU
it then ends with the same weights as without the stop.
"""

from __future__ import annotations

import contextlib
import datetime
import fnmatch
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import zoo
from tfrecords import datasets, protocols, storage
from zoo.shared import command_line, files, messages
from zoo.shared.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from recipes.config import Recipe
    from recipes.run_directory import RunDirectory
    from recipes.trainers.base import Trainer
    from recipes.trainers.callbacks import MakesCallback
    from tfrecords.reading.pipeline import Inputs, Records

# Keys that a resumed training may change: they affect how it goes on, not the epochs before.
_CHANGEABLE = (
    "evaluate.*",
    "stages.*.epochs",
    "stages.*.schedule*",
    "stages.*.early_stopping*",
    "stages.*.optimizer.learning_rate",
    "stages.*.optimizer.*clipnorm",
    "stored_maps",
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    command_line.quiet_tensorflow()
    from recipes import config

    if arguments.list:
        print(_list())
        return 0
    if not arguments.recipe:
        raise UserError(f"--recipe is missing, expected a path or one of {', '.join(config.names())}")
    overrides = list(arguments.set)
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    recipe = config.load(arguments.recipe, overrides)
    if arguments.print:
        print(recipe.to_yaml(), end="")
        return 0
    data = arguments.data or pathlib.Path("data") / recipe.data.dataset
    output = arguments.output or pathlib.Path("runs") / recipe.name
    from recipes.trainers import callbacks

    found = [callbacks.find(name) for name in arguments.callback]
    try:
        train(recipe, data=data, output=output, resume=arguments.resume, callbacks=found)
    except KeyboardInterrupt:
        print(f"error: interrupted; {output} keeps the epochs that had ended, continue with --resume", file=sys.stderr)
        return command_line.INTERRUPTED
    return 0


def _parser() -> command_line.ArgumentParser:
    parser = command_line.ArgumentParser(prog="train.py", description="Train a recipe.")
    parser.add_argument("--recipe", metavar="NAME", help="name (see --list) or path of a YAML file")
    parser.add_argument(
        "--data", type=storage.location, metavar="DIR", help="converted dataset (default: data/<dataset>)"
    )
    parser.add_argument("--output", type=storage.folder, metavar="DIR", help="run directory (default: runs/<recipe>)")
    change = "change the recipe, such as stages.pose.epochs=50"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=change)
    parser.add_argument("--seed", type=int, help="short for --set seed=SEED")
    parser.add_argument(
        "--resume", action="store_true", help="continue the training in the run directory, if there is one"
    )
    parser.add_argument(
        "--callback",
        action="append",
        default=[],
        metavar="NAME",
        help="log every epoch to mlflow, or call a Keras callback of yours: MODULE.CLASS; may be given several times",
    )
    parser.add_argument("--list", action="store_true", help="list the recipes and exit")
    parser.add_argument("--print", action="store_true", help="print the resolved recipe and exit")
    return parser


def train(
    recipe: Recipe,
    *,
    data: str | os.PathLike,
    output: str | os.PathLike,
    resume: bool = False,
    callbacks: Sequence[MakesCallback] = (),
) -> RunDirectory:
    """Trains a recipe into a run directory.

    Args:
        recipe: A :class:`recipes.config.Recipe`.
        data: Folder of the converted dataset.
        output: The run directory.
        resume: Go on with the training that is there, if any.
        callbacks: Classes or functions that make a Keras callback for each stage, see
            :mod:`recipes.trainers.callbacks`.

    Returns:
        The :class:`recipes.run_directory.RunDirectory`.

    Raises:
        UserError: The recipe does not fit the data or the zoo, or the run directory is in use.
    """
    from recipes import run_directory, trainers
    from recipes.trainers import distribution
    from tfrecords.reading import pipeline

    output = pathlib.Path(output)
    trainer = trainers.of(recipe)
    if callbacks and recipe.is_estimator:
        raise UserError(f"{recipe.model.name} is fitted without epochs, which callbacks are for: leave --callback out")
    strategy = distribution.strategy()
    records = pipeline.Records(data)
    _check(recipe, records)
    trainer.check(recipe, records, strategy)
    with _configured(recipe, strategy):
        prepared = trainer.prepare(recipe, records, strategy, output)
        if distribution.is_chief(strategy):
            records.warn_of_classes(recipe.data.protocol, recipe.data.train_on, prepared.inputs)
        with _opened(output, recipe, trainer, prepared.inputs, records, strategy, resume):
            if distribution.is_chief(strategy):
                _warn_of_few_validation_clips(recipe, records)
            trainer.train(recipe, records, prepared, strategy, output, callbacks)
    return run_directory.RunDirectory(output)


@contextlib.contextmanager
def _opened(
    output: pathlib.Path,
    recipe: Recipe,
    trainer: Trainer,
    inputs: Inputs,
    records: Records,
    strategy: tf.distribute.Strategy,
    resume: bool,
) -> Iterator[None]:
    """Holds the run directory of a training, new or resumed."""
    from recipes import run_directory
    from recipes.trainers import distribution

    if not distribution.is_chief(strategy):
        distribution.wait(strategy)
        yield
        return
    with run_directory.lock(output):
        if not run_directory.holds_run(output):
            environment = _environment(recipe, records, strategy)
            labels = records.labels_of(recipe.data.protocol)
            run_directory.create(output, recipe=recipe, inputs=inputs, labels=labels, environment=environment)
        elif resume:
            _resume(output, recipe, trainer, records)
        else:
            raise UserError(f"{output} holds a training already: continue with --resume, or give another --output")
        distribution.wait(strategy)
        yield


def _check(recipe: Recipe, records: Records) -> None:
    """Restrictions that tie a recipe to its data."""
    from recipes import config

    data = recipe.data
    if records.dataset != data.dataset:
        raise UserError(f"{records.directory} holds {records.dataset}, but recipe {recipe.name} is for {data.dataset}")
    if data.protocol not in records.protocols:
        raise UserError(f"data.protocol: {config.unknown('unknown protocol', data.protocol, records.protocols)}")
    if not records.count(data.protocol, "val"):
        more = datasets.get(data.dataset).more_validation
        raise UserError(f"{records.directory} has no validation clips in protocol {data.protocol}: {more}")
    _check_starts(recipe, records)


def _check_starts(recipe: Recipe, records: Records) -> None:
    """Weights that a stage starts from must not have been trained, or chosen, on the test clips of this run."""
    from recipes.reports import reported

    own = recipe.data
    for source, started in reported.started_from(recipe):
        other = started.data.protocol if started and started.data.dataset == own.dataset else own.protocol
        known = other in protocols.PROTOCOLS.get(own.dataset, ()) or _was_trained_on(source, records)
        if not known or other not in records.protocols:
            continue  # protocols of a CSV mean nothing for other data
        if records.has_seen(other, own.protocol, "test"):
            raise UserError(
                f"init: {source} was trained, or chosen, under {other} on some of the test clips of {own.protocol}: "
                f"start from a run under {own.protocol}, see --set stages.STAGE.init=[DIR]"
            )


def _was_trained_on(source: str, records: Records) -> bool:
    """Whether the run that a path lies in was trained on exactly these data, under whatever protocol."""
    from recipes.reports import reported

    run = reported.run_of(source)
    with contextlib.suppress(UserError):  # the file that states its data is missing
        return run is not None and run.environment["data"]["manifest_sha256"] == records.sha256
    return False


def _warn_of_few_validation_clips(recipe: Recipe, records: Records) -> None:
    """Warns where the best epoch of a stage, or a parameter of an estimator, is chosen on few clips."""
    protocol = recipe.data.protocol
    clips = {split: records.count(protocol, split) for split in ("train", "val")}
    chosen = [stage.name for stage in recipe.stages if stage.monitor != "last"]
    few = protocols.few_validation_clips(clips, len(records.labels_of(protocol)))
    if few and (chosen or recipe.is_estimator):
        instead = f", or --set stages.{chosen[0]}.monitor=last" if chosen else ""
        more = datasets.get(recipe.data.dataset).more_validation
        messages.warn(
            f"{records.directory} has {clips['val']} validation clips in {protocol}, few to choose on: {more}{instead}"
        )


@contextlib.contextmanager
def _configured(recipe: Recipe, strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Sets determinism for the process, and the precision until the training ends."""
    import tensorflow as tf

    from recipes.trainers import distribution

    deterministic = recipe.deterministic
    if deterministic is None:
        deterministic = not distribution.on_gpu(strategy)
    if deterministic:
        tf.keras.utils.set_random_seed(recipe.seed)  # without a seed, random operations fail from here on
        tf.config.experimental.enable_op_determinism()
    policy, before = recipe.mixed_precision, tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy if policy == "float32" else f"mixed_{policy}")
    try:
        yield
    finally:  # models built later in this process do not belong to this recipe
        tf.keras.mixed_precision.set_global_policy(before)


def _resume(output: pathlib.Path, recipe: Recipe, trainer: Trainer, records: Records) -> None:
    """Prepares to resume a training: data and recipe must be the same, except for keys in :data:`_CHANGEABLE`."""
    from recipes import config, run_directory

    run = run_directory.RunDirectory(output)
    changed = config.differences(run.recipe, recipe)
    for key in changed:
        if not any(fnmatch.fnmatchcase(key, pattern) for pattern in _CHANGEABLE):
            raise UserError(f"{output} was started with another {key}, which cannot change now: give another --output")
        print(f"{key} differs from what the training was started with", flush=True)
    if run.environment["data"]["manifest_sha256"] != records.sha256:
        raise UserError(f"{output} was started on other data than {records.directory} holds: give another --output")
    trainer.change(recipe, changed, output)
    files.write_text(output / run_directory.RECIPE, recipe.to_yaml())
    data = {**run.environment["data"], "path": _path_of(records)}  # the data may have moved; evaluation looks there
    new = config.flat(recipe)
    environment = {**run.environment, "data": data}
    if changed:
        values = {key: new[key] for key in changed if key in new}
        environment["changed"] = {**environment.get("changed", {}), **values}
    files.write_json(output / run_directory.ENVIRONMENT, environment)


def _path_of(records: Records) -> str:
    """The data's path, which is valid from any working directory."""
    return str(records.directory.resolve())


def _environment(recipe: Recipe, records: Records, strategy: tf.distribute.Strategy) -> dict[str, Any]:
    """What is needed to repeat a training."""
    from importlib import metadata

    from recipes.trainers import distribution

    versions: dict[str, str | None] = {"python": platform.python_version(), "keras-adl-zoo": zoo.__version__}
    for package in ("tensorflow", "keras", "numpy", "scikit-learn"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "command": shlex.join(sys.argv),
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions,
        "platform": platform.platform(),
        "processor_cores": os.cpu_count(),
        "devices": list(strategy.extended.worker_devices),
        "workers": distribution.workers(strategy)[1],
        "seed": recipe.seed,
        "data": {
            "path": _path_of(records),
            "dataset": records.dataset,
            "manifest_sha256": records.sha256,
        },
    }


def _list() -> str:
    """The table of ``--list``."""
    from recipes import config
    from recipes.reports import reported, tables

    rows = []
    for name in config.names():
        recipe = config.load(name)
        key = f"{recipe.data.dataset}/{recipe.data.protocol}"
        trained = ", ".join(f"{stage.name} ({stage.epochs} epochs)" for stage in recipe.stages) or "-"
        note = tables.mean_note(recipe.data.dataset, recipe.data.protocol)
        figures = reported.figures(recipe, recipe.data.protocol)
        papers = tables.own_figures(figures)
        possible = sorted((figure for figure in figures if figure.possible), key=lambda figure: figure.percent)
        if papers == "-" and possible:  # which of them applies depends on the network of the stored features
            papers = f"{possible[0].bare} to {possible[-1].bare}"
        rows.append([name, recipe.model.name, key, papers if papers == "-" else papers + note, trained])
    return tables.table(["recipe", "model", "dataset/protocol", "paper reports", "stages"], rows)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
