"""Shows what a converted dataset holds, and checks that it is undamaged.

Usage: ``python -m tfrecords.inspect DIR [--verify] [--clip ID] [--json]``.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tfrecords import manifest, protocols, schema, storage
from tfrecords.converting import plausibility
from zoo.shared import command_line, files
from zoo.shared.errors import UserError


def _parser():
    parser = command_line.ArgumentParser(prog="python -m tfrecords.inspect", description=__doc__.split("\n")[0])
    parser.add_argument(
        "directory", type=storage.location, metavar="DIR", help="converted dataset: a folder, or s3://BUCKET/FOLDER"
    )
    parser.add_argument("--verify", action="store_true", help="check every shard's SHA-256 and decode every record")
    parser.add_argument("--clip", metavar="ID", help="show the fields of this clip")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line.

    Args:
        argv: Arguments; default: ``sys.argv[1:]``.

    Returns:
        Exit status.
    """
    arguments = _parser().parse_args(argv)
    command_line.quiet_tensorflow()
    found = manifest.load(arguments.directory)
    if arguments.verify:
        verify(arguments.directory, found)
    if arguments.clip:
        shown = describe_clip(find_clip(arguments.directory, found, arguments.clip))
        text = _clip_text
    else:
        shown, text = found, _text
    print(json.dumps(shown, indent=1) if arguments.json else text(shown))
    plausibility.warn(arguments.directory, found.get("poses", {}), found["skeleton_layout"])
    manifest.warn_of_classes(arguments.directory, _without_training_clips(found))
    if arguments.verify:
        # With --json on stderr: stdout must hold nothing but JSON.
        print(
            f"verified: {len(manifest.shards(found))} shards, {found['counts']['clips']} clips",
            file=sys.stderr if arguments.json else sys.stdout,
        )
    return 0


def _without_training_clips(found):
    """Protocol -> its classes without a training clip, for protocols with training clips that were counted."""
    lacking = {}
    for name, protocol in found["protocols"].items():
        counted = manifest.class_counts(found, name, ("train",))
        if counted:
            lacking[name] = [label for label in protocol.get("labels", found["labels"]) if label not in counted]
    return lacking


def verify(directory: str | os.PathLike, found: dict[str, Any]) -> None:
    """Checks every shard's SHA-256, decodes every record and compares their number with the manifest.

    Args:
        directory: Folder of the converted dataset.
        found: Its manifest.

    Raises:
        UserError: A shard is damaged; the message names it and, where it is known, the record.
    """
    with command_line.progress(found["counts"]["clips"], f"verify {found['dataset']}") as bar:
        for shard in manifest.shards(found):
            path = storage.location(directory) / shard["file"]
            count = 0
            for clip in records(path):
                count += 1
                _check(path, count - 1, clip, found)
                bar.update(1)
            if count != shard["clips"]:
                raise UserError(f"{path}: {count} records, the manifest has {shard['clips']}: convert anew")
            # Checked last: an unreadable record makes a better message than a different checksum.
            if files.sha256_of(path) != shard["sha256"]:
                raise UserError(f"{path}: SHA-256 differs from the manifest's, the shard was changed: convert anew")


def records(path: storage.Remote | pathlib.Path) -> Iterator[schema.Clip]:
    """The clips of a shard.

    Args:
        path: Path of the file.

    Yields:
        :class:`~tfrecords.schema.Clip`, pictures undecoded.

    Raises:
        UserError: A record is damaged.
    """
    import tensorflow as tf

    number = -1
    try:
        for number, record in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):  # noqa: B007
            yield schema.decode(record)
    except tf.errors.OpError as error:
        raise UserError(f"{path} record {number + 1}: damaged ({error.message.split(chr(10))[0]})") from None
    except (ValueError, IndexError) as error:
        raise UserError(f"{path} record {number}: {error}") from None


