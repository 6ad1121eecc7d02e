"""``python -m adl``: the command ``adl`` where its script is not on the path."""

import sys

from adl.commands import script

sys.exit(script())
