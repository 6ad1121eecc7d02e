"""The reader: which frames, in which order, changed how."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.tfrecords.numbered_frames import SIDE, STEP, NumberedFrames, WithoutPixels, convert
from tfrecords import inspect, schema
from tfrecords.converting import crops
from tfrecords.reading import augmentation, clips, pictures, pipeline, poses, sampling
from zoo import skeletons
from zoo.shared.errors import UserError

VIDEO = pipeline.Inputs(frames=4, stride=2, size=32)
POSES = pipeline.Inputs(
    pose_steps=3,
    layout="kinect_v1_20",
    normalisation=poses.Normalisation(axes="camera", scale=False),
)
AT_STEPS = dataclasses.replace(POSES, frames=3, frames_at="pose_steps", size=32)
WITH_XY = dataclasses.replace(AT_STEPS, pose_xy=True)
PLAIN = augmentation.Augmentation(crop=False)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbered")
    convert(NumberedFrames(), folder, clips_per_shard=4)
    return pipeline.Records(folder)


def _frame_numbers(rgb):
    """Which frame each picture is, from its brightness: ``[..., T]``."""
    bright = (np.asarray(rgb)[..., 24:, :].mean(axis=(-3, -2, -1)) + 1) * 127.5
    return np.rint(bright / STEP).astype(int)


def _read(data):
    return [tf.nest.map_structure(np.asarray, element) for element in data]


def _train(records, inputs, **options):
    defaults = {"batch": 2, "seed": 1, "epochs": 1, "augment": PLAIN}
    return _read(pipeline.training(records, "v3_12", inputs, **{**defaults, **options}))


def _equal(a, b):
    return all(np.array_equal(x, y) for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b)))


def test_an_epoch_has_every_clip_once(records):
    for cache in (False, True):
        batches = _train(records, VIDEO, batch=1, epochs=2, cache=cache)
        count = records.count("v3_12", "train")
        assert len(batches) == 2 * count
        labels = np.concatenate([label for _, label in batches[:count]])
        ids = pipeline.clip_ids(records, "v3_12", "train")
        assert sorted(labels) == sorted(int(clip_id[1:3]) - 1 for clip_id in ids)


@pytest.mark.parametrize("balance", ["none", "classes"])
def test_records_are_read_once_and_kept_without_pictures_that_are_not_seen(records, monkeypatch, balance):
    kept = []

    def without_pictures(record, parts):
        kept.append(whole(record, parts))
        return kept[-1]

    whole = schema.without_pictures
    monkeypatch.setattr(schema, "without_pictures", without_pictures)
    for inputs, seen in ((VIDEO, {"full_body"}), (POSES, set())):
        kept.clear()
        batches = _train(records, inputs, batch=1, epochs=2, balance=balance, cache=True)
        assert len(batches) == 2 * len(kept)
        for clip in map(schema.decode, kept):
            assert set(clip.images) == seen
            assert len(clip.boxes["full_body"]) == len(clip.pose_xyz) == clip.num_frames


def test_training_windows_start_in_the_first_half_and_loop_only_if_they_must(records):
    lengths = set()
    for features, _ in _train(records, VIDEO, batch=1, epochs=4):
        frames = _frame_numbers(features["rgb"][0])
        (length,) = [n for n in (3, 15, 27) if _is_sampled_from(frames, n)][:1] or [None]
        assert length, f"{frames} are not every second frame from a first half"
        lengths.add(length)
    assert lengths == {3, 15, 27}


def test_a_clip_shorter_than_the_window_can_be_spread_over_it(records):
    """The clips have 3, 15 and 27 frames, a window spans 8."""
    spread = dataclasses.replace(VIDEO, short_clips="spread")
    shown = [_frame_numbers(features["rgb"][0]).tolist() for features, _ in _train(records, spread, batch=1, epochs=2)]
    assert all(frames == sorted(frames) for frames in shown)  # none starts again
    short = [frames for frames in shown if frames[-1] < 3]
    assert short
    assert all(frames[0] == 0 and frames[-1] == 2 for frames in short)


def _is_sampled_from(frames, length):
    start = frames[0]
    return start <= max(min(length // 2, length - 8), 0) and list(frames) == [
        (start + 2 * k) % length for k in range(4)
    ]


@pytest.mark.parametrize("short_clips", ["loop", "spread"])
def test_without_drawn_windows_training_sees_what_evaluation_does(records, short_clips):
    inputs = dataclasses.replace(VIDEO, short_clips=short_clips)
    still = dataclasses.replace(PLAIN, window=False)
    evaluated = pipeline.evaluation(records, "v3_12", "train", inputs, batch=1, clips=1)
    videos = {features["rgb"].numpy().tobytes() for features, _, _ in evaluated}
    trained = [features["rgb"].tobytes() for features, _ in _train(records, inputs, batch=1, epochs=2, augment=still)]
    assert len(videos) == 3  # clips of three lengths
    assert set(trained) == videos


def test_temporal_jitter_takes_each_frame_from_its_stride(records):
    jitter = dataclasses.replace(PLAIN, temporal_jitter=True)
    seen = set()
    inputs = dataclasses.replace(VIDEO, stride=3)
    for (plain, _), (features, _) in zip(
        _train(records, inputs, batch=1, epochs=2), _train(records, inputs, batch=1, epochs=2, augment=jitter)
    ):
        frames, shifted = _frame_numbers(plain["rgb"][0]), _frame_numbers(features["rgb"][0])
        lengths = [n for n in (3, 15, 27) if set((shifted - frames) % n) <= {0, 1, 2}]
        assert lengths, f"{shifted} against {frames}"
        seen.add(tuple(shifted - frames))
    assert len(seen) > 10


def test_colours_change_alike_in_all_parts(records):
    inputs = dataclasses.replace(VIDEO, parts=("left_hand", "right_hand"))
    darker = dataclasses.replace(PLAIN, brightness=0.4)
    factors = set()
    for features, _ in _train(records, inputs, batch=1, augment=darker):
        left, right = ((features[f"rgb_{part}_hand"] + 1) * 127.5 for part in ("left", "right"))
        factor = left.mean() / 40
        np.testing.assert_allclose(right, np.minimum(200 * factor, 255), atol=2)
        assert np.ptp(left) < 1e-3, "in all frames"
        factors.add(round(float(factor), 3))
    assert len(factors) > 10


def test_order_and_choices_depend_on_seed_and_epoch_alone(records):
    augment = augmentation.Augmentation(flip=True, rotation=30, scale=0.1, noise=0.01)
    inputs = pipeline.Inputs(frames=4, size=32, pose_steps=3, layout="kinect_v1_20")
    first = _train(records, inputs, epochs=3, augment=augment)
    tf.random.set_seed(0)  # TensorFlow's own seed plays no part
    assert _equal(first, _train(records, inputs, epochs=3, augment=augment))
    per_epoch = len(first) // 3
    assert _equal(first[2 * per_epoch :], _train(records, inputs, epochs=3, first_epoch=2, augment=augment))
    assert not _equal(first[:per_epoch], first[per_epoch : 2 * per_epoch])
    assert not _equal(first, _train(records, inputs, epochs=3, seed=2, augment=augment))


def test_a_cached_training_resumes_equally(records):
    whole = _train(records, VIDEO, epochs=2, cache=True)
    assert _equal(whole[len(whole) // 2 :], _train(records, VIDEO, epochs=2, first_epoch=1, cache=True))


def test_pose_steps_come_from_equal_sub_sequences(records):
    seen = set()
    for features, _ in _train(records, POSES, batch=1, epochs=6):
        up = features["pose"][0, :, 0, 0, 1]  # [3]: frame numbers, as poses rise a metre per frame
        frames = np.rint(up).astype(int)
        (length,) = [n for n in (3, 15, 27) if all(k * n // 3 <= f < (k + 1) * n / 3 for k, f in enumerate(frames))][:1]
        seen.add((length, *frames))
    assert len(seen) > 20, "the steps are drawn at random"


def test_poses_are_interpolated_at_the_positions_of_the_steps(records):
    """The poses rise a metre per frame, and a frame shows the middle of its time."""
    between = dataclasses.replace(POSES, interpolate=True)
    pairs = zip(_train(records, POSES), _train(records, between))
    differences = np.stack(
        [smooth["pose"][..., 0, 0, 1] - plain["pose"][..., 0, 0, 1] for (plain, _), (smooth, _) in pairs]
    )
    assert 0.2 < np.abs(differences).max() <= 0.5 + 1e-3
    (plain, _, _), *_ = _evaluate(records, POSES, batch=100)  # of an odd number of frames each part has a middle one
    (smooth, _, _), *_ = _evaluate(records, between, batch=100)
    np.testing.assert_allclose(smooth["pose"], plain["pose"], atol=1e-3)


def test_a_part_of_the_clip_gives_the_steps(records):
    spans = []
    for features, _ in _train(records, POSES, batch=1, epochs=6, augment=augmentation.Augmentation(pose_crop=0.2)):
        frames = _pose_frames(features["pose"])[0]
        assert (np.diff(frames) >= 0).all()
        spans.append(frames[-1] - frames[0])
    whole = [np.ptp(_pose_frames(features["pose"])) for features, _ in _train(records, POSES, batch=1, epochs=6)]
    assert np.mean(spans) < 0.8 * np.mean(whole)


def test_padded_time_keeps_the_first_and_the_last_pose(records):
    many = dataclasses.replace(POSES, pose_steps=12)
    augment = augmentation.Augmentation(pose_pad=4, time_warp=3)
    before, after = [], []
    for features, _ in _train(records, many, batch=1, epochs=3, augment=augment):
        frames = _pose_frames(features["pose"])[0]
        assert (np.diff(frames) >= 0).all()
        before.append((frames == frames[0]).sum())
        after.append((frames == frames[-1]).sum())
    assert max(before) >= 6, "the first pose stays"
    assert max(after) >= 6, "the last pose stays"


def test_training_on_both_splits(records):
    both = [records.count("v3_12", split) for split in ("train", "val")]
    assert all(both)
    assert records.count("v3_12", pipeline.TRAIN_AND_VAL) == sum(both)
    assert len(_train(records, POSES, split=pipeline.TRAIN_AND_VAL, batch=1)) == sum(both)


def test_mirroring_swaps_picture_halves_hands_and_joints(records):
    inputs = pipeline.Inputs(
        frames=4,
        size=32,
        parts=("full_body", "left_hand", "right_hand"),
        pose_steps=3,
        layout="kinect_v1_20",
        normalisation=poses.Normalisation(axes="camera", scale=False),
    )
    flip = augmentation.Augmentation(crop=False, flip=True)
    mirrored = 0
    for (plain, _), (features, _) in zip(
        _train(records, inputs, batch=1), _train(records, inputs, batch=1, augment=flip)
    ):
        if np.array_equal(plain["rgb"], features["rgb"]) and np.array_equal(plain["pose"], features["pose"]):
            assert features["rgb_left_hand"].mean() < features["rgb_right_hand"].mean()
            continue
        mirrored += 1
        np.testing.assert_allclose(features["rgb"], plain["rgb"][:, :, :, ::-1], atol=1e-5)
        np.testing.assert_allclose(features["rgb_left_hand"], plain["rgb_right_hand"][:, :, :, ::-1], atol=1e-5)
        hand, other = 7, 11
        np.testing.assert_allclose(features["pose"][..., hand, 1:], plain["pose"][..., other, 1:], atol=1e-5)
        np.testing.assert_allclose(features["pose"][..., hand, 0], -plain["pose"][..., other, 0], atol=1e-5)
    assert 0 < mirrored < records.count("v3_12", "train")


@pytest.mark.parametrize("crops", [1, 3, "full"])
def test_every_view_of_an_evaluation_comes_mirrored_too(crops):
    """As a mirror shows the view: its pictures, the other hand, the joints of the other side, their pixels."""
    rng = np.random.default_rng(0)
    sizes = {"full_body": (48, 64), "left_hand": (40, 40), "right_hand": (40, 40)}
    images = {
        part: [tf.io.encode_jpeg(rng.integers(0, 255, (*size, 3), np.uint8)).numpy() for _ in range(9)]
        for part, size in sizes.items()
    }
    boxes = {part: np.tile(np.float32([0, 0, size[1], size[0]]), (9, 1)) for part, size in sizes.items()}
    pose = rng.normal(size=(9, 1, 20, 3)).astype("float32")
    xy = rng.uniform(0, 40, (9, 1, 20, 2)).astype("float32")
    info, layout = schema.ClipInfo("a", 0), "kinect_v1_20"
    clip = schema.Clip(info, "d", "x", 15.0, images, boxes, layout=layout, pose_xyz=pose, pose_xy=xy)
    inputs = dataclasses.replace(WITH_XY, parts=tuple(sizes))
    record, other = tf.constant(schema.encode(clip)), list(skeletons.get(layout).mirrored)
    plain, both = clips.Views(crops=crops), clips.Views(crops=crops, flip=True)
    count = int(plain.count(tf.constant(9), inputs))
    assert int(both.count(tf.constant(9), inputs)) == 2 * count == 2 * plain.crop_count
    for number in range(count):
        expected, _ = clips.evaluated_view(record, number, inputs, plain)
        same, mirrored = (clips.evaluated_view(record, 2 * number + k, inputs, both)[0] for k in (0, 1))
        for name, values in expected.items():
            np.testing.assert_allclose(same[name], values, atol=1e-5)
        hands = {"rgb_left_hand": "rgb_right_hand", "rgb_right_hand": "rgb_left_hand"}
        for name in ("rgb", *hands):
            picture = expected[hands.get(name, name)][:, :, ::-1]
            np.testing.assert_allclose(mirrored[name], picture, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(mirrored["pose"], expected["pose"].numpy()[..., other, :] * [-1, 1, 1], atol=1e-5)
        if crops != "full":
            x, y = np.moveaxis(expected["pose_xy"].numpy()[..., other, :], -1, 0)
            np.testing.assert_allclose(mirrored["pose_xy"], np.stack([31 - x, y], -1), atol=1e-4)


def test_rotation_and_scale_of_poses(records):
    for augment, same in (
        (augmentation.Augmentation(rotation=90), lambda pose: np.linalg.norm(pose[..., [0, 2]], axis=-1)),
        (
            augmentation.Augmentation(scale=0.3),
            lambda pose: pose / np.linalg.norm(pose[:, :1, :, 3:4], axis=-1)[..., None],
        ),
    ):
        for (plain, _), (changed, _) in zip(_train(records, POSES), _train(records, POSES, augment=augment)):
            np.testing.assert_allclose(same(changed["pose"]), same(plain["pose"]), rtol=1e-3, atol=1e-4)
            assert np.abs(changed["pose"] - plain["pose"]).max() > 1e-3


def _evaluate(records, inputs, **options):
    return _read(pipeline.evaluation(records, "v3_12", "test", inputs, **{"batch": 4, **options}))


def test_evaluation_takes_the_centre_in_a_fixed_order(records):
    ids = pipeline.clip_ids(records, "v3_12", "test")
    assert len(ids) == records.count("v3_12", "test") == len(set(ids))
    batches = _evaluate(records, VIDEO)
    numbers = np.concatenate([number for _, _, number in batches])
    np.testing.assert_array_equal(numbers, np.arange(len(ids)))
    labels = np.concatenate([label for _, label, _ in batches])
    np.testing.assert_array_equal(labels, [int(clip_id[1:3]) - 1 for clip_id in ids])
    for clip_id, frames in zip(ids, _frame_numbers(np.concatenate([f["rgb"] for f, _, _ in batches]))):
        length = 4 * int(clip_id[9:11]) + 3
        start = max(length - 8, 0) // 2
        np.testing.assert_array_equal(frames, (start + 2 * np.arange(4)) % length)
    assert _equal(batches, _evaluate(records, VIDEO))


def test_all_views_cover_the_whole_clip(records):
    ids = pipeline.clip_ids(records, "v3_12", "test")
    views = {}
    for features, _, numbers in _evaluate(records, VIDEO, clips="all"):
        for number, frames in zip(numbers, _frame_numbers(features["rgb"])):
            views.setdefault(number, []).append(frames)
    for number, clip_id in enumerate(ids):
        length = 4 * int(clip_id[9:11]) + 3
        seen = views[number]
        assert len(seen) == -(-length // 8)
        starts = [frames[0] for frames in seen]
        assert starts[0] == 0
        assert starts[-1] == max(length - 8, 0)
        assert (np.diff(starts) <= 8).all()


def test_three_crops_are_the_centre_and_two_corners(records):
    features, _, numbers = _evaluate(records, VIDEO, crops=3, batch=3)[1]
    assert len(set(numbers)) == 1
    dark = (features["rgb"] < -0.5).mean(axis=(1, 2, 3, 4))  # the left half of every picture is dark
    assert dark[1] > dark[0] > dark[2]


class WideFrames(NumberedFrames):
    """The same; the full body's pictures of clips of 15 frames are wider than high, dark at both ends."""

    def read(self, info):
        """One clip."""
        clip = super().read(info)
        if info.repetition == 3:
            wide = [np.pad(crops.decode_jpeg(jpeg), [(0, 0), (12, 12), (0, 0)]) for jpeg in clip.images["full_body"]]
            clip.images["full_body"] = [crops.encode_jpeg(picture, 95) for picture in wide]
        return clip


