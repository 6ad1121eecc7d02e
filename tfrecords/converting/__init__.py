"""From recordings to shards.

* ``writer``: a whole conversion; ``state``: the folder it fills; ``shards``: one file; ``workers``: processes.
* ``beam``: conversion on many machines.
* ``video``: frames of recordings; ``crops``: boxes and pictures of persons and hands.
* ``persons``: poses of a fixed number of persons; ``pose_files``: poses from files; ``plausibility``: poses that cannot
  be right.
* ``preview``: a contact sheet before the conversion.
"""
