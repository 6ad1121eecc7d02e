"""Two-level fusion: its equations in NumPy, the estimator's interface, and what is never computed twice."""

import functools
import hashlib
import io
import pathlib
import pickle
import re
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GroupShuffleSplit, PredefinedSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC
from sklearn.utils import estimator_checks

import zoo
from tests.zoo import tiny_models
from tests.zoo.fusion.test_dense_trajectories import texture
from zoo.fusion import (
    AppearanceFeatures,
    Clip,
    FisherVectors,
    MotionFeatures,
    PoseFeatures,
    TwoLevelFusion,
    appearance,
    motion,
    options,
    svm,
)
from zoo.fusion import estimator as two_level_fusion

FRAMES, SIDE = 8, 48
LABELS = ("red wave", "blue wave", "red lift", "blue lift")
PARAMETERS = {
    "appearance__network": "mobilenet_v2",
    "appearance__size": 32,
    "appearance__weights": None,
    "motion__region": "full_body",
    "motion__track_length": 6,
    "motion__gaussians": 2,
    "motion__samples": 500,
    "penalty": 10.0,
}
FORMER_CLASSES = {b"CalibratedSVM": b"_SVM", b"PrincipalAxesSVC": b"_LinearSVC", b"Decisions": b"_Decisions"}


class Counter:
    """Pictures of a region that count how often they are read, and may stop the work."""

    reads = 0
    stop_at = None

    def __init__(self, frames):
        self.frames = frames

    def __call__(self):
        Counter.reads += 1
        if Counter.reads == Counter.stop_at:
            raise KeyboardInterrupt
        return self.frames


def make_clip(number, label):
    """A coloured square that moves to the right or up, and poses that do, too."""
    rng = np.random.default_rng(number)
    colour, way = LABELS[label].split()
    frames = np.zeros((FRAMES, SIDE, SIDE, 3), np.uint8)
    frames[:] = texture(SIDE, SIDE, number)[..., None]
    shade = texture(16, 16, 99 + number)
    for t in range(FRAMES):
        x, y = (8 + 2 * t, 14) if way == "wave" else (14, 26 - 2 * t)
        frames[t, y : y + 16, x : x + 16] = 0
        frames[t, y : y + 16, x : x + 16, 0 if colour == "red" else 2] = shade
    poses = rng.normal(scale=0.1, size=(FRAMES + number % 3, 1, 5, 3)).astype("float32")
    poses[..., 0 if way == "wave" else 1] += np.linspace(-1, 1, len(poses))[:, None, None]
    return Clip(f"toy/{number}", {"full_body": Counter(frames), "left_hand": Counter(frames[:, :, :, ::-1])}, poses)


@pytest.fixture(scope="module")
def data():
    labels = np.tile(np.arange(4), 6)
    return [make_clip(number, label) for number, label in enumerate(labels)], np.array(LABELS)[labels]


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def pose_model(tmp_path_factory):
    """A pose LSTM that all tests share, as training one takes longer than all the rest."""
    path = tmp_path_factory.mktemp("pose") / "model.keras"
    tiny_models.build("pose_lstm", pose_steps=3, persons=1, joints=5, lstm_units=4).save(path)
    return str(path)


@pytest.fixture(scope="module")
def estimator(pose_model, memory):
    return TwoLevelFusion.from_options(**PARAMETERS, pose_model=pose_model, memory=memory, epsilon=0.05)


@pytest.fixture(scope="module")
def fitted(estimator, data):
    return clone(estimator).fit(*data)


