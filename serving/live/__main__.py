"""``python -m serving.live``; see :mod:`serving.live.command`."""

import sys

from serving.live.command import main
from zoo.shared import command_line

if __name__ == "__main__":
    sys.exit(command_line.run(main))
