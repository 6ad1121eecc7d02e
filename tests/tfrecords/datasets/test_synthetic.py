"""SynthADL: the size of the dataset, determinism, geometry, and that twins differ only in what names them."""

import collections
import hashlib
import itertools
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tfrecords import protocols, schema
from tfrecords.datasets import synthetic
from tfrecords.datasets.synthetic import SynthADL
from tfrecords.synthadl import cameras, drawing
from tfrecords.synthadl.performance import perform as perform_activity
from zoo import skeletons
from zoo.shared import command_line
from zoo.shared.errors import UserError

LAYOUT = skeletons.get("kinect_v2_25")
FRAMES = 20  # shorter clips than the default's
HUES = {"cup": 0, "pill box": 65, "phone": 97, "cloth": 26}  # of 180, as OpenCV counts


def clip_id(label, *, subject=1, camera=1, repetition=1):
    return f"S001C{camera:03}P{subject:03}R{repetition:03}A{SynthADL.labels.index(label) + 1:03}"


@pytest.fixture(scope="module")
def read():
    """A function that generates a clip once: ``read(label, subject=..., camera=...)``."""
    source, clips = SynthADL(frames=FRAMES), {}

    def reader(label, **numbers):
        name = clip_id(label, **numbers)
        if name not in clips:
            clips[name] = source.read(source.parse_id(name))
        return clips[name]

    return reader


def perform(label, *, seed=0, **numbers):
    info = SynthADL.parse_id(clip_id(label, **numbers))
    return perform_activity(seed, info, synthetic.ACTIVITIES[info.label], FRAMES)


def pictures(clip, part="full_body"):
    """The decoded pictures ``[T, N, N, 3]``, RGB."""
    decoded = [cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) for jpeg in clip.images[part]]
    return np.stack(decoded)[..., ::-1]


def digest(clip):
    return hashlib.sha256(b"".join(clip.images["full_body"]) + clip.pose_xyz.tobytes()).hexdigest()


# ----------------------------------------------------------------------------------------- names, size, options


def test_index_holds_every_combination_once():
    infos = SynthADL(subjects=5, repetitions=3).index().clips
    assert [info.id for info in infos] == sorted({info.id for info in infos})
    for field, values in (("label", 10), ("subject", 5), ("camera", 3), ("repetition", 3)):
        counts = collections.Counter(getattr(info, field) for info in infos)
        assert len(counts) == values
        assert set(counts.values()) == {10 * 5 * 3 * 3 // values}
    # A performance is recorded in one setup, by all cameras.
    performances = collections.Counter((i.setup, i.label, i.subject, i.repetition) for i in infos)
    assert set(performances.values()) == {3}


def test_id_says_everything():
    info = SynthADL.parse_id("S004C002P013R007A010")
    assert info == schema.ClipInfo("S004C002P013R007A010", 9, subject=13, camera=2, setup=4, repetition=7)


@pytest.mark.parametrize(
    "name", ["", "a01_s01_e00_v01", "S001C004P001R001A001", "S001C001P000R001A001", "S001C001P001R001A011"]
)
def test_no_id(name):
    with pytest.raises(ValueError, match="no id of SynthADL"):
        SynthADL.parse_id(name)


@pytest.mark.parametrize("repetitions", [1, 4])
def test_protocols_leave_no_split_empty(repetitions):
    infos = SynthADL(repetitions=repetitions).index().clips
    for protocol in protocols.names("synthetic"):
        counts = collections.Counter(protocols.split_of("synthetic", protocol, info.id) for info in infos)
        assert set(counts) == set(protocols.SPLITS)
        assert counts["test"] == len(infos) // {"cs": 2, "cv": 3}[protocol]


def parse(*arguments):
    parser = command_line.ArgumentParser()
    SynthADL.add_arguments(parser)
    return SynthADL.from_arguments(parser.parse_args(arguments))


def test_options_come_from_the_command_line():
    assert parse().options() == SynthADL().options()
    size = ("--seed", "3", "--subjects", "4", "--repetitions", "2", "--frames", "30")
    assert parse(*size, "--size", "64", "--parts", "right_hand,full_body").options() == {
        "seed": 3,
        "subjects": 4,
        "repetitions": 2,
        "frames": 30,
        "size": 64,
        "parts": ["full_body", "right_hand"],
    }
    assert parse("--parts", "none").options()["parts"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seed", "-1"),
        ("--subjects", "1"),
        ("--repetitions", "1000"),
        ("--frames", "3"),
        ("--size", "481"),
        ("--parts", "full_body,head"),
        ("--parts", "left_hand,left_hand"),
        ("--parts", ""),
    ],
)
def test_bad_option_is_named(arguments):
    with pytest.raises(UserError, match=f"^{arguments[0]} {arguments[1]}: expected .*") as error:
        parse(*arguments)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------- determinism


