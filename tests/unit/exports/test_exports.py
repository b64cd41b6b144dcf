"""Exported files run elsewhere, give the network's scores, and never run code when read."""

from __future__ import annotations

import json
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import morphogen
import tiny
from morphogen import spaces
from morphogen.core import ConfigError, DataError, RunError, UnknownNameError
from morphogen.engine.train.training import Training
from morphogen.exports import writing
from morphogen.exports.formats import ENTRY
from morphogen.exports.loading import SUFFIXES
from morphogen.exports.writing import FORMATS, export
from morphogen.supernets import network, space_of

ARCH = "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
TINY = Training(
    epochs=1,
    batch_size=16,
    task={"image_size": 8},
    network={"channels": 2, "depth": 1},
    hardware={"threads": 1},
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grey-scale training, exported to all formats."""
    folder = tmp_path_factory.mktemp("exported") / "run"
    data = tiny.images()
    morphogen.train(ARCH, data=data, training=replace(TINY, seeds=2), run=folder)
    done = export(folder, list(FORMATS), data=data)
    assert [one.path.name for one in done] == ["model.onnx", "model.pt2", "model.safetensors"]
    assert all(one.examples == 64 and one.difference <= one.tolerance for one in done)
    return folder


def network_of(file: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a weights file, put together without morphogen's own reader."""
    with safe_open(file, framework="pt") as held:
        about = json.loads(held.metadata()["morphogen"])
        tensors = {name: held.get_tensor(name) for name in held.keys()}  # noqa: SIM118
    space = spaces.make(about["space"]["name"])
    spec = morphogen.supernets.NetworkSpec(**about["spec"])
    net = network(space, space.parse(about["architecture"]), spec).eval()
    net.load_state_dict(tensors)
    return net, about


def others(file: Path) -> nn.Module:
    """The network of an archive as another program runs it, by torch alone."""
    return torch.export.load(file).module()


@pytest.mark.parametrize("suffix", [*SUFFIXES, ""])
def test_predicts_what_the_network_does(suffix: str, run: Path, tmp_path: Path) -> None:
    """A file, or without one the run itself."""
    held = json.loads((run / "result.json").read_text())["held_out_accuracy"]["values"]
    seed = held.index(max(held))
    net, about = network_of(run / f"seed-{seed}-best.safetensors")
    model = morphogen.load(run / "export" / f"model{suffix}" if suffix else run)
    assert model.classes == ("a", "b", "c", "d")
    pixels = tiny.images(4).pixels.permute(0, 2, 3, 1).numpy()
    Image.fromarray(pixels[0, :, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels[1].repeat(3, 2)).save(tmp_path / "colour.png")
    large = pixels[2].repeat(4, 0).repeat(3, 1)  # shrunk by areas, it is what it was
    given = [tmp_path / "grey.png", str(tmp_path / "colour.png"), large, pixels[3, :, :, 0]]
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - about["mean"][0]) / about["std"][0]
    expected = net(x.float()).softmax(1)
    for found, row in zip(model.predict(given), expected, strict=True):
        assert list(found.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-4)
        assert found.label == "abcd"[int(row.argmax())]
        assert found.probability == max(found.probabilities.values())
    assert model.predict([]) == []


def test_torch_runs_the_archive_without_morphogen(run: Path) -> None:
    x = torch.randn(5, 1, 8, 8)
    held = {ENTRY: ""}
    net = torch.export.load(run / "export" / "model.pt2", extra_files=held).module()
    with torch.no_grad():
        assert torch.allclose(net(x), morphogen.load(run / "export")(x), atol=1e-5)
    assert json.loads(held[ENTRY])["classes"] == ["a", "b", "c", "d"]
    with pytest.raises(DataError, match="a program"):  # an honest one; but who could tell?
        morphogen.load(run / "export" / "model.pt2")


def test_the_onnx_file_is_whole_without_morphogen(run: Path) -> None:
    path = run / "export" / "model.onnx"
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"images": np.zeros((5, 1, 8, 8), np.float32)})
    assert scores.shape == (5, 4)
    about = json.loads(session.get_modelmeta().custom_metadata_map["morphogen"])
    assert about["classes"] == ["a", "b", "c", "d"]
    assert (about["channels"], about["size"]) == (1, 8)


