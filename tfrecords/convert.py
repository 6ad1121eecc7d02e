"""Converts a dataset's original download into TFRecords.

Usage: ``python -m tfrecords.convert nucla --source DIR --out DIR``.

The same download gives the same bytes, whatever the number of workers and however often the conversion was stopped
and run again. Clips that cannot be converted are listed with the reason in the manifest and do not alter the exit
status: it is 0 when at least one clip was converted, 2 when none was (and then there is no manifest).
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from tfrecords import datasets, manifest, protocols, storage
from tfrecords.converting import beam, plausibility, writer
from tfrecords.datasets import base
from zoo.shared import command_line, messages
from zoo.shared.errors import UserError


def _parser():
    parser = command_line.ArgumentParser(
        prog="python -m tfrecords.convert",
        description=__doc__.split("\n")[0],
        epilog="DATASET --help shows the options of a dataset.",
    )
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="DATASET")
    for name in datasets.NAMES:
        source = datasets.get(name)
        command = commands.add_parser(name, help=source.help, description=source.help)
        source.add_arguments(command)
        group = command.add_argument_group("conversion")
        group.add_argument(
            "--out", type=storage.folder, metavar="DIR", help="folder to write; not with --dry-run or --preview"
        )
        group.add_argument("--workers", type=int, metavar="N", help="processes; default: one per core")
        group.add_argument(
            "--runner",
            metavar="NAME",
            help="convert on many machines, with this runner of Apache Beam, such as DataflowRunner",
        )
        group.add_argument(
            "--runner-option",
            action="append",
            default=[],
            metavar="--NAME=VALUE",
            help="an option of the runner; may be given several times",
        )
        sharding = group.add_mutually_exclusive_group()
        sharding.add_argument(
            "--shards",
            type=int,
            metavar="N",
            help="TFRecord files (shards) per split group; default: as many as --clips-per-shard needs",
        )
        sharding.add_argument(
            "--clips-per-shard",
            type=int,
            metavar="N",
            default=writer.CLIPS_PER_SHARD,
            help="largest number of clips in a shard",
        )
        group.add_argument("--dry-run", action="store_true", help="read and check everything, write nothing")
        if issubclass(source, base.VideoSource):
            group.add_argument(
                "--preview", type=pathlib.Path, metavar="FILE",
                help="convert nothing; draw boxes and joints of some clips, over their frames if any, as .png or .jpg",
            )  # fmt: skip
            group.add_argument("--clip", metavar="ID", help="with --preview: draw this clip only")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        argv: Arguments; default: ``sys.argv[1:]``.

    Returns:
        Exit status.
    """
    arguments = _parser().parse_args(argv)
    for name in ("workers", "shards", "clips_per_shard"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(arguments, name)}: expected at least 1")
    if getattr(arguments, "preview", None):
        source = datasets.get(arguments.dataset).from_arguments(arguments)
        assert isinstance(source, base.VideoSource)  # only these have the option
        from tfrecords.converting import preview  # imports OpenCV, which only pictures need

        clips, frames = preview.contact_sheet(source, arguments.preview, arguments.clip)
        print(f"{clips} clips, {frames} frames each: {arguments.preview}")
        return 0
    if getattr(arguments, "clip", None):
        raise UserError("--clip is an option of --preview: give --preview FILE too")
    if not arguments.out and not arguments.dry_run:
        raise UserError("--out DIR is needed: the folder to write (or --dry-run to write nothing)")
    source = datasets.get(arguments.dataset).from_arguments(arguments)
    if arguments.runner_option and not arguments.runner:
        raise UserError("--runner-option needs a runner of Apache Beam: name it with --runner")
    if arguments.runner and arguments.dry_run:
        raise UserError("--dry-run does not run on Apache Beam: leave --runner out")
    if arguments.runner:
        beam.check(arguments.runner)

    def progress(total):
        return command_line.progress(total, f"{'check' if arguments.dry_run else 'convert'} {source.name}")

    if arguments.dry_run:
        found = writer.dry_run(source, workers=arguments.workers, progress=progress)
        for name, protocol in found["protocols"].items():
            print(f"{name}: " + ", ".join(f"{split} {n}" for split, n in protocol["clips"].items()))
        for entry in found["rejected"]:  # all: there is no manifest to look them up in
            print(f"rejected: {entry['id']}: {entry['reason']}")
        converted = f"{found['counts']['clips']} clips can be converted{_unposed(found)}"
        print(f"{converted}, {len(found['rejected'])} rejected; nothing written")
        plausibility.warn(source.name, found["poses"], source.layout)
        _warn_of_few_validation_clips(source, found)
        return 0 if found["counts"]["clips"] else command_line.USER_ERROR
    found, written = writer.convert(
        source,
        arguments.out,
        shards=arguments.shards,
        clips_per_shard=arguments.clips_per_shard,
        workers=arguments.workers,
        progress=progress,
        run=beam.run(arguments.runner, arguments.runner_option) if arguments.runner else None,
    )
    shards = sum(len(cell["shards"]) for cell in found["cells"].values())
    done = "" if written else "already complete: "
    rejected = writer.summary_of_rejected(found["rejected"])
    print(f"{done}{found['counts']['clips']} clips in {shards} shards{_unposed(found)}, {rejected}: {arguments.out}")
    plausibility.warn(arguments.out, found.get("poses", {}), source.layout)
    _warn_of_few_validation_clips(source, found)
    return 0


def _unposed(found):
    """Text about clips without a pose, to follow the number of clips; empty where every clip has a pose."""
    count = sum(len(shard.get(manifest.WITHOUT_POSES, ())) for shard in manifest.shards(found))
    return f" ({count} without a pose)" if count else ""


def _warn_of_few_validation_clips(source, found):
    few = []
    for name, protocol in found["protocols"].items():
        clips = protocol["clips"]
        if protocols.few_validation_clips(clips, len(protocol.get("labels", found["labels"]))):
            few.append(f"{clips['val']} of {clips['train'] + clips['val']} in {name}")
    if few:
        messages.warn(
            f"few validation clips: {', '.join(few)}. The best epoch would be chosen by chance: "
            f"{source.more_validation}, or train with monitor: last"
        )


if __name__ == "__main__":
    sys.exit(command_line.run(main))