@pytest.fixture
def eager():
    """Steps run without a graph, whose tracing would take longer than they do."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


# ------------------------------------------------------------------------------------------------------- equations


def test_pooling_is_minimum_and_maximum_of_features_and_of_their_differences():
    features = np.random.default_rng(0).normal(size=(9, 5))
    differences = [features[t + 4] - features[t] for t in range(5)]
    expected = [np.min(features, 0), np.max(features, 0), np.min(differences, 0), np.max(differences, 0)]
    np.testing.assert_array_equal(appearance.pool_frames(features), np.concatenate(expected))
    np.testing.assert_array_equal(appearance.pool_frames(features[:1])[10:], np.zeros(10))
    np.testing.assert_array_equal(appearance.pool_frames(features[:3])[10:15], features[2] - features[0])


def test_appearance_is_divided_by_the_mean_norm_of_the_training_frames(data, memory):
    clips = data[0][:4]
    options = {"network": "mobilenet_v2", "size": 32, "weights": None}
    features = appearance._frame_features("mobilenet_v2", 32, None, 0)
    frames = [features(clip.frames("full_body")) for clip in clips]
    transformer = AppearanceFeatures("full_body", **options, memory=memory).fit(clips[:3])
    norm = np.mean(np.linalg.norm(np.concatenate(frames[:3]), axis=1))
    assert transformer.norm_ == pytest.approx(norm, rel=1e-5)
    expected = np.stack([appearance.pool_frames(f) for f in frames]) / norm
    np.testing.assert_allclose(transformer.transform(clips), expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(expected, axis=0).max() > 0, "random features must depend on the picture"


def test_fisher_vectors_are_the_improved_gradients_of_the_mixture():
    """Perronnin et al., ECCV 2010: gradients to weights, means and deviations, then power and L2 normalisation."""
    rng = np.random.default_rng(1)
    clips = [rng.normal(size=(n, 8)).astype("float32") for n in (40, 25)]
    encoder = FisherVectors(3).fit(clips)
    gmm = encoder.gmm_
    assert isinstance(gmm, GaussianMixture)
    x = encoder.pca_.transform(clips[1]).astype(float)  # [25, 4]
    assert x.shape == (25, 4)
    w, mu, var = gmm.weights_, gmm.means_, gmm.covariances_
    density = np.exp(-0.5 * ((x[:, None] - mu) ** 2 / var + np.log(2 * np.pi * var)).sum(-1)) * w
    gamma = density / density.sum(axis=1, keepdims=True)  # [25, 3]
    z = (x[:, None] - mu) / np.sqrt(var)  # [25, 3, 4]
    weights = (gamma - w).mean(axis=0) / np.sqrt(w)
    means = (gamma[..., None] * z).mean(axis=0) / np.sqrt(w)[:, None]
    deviations = (gamma[..., None] * (1 - z**2)).mean(axis=0) / np.sqrt(2 * w)[:, None]  # scikit-image's sign
    vector = np.concatenate([weights, means.ravel(), deviations.ravel()])
    vector = np.sign(vector) * np.sqrt(np.abs(vector))
    expected = vector / np.linalg.norm(vector)
    np.testing.assert_allclose(encoder.transform(clips)[1], expected, rtol=1e-4, atol=1e-6)
    assert not encoder.transform([clips[0][:0]]).any()


def test_motion_is_a_fisher_vector_of_each_descriptor(data, memory):
    clips = data[0][:6]
    options = {"track_length": 6, "gaussians": 2, "samples": 500, "memory": memory}
    transformer = MotionFeatures("full_body", **options).fit(clips)
    found = transformer.transform(clips)
    assert found.shape == (6, sum(2 * (2 * dimension // 2 + 1) for dimension in (96, 108, 96, 96)))
    stored = transformer.extract(clips[2])
    expected = [transformer.codebooks_[name].transform([stored[name].astype("float32")])[0] for name in stored]
    assert list(stored) == ["hog", "hof", "mbhx", "mbhy"]
    np.testing.assert_allclose(found[2], np.concatenate(expected), atol=1e-6)


def test_svms_along_principal_axes_are_those_of_the_centred_features():
    rng = np.random.default_rng(3)
    for samples, features in ((12, 40), (60, 5)):
        x, y = rng.normal(size=(samples, features)) + 3, np.arange(samples) % 3
        along_axes = svm.PrincipalAxesSVC(max_iter=100_000, tol=1e-8).fit(x, y)
        plain = LinearSVC(max_iter=100_000, tol=1e-8).fit(x - x.mean(axis=0), y)
        np.testing.assert_allclose(along_axes.coef_, plain.coef_, atol=1e-4)
        expected = plain.decision_function(x - x.mean(axis=0))
        np.testing.assert_allclose(along_axes.decision_function(x), expected, atol=1e-3)


def test_late_fusion():
    early, pose = np.random.default_rng(2).dirichlet(np.ones(3), (2, 5))
    np.testing.assert_allclose(two_level_fusion.late_fusion(early, pose, 0.3), 0.3 * early + 0.7 * pose)


def test_similar_pairs_of_a_confusion_matrix():
    confusion = np.array([[0.8, 0.1, 0.1, 0.0], [0.2, 0.8, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.05, 0.05, 0.9]])
    pairs = two_level_fusion.confused_pairs(confusion, 0.1)
    assert [pair[:2] for pair in pairs] == [(0, 1), (0, 2)]
    assert [pair[2] for pair in pairs] == pytest.approx([0.3, 0.1])
    assert two_level_fusion.confused_pairs(confusion, 0.3) == pairs[:1]
    assert two_level_fusion.confused_pairs(confusion, 0.31) == []


class Decides:
    """An SVM that is sure of one of its two classes."""

    def __init__(self, position):
        self.position = position

    def probabilities(self, features):
        return np.eye(2)[[self.position] * len(features)]


def test_decisions_are_repeated_until_no_pair_applies():
    """0 loses to 1, 1 to 2 and 2 to 0: each pair decides once, so that it ends. 3 keeps both of its decisions."""
    estimator = TwoLevelFusion()
    estimator.repeats_ = True
    decides = {(0, 1): Decides(1), (1, 2): Decides(1), (3, 4): Decides(0), (3, 5): Decides(1)}
    estimator.discriminators_ = {pair: ("motion", svm) for pair, svm in decides.items()}
    scores = np.array([[0.4, 0.3, 0.2, 0.1, 0.0, 0.0], [0.1, 0.0, 0.0, 0.5, 0.3, 0.1]])
    features, posed = {"motion": np.zeros((2, 1))}, np.ones(2, bool)
    expected = np.array([[0.3, 0.2, 0.4, 0.1, 0.0, 0.0], [0.1, 0.0, 0.0, 0.1, 0.3, 0.5]])
    np.testing.assert_array_equal(estimator._discriminate(scores, features, posed), expected)
    estimator.discriminators_[0, 2] = "motion", Decides(0)
    expected[0, :3] = [0.4, 0.2, 0.3]
    np.testing.assert_array_equal(estimator._discriminate(scores, features, posed), expected)


def test_a_pairs_svm_decides_between_its_classes_alone():
    """Once, in an estimator that an earlier version fitted."""
    estimator = TwoLevelFusion()
    features = {"pose": np.zeros((4, 1)), "motion": np.zeros((4, 1))}
    estimator.discriminators_ = {(0, 1): ("pose", Decides(1)), (1, 3): ("motion", Decides(1))}
    scores = np.array(
        [
            [0.6, 0.1, 0.2, 0.1],  # 0 is in one pair, whose SVM decides for 1
            [0.1, 0.2, 0.6, 0.1],  # 2 is in none
            [0.1, 0.5, 0.1, 0.3],  # 1 is in two; the partner 3 scores higher than 0: 3 it is
            [0.3, 0.5, 0.1, 0.1],  # here 0 does; the SVM stays with 1
        ]
    )
    expected = np.array([[0.1, 0.6, 0.2, 0.1], [0.1, 0.2, 0.6, 0.1], [0.1, 0.3, 0.1, 0.5], [0.3, 0.5, 0.1, 0.1]])
    posed = np.ones(4, bool)
    np.testing.assert_array_equal(estimator._discriminate(scores, features, posed), expected)
    posed[0], expected[0] = False, scores[0]  # without a pose, an SVM of poses decides nothing
    np.testing.assert_array_equal(estimator._discriminate(scores, features, posed), expected)
    assert (
        two_level_fusion.late_fusion(scores[:2], np.array([[0.0] * 4, [0.25] * 4]), 0.5)[0].tolist()
        == scores[0].tolist()
    )


def test_pose_features_are_the_hidden_vectors_of_a_trained_model(pose_model, data):
    model = zoo.load_model(pose_model)
    clips, labels = data[0][:5], data[1][:5]
    transformer = PoseFeatures(pose_model).fit(clips, labels)
    sampled = np.stack([clip.poses[[int((step + 0.5) * len(clip.poses) / 3) for step in range(3)]] for clip in clips])
    layers = [model.get_layer(f"lstm_{number}") for number in (1, 2, 3)]
    states = sampled.reshape(5, 3, -1)
    for layer in layers:
        states = layer(states)
    np.testing.assert_allclose(transformer.transform(clips), np.reshape(states, (5, 12)), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_whole_sequences_are_padded(data, eager):
    """The hidden vectors of a clip do not depend on the padding; after its end they stay the last one."""
    clips = data[0][:4]
    longest = max(len(clip.poses) for clip in clips)
    transformer = PoseFeatures(pose_steps=longest + 2, whole_sequences=True, lstm_units=4, epochs=1)
    features = transformer.fit(clips, np.arange(4) % 2).transform(clips).reshape(4, longest + 2, 4)
    for states, clip in zip(features, clips):
        length = len(clip.poses)
        np.testing.assert_array_equal(states[length:], np.tile(states[length - 1], (longest + 2 - length, 1)))
    state = {key: value for key, value in transformer.__getstate__().items() if "whole" not in key}
    old = PoseFeatures.__new__(PoseFeatures)
    old.__setstate__(state)
    assert old.get_params()["whole_sequences"] is False


def test_pose_training_separates_the_classes(data, eager):
    clips, labels = data
    way = np.array([label.split()[1] for label in labels])
    transformer = PoseFeatures(pose_steps=3, lstm_units=4, epochs=20, learning_rate=0.02, batch=24)
    features = transformer.fit(clips, way).transform(clips)
    centres = [features[way == name].mean(axis=0) for name in ("wave", "lift")]
    near = [np.linalg.norm(features - centre, axis=1) for centre in centres]
    assert accuracy_score(way == "wave", near[0] < near[1]) > 0.9


# -------------------------------------------------------------------------------------------------- the estimator


def test_what_is_known_after_fitting(fitted, data):
    clips, labels = data
    assert fitted.classes_.tolist() == sorted(LABELS)
    assert fitted.region_ in fitted.region_scores_
    assert set(fitted.region_scores_) == {"full_body", "left_hand"}
    assert 0 <= fitted.alpha_ <= 1
    assert len(fitted.validation_) == 4
    assert set(labels[fitted.validation_]) == set(LABELS), "10 % is less than a clip per class"
    names = ["appearance", "motion", "pose", "early_fusion", "late_fusion", "two_level_fusion"]
    assert sorted(fitted.cue_scores_) == sorted(names)
    by_cue = fitted.cue_probabilities([clips[i] for i in fitted.validation_])
    for name in names:
        assert by_cue[name].shape == (4, 4)
        np.testing.assert_allclose(by_cue[name].sum(axis=1), 1, rtol=1e-5)
        found = fitted.classes_[by_cue[name].argmax(axis=1)]
        assert fitted.cue_scores_[name] == accuracy_score(labels[fitted.validation_], found)
    expected = two_level_fusion.late_fusion(by_cue["early_fusion"], by_cue["pose"], fitted.alpha_)
    np.testing.assert_allclose(by_cue["late_fusion"], expected)
    for pair in fitted.pairs_:
        assert pair.first < pair.second
        assert pair.features in (*two_level_fusion.FEATURE_SETS, "late_fusion")
        assert pair.confusion >= 0.05


def test_it_learns(fitted, data):
    clips, labels = data
    assert fitted.score(clips, labels) > 0.8
    probabilities = fitted.predict_proba(clips[:7])
    np.testing.assert_array_equal(fitted.predict(clips[:7]), fitted.classes_[probabilities.argmax(axis=1)])


@pytest.mark.parametrize("cues", [two_level_fusion.CUES, ("motion",)])
def test_early_fusion_is_one_svm_on_the_features_of_all_cues(cues, estimator, data):
    """The baseline of PhD20 table 3.2, and a cue alone: dense trajectories."""
    clips, labels = data
    early = clone(estimator).set_params(fusion="early", cues=cues).fit(*data)
    level = "early_fusion" if len(cues) > 1 else cues[0]
    assert list(early.cue_scores_) == [*cues, *(["early_fusion"] if len(cues) > 1 else [])]
    parts = {"appearance": early.appearance_, "motion": early.motion_, "pose": early.pose_}
    assert {cue for cue, part in parts.items() if part is not None} == set(cues)
    seen = [clips[i] for i in early.validation_]
    features = np.hstack([parts[cue].transform(seen) for cue in cues])
    np.testing.assert_allclose(early.predict_proba(seen), early.svms_[level].probabilities(features), rtol=1e-6)
    found = early.classes_[early.predict_proba(seen).argmax(axis=1)]
    assert early.cue_scores_[level] == accuracy_score(labels[early.validation_], found)
    assert (early.alpha_, early.pairs_) == (None, [])


@pytest.mark.slow
def test_appearance_of_i3d_is_pooled_over_the_steps_of_its_windows(monkeypatch, data):
    small = functools.partial(zoo.build, width=0.0625)
    monkeypatch.setattr(zoo, "build", small)
    monkeypatch.setattr(appearance, "WINDOW", 16)
    appearance._video_features.cache_clear()
    part = appearance.AppearanceFeatures(network="i3d", size=32, weights=None)
    part.check_parameters()
    clip = data[0][0]
    long = Clip("long", {"full_body": np.concatenate([clip.frames("full_body")] * 3)}, clip.poses)  # 24 frames
    model = small("i3d", num_classes=2, frames=16, size=32)
    appearance._fill(model, 0)
    pooled = tf.keras.Model(model.input, model.get_layer("average_pool").output)
    pictures = appearance._prepared(long.frames("full_body"), 32)
    steps = np.concatenate([pooled({"rgb": pictures[None, i : i + 16]}).numpy()[0, :, 0, 0] for i in (0, 8)])
    np.testing.assert_allclose(part.extract(long)["pooled"], appearance.pool_frames(steps), rtol=1e-4, atol=1e-6)
    looped = np.concatenate([pictures[:8]] * 2)[None]
    steps = pooled({"rgb": looped}).numpy()[0, :, 0, 0]
    np.testing.assert_allclose(part.extract(clip)["pooled"], appearance.pool_frames(steps), rtol=1e-4, atol=1e-6)
    appearance._video_features.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("row", ["this", "other"])
def test_dumped_and_loaded_by_another_process_it_predicts_the_same(fitted, data, tmp_path, request, row):
    python = sys.executable if row == "this" else request.getfixturevalue("other_python")
    clips = [Clip(clip.id, {name: clip.frames(name) for name in clip.regions}, clip.poses) for clip in data[0][:3]]
    joblib.dump((fitted, clips), tmp_path / "fitted.joblib")
    program = (
        "import sys, joblib; fitted, clips = joblib.load(sys.argv[1]); "
        "joblib.dump(fitted.set_params(memory=None).predict_proba(clips), sys.argv[2])"
    )
    subprocess.run([python, "-c", program, tmp_path / "fitted.joblib", tmp_path / "out.joblib"], check=True)
    np.testing.assert_allclose(joblib.load(tmp_path / "out.joblib"), fitted.predict_proba(clips), atol=1e-5)


def test_dumped_and_loaded_it_predicts_the_same(fitted, data, tmp_path):
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    loaded = joblib.load(tmp_path / "fitted.joblib")
    assert loaded.pose_._network is None, "built again when it is needed"
    np.testing.assert_allclose(loaded.predict_proba(data[0][:3]), fitted.predict_proba(data[0][:3]), atol=1e-5)


def red(clips, labels):
    """The clips of two of the four classes."""
    rows = [i for i, label in enumerate(labels) if label.startswith("red")]
    return [clips[i] for i in rows], labels[rows]


@pytest.mark.slow
def test_without_a_cache_and_with_two_classes(estimator, data):
    two = clone(estimator).set_params(memory=None, regions=["full_body"]).fit(*red(*data))
    assert two.predict_proba(data[0][:3]).shape == (3, 2)
    assert two.motion_.memory is None, "not the temporary one of fitting"


@pytest.mark.slow
def test_an_estimator_trained_by_stochastic_gradients(estimator, data):
    streaming = clone(estimator).set_params(svm="sgd").fit(*data)
    assert streaming.score(*data) > 0.7


def test_an_svm_trained_by_stochastic_gradients():
    features, labels = np.repeat(np.eye(2), 6, axis=0), np.repeat([2, 5], 6)
    two = svm.CalibratedSVM("sgd", 1.0, 0).fit(features.__getitem__, np.arange(12), labels)
    assert two.probabilities(features).argmax(axis=1).tolist() == [0] * 6 + [1] * 6


def test_who_validates(estimator, data):
    clips, labels = data
    groups = np.arange(24) // 8
    grouped = clone(estimator).set_params(validation=0.25)
    grouped.classes_, codes = np.unique(labels, return_inverse=True)
    train, validation = grouped._split(codes, groups)
    expected = next(GroupShuffleSplit(1, test_size=0.25, random_state=0).split(clips, labels, groups))
    assert (train.tolist(), validation.tolist()) == (expected[0].tolist(), expected[1].tolist())
    assert set(groups[train]).isdisjoint(groups[validation])
    chosen = grouped.set_params(validation=PredefinedSplit([-1] * 16 + [0] * 8))._split(codes, None)
    assert chosen[1].tolist() == list(range(16, 24))


@pytest.mark.parametrize("kind", [TwoLevelFusion, AppearanceFeatures, MotionFeatures, PoseFeatures, FisherVectors])
def test_scikit_learns_own_checks(kind):
    name = kind.__name__
    for check in (
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
    ):
        check(name, kind())


def test_parameters_are_those_of_the_parts():
    estimator = TwoLevelFusion(motion=MotionFeatures(gaussians=8))
    assert estimator.get_params()["motion__gaussians"] == 8
    assert estimator.get_params()["pose__lstm_units"] == 512, "of a part that is not given"
    copy = clone(estimator).set_params(motion__samples=9, pose__lstm_units=4, epsilon=0.3)
    assert (copy.motion.gaussians, copy.motion.samples, copy.pose.lstm_units, copy.epsilon) == (8, 9, 4, 0.3)
    assert (estimator.motion.samples, estimator.pose, copy.appearance) == (256_000, None, None)
    with pytest.raises(ValueError, match="Invalid parameter 'unit'"):
        copy.set_params(pose__unit=4)


def test_cache_and_seed_of_the_whole_are_those_of_parts_without_their_own():
    estimator = TwoLevelFusion(AppearanceFeatures(memory="own"), pose=PoseFeatures(random_state=5), random_state=3)
    parts = [estimator._part(name, "shared") for name in two_level_fusion.CUES]
    assert [part.random_state for part in parts] == [3, 3, 5]
    assert [part.memory for part in parts[:2]] == ["own", "shared"]
    assert estimator.appearance.random_state is None, "only the copies that are fitted have it"


def test_flat_names_are_taken_with_a_notice():
    from zoo.two_level_fusion import TwoLevelFusion as documented

    with pytest.warns(FutureWarning, match="network is now appearance__network, pose_steps is now pose__pose_steps"):
        estimator = documented(network="mobilenet_v2", pose_steps=30, memory="features")
    with pytest.warns(FutureWarning, match="size is now appearance__size") as notices:
        estimator.set_params(size=64)
    assert "\n" not in str(notices[0].message)
    assert notices[0].filename == __file__
    params = clone(estimator).get_params()
    found = [params[name] for name in ("appearance__network", "appearance__size", "pose__pose_steps", "memory")]
    assert found == ["mobilenet_v2", 64, 30, "features"]
    with pytest.raises(zoo.ZooError, match="parameter 'netwrok' is unknown, did you mean 'network'"):
        documented(netwrok="mobilenet_v2")


def test_options_of_recipes():
    """All flat names, and the nested ones; without a notice."""
    nested = TwoLevelFusion().get_params()
    flat = {option: nested[name] for option, name in options.FLAT_OPTIONS.items()}
    own = {name: value for name, value in nested.items() if "__" not in name and name not in two_level_fusion.PARTS}
    assert len({**flat, **own}) == 25
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator = TwoLevelFusion.from_options(**flat, **own)
        assert TwoLevelFusion.from_options(pose__lstm_units=4).pose.lstm_units == 4
    assert {name: estimator.get_params()[name] for name in nested if name not in two_level_fusion.PARTS} == {
        name: value for name, value in nested.items() if name not in two_level_fusion.PARTS
    }
    for wrong, message in (
        ({"gausians": 3}, "two_level_fusion has no option 'gausians', did you mean 'gaussians'"),
        ({"pose__unit": 3}, "has no option 'pose__unit', did you mean 'pose__lstm_units'"),
        ({"size": 3, "appearance__size": 3}, "size and appearance__size are the same option"),
    ):
        with pytest.raises(zoo.ZooError, match=message):
            TwoLevelFusion.from_options(**wrong)


def saved_before(estimator):
    """The pickle of an estimator as versions with flat parameters, all in one module, wrote it."""
    old = TwoLevelFusion.__new__(TwoLevelFusion)
    params = estimator.get_params()
    flat = {option: params[name] for option, name in options.FLAT_OPTIONS.items()}
    fitted = {name: value for name, value in vars(estimator).items() if name not in two_level_fusion.PARTS}
    vars(old).update(flat, **fitted)
    return re.sub(
        rb"zoo\.fusion\.\w+\n(\w+)",
        lambda found: b"zoo.two_level_fusion\n" + FORMER_CLASSES.get(found[1], found[1]),
        pickle.dumps(old, protocol=0),  # text, with names in it
    )


def test_an_estimator_saved_with_flat_parameters_predicts_the_same(fitted, data):
    saved = saved_before(fitted)
    assert b"zoo.fusion" not in saved
    assert b"zoo.two_level_fusion\n_SVM" in saved
    read = joblib.load(io.BytesIO(saved))
    parts = {name: getattr(read, name) for name in two_level_fusion.PARTS}
    assert read.get_params() == {**fitted.get_params(), **parts}
    for name, scores in fitted.cue_probabilities(data[0][:5]).items():
        np.testing.assert_array_equal(read.cue_probabilities(data[0][:5])[name], scores)
    assert vars(pickle.loads(pickle.dumps(read))).keys() == vars(fitted).keys(), "saved again, it has the new form"


def test_the_cache_keeps_its_names_and_the_text_it_depends_on(fitted):
    """joblib compares the text of a cached function: with another text, the caches of all runs would be cleared."""
    digests = {
        appearance._appearance: "16c14463637d83a5",
        motion._encode: "8e731da0d1951182",
        motion._trajectories: "abbfca014e53e97b",
    }
    for function, digest in digests.items():
        assert list(pathlib.Path(fitted.memory, "joblib", "zoo", "two_level_fusion", function.__name__).iterdir())
        text, _, _ = joblib.func_inspect.get_func_code(function)
        assert hashlib.sha256(text.encode()).hexdigest().startswith(digest)


def test_import_brings_no_tensorflow():
    program = "import sys, zoo.fusion; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


# ------------------------------------------------------------------------------------------------------- the cache


@pytest.mark.slow
def test_in_a_pipeline_nothing_in_the_cache_is_computed_again(fitted, data):
    Counter.reads = 0
    pipeline = Pipeline([("as_it_is", FunctionTransformer()), ("fusion", clone(fitted))])
    pipeline.set_params(fusion__epsilon=2.1).fit(*data)
    found = pipeline.predict(data[0])
    assert Counter.reads == 0
    assert pipeline["fusion"].pairs_ == []
    np.testing.assert_array_equal(found, fitted.classes_[fitted.cue_probabilities(data[0])["late_fusion"].argmax(1)])
    other = AppearanceFeatures("full_body", network="mobilenet_v2", size=32, weights=None, memory=fitted.memory)
    other.set_params(random_state=1).fit(data[0][:2])
    assert Counter.reads == 2, "another network has other features"


def test_an_interrupted_cache_goes_on(tmp_path, data):
    clips = data[0][:4]
    estimator = TwoLevelFusion.from_options(**PARAMETERS, memory=str(tmp_path))
    Counter.reads, Counter.stop_at = 0, 6
    with pytest.raises(KeyboardInterrupt):
        estimator.prepare(clips)
    Counter.reads, Counter.stop_at = 0, None
    seen = []
    estimator.prepare(clips, on_clip=lambda: seen.append(Counter.reads))
    assert seen == [0, 1, 4, 7], "five of twelve pictures had been used"
    assert len(list(tmp_path.rglob("output.pkl"))) == 12
    damaged = next(path for path in tmp_path.rglob("output.pkl") if "_trajectories" in str(path))
    damaged.write_bytes(damaged.read_bytes()[:100])
    Counter.reads = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib warns of the damaged file
        estimator.prepare(clips)
    assert Counter.reads == 1


# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"appearance__network": "resnet152"}, "did you mean 'resnet152_v2'"),
        ({"svm": "rbf"}, "svm is 'rbf', expected one of linear, sgd"),
        ({"svm": "sgd"}, "set memory"),
        ({"cues": ("motion",)}, "fusion two_level has all cues, .*: leave cues out, or set fusion to early"),
        ({"fusion": "early", "cues": ("motion", "motion")}, "expected one or more of appearance, motion, pose, each"),
        ({"fusion": "late"}, "fusion is 'late', expected one of two_level, early"),
        ({"appearance__network": "i3d", "appearance__weights": "imagenet"}, "weights imagenet are of pictures, i3d"),
        (
            {"regions": ["left_foot"]},
            "regions is .*left_foot.*, expected a list of values, each one of left_hand, .*",
        ),
        ({"regions": ["right_hand"]}, "clip toy/0 has no region 'right_hand'"),
        ({"motion__region": "full_image"}, "clip toy/0 has no region 'full_image'"),
        ({"appearance__weights": "no_such.weights.h5"}, "no_such.weights.h5: no such file"),
        ({"motion__gaussians": 0}, "motion: gaussians is 0, expected a whole number from 1"),
        ({"motion__gaussians": 2.5}, "motion: gaussians is 2.5, expected a whole number"),
        ({"penalty": 0.0}, "penalty is 0.0, expected a number above 0"),
        ({"penalty": float("nan")}, "penalty is nan, expected"),
        ({"pose__learning_rate": 0.0}, "pose: learning_rate is 0.0, expected a number above 0"),
        ({"appearance__size": 16}, "size is 16, expected at least 32"),
        ({"motion__track_length": 16}, "track_length is 16, expected a multiple of 3"),
        ({"validation": 1.5}, "validation is 1.5, expected a fraction between 0 and 1 or a splitter"),
        ({"random_state": -1}, "random_state is -1, expected a whole number from 0"),
        ({"pose__model": "no_such.keras"}, "no_such.keras: no such file"),
        ({"motion__track_length": 9}, "0 descriptors in the training clips, expected at least [0-9]+ for"),
        ({"validation": PredefinedSplit([-1] * 4 + [0] * 20)}, "has 1 training clips beside validation"),
    ],
)
def test_mistakes_are_named(parameters, message, estimator, data):
    with pytest.raises(zoo.ZooError, match=message):
        clone(estimator).set_params(**{"memory": None, **parameters}).fit(*data)


@pytest.mark.parametrize("parameter", TwoLevelFusion().get_params())
def test_parameters_of_another_type_are_refused(parameter):
    estimator = TwoLevelFusion().set_params(appearance__weights=None).set_params(**{parameter: object()})
    with pytest.raises(zoo.ZooError, match=f"{parameter.rpartition('__')[2]} is <object .*, expected"):
        estimator.check_parameters()


def test_mistakes_in_the_clips_are_named(data, tmp_path):
    clips, labels = data
    estimator = TwoLevelFusion.from_options(**PARAMETERS)
    for X, y, message in (
        (clips[:5], labels[:4], "5 clips but 4 labels"),
        (clips[:4], ["a"] * 4, "the labels hold 1 class"),
        (clips[:5], list("aaabb"), "class .*'b'.* has 2 clips, expected at least 3"),
        (clips[:5] + clips[:1], list("aaabbb"), "6 clips have 5 ids"),
        ([], [], "there are no clips"),
    ):
        with pytest.raises(zoo.ZooError, match=message):
            estimator.fit(X, y)
    with pytest.raises(zoo.ZooError, match="memory is None"):
        estimator.prepare(clips)
    tiny_models.build("pose_lstm").save(tmp_path / "other.keras")
    with pytest.raises(zoo.ZooError, match=r"takes poses of \[2, 5, 3\], the clips' are \[1, 5, 3\]"):
        PoseFeatures(tmp_path / "other.keras").fit(clips, labels)


@pytest.mark.slow
def test_weights_of_a_trained_frame_network(tmp_path, data):
    from zoo.models import lrcn

    network = lrcn.frame_network("mobilenet_v2", 32)
    tiny_models.randomize(network)
    network.save_weights(tmp_path / "frame_network.weights.h5")
    options = {"network": "mobilenet_v2", "size": 32, "weights": tmp_path / "frame_network.weights.h5"}
    frames = data[0][0].frames("full_body")[:, :32, :32]
    clip = Clip("alone", {"full_body": frames}, data[0][0].poses)
    found = AppearanceFeatures("full_body", **options).fit([clip]).transform([clip])[0]
    features = network(frames / np.float32(127.5) - 1).numpy()
    expected = appearance.pool_frames(features) / np.linalg.norm(features, axis=1).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_building_it_by_name_points_to_the_estimator():
    with pytest.raises(zoo.ZooError, match=r"use zoo\.fusion\.TwoLevelFusion"):
        zoo.build("two_level_fusion", num_classes=3)
