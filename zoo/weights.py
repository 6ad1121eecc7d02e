"""``python -m zoo.weights``: fetches published weights; see :mod:`zoo.pretrained`."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow did not find on this machine
    from zoo.pretrained.loading import main

    sys.exit(main())
