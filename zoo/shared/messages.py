"""Messages: warnings, the nearest valid name, another library's error in one line, an address without its password."""

from __future__ import annotations

import difflib
import re
import sys
import threading
from collections.abc import Iterable

_PASSWORD = re.compile(r"^([a-z][a-z0-9+.-]*:/+[^:]*|[^/:]*):.*@", re.IGNORECASE | re.DOTALL)
_QUERY_PASSWORD = re.compile(r"([?&][^=&]*(?:pass|pwd|pw|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)
_LONGEST = 300  # characters of another library's error, which may hold a whole graph


# Held while stderr is written to, and while a library's output on it is dropped: no other thread's message is lost.
stderr = threading.RLock()


def warn(text: str) -> None:
    """Prints ``warning:`` and the text in one line on stderr: something is likely wrong, and the work goes on."""
    note(f"warning: {text}")


def note(text: str) -> None:
    """Prints a text in one line on stderr."""
    with stderr:
        print(" ".join(text.split()), file=sys.stderr, flush=True)


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


def first_of(names: Iterable, count: int = 5) -> str:
    """The first of some names, and how many more there are.

    Example:
        >>> first_of("abcdefg", 3)
        'a, b, c and 4 more'
    """
    names = [str(name) for name in names]
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def one_line(error: object) -> str:
    """The text of an error in one line, cut where it is long.

    Example:
        >>> one_line(ValueError("first\\n  second"))
        'first second'
    """
    return " ".join(str(error).split())[:_LONGEST]


def without_graph(message: str) -> str:
    """The message of a TensorFlow error, without the location in the graph.

    Example:
        >>> without_graph("{{function_node wrapped_device}} corrupted record at 7 [Op:IteratorGetNext] name: ")
        'corrupted record at 7'
    """
    message = re.sub(r"\s*\[\[\{\{(function_)?node .*", "", message, flags=re.DOTALL)
    message = re.sub(r"\{\{function_node [^}]*\}\}\s*", "", message)
    return re.sub(r"\s*\[Op:.*", "", message, flags=re.DOTALL)


def without_password(address: str) -> str:
    """An address that may be printed: the password in it, if there is one, is left out.

    A password is often written unescaped, with characters that would end the host of an address. So everything between
    the user's name and the last ``@`` counts as the password.

    Example:
        >>> without_password("rtsp://admin:a/b@c#d?@10.0.0.5:554/stream")
        'rtsp://admin:***@10.0.0.5:554/stream'
        >>> without_password("http://10.0.0.5/video.cgi?user=admin&pwd=secret")
        'http://10.0.0.5/video.cgi?user=admin&pwd=***'
    """
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1:***@", address))
