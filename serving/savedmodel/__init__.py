"""SavedModels, from a run directory to a loaded version.

* :mod:`~serving.savedmodel.exporting`: a run directory or published weights become a version of a model.
* :mod:`~serving.savedmodel.published`: published weights as something to export.
* :mod:`~serving.savedmodel.signatures`, :mod:`~serving.savedmodel.freezing`: the graph; smaller weights.
* :mod:`~serving.savedmodel.warmup`, :mod:`~serving.savedmodel.batching_parameters`: files of a version for TF-Serving.
* :mod:`~serving.savedmodel.config_messages`: messages of TF-Serving's configuration files;
  :mod:`~serving.savedmodel.message_types`: types of messages that no package has;
  :mod:`~serving.savedmodel.tensor_messages`: arrays in messages.
* :mod:`~serving.savedmodel.versions`, :mod:`~serving.savedmodel.servable`: version folders; a loaded version.
"""
