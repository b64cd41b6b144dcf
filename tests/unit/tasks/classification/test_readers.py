"""Every layout gives the same images, whatever they were stored in; bad files one sentence."""

import gzip
import io
import json
import os
import pickle
import struct
import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from morphogen.core.errors import ConfigError, DataError, UnknownNameError
from morphogen.tasks.classification import ImageTask, from_arrays, from_dataset, load, locate
from morphogen.tasks.classification.readers import cache
from morphogen.tasks.pictures.stacking import resize

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 8, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


PARQUET = "morphogen.tasks.classification.readers.parquet"


def encoded(image: np.ndarray, format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format)
    return out.getvalue()


def write_parquet(file, images=COLOUR, labels=LABELS, image="img", label="label", names=None):
    cells = [{"bytes": i if isinstance(i, bytes) else encoded(i), "path": None} for i in images]
    table = pa.table({image: cells, label: list(labels)})
    if names:
        features = {"info": {"features": {label: {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    return file


def write_folder(root, images=COLOUR, labels=LABELS, names="abc"):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03}.png").write_bytes(encoded(image))
    return root


def same(images, pixels=COLOUR, labels=LABELS) -> bool:
    expected = torch.from_numpy(pixels if pixels.ndim == 4 else pixels[..., None])
    return torch.equal(images.pixels, expected.permute(0, 3, 1, 2)) and torch.equal(
        images.labels, torch.from_numpy(np.asarray(labels))
    )


def refused(spec, *says, part="train", size=None, error=DataError):
    """The message of a refusal: one sentence on one line, with what is accepted."""
    with pytest.raises(error) as caught:
        load(spec, part, size)
    message = str(caught.value)
    assert "\n" not in message
    assert "accepted" in message or "known" in message
    for text in says:
        assert str(text) in message
    return message


# --- parquet -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "label"), [("img", "label"), ("image", "fine_label")])
def test_parquet_file_is_the_train_part(tmp_path, column, label):
    file = write_parquet(tmp_path / "some.parquet", image=column, label=label)
    assert same(load(str(file)))
    refused(file, "has no test part", part="test")


def test_parquet_folder_with_shards_parts_and_class_names(tmp_path):
    names = ["x", "y", "z"]
    for i, rows in enumerate((slice(0, 5), slice(5, 12))):
        write_parquet(
            tmp_path / "data" / f"train-0000{i}-of-00002.parquet",
            COLOUR[rows],
            LABELS[rows],
            names=names,
        )
    write_parquet(
        tmp_path / "data" / "test-00000-of-00001.parquet", COLOUR[:6], LABELS[:6], names=names
    )
    assert locate(tmp_path).parts == ("train", "test")
    train = load(tmp_path)
    assert same(train)
    assert train.classes == ("x", "y", "z")
    assert same(load(tmp_path, "test"), COLOUR[:6], LABELS[:6])


def test_parquet_with_plain_bytes_and_named_labels(tmp_path):
    table = pa.table({"image": [encoded(g) for g in GREY], "label": [f"c{i}" for i in LABELS]})
    pq.write_table(table, tmp_path / "a.parquet")
    images = load(tmp_path / "a.parquet")
    assert same(images, GREY)
    assert images.classes == ("c0", "c1", "c2")


def test_cifar10_as_parquet_equals_pillow_and_halves_exactly(tmp_path):
    # The layout of the Hugging Face data set: 32 x 32 JPEG in `img`, labels without names.
    photos = np.stack([resized(image) for image in COLOUR])
    cells = [encoded(photo, "JPEG") for photo in photos]
    write_parquet(tmp_path / "train-00000-of-00001.parquet", cells, np.arange(12) % 10)
    images = load(f"cifar10:{tmp_path}")
    assert images.labels.tolist() == [*range(10), 0, 1]
    assert images.classes[0] == "airplane"
    small = resize(images.pixels, 16)
    for i, cell in enumerate(cells):
        picture = Image.open(io.BytesIO(cell))
        assert np.array_equal(images.pixels[i].permute(1, 2, 0).numpy(), np.asarray(picture))
        assert np.array_equal(small[i].permute(1, 2, 0).numpy(), np.asarray(picture.reduce(2)))


def resized(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))


def test_decoded_pixels_are_cached_by_file_and_size(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SLOW", -1.0)
    file = write_parquet(tmp_path / "a.parquet")
    first = load(file), load(file, size=4)
    folder = tmp_path / "cache" / "morphogen" / "images"
    assert sorted(p.suffix for p in folder.iterdir()) == [".npz", ".npz"]
    with monkeypatch.context() as patch:
        patch.setattr(
            "morphogen.tasks.classification.readers.parquet.decode", None
        )  # must not be needed
        again = load(file), load(file, size=4)
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.pixels, b.pixels)
    backwards = COLOUR[::-1].copy()
    write_parquet(file, backwards)
    os.utime(file, (1, 1))  # another time of change is another key, even at equal length
    assert same(load(file), backwards)


def test_what_was_done_to_images_is_kept_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SLOW", -1.0)
    exif = Image.Exif()
    exif[0x0112] = 3
    out = io.BytesIO()
    Image.fromarray(COLOUR[0]).save(out, "PNG", exif=exif)
    file = write_parquet(tmp_path / "a.parquet", [out.getvalue(), *COLOUR[1:]])
    first = load(file)
    with monkeypatch.context() as patch:
        patch.setattr(
            "morphogen.tasks.classification.readers.parquet.decode", None
        )  # must not be needed
        again = load(file)
    assert np.array_equal(again.pixels[0].permute(1, 2, 0), COLOUR[0][::-1, ::-1])
    assert first.notes == again.notes
    assert first.notes == (
        f"turned as the EXIF orientation says: 1 of 12 images of the train part of {str(file)!r}",
    )


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY garbage", pickle.dumps([1])])
def test_a_corrupt_cache_is_ignored(tmp_path, monkeypatch, content):
    monkeypatch.setattr(cache, "SLOW", -1.0)
    file = write_parquet(tmp_path / "a.parquet")
    load(file)
    for entry in (tmp_path / "cache" / "morphogen" / "images").iterdir():
        entry.write_bytes(content)
    assert same(load(file))


def test_an_unwritable_cache_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SLOW", -1.0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # mkdir below a file fails
    assert same(load(write_parquet(tmp_path / "a.parquet")))


def test_an_interrupted_cache_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SLOW", -1.0)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full)
    assert same(load(write_parquet(tmp_path / "a.parquet")))
    assert list((tmp_path / "cache" / "morphogen" / "images").iterdir()) == []


def test_bad_parquet_is_refused(tmp_path):
    good = write_parquet(tmp_path / "good.parquet")
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 not really PAR1")
    refused(bad, bad, "cannot be read as parquet")
    bad.write_bytes(good.read_bytes()[:-100])
    refused(bad, bad, "cannot be read as parquet")
    refused(write_parquet(bad, label="target"), "no label column, only img, target")
    refused(write_parquet(bad, image="picture"), "no image column, only picture, label")
    refused(write_parquet(bad, labels=[0] * 12), "one class only, '0'")
    refused(write_parquet(bad, labels=[-1] * 12), "has label -1 (-1 marks hidden labels)")
    refused(write_parquet(bad, labels=[0.5] * 12), "has label 0.5")
    refused(write_parquet(bad, labels=[0] * 11 + [10**9]), "has label 1000000000")
    refused(write_parquet(bad, labels=[None] + [0] * 11), "no label in row 0")
    broken = [encoded(i) for i in COLOUR]
    broken[7] = broken[7][:60]
    refused(write_parquet(bad, broken), "row 7 of column 'img'", "corrupt")
    broken[7] = b"%!PS-Adobe-3.0 EPSF-3.0"
    refused(write_parquet(bad, broken), "row 7 of column 'img'", "not an image")
    mixed = [*COLOUR[:11], COLOUR[11][:6]]
    refused(write_parquet(bad, mixed), "row 11", "is 8x6 pixels", "option size=N")
    assert load(bad, size=4).pixels.shape == (12, 3, 4, 4)
    refused(write_parquet(bad, [*COLOUR[:11], GREY[11]]), "row 11", "1 channels", "has 3")
    refused(write_parquet(bad, COLOUR[:, :6]), "8x6 pixels; accepted: square images")
    assert load(bad, size=4).pixels.shape == (12, 3, 4, 4)
    refused(write_parquet(bad, COLOUR[:0], []), "no rows")
    pq.write_table(pa.table({"img": [{"bytes": None, "path": "x"}] * 2, "label": [0, 1]}), bad)
    refused(bad, "row 0 of column 'img'", "holds no image bytes")


def test_missing_shards_are_named(tmp_path):
    write_parquet(tmp_path / "train-00000-of-00002.parquet")
    refused(tmp_path, "holds 1 of the 2 shards of its train part")
    (tmp_path / "odd").mkdir()
    write_parquet(tmp_path / "odd" / "all.parquet")
    refused(tmp_path / "odd", "parquet files of no train part (all.parquet)")


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("L", 1), ("1", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)],
)
def test_pixel_modes_become_grey_or_colour(tmp_path, mode, channels):
    picture = Image.fromarray(COLOUR[0]).convert(mode)
    if mode == "P":
        picture.info["transparency"] = b"\x00\x80"
    out = io.BytesIO()
    picture.save(out, "TIFF" if mode == "CMYK" else "PNG")
    images = load(write_parquet(tmp_path / "a.parquet", [out.getvalue()] * 2, [0, 1]))
    assert images.channels == channels