def test_same_bytes_in_another_process_and_order(read):
    labels = ("take pills", "put down")
    script = (
        "import hashlib; from tfrecords.datasets.synthetic import SynthADL\n"
        f"source = SynthADL(frames={FRAMES})\n"
        f"for name in {[clip_id(label, camera=2) for label in reversed(labels)]}:\n"
        "    clip = source.read(source.parse_id(name))\n"
        "    print(hashlib.sha256(b''.join(clip.images['full_body']) + clip.pose_xyz.tobytes()).hexdigest())\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [digest(read(label, camera=2)) for label in reversed(labels)]


def test_seed_changes_people_rooms_and_motions():
    one, other = (perform("take pills", seed=seed) for seed in (0, 1))
    assert one.person.bones != other.person.bones
    assert len(one.boxes) == len(other.boxes)
    assert all((a[0] != b[0]).any() for a, b in zip(one.boxes, other.boxes))
    bent = [np.linalg.norm(p.joints[:, 7] - p.joints[:, 11], axis=-1) for p in (one, other)]  # between the hands
    assert bent[0].shape != bent[1].shape or (bent[0] != bent[1]).all()


def test_performances_vary():
    performances = [perform("wave", subject=p, repetition=r) for p in range(1, 9) for r in (1, 2)]
    lengths = {len(performance.joints) for performance in performances}
    assert len(lengths) > 3
    assert min(lengths) >= 0.8 * FRAMES
    assert max(lengths) <= 1.2 * FRAMES
    assert {performance.hand for performance in performances} == {"left", "right"}
    heights = [performance.joints[0, LAYOUT.joints.index("head"), 1] for performance in performances]
    assert max(heights) - min(heights) > 0.1


# ----------------------------------------------------------------------------------------------------- geometry


def test_a_clip_has_every_list_of_the_schema(read):
    clip = read("answer phone")
    frames = clip.num_frames
    assert clip.pose_xyz.shape == (frames, 1, 25, 3)
    assert clip.pose_xy.shape == (frames, 1, 25, 2)
    assert (clip.layout, clip.persons, clip.label_text) == ("kinect_v2_25", 1, "answer phone")
    np.testing.assert_array_equal(clip.pose_confidence, np.ones((frames, 1, 25)))
    assert pictures(clip).shape == (frames, 112, 112, 3)
    restored = schema.decode(schema.encode(clip))
    np.testing.assert_array_equal(restored.pose_xyz, clip.pose_xyz)
    assert restored.images == clip.images


@pytest.mark.parametrize("camera", [1, 2, 3])
def test_pixels_are_the_projection_of_the_joints(read, camera):
    clip = read("pick up", camera=camera)
    x, y, z = np.moveaxis(clip.pose_xyz.astype(float), -1, 0)
    pixels = np.stack([320 + 525 * x / z, 240 - 525 * y / z], axis=-1)
    np.testing.assert_allclose(clip.pose_xy, pixels, atol=1e-2)
    assert (clip.pose_xy >= clip.boxes["full_body"][:, None, None, :2]).all()
    assert (clip.pose_xy <= clip.boxes["full_body"][:, None, None, 2:]).all()


def test_coordinates_are_those_of_kinect(read):
    """X to the right of the picture, Y up, Z away from the camera; who faces it has the left hand at the smaller X."""
    first = dict(zip(LAYOUT.joints, read("wave", camera=1).pose_xyz[0, 0]))
    assert first["head"][1] > first["spine_base"][1] > first["left_foot"][1]
    assert first["left_shoulder"][0] < first["right_shoulder"][0]
    assert 2 < first["spine_base"][2] < 4
    assert first["left_foot"][2] < first["left_ankle"][2]  # toes point to the camera


@pytest.mark.parametrize("label", ["take pills", "pick up", "sit down"])
def test_cameras_see_the_same_rigid_bones(read, label):
    clips = [read(label, camera=camera) for camera in (1, 2, 3)]
    lengths = []
    for clip in clips:
        bones = np.stack([clip.pose_xyz[:, 0, child] - clip.pose_xyz[:, 0, parent] for parent, child in LAYOUT.bones])
        lengths.append(np.linalg.norm(bones, axis=-1))  # [bones, T]
    lengths = np.concatenate(lengths, axis=1)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:, :1], lengths.shape), atol=1e-5)
    assert (lengths > 0.02).all()
    # All pairs of joints, so the whole skeleton at every time, agree between the cameras.
    spread = [np.linalg.norm(c.pose_xyz[:, 0, :, None] - c.pose_xyz[:, 0, None], axis=-1) for c in clips]
    np.testing.assert_allclose(spread[1], spread[0], atol=1e-5)
    np.testing.assert_allclose(spread[2], spread[0], atol=1e-5)
    # But each from its own side: camera 3 has moved round the person by about 90 degrees from camera 2.
    shoulders = [np.subtract(*c.pose_xyz[0, 0, [8, 4]][:, [0, 2]]) for c in clips]  # X and Z, left to right
    turns = [np.degrees(np.arctan2(z, x)) for x, z in shoulders]
    assert abs((turns[2] - turns[1]) % 360 - 90) < 12 or abs((turns[1] - turns[2]) % 360 - 90) < 12
    assert min(turns[1:]) < turns[0] < max(turns[1:])


