"""``python -m tfrecords.inspect``: what it shows, and damage it finds."""

import json
import shutil

import pytest
import tensorflow as tf

from tests.tfrecords import nucla_files
from tfrecords import inspect, manifest, schema
from tfrecords.converting import writer
from tfrecords.datasets import nucla
from zoo.shared import command_line

CLIP = "a04_s01_e00_v01"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A converted original release, with pictures and one rejected clip."""
    folder = tmp_path_factory.mktemp("nucla")
    for clip in nucla_files.ids(actions=(4, 8), subjects=(1,)):
        nucla_files.write_original(folder / "source", clip)
    shutil.rmtree(folder / "source" / "view_2" / "a08_s01_e01")
    (folder / "source" / "view_2" / "a08_s01_e01").mkdir()
    source = nucla.NUCLA(folder / "source", "original", size=32, parts=("full_body",))
    writer.convert(source, folder / "out", workers=1)
    return folder / "out"


@pytest.fixture
def damaged(converted, tmp_path):
    return shutil.copytree(converted, tmp_path / "out")


def run(capsys, *arguments):
    """Exit status, stdout, and the last line of stderr."""
    status = command_line.run(inspect.main, [str(argument) for argument in arguments])
    out, errors = capsys.readouterr()
    return status, out, errors.strip().rpartition("\n")[2]


def test_overview(converted, capsys):
    status, out, errors = run(capsys, converted)
    assert status == 0
    lacking = "pick up with one hand, pick up with two hands, drop trash, sit down, stand up and 3 more"
    assert errors.startswith(f"warning: {converted}: no clip to train on of the classes {lacking} under v3_12, ")
    assert errors.endswith(": a model cannot learn them")
    for line in (
        "dataset    nucla (schema 1)",
        "pictures   full_body",
        "skeletons  kinect_v1_20: 1 x 20 joints",
        "options    form=original, parts=['full_body'], poses=True, size=32, clips_per_shard=128",
        "v3_12                7       7       0       4  train views 1 and 2, test view 3",
        "  donning                      5",
        "  2       3",
        "rejected   1",
        "  a08_s01_e01_v02: view_2/a08_s01_e01: no pictures frame_*_rgb.jpg (--parts none converts poses alone)",
    ):
        assert line in out.splitlines()


def test_json_is_the_manifest(converted, capsys):
    status, out, _ = run(capsys, converted, "--json", "--verify")
    assert status == 0
    assert json.loads(out) == manifest.load(converted)


def test_one_clip(converted, capsys):
    status, out, _ = run(capsys, converted, "--clip", CLIP, "--json")
    assert status == 0
    shown = json.loads(out)
    assert (shown["id"], shown["label_text"], shown["camera"]) == (CLIP, "walk around", 1)
    assert shown["pose/xyz"]["shape"] == [4, 1, 20, 3]
    assert shown["image/full_body"]["frames"] == 4
    assert "num_frames       4" in run(capsys, converted, "--clip", CLIP)[1].splitlines()


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("a01_s01_e00_v01", "no clip a01_s01_e00_v01 in it"),
        ("a08_s01_e01_v02", "was rejected: view_2/a08_s01_e01: no pictures"),
        ("nonsense", "'nonsense' is no N-UCLA clip id"),
    ],
)
def test_no_such_clip(converted, capsys, clip, message):
    status, out, error = run(capsys, converted, "--clip", clip)
    assert (status, out) == (2, "")
    assert message in error


def test_verify(converted, capsys):
    status, out, _ = run(capsys, converted, "--verify")
    assert status == 0
    assert out.splitlines()[-1] == "verified: 3 shards, 11 clips"


def shard(folder):
    return sorted(folder.glob("*.tfrecord"))[1]


def records(path):
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def rewrite(path, changed):
    """Replaces a shard's records and its size in the manifest, so that only its contents are wrong."""
    with tf.io.TFRecordWriter(str(path)) as out:
        for record in changed:
            out.write(record)
    found = json.loads((path.parent / schema.MANIFEST).read_text())
    for entry in manifest.shards(found):
        if entry["file"] == path.name:
            entry["bytes"] = path.stat().st_size
    (path.parent / schema.MANIFEST).write_text(json.dumps(found))


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    first = 16 + int.from_bytes(data[:8], "little")  # length and sums take 16 bytes
    data[first + 100] ^= 1
    path.write_bytes(data)


def break_a_picture(path):
    clips = records(path)
    clip = schema.decode(clips[2])
    clip.images["full_body"][1] = clip.images["full_body"][1][:50]
    rewrite(path, [*clips[:2], schema.encode(clip), *clips[3:]])


def strange_record(path):
    rewrite(path, [*records(path)[:1], b"\xff", *records(path)[2:]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "record 1: damaged"),
        (break_a_picture, "record 2 (a08_s01_e00_v02): not a whole JPEG file"),
        (strange_record, "record 1: not a tf.train.SequenceExample"),
        (lambda path: rewrite(path, records(path)[:-1]), "2 records, the manifest has 3"),
        (lambda path: rewrite(path, records(path)[::-1]), "SHA-256 differs"),
    ],
)
def test_damage_is_found(damaged, capsys, damage, message):
    damage(shard(damaged))
    status, _, error = run(capsys, damaged, "--verify")
    assert status == 2
    assert error.startswith(f"error: {shard(damaged)}")
    assert message in error
