"""What servers need to serve exported models.

* :mod:`~serving.deploy.configuration`: writes all files; the command ``python -m serving.config``.
* :mod:`~serving.deploy.models`: exported models, their versions and labels.
* :mod:`~serving.deploy.tf_serving`: TF-Serving's own files and command line.
* :mod:`~serving.deploy.open_inference`: OpenVINO Model Server and Triton.
* :mod:`~serving.deploy.compose`, :mod:`~serving.deploy.kubernetes`: the compose file; the Kubernetes manifest.
"""