# --- image folder --------------------------------------------------------------------------------


def test_image_folder_with_parts(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", COLOUR[:3], LABELS[:3])
    (tmp_path / "train" / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / ".hidden").mkdir()
    images = load(tmp_path)
    order = np.argsort(LABELS, kind="stable")
    assert images.classes == ("a", "b", "c")
    assert same(images, COLOUR[order], LABELS[order])
    assert len(load(tmp_path, "test")) == 3


def test_hidden_files_and_deeper_folders(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "a" / "._000.png").write_bytes(b"\x00\x05\x16\x07")  # as macOS leaves them
    (tmp_path / "a" / ".thumbnails").mkdir()
    (tmp_path / "a" / ".thumbnails" / "000.png").write_bytes(b"oops")
    (tmp_path / "a" / "empty.png").mkdir()
    (tmp_path / "b" / "more" / "still").mkdir(parents=True)
    (tmp_path / "b" / "more" / "still" / "9.PNG").write_bytes(encoded(COLOUR[0]))
    images = load(tmp_path)
    assert torch.bincount(images.labels).tolist() == [4, 5, 4]


@pytest.mark.parametrize("names", [("test", "val"), ("train", "test"), ("Training", "Testing")])
def test_parts_are_not_taken_for_classes(tmp_path, names):
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(encoded(COLOUR[0]))
    refused(tmp_path, "names of parts and not of classes", "accepted: train")


def test_grey_among_colour_is_refused_by_name(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "b" / "001.png").write_bytes(encoded(GREY[0]))
    refused(tmp_path, tmp_path / "b" / "001.png", "has 1 channels", "all grey or all colour")


def test_images_of_one_pixel(tmp_path):
    write_folder(tmp_path, COLOUR[:, :1, :1])
    assert load(tmp_path).pixels.shape == (12, 3, 1, 1)
    assert load(tmp_path, size=4).pixels.shape == (12, 3, 4, 4)


def test_image_folder_without_parts_is_the_train_part(tmp_path):
    assert len(load(write_folder(tmp_path))) == 12
    refused(tmp_path, "has no test part, only train", part="test")


def test_test_folder_with_other_classes(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", names="cab")  # the same names under other numbers
    task = ImageTask.of(str(tmp_path))
    test = task.open_test("evaluation").images
    first = test.pixels[test.labels == 2][0]  # class c of the train folder
    assert torch.equal(first, torch.from_numpy(COLOUR[0]).permute(2, 0, 1))
    write_folder(tmp_path / "test", names="abz")
    with pytest.raises(DataError, match="class 'z', which the training data has not"):
        task.open_test("evaluation")


def test_bad_image_folders_are_refused(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "a" / "000.png").write_bytes(b"oops")
    refused(tmp_path, tmp_path / "a" / "000.png", "not an image")
    (tmp_path / "a" / "000.png").write_bytes(encoded(COLOUR[0])[:80])
    refused(tmp_path, tmp_path / "a" / "000.png", "corrupt")
    (tmp_path / "a" / "000.png").unlink()
    (tmp_path / "d").mkdir()
    refused(tmp_path, "class folder", tmp_path / "d", "holds no images")
    (tmp_path / "one" / "a").mkdir(parents=True)
    (tmp_path / "one" / "a" / "0.png").write_bytes(encoded(COLOUR[0]))
    refused(tmp_path / "one", "one class only, 'a'")


# --- numpy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (GREY, GREY),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR / 255, COLOUR),
        ((COLOUR / 255).astype(np.float32), COLOUR),
    ],
)
def test_arrays_in_every_order_and_type(x, expected):
    assert same(from_arrays(x, LABELS), expected)


