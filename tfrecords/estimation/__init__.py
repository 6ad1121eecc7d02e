"""Poses from plain video.

::

    frames ─► estimator: persons of each frame ─► tracking: persons over time ─► poses of M persons, gaps filled

* ``estimator``: the interface to estimators of poses, and their registry.
* ``blazepose``: MediaPipe's Pose Landmarker.
* ``model_files``, ``tflite_metadata``: the Pose Landmarker's model file, and how it is put together.
* ``search``: the plausible persons of a frame, upright or lying.
* ``tracking``: which persons of two consecutive frames are the same.
* ``smoothing``, ``camera``: less jitter; from coordinates relative to the hips to positions in front of the camera.
* ``recordings``, ``live``: poses of whole recordings, and of a live stream frame by frame.
* ``arguments``: options of the commands that estimate poses.
"""