def test_the_onnx_file_has_no_step_but_those_of_the_network(run: Path) -> None:
    """Of the layout in which torch computes on a CPU, nothing."""
    model = onnx.load(run / "export" / "model.onnx")
    kinds = {node.op_type for node in model.graph.node}
    assert kinds.isdisjoint({"Transpose", "Squeeze", "Unsqueeze", "Reshape", "Identity"})


def test_the_card_says_what_one_must_know(run: Path) -> None:
    text = (run / "export" / "README.md").read_text()
    result = json.loads((run / "result.json").read_text())
    for part in (
        f"{result['held_out_accuracy']['mean']:.2f} %",
        "over 2 seeds",
        "optimistic",
        f"{result['cost']['params']:,}",
        "mean 0.",
        "model.onnx",
        "model.safetensors",
        "licence",
    ):
        assert part in text
    record = json.loads((run / "export" / "export.json").read_text())
    assert set(record) == {"model.onnx", "model.pt2", "model.safetensors"}


def test_darts_without_its_auxiliary_head(tmp_path: Path) -> None:
    t = tiny.changed(TINY, image_size=16, depth=1, auxiliary=0.4, held_out=0.2)
    data = tiny.images(80)
    morphogen.train("DARTS_V2", space="darts", data=data, training=t, run=tmp_path / "run")
    (done,) = export(tmp_path / "run", ["safetensors"], tmp_path / "out", data=data)
    assert done.path == tmp_path / "out" / "model.safetensors"
    model = morphogen.load(tmp_path / "out")
    assert model(torch.zeros(3, 1, 16, 16)).shape == (3, 4)
    assert "auxiliary" not in str(model._run)


@pytest.mark.slow
def test_own_module(tmp_path: Path) -> None:
    module, data = tiny.own(), tiny.images()
    arch = space_of(module).sample(np.random.default_rng(1))
    run = tmp_path / "run"
    morphogen.train(arch, space=module, data=data, training=TINY, run=run)
    export(run, ["torch-export", "safetensors", "onnx"], space=module, data=data)
    pixels = list(data.pixels[:5].permute(0, 2, 3, 1).numpy())
    file = run / "export" / "model.safetensors"
    with pytest.raises(ConfigError, match="module=YOUR_MODULE"):
        morphogen.load(file)
    model = morphogen.load(file, module=module)
    two = model.predict(pixels)
    three = morphogen.load(run / "export" / "model.onnx").predict(pixels)
    scores = others(run / "export" / "model.pt2")(model.preprocess(pixels))
    for a, b, row in zip(two, three, scores.softmax(1).tolist(), strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
        assert list(a.probabilities.values()) == pytest.approx(row, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "arch"), [("darts", "DARTS_V2"), ("shufflenet-small", "0123012301")]
)
def test_onnx_of_other_spaces(space: str, arch: str, tmp_path: Path) -> None:
    """The export itself compares the file's outputs with the network's, on real images."""
    t = tiny.changed(TINY, image_size=16, depth=3)
    data = tiny.images(80)
    morphogen.train(arch, space=space, data=data, training=t, run=tmp_path / "run")
    (done,) = export(tmp_path / "run", ["onnx"], tmp_path / "out", data=data)
    assert morphogen.load(done.path)(torch.zeros(2, 1, 16, 16)).shape == (2, 4)


# -- what is refused -------------------------------------------------------------------------------


