"""Weights to start from.

* :mod:`~zoo.pretrained.reading`: models and weights from files, ``build(weights=...)``.
* :mod:`~zoo.pretrained.transfer`: weights of a trained stage into a larger model.
* :mod:`~zoo.pretrained.model_folder`: models as folders that can be published; ``weights/`` has some.
* :mod:`~zoo.pretrained.catalogue`: which published weights there are, with sources, hashes, licences and labels.
* :mod:`~zoo.pretrained.fetching`: published weights, downloaded into a cache.
* :mod:`~zoo.pretrained.i3d_checkpoint`: the published formats of I3D and Inception-v1;
  :mod:`~zoo.pretrained.flax_values`: the format of I3D's port to Flax.
"""
