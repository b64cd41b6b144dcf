"""Training from scratch: against a loop written out, and what is written is what was reached."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from morphogen import spaces
from morphogen.bilevel.optimisers import SGD, Adam, gradient_step
from morphogen.core import ConfigError, DataError, RunError
from morphogen.core.rng import seed_for
from morphogen.engine.resume import resume
from morphogen.engine.train.fitting import _laid_out
from morphogen.engine.train.origin import found_in
from morphogen.engine.train.retrain import train
from morphogen.engine.train.training import (
    TrainedNetwork,
    Training,
    paper_training,
    quick_training,
)
from morphogen.runs.directory import RunDirectory
from morphogen.runs.weights import read_weights
from morphogen.supernets import NetworkSpec, network, reinitialise, space_of
from morphogen.tasks.classification import ImageTask
from morphogen.tasks.classification.config import ImageConfig
from morphogen.tasks.problem import Clock

SPACE = spaces.make("nasbench201")
ARCH = SPACE.parse(
    "|skip_connect~0|+|nor_conv_1x1~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
)
TINY = Training(
    epochs=2,
    batch_size=16,
    held_out=0.1,
    task={"image_size": 8},
    network={"channels": 2, "depth": 1},
    hardware={"threads": 1},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """200 training and 60 test images in a file."""
    return tiny.saved(tmp_path_factory.mktemp("data"), test=60)


def right(net: nn.Module, task: ImageTask, images: Any) -> float:
    """Percent, image by image."""
    net.eval()
    mean, std = torch.tensor(task.mean), torch.tensor(task.std)
    hits = 0
    for pixels, label in zip(images.pixels, images.labels, strict=True):
        x = (pixels.float() / 255 - mean[:, None, None]) / std[:, None, None]
        hits += int(net(x[None]).argmax()) == int(label)
    return 100 * hits / len(images)


@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, 1.0), (0.1, 1.0), (0.1, 3.0)])
def test_as_a_loop_written_out(smoothing: float, weight: float, data: str, tmp_path: Path) -> None:
    t = tiny.changed(TINY, momentum=0.0, clip=0.0, lr=0.2, label_smoothing=smoothing)
    if weight != 1:
        t = tiny.changed(t, class_weights=f"0={weight}")
    found = train(ARCH, data=data, training=t, run=tmp_path / "run")
    task = ImageTask.of(data, valid_images=0.1, size=8, seed=0)
    spec = NetworkSpec(channels=2, depth=1, classes=4, in_channels=1)
    torch.manual_seed(seed_for(0, "weights"))
    net = network(SPACE, ARCH, spec).train()
    stream = task.stream("train", 16, torch.Generator().manual_seed(seed_for(0, "data/train")))
    losses = []
    for epoch in range(2):
        lr = 0.2 * (1 + math.cos(math.pi * epoch / 2)) / 2
        sums = 0.0
        for _ in range(180 // 16):
            x, y, _ = stream.next()
            logs = net(x).log_softmax(1)
            truth = (1 - smoothing) * nn.functional.one_hot(y, 4) + smoothing / 4
            each = -(truth * logs).sum(1)
            loss = torch.where(y == 0, weight * each, each).mean()
            sums += float(loss.detach())
            gradients = torch.autograd.grad(loss, list(net.parameters()))
            with torch.no_grad():
                for w, g in zip(net.parameters(), gradients, strict=True):
                    w -= lr * (g + 5e-4 * w)
        losses.append(sums / 11)
    assert [row["train_loss"] for row in found.history] == pytest.approx(losses, rel=1e-4)
    tensors, signature = read_weights(tmp_path / "run" / "seed-0-last.safetensors")
    for name, value in net.state_dict().items():
        torch.testing.assert_close(tensors[name], value, rtol=1e-3, atol=1e-4)
    assert signature.mean == pytest.approx(task.mean)


def test_what_is_reported_is_what_the_weights_reach(data: str, tmp_path: Path) -> None:
    t = replace(TINY, seeds=2, seed=4)
    found = train(ARCH, data=data, training=t, run=tmp_path / "run")
    task = ImageTask.of(data, valid_images=0.1, size=8, seed=4)
    test = task.open_test("the test of a test").images
    reached, held = [], []
    for seed in (4, 5):
        tensors, signature = read_weights(tmp_path / "run" / f"seed-{seed}-best.safetensors")
        net = network(SPACE, ARCH, signature.network_spec)
        net.load_state_dict(tensors)
        reached.append(right(net, task, test))
        held.append(right(net, task, task.valid))
        rows = [r for r in found.history if r["seed"] == seed]
        best = max(rows, key=lambda r: r["held_out_accuracy"])
        assert signature.origin["epoch"] == best["seed_epoch"]
    assert list(found.test_values) == pytest.approx(reached)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written["held_out_accuracy"]["values"] == pytest.approx(held)
    assert written["test_accuracy"]["mean"] == pytest.approx(sum(reached) / 2)
    assert len(written["test_openings"]) == 1
    assert "180 were trained on and 20 held out" in written["split"]
    assert [p.name for p in found.weights] == [f"seed-{s}-best.safetensors" for s in (4, 5)]
    origin = found_in(tmp_path / "run")
    assert (origin.text, origin.data) == (SPACE.format(ARCH), data)
    assert (origin.space, origin.task) == ({"name": "nasbench201"}, t.task)
    assert RunDirectory.open(tmp_path / "run").is_training


@pytest.fixture(scope="module")
def whole(data: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two seeds that nobody interrupted."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(ARCH, data=data, training=replace(TINY, seeds=2), run=run)
    return run


@pytest.mark.parametrize("stop", [{"steps": 5}, {"epochs": 2}, {"epochs": 3}])
def test_resume_gives_the_same_bits(
    stop: dict[str, int], whole: Path, data: str, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    t = replace(TINY, seeds=2)
    with pytest.raises(KeyboardInterrupt):
        train(ARCH, data=data, training=t, run=cut, watcher=tiny.Stop(**stop))
    resume(cut)
    tiny.assert_same_run(whole, cut)
    for file in whole.glob("*.safetensors"):
        assert file.read_bytes() == (cut / file.name).read_bytes()
    before = (cut / "result.json").read_bytes()
    assert resume(cut).test_values
    assert (cut / "result.json").read_bytes() == before


def test_stops_when_the_held_out_share_gets_no_better(data: str, tmp_path: Path) -> None:
    t = replace(TINY, epochs=12, lr=1e-9, patience=2, seeds=2)
    found = train(ARCH, data=data, training=t, run=tmp_path / "run")
    for seed in (0, 1):
        reached = [r["held_out_accuracy"] for r in found.history if r["seed"] == seed]
        assert len(reached) - (reached.index(max(reached)) + 1) == 2
        assert len(reached) < 12


def test_darts_with_drop_path_and_auxiliary_head(tmp_path: Path) -> None:
    t = tiny.changed(
        replace(quick_training("darts"), task={}),
        epochs=2, batch_size=16, image_size=32, channels=2, depth=3, drop_path=0.5, auxiliary=0.4,
        threads=1,
    )  # fmt: skip
    found = train("DARTS_V2", space="darts", data=tiny.images(80), training=t, run=tmp_path / "run")
    tensors, signature = read_weights(found.weights[0])
    assert not any(name.startswith("auxiliary") for name in tensors)
    net = network(found.space, found.architecture, signature.network_spec)
    net.load_state_dict(tensors)
    assert found.test_values == ()
    assert found.held_out["n"] == 1


def test_own_module_is_drawn_anew_for_every_seed(tmp_path: Path) -> None:
    module = tiny.own()
    t = replace(TINY, epochs=1, lr=1e-12, momentum=0.0, weight_decay=0.0, seeds=2)
    arch = space_of(module).sample(np.random.default_rng(0))
    run = tmp_path / "run"
    train(arch, space=module, data=tiny.images(), training=t, run=run)
    first, second = (read_weights(run / f"seed-{s}-last.safetensors")[0] for s in (0, 1))
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    torch.manual_seed(seed_for(1, "weights"))
    fresh = network(space_of(module), arch, NetworkSpec())
    reinitialise(fresh)
    assert torch.allclose(second["classifier.weight"], fresh.classifier.weight, atol=1e-6)
    kept = tiny.changed(t, fresh_weights=False, seeds=1)
    train(arch, space=module, data=tiny.images(), training=kept, run=tmp_path / "kept")
    same, _ = read_weights(tmp_path / "kept" / "seed-0-last.safetensors")
    assert torch.allclose(same["classifier.weight"], module.classifier.weight, atol=1e-6)
    with pytest.raises(RunError, match=r"space .* was an object of yours"):
        resume(run)


def test_published_protocols() -> None:
    darts = paper_training("darts")
    assert (darts.epochs, darts.batch_size, darts.lr) == (600, 96, 0.025)
    assert darts.network == TrainedNetwork(channels=36, depth=20, drop_path=0.2, auxiliary=0.4)
    assert darts.task == ImageConfig(image_size=0, cutout=16)
    table = paper_training("nasbench201")
    assert (table.epochs, table.batch_size, table.lr, table.held_out) == (200, 256, 0.1, 0)
    with pytest.raises(ConfigError, match="no evaluation protocol for space 'own'"):
        paper_training("own")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"held_out": 0.0}, DataError, "no test part and held_out is 0"),
        ({"batch_size": 500}, DataError, "batch_size is 500"),
        ({"drop_path": 0.2}, ConfigError, "drop_path is 0.2, and the network has none"),
        ({"auxiliary": 0.4}, ConfigError, "auxiliary is 0.4, and the network has no such head"),
        ({"accelerator": "cuda"}, ConfigError, "accelerator 'cuda'"),
    ],
)
def test_mistakes_write_nothing(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        train(
            ARCH, data=tiny.images(), training=tiny.changed(TINY, **changes), run=tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


def test_a_changed_config_is_refused(data: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(ARCH, data=data, training=replace(TINY, epochs=1), run=run)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("epochs: 1", "epochs: 2"))
    with pytest.raises(RunError, match="not as it was written"):
        resume(run)


def test_gradients_in_another_order_of_memory_are_clipped_as_after_backward() -> None:
    """ShuffleNet runs channels-last on the CPU; a norm is a sum in the order of memory."""
    space = spaces.make("shufflenet-small")
    torch.manual_seed(3)
    net = network(space, space.sample(np.random.default_rng(3)), NetworkSpec())
    twin = copy.deepcopy(net)
    x, sgd = torch.randn(8, 3, 32, 32), SGD(clip=0.1)
    weights, optimiser = list(net.parameters()), sgd.make(net.parameters())
    loss = [nn.functional.cross_entropy(n(x), torch.arange(8)) for n in (net, twin)]
    gradient_step(optimiser, weights, loss[0], sgd, Clock(0, 1, 0, 1), _laid_out)
    loss[1].backward()
    nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
    sgd.make(twin.parameters()).step()
    for ours, theirs in zip(weights, twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_training_by_adam_warms_up_as_a_search_does():
    held = Training(optimiser="adam", lr=1e-3, warm_up=100, betas=(0.9, 0.98), weight_decay=0.0)
    assert held.descent == Adam(lr=1e-3, warm_up=100, betas=(0.9, 0.98), weight_decay=0.0, clip=5.0)
    rates = [held.descent.at(Clock.after(step - 1, 3, 200)) for step in (1, 100, 400)]
    assert rates == pytest.approx([1e-5, 1e-3, 5e-4])
    assert isinstance(Training().descent, SGD)
    with pytest.raises(ConfigError, match="warm_up is 100 and optimiser 'sgd'"):
        Training(warm_up=100)
