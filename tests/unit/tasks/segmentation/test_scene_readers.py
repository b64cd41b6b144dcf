"""Images with masks are found and read in every layout in use, or refused in a sentence."""

import numpy as np
import pytest
import torch
from PIL import Image

import scenes
from morphogen.core.errors import ConfigError, DataError
from morphogen.tasks.kinds import config_for
from morphogen.tasks.segmentation import VOID, Scenes, SegmentationConfig, SegmentationTask
from morphogen.tasks.segmentation.readers.masks import nearest

LAYOUTS = {
    "whole": {"train": ("images", "masks")},
    "by kind": {p: (f"JPEGImages/{p}", f"annotations/{p}") for p in ("train", "val", "test")},
    "by part": {p: (f"{p}/img", f"{p}/gt") for p in ("train", "val", "test")},
    "beside": {p: (p, f"{p}_labels") for p in ("train", "val", "test")},
    "camvid": {p: (p, f"{p}annot") for p in ("train", "val", "test")},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_scenes(name, tmp_path):
    root = tmp_path / "around" / "data" if name == "by kind" else tmp_path
    pairs = {p: scenes.scenes(6, seed=i) for i, p in enumerate(LAYOUTS[name])}
    for part, (images, masks) in LAYOUTS[name].items():
        scenes.folder(root, pairs[part], images, masks, "_mask" if name == "whole" else "")
    assert config_for(str(tmp_path)) is SegmentationConfig
    task = SegmentationTask.of(tmp_path)
    x, y = pairs["train"]
    assert np.array_equal(task.pool.pixels[:6].permute(0, 2, 3, 1).numpy(), x)
    assert np.array_equal(task.pool.masks[:6].numpy(), y)  # ids 0, 1, 2 and void
    assert task.classes == ("0", "1", "2")
    assert (task.own_valid, task.has_test) == (("val" in pairs),) * 2
    if task.has_test:
        assert torch.equal(task.valid.masks, torch.from_numpy(pairs["val"][1]))
        held = task.open_test("to see").scenes
        assert torch.equal(held.masks, torch.from_numpy(pairs["test"][1]))


def test_parquet_files_keep_groups_together(tmp_path):
    pairs = scenes.scenes(12)
    groups = [f"street {i // 3}" for i in range(12)]
    path = scenes.parquet(tmp_path / "train.parquet", pairs, groups)
    assert config_for(path) is config_for(tmp_path) is SegmentationConfig
    task = SegmentationTask.of(tmp_path)
    assert torch.equal(task.pool.masks, torch.from_numpy(pairs[1]))
    held = [{groups[i] for i in task.rows(part)} for part in ("train", "valid")]
    assert not held[0] & held[1]
    assert "2 groups, none of them in the other part" in task.parts()["train"]


def test_a_folder_of_classes_stays_one(tmp_path):
    for name in ("cat", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(scenes.png(scenes.scenes(1)[0][0]))
    assert config_for(tmp_path).__name__ == "ImageConfig"


def test_masks_of_a_palette_and_of_colours_are_ids(tmp_path):
    x, y = scenes.scenes(4)
    y = y % 255
    root = scenes.folder(tmp_path, (x, y), "images", "masks")
    colours = np.array([[10, 20, 30], [0, 0, 0], [255, 0, 9]], dtype=np.uint8)
    for i, mask in enumerate(y):
        image = Image.fromarray(mask)
        image.putpalette(colours.tobytes())  # entries, not colours, are the ids
        (image if i % 2 else image.convert("RGB")).save(root / "masks" / f"{i}.png")
    with pytest.raises(DataError, match=r"0\.png' is in colour, and nothing says"):
        SegmentationTask.of(root)
    table = "name,r,g,b\n" + "\n".join(
        f"{name}, {', '.join(map(str, colour))}"
        for name, colour in zip(scenes.NAMES, colours, strict=True)
    )
    (root / "class_dict.csv").write_text(table)
    task = SegmentationTask.of(root)
    assert task.classes == scenes.NAMES
    assert torch.equal(task.pool.masks, torch.from_numpy(y))
    (root / "class_dict.csv").write_text("10 20 30 ground\n255 0 9 ball\n")
    with pytest.raises(DataError, match=r"has the colour \[0, 0, 0\].*accepted: \[10, 20, 30\]"):
        SegmentationTask.of(root)


def test_void_ids_are_no_classes_and_the_others_move_up(tmp_path):
    x, y = scenes.scenes(6)
    data = Scenes.of(x, y, names=("ground", "box", "ball"))
    task = SegmentationTask.of(data, void="box, 255")
    assert task.classes == ("ground", "ball")
    expected = np.array([0, VOID, 1, VOID])[np.minimum(y, 3)]
    assert np.array_equal(task.pool.masks.numpy(), expected)
    with pytest.raises(DataError, match=r"the ids 255, for which there are no names"):
        SegmentationTask.of(data, void="0")
    with pytest.raises(ConfigError, match=r"void is 'sky'; accepted: none, or ids.*ground, box"):
        SegmentationTask.of(data, void="sky")
    binary = Scenes.of(x, np.where(y == 1, 255, 0))
    with pytest.raises(DataError, match=r"ids 0 beside void .*option void=none"):
        SegmentationTask.of(binary)
    assert SegmentationTask.of(binary, void="none").classes == ("0", "255")


def test_a_test_mask_with_an_unknown_id_is_refused(tmp_path):
    x, y = scenes.scenes(6)
    scenes.parquet(tmp_path / "train.parquet", (x, y))
    scenes.parquet(tmp_path / "test.parquet", (x, np.where(y == 2, 7, y).astype(np.uint8)))
    task = SegmentationTask.of(tmp_path)
    with pytest.raises(DataError, match="masks with the id 7, which the training data have not"):
        task.open_test("to see")


@pytest.mark.parametrize("layout", ["folder", "parquet"])
def test_a_test_part_of_another_size_is_refused_before_a_training(layout, tmp_path):
    for part, size in (("train", (12, 16)), ("test", (16, 16))):
        pairs = scenes.scenes(6, *size)
        if layout == "folder":
            scenes.folder(tmp_path, pairs, f"images/{part}", f"masks/{part}")
        else:
            scenes.parquet(tmp_path / f"{part}.parquet", pairs)
    task = SegmentationTask.of(tmp_path)
    task.check_test(open=False)
    with pytest.raises(DataError, match="has 3 channels and 16x16 pixels, the training data 3 and"):
        task.check_test(open=True)
    SegmentationTask.of(tmp_path, size=(8, 8)).check_test(open=True)
    assert task.test_openings == ()
    if layout == "folder":
        (tmp_path / "masks" / "test" / "3.png").unlink()
        with pytest.raises(DataError, match=r"3\.png' has no mask"):
            task.check_test(open=True)


def test_what_does_not_fit_is_named(tmp_path):
    x, y = scenes.scenes(4)
    root = scenes.folder(tmp_path, (x, y), "images", "masks")
    mask = root / "masks" / "2.png"
    content = mask.read_bytes()
    mask.write_bytes(scenes.png(y[2][1:]))
    with pytest.raises(DataError, match=r"2\.png' is 16x11 pixels, and its image 16x12"):
        SegmentationTask.of(root)
    Image.fromarray(y[2]).save(mask, format="JPEG")
    with pytest.raises(DataError, match=r"is a JPEG, which does not keep ids"):
        SegmentationTask.of(root)
    mask.write_bytes(b"no image")
    with pytest.raises(DataError, match="is no mask that can be read"):
        SegmentationTask.of(root)
    Image.fromarray(y[2].astype(np.uint16) * 300).save(mask)
    with pytest.raises(DataError, match="has ids from 0 to "):
        SegmentationTask.of(root)
    mask.unlink()
    with pytest.raises(DataError, match=r"2\.png' has no mask in .*accepted: one mask for each"):
        SegmentationTask.of(root)
    mask.write_bytes(content)
    (root / "masks" / "9.png").write_bytes(content)
    notes = SegmentationTask.of(root).remarks()
    assert any("without an image, not read: 1" in note for note in notes)


def test_images_and_masks_are_resized_alike(tmp_path):
    x, y = scenes.scenes(4, 24, 32)
    root = scenes.folder(tmp_path, (x, y), "images", "masks")
    task = SegmentationTask.of(root, size=(12, 16))
    assert task.pool.size == (12, 16)
    expected = Image.fromarray(y[1]).resize((16, 12), Image.Resampling.NEAREST)
    assert np.array_equal(task.pool.masks[1].numpy(), np.asarray(expected))
    for high, wide in ((7, 50), (24, 5)):
        expected = Image.fromarray(y[1]).resize((wide, high), Image.Resampling.NEAREST)
        assert np.array_equal(nearest(y[1], high, wide), np.asarray(expected))
    with pytest.raises(ConfigError, match="height is 12 and width 0; accepted: both"):
        _ = SegmentationConfig(height=12).size