def test_ambiguous_axes_need_a_layout():
    x = np.zeros((4, 3, 3, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"order of axes of shape .* is not clear"):
        from_arrays(x, [0, 1, 0, 1])
    assert from_arrays(x, [0, 1, 0, 1], layout="nhwc").channels == 3


def test_npz_with_one_part_and_with_two(tmp_path):
    np.savez(tmp_path / "one.npz", x=COLOUR, y=LABELS)
    assert same(load(tmp_path / "one.npz"))
    np.savez(
        tmp_path / "two.npz",
        x_train=GREY,
        y_train=LABELS[:, None],
        x_test=GREY[:4],
        y_test=LABELS[:4],
    )
    assert same(load(tmp_path / "two.npz"), GREY)
    assert same(load(tmp_path / "two.npz", "test"), GREY[:4], LABELS[:4])


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (GREY, LABELS[:5], "12 images and 5 labels"),
        (GREY[:, 0], LABELS, r"shape \[12, 8\]"),
        (GREY / 10.0, LABELS, "from 0.0 to 25"),
        (GREY.astype(np.int64) - 1, LABELS, "from -1 to"),
        (np.full((12, 8, 8), np.nan), LABELS, "float64 from nan"),
        (GREY, LABELS / 2, "has label 0.5; accepted: whole numbers"),
        (GREY, LABELS * 0, "one class only"),
        (GREY[:0], LABELS[:0], r"shape \[0, 8, 8\]"),
        (GREY[:, :6], LABELS, "square"),
    ],
)
def test_bad_arrays_are_refused(x, y, says):
    with pytest.raises(DataError, match=says):
        from_arrays(x, y)


