"""Former name of :mod:`serving.client.sliding_window`."""

from serving.client.sliding_window import *  # noqa: F403