def test_the_whole_picture_in_its_own_proportions(tmp_path):
    """Views of one size come in batches together; of squares they are those of the centre."""
    convert(WideFrames(), tmp_path, clips_per_shard=4)
    records = pipeline.Records(tmp_path)
    full, centre = (_evaluate(records, VIDEO, clips="all", crops=view, batch=3) for view in (pipeline.FULL, 1))
    numbers = np.concatenate([number for _, _, number in full])
    np.testing.assert_array_equal(np.sort(numbers), np.concatenate([number for _, _, number in centre]))
    lengths = [4 * int(clip_id[9:11]) + 3 for clip_id in pipeline.clip_ids(records, "v3_12", "test")]
    for features, _, of in full:
        wide = {lengths[number] == 15 for number in of}
        assert len(wide) == 1
        assert features["rgb"].shape[1:] == ((4, 32, 48, 3) if wide.pop() else (4, 32, 32, 3))
    found = {of: [v for f, _, n in full for v in f["rgb"][n == of]] for of in range(len(lengths))}
    expected = {of: [v for f, _, n in centre for v in f["rgb"][n == of]] for of in range(len(lengths))}
    for of, length in enumerate(lengths):
        assert len(found[of]) == len(expected[of])
        for view, middle in zip(found[of], expected[of]):
            assert np.abs(view[..., 8:40, :] - middle).max() < 0.1 if length == 15 else np.array_equal(view, middle)
    with pytest.raises(ValueError, match="crops is 2, expected 1, 3 or 'full'"):
        pipeline.evaluation(records, "v3_12", "test", VIDEO, batch=4, crops=2)


