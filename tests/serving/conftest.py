"""Small trained runs, a converted dataset, their exports and servers, made once for all tests."""

import json
import os

import cv2
import numpy as np
import pytest
import tensorflow as tf

import zoo
from serving import export
from serving.server import Server
from serving.server.manager import Manager
from tests.zoo import tiny_models
from tfrecords import manifest, schema
from tfrecords.reading import pipeline

LABELS = ["drink", "sit down", "put on — coat"]  # one is not ASCII
LAYOUT = "kinect_v2_25"
PERSONS = 2
INPUTS = pipeline.Inputs(frames=8, stride=2, size=32, pose_steps=4, persons=PERSONS, layout=LAYOUT)
POSE_INPUTS = pipeline.Inputs(pose_steps=4, persons=PERSONS, layout=LAYOUT)
# (frames, height, width): shorter than the sampled 16 frames and longer, wider and higher than square.
CLIPS = {"short": (5, 40, 56), "long": (37, 48, 36), "square": (16, 32, 32)}


def write_run(folder, model, inputs, labels=LABELS):
    """A run directory as the recipes leave it."""
    folder.mkdir(parents=True)
    (folder / "inputs.json").write_text(json.dumps(inputs.to_dict()))
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    (folder / "recipe.yaml").write_text("model: {name: small}\ndata: {dataset: made_up, protocol: cs}\n")
    metrics = folder / "evaluation" / "cs-test" / "metrics.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text('{"top1": 0.5}')
    model.save(folder / "model.keras")
    return folder


def make_clip(name, rng):
    """A clip with one person, the other absent, and a picture of its own in every frame."""
    frames, height, width = CLIPS[name]
    pictures = [
        cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(frames)
    ]
    poses = np.zeros((frames, PERSONS, 25, 3), np.float32)
    poses[:, 0] = rng.normal(size=(25, 3)) + 0.1 * rng.normal(size=(frames, 25, 3))
    return schema.Clip(
        info=schema.ClipInfo(id=name, label=1),
        dataset="made_up",
        label_text=LABELS[1],
        fps=30.0,
        images={"full_body": [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]},
        layout=LAYOUT,
        pose_xyz=poses,
    )


@pytest.fixture(scope="session")
def clips():
    """Name -> clip."""
    rng = np.random.default_rng(0)
    return {name: make_clip(name, rng) for name in CLIPS}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory, clips):
    """A converted dataset of one shard."""
    folder = tmp_path_factory.mktemp("dataset")
    shard = folder / "cs-test-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(os.fspath(shard)) as writer:
        for clip in clips.values():
            writer.write(schema.encode(clip))
    entry = {"file": shard.name, "clips": len(clips), "bytes": shard.stat().st_size, "sha256": ""}
    cells = {"cs-test": {"splits": {"cs": "test"}, "clips": len(clips), "shards": [entry]}}
    protocol = {"description": "", "train": [], "val": [], "test": ["cs-test"], "clips": {"test": len(clips)}}
    manifest.save(
        folder,
        {
            "schema_version": schema.SCHEMA_VERSION,
            "dataset": "made_up",
            "labels": LABELS,
            "skeleton_layout": LAYOUT,
            "persons": PERSONS,
            "joints": 25,
            "parts": ["full_body"],
            "fps": 30.0,
            "cells": cells,
            "protocols": {"cs": protocol},
            "counts": {"clips": len(clips), "frames": sum(clip.num_frames for clip in clips.values())},
            "options": {},
            "rejected": [],
        },
    )
    return folder


@pytest.fixture(scope="session")
def model():
    """A small separable_sta: video and poses."""
    options = {"frames": 8, "size": 32, "width": 0.0625, "pose_steps": 4, "persons": PERSONS, "lstm_units": 6}
    made = zoo.build("separable_sta", num_classes=len(LABELS), joints=25, **options)
    tiny_models.randomize(made)
    return made


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, model):
    """The run directory of :func:`model`."""
    return write_run(tmp_path_factory.mktemp("runs") / "separable_sta", model, INPUTS)


