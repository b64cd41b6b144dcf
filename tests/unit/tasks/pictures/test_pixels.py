"""Pixels are what a viewer shows; what was done to them is said, and bad files are one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from morphogen.core.errors import DataError
from morphogen.tasks.classification import ImageTask, from_dataset, load
from morphogen.tasks.labelled.remarks import remarks
from morphogen.tasks.pictures.decode import FORMATS, SUFFIXES, decode
from morphogen.tasks.pictures.pixels import Changes, said

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


def encoded(image, format="PNG", **options) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def seen(data: bytes) -> tuple[np.ndarray, dict[str, int]]:
    """Pixels, and what was done to them by the first word that says it."""
    changes = Changes()
    return decode(data, "an image", changes), {k.split()[0]: v for k, v in changes.items()}


def png(width, height, depth, kind, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, of samples that Pillow cannot write."""

    def chunk(name, data):
        whole = name + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    middle = b"".join(chunk(*c) for c in chunks)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + middle + end


def samples(values: np.ndarray) -> bytes:
    """Rows of 16-bit samples, each behind the byte that says that it is not filtered."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)


# --- as before -----------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "JPEG"])
def test_plain_images_are_pillows_own_bits(array, format):
    data = encoded(array, format)
    pixels, changes = seen(data)
    assert np.array_equal(
        pixels.squeeze(2) if array.ndim == 2 else pixels, Image.open(io.BytesIO(data))
    )
    assert changes == {}


def test_every_ending_of_the_formats_is_an_image():
    Image.init()
    registered = {e for e, f in Image.registered_extensions().items() if f in FORMATS}
    assert registered <= {*SUFFIXES}


# --- orientation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "tiff_lzw"])
def test_images_are_turned_as_exif_says(turn, format):
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"WEBP": {"lossless": True}, "tiff_lzw": {"compression": "tiff_lzw"}}.get(format, {})
    data = encoded(COLOUR, format.split("_")[0], exif=exif, **options)
    pixels, changes = seen(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert pixels.shape == ((9, 6, 3) if turn > 4 else (6, 9, 3))
    assert np.array_equal(pixels, expected)
    assert changes == ({"turned": 1} if turn > 1 else {})


def test_turning_is_worked_by_hand():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera stood on its right side: the first column is shown on top
    pixels, _ = seen(encoded(np.array([[1, 2, 3], [4, 5, 6]], np.uint8), exif=exif))
    assert pixels[..., 0].tolist() == [[4, 1], [5, 2], [6, 3]]


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0", b"garbage", b"Exif\0\0" + b"\xff" * 40])
def test_a_damaged_exif_block_says_nothing(exif):
    pixels, changes = seen(encoded(GREY, "PNG", exif=exif))
    assert np.array_equal(pixels[..., 0], GREY)
    assert changes == {}


def test_pixels_of_sixteen_bits_are_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 3
    deep = GREY.astype(np.uint16) * 256
    pixels, changes = seen(encoded(deep, exif=exif))
    assert np.array_equal(pixels[..., 0], GREY[::-1, ::-1])
    assert changes == {"turned": 1, "16": 1}


# --- transparency --------------------------------------------------------------------------------


def on_white(colour, alpha):
    """In rational numbers, to the nearest level."""
    alpha = alpha[..., None] if colour.ndim == 3 else alpha
    exact = (colour.astype(float) * alpha + 255.0 * (255 - alpha)) / 255
    return np.floor(exact + 0.5).astype(np.uint8)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_on_white(format):
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = encoded(np.dstack([COLOUR, ALPHA]), format, **options)
    pixels, changes = seen(data)
    assert np.array_equal(pixels, on_white(COLOUR, ALPHA))
    assert changes == {"transparent": 1}
    page = Image.new("RGBA", (9, 6), "white")
    page.alpha_composite(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert np.abs(pixels.astype(int) - np.asarray(page.convert("RGB"))).max() <= 1


def test_alpha_of_grey_images_stays_grey():
    pixels, changes = seen(encoded(Image.fromarray(np.dstack([GREY, ALPHA]), "LA")))
    assert np.array_equal(pixels[..., 0], on_white(GREY, ALPHA))
    assert changes == {"transparent": 1}


def test_alpha_that_hides_nothing_changes_nothing():
    opaque = np.full_like(ALPHA, 255)
    pixels, changes = seen(encoded(np.dstack([COLOUR, opaque])))
    assert np.array_equal(pixels, COLOUR)
    assert changes == {}


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(format):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels, changes = seen(encoded(image, format, transparency=0))
    assert pixels.tolist() == [[[255, 255, 255], [40, 50, 60]]]
    assert changes == {"transparent": 1}


def test_half_transparent_palette_entries():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    pixels, _ = seen(encoded(image, transparency=b"\x80\xff"))
    assert pixels.tolist() == [[[132, 137, 142], [40, 50, 60]]]  # (10 * 128 + 255 * 127) / 255


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(3, 1, 8, 0, b"\0\x0a\x14\x1e", (b"tRNS", b"\0\x14")), [10, 255, 30]),
        (png(4, 1, 2, 0, b"\0\x1b", (b"tRNS", b"\0\x02")), [0, 85, 255, 255]),  # 0 1 2 3
        (png(2, 1, 4, 0, b"\0\x3c", (b"tRNS", b"\0\x03")), [255, 204]),  # 3 and 12
        (png(2, 1, 1, 0, b"\0\x40", (b"tRNS", b"\0\x00")), [255, 255]),  # 0 and 1
        (png(3, 1, 16, 0, b"\0\x0a\0\x0b\0\x0b\1", (b"tRNS", b"\x0b\0")), [10, 255, 11]),
    ],
    ids=["8 bits", "2 bits", "4 bits", "1 bit", "16 bits"],
)
def test_one_grey_level_may_be_transparent(data, expected):
    pixels, changes = seen(data)
    assert pixels[0, :, 0].tolist() == expected
    assert changes["transparent"] == 1


def test_one_colour_may_be_transparent():
    row = b"\0" + bytes([1, 2, 3, 1, 2, 4])
    pixels, changes = seen(png(2, 1, 8, 2, row, (b"tRNS", b"\0\1\0\2\0\3")))
    assert pixels.tolist() == [[[255, 255, 255], [1, 2, 4]]]
    assert changes == {"transparent": 1}


# --- depth ---------------------------------------------------------------------------------------

DEEP = np.array([[0, 255, 256, 257], [32767, 32768, 65279, 65535]], np.uint16)
UPPER = [[0, 0, 1, 1], [127, 128, 254, 255]]


@pytest.mark.parametrize(
    "data",
    [
        encoded(DEEP),
        encoded(DEEP, "TIFF"),
        encoded(DEEP, "TIFF", compression="tiff_lzw"),
        encoded(Image.fromarray(DEEP.astype(">u2")), "TIFF"),
        encoded(DEEP, "PPM"),
        b"P2 4 2 65535 " + " ".join(map(str, DEEP.ravel())).encode(),
        png(4, 2, 16, 4, samples(np.dstack([DEEP, np.full_like(DEEP, 65535)]).reshape(2, -1))),
    ],
    ids=["png", "tiff", "lzw", "big endian", "pgm", "plain pgm", "png with alpha"],
)
def test_grey_of_sixteen_bits_keeps_the_upper_eight(data):
    pixels, changes = seen(data)
    assert pixels[..., 0].tolist() == UPPER
    assert pixels.shape[2] == 1
    assert changes == {"16": 1}


def test_colour_of_sixteen_bits_keeps_the_upper_eight():
    colour = np.stack([DEEP, DEEP[::-1], DEEP], 2)
    pixels, changes = seen(png(4, 2, 16, 2, samples(colour.reshape(2, -1))))
    assert np.array_equal(pixels, colour >> 8)
    assert changes == {"16": 1}


def test_sixteen_bits_in_which_white_is_zero():
    data = encoded(DEEP, "TIFF", tiffinfo={262: 0})
    assert Image.open(io.BytesIO(data)).tag_v2[262] == 0
    assert seen(data)[0][..., 0].tolist() == (255 - np.array(UPPER)).tolist()


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_whose_white_is_not_stated_are_refused(kind):
    with pytest.raises(DataError, match=r"^an image has .* as pixels.*; accepted: images of 8 or"):
        seen(encoded(Image.fromarray(GREY.astype(kind)), "TIFF"))


def test_one_bit_is_black_and_white():
    pixels, changes = seen(encoded(Image.fromarray(GREY > 127)))
    assert np.array_equal(pixels[..., 0], np.where(GREY > 127, 255, 0))
    assert changes == {}


# --- colour --------------------------------------------------------------------------------------


def test_cmyk_of_jpeg_is_inverted_as_adobe_does():
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 1:3] = 255  # magenta and yellow make red
    pixels, _ = seen(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100))
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 2


def test_an_srgb_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels, changes = seen(encoded(COLOUR, icc_profile=profile))
    assert np.array_equal(pixels, COLOUR)
    assert changes == {}


def swapped_profile() -> bytes:
    """A profile of sRGB's primaries with red and blue exchanged."""
    whole = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {}
    for i in range(struct.unpack(">I", whole[128:132])[0]):
        at = 132 + 12 * i
        tags[bytes(whole[at : at + 4])] = at
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    whole[red : red + 4], whole[blue : blue + 4] = b"bXYZ", b"rXYZ"
    description = bytes(whole).find("sRGB".encode("utf-16-be"))
    whole[description : description + 2] = b"\0X"  # no longer called sRGB
    return bytes(whole)