def test_pose_views_of_a_model_without_video(records):
    (features, _, numbers), *_ = _evaluate(records, POSES, batch=100)
    np.testing.assert_array_equal(numbers, np.arange(18))
    ids = pipeline.clip_ids(records, "v3_12", "test")
    for clip_id, pose in zip(ids, features["pose"]):
        length = 4 * int(clip_id[9:11]) + 3
        np.testing.assert_allclose(pose[:, 0, 0, 1], [length // 6, length // 2, 5 * length // 6], atol=1e-3)
    (features, _, numbers), *_ = _evaluate(records, POSES, clips="all", batch=1000)
    frames = np.rint(features["pose"][:, :, 0, 0, 1]).astype(int)
    for number, clip_id in enumerate(ids):
        length = 4 * int(clip_id[9:11]) + 3
        assert set(frames[numbers == number].ravel()) == set(range(length))
    (parts, _, _), *_ = _evaluate(records, POSES, clips=4, pose_crop=0.3, batch=1000)
    (whole, _, _), *_ = _evaluate(records, POSES, clips=4, batch=1000)
    spans, all_of_it = (np.ptp(_pose_frames(views["pose"]), axis=-1).reshape(18, 4) for views in (parts, whole))
    assert (spans[:, 0] <= 0.6 * all_of_it[:, 0] + 1).all()
    assert (np.diff(spans.mean(axis=0)) > 0).all(), "one view after the other sees more"


def _pose_frames(pose):
    """Which frame each pose is, as poses rise a metre per frame: ``[..., tp]``."""
    return np.rint(pose[..., 0, 0, 1]).astype(int)


def test_frames_at_the_pose_steps(records):
    seen = set()
    for features, _ in _train(records, AT_STEPS, batch=1, epochs=2):
        frames = _frame_numbers(features["rgb"])
        np.testing.assert_array_equal(frames, _pose_frames(features["pose"]))
        seen.add(tuple(frames[0]))
    assert len(seen) > 10, "the steps are drawn at random"
    poses_alone = [features["pose"] for features, _ in _train(records, POSES)]
    assert _equal(poses_alone, [features["pose"] for features, _ in _train(records, AT_STEPS)])

    (features, _, numbers), *_ = _evaluate(records, AT_STEPS, clips=2, crops=3, batch=1000)
    assert [list(numbers).count(number) for number in range(18)] == [6] * 18
    frames = _pose_frames(features["pose"]).reshape(18, 2, 3, 3)  # clip, window, crop, step
    np.testing.assert_array_equal(_frame_numbers(features["rgb"]).reshape(frames.shape), frames)
    alone, *_ = _evaluate(records, POSES, clips=2, batch=1000)
    np.testing.assert_array_equal(frames[:, :, 0].reshape(36, 3), _pose_frames(alone[0]["pose"]))


def _edge(rgb):
    """Column of each picture where its half dark and its half bright part meet: ``[...]``."""
    profile = np.asarray(rgb).mean(axis=(-3, -1))  # [..., W]
    level = (profile.max(axis=-1) + profile.min(axis=-1))[..., None] / 2
    bright = profile > level
    columns = np.arange(bright.shape[-1] - 1) + 0.5
    return (columns * (bright[..., 1:] != bright[..., :-1])).sum(axis=-1)


@pytest.mark.parametrize("augment", [PLAIN, augmentation.Augmentation(crop=True), augmentation.Augmentation(flip=True)])
def test_pixel_coordinates_of_joints(records, augment):
    """Every joint lies on the edge in the picture, in any crop of it, mirrored or not."""
    tops = set()
    for features, _ in _train(records, WITH_XY, batch=1, augment=augment):
        x, y = features["pose_xy"][0, -1, 0].T
        rows = 32 / SIDE * np.arange(20)  # between joints, uncropped
        mirrored = 0 if y[4] < y[8] else 1  # joints 4 and 8 are the shoulders
        order = (
            list(range(20))
            if not mirrored
            else [*range(4), *range(8, 12), *range(4, 8), *range(16, 20), *range(12, 16)]
        )
        gaps = np.diff(y[order])
        assert (gaps > 0).all()
        if not augment.crop:
            np.testing.assert_allclose(y[order], rows - 0.5, atol=1e-3)
        np.testing.assert_allclose(x, _edge(features["rgb"])[0, -1], atol=0.75)
        tops.add(round(float(y[0]), 2))
    assert (len(tops) > 1) == augment.crop
    (features, _, _), *_ = _evaluate(records, WITH_XY, crops=3, batch=1000)
    np.testing.assert_allclose(features["pose_xy"][:, -1, 0, 0, 0], _edge(features["rgb"])[:, -1], atol=0.75)


def test_pixel_coordinates_in_whole_frames():
    """They lie in the box of the part whose pictures are read."""
    clip = NumberedFrames().read(NumberedFrames().index().clips[-1])
    whole = dataclasses.replace(
        clip, images={"full_image": clip.images["full_body"]}, boxes={"full_image": clip.boxes["full_body"]}
    )
    (expected, _), (features, _) = (
        clips.evaluated_view(
            tf.constant(schema.encode(one)), 0, dataclasses.replace(WITH_XY, whole_frames=at), clips.Views()
        )
        for one, at in ((clip, False), (whole, True))
    )
    assert np.ptp(expected["pose_xy"]) > 1
    np.testing.assert_array_equal(features["pose_xy"], expected["pose_xy"])


def test_poses_as_another_sensor_sees_them_of_more_persons(records):
    """Joints and their pixels are mapped before anything else; a person who is added is absent."""
    other = {"layout": "kinect_v2_25", "stored_layout": "kinect_v1_20", "persons": 2, "stored_persons": 1}
    (stored, *_), *_ = _evaluate(records, WITH_XY, batch=1000)
    (fed, *_), *_ = _evaluate(records, dataclasses.replace(WITH_XY, **other), batch=1000)
    assert fed["pose"].shape == (18, 3, 2, 25, 3)
    assert not fed["pose"][:, :, 1].any()
    xyz = skeletons.map_joints(stored["pose"], "kinect_v1_20", "kinect_v2_25")
    moved = fed["pose"][:, :, :1] - xyz  # poses begin at their own hips
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1, :, :1], moved.shape), atol=1e-3)
    xy = skeletons.map_joints(stored["pose_xy"], "kinect_v1_20", "kinect_v2_25")
    np.testing.assert_allclose(fed["pose_xy"][:, :, :1], xy, atol=1e-3)
    with pytest.raises(UserError, match="has kinect_v1_20 skeletons, the model expects nite_15"):
        _evaluate(records, dataclasses.replace(POSES, layout="kinect_v2_25", stored_layout="nite_15"))


