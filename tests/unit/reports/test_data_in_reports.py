"""What was done to images is said in the report, once: of a search and of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiny
from morphogen import search, train
from morphogen.engine.train.training import TrainedNetwork, Training
from morphogen.tasks.classification.config import ImageConfig
from read_page import page

CELL = "|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty photographs of 40x40 pixels in two classes, one of them turned, one transparent."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(20):
        pixels = rng.integers(0, 256, (40, 40, 4), dtype=np.uint8)
        pixels[..., 3] = 0 if i == 5 else 255
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 3 else 1
        file = folder / "cat" / f"{i}.png" if i % 2 else folder / "dog" / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(file, exif=exif)
    return folder


def _once(run: Path, photos: Path) -> None:
    _, read = page(run)
    for said in (
        "brought from 40x40 to 8x8 pixels",
        "mirrored left to right at random",
        "moved at random by up to 1 pixel, with black beside them",
        f"turned as the EXIF orientation says: 1 of 20 images of the train part of {str(photos)!r}",
        "transparent parts laid on white: 1 of 20 images",
    ):
        assert read.text.count(said) == 1, said
    assert "The images" in [heading for _, heading in read.headings]


def test_of_a_search(photos: Path, tmp_path: Path) -> None:
    settings = tiny.changed(tiny.SETTINGS, image_size=8, train_images=0, valid_images=0)
    settings = tiny.changed(settings, batch_size=4, epochs=1, steps_per_epoch=1)
    found = search("random", data=photos, settings=settings, run=tmp_path / "run")
    _once(found.run, photos)


def test_of_a_training(photos: Path, tmp_path: Path) -> None:
    training = Training(
        epochs=1,
        batch_size=4,
        held_out=0.3,
        task=ImageConfig(image_size=8),
        network=TrainedNetwork(channels=4, depth=1),
    )
    _once(train(CELL, data=photos, training=training, run=tmp_path / "run").run, photos)