def test_joints_lie_on_the_drawn_person():
    """Next to every joint the picture differs from the room without the person, but for legs behind furniture."""
    performance = perform("wave", subject=4)
    view = cameras.camera(0, 1, 1)
    room = drawing.draw_room(performance, view, np.random.default_rng(0)).image.astype(int)
    frames = drawing.render(performance, view, np.random.default_rng(0))
    pixels = np.rint(view.project(view.transform(performance.joints))).astype(int)
    upper = [index for index, name in enumerate(LAYOUT.joints) if not name.endswith(("knee", "ankle", "foot"))]
    outside = []
    for frame, points in zip(frames, pixels):
        drawn = np.abs(frame.astype(int) - room).sum(axis=-1) > 0
        assert all(drawn[y - 2 : y + 3, x - 2 : x + 3].any() for x, y in points[upper])
        # And the person is there only: the drawn pixels lie within a body's thickness of a bone.
        canvas = np.full(drawn.shape, 255, np.uint8)
        for parent, child in LAYOUT.bones:
            cv2.line(canvas, tuple(map(int, points[parent])), tuple(map(int, points[child])), 0)
        distance = cv2.distanceTransform(canvas, cv2.DIST_L2, 5)
        outside.append(distance[drawn].max())
    assert max(outside) < 525 * 0.2 / 2.5  # 0.2 m at the nearest


def test_feet_stand_still_and_hands_reach_their_place():
    standing = perform("drink from cup", subject=2)
    joints = dict(zip(LAYOUT.joints, np.moveaxis(standing.joints, 1, 0)))
    assert np.ptp(joints["left_ankle"], axis=0).max() < 1e-6
    to_mouth = np.linalg.norm(joints[f"{standing.hand}_hand"] - joints["head"], axis=-1)
    assert to_mouth.min() < 0.3 < to_mouth[[0, -1]].min()
    seated = dict(zip(LAYOUT.joints, np.moveaxis(perform("sit down", subject=2).joints, 1, 0)))
    drop = seated["spine_base"][0, 1] - seated["spine_base"][-1, 1]
    assert 0.2 < drop < 0.6


# --------------------------------------------------------------------------------------------------------- twins


def test_every_class_has_a_twin():
    pairs = list(itertools.chain(*synthetic.CONFUSABLE.values()))
    assert sorted(itertools.chain(*pairs)) == sorted(SynthADL.labels)
    assert len(synthetic.CONFUSABLE["object"]) == len(synthetic.CONFUSABLE["order"]) == 2


@pytest.mark.parametrize(("first", "second"), synthetic.CONFUSABLE["object"])
def test_object_twins_share_the_motion_and_the_objects(read, first, second):
    clips = [read(label, subject=3) for label in (first, second)]
    np.testing.assert_array_equal(clips[0].pose_xyz, clips[1].pose_xyz)
    np.testing.assert_array_equal(clips[0].boxes["full_body"], clips[1].boxes["full_body"])
    assert clips[0].images != clips[1].images
    performances = [perform(label, subject=3) for label in (first, second)]
    bags = [sorted([kind for kind, *_ in p.lying] + ([p.kind] if p.kind else [])) for p in performances]
    assert bags[0] == bags[1]
    assert set(bags[0]) == set(HUES)


@pytest.mark.parametrize(("first", "second"), synthetic.CONFUSABLE["order"])
def test_order_twins_are_each_other_reversed(read, first, second):
    forward, backward = (read(label, subject=3, camera=3) for label in (first, second))
    np.testing.assert_array_equal(backward.pose_xyz, forward.pose_xyz[::-1])
    assert backward.images["full_body"] == forward.images["full_body"][::-1]
    assert np.abs(forward.pose_xyz[0] - forward.pose_xyz[-1]).max() > 0.1


