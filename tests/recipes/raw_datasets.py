"""Small raw datasets in the form of the original downloads, with clips in every split of a protocol."""

import collections
import csv
import itertools

import numpy as np

from tests.tfrecords import cad_files, msr_daily_files, nucla_files, recording_files, sbu_files
from tests.tfrecords.estimation import walking_estimator
from tfrecords import protocols
from tfrecords.converting import persons, pose_files
from tfrecords.datasets import cad, sbu, smarthome, urfd

CLASSES = 2
CLIPS = {"train": 2, "val": 1, "test": 1}  # of every class
_HANDS = "full_body,left_hand,right_hand"


def command(dataset, folder, *chosen):
    """Writes the raw files of a dataset into a folder; returns how they are converted.

    Args:
        dataset: One of the converters' names.
        folder: Where the files are written.
        chosen: The protocols that decide which clips there are: under each, :data:`CLIPS` of :data:`CLASSES` classes.

    Returns:
        The arguments of ``python -m tfrecords.convert`` but for ``--out``.
    """
    if dataset == "synthetic":
        return [dataset, "--subjects=5", "--repetitions=1", "--frames=15", "--size=80", f"--parts={_HANDS}"]
    if dataset == "folder":
        return [dataset, "--csv", _write_table(folder), "--layout=lcrnet_13", "--size=80"]
    if dataset == "jhmdb":
        _write_jhmdb(folder)
        parts = f"--parts={_HANDS},full_image"
        return [dataset, "--source", folder, "--size=80", parts, f"--estimator={walking_estimator.NAME}"]
    if dataset == "urfd":
        _write_urfd(folder, chosen)
        return [dataset, "--source", folder, "--layout=lcrnet_13", "--size=80"]
    candidates, write = _WRITERS[dataset]
    for clip_id in _chosen(dataset, chosen, candidates()):
        write(folder, clip_id)
    return [dataset, "--source", folder, "--size=80", f"--parts={_HANDS}"]


def _chosen(dataset, chosen, candidates):
    """Ids of the first classes that have enough clips in every split of each protocol."""
    candidates = list(candidates)
    return list(dict.fromkeys(clip for protocol in chosen for clip in _chosen_of(dataset, protocol, candidates)))


def _chosen_of(dataset, protocol, candidates):
    found = collections.defaultdict(lambda: {split: [] for split in CLIPS})  # label -> split -> ids
    for label, clip_id in candidates:
        split = protocols.split_of(dataset, protocol, clip_id)
        if split and len(found[label][split]) < CLIPS[split]:
            found[label][split].append(clip_id)
    whole = [parts for parts in found.values() if all(len(parts[split]) == count for split, count in CLIPS.items())]
    assert len(whole) >= CLASSES, f"{dataset} {protocol}: too few candidates"
    return [clip_id for parts in whole[:CLASSES] for ids in parts.values() for clip_id in ids]


def _product(form, *places):
    """``(number of the class, id)`` of every combination; the first place is the class."""
    for label, first in enumerate(places[0]):
        for rest in itertools.product(*places[1:]):
            yield label, form.format(first, *rest)


def _write_ntu(folder, clip_id):
    folder.mkdir(parents=True, exist_ok=True)
    pose = recording_files.walk("kinect_v2_25", frames=8)
    (folder / f"{clip_id}.skeleton").write_text(recording_files.ntu_text({1: (0, pose)}))
    recording_files.write_video(folder / f"{clip_id}_rgb.avi", recording_files.frames_of(pose))


def _write_smarthome(folder, clip_id):
    pose = recording_files.walk("lcrnet_13")
    recording_files.write_video(folder / "mp4" / f"{clip_id}.mp4", recording_files.frames_of(pose), rate=20)
    (folder / "json").mkdir(exist_ok=True)
    (folder / "json" / f"{clip_id}_pose3d.json").write_text(recording_files.lcrnet_text(pose))


def _write_cad60(folder, clip_id):
    info, recording = cad.CAD60.parse_id(clip_id), clip_id[-10:]
    # A folder of its own for every recording: each holds the labels of what is in it.
    cad_files.write_60(folder / recording, {recording: cad.ACTIVITIES_60[info.label]}, subject=info.subject)


def _write_cad120(folder, clip_id):
    info = cad.CAD120.parse_id(clip_id)
    activity = cad.ACTIVITIES_120[info.label].replace(" ", "_")
    cad_files.write_120(folder, clip_id[-10:], activity=activity, subject=info.subject)


