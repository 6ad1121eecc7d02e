"""TFRecords of activities of daily living: converters, the data contract and the ``tf.data`` reader.

* :mod:`tfrecords.schema`: what a record holds (the data contract).
* :mod:`tfrecords.datasets`: one reader of an original download per dataset.
* :mod:`tfrecords.synthadl`: the generator behind the dataset that needs no download.
* :mod:`tfrecords.convert`, :mod:`tfrecords.inspect`: the command lines.
* :mod:`tfrecords.reading.pipeline`: from shards to batches a model accepts.
"""
