"""Former name of :mod:`serving.client.streams`."""

from serving.client.streams import *  # noqa: F403
