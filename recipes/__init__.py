"""Recipes: training and evaluation of the models in :mod:`zoo` on converted datasets.

* ``train``, ``evaluate``, ``average``, ``extract_features``, ``model_card``, ``publish``: the commands.
* :mod:`~recipes.config`: recipes, read from ``configs``.
* :mod:`~recipes.trainers`: how models are trained.
* :mod:`~recipes.reports`: scores, tables, pictures, pages.
* :mod:`~recipes.run_directory`: the files of a training.
"""
