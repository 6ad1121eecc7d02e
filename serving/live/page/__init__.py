"""The page of a live session: its picture, people and time line in a browser.

* :mod:`~serving.live.page.server`: ``Page``, on an address; the command's options.
* :mod:`~serving.live.page.app`: the requests; :mod:`~serving.live.page.access`: who may send them.
* :mod:`~serving.live.page.newest`: the newest picture; :mod:`~serving.live.page.controls`: start, stop, choices.
* :mod:`~serving.live.page.uploads`: videos that are sent; :mod:`~serving.live.page.annotation`: what is drawn on them.
* ``static``: the page itself.
"""

from serving.live.page.server import Page, add_arguments, from_arguments

__all__ = ["Page", "add_arguments", "from_arguments"]
