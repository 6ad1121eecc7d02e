"""Training recipes: staged training, evaluation and prediction of the models in :mod:`zoo`."""