def test_an_unknown_joint_spoils_only_what_is_mapped_from_it():
    values = np.random.default_rng(0).normal(size=(2, 20, 2)).astype("float32")
    values[0, 7] = np.nan
    expected = skeletons.map_joints(values, "kinect_v1_20", "kinect_v2_25")
    np.testing.assert_allclose(poses.map_joints(values, "kinect_v1_20", "kinect_v2_25"), expected, atol=1e-5)


def test_pixel_coordinates_that_no_record_has(tmp_path):
    convert(WithoutPixels(), tmp_path)
    with pytest.raises(UserError, match=r"has no pixel coordinates of joints \(clip a01_"):
        _train(pipeline.Records(tmp_path), WITH_XY)


def test_only_the_sampled_frames_are_decoded():
    good = tf.io.encode_jpeg(tf.zeros([8, 8, 3], tf.uint8)).numpy()
    jpegs = tf.constant([good, b"broken", good])
    decoded = pictures.decode_frames(jpegs, tf.constant([0, 2, 2, 0]), pictures.centre_square)
    assert decoded.shape == (4, 8, 8, 3)
    with pytest.raises(tf.errors.InvalidArgumentError):
        pictures.decode_frames(jpegs, tf.constant([0, 1]), pictures.centre_square)


def test_windows_of_hours_of_video():
    starts = sampling.window_starts(250_000, 16, 1, "all").numpy()
    np.testing.assert_array_equal(starts, np.arange(15_625) * 249_984 // 15_624)


def test_segments_cover_the_clip_evenly(records):
    inputs = dataclasses.replace(POSES, frames=4, size=48, parts=("full_body", "right_hand"))
    shard = records.shards("v3_12", "test")[0]
    fed = _read(pipeline.segments(shard, inputs, (2, 3)))
    clips = list(inspect.records(shard))
    assert len(fed) == 5 * len(clips)
    for number, clip in enumerate(clips):
        of_clip = fed[5 * number : 5 * number + 5]
        cuts = [(g, index) for g in (2, 3) for index in range(g)]
        for segment, (g, index) in zip(of_clip, cuts):
            for name, steps in (("rgb", 4), ("pose", 3)):
                middles = (index * steps + np.arange(steps) + 0.5) / (g * steps) * clip.num_frames
                found = _frame_numbers(segment["rgb"]) if name == "rgb" else _heights(segment["pose"], clip)
                np.testing.assert_array_equal(found, np.int32(middles + 1e-5))
            assert segment["rgb_right_hand"].shape == (4, 48, 48, 3)


def test_segments_have_the_pixel_coordinates_of_their_frames(records):
    shard = records.shards("v3_12", "test")[0]
    fed = _read(pipeline.segments(shard, WITH_XY, (2, 3)))
    (features, _, _), *_ = _evaluate(records, WITH_XY, batch=1)
    for segment in fed:  # joints do not move in the pictures
        np.testing.assert_allclose(segment["pose_xy"], features["pose_xy"][0], atol=1e-3)
    assert len(fed) == 5 * len(list(inspect.records(shard)))


def _heights(pose, clip):
    """Which frame each pose is, from the height it lies at: ``[S]``."""
    first = poses.normalise(clip.pose_xyz, clip.layout, POSES.normalisation).numpy()[0]
    return np.rint((pose - first)[:, 0, 0, 1]).astype(int)


def test_inputs_round_trip():
    inputs = pipeline.Inputs(
        frames=8,
        parts=("full_body", "left_hand"),
        pose_steps=2,
        layout="nite_15",
        persons=2,
        granularities=(2, 5),
        feature_size=3,
        segment_steps=4,
    )
    assert pipeline.Inputs.from_dict(inputs.to_dict()) == inputs
    assert {name: spec.shape for name, spec in inputs.signature().items()} == {
        "rgb": (8, 224, 224, 3),
        "rgb_left_hand": (8, 224, 224, 3),
        "pose": (2, 2, 15, 3),
        "features_g2": (2, 3),
        "pose_g2": (2, 4, 2, 15, 3),
        "features_g5": (5, 3),
        "pose_g5": (5, 4, 2, 15, 3),
    }
    assert pipeline.Inputs.from_dict(json.loads(json.dumps(inputs.to_dict()))) == inputs


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ([[]], "centre"),  # nothing is stored
        ([[[0, -40, 320, 280]] * 3, [[-40, 0, 280, 320]] * 3], "whole"),
        ([[[0, -40, 320, 280]] * 3, [[10, 0, 90, 80]] * 3], "person"),  # nobody was found in the first
        ([[[-2, -2, 90, 90], [-4, -2, 88, 90]]], "person"),
        ([[[0, 0, 320, 240]] * 3], "centre"),  # whole frames in their own proportions
    ],
)
def test_boxes_show_how_pictures_were_cut(records, monkeypatch, tmp_path, clips, expected):
    with tf.io.TFRecordWriter(str(tmp_path / "shard")) as writer:
        for boxes in clips:
            stored = {"full_body": np.array(boxes, np.float32)} if boxes else {}
            clip = schema.Clip(schema.ClipInfo("a", 0), "made_up", "sit", 30.0, boxes=stored, length=3)
            writer.write(schema.encode(clip))
    monkeypatch.setattr(records, "shards", lambda protocol, split: [tmp_path / "shard"])
    assert records.framing("v3_12", "train") == expected


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (pipeline.Inputs(pose_steps=3, layout="nite_15"), {}, "has kinect_v1_20 skeletons, the model expects nite_15"),
        (
            pipeline.Inputs(pose_steps=3, layout="kinect_v1_20", persons=2),
            {},
            "poses of 1 persons, the model expects 2",
        ),
        (POSES, {"batch": 1000}, "batch 1000 is larger than v3_12 train"),
    ],
)
def test_a_model_the_dataset_cannot_feed(records, inputs, options, message):
    with pytest.raises(UserError, match=message):
        _train(records, inputs, **options)