def test_damaged_and_foreign_files_are_sentences(run: Path, tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        body = (run / "export" / f"model{suffix}").read_bytes()
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(body[: len(body) // 2])
        with pytest.raises(DataError, match=r"cannot be read \(.*accepted"):
            morphogen.load(cut)
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no description of their network"):
        morphogen.load(tmp_path / "other.safetensors")
    for name, message in (
        ("none.onnx", "no such file"),
        ("README.md", "not an exported network by its name"),
    ):
        (tmp_path / "README.md").touch()
        with pytest.raises(DataError, match=message):
            morphogen.load(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(DataError, match="a named pipe, not a file"):
        morphogen.load(tmp_path / "pipe.onnx")
    with pytest.raises(DataError, match="holds no exported network"):
        morphogen.load(tmp_path)


def test_what_cannot_be_exported_is_a_sentence(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="onnx"):
        export(run, ["onx"])
    with pytest.raises(RunError, match=r"data of .* was an object of yours"):
        export(run)
    with pytest.raises(RunError, match="holds no run"):
        export(tmp_path)
    odd = tiny.images()
    with pytest.raises(DataError, match="accepted: the data of the training"):
        export(run, data=replace(odd, classes=tuple("abce")))


def test_a_file_that_differs_is_not_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = writing._rebuilt

    def wrong(*given: Any) -> Any:
        inner = read(*given)
        return lambda x: inner(x) + 0.01

    monkeypatch.setattr(writing, "_rebuilt", wrong)
    with pytest.raises(ConfigError, match=r"differ by 0\.01"):
        export(run, ["safetensors"], tmp_path / "out", data=tiny.images())
    assert not (tmp_path / "out").exists()


def test_images_that_do_not_fit_are_sentences(run: Path, tmp_path: Path) -> None:
    model = morphogen.load(run / "export" / "model.safetensors")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"none\.png' cannot be read .no such file"):
        model.predict([tmp_path / "none.png"])
    with pytest.raises(DataError, match=r"text\.png. is not an image"):
        model.predict([tmp_path / "text.png"])
    with pytest.raises(DataError, match="an image is float64"):
        model.predict([np.zeros((8, 8))])  # type: ignore[list-item]
    with pytest.raises(DataError, match="a list of images"):
        model.predict(str(tmp_path / "text.png"))
    with pytest.raises(DataError, match="has 2 channels"):
        model.predict([np.zeros((8, 8, 2), np.uint8)])


# -- what cannot be written ------------------------------------------------------------------------


def test_a_disk_that_is_full(run: Path, tmp_path: Path) -> None:
    """A sentence, the process goes on, and what was there before is intact."""
    out = tmp_path / "out"
    export(run, ["safetensors"], out, data=tiny.images())
    before = {file: file.read_bytes() for file in out.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))  # bytes of a file, as of a disk
        for name in ("torch-export", "safetensors"):
            with pytest.raises(RunError, match=r"cannot write .*model"):
                export(run, [name], out, data=tiny.images())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {file: file.read_bytes() for file in out.iterdir()} == before


@pytest.mark.parametrize("place", ["is a file", "holds a folder of that name", "is long"])
def test_a_place_that_cannot_be_written(place: str, run: Path, tmp_path: Path) -> None:
    out = tmp_path / ("x" * 300 if place == "is long" else "out")
    if place == "is a file":
        out.touch()
    elif place != "is long":
        (out / "model.safetensors" / "mine").mkdir(parents=True)
    with pytest.raises(RunError, match="cannot write"):
        export(run, ["safetensors"], out, data=tiny.images())
    assert place == "is long" or len(list(tmp_path.rglob("*"))) == 1 + 2 * (place != "is a file")


class Early(nn.Module):
    """Leaves early for dark images: its course depends on the values that go in."""

    def __init__(self) -> None:
        super().__init__()
        options = {"1": nn.Conv2d(1, 4, 1), "3": nn.Conv2d(1, 4, 3, padding=1)}
        self.block = morphogen.OneOf(options, name="block")
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores [n, 4]."""
        z = self.block(x).relu().mean((2, 3))
        return self.head(z) if z.mean() > 0.1 else self.head(2 * z)


def test_what_torch_cannot_export(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One sentence with what to do, no graph on stderr; what can be written is, and is recorded."""
    net, data, run = Early(), tiny.images(), tmp_path / "run"
    morphogen.train("block=1", space=net, data=data, training=TINY, run=run)
    capfd.readouterr()
    with pytest.raises(ConfigError, match=r"as torch-export \(.*\); accepted: .*safetensors"):
        export(run, ["safetensors", "torch-export"], space=net, data=data)
    assert capfd.readouterr() == ("", "")
    assert list(json.loads((run / "export" / "export.json").read_text())) == ["model.safetensors"]
    assert "module=YOUR_MODULE" in (run / "export" / "README.md").read_text()
    assert morphogen.load(run / "export", module=net).classes == data.classes
