"""People, activities and events of a running camera.

* :mod:`~serving.live.state`: what is known now, for whoever shows it.
* :mod:`~serving.live.settings`, :mod:`~serving.live.session`: what is watched; start and stop.
"""
