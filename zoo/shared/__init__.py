"""Shared by all packages; nothing about models or datasets.

* :mod:`~zoo.shared.errors`: the error a user can cause.
* :mod:`~zoo.shared.messages`: parts of error messages.
* :mod:`~zoo.shared.command_line`: parser, exit statuses, progress bars, TensorFlow's log level.
* :mod:`~zoo.shared.files`: files and folders written whole, locks.
* :mod:`~zoo.shared.cache`: the folder of what was fetched.
* :mod:`~zoo.shared.extras`: which extra installs a missing package.
* :mod:`~zoo.shared.packages`: files out of published Python packages.
* :mod:`~zoo.shared.windows`, :mod:`~zoo.shared.prediction`, :mod:`~zoo.shared.smoothing`,
  :mod:`~zoo.shared.time_line`: windows of a stream; a model's prediction for a window; smoothing of the probabilities
  of successive windows; segments of one class.
"""