@pytest.mark.parametrize(("first", "second"), synthetic.CONFUSABLE["motion"])
def test_motion_twins_hold_the_same_object_elsewhere(first, second):
    one, other = (perform(label, subject=3) for label in (first, second))
    assert one.kind == other.kind
    assert one.hand == other.hand
    hand, feet = getattr(LAYOUT, f"{one.hand}_hand"), LAYOUT.joints.index("left_foot")
    np.testing.assert_array_equal(one.joints[:, feet], other.joints[:, feet])
    apart = np.linalg.norm(one.joints[:, hand] - other.joints[:, hand], axis=-1)
    assert apart[0] < 1e-6
    assert apart.max() > 0.15


# --------------------------------------------------------------------------------------------------------- object


@pytest.mark.parametrize("label", ["drink from cup", "answer phone", "clean window", "put down"])
def test_object_in_hand_is_next_to_the_hand(label):
    for subject, camera in itertools.product((1, 2, 3), (1, 2, 3)):
        performance = perform(label, subject=subject)
        view = cameras.camera(0, 1, camera)
        hand = performance.joints[:, getattr(LAYOUT, f"{performance.hand}_hand")]
        there = view.project(view.transform(np.stack([hand, performance.centre])))  # [2, T, 2]
        distance = np.linalg.norm(there[0] - there[1], axis=-1)
        assert performance.held.any()
        assert distance[performance.held].max() < 525 * 0.08 / 2.2  # 8 cm


def test_picked_up_object_lies_still_and_then_follows_the_hand():
    for subject in (1, 2, 3):
        performance = perform("pick up", subject=subject)
        held, centre = performance.held, performance.centre
        assert not held[0]
        assert held[-1]
        assert np.diff(held.astype(int)).clip(min=0).sum() == 1  # taken once
        assert np.ptp(centre[~held], axis=0).max() == 0
        assert np.linalg.norm(np.diff(centre, axis=0)[~held[:-1] & held[1:]], axis=-1).max() < 0.05  # no jump
        assert np.linalg.norm(centre[-1] - centre[0]) > 0.15


@pytest.mark.parametrize("label", ["drink from cup", "take pills", "clean window"])
def test_object_is_seen_near_the_hand_at_64_pixels(read, label):
    """Its colour covers several pixels around the hand, far more than in the twin's clip."""
    twin = next({label: b, b: a, a: b}[label] for a, b in synthetic.CONFUSABLE["object"] if label in (a, b))
    hue = HUES[synthetic.ACTIVITIES[SynthADL.labels.index(label)].object]

    def coloured(clip, hand):
        box = clip.boxes["full_body"]
        scale = 64 / (box[0, 2] - box[0, 0])
        points = np.rint((clip.pose_xy[:, 0, getattr(LAYOUT, f"{hand}_hand")] - box[:, :2]) * scale).astype(int)
        counts = []
        for picture, (x, y) in zip(pictures(clip), points):
            small = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
            around = small[max(y - 5, 0) : y + 6, max(x - 5, 0) : x + 6]
            h, s, v = np.moveaxis(cv2.cvtColor(around, cv2.COLOR_RGB2HSV).astype(int), -1, 0)
            near = np.minimum((h - hue) % 180, (hue - h) % 180) < 10
            counts.append(int((near & (s > 120) & (v > 60)).sum()))
        return np.median(counts)

    for subject in (1, 2, 3):
        hand = perform(label, subject=subject).hand
        # The camera that has the hand on its side.
        seen = max(coloured(read(label, subject=subject, camera=c), hand) for c in (1, 2, 3))
        assert seen >= 4
        assert seen > 2 * max(coloured(read(twin, subject=subject, camera=c), hand) for c in (1, 2, 3))


# ---------------------------------------------------------------------------------------------------------- parts


def test_poses_alone():
    source = SynthADL(frames=FRAMES, parts=())
    clip = source.read(source.parse_id(clip_id("stand up")))
    assert not clip.images
    assert not clip.boxes
    assert clip.num_frames == len(clip.pose_xyz)
    assert "image/full_body" not in clip.feature_lists()


def test_hand_parts_follow_the_hands():
    source = SynthADL(frames=FRAMES, parts=("left_hand", "right_hand"), size=48)
    clip = source.read(source.parse_id(clip_id("clean window", subject=5)))
    assert set(clip.images) == {"left_hand", "right_hand"}
    for part in clip.images:
        assert pictures(clip, part).shape[1:] == (48, 48, 3)
        box, hand = clip.boxes[part], clip.pose_xy[:, 0, getattr(LAYOUT, part)]
        np.testing.assert_array_equal(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] <= cameras.FRAME_SIZE).all()
        assert np.abs((box[:, :2] + box[:, 2:]) / 2 - hand).max() <= 1
    active = clip.boxes[f"{perform('clean window', subject=5).hand}_hand"]
    assert np.ptp(active[:, 1]) > 50