@pytest.mark.parametrize("alpha", [False, True])
def test_colours_of_another_profile_become_srgb(alpha):
    flat = np.broadcast_to(np.array([250, 20, 90], np.uint8), (4, 4, 3))
    if alpha:
        flat = np.dstack([flat, np.full((4, 4), 255, np.uint8)])
    pixels, changes = seen(encoded(np.ascontiguousarray(flat), icc_profile=swapped_profile()))
    assert np.abs(pixels.astype(int) - [90, 20, 250]).max() <= 2
    assert changes == {"colours": 1}


@pytest.mark.parametrize("profile", [b"garbage", b"\0" * 500])
def test_a_damaged_profile_is_passed_over_and_said(profile):
    pixels, changes = seen(encoded(COLOUR, icc_profile=profile))
    assert np.array_equal(pixels, COLOUR)
    assert changes == {"an": 1}


# --- several frames ------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several(format):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    pixels, changes = seen(data)
    assert (pixels == [255, 0, 0]).all()
    assert changes == {"several": 1}


def test_previews_of_a_camera_are_no_frames():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    pixels, changes = seen(data)
    assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 2
    assert changes == {}


# --- what is said, and damage --------------------------------------------------------------------


def test_what_was_done_is_said_once_with_numbers():
    changes = Changes({"turned": 1200, "laid": 1})
    assert said(changes, 2000, "d") == (
        "laid: 1 of 2,000 images of d",
        "turned: 1,200 of 2,000 images of d",
    )


