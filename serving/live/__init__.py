"""What people in front of a camera do, and events about it.

* :mod:`~serving.live.command`: the command line; :mod:`~serving.live.settings`, :mod:`~serving.live.session`: the same
  from Python; :mod:`~serving.live.state`: what is known now, for display.
* :mod:`~serving.live.sources`, :mod:`~serving.live.people`, :mod:`~serving.live.models`, :mod:`~serving.live.answers`:
  frames, poses and windows of each person, the model, smoothed answers and segments; :mod:`~serving.live.calibration`.
* :mod:`~serving.live.rules`, :mod:`~serving.live.events`, :mod:`~serving.live.spool`: from answers to delivered events.
* :mod:`~serving.live.showing`, :mod:`~serving.live.writing`: privacy, skeletons and labels; the video file.
* :mod:`~serving.live.page`: the page in a browser.
* :mod:`~serving.live.statistics`, :mod:`~serving.live.backoff`: figures; pauses between attempts.
"""
