"""`predict` on whatever images come in: files, folders, arrays, of any channels, some damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import morphogen
from morphogen import spaces
from morphogen.cli import main
from morphogen.core import DataError
from morphogen.runs.weights import Signature, Size, write_weights
from morphogen.supernets import network
from morphogen.tasks.pictures.inputs import expanded
from morphogen.tasks.pictures.inputs import pixels as pixels_of

ARCH = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
CLASSES = ("grün", "\x1b[31m", "c\nd")


def saved(folder: Path, channels: int) -> Path:
    """A network of random weights, as a file."""
    space = spaces.make("nasbench201")
    signature = Signature(
        space={"name": "nasbench201"},
        architecture=ARCH,
        spec=Size(channels=2, depth=1, classes=3, in_channels=channels),
        classes=CLASSES,
        kind="images",
        channels=channels,
        size=8,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        origin={},
    )
    torch.manual_seed(0)
    net = network(space, space.parse(ARCH), signature.network_spec)
    path = folder / f"{channels}.safetensors"
    write_weights(path, net, signature, set(net.state_dict()))
    return path


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("nets")
    return {channels: saved(folder, channels) for channels in (1, 3, 4)}


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> tuple[str, str]:
    assert main(["predict", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out, err


def rows(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(capsys, *words, "--json")[0])["predictions"]
    return found


def test_the_same_pixels_give_the_same_answer_however_they_come(
    nets: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = noise(3, 8, 8, 3)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for i, place in enumerate(("deep/a.png", "deep/er/b.PNG", "c.bmp")):
        Image.fromarray(x[i]).save(tmp_path / place)
    (tmp_path / "deep" / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "deep" / "notes.txt").touch()
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x.transpose(0, 3, 1, 2), y=[0, 1, 2])
    np.savez(tmp_path / "only.npz", whatever=x / 255)
    expected = [p.probabilities for p in morphogen.load(nets[3]).predict(x)]
    assert expected[0] != expected[1]
    found = rows(capsys, nets[3], tmp_path / "deep", tmp_path / "c.bmp")
    assert [row["probabilities"] for row in found] == expected
    names = [os.path.relpath(row["image"], tmp_path) for row in found]
    assert names == ["deep/a.png", "deep/er/b.PNG", "c.bmp"]
    for file in ("x.npy", "x.npz", "only.npz"):
        found = rows(capsys, nets[3], tmp_path / file)
        assert [row["probabilities"] for row in found] == expected
        assert found[2]["image"] == f"{tmp_path / file}[2]"
    _, notes = said(capsys, nets[3], tmp_path / "deep")
    assert "1 .txt" in notes


def test_channels_become_those_of_the_network(
    nets: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: luma of ITU-R 601, transparent parts on white, a palette's colours."""
    grey = noise(8, 8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    colour = noise(8, 8, 3)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    assert abs(luma - colour @ [0.299, 0.587, 0.114]).max() < 1
    Image.fromarray(colour).save(tmp_path / "colour.png")
    clear = np.dstack([colour, np.full((8, 8), 0, np.uint8)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(grey // 64).convert("P").save(tmp_path / "palette.png")
    np.save(tmp_path / "clear.npy", clear[None])
    white = np.full((8, 8), 255, np.uint8)
    of = {c: morphogen.load(file) for c, file in nets.items()}
    cases: list[tuple[int, str, NDArray[np.uint8]]] = [
        (3, "grey.png", np.dstack([grey] * 3)),
        (1, "grey.png", grey),
        (1, "colour.png", luma),
        (1, "clear.png", white),
        (3, "clear.png", np.dstack([white] * 3)),
        (3, "clear.npy", np.dstack([white] * 3)),
        (1, "palette.png", grey // 64),
        (4, "clear.npy", clear),
    ]
    for channels, file, pixels in cases:
        (found,) = rows(capsys, nets[channels], tmp_path / file)
        assert found["probabilities"] == of[channels].predict([pixels])[0].probabilities
    _, message = said(capsys, nets[4], tmp_path / "colour.png", code=2)
    assert "has 3 channels; accepted by this network: 4" in message


def test_one_damaged_image_does_not_hide_the_others(
    nets: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "c.png"):
        Image.fromarray(noise(9, 7)).save(tmp_path / name)
    (tmp_path / "b.png").write_text("no image")
    os.symlink("nowhere", tmp_path / "d.png")
    os.mkfifo(tmp_path / "e.png")  # which is not waited for
    out, err = said(capsys, nets[1], tmp_path, code=2)
    assert len(out.splitlines()) == 2
    assert all(f"{name}.png' " in err for name in "bde")
    for name in "de":
        (tmp_path / f"{name}.png").unlink()
    out, err = said(capsys, nets[1], tmp_path, code=2)
    assert [line.split("  ")[0] for line in out.splitlines()] == [
        str(tmp_path / name) for name in ("a.png", "c.png")
    ]
    assert err.count("\n") == 1
    assert "b.png' is not an image" in err
    given = [tmp_path / name for name in ("a.png", "b.png", "none.png", "c.png", "no-folder.npz")]
    out, err = said(capsys, nets[1], *given, "--json", code=2)
    held = json.loads(out)
    assert [row["image"] for row in held["predictions"]] == [str(given[0]), str(given[3])]
    assert sorted(Path(row["image"]).name for row in held["failed"]) == [
        "b.png",
        "no-folder.npz",
        "none.png",
    ]
    assert "3 images were not classified" in err
    assert sum(line.startswith("morphogen: ") for line in err.splitlines()) == 1
    out, err = said(capsys, nets[1], tmp_path / "b.png", "--json", code=2)
    assert (out, err.count("\n")) == ("", 1)


def test_names_of_classes_and_files_stay_on_their_line(
    nets: dict[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("\x1b]0;t\x07.png", "new\nline.png", os.fsdecode(b"\xe9.png"))
    for name in names:
        Image.fromarray(noise(8, 8)).save(tmp_path / name)
    out, _ = said(capsys, nets[1], tmp_path, "--top", 3)
    lines = out.splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert all(part in lines[0] for part in ("grün", r"\x1b[31m", r"c\nd"))
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: np.save(path, noise(30, 20, 3)), "one image in colour"),
        (lambda path: np.save(path, noise(5)), "shape"),
        (lambda path: np.save(path, np.array([{}], dtype=object), allow_pickle=True), "object"),
        (lambda path: path.write_bytes(b"\x93NUMPY"), "cannot be read as .npy"),
        (lambda path: path.mkdir(), "holds no images"),
    ],
)
def test_arrays_that_are_no_images(
    write: Any, message: str, nets: dict[int, Path], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write(tmp_path / "x.npy")
    out, err = said(capsys, nets[1], tmp_path / "x.npy", code=2)
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert "accepted" in err


def test_python_takes_a_batch_and_refuses_what_is_not_clear(nets: dict[int, Path]) -> None:
    model = morphogen.load(nets[3])
    x = noise(70, 8, 8, 3)  # more than one batch
    whole = [p.probabilities for p in model.predict(x)]
    one_by_one = [model.predict([image])[0].probabilities for image in x]
    for a, b in zip(whole, one_by_one, strict=True):
        assert a == pytest.approx(b, abs=1e-6)
    for given in (x[0], "image.png", Path("image.png"), 3, None):
        with pytest.raises(DataError, match="accepted: a list of images"):
            model.predict(given)  # type: ignore[arg-type]
    for image in (np.zeros((0, 8, 3), np.uint8), 3, None, [1]):
        with pytest.raises(DataError, match="an image is"):
            model.predict([image])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "word", ["x" * 5000, "a\0b", "/dev/zero", "pipe.npy", "pipe.png", "nothing"]
)
def test_words_that_are_no_files_are_not_opened(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.npy")
    os.mkfifo("pipe.png")
    (named,) = expanded(word, [], [])
    with pytest.raises(DataError, match=r"cannot be read \("):
        pixels_of(named.item, 1)
