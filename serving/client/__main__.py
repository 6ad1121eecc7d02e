"""``python -m serving.client``; see :mod:`serving.client.command`."""

import sys

from serving.client.command import main
from zoo.shared import command_line

if __name__ == "__main__":
    sys.exit(command_line.run(main))
