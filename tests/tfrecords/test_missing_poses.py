"""Clips in which nobody's pose is known: kept on request, counted, read; left out where poses are all there is."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tfrecords import recording_files
from tfrecords import convert, inspect, manifest, schema
from tfrecords.converting import persons
from tfrecords.reading import augmentation, clips, pipeline
from zoo import skeletons

LAYOUT = "lcrnet_13"
WALK = recording_files.walk(LAYOUT)  # 14 frames
FEET = ("left_ankle", "right_ankle")
CSV = """id,video,poses,label,split
a,1.mp4,1.npz,drink,train
b,1.mp4,,drink,train
c,1.mp4,2.npz,eat,train
d,1.mp4,3.npz,eat,train
e,2.mp4,1.npz,eat,val
f,3.mp4,,eat,test
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    for number in (1, 2, 3):
        recording_files.write_video(folder / f"{number}.mp4", recording_files.frames_of(WALK) + np.uint8(number))
    confidence = np.ones(WALK.shape[:2], np.float32)
    xy = recording_files.project(WALK)
    np.savez(folder / "1.npz", xyz=WALK, xy=xy, confidence=confidence)
    np.savez(folder / "2.npz", xyz=WALK, xy=xy, confidence=0 * confidence)  # the tracker found nobody
    joints = skeletons.get(LAYOUT).joints
    confidence[:, [joints.index(foot) for foot in FEET]] = 0
    np.savez(folder / "3.npz", xyz=WALK, xy=xy, confidence=confidence)  # feet outside the pictures
    (folder / "clips.csv").write_text(CSV)
    return folder


@pytest.fixture(scope="module")
def converted(folder):
    parts = ["--parts", "full_body,left_hand", "--size", "16", "--workers", "1"]
    arguments = ["folder", "--csv", str(folder / "clips.csv"), "--layout", LAYOUT, "--missing-poses", "keep", *parts]
    assert convert.main([*arguments, "--out", str(folder / "out")]) == 0
    return folder / "out"


def test_they_are_left_out_unless_they_are_wanted(folder, run_command, tmp_path):
    command = ["folder", "--csv", folder / "clips.csv", "--workers", 1, "--out", tmp_path / "out"]
    status, _, error = run_command(convert.main, *command, "--layout", LAYOUT)
    assert status == 2
    assert "line 3: no poses, expected one, or keep such clips with --missing-poses keep" in error
    for more in (["--layout", LAYOUT, "--parts", "none"], []):
        status, _, error = run_command(convert.main, *command, "--missing-poses", "keep", *more)
        assert status == 2
        assert "--missing-poses keep: keeps the pictures of clips without a pose" in error


def test_poses_are_zeros_and_pictures_whole(converted):
    found = manifest.load(converted)
    assert not found["rejected"]
    assert found["options"]["missing_poses"] == "keep"
    assert manifest.clips_without_poses(found, "default") == {"train": 2, "test": 1}
    clip = inspect.find_clip(converted, found, "c")
    assert clip.pose_xyz.shape == (14, 1, 13, 3)
    assert not any(np.any(values) for values in (clip.pose_xyz, clip.pose_xy, clip.pose_confidence))
    whole = [[0, -20, 160, 140]] * 14
    assert {part: boxes.tolist() for part, boxes in clip.boxes.items()} == {"full_body": whole, "left_hand": whole}


def test_a_joint_that_was_never_measured_is_on_the_nearest_one(converted):
    clip = inspect.find_clip(converted, manifest.load(converted), "d")
    joints = skeletons.get(LAYOUT).joints
    for foot in FEET:
        knee = joints.index(foot.replace("ankle", "knee"))
        np.testing.assert_array_equal(clip.pose_xyz[:, 0, joints.index(foot)], WALK[:, knee])
        assert set(clip.pose_confidence[:, 0, joints.index(foot)]) == {persons.INTERPOLATED}
    few = np.zeros((3, 1, 13), np.float32)
    few[:, 0, :5] = 1
    assert not persons.with_all_joints(persons.Poses(WALK[:3, None], few), skeletons.get(LAYOUT)).confidence.any()