def _write_table(folder):
    """The videos, poses and list of one's own folder."""
    folder.mkdir(parents=True)
    write_poses(folder, "lcrnet_13")
    frames, rows = recording_files.frames_of(recording_files.walk("lcrnet_13")), []
    for label, (split, count) in itertools.product(("sit", "walk"), CLIPS.items()):
        for number in range(count):
            video = f"{label}_{split}_{number}.mp4"
            recording_files.write_video(folder / video, frames - np.uint8(len(rows)))  # none is a copy of another
            rows.append({"video": video, "poses": "walk.npz", "label": label, "split": split})
    with open(folder / "clips.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "clips.csv"


def write_poses(folder, layout):
    """The poses of all videos of one's own folder."""
    pose = recording_files.walk(layout)
    np.savez(folder / "walk.npz", xyz=pose[:, np.newaxis], xy=recording_files.project(pose)[:, np.newaxis])


def _write_jhmdb(folder):
    """Videos and, for each of the three protocols, the same lists."""
    names = {"train": [], "test": []}
    for action in ("sit", "walk"):
        wanted = dict(CLIPS)
        for number in itertools.count():
            # Of the films that train, a hash of their names chooses those that validate.
            split = protocols.train_or_val(f"jhmdb/Film{number}") if wanted["train"] or wanted["val"] else "test"
            if wanted[split]:
                wanted[split] -= 1
                names["test" if split == "test" else "train"].append(f"Film{number}_{action}_f_cm_np1_fr_med_0")
            if not any(wanted.values()):
                break
    (folder / "splits").mkdir(parents=True)
    for name in itertools.chain(*names.values()):
        other = recording_files.walk("lcrnet_13", start=(0.6, 0.0, 2.5), end=(-0.6, 0.0, 2.5))  # crosses the pictures
        frames = recording_files.frames_of(recording_files.walk("lcrnet_13"), other)
        recording_files.write_video(folder / f"{name}.mp4", frames)
    for number, (part, listed) in itertools.product((1, 2, 3), names.items()):
        path = folder / "splits" / f"JHMDB_{part}{number}.txt"
        path.write_text("".join(f"{name} 1\n" for name in listed))


def _write_urfd(folder, chosen):
    """Sequences of one window each: in some all frames are of a fall, in the others of somebody upright."""
    pose = recording_files.walk("lcrnet_13", frames=20)[:, np.newaxis]
    poses = persons.Poses(pose, np.ones(pose.shape[:3], np.float32), recording_files.project(pose))
    candidates = [
        (label, f"{kind}-{number:02d}-f0001-{urfd.LABELS[label]}")
        for (kind, label), number in itertools.product({"fall": urfd.FALL, "adl": urfd.UPRIGHT}.items(), range(1, 41))
    ]
    tables = {"fall": "", "adl": ""}
    for clip_id in _chosen("urfd", chosen, candidates):
        kind, number, *_ = clip_id.split("-")
        posture = 0 if kind == "fall" else -1
        tables[kind] += "".join(f"{kind}-{number},{frame},{posture}\n" for frame in range(1, 21))
        recording_files.write_video(
            folder / f"{kind}-{number}-cam0.mp4", recording_files.frames_of(pose[:, 0]), rate=30
        )
        pose_files.write(folder / f"{kind}-{number}-cam0.npz", poses, layout="lcrnet_13", fps=30)
    for kind, text in tables.items():
        (folder / f"urfall-cam0-{kind}s.csv").write_text(text)


def _ntu_ids():
    return _product("S{1:03d}C{3:03d}P{2:03d}R001A{0:03d}", (8, 24), (1, 2), range(1, 40), (1, 2))


def _cad_ids(subjects):
    """A recording's number is no other's."""
    for number, (label, subject, _) in enumerate(itertools.product(range(3), subjects, range(25))):
        yield label, f"a{label + 1:02d}_s{subject}_{number:010d}"


# Dataset -> (function that gives candidates, function that writes a clip).
_WRITERS = {
    "ntu60": (_ntu_ids, _write_ntu),
    "ntu120": (_ntu_ids, _write_ntu),
    "smarthome": (
        lambda: _product("{}_p{:02d}_r{:02d}_v01_c01", smarthome.ACTIVITIES[:2], (3, 4, 19, 25, 2), (0, 1, 2)),
        _write_smarthome,
    ),
    "nucla": (
        lambda: _product("a{:02d}_s{:02d}_e{:02d}_v{:02d}", (1, 2), range(1, 10), range(4), (1, 3)),
        nucla_files.write_original,
    ),
    "sbu": (
        lambda: (
            (label, f"s{pair // 100:02d}s{pair % 100:02d}_{label + 1:02d}_{repetition:03d}")
            for label, pair, repetition in itertools.product(range(8), sbu.PAIRS, (1, 2))
        ),
        sbu_files.write,
    ),
    "msr_daily": (
        lambda: _product("a{:02d}_s{:02d}_e{:02d}", range(1, 17), range(1, 11), (1, 2)),
        msr_daily_files.write,
    ),
    "cad60": (lambda: _cad_ids(cad.CAD60.subjects), _write_cad60),
    "cad120": (lambda: _cad_ids(cad.CAD120.subjects), _write_cad120),
}
