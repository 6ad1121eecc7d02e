"""``python -m serving.server``."""

import sys

from serving.server.command import main
from zoo.shared import command_line

sys.exit(command_line.run(main))
