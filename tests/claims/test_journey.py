"""The whole way at small size: image files, search, training, export, prediction, by command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import tiny
from morphogen.cli import main

SMALL = ["--image-size", "8", "--batch-size", "16", "--epochs", "2", "--threads", "1"]


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(w) for w in words]) == 0
    return capsys.readouterr().out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """PNG files, one folder per class, under train and test; 12 x 9 pixels, grey."""
    every = tiny.images(240)
    for i, (pixels, label) in enumerate(zip(every.pixels, every.labels, strict=True)):
        folder = tmp_path / "pictures" / ("train" if i < 200 else "test") / "abcd"[int(label)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[0].numpy()).resize((12, 9)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


@pytest.mark.slow
def test_from_image_files_to_a_prediction(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, trained, out = (tmp_path / name for name in ("found", "trained", "out"))
    text = said(
        capsys, "search", "darts", "--data", pictures, "--run", found, *SMALL,
        "--train-images", 100, "--valid-images", 100, "--steps-per-epoch", 2, "--channels", 2,
        "--diagnostic-images", 40,
    )  # fmt: skip
    assert f"morphogen train {found}" in text
    architecture = json.loads((found / "result.json").read_text())["architecture"]

    text = said(
        capsys, "train", found, "--run", trained, *SMALL, "--channels", 4, "--seeds", 2,
        "--epochs", 12, "--lr", 0.1,
    )  # fmt: skip
    assert architecture in text
    assert "95 % interval" in text
    assert f"morphogen export {trained} --to onnx" in text
    result = json.loads((trained / "result.json").read_text())
    # Bright quarters in noise are learnt by any network that learns at all; chance is 25 %.
    assert result["test_accuracy"]["mean"] > 60
    again = json.loads(said(capsys, "resume", trained, "--json"))
    assert again["test_accuracy"] == result["test_accuracy"]

    text = said(capsys, "export", trained, "--to", "onnx,safetensors", "--out", out)
    assert "model card" in text
    assert architecture.replace("|", "\\|") in (out / "README.md").read_text()

    files = sorted((pictures / "test").rglob("*.png"))
    shown = {}
    for name in ("model.onnx", "model.safetensors"):
        shown[name] = json.loads(said(capsys, "predict", out / name, *files, "--json"))
    one, two = (held["predictions"] for held in shown.values())
    for a, b in zip(one, two, strict=True):
        assert a["probabilities"] == pytest.approx(b["probabilities"], abs=1e-4)
    right = [100 * (p["label"] == Path(p["image"]).parent.name) for p in one]
    # The export holds one of the two seeds, whose accuracies result.json has.
    assert sum(right) / len(right) in [pytest.approx(v) for v in result["test_accuracy"]["values"]]
    line = said(capsys, "predict", out, files[0], "--top", 2).split()
    assert line[0] == str(files[0])
    assert line[1] == one[0]["label"]


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        ("train", 0, ["Usage: morphogen train RUN|ARCH", "--cutout", "with --preset paper: 200"]),
        ("train nowhere/run", 2, ["no run directory and no architecture"]),
        ("train nowhere", 2, ["nowhere", "accepted"]),
        ("train --seeds 2", 2, ["what to train comes first"]),
        ("train DARTS_V2 --space darts --epochs 0", 2, ["epochs", "1"]),
        ("train DARTS_V2 --space darts --patience 1 --held-out 0", 2, ["patience is 1"]),
        (
            "train 00000000 --space nasbench-macro --preset paper",
            2,
            ["nasbench-macro"],
        ),
        ("train DARTS_V2 --space darts --data nowhere.npz", 2, ["no such file"]),
        ("export nowhere", 4, ["holds no run"]),
        ("export nowhere --to onx", 2, ["unknown format 'onx'", "onnx"]),
        ("predict nowhere.onnx image.png", 2, ["no such file"]),
        ("predict nowhere.onnx image.png --top 0", 2, ["--top is '0'"]),
    ],
)
def test_mistakes_on_the_way_are_sentences(
    words: str,
    code: int,
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == code
    out, err = capsys.readouterr()
    text = out if code == 0 else err
    assert code == 0 or (out == "" and len(err.strip().splitlines()) == 1)
    for part in parts:
        assert part in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
