"""What a message says of a name that is none of the valid ones."""

import difflib


def nearest(word, valid):
    """``, did you mean x?`` for the nearest valid word, or nothing; and the list of valid words.

    Example:
        >>> nearest("i3dd", ["i3d", "vpn"])
        ", did you mean 'i3d'? Valid: i3d, vpn"
    """
    match = difflib.get_close_matches(str(word), [str(v) for v in valid], n=1)
    hint = f", did you mean {match[0]!r}?" if match else "."
    return f"{hint} Valid: {', '.join(map(str, valid))}"
