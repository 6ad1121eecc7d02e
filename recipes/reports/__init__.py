"""Figures of a run.

* :mod:`~recipes.reports.scoring`: scores of clips and the metrics of them.
* :mod:`~recipes.reports.tables`: metrics as rows: printed, in CSV files and on the page.
* :mod:`~recipes.reports.plots`: confusion matrix, curves, gain, t-SNE.
* :mod:`~recipes.reports.attention`: attention over clips, features of clips.
* :mod:`~recipes.reports.html`: one page with everything.
* :mod:`~recipes.reports.cards`: model cards.
"""
