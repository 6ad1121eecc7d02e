"""Poses from plain video.

::

    frames ─► estimator: persons of each frame ─► tracking: persons over time ─► poses of M persons, gaps filled

* ``estimator``: the interface to estimators of poses, and their registry.
* ``blazepose``: MediaPipe's Pose Landmarker.
* ``tracking``: which person of a frame is which of the frame before.
* ``smoothing``, ``camera``: less trembling; from the hips to positions before the camera.
* ``recordings``, ``live``: poses of whole recordings, and of a stream's frames as they come.
* ``arguments``: options of the commands that estimate poses.
"""
