"""Poses from plain video.

::

    frames ─► estimator: persons of each frame ─► tracking: persons over time ─► poses of M persons, gaps filled

* ``estimator``: the interface to estimators of poses, and their registry.
* ``blazepose``: MediaPipe's Pose Landmarker.
* ``model_files``, ``tflite_metadata``: its model file, and how that is put together.
"""
