"""``python -m serving.config``: see :mod:`serving.deploy.configuration`."""

import sys

from serving.deploy.configuration import main
from zoo.shared import command_line

if __name__ == "__main__":
    sys.exit(command_line.run(main))
