"""A supernet whose scores order architectures by which examples were drawn is said to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from morphogen.engine.search.presets import quick_config
from morphogen.engine.search.remarks import unordered
from morphogen.engine.search.search import search
from morphogen.methods import find
from morphogen.tasks.classification import Images
from tiny import SETTINGS, changed, images, own

CONFIG = replace(
    quick_config(find("spos")), generations=2, population=14, parents=2, recalibration_images=50
)
WORDS = "by its own scores the supernet's order is no better than chance"


@pytest.mark.parametrize("learnable", [True, False])
def test_labels_drawn_at_random_order_nothing(learnable, tmp_path):
    known = images(700)
    if not learnable:
        labels = torch.randint(0, 4, (len(known),), generator=torch.Generator().manual_seed(1))
        known = Images(known.pixels, labels, known.classes)
    settings = changed(SETTINGS, epochs=4, steps_per_epoch=6, valid_images=500)
    result = search(CONFIG, space=own(), data=known, settings=settings, run=tmp_path / "run")
    first, second = (row for row in result.history if row["phase"] == "evolution")
    assert "agreement" not in second  # of what evolution picks it would say less
    assert -1 <= first["agreement_low"] <= first["agreement"] <= first["agreement_high"] <= 1
    assert any(WORDS in remark for remark in result.remarks) is not learnable


def test_only_an_interval_above_0_is_an_order():
    row = {"agreement_of": 50.0, "agreement": 0.3, "agreement_low": 0.02, "agreement_high": 0.5}
    assert unordered([{}, row]) == unordered([{"train_loss": 1.0}]) == ()
    (sentence,) = unordered([row | {"agreement_low": -0.01}], "signals")
    assert "50 random architectures on one half of the search-validation signals" in sentence
    assert "by 0.30 (95 % interval -0.01 to 0.50)" in sentence
