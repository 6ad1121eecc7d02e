"""``python -m serving.live``; see :mod:`serving.live.command`."""

import sys

from zoo.shared import command_line

if __name__ == "__main__":
    sys.exit(command_line.run_module("serving.live.command"))
