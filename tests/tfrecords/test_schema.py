"""The data contract: what is written is what is read, in memory and in a graph."""

import numpy as np
import pytest
import tensorflow as tf

from tfrecords import schema

T, M, J = 3, 2, 5
RANDOM = np.random.default_rng(0)
INFO = schema.ClipInfo("S001C002P003R004A005", label=4, subject=3, camera=2, setup=1, repetition=4)
PICTURES = {
    "image": {part: [f"{part}-{t}".encode() for t in range(T)] for part in schema.PARTS},
    "box": {part: RANDOM.uniform(0, 100, (T, 4)).astype(np.float32) for part in schema.PARTS},
}
POSES = {
    "pose_xyz": RANDOM.normal(size=(T, M, J, 3)).astype(np.float32),
    "pose_xy": RANDOM.uniform(0, 640, (T, M, J, 2)).astype(np.float32),
    "pose_confidence": RANDOM.uniform(size=(T, M, J)).astype(np.float32),
}


FEATURES = {g: RANDOM.normal(size=(g, 7)).astype(np.float32) for g in (2, 5)}


def clip(**fields):
    return schema.Clip(INFO, "ntu60", "drop", 30.0, **fields)


CLIPS = {
    "all": clip(images=PICTURES["image"], boxes=PICTURES["box"], layout="kinect_v2_25", **POSES),
    "poses": clip(layout="kinect_v2_25", pose_xyz=POSES["pose_xyz"]),
    "pictures": clip(images={"full_body": PICTURES["image"]["full_body"]}),
    "features and poses": clip(layout="kinect_v2_25", pose_xyz=POSES["pose_xyz"], features=FEATURES),
    "features": clip(features=FEATURES, length=40),
    "a window": clip(
        layout="kinect_v2_25", pose_xyz=POSES["pose_xyz"], frame_labels=np.array([2, -1, 0]), recording="long", start=70
    ),
}


@pytest.mark.parametrize("name", CLIPS)
def test_round_trip(name):
    before = CLIPS[name]
    after = schema.decode(schema.encode(before))
    assert after.info == before.info
    for field in ("dataset", "label_text", "fps", "layout", "images", "num_frames", "persons", "recording", "start"):
        assert getattr(after, field) == getattr(before, field), field
    assert list(after.boxes) == list(before.boxes)
    for part, boxes in before.boxes.items():
        np.testing.assert_array_equal(after.boxes[part], boxes)
    assert after.features.keys() == before.features.keys()
    for granularity, values in before.features.items():
        np.testing.assert_array_equal(after.features[granularity], values)
    for field in ("pose_xyz", "pose_xy", "pose_confidence", "frame_labels"):
        expected = getattr(before, field)
        if expected is None:
            assert getattr(after, field) is None
        else:
            np.testing.assert_array_equal(getattr(after, field), expected)


def test_parsed_in_a_graph():
    context, sequence = schema.parsing_spec(parts=schema.PARTS, pose_values=M * J * 3)

    @tf.function
    def parse(record):
        return tf.io.parse_single_sequence_example(record, context, sequence)

    fields, lists = parse(schema.encode(CLIPS["all"]))
    assert fields["clip/id"].numpy().decode() == INFO.id
    assert (fields["clip/label/index"], fields["clip/num_frames"]) == (INFO.label, T)
    for part in schema.PARTS:
        assert lists[f"image/{part}"].numpy().tolist() == PICTURES["image"][part]
    np.testing.assert_array_equal(lists["pose/xyz"], POSES["pose_xyz"].reshape(T, -1))
    _, sequence = schema.parsing_spec(granularities=(5,), feature_size=7)
    _, lists = tf.io.parse_single_sequence_example(schema.encode(CLIPS["features"]), {}, sequence)
    np.testing.assert_array_equal(lists["features/g5"], FEATURES[5])


def test_equal_clips_give_equal_bytes():
    again = clip(
        images=dict(reversed(PICTURES["image"].items())),
        boxes=dict(reversed(PICTURES["box"].items())),
        layout="kinect_v2_25",
        **POSES,
    )
    assert schema.encode(again) == schema.encode(CLIPS["all"])


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"images": {"full_body": [b""] * 3, "left_hand": [b""] * 2}}, "unequal"),
        ({}, "no length"),
        ({"images": {"foot": [b""]}}, "foot"),
        ({"features": FEATURES}, "no length"),
    ],
)
def test_no_record_of_a_faulty_clip(features, message):
    with pytest.raises(ValueError, match=message):
        schema.encode(clip(**features))


@pytest.mark.parametrize("data", [b"\x0a\xff\xff", tf.train.SequenceExample().SerializeToString()])
def test_bytes_that_are_no_record(data):
    with pytest.raises(ValueError, match="SequenceExample"):
        schema.decode(data)
