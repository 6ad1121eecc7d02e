"""``python -m zoo.weights``: fetches published weights; see :mod:`zoo.pretrained`."""

import sys

from zoo.shared import command_line

if __name__ == "__main__":
    command_line.quiet_tensorflow()
    from zoo.pretrained.reading import main

    sys.exit(main())
