"""Tables of pose recognition on Northwestern-UCLA, from run directories.

Tried configurations are compared on the subjects and the views that protocols ``v12_subjects``, ``v2_1`` and ``v1_2``
hold out within the training views. Chosen configurations are compared with the papers on the test views. Runs that
differ in their seed alone become one row.

    python benchmarks/nucla_poses.py --runs runs --json benchmarks/results/nucla_poses.json
"""

import argparse
import json
import pathlib
import statistics
import sys

from zoo import registry
from zoo.shared import command_line

PROTOCOLS = ("v3_12", "v2_13", "v1_23")
HELD_OUT = ("v12_subjects", "v2_1", "v1_2")
_NOTHING = "nothing"


def main(argv=None):
    """The command line; returns the exit status."""
    from recipes import config

    parser = command_line.ArgumentParser(
        prog="nucla_poses.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = [pathlib.Path("runs")]
    folders = "folders of run directories (default: runs)"
    parser.add_argument("--runs", type=pathlib.Path, nargs="+", default=default, metavar="DIR", help=folders)
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the rows here too")
    arguments = parser.parse_args(argv)
    runs = sorted(path.parent for folder in arguments.runs for path in folder.glob("*/recipe.yaml"))
    results = {"tried": tried(runs, config), "tested": tested(runs, config)}
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    columns = ["model", "what differs from its recipe", "epochs", *HELD_OUT]
    print(f"Tried: {len(results['tried'])} configurations, top-1 %\n\n{_table(columns, results['tried'])}")
    rows = [_by_protocol(model, results["tested"]) for model in _models(results["tested"])]
    print(f"\nTested\n\n{_table(['model', *PROTOCOLS], rows)}")
    return 0


def tried(runs, config):
    """One row per configuration that was compared on held-out subjects or views."""
    groups = {}
    for run in runs:
        for protocol in HELD_OUT:
            metrics = run / "evaluation" / f"{protocol}-val" / "metrics.json"
            if metrics.is_file():
                recipe = _recipe(run, config)
                key = (recipe.model.name, _changes(recipe, config), recipe.stages[-1].epochs)
                groups.setdefault(key, {}).setdefault(protocol, []).append(_top1(metrics))
    return sorted([*key, *_values(found, HELD_OUT)] for key, found in groups.items())


def tested(runs, config):
    """``[model, protocol, accuracies in percent]`` of all runs and fusions on the test views."""
    groups = {}
    for run in runs:
        evaluation = run / "evaluation"
        for metrics in sorted(
            [*evaluation.glob("*-test/metrics.json"), *evaluation.glob("*-test-mean-*/metrics.json")]
        ):
            protocol, _, fused = metrics.parent.name.partition("-test")
            parts = [run.name, *fused.split("-mean-")[1:]]
            labels = [_label(_recipe(run.parent / part, config), config) for part in parts]
            label = labels[0] if len(labels) == 1 else f"mean of {len(labels)}: {', '.join(_counted(labels))}"
            groups.setdefault((label, protocol), []).append(_top1(metrics))
    return [[*key, found] for key, found in sorted(groups.items())]


def _recipe(run, config):
    import yaml

    return config.from_dict(yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8")), str(run))


def _label(recipe, config):
    changes = _changes(recipe, config)
    return recipe.model.name if changes == _NOTHING else f"{recipe.model.name} ({changes})"


def _counted(labels):
    return [f"{labels.count(label)} x {label}" for label in dict.fromkeys(labels)]


def _changes(recipe, config):
    """How a recipe differs from the recipe of its method for this dataset, in words.

    Left out: its name, seed, protocol and epochs, how its epoch is chosen, and the settings of another optimizer.
    """
    base = config.load(f"{recipe.model.name}_{recipe.data.dataset}").to_dict()
    defaults = registry.options(recipe.model.name)
    found, expected = _settings(recipe.to_dict(), defaults), _settings(base, defaults)
    changed = [f"{key} {_text(value)}" for key, value in found.items() if expected.get(key) != value]
    return "; ".join(changed) or _NOTHING


def _settings(recipe, defaults):
    """The settings that are compared, by name."""
    (stage,) = recipe["stages"]
    model = {key: list(v) if isinstance(v, tuple) else v for key, v in {**defaults, **recipe["model"]}.items()}
    data = {key: recipe["data"][key] for key in ("pose_steps", "interpolate")}
    training = {"optimizer": stage["optimizer"]["name"], "batch": recipe["batch"]}
    training["label_smoothing"] = stage["label_smoothing"]
    training["tested on parts from"] = recipe["evaluate"]["pose_crop"]
    return {**model, **data, **recipe["data"]["normalisation"], **recipe["data"]["augment"], **training}


def _text(value):
    return " + ".join(value) if isinstance(value, list) else value


def _top1(metrics):
    return 100 * json.loads(metrics.read_text(encoding="utf-8"))["top1"]


def _spread(values):
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _models(rows):
    return list(dict.fromkeys(model for model, _, _ in rows))


def _by_protocol(model, rows):
    return [model, *_values({protocol: values for name, protocol, values in rows if name == model}, PROTOCOLS)]


def _values(found, protocols):
    """What a row says of each protocol, from ``{protocol: accuracies in percent}``."""
    runs = {protocol: "1 run" if len(values) == 1 else f"{len(values)} runs" for protocol, values in found.items()}
    return [f"{_spread(found[p])}, {runs[p]}" if p in found else "not run" for p in protocols]


def _table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
