"""Records of a shard, one by one."""

import numpy as np
import pytest
import tensorflow as tf

from tfrecords import schema
from tfrecords.reading import random_access
from zoo.shared.errors import UserError


@pytest.fixture
def shard(tmp_path):
    """Three clips of 1, 2 and 3 frames."""
    path = tmp_path / "shard.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number in range(3):
            info = schema.ClipInfo(f"clip {number}", number)
            poses = np.full((number + 1, 1, 13, 3), number, np.float32)
            writer.write(schema.encode(schema.Clip(info, "d", "label", 30.0, layout="lcrnet_13", pose_xyz=poses)))
    return path


def test_every_record_is_found_in_any_order(shard):
    locations = random_access.locations(shard)
    for number in (2, 0, 1):
        clip = locations[number].read()
        assert clip.info == schema.ClipInfo(f"clip {number}", number)
        np.testing.assert_array_equal(clip.pose_xyz, np.full((number + 1, 1, 13, 3), number))
    assert len(locations) == 3
    # What a record says of its clip stands at its beginning.
    outlines = random_access.outlines(shard)
    assert [place for place, _ in outlines] == locations
    assert [(clip.info.id, clip.num_frames, clip.label_text) for _, clip in outlines] == [
        (f"clip {number}", number + 1, "label") for number in range(3)
    ]
    assert outlines[0][1].pose_xyz is None
    content = shard.read_bytes()
    assert locations[0].checksum() == content[locations[1].offset - 16 : locations[1].offset - 12]
    assert locations[2].checksum() == content[-4:]


@pytest.mark.parametrize("missing", [1, 20, 10_000])
def test_a_shard_that_ends_early_is_named(shard, missing):
    content = shard.read_bytes()
    lengths = [location.length for location in random_access.locations(shard)]
    shard.write_bytes(content[: max(len(content) - missing, 5)])
    record = 2 if missing < lengths[2] else 0
    with pytest.raises(UserError, match=rf"shard\.tfrecord: ends within record {record}, .* convert again"):
        random_access.locations(shard)


def test_a_damaged_record_is_named(shard):
    location = random_access.locations(shard)[1]
    content = bytearray(shard.read_bytes())
    content[location.offset : location.offset + location.length] = bytes([255]) * location.length
    shard.write_bytes(bytes(content))
    for read in (location.read, lambda: random_access.outlines(shard)):
        with pytest.raises(UserError, match=f"at byte {location.offset}: .*convert again"):
            read()