def test_a_task_says_what_was_done_to_its_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 2
    for name in "ab":
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(3):
            array = np.ascontiguousarray(COLOUR[:, :6])
            data = encoded(array, exif=exif) if i else encoded(array)
            (tmp_path / "d" / name / f"{i}.png").write_bytes(data)
    images = load(tmp_path / "d")
    assert images.pixels[0, 0].tolist() == COLOUR[:, :6, 0].tolist()
    assert images.pixels[1, 0].tolist() == COLOUR[:, 5::-1, 0].tolist()
    where = f"the train part of {str(tmp_path / 'd')!r}"
    sentence = f"turned as the EXIF orientation says: 4 of 6 images of {where}"
    assert sentence in remarks(ImageTask.of(tmp_path / "d").pool)


def test_images_of_a_data_set_object_are_seen_alike():
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = Image.open(io.BytesIO(encoded(COLOUR[:6, :6].copy(), exif=exif)))
    images = from_dataset([(turned, 0), (turned.convert("RGB"), 1)])
    for pixels in images.pixels:
        assert np.array_equal(pixels.permute(1, 2, 0), COLOUR[:6, :6][::-1, ::-1])
    assert images.notes[0].endswith("2 of 2 images of the list")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damage_anywhere_is_one_sentence_or_pixels(format):
    data = encoded(np.dstack([COLOUR] * 1), format)
    rng = np.random.default_rng(3)
    for _ in range(60):
        broken = bytearray(data[: rng.integers(1, len(data) + 1)])
        for at in rng.integers(0, len(broken), 4):
            broken[at] = rng.integers(256)
        try:
            outcome = str(decode(bytes(broken), "it").dtype)
        except DataError as error:
            outcome = str(error)
        assert outcome == "uint8" or (outcome.startswith("it ") and "; accepted: " in outcome)


def test_too_many_pixels_are_one_sentence():
    bomb = png(40_000, 40_000, 1, 0, b"")
    with pytest.raises(DataError, match=r"^it has too many pixels .*accepted: up to 178,956,970"):
        decode(bomb, "it")


def test_an_empty_file_is_called_empty(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"it is empty"):
        decode(tmp_path / "a.png", "it")
