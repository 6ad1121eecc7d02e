"""``python -m tests.tfrecords.estimation.slow_estimation VIDEO... --out DIR``: long enough to be interfered with.

Worker processes import this module as their main one, and so know its estimator.
"""

import sys
import time

from tests.tfrecords.estimation import walking_estimator
from tfrecords import estimate
from tfrecords.estimation import estimator
from zoo.shared import command_line


@estimator.register(walking_estimator.NAME)
class SlowlyWalking(walking_estimator.Walking):
    """Finds persons at thirty frames per second."""

    def persons(self, frame, seconds):
        time.sleep(1 / 30)
        return super().persons(frame, seconds)


if __name__ == "__main__":
    sys.exit(command_line.run(lambda _: estimate.main([*sys.argv[1:], "--estimator", walking_estimator.NAME])))
