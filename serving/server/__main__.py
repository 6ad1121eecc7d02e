"""``python -m serving.server``; see :mod:`serving.server.command`."""

import sys

from zoo.shared import command_line

if __name__ == "__main__":
    sys.exit(command_line.run_module("serving.server.command"))
