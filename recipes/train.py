"""Trains a recipe: ``python recipes/train.py --recipe pose_lstm_nucla``.

The stages of the recipe follow each other on all devices of this machine, or of all machines that ``TF_CONFIG`` names
(:mod:`recipes.trainers.distribution`). A training that was stopped, by whatever,
goes on with ``--resume`` and, on CPU, ends with the weights it would have had.
"""

import contextlib
import datetime
import fnmatch
import os
import pathlib
import platform
import shlex
import shutil
import sys

if not __package__:  # run as a script: the project's root, not this folder, is where packages are looked for
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from tfrecords import storage
from zoo import registry
from zoo.shared import command_line
from zoo.shared.errors import UserError

# What a resumed training may change: how it goes on, not what was done already.
_CHANGEABLE = (
    "evaluate.*",
    "stages.*.epochs",
    "stages.*.schedule*",
    "stages.*.early_stopping*",
    "stages.*.optimizer.learning_rate",
    "stages.*.optimizer.*clipnorm",
)


def main(argv=None):
    """The command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    command_line.quiet_tensorflow()
    from recipes.config import sections as config

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
    try:
        train(recipe, data=data, output=output, resume=arguments.resume)
    except KeyboardInterrupt:
        print(f"error: interrupted; {output} keeps the epochs that had ended, go on with --resume", file=sys.stderr)
        return command_line.INTERRUPTED
    return 0


def _parser():
    parser = command_line.ArgumentParser(prog="train.py", description="Train a recipe.")
    parser.add_argument("--recipe", metavar="NAME", help="name (see --list) or path of a YAML file")
    parser.add_argument(
        "--data", type=storage.location, metavar="DIR", help="converted dataset (default: data/<dataset>)"
    )
    parser.add_argument("--output", type=storage.folder, metavar="DIR", help="run directory (default: runs/<recipe>)")
    change = "change the recipe, such as stages.pose.epochs=50"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help=change)
    parser.add_argument("--seed", type=int, help="short for --set seed=SEED")
    parser.add_argument("--resume", action="store_true", help="go on with the training in the run directory, if any")
    parser.add_argument("--list", action="store_true", help="list the recipes and exit")
    parser.add_argument("--print", action="store_true", help="print the resolved recipe and exit")
    return parser


def train(recipe, *, data, output, resume=False):
    """Trains a recipe into a run directory.

    Args:
        recipe: A :class:`recipes.config.Recipe`.
        data: Folder of the converted dataset.
        output: The run directory.
        resume: Go on with the training that is there, if any.

    Returns:
        The :class:`recipes.run_directory.RunDirectory`.

    Raises:
        UserError: The recipe does not fit the data or the zoo, or the run directory is in use.
    """
    from recipes import run_directory
    from recipes.trainers import distribution, stages
    from tfrecords.reading import pipeline

    output = pathlib.Path(output)
    strategy = distribution.strategy(local_strategy)
    records = pipeline.Records(data)
    _check(recipe, records, strategy)
    _configure(recipe, strategy)
    say = _say if distribution.is_chief(strategy) else (lambda text: None)
    if recipe.model.name in registry.ESTIMATORS:
        from recipes.trainers import fusion as two_level_fusion

        inputs = two_level_fusion.inputs(recipe, records)
        with _opened(output, recipe, inputs, records, strategy, resume):
            two_level_fusion.train(recipe, records, inputs, output)
        return run_directory.RunDirectory(output)
    planned = _plan(recipe, records, strategy)
    with _opened(output, recipe, planned[recipe.stages[-1].name][1], records, strategy, resume):
        for stage in recipe.stages:
            saved = stages.stage_folder(output, stage) / run_directory.MODEL
            distribution.wait(strategy)
            if saved.is_file():
                say(f"{stage.name}: finished before, not repeated")
                continue
            model, inputs = planned.pop(stage.name)
            _initialise(model, stage, output, strategy)
            best = stages.train(
                stage, recipe=recipe, model=model, inputs=inputs, records=records, strategy=strategy, run=output
            )
            if distribution.is_chief(strategy):
                stages.save_best(stage, best, trained=model, recipe=recipe, records=records, run=output)
            why = "the last" if stage.monitor == "last" else "the best on validation"
            which = f"epoch {best} is {why}" if best else "put together, not trained"
            say(f"{stage.name}: {which}, saved as {saved}")
        if distribution.is_chief(strategy):
            with run_directory.whole_file(output / run_directory.MODEL) as partial:
                shutil.copyfile(saved, partial)
        distribution.wait(strategy)
    return run_directory.RunDirectory(output)


def _say(text):
    print(text, flush=True)


@contextlib.contextmanager
def _opened(output, recipe, inputs, records, strategy, resume):
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
            _check_resumed(output, recipe, records)
        else:
            raise UserError(f"{output} holds a training already: go on with --resume, or give another --output")
        distribution.wait(strategy)
        yield


def local_strategy():
    """A ``tf.distribute.MirroredStrategy`` over all GPUs of this machine, or over its logical CPU devices."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    tf.get_logger().setLevel("ERROR")  # the strategy warns of CPUs that it does not use NCCL
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _on_gpu(strategy):
    return "GPU" in strategy.extended.worker_devices[0]


