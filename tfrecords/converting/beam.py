"""Conversion by Apache Beam: the shards of a conversion as the elements of a pipeline, on any of Beam's runners.

::

    plan ─► shards that are missing ─► Create ─► Reshuffle ─► write_shard, on the workers ─► side-cars ─► manifest

Plan, records and files are byte for byte those of a conversion on one machine, and a conversion of either kind can
continue one of the other kind. Machines share only the folders: source and output lie on a file system that all of them
mount under the same path (NFS, Lustre, ...). A worker that dies leaves a temporary file; another writes its shard.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Sequence

from tfrecords.converting import shards as shard_files
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError


def check(runner: str) -> None:
    """Raises :class:`~zoo.shared.errors.UserError` unless Beam is installed and has that runner."""
    try:
        import apache_beam as beam
    except ImportError:
        raise UserError(
            "--runner needs Apache Beam, which is not installed: pip install apache-beam, or the zoo's extra beam"
        ) from None
    try:
        beam.runners.create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f"--runner {runner}: no runner of Apache Beam ({messages.one_line(error)})") from None


def run(runner: str, options: Sequence[str]) -> Callable:
    """Makes the function that writes shards, for ``run`` of :func:`tfrecords.converting.writer.convert`.

    Args:
        runner: Name of a Beam runner, such as ``DirectRunner``, ``FlinkRunner`` or ``SparkRunner``.
        options: The runner's own options, a list such as ``["--direct_num_workers=4"]``.

    Returns:
        The function.
    """

    def write(source, shards, directory, workers, bar, lock):
        """Writes shards; returns shard -> report. ``workers`` and ``lock``, of a single machine, are not used."""
        if not shards:
            return {}
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions

        try:
            settings = PipelineOptions([f"--runner={runner}", *options])
            settings.view_as(SetupOptions).save_main_session = False
            with beam.Pipeline(options=settings) as pipeline:
                todo = pipeline | "shards" >> beam.Create(list(shards)) | "spread" >> beam.Reshuffle()
                _ = todo | "convert" >> beam.ParDo(_writer_of(beam, source, os.path.abspath(directory)))
        except (RuntimeError, OSError) as error:  # runners raise these if a worker fails
            raise UserError(
                f"the pipeline failed ({str(error).splitlines()[0][:300]}); complete shards are kept, run the same "
                "command to go on"
            ) from None
        reports = {shard: shard_files.finished(directory, shard.file) for shard in shards}
        lacking = [shard.file for shard, report in reports.items() if report is None]
        if lacking:
            raise UserError(
                f"the workers did not write {lacking[0]} into {os.path.abspath(directory)}: it must be one folder that "
                "all of them share"
            )
        bar.update(sum(len(shard.clips) for shard in shards))
        return reports

    return write


def _writer_of(beam, source, directory):
    """The pipeline's step that writes a shard."""

    class WriteShard(beam.DoFn):
        def setup(self):
            # One thread per worker, as workers share a machine's cores. OpenCV and TensorFlow read this when loaded.
            os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")
            command_line.quiet_tensorflow()

        def process(self, shard):
            shard_files.write_shard(source, shard, pathlib.Path(directory))

    return WriteShard()
