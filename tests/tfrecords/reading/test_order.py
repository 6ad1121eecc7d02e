"""Orders of clips: class by class, and divided between workers."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tests.tfrecords.numbered_frames import NumberedPoses, convert
from tfrecords import inspect, schema
from tfrecords.reading import augmentation, order, pipeline, poses
from zoo.shared.errors import UserError

INPUTS = pipeline.Inputs(
    pose_steps=1,
    layout="kinect_v1_20",
    normalisation=poses.Normalisation(axes="camera", scale=False),
)
UNBALANCED = np.array([0] * 30 + [4] * 7 + [2] * 2)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbered")
    convert(NumberedPoses(), folder, clips_per_shard=3)
    return pipeline.Records(folder)


@pytest.fixture(scope="module")
def one_shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    convert(NumberedPoses(), folder, shards=1)
    return pipeline.Records(folder)


def _epochs(records, *, epochs=1, **options):
    """``[epochs, clips]`` numbers and labels of the clips."""
    options = {"batch": 3, "seed": 1, **options}
    data = list(pipeline.training(records, "v3_12", INPUTS, epochs=epochs, **options))
    numbers = np.concatenate([features["pose"][:, 0, 0, 5, 0] for features, _ in data])
    labels = np.concatenate([label for _, label in data])
    first = options.get("first_epoch", 0)
    return np.rint(numbers).astype(int).reshape(epochs - first, -1), labels.reshape(epochs - first, -1)


@pytest.mark.parametrize("length", [1, 8, 30, 100])
def test_classes_take_turns(length):
    chosen = order.balanced(UNBALANCED, length, [3, 0]).numpy()
    assert chosen.shape == (length,)
    for start in range(0, length, 3):
        classes = UNBALANCED[chosen[start : start + 3]]
        assert len(set(classes)) == len(classes), "a round has every class once"
    clips = collections.Counter(chosen)
    for name in (0, 4, 2):
        times = [clips[clip] for clip in np.flatnonzero(name == UNBALANCED)]
        assert max(times) - min(times) <= 1, "no clip comes again before all of its class have come"


def test_the_turns_are_a_function_of_the_key():
    first = order.balanced(UNBALANCED, 30, [3, 0]).numpy()
    tf.random.set_seed(5)
    np.testing.assert_array_equal(order.balanced(UNBALANCED, 30, [3, 0]), first)
    assert set(order.balanced(UNBALANCED, 30, [3, 1]).numpy()) != set(first), "other clips of the frequent class"


def test_an_index_finds_every_record(records):
    files = records.shards("v3_12", "train")
    index = order.Index.of(files)
    clips = [clip for file in files for clip in inspect.records(file)]
    np.testing.assert_array_equal(index.label, [clip.info.label for clip in clips])
    counts = np.bincount(index.label, minlength=10).tolist()
    assert records.class_counts("v3_12", "train").tolist() == counts
    of_an_earlier_version = pipeline.Records(records.directory)
    for group in of_an_earlier_version.manifest["cells"].values():
        del group["per_class"]
    assert of_an_earlier_version.class_counts("v3_12", "train").tolist() == counts
    picks = np.array([len(clips) - 1, 0, 7, 0, 3])
    read = [schema.decode(record) for record in index.read(picks).as_numpy_iterator()]
    assert [clip.info for clip in read] == [clips[pick].info for pick in picks]


def test_an_index_of_a_damaged_shard(tmp_path):
    path = tmp_path / "shard.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as file:
        file.write(b"\n\xff\xff\xff\xff\xff")
    with pytest.raises(UserError, match=r"shard\.tfrecord at byte 12: not a tf\.train\.SequenceExample"):
        order.Index.of([path])


@pytest.mark.parametrize("cache", [False, True])
def test_balanced_epochs_have_as_many_of_each_class_and_resume_equally(records, cache):
    numbers, labels = _epochs(records, epochs=3, balance="classes", cache=cache)
    count = records.count("v3_12", "train")
    assert numbers.shape == (3, count // 3 * 3)
    assert np.abs((labels == 0).sum(axis=1) - (labels == 1).sum(axis=1)).max() <= 1
    np.testing.assert_array_equal(numbers > 100, labels == 1)
    rare = {clip for clip in numbers[0] if clip > 100}
    assert all(len(set(epoch)) == np.sum(epoch < 100) + len(rare) for epoch in numbers), "frequent ones never repeat"
    assert len(set(map(tuple, numbers))) == 3
    resumed, _ = _epochs(records, epochs=3, first_epoch=2, balance="classes", cache=cache)
    np.testing.assert_array_equal(resumed[0], numbers[2])


def test_repeats_of_a_rare_clip_are_changed_anew(records):
    augment = augmentation.Augmentation(noise=0.01)
    data = pipeline.training(records, "v3_12", INPUTS, batch=1, seed=1, epochs=1, balance="classes", augment=augment)
    seen = [features["pose"].numpy()[0, 0, 0] for features, label in data if label == 1]
    of_clip = collections.defaultdict(set)
    for pose in seen:
        of_clip[int(np.rint(pose[5, 0]))].add(pose.tobytes())
    assert sum(map(len, of_clip.values())) == len(seen) > len(of_clip)


def test_shards_are_divided_evenly():
    clips = [5, 5, 5, 5, 2, 1, 4]
    parts = order.files_of_workers(clips, 3)
    assert sorted(number for part in parts for number in part) == list(range(7))
    assert sorted(sum(clips[number] for number in part) for part in parts) == [8, 9, 10]


@pytest.mark.parametrize("balance", ["none", "classes"])
@pytest.mark.parametrize("stored", ["records", "one_shard"])
def test_workers_have_as_many_batches_of_other_clips(request, stored, balance):
    """Of many shards each worker reads its own; of one, every worker reads its part of the records."""
    records = request.getfixturevalue(stored)
    workers = [_epochs(records, epochs=2, batch=2, shard=(index, 3), balance=balance) for index in range(3)]
    steps = records.steps("v3_12", "train", 2, workers=3)
    assert all(numbers.shape == (2, 2 * steps) for numbers, _ in workers)
    for epoch in range(2):
        clips = [clip for numbers, _ in workers for clip in numbers[epoch]]
        if balance == "none":
            assert len(set(clips)) == len(clips) == 6 * steps
        else:
            rare = sum(clip > 100 for clip in clips)
            assert abs(rare - 3 * steps) <= 1


def test_a_worker_of_many_shards_keeps_them(records):
    first, _ = _epochs(records, epochs=2, batch=1, shard=(0, 2))
    other, _ = _epochs(records, epochs=2, batch=1, shard=(1, 2))
    assert not set(first.ravel()) & set(other.ravel())


@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
@pytest.mark.parametrize("balance", ["none", "classes"])
def test_reading_in_any_order_has_the_same_clips(records, shard, balance):
    options = {"batch": 1, "shard": shard, "balance": balance}
    fixed, _ = _epochs(records, **options)
    free, _ = _epochs(records, deterministic=False, **options)
    assert sorted(free[0]) == sorted(fixed[0])


def test_workers_take_part_in_distribution(records, two_replicas):
    """As docs/data.md says."""

    def of_worker(context):
        workers = context.num_input_pipelines
        shard = context.input_pipeline_id, workers
        data = pipeline.training(records, "v3_12", INPUTS, batch=4 // workers, seed=1, epochs=2, shard=shard)
        return data.rebatch(context.get_per_replica_batch_size(4))

    batches = [
        [labels.numpy().shape for labels in two_replicas.experimental_local_results(label)]
        for _, label in two_replicas.distribute_datasets_from_function(of_worker)
    ]
    assert batches == [[(2,), (2,)]] * 2 * records.steps("v3_12", "train", 4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shard": (2, 2)}, ValueError, r"shard is \(2, 2\), expected \(index, count\)"),
        ({"balance": "subjects"}, ValueError, "balance is 'subjects', expected one of none, classes"),
        ({"shard": (0, 30)}, UserError, "batch 3 for each of 30 workers is larger than v3_12 train"),
    ],
)
def test_orders_that_cannot_be(records, options, error, message):
    with pytest.raises(error, match=message):
        _epochs(records, **options)
