"""The error that a user can cause. A command prints it as one line and ends with status 2."""


class UserError(Exception):
    """What is wrong, what was expected and what to do, in one line."""
