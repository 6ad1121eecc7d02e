"""``python -m serving.client``."""

import sys

from serving.client.client import main
from zoo.shared import command_line

sys.exit(command_line.run(main))
