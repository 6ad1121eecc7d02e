"""Shared by all packages; nothing about models or datasets.

* :mod:`~zoo.shared.errors`: the error a user can cause.
* :mod:`~zoo.shared.messages`: parts of error messages.
* :mod:`~zoo.shared.command_line`: parser, exit statuses, progress bars, TensorFlow's log level.
* :mod:`~zoo.shared.files`: files and folders written whole, locks.
* :mod:`~zoo.shared.cache`: the folder of what was fetched.
* :mod:`~zoo.shared.extras`: which extra installs a missing package.
* :mod:`~zoo.shared.packages`: files out of published Python packages.
* :mod:`~zoo.shared.processors`: the cores of this process.
* :mod:`~zoo.shared.yaml_text`: YAML that people write.
* :mod:`~zoo.shared.windows`, :mod:`~zoo.shared.sharing`: windows of a stream; windows of a long video that share
  computation.
* :mod:`~zoo.shared.prediction`, :mod:`~zoo.shared.probabilities`: a model's prediction for a window; probabilities of
  classes.
* :mod:`~zoo.shared.smoothing`, :mod:`~zoo.shared.time_line`: smoothing of the probabilities of successive windows;
  segments of one class.
"""
