"""Errors a user can cause. A command prints each as one line and ends with status 2."""


class UserError(Exception):
    """What is wrong, what was expected and what to do, in one line."""


class RejectedClip(Exception):
    """One clip cannot be converted; the message is the reason recorded in the manifest."""
