"""From shards to the batches a model accepts.

* :mod:`~tfrecords.reading.pipeline`: training, evaluation, segments: datasets of batches.
* :mod:`~tfrecords.reading.inputs`, :mod:`~tfrecords.reading.records`: a model's inputs; an opened converted dataset.
* :mod:`~tfrecords.reading.order`: which clips, in which order, on which worker.
* :mod:`~tfrecords.reading.clips`: one clip: choose, load, augment.
* :mod:`~tfrecords.reading.sampling`, :mod:`~tfrecords.reading.augmentation`: which frames; random changes.
* :mod:`~tfrecords.reading.pictures`, :mod:`~tfrecords.reading.poses`: decoded and cropped; normalised.
* :mod:`~tfrecords.reading.random_access`: single records of a shard.
* :mod:`~tfrecords.reading.graph`: functions that TensorFlow traces as they are written.
"""
