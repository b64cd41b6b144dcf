"""A training that has learned its examples by heart says what may help."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny
from morphogen import Training
from morphogen.engine.train.remarks import BY_HEART, by_heart
from morphogen.engine.train.retrain import train
from morphogen.runs.described import Described
from morphogen.tasks.classification import Images
from morphogen.tasks.classification.config import ImageConfig

WORDS = "by heart"
PERCENT = Described("accuracy", "%", True, "images")
TRAINING = Training(
    epochs=12,
    batch_size=32,
    task=ImageConfig(image_size=8, flip=False, crop=False),
    network={"channels": 8, "depth": 1},
    hardware={"threads": 1},
)


def remarks(labels: torch.Tensor, path, training: Training = TRAINING) -> str:
    known = tiny.images()
    data = Images(known.pixels, labels, known.classes)
    text = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
    return " ".join(train(text, data=data, training=training, run=path).remarks)


def test_labels_drawn_at_random_can_only_be_known_by_heart(tmp_path):
    count = len(tiny.images())
    labels = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(0))
    said = remarks(labels, tmp_path / "run")
    assert "--weight-decay 0.005 may help" in said
    assert "--auto-augment" not in said  # sides matter
    assert WORDS not in remarks(tiny.images().labels, tmp_path / "right")  # holds of all images


@pytest.mark.parametrize(
    ("apart", "unit", "changed", "flags"),
    [
        (BY_HEART + 1, "%", {}, "--auto-augment cifar10 --weight-decay 0.005 may"),
        (BY_HEART + 1, "%", {"lr": 0.1}, "--auto-augment cifar10 --weight-decay 0.0025 may"),
        (BY_HEART + 1, "%", {"weight_decay": 0.01}, "; --auto-augment cifar10 may"),
        (BY_HEART + 1, "%", {"optimiser": "adam"}, "; --auto-augment cifar10 may"),
        (BY_HEART - 1, "%", {}, ""),
        (BY_HEART + 1, "", {}, ""),
    ],
)
def test_it_names_what_was_not_tried(apart, unit, changed, flags):
    training = replace(TRAINING, task=ImageConfig(), **changed)
    history, reached = [{"train_accuracy": 60 + apart}], [{"mean": 60.0}]
    found = by_heart(history, reached, replace(PERCENT, unit=unit), training)
    assert bool(found) is bool(flags)
    assert all(flags in sentence for sentence in found)


def test_nothing_is_said_of_what_was_tried_or_not_measured():
    tried = replace(TRAINING, task=ImageConfig(auto_augment="trivial"), weight_decay=5e-3)
    history = [{"train_accuracy": 100.0}]
    assert by_heart(history, [{"mean": 10.0}], PERCENT, tried) == ()
    assert by_heart(history, [], PERCENT, TRAINING) == ()
    assert by_heart([], [{"mean": 10.0}], PERCENT, TRAINING) == ()
    loss = Described("loss", "", False, "signals")
    assert by_heart([{"train_loss": 0.0}], [{"mean": 50.0}], loss, TRAINING) == ()
