"""``python -m tests.tfrecords.slow_conversion SOURCE OUT``: a conversion that takes long enough to be interfered with.

Its shards are the ones ``python -m tfrecords.convert nucla --clips-per-shard 2`` writes.
"""

import pathlib
import sys
import time

from tfrecords.converting import writer
from tfrecords.datasets import nucla
from zoo.shared import command_line

CLIPS_PER_SHARD = 2
SECONDS_PER_CLIP = 0.1


class SlowNUCLA(nucla.NUCLA):
    """N-UCLA read at ten clips per second."""

    def read(self, info):
        time.sleep(SECONDS_PER_CLIP)
        return super().read(info)


def main(_):
    source, out = sys.argv[1:]
    writer.convert(SlowNUCLA(source, "json"), pathlib.Path(out), clips_per_shard=CLIPS_PER_SHARD, workers=2)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