def test_unknown_protocol_split_and_folder(records, tmp_path):
    with pytest.raises(UserError, match="no protocol 'v9', valid: v3_12"):
        records.count("v9", "train")
    with pytest.raises(UserError, match="no split 'dev', valid: train, val, test"):
        records.count("v3_12", "dev")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        pipeline.Records(tmp_path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "needs frames, pose_steps or granularities"),
        ({"frames": 8, "parts": ("feet",)}, "unknown body parts"),
        ({"frames": 8, "stride": 0}, "stride is 0"),
        ({"frames": 8, "framing": "face"}, "framing is 'face', expected one of centre, whole, person"),
        ({"frames": 8, "frames_at": "middle"}, "frames_at is 'middle', expected one of stride, pose_steps"),
        ({"frames": 8, "pose_steps": 4, "frames_at": "pose_steps"}, "must be equal, they are 8 and 4"),
        ({"pose_steps": 4, "pose_xy": True}, "pose_xy are pixel coordinates in pictures"),
        ({"pose_steps": 4, "layout": "coco_17", "stored_layout": "nite_15"}, "no map from skeleton layout nite_15"),
        ({"granularities": (2,), "segment_steps": 3, "interpolate": True}, "the poses of segments are those of frames"),
    ],
)
def test_inputs_that_make_no_sense(values, message):
    with pytest.raises(ValueError, match=message):
        pipeline.Inputs(**values)


