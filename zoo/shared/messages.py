"""Messages: warnings, the nearest valid name, another library's error in one line, an address without its password."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable

_LONGEST = 300  # characters of another library's error, which may hold a whole graph


def warn(text: str) -> None:
    """Prints ``warning: `` and the text in one line on stderr: something is likely wrong, and the work goes on."""
    print(f"warning: {' '.join(text.split())}", file=sys.stderr, flush=True)


def nearest(word: object, valid: Iterable) -> str:
    """``, did you mean x?`` for the nearest valid word, or nothing; and the list of valid words.

    Example:
        >>> nearest("i3dd", ["i3d", "vpn"])
        ", did you mean 'i3d'? Valid: i3d, vpn"
    """
    valid = [str(v) for v in valid]
    match = difflib.get_close_matches(str(word), valid, n=1)
    hint = f", did you mean {match[0]!r}?" if match else "."
    return f"{hint} Valid: {', '.join(valid)}"


def one_line(error: object) -> str:
    """The text of an error in one line, cut where it is long.

    Example:
        >>> one_line(ValueError("first\\n  second"))
        'first second'
    """
    return " ".join(str(error).split())[:_LONGEST]


def without_password(address: str) -> str:
    """An address that may be printed: the password in it, if there is one, is left out.

    Example:
        >>> without_password("rtsp://admin:secret@10.0.0.5:554/stream")
        'rtsp://admin:***@10.0.0.5:554/stream'
    """
    return re.sub(r"(?<=://)([^/?#]*?):[^/?#]*@", r"\1:***@", address)
