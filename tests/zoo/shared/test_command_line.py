"""What all commands share."""

import io
import sys

from zoo.shared import command_line


def test_a_label_that_the_output_cannot_hold_is_escaped(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="\n")
    monkeypatch.setattr(sys, "stdout", output)
    assert command_line.run(lambda argv: print("K\u00e4se")) == 0
    output.flush()
    assert output.buffer.getvalue() == b"K\\xe4se\n"
