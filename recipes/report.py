"""What an evaluation writes and prints: tables, CSV files and plots."""

import numpy as np

from recipes import run_directory
from zoo import registry


def table(header, rows):
    """Text in columns; numbers are given as text already."""
    lines = [header, *rows]
    widths = [max(len(str(line[column])) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def reported(dataset, protocol):
    """Method -> accuracy in percent that its paper reports for the test split of a protocol, ascending.

    Of leave-one-subject-out and of folds, papers report the mean over all: that is given for each of them.
    """
    family = protocol.partition("_")[0]
    key = f"{dataset}/{family if family in ('loso', 'fold') else protocol}"
    figures = {name: registry.reported(name).get(key) for name in (*registry.METHODS, *registry.ESTIMATORS)}
    figures.update(registry.OTHERS_REPORTED.get(key, {}))
    return dict(sorted(((n, f) for n, f in figures.items() if f is not None), key=lambda item: item[1]))


def comparison(recipe, protocol, split, metrics):
    """A table of this run's figures and those the zoo's papers report for the same dataset and protocol.

    Args:
        recipe: The run's :class:`recipes.config.Recipe`.
        protocol: The protocol that was evaluated.
        split: The split that was evaluated; papers report on ``test``.
        metrics: The :class:`recipes.scoring.Metrics`.

    Returns:
        Text. The papers' figures stand in a column of their own: they were not measured here.
    """
    figures = reported(recipe.data.dataset, protocol) if split == "test" else {}
    own = [f"{value:.1%}" for value in (metrics.top1, metrics.mean_class_accuracy, metrics.top5)]
    model = recipe.model.name
    rows = [[f"{model}, this run", *own, f"{figures[model]:.1f}%" if model in figures else "-"]]
    rows += [[name, "", "", "", f"{figure:.1f}%"] for name, figure in figures.items() if name != model]
    header = [f"{recipe.data.dataset}/{protocol}", "top-1", "mean per class", "top-5", "reported by its paper"]
    return table(header, rows)


def summary(recipe, protocol, split, labels, metrics):
    """The content of ``metrics.json``; accuracies are shares of 1, the papers' are percent."""
    accuracies = zip(labels, metrics.class_accuracies)
    return {
        "recipe": recipe.name,
        "model": recipe.model.name,
        "dataset": recipe.data.dataset,
        "protocol": protocol,
        "split": split,
        "clips": len(metrics.labels),
        "views": {"clips": recipe.evaluate.clips, "crops": recipe.evaluate.crops, "pool": recipe.evaluate.pool},
        "top1": metrics.top1,
        "top5": metrics.top5,
        "mean_class_accuracy": metrics.mean_class_accuracy,
        "class_accuracy": {label: None if np.isnan(accuracy) else accuracy for label, accuracy in accuracies},
        "reported_percent": reported(recipe.data.dataset, protocol) if split == "test" else {},
    }


def per_class(labels, metrics):
    """Rows of ``per_class.csv``: clips, accuracy and the class it is most often taken for.

    Args:
        labels: Class names.
        metrics: A :class:`recipes.scoring.Metrics`.

    Returns:
        One dictionary per class; accuracy is empty for a class without clips.
    """
    rows = []
    for label, counts, accuracy in zip(labels, metrics.confusion, metrics.class_accuracies):
        true = len(rows)
        wrong = np.where(np.arange(len(counts)) == true, 0, counts)
        rows.append(
            {
                "class": label,
                "clips": int(counts.sum()),
                "correct": int(counts[true]),
                "accuracy": "" if np.isnan(accuracy) else round(float(accuracy), 4),
                "most_often_taken_for": labels[int(wrong.argmax())] if wrong.any() else "",
                "times": int(wrong.max()),
            }
        )
    return rows


def predictions(ids, labels, metrics):
    """Rows of ``predictions.csv``: one per clip, in the order of the split."""
    found = metrics.predictions
    return [
        {
            "id": clip_id,
            "label": labels[true],
            "prediction": labels[predicted],
            "score": round(float(scores[predicted]), 6),
            "correct": int(true == predicted),
        }
        for clip_id, true, predicted, scores in zip(ids, metrics.labels, found, metrics.scores)
    ]


def confusion_rows(labels, metrics):
    """Rows of ``confusion.csv``: true class, then the number of clips by predicted class."""
    return [
        {"true": label, **{name: int(n) for name, n in zip(labels, counts)}}
        for label, counts in zip(labels, metrics.confusion)
    ]


def plot_confusion(path, labels, metrics, title):
    """Draws the confusion matrix as PNG: shares of each true class, with the numbers of clips.

    Args:
        path: File to write.
        labels: Class names.
        metrics: A :class:`recipes.scoring.Metrics`.
        title: Title.
    """
    confusion = metrics.confusion
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 0.45 * len(labels) + 2.5)
    figure, axes = _figure(side, side)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    if len(labels) <= 40:  # beyond, the numbers are too small to read
        for (true, predicted), clips in np.ndenumerate(confusion):
            if clips:
                colour = "white" if shares[true, predicted] > 0.5 else "black"
                axes.text(predicted, true, str(clips), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    _save(figure, path)


def plot_curves(path, history):
    """Draws loss, accuracy and learning rate of all stages as PNG.

    Args:
        path: File to write.
        history: Rows of :attr:`recipes.run_directory.RunDirectory.history`.
    """
    figure, (loss, accuracy, rate) = _figure(15, 4, columns=3)
    start = 0
    for stage in dict.fromkeys(row["stage"] for row in history):
        rows = [row for row in history if row["stage"] == stage]
        epochs = [start + row["epoch"] for row in rows]
        (line,) = loss.plot(epochs, [row["loss"] for row in rows], label=f"{stage}: training")
        shade = {"color": line.get_color()}
        loss.plot(epochs, [row["val_loss"] for row in rows], "--", label=f"{stage}: validation", **shade)
        accuracy.plot(epochs, [row["accuracy"] for row in rows], **shade)
        accuracy.plot(epochs, [row["val_accuracy"] for row in rows], "--", **shade)
        rate.plot(epochs, [row["learning_rate"] for row in rows], **shade)
        start = epochs[-1]
    for axes, title in ((loss, "loss"), (accuracy, "accuracy"), (rate, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    loss.legend()
    rate.set_yscale("log")
    _save(figure, path)


def _figure(width, height, columns=1):
    """A figure that needs no display and leaves matplotlib's global state alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns)


def _save(figure, path):
    with run_directory.whole_file(path) as partial:
        figure.savefig(partial, dpi=110)
