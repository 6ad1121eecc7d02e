"""The text of the model cards: Markdown, from the zoo's registry and the results that are kept beside the cards."""

from __future__ import annotations

import inspect
import json
import shlex
import statistics
from collections.abc import Sequence
from typing import Any

from recipes.reports import reported, tables
from zoo import registry
from zoo.papers import PAPERS, percent

INDEX = "README.md"
CLASSES = 60  # number of classes of the models whose parameters are counted: that of NTU RGB+D 60
_NOT_RUN = "not run"


def parameters(known: dict[str, int]) -> dict[str, int]:
    """Method -> parameters with its default options and :data:`CLASSES` classes.

    Args:
        known: The result of an earlier call. Only models that it lacks are built, since building all takes a minute.
    """
    import zoo
    from zoo import complexity

    return {
        name: known.get(name) or complexity.parameters(zoo.build(name, num_classes=CLASSES))
        for name in zoo.list_models()
    }


def pages(results: dict[str, Any]) -> dict[str, str]:
    """All cards.

    Args:
        results: The content of ``results.json``.

    Returns:
        File name -> Markdown; the same results give the same text.
    """
    methods = (*registry.list_models(), *registry.ESTIMATORS)
    return {INDEX: _index(methods, results), **{f"{name}.md": _card(name, results) for name in methods}}


def published(title: str, name: str, labels: Sequence[str], figures: Sequence[dict[str, Any]]) -> str:
    """The card of a single trained model, to publish with it.

    Args:
        title: The model's title, which is the name of its folder.
        name: The method.
        labels: Class names.
        figures: What :func:`recipes.model_card.figures_of` returns for its run; empty if it was not evaluated.
    """
    from zoo.pretrained import model_folder

    sections = "\n".join(_reproduced([run]) for run in figures) or "The model was not evaluated on a test split.\n"
    classes = "\n".join(f"{number}. {label}" for number, label in enumerate(labels))
    head = model_folder.card_head(title, name, f"{_summary(name)}\n{_paper(name)}.")
    return f"""{head}
`python -m serving.export --pretrained {title} --to models` makes a SavedModel that prepares its input itself.

## Classes

{classes}

## Training and test

{sections}"""


def _index(methods: Sequence[str], results: dict[str, Any]) -> str:
    rows = [
        [f"[{name}]({name}.md)", _summary(name), _millions(name, results), len(_runs(name, results)) or _NOT_RUN]
        for name in methods
    ]
    columns = ["method", "what it is", f"parameters ({CLASSES} classes)", "runs reproduced"]
    return f"""# Model cards

One page per method: what its papers report, and what was reproduced with this zoo. Each page gives the commands of the
reproduced figures. [All figures in one table](../figures.md).
[What differs from the papers, and why](../differences.md).

{_table(columns, rows)}

The pages are generated from `results.json`:

```
python recipes/model_card.py --run runs/RUN ... --to docs/models
```

This adds the figures of evaluated runs; without `--run` it renders the pages again.
"""


def _card(name: str, results: dict[str, Any]) -> str:
    runs = _runs(name, results)
    groups = _groups(runs)
    sections = "\n".join(_reproduced(group) for group in groups)
    if not runs:
        sections = "No run of this method has been added to these pages yet.\n"
    return f"""# {name}

{_summary(name)}

| | |
|---|---|
| paper | {_paper(name)} |
| parameters with default options, {CLASSES} classes | {_millions(name, results)} |
| module | `{_module(name)}` |

## Figures

Accuracies in percent. "Reported" is the papers' own figure; the rest was measured with this zoo on the test split, as
mean over seeds with standard deviation, minimum and maximum.

{_figures(name, groups)}

## Reproduced runs

{sections}"""


def _runs(name, results):
    return [run for run in results["runs"] if run["method"] == name]


def _groups(runs: list[dict]) -> list[list[dict]]:
    """Groups of runs that differ in the seed only."""
    groups: dict[str, list[dict]] = {}
    for run in runs:
        shared = ("dataset", "protocol", "recipe", "resolved", "versions", "hardware", "manifest_sha256")
        groups.setdefault(json.dumps([run[key] for key in shared], sort_keys=True), []).append(run)
    return [sorted(group, key=lambda run: run["seed"]) for group in groups.values()]


