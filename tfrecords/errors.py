"""The error of one clip."""


class RejectedClip(Exception):
    """One clip cannot be converted; the message is the reason, which the manifest records."""
