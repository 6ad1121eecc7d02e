"""Serving: SavedModels for TF-Serving, a client, and a server with the same API that runs on a laptop.

* :mod:`serving.savedmodel`: export, signatures, loading. Command: :mod:`serving.export`.
* :mod:`serving.client`: gRPC and REST, clips, streams. Commands: ``serving.client``, :mod:`serving.predict`
  with :mod:`serving.picture`, :mod:`serving.verify`.
* :mod:`serving.server`: the server. Command: ``serving.server``.
* :mod:`serving.deploy`: files for TF-Serving, compose and Kubernetes. Command: :mod:`serving.config`.
* :mod:`serving.live`: a camera, the persons before it, events. Command: ``serving.live``.
* :mod:`serving.runtimes`: OpenVINO, ONNX and LiteRT.
"""
