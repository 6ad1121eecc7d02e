"""Windows of a long video that share computation."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.shared import sharing
from zoo.shared.errors import UserError
from zoo.shared_computation import SharedComputation

REACH = (12, 15)  # frames before and after its own that a step of Mixed_4b depends on


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    return zoo.build("i3d", num_classes=4, frames=32, size=32, width=0.125)


@pytest.fixture(scope="module")
def video():
    return np.random.default_rng(0).uniform(-1, 1, (73, 32, 32, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def early(model):
    return SharedComputation(model, "Mixed_4b")


@pytest.fixture(scope="module")
def late(model):
    return SharedComputation(model, "Mixed_5c")


def frames_of(**videos):
    return lambda first, end: {name: video[first:end] for name, video in videos.items()}


def maps_of(shared, video):
    return np.concatenate([maps for (maps,) in sharing.stretches(frames_of(rgb=video), shared.step, shared._maps)])


def test_steps_are_those_of_a_window_alone_except_near_its_ends(model, video, early, monkeypatch):
    """Also those near the ends of a stretch, whose pass sees frames beyond it; the last frame fills no step."""
    monkeypatch.setattr(sharing, "STRETCH", 24)
    maps = maps_of(early, video)
    assert len(maps) == 72 // early.step
    alone = tf.keras.Model(model.input, model.get_layer("Mixed_4b").output)
    for start in (0, 16, 40):
        window = alone({"rgb": video[np.newaxis, start : start + 32]}).numpy()[0]
        own = maps[start // early.step : (start + 32) // early.step]
        before, after = (-(-frames // early.step) for frames in REACH)
        np.testing.assert_allclose(own[before:-after], window[before:-after], atol=1e-5)
        at_the_end = np.abs(own - window)[len(own) - after :].max()
        assert (at_the_end < 1e-5) == (start == 40)  # zeros follow the video's last whole step in both


def test_the_only_window_of_a_video_is_classified_as_by_itself(model, video, early, late):
    for shared in (early, late):
        (softmax,) = shared.predict(frames_of(rgb=video[:32]), [0])
        np.testing.assert_allclose(softmax, model({"rgb": video[np.newaxis, :32]}).numpy()[0], atol=1e-5)


def test_windows_are_cut_out_of_the_maps_in_several_passes(model, video, early, monkeypatch):
    starts, rest = [0, 4, 8, 40], tf.keras.Model(model.get_layer("Mixed_4b").output, model.output)
    monkeypatch.setattr(sharing, "STRETCH", 24)
    monkeypatch.setattr(sharing, "_BATCH", 2)
    maps = maps_of(early, video)
    found = list(early.predict(frames_of(rgb=video), [*starts, 44, 48]))  # which end after the video
    expected = rest(np.stack([maps[start // 4 : start // 4 + 8] for start in starts])).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pi3d", "separable_sta", "vpn"])
def test_models_of_video_and_poses(name):
    """Their towers are shared, and each window has its own poses: a video of one window is classified as by itself."""
    tf.keras.utils.set_random_seed(0)
    few = {"pi3d": {"parts": ("full_body", "left_hand")}}.get(name, {})
    model = zoo.build(name, num_classes=3, frames=8, size=32, width=0.1, pose_steps=8, **few)
    draw = np.random.default_rng(0).normal
    features = {key: draw(size=tensor.shape[1:]).astype(np.float32) for key, tensor in model.input.items()}
    pose = features.pop("pose")
    shared = SharedComputation(model)
    (softmax,) = shared.predict(frames_of(**features), [0], lambda number: {"pose": pose})
    batch = {key: values[np.newaxis] for key, values in {**features, "pose": pose}.items()}
    np.testing.assert_allclose(softmax, model(batch).numpy()[0], atol=1e-5)


def test_what_cannot_be_shared_is_one_line(model, video, late):
    with pytest.raises(zoo.ZooError, match="i3d: its file does not state its options"):
        SharedComputation(tf.keras.Model(model.input, model.output, name="i3d"))
    for starts, message in (([0, 4], "at frame 4, expected a multiple of 8"), ([8, 0], "at frame 0, .* after frame 8")):
        with pytest.raises(UserError, match=message):
            list(late.predict(frames_of(rgb=video), starts))
    with pytest.raises(zoo.ZooError, match="pose_lstm has no I3D that sees its frames"):
        SharedComputation(zoo.build("pose_lstm", num_classes=3, lstm_units=4))


@pytest.mark.slow
def test_models_whose_blocks_or_frames_do_not_fit_are_named():
    short = zoo.build("i3d", num_classes=3, frames=12, size=32, width=0.1)
    with pytest.raises(
        zoo.ZooError, match="windows have 12 frames, expected a multiple of 8, the frames per step of Mixed_5c"
    ):
        SharedComputation(short)
    joined = zoo.build(
        "pi3d", num_classes=3, frames=8, size=32, width=0.1, parts=("full_body", "left_hand"), attention=False,
        aggregate_after=1,
    )  # fmt: skip
    with pytest.raises(zoo.ZooError, match=r"pi3d has no block full_body\.Mixed_5c"):
        SharedComputation(joined)