@pytest.fixture(scope="session")
def pose_run_folder(tmp_path_factory):
    """The run directory of a model of poses alone."""
    made = zoo.build("pose_lstm", num_classes=3, pose_steps=4, persons=PERSONS, joints=25, lstm_units=6)
    tiny_models.randomize(made)
    return write_run(tmp_path_factory.mktemp("runs") / "pose_lstm", made, POSE_INPUTS)


@pytest.fixture(scope="session")
def linear_run_folder(tmp_path_factory):
    """A run directory that exports in a second: a linear model of poses with a name that the zoo knows."""
    pose = tf.keras.Input((4, PERSONS, 25, 3), name="pose")
    logits = tf.keras.layers.Dense(len(LABELS), name="logits")(tf.keras.layers.Flatten()(pose))
    made = tf.keras.Model({"pose": pose}, tf.keras.layers.Softmax()(logits), name="pose_lstm")
    return write_run(tmp_path_factory.mktemp("runs") / "linear", made, POSE_INPUTS)


@pytest.fixture(scope="session")
def expected(model, dataset):
    """Clip -> probabilities ``[C]`` that evaluation with one window and one crop gives."""
    records = pipeline.Records(dataset)
    data = pipeline.evaluation(records, "cs", "test", INPUTS, batch=1)
    rows = [model.predict_on_batch(features)[0] for features, _, _ in data]
    return dict(zip(pipeline.clip_ids(records, "cs", "test"), rows))


@pytest.fixture(scope="session")
def base(tmp_path_factory, run_folder, model):
    """Folder of all models, with one version of ``separable_sta``."""
    run = export.Run(run_folder)
    run.model = lambda: model  # it is built already
    folder = tmp_path_factory.mktemp("base")
    export.export(run, folder)
    return folder


@pytest.fixture(scope="session")
def pose_base(tmp_path_factory, pose_run_folder):
    """Folder of all models, with one version of ``pose_lstm`` for batches of 1 and 3 clips."""
    folder = tmp_path_factory.mktemp("pose_base")
    export.export(export.Run(pose_run_folder), folder, batch_sizes=[3, 1])
    return folder


@pytest.fixture(scope="session")
def linear_version(tmp_path_factory, linear_run_folder):
    """A version folder of the linear model, to copy."""
    return export.export(export.Run(linear_run_folder), tmp_path_factory.mktemp("linear_base"), batch_sizes=[1, 2, 4])[
        0
    ]


@pytest.fixture(scope="session")
def linear_address(linear_version):
    """Address of a running server of the linear model, called ``pose_lstm``."""
    made = Manager("pose_lstm", linear_version.parent)
    made.load_newest()
    running = serving_of(made)
    yield running.address
    running.stop(grace=0)


@pytest.fixture(scope="session")
def signature_functions(base):
    """Signature name -> function of the exported ``separable_sta``, loaded without a server."""
    loaded = tf.saved_model.load(os.fspath(base / "separable_sta" / "1"))
    yield loaded.signatures  # noqa: PT022 - the loaded model must live: it alone keeps the variables


def serving_of(manager, **options):
    """A started server."""
    running = Server(manager, port=0, **options)
    running.start()
    return running


@pytest.fixture(scope="session")
def manager(base):
    """The loaded model."""
    made = Manager("separable_sta", base / "separable_sta")
    made.load_newest()
    return made


@pytest.fixture(scope="session")
def address(manager):
    """Address of a running server of ``separable_sta``."""
    running = serving_of(manager)
    yield running.address
    running.stop(grace=0)


@pytest.fixture(scope="session")
def pose_address(pose_base):
    """Address of a running server of a model of poses alone, called ``pose_lstm``."""
    made = Manager("pose_lstm", pose_base / "pose_lstm")
    made.load_newest()
    running = serving_of(made)
    yield running.address
    running.stop(grace=0)
