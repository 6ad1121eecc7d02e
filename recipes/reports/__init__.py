"""Figures of a run.

* :mod:`~recipes.reports.scoring`: scores of clips and the metrics of them.
* :mod:`~recipes.reports.evaluated`, :mod:`~recipes.reports.stored`, :mod:`~recipes.reports.fusing`: a run on a split,
  its scores in a file, several runs as one.
* :mod:`~recipes.reports.common_clips`: the clips that several runs have.
* :mod:`~recipes.reports.calibration`: calibration, reject option, ROC.
* :mod:`~recipes.reports.tables`: metrics as rows: printed, in CSV files and on the page.
* :mod:`~recipes.reports.plots`: all pictures.
* :mod:`~recipes.reports.attention`: attention over clips and body parts, features of clips.
* :mod:`~recipes.reports.poses`: dynamicity, joint activations, worse poses.
* :mod:`~recipes.reports.untrimmed`, :mod:`~recipes.reports.segments`: whole videos; metrics of their frames, segments
  and events.
* :mod:`~recipes.reports.sections`: the parts of the page that are made on request.
* :mod:`~recipes.reports.html`: one page with everything.
* :mod:`~recipes.reports.cards`: model cards.
"""