def test_bad_npz_is_refused(tmp_path):
    file = tmp_path / "a.npz"
    file.write_bytes(b"not a zip")
    refused(file, file, "cannot be read as .npz")
    np.savez(file, faces=GREY, y=LABELS)
    refused(file, "holds faces, y; accepted: arrays x and y")
    np.savez(file, x=np.array([object()] * 2), y=[0, 1])
    refused(file, "cannot be read as .npz", "no objects")
    np.savez(file, x=GREY, y=LABELS)
    whole = file.read_bytes()
    file.write_bytes(whole[:200] + b"\xff" * 50 + whole[250:])
    refused(file, "cannot be read as .npz")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"garbage")
        archive.writestr("y.npy", b"garbage")
    refused(file, "cannot be read as .npz")


# --- data sets -----------------------------------------------------------------------------------


class Items:
    """A map-style data set without torch's base class."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.parametrize(
    "convert",
    [
        Image.fromarray,
        lambda a: a,
        lambda a: torch.from_numpy(a).permute(2, 0, 1),
        lambda a: torch.from_numpy(a).permute(2, 0, 1) / 255,
    ],
)
def test_dataset_items_of_every_kind(convert):
    items = [(convert(image), int(label)) for image, label in zip(COLOUR, LABELS, strict=True)]
    assert same(from_dataset(Items(items)))


def test_dataset_labels_may_be_scalars_and_classes_are_kept():
    items = [(GREY[i], (np.int64(0), torch.tensor(1), np.array([2]))[i % 3]) for i in range(12)]
    images = from_dataset(Items(items, ["x", "y", "z"]))
    assert same(images, GREY)
    assert images.classes == ("x", "y", "z")
    torch_set = torch.utils.data.TensorDataset(torch.from_numpy(GREY), torch.from_numpy(LABELS))
    assert ImageTask.of(torch_set).in_channels == 1


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([GREY[0]], "item 0 of the Items is a ndarray; accepted: "),
        ([("x.png", 0)], "item 0 .* has an image of type str"),
        ([(GREY[0], ["cat"])], r"item 0 .* has label \['cat'\]"),
        ([(GREY[0], None)], "has label None"),
        ([(GREY[0] - 300.0, 0)], "float64 pixels from"),
        ([(GREY[0].astype(str), 0)], "<U3 pixels; accepted: "),
        ([(GREY[0], 0), (COLOUR[0], 1)], "item 1 .* has 3 channels"),
        ([(GREY[0], 0), (GREY[0][:4, :4], 1)], "item 1 .* is 4x4 pixels"),
        ([], "no images were found"),
    ],
)
def test_bad_items_are_refused(items, says):
    with pytest.raises(DataError, match=says):
        from_dataset(Items(items))


def test_a_thing_that_is_no_dataset_is_refused():
    with pytest.raises(DataError, match="data is a int; accepted: a map-style data set"):
        ImageTask.of(5)


# --- MNIST's idx ---------------------------------------------------------------------------------


def write_idx(folder, zipped: bool):
    for part, rows in (("train", slice(None)), ("t10k", slice(0, 6))):
        for what, magic, data in (
            ("images-idx3", 0x803, GREY[rows]),
            ("labels-idx1", 0x801, LABELS[rows]),
        ):
            content = struct.pack(f">{1 + data.ndim}I", magic, *data.shape)
            content += data.astype(np.uint8).tobytes()
            file = folder / f"{part}-{what}-ubyte{'.gz' if zipped else ''}"
            file.write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files(tmp_path, zipped):
    write_idx(tmp_path, zipped)
    assert same(load(tmp_path), GREY)
    assert same(load(tmp_path, "test"), GREY[:6], LABELS[:6])
    assert load(f"fashion-mnist:{tmp_path}").classes[0] == "T-shirt/top"


def test_bad_idx_files_are_refused(tmp_path):
    write_idx(tmp_path, True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    for content in (
        whole[:50],
        b"x",
        b"",
        gzip.compress(b"\0\0\x08\x03"),
        gzip.compress(b"\0" * 99),
    ):
        file.write_bytes(content)
        refused(tmp_path, file, "is no idx file of 3 dimensions")
    file.write_bytes(whole)
    (tmp_path / "train-labels-idx1-ubyte.gz").unlink()
    refused(tmp_path, "has no train-labels-idx1-ubyte")


def idx(shape, data: bytes) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape) + data


def test_idx_headers_are_not_believed(tmp_path):
    write_idx(tmp_path, False)
    plain, zipped = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-images-idx3-ubyte.gz"
    pixels = GREY.tobytes()
    plain.write_bytes(idx((4_000_000_000, 4_000_000_000, 9), pixels))
    refused(tmp_path, plain, "4000000000, 9], and 768 bytes follow")
    plain.write_bytes(idx((12, 8, 7), pixels))
    refused(tmp_path, plain, "[12, 8, 7], and 768 bytes follow")
    plain.write_bytes(idx((11, 8, 8), pixels[: 11 * 64]))
    refused(tmp_path, "images of shape [11, 8, 8] and 12 labels")
    plain.write_bytes(idx((12, 0, 8), b""))
    refused(tmp_path, "images of shape [12, 0, 8] and 12 labels")
    plain.unlink()
    zipped.write_bytes(gzip.compress(idx((4_000_000_000, 4_000_000_000, 9), pixels)))
    refused(tmp_path, zipped, "4000000000, 9], which take")
    zipped.write_bytes(gzip.compress(idx((12, 8, 8), pixels + b"x")))
    refused(tmp_path, zipped, "and as many bytes do not follow")


def test_a_small_gzip_file_is_not_unpacked_beyond_its_header(tmp_path, monkeypatch):
    write_idx(tmp_path, True)
    taken = []
    whole = gzip.GzipFile.read

    def read(self, size=-1):
        taken.append(size)
        return whole(self, size)

    monkeypatch.setattr(gzip.GzipFile, "read", read)
    bomb = gzip.compress(idx((12, 8, 8), GREY.tobytes() + bytes(10_000_000)))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(bomb)
    refused(tmp_path, "and as many bytes do not follow")
    assert taken == [16, 768, 1]


def test_idx_files_with_a_dot(tmp_path):
    write_idx(tmp_path, False)
    for file in list(tmp_path.iterdir()):
        file.rename(tmp_path / file.name.replace("-idx", ".idx"))
    assert same(load(tmp_path), GREY)


# --- names and paths -----------------------------------------------------------------------------


def test_unknown_names_and_missing_paths(tmp_path):
    refused("fashon-mnist", "did you mean 'fashion-mnist'?", error=UnknownNameError)
    refused("cifar10", "is not shipped", "cifar10:PATH")
    refused(tmp_path / "nothing", "no such file or folder", tmp_path / "nothing")
    refused(f"cifar10:{tmp_path}/nothing", "no such file or folder", "cifar10:")
    refused("cifar10:", "no such file or folder at ''")
    refused("", "no such file or folder")
    refused(tmp_path, "is a folder that is empty")
    (tmp_path / "a.txt").write_text("")
    refused(tmp_path, "is a folder of no known layout")
    refused(tmp_path / "a.txt", "is a file of no known layout")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    refused(tmp_path / "link", "a link to nothing")
    refused("fashion-mnist", "part is 'pool'; accepted: train, valid, test", part="pool")
    refused("fashion-mnist", "size is 0", size=0)


def test_a_standard_name_checks_the_number_of_classes(tmp_path):
    file = write_parquet(tmp_path / "a.parquet", labels=LABELS * 5)
    refused(f"cifar10:{file}", "11 classes", "accepted: the 10 classes of cifar10")


# --- data sets of the Hugging Face library -------------------------------------------------------


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Saves columns as a data set of the `datasets` library; returns the argument of `load`."""
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets.disable_progress_bars()

    usual = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["x", "y", "z"])}

    def save(parts, features=None, name="saved"):
        kinds = datasets.Features(features or usual)
        made = {p: datasets.Dataset.from_dict(c, features=kinds) for p, c in parts.items()}
        whole = made[""] if "" in made else datasets.DatasetDict(made)
        whole.save_to_disk(tmp_path / name)
        return f"hf:{tmp_path / name}"

    return save