def _figures(name, groups):
    """Reported and reproduced figures side by side."""
    lines = []
    beside = set()  # the papers' figures that stand beside a run
    for group in groups:
        run = group[0]
        of = run["dataset"], run["protocol"]
        key = reported.reported_key(*of)
        options = {option: value for option, value in run["resolved"]["model"].items() if option != "name"}
        facts = {**registry.facts(name, options), **run.get("basis", {})}
        found = [row for row in registry.reported(name) if key in row.figures and row.holds(facts)]
        beside |= {(key, row.note) for row in found}
        papers = ", ".join(row.noted(percent(row.figures[key])) for row in found)
        first = [f"{'/'.join(of)}{tables.fold_note(*of)}", f"{papers}{tables.mean_note(*of)}" if papers else "-"]
        lines.append([*first, _spread(group, "top1"), _spread(group, "mean_class_accuracy"), _seeds(group)])
    for row in registry.reported(name):
        for key, figure in row.figures.items():
            if (key, row.note) not in beside:
                lines.append([key, row.noted(percent(figure)), _NOT_RUN, _NOT_RUN, "-"])
    if not lines:
        return "The papers report no accuracy of this method, and none was measured."
    rows = sorted(lines, key=lambda line: line[0])
    columns = ["dataset/protocol", "reported", "reproduced, top-1", "reproduced, mean per class", "seeds"]
    return _table(columns, rows)


def _spread(group, key):
    values = [100 * run[key] for run in group]
    if len(values) == 1:
        return f"{values[0]:.1f}"
    spread = f"± {statistics.stdev(values):.1f} ({min(values):.1f} to {max(values):.1f})"
    return f"{statistics.mean(values):.1f} {spread}"


def _seeds(group):
    return ", ".join(str(run["seed"]) for run in group)


def _reproduced(group: list[dict]) -> str:
    """Everything about runs that differ in the seed only."""
    run = group[0]
    commands = "\n".join(f"{one['train']}\n{_evaluate_command(one)}" for one in group)
    measured = [
        [one["seed"], one["clips"], *(f"{100 * one[key]:.1f}" for key in ("top1", "mean_class_accuracy", "top5"))]
        for one in group
    ]
    log = [[one["seed"], *stage.values()] for one in group for stage in one["log"]]
    columns = ["seed", "stage", "epochs", "selected epoch", "loss", "accuracy", "val. loss", "val. accuracy", "seconds"]
    both = run["resolved"]["data"].get("train_on") == "train_and_val"
    after = " (validation clips were also used for training)" if both else ""
    missing = f"{run['abstained']} test clips have no pose and count as wrong.\n\n" if run.get("abstained") else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items() if version)
    fold = tables.fold_note(run["dataset"], run["protocol"])
    return f"""### {run["recipe"]}: {run["dataset"]}/{run["protocol"]}{fold}

{_table(["seed", "test clips", "top-1 %", "mean per class %", "top-5 %"], measured)}

{missing}```
{commands}
```

| | |
|---|---|
| versions | {_cell(versions)} |
| hardware | {_cell(run["hardware"])} |
| SHA-256 of the data's manifest | `{run["manifest_sha256"]}` |

The log of the selected epoch of every stage{after}:

{_table(columns, log) if log else "The method trains without epochs."}

The resolved recipe:

```json
{json.dumps(run["resolved"])}
```
"""


def _evaluate_command(run):
    command = ["python", "recipes/evaluate.py", "--run", f"runs/{run['run']}"]
    if run["protocol"] != run["resolved"]["data"]["protocol"]:
        command += ["--protocol", run["protocol"]]
    return shlex.join(command)


def _summary(name):
    return inspect.getdoc(_source(name)).splitlines()[0]


def _source(name: str) -> Any:
    """The builder or the estimator's class."""
    return registry.estimator(name) if name in registry.ESTIMATORS else registry.get(name).builder


def _paper(name: str) -> str:
    """The paper of a method; for an estimator, the papers that its module's docstring cites."""
    if name not in registry.ESTIMATORS:
        return registry.get(name).paper
    cited = inspect.getdoc(inspect.getmodule(_source(name))) or ""
    return "; ".join(paper for key, paper in PAPERS.items() if key in cited)


def _module(name):
    return inspect.getmodule(_source(name)).__name__


def _millions(name, results):
    """Parameters in words; an estimator has no fixed number."""
    count = results["parameters"].get(name)
    return "depends on the data" if count is None else f"{count / 1e6:.2f} M"


def _table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value):
    return str(value).replace("|", r"\|").replace("\n", " ")
