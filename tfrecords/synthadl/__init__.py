"""SynthADL's generator: persons, rooms and motions, and the pictures that cameras take of them.

Each module needs only those above it:

* :mod:`~tfrecords.synthadl.randomness`, :mod:`~tfrecords.synthadl.geometry`: random numbers, vectors and rotations.
* :mod:`~tfrecords.synthadl.people`, :mod:`~tfrecords.synthadl.cameras`, :mod:`~tfrecords.synthadl.objects`,
  :mod:`~tfrecords.synthadl.skeleton`: what there is.
* :mod:`~tfrecords.synthadl.room`: where it stands.
* :mod:`~tfrecords.synthadl.motion`: how the joints move.
* :mod:`~tfrecords.synthadl.performance`: one activity by one person in one room.
* :mod:`~tfrecords.synthadl.parts`, :mod:`~tfrecords.synthadl.drawing`: its pictures.

The classes and the dataset itself are in :mod:`tfrecords.datasets.synthetic`.
"""
