"""The error of a single clip."""


class RejectedClip(Exception):
    """One clip cannot be converted; the message is the reason recorded in the manifest."""
