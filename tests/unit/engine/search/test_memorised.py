"""A supernet that knows its training images by heart is said to."""

from __future__ import annotations

import pytest
import torch

from morphogen.engine.search.remarks import memorised
from morphogen.engine.search.search import search
from morphogen.tasks.classification import Images
from morphogen.testing.toys import OwnNetwork
from tiny import SETTINGS, changed, images

LONG = changed(
    SETTINGS,
    epochs=30,
    steps_per_epoch=4,
    train_images=32,
    flip=False,
    crop=False,
    diagnostic_images=0,
)
WORDS = "knows its training images"


def found(data, run):
    return search("darts", space=OwnNetwork(1, 4), data=data, settings=LONG, run=run)


def test_labels_drawn_at_random_can_only_be_known_by_heart(tmp_path):
    known = images()
    labels = torch.randint(0, 4, (len(known),), generator=torch.Generator().manual_seed(0))
    result = found(Images(known.pixels, labels, known.classes), tmp_path / "run")
    assert any(WORDS in remark for remark in result.remarks)


def test_what_holds_of_all_images_is_not(tmp_path):
    result = found(images(), tmp_path / "run")
    assert not any(WORDS in remark for remark in result.remarks)


@pytest.mark.parametrize(
    "last", [{}, {"train_loss": 0.1, "valid_loss": 2.0}, {"gates": {}, "train_loss": 0.1}]
)
def test_without_gates_or_losses_nothing_is_said(last):
    assert memorised([last] if last else []) == ()