def _check(recipe, records, strategy):
    """Restrictions that tie a recipe to its data and to the machine."""
    from recipes.config import sections as config
    from recipes.trainers import distribution

    data = recipe.data
    if records.dataset != data.dataset:
        raise UserError(f"{records.directory} holds {records.dataset}, but recipe {recipe.name} is for {data.dataset}")
    if data.protocol not in records.protocols:
        raise UserError(f"data.protocol: {config.unknown('unknown protocol', data.protocol, records.protocols)}")
    if not records.count(data.protocol, "val"):
        raise UserError(f"{records.directory} has no clips to validate on in {data.protocol}: convert more clips")
    clips, replicas = records.count(data.protocol, data.train_on), strategy.num_replicas_in_sync
    for stage in recipe.stages:
        batch = stage.batch or recipe.batch
        if batch > clips:
            raise UserError(
                f"batch {batch} is larger than {data.protocol} train, which has {clips} clips: set a smaller"
            )
        if batch % replicas:
            raise UserError(f"batch {batch} cannot be shared by {replicas} devices, expected a multiple of {replicas}")
        if batch // replicas % stage.accumulate:
            share = f"a device's share of batch {batch}, {batch // replicas}"
            raise UserError(f"stages.{stage.name}.accumulate {stage.accumulate}: does not divide {share}")
        if stage.accumulate > 1 and recipe.mixed_precision == "float16":
            raise UserError(f"stages.{stage.name}.accumulate does not go with mixed_precision float16: set bfloat16")
    if recipe.model.name in registry.ESTIMATORS and distribution.workers(strategy)[1] > 1:
        raise UserError(f"{recipe.model.name} is trained by one process: leave {distribution.VARIABLE} out")
    if recipe.xla and replicas > 1:
        raise UserError(f"xla does not work on {replicas} devices: set it to false")
    if recipe.mixed_precision == "float16" and not _on_gpu(strategy):
        raise UserError("mixed_precision float16 needs a GPU (3D pooling has no float16 kernel on CPU): set bfloat16")


def _configure(recipe, strategy):
    """Sets what holds for the whole process: precision and determinism."""
    import tensorflow as tf

    policy = recipe.mixed_precision
    tf.keras.mixed_precision.set_global_policy(policy if policy == "float32" else f"mixed_{policy}")
    deterministic = recipe.deterministic
    if deterministic is None:
        deterministic = not _on_gpu(strategy)
    if deterministic:
        tf.keras.utils.set_random_seed(recipe.seed)  # without a seed, random operations fail from here on
        tf.config.experimental.enable_op_determinism()


def _plan(recipe, records, strategy):
    """Builds the models of all stages and connects them once, so that a mistake shows before hours of training.

    Returns:
        Stage name -> ``(model, inputs)``.
    """
    import tensorflow as tf

    from recipes.trainers import stages

    planned = {}
    for stage in recipe.stages:
        tf.keras.utils.set_random_seed(stages.stage_seed(recipe, stage))
        with strategy.scope():
            model, inputs = stages.build_model(recipe, stage, records)
            earlier = {name: built for name, (built, _) in planned.items()}
            stages.initialise(model, stage, lambda source, earlier=earlier: earlier[source])
            stages.frozen_layers(model, stage)  # its patterns fit layers
        for split in ("train", "val"):
            records.check(inputs, recipe.data.protocol, split)
        planned[stage.name] = model, inputs
    return planned


def _initialise(model, stage, output, strategy):
    """Gives a stage's model the weights of the finished stages, and of other runs, that it starts from."""
    import zoo
    from recipes import run_directory
    from recipes.trainers import stages

    folder = stages.stage_folder(output, stage).parent
    with strategy.scope():
        stages.initialise(model, stage, lambda source: zoo.load_model(folder / source / run_directory.MODEL))


def _check_resumed(output, recipe, records):
    """A resumed training goes on with the same recipe, but for what :data:`_CHANGEABLE` names, and the same data."""
    from recipes import run_directory
    from recipes.config import sections as config
    from recipes.trainers import stages

    run = run_directory.RunDirectory(output)
    for key in config.differences(run.recipe, recipe):
        if not any(fnmatch.fnmatchcase(key, pattern) for pattern in _CHANGEABLE):
            raise UserError(f"{output} was started with another {key}, which cannot change now: give another --output")
        print(f"{key} differs from what the training was started with", flush=True)
        for stage in recipe.stages:
            finished = (stages.stage_folder(output, stage) / run_directory.MODEL).is_file()
            if finished and key.startswith(f"stages.{stage.name}."):
                raise UserError(f"stage {stage.name} has ended in {output}, {key} cannot change: give another --output")
    if run.environment["data"]["manifest_sha256"] != records.sha256:
        raise UserError(f"{output} was started on other data than {records.directory} holds: give another --output")
    run_directory.write_text(output / run_directory.RECIPE, recipe.to_yaml())


def _environment(recipe, records, strategy):
    """What one needs to know to repeat a training."""
    from importlib import metadata

    from recipes.trainers import distribution

    versions = {"python": platform.python_version()}
    for package in ("keras-adl-zoo", "tensorflow", "keras", "numpy", "scikit-learn"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # run from the source tree
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
            "path": str(records.directory.resolve()),
            "dataset": records.dataset,
            "manifest_sha256": records.sha256,
        },
    }


def _list():
    """The table of ``--list``."""
    from recipes.config import sections as config
    from recipes.reports import tables as report

    rows = []
    for name in config.names():
        recipe = config.load(name)
        key = f"{recipe.data.dataset}/{recipe.data.protocol}"
        reported = report.reported(recipe.data.dataset, recipe.data.protocol).get(recipe.model.name)
        trained = ", ".join(f"{stage.name} ({stage.epochs} epochs)" for stage in recipe.stages) or "-"
        rows.append([name, recipe.model.name, key, "-" if reported is None else f"{reported:.1f} %", trained])
    return report.table(["recipe", "model", "dataset/protocol", "paper reports", "stages"], rows)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