def columns_of(images=COLOUR, labels=LABELS):
    return {"picture": [Image.fromarray(i) for i in images], "kind": list(labels)}


def test_a_saved_hugging_face_data_set(saved):
    spec = saved({"train": columns_of(), "test": columns_of(COLOUR[:6], LABELS[:6])})
    assert locate(spec).parts == ("train", "test")
    images = load(spec)
    assert same(images)
    assert images.classes == ("x", "y", "z")
    assert same(load(spec, "test"), COLOUR[:6], LABELS[:6])
    task = ImageTask.of(spec, size=4)
    assert (task.in_channels, task.image_size, task.has_test) == (3, 4, True)


def test_a_saved_hugging_face_data_set_without_parts_is_the_train_part(saved):
    spec = saved({"": columns_of(GREY)})
    assert same(load(spec), GREY)
    refused(spec, "has no test part", part="test")


def test_bad_hugging_face_data_sets_are_refused(saved, tmp_path):
    import datasets

    refused("hf:", "names nothing")
    (tmp_path / "empty").mkdir()
    refused(f"hf:{tmp_path / 'empty'}", "cannot be loaded", "save_to_disk")
    refused(saved({"validation": columns_of()}, name="v"), "has the parts validation")
    refused(saved({"train": columns_of(labels=[-1] * 12)}, name="hidden"), "has label -1")
    refused(saved({"train": columns_of(labels=[1] * 12)}, name="one"), "one class only, 'y'")
    texts = {"picture": datasets.Value("string"), "kind": datasets.Value("int64")}
    plain = {"picture": ["a", "b"], "kind": [0, 1]}
    refused(saved({"train": plain}, texts, "texts"), "no image columns among picture, kind")
    broken = {"image": [{"bytes": b"oops", "path": None}, None], "label": ["b", "a"]}
    kinds = {"image": datasets.Image(), "label": datasets.Value("string")}
    refused(saved({"train": broken}, kinds, "broken"), "row 0 of the train part", "not an image")
    broken["image"][0]["bytes"] = encoded(COLOUR[0])
    refused(saved({"train": broken}, kinds, "none"), "row 1 of the train part", "holds no image")
    broken["image"][1] = {"bytes": encoded(COLOUR[1]), "path": None}
    named = load(saved({"train": broken}, kinds, "named"))
    assert same(named, COLOUR[:2], [1, 0])
    assert named.classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b"null"),
        ("state.json", b"[]"),
        ("state.json", b"[" * 100_000),
        ("state.json", b"\xff"),
        ("dataset_info.json", b"1"),
        ("dataset_info.json", b'{"features": {"picture": {"_type": "Audio"}}}'),
        ("data-00000-of-00001.arrow", b"ARROW1\0\0" + b"\xff" * 99),
        ("data-00000-of-00001.arrow", None),
    ],
)
def test_damaged_hugging_face_data_sets_are_refused(saved, tmp_path, name, content):
    spec = saved({"": columns_of(COLOUR[:2], [0, 1])})
    file = tmp_path / "saved" / name
    file.unlink()
    if content is None:
        os.mkfifo(file)
        refused(spec, file, "a named pipe, not a file")
    else:
        file.write_bytes(content)
        refused(spec, spec, "cannot be loaded")


def test_offsets_of_a_damaged_arrow_file_are_not_followed(saved, tmp_path):
    spec = saved({"": columns_of()})
    file = tmp_path / "saved" / "data-00000-of-00001.arrow"
    whole = file.read_bytes()
    lengths = [len(encoded(image)) for image in COLOUR]
    offsets = np.cumsum([0, *lengths]).astype("<i4").tobytes()
    assert offsets in whole
    file.write_bytes(whole.replace(offsets, offsets[:4] + b"\xff\xff\xff\x7f" + offsets[8:]))
    refused(spec, spec, "cannot be loaded")


def test_hugging_face_data_without_the_library_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused("hf:owner/name", "pip install 'morphogen[datasets]'", error=ConfigError)
