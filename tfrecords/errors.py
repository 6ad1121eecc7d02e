"""The error of one clip."""


class RejectedClip(Exception):
    """One clip cannot be converted; the message is the reason, which the manifest records."""


class MissingPoses(RejectedClip):
    """Nobody's pose is known in a clip; a conversion that keeps such clips stores poses that are all zeros."""