def test_they_are_counted_and_shown(converted, folder, run_command, tmp_path):
    _, out, _ = run_command(inspect.main, converted)
    assert "clips without a pose: 3 of 6\n  default     train 2, test 1" in out
    options = ["--layout", LAYOUT, "--missing-poses", "keep", "--preview", tmp_path / "sheet.png", "--clip", "b"]
    status, _, error = run_command(convert.main, "folder", "--csv", folder / "clips.csv", *options)
    assert status == 0, error


@pytest.mark.parametrize("axes", ["camera", "body"])
def test_they_are_read_without_nan(converted, axes):
    records = pipeline.Records(converted)
    normalisation = clips.poses.Normalisation(axes=axes)
    inputs = pipeline.Inputs(
        frames=2, frames_at="pose_steps", size=8, pose_steps=2, layout=LAYOUT, pose_xy=True, normalisation=normalisation
    )
    ((features, _, _),) = pipeline.evaluation(records, "default", "test", inputs, batch=1)
    assert not np.any(features["pose"])
    assert np.isfinite(features["pose_xy"]).all()
    assert np.ptp(features["rgb"]) > 0


@pytest.mark.parametrize("balance", pipeline.BALANCES)
def test_models_of_poses_alone_are_trained_without_them(converted, balance):
    records = pipeline.Records(converted)
    alone = pipeline.Inputs(pose_steps=2, layout=LAYOUT)
    with_video = pipeline.Inputs(pose_steps=2, layout=LAYOUT, frames=2, size=8)
    assert [records.count("default", "train", inputs) for inputs in (alone, with_video)] == [2, 4]
    counts = [records.class_counts("default", "train", inputs).tolist() for inputs in (alone, with_video)]
    assert counts == [[1, 1], [2, 2]]
    data = pipeline.training(records, "default", alone, batch=2, seed=0, epochs=4, balance=balance)
    batches = [features["pose"].numpy().any(axis=(1, 2, 3, 4)) for features, _ in data]
    assert np.array(batches).tolist() == [[True, True]] * 4
    (view,) = pipeline.training_view(
        records, "default", alone, batch=4, seed=0, view=0, augment=augmentation.Augmentation()
    )
    assert len(view[1]) == 2


def test_clips_lose_their_poses_at_random():
    inputs = pipeline.Inputs(frames=2, frames_at="pose_steps", pose_steps=2, layout=LAYOUT, pose_xy=True)
    features = {"rgb": tf.ones((2, 4, 4, 3)), "pose": tf.ones((2, 1, 13, 3)), "pose_xy": tf.ones((2, 1, 13, 2))}
    changes = augmentation.Augmentation(pose_missing=0.25)
    dropped = []
    for number in range(200):
        found = clips.augment(features, inputs, changes, clips.seeds_of(tf.constant([0, number], tf.int64)))
        assert np.all(found["rgb"])
        assert np.any(found["pose"]) == np.any(found["pose_xy"])
        dropped.append(not np.any(found["pose"]))
    assert 30 < sum(dropped) < 70
    alone = pipeline.Inputs(pose_steps=2, layout=LAYOUT)
    always = augmentation.Augmentation(pose_missing=1.0)
    seeds = clips.seeds_of(tf.constant([0, 0], tf.int64))
    assert np.all(clips.augment({"pose": features["pose"]}, alone, always, seeds)["pose"])


def test_no_clip_is_known_by_its_confidence_alone():
    """A record without confidences has poses: most were written by other programs."""
    clip = schema.Clip(schema.ClipInfo("a", 0), "d", "x", 10.0, layout=LAYOUT, pose_xyz=WALK[:, None])
    assert bool(clips.has_pose(tf.constant(schema.encode(clip)), pipeline.Inputs(pose_steps=2, layout=LAYOUT)))