def _check(path, number, clip, found):
    where = f"{path} record {number} ({clip.info.id})"
    if not 0 <= clip.info.label < len(found["labels"]) or clip.label_text != found["labels"][clip.info.label]:
        raise UserError(f"{where}: label {clip.info.label} {clip.label_text!r} does not match the manifest's labels")
    try:
        clip.num_frames  # noqa: B018 (raises when the lists differ in length)
        features = {str(g): values.shape[1] for g, values in sorted(clip.features.items())}
        expected = found.get("features", {"granularities": [], "size": 0})
        if features != {str(g): expected["size"] for g in sorted(expected["granularities"])}:
            raise ValueError(f"features {features} by segments, the manifest has {expected}")
        if clip.images:
            from tfrecords.converting import crops  # imports OpenCV, which only pictures need

            for pictures in clip.images.values():
                for picture in pictures:
                    crops.decode_jpeg(picture)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def find_clip(directory: str | os.PathLike, found: dict[str, Any], clip_id: str) -> schema.Clip:
    """A clip by its id.

    Args:
        directory: Folder of the converted dataset.
        found: Its manifest.
        clip_id: The id.

    Returns:
        A :class:`~tfrecords.schema.Clip`.

    Raises:
        UserError: No such clip; with the reason when it was rejected.
    """
    for entry in found["rejected"]:
        if entry["id"] == clip_id:
            raise UserError(f"clip {clip_id} was rejected: {entry['reason']}")
    groups = list(found["cells"])
    if protocols.follow_from_ids(found["dataset"]):  # an id gives the split group
        try:
            groups = [protocols.split_group_name(protocols.splits_of(found["dataset"], clip_id))]
        except ValueError as error:
            raise UserError(f"--clip: {error}") from None
    for shard in [shard for group in groups for shard in found["cells"].get(group, {"shards": []})["shards"]]:
        for clip in records(storage.location(directory) / shard["file"]):
            if clip.info.id == clip_id:
                return clip
    raise UserError(f"{directory}: no clip {clip_id} in it")


def describe_clip(clip: schema.Clip) -> dict[str, Any]:
    """A clip's fields as JSON values; arrays by their shape and range.

    Args:
        clip: A :class:`~tfrecords.schema.Clip`.

    Returns:
        A dictionary.
    """
    info = clip.info
    out = {
        "id": info.id,
        "dataset": clip.dataset,
        "label": info.label,
        "label_text": clip.label_text,
        **{name: getattr(info, name) for name in ("subject", "camera", "setup", "repetition")},
        "num_frames": clip.num_frames,
        "fps": round(clip.fps, 3),
        "skeleton_layout": clip.layout,
        "persons": clip.persons,
    }
    for name, values in clip.feature_lists().items():
        if name.startswith("image/"):
            out[name] = {"frames": len(values), "bytes": sum(len(picture) for picture in values)}
        else:
            span = [round(float(values.min()), 3), round(float(values.max()), 3)]
            out[name] = {"shape": list(values.shape), "range": span}
    return out


def _clip_text(shown):
    return "\n".join(f"{name:<16} {_value(value)}" for name, value in shown.items())


def _value(value):
    return ", ".join(f"{key} {v}" for key, v in value.items()) if isinstance(value, dict) else value


def _features_line(found):
    features = found.get("features")
    if not features:
        return []
    return [
        f"features   {features['size']} values for each of {', '.join(map(str, features['granularities']))} segments"
    ]


def _without_poses(found):
    """Lines on clips in which nobody's pose is known; none where there is no such clip."""
    total = sum(len(shard.get(manifest.WITHOUT_POSES, ())) for shard in manifest.shards(found))
    if not total:
        return []
    lines = ["", f"clips without a pose: {total:,} of {found['counts']['clips']:,}"]
    for name in found["protocols"]:
        counts = manifest.clips_without_poses(found, name)
        lines.append(f"  {name:<10}  " + (", ".join(f"{split} {n:,}" for split, n in counts.items()) or "none"))
    return lines


def _text(found):
    counts = found["counts"]
    size = sum(shard["bytes"] for shard in manifest.shards(found))
    shards = len(manifest.shards(found))
    lines = [
        f"dataset    {found['dataset']} (schema {found['schema_version']})",
        f"clips      {counts['clips']:,} in {shards} shards, {size / 1e6:,.1f} MB, {counts['frames']:,} frames",
        f"pictures   {', '.join(found['parts']) or 'none'}",
        *_features_line(found),
        f"skeletons  {found['skeleton_layout'] or 'none'}: {found['persons']} x {found['joints']} joints",
        f"options    {', '.join(f'{name}={value}' for name, value in found['options'].items())}",
        "",
        f"{'protocol':<12}{'train+val':>10}{'train':>8}{'val':>8}{'test':>8}  ",
    ]
    for name, protocol in found["protocols"].items():
        clips = protocol["clips"]
        numbers = [clips["train"] + clips["val"], *(clips[split] for split in protocols.SPLITS)]
        columns = "".join(f"{n:>{10 if i == 0 else 8},}" for i, n in enumerate(numbers))
        part = f" ({len(protocol['labels'])} of {len(found['labels'])} classes)" if "labels" in protocol else ""
        lines.append(f"{name:<12}{columns}  {protocol['description']}{part}")
    lines += _without_poses(found)
    for kind in ("class", "subject", "camera"):
        lines += ["", f"clips per {kind}"]
        width = max((len(name) for name in counts[f"per_{kind}"]), default=0)
        lines += [f"  {name:<{width}}  {number:>6,}" for name, number in counts[f"per_{kind}"].items()]
    lines += ["", f"rejected   {len(found['rejected'])}"]
    lines += [f"  {entry['id']}: {entry['reason']}" for entry in found["rejected"]]
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