def test_persons_in_both_orders():
    """Drawn in training, one after the other in evaluation; nothing else changes."""
    pose = np.random.default_rng(0).normal(size=(6, 2, 15, 3)).astype("float32")
    clip = schema.Clip(schema.ClipInfo("a", 0), "d", "x", 15.0, layout="nite_15", pose_xyz=pose)
    record = tf.constant(schema.encode(clip))
    inputs = pipeline.Inputs(
        pose_steps=3, persons=2, layout="nite_15", normalisation=poses.Normalisation(origin="persons", axes="camera")
    )
    views = clips.Views(clips=2, swap_persons=True)
    assert int(views.count(tf.constant(6), inputs)) == 4
    first, second, third, fourth = (
        clips.evaluated_view(record, number, inputs, views)[0]["pose"].numpy() for number in range(4)
    )
    np.testing.assert_allclose(second, first[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(fourth, third[:, ::-1], atol=1e-6)
    assert np.abs(third - first).max() > 0.1

    swapped = 0
    for number in range(12):
        seed = tf.constant([number, 0], tf.int64)
        plain, changed = (
            clips.training_clip(record, seed, inputs, augmentation.Augmentation(swap_persons=swap), (0,))[0]["pose"]
            for swap in (False, True)
        )
        if not np.array_equal(plain, changed):
            swapped += 1
            np.testing.assert_allclose(changed, plain.numpy()[:, ::-1], atol=1e-6)
    assert 0 < swapped < 12
