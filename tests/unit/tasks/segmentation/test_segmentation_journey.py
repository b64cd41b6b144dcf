"""From a folder of images and masks to a coloured mask of a new image."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import morphogen
import scenes
from morphogen import OneOf, Training
from morphogen.cli import main
from morphogen.core.errors import SpaceError
from morphogen.runs.directory import RunDirectory
from morphogen.tasks.segmentation import VOID
from morphogen.tasks.segmentation.colours import overlaid, palette, png


class Pixels(nn.Module):
    """Scores of three classes for every pixel; a choice between two kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = OneOf(
            {"1": nn.Conv2d(3, 6, 1), "3": nn.Conv2d(3, 6, 3, padding=1)}, name="first"
        )
        self.last = nn.Conv2d(6, 3, 1)

    def forward(self, x):
        return self.last(self.first(x).relu())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of a training on the images of a folder, and the folder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("scenes")
    data = scenes.written(folder / "data", {"train": 12, "val": 6, "test": 6}, high=12, wide=20)
    training = Training(epochs=2, batch_size=4, hardware={"threads": 1})
    run = folder / "run"
    morphogen.train("first=3", space=Pixels(), data=str(data), training=training, run=run)
    return run, data


def test_a_training_reaches_a_miou_and_its_report_shows_masks(trained):
    run, _ = trained
    result = RunDirectory(run).result()
    assert 0 < result["test_miou"]["mean"] <= 100
    shown, _ = RunDirectory(run).inspect_examples()
    picture = Image.open(io.BytesIO(base64.b64decode(shown["pictures"][0]["png"])))
    assert picture.size == (3 * 20 + 2 * 4, 12)
    x, y = scenes.scenes(6, seed=1, high=12, wide=20)  # those of val
    held = np.asarray(picture)
    assert np.array_equal(held[:, :20], x[0])
    assert np.array_equal(held[:, 24:44], overlaid(x[0], y[0], 3))
    page = morphogen.report(run).path.read_text()
    assert f'src="data:image/png;base64,{shown["pictures"][0]["png"]}"' in page
    assert all(f"</span>{name}</li>" in page for name in scenes.NAMES)


@pytest.mark.slow
def test_an_onnx_file_of_it_gives_the_same_masks_as_large_as_the_images(trained, tmp_path, capsys):
    run, data = trained
    (done,) = morphogen.export(run, "onnx", tmp_path, space=Pixels(), data=str(data))
    assert done.difference < 1e-4
    assert done.examples == 18
    assert "segmenter, 3 classes" in (tmp_path / "README.md").read_text()
    image = data / "images" / "test" / "0.png"
    large = Image.open(image).resize((50, 31))
    large.save(tmp_path / "0.png")
    words = [str(tmp_path / "model.onnx"), str(image), str(tmp_path / "0.png")]
    assert main(["predict", *words, "--out", str(tmp_path / "masks")]) == 0
    out = capsys.readouterr().out
    assert "ground" in out
    assert "masks/0-1.png" in out
    model = morphogen.load(tmp_path / "model.onnx")
    x = model.preprocess([image])
    scores = model(x)
    mask = Image.open(tmp_path / "masks" / "0.png")
    assert np.array_equal(np.asarray(mask), scores[0].argmax(0).numpy())
    assert np.array_equal(np.asarray(mask.convert("RGB")), palette(3)[np.asarray(mask)])
    grown = F.interpolate(model(model.preprocess([tmp_path / "0.png"])), (31, 50), mode="bilinear")
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "masks" / "0-1.png")), grown[0].argmax(0).numpy()
    )
    (said,) = model.predict([np.asarray(Image.open(image))])
    assert sum(said.shares.values()) == pytest.approx(1)
    assert list(said.shares) == [*scenes.NAMES]


def test_a_space_of_classifiers_is_refused(trained):
    with pytest.raises(SpaceError, match=r"is for images, and the data .* are segmentation"):
        morphogen.search("random", space="nasbench201", data=str(trained[1]))


def test_a_drawn_mask_keeps_its_ids():
    mask = np.array([[0, 1], [2, VOID]], dtype=np.uint8)
    read = Image.open(io.BytesIO(png(mask, 3)))
    assert np.array_equal(np.asarray(read), mask)
    assert read.convert("RGB").getpixel((1, 1)) == (0, 0, 0)
    colours = palette(20)[:20].astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(2) + 1000 * np.eye(20)
    assert apart.min() > 20
