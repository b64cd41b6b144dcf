"""ProxylessNAS' networks against published counts; the supernet against the networks.

Parameters and multiply-adds are those that follow from the authors' code; 7.12 M and 465.3 M of the
network for GPUs stand in their log.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

import tiny
from morphogen import cost, spaces
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import BilevelState, weight_step
from morphogen.spaces.proxylessnas import IDENTITY, OPERATIONS
from morphogen.supernets import Gates, NetworkSpec, build, network
from morphogen.supernets.proxylessnas import MBConv

SPACE, WIDE = spaces.make("proxylessnas"), spaces.make("proxylessnas-gpu")
SMALL = spaces.make("proxylessnas-small")
IMAGE = (3, 224, 224)
TINY = NetworkSpec(channels=4, classes=3, in_channels=1)
SHALLOWEST = "1" + "0001" * 5

# Layers of the wide set: multiply-adds in M of the six blocks, to hundredths (card, 3.4).
TABLE = [
    (1, (30.93, 61.87, 34.55, 69.09, 39.97, 79.93)),
    (3, (21.98, 43.95, 26.79, 53.59, 34.02, 68.04)),
    (1, (14.53, 29.05, 15.73, 31.46, 17.54, 35.07)),
    (3, (15.94, 31.87, 18.04, 36.09, 21.21, 42.41)),
    (1, (11.36, 22.72, 11.89, 23.77, 12.68, 25.35)),
    (3, (15.34, 30.69, 16.40, 32.80, 17.98, 35.96)),
    (1, (16.40, 32.80, 17.45, 34.90, 19.03, 38.06)),
    (3, (19.94, 39.89, 21.15, 42.30, 22.96, 45.91)),
    (1, (14.62, 29.24, 14.92, 29.84, 15.37, 30.75)),
    (3, (19.61, 39.21, 20.21, 40.42, 21.11, 42.22)),
    (1, (26.23, 52.46, 26.83, 53.66, 27.73, 55.47)),
]


@pytest.mark.parametrize(
    ("space", "text", "params", "macs"),
    [
        (WIDE, "PROXYLESSNAS_GPU", 7_119_848, 465_260_160),
        (WIDE, "UNAS_GPU", 5_965_528, 428_018_592),
        (WIDE, SHALLOWEST, 3_304_488, 182_479_200),
        (WIDE, "6" * 21, 8_382_408, 1_036_673_856),
        (SPACE, SHALLOWEST, 2_154_984, 102_528_896),
        (SPACE, "2" * 21, 4_684_776, 472_620_800),
        (SPACE, "6" * 21, 5_103_336, 606_590_720),
    ],
)
def test_counts_of_networks(space, text: str, params: int, macs: int) -> None:
    found = cost.of(space, space.parse(text), image=IMAGE)
    assert (found.params, found.macs) == (params, macs)


@pytest.mark.parametrize(
    ("space", "fixed", "mean", "params"),
    [(WIDE, 68_411_904, 654.3, 27_684_320), (SPACE, 42_223_616, 373.3, 16_034_168)],
)
def test_totals_of_the_space(space, fixed: int, mean: float, params: int) -> None:
    costs = cost.of_options(space, image=IMAGE)
    macs, mask = costs.macs["layers"], space.masks["layers"]
    assert costs.rest["macs"] == fixed
    uniform = fixed + float((macs.sum(axis=1) / mask.sum(axis=1)).sum())
    assert uniform / 1e6 == pytest.approx(mean, abs=0.05)
    assert costs.rest["params"] + costs.params["layers"].sum() == params
    rng = np.random.default_rng(0)
    for arch in (space.sample(rng) for _ in range(3)):
        path = (macs * space.one_hot(arch)["layers"]).sum()
        assert cost.of(space, arch, image=IMAGE).macs == fixed + path


def test_every_option_of_every_layer_costs_what_it_should() -> None:
    macs = cost.of_options(WIDE, image=IMAGE).macs["layers"]
    rows = [row for repeats, row in TABLE for _ in range(repeats)]
    for choice, wanted, found in zip(WIDE.choices, rows, macs, strict=True):
        blocks = [found[choice.index(o)] / 1e6 for o in OPERATIONS if o != IDENTITY]
        assert blocks == pytest.approx(wanted, abs=0.0051)
        if IDENTITY in choice.options:
            assert found[choice.index(IDENTITY)] == 0


def test_the_expected_cost_and_its_gradient_are_the_closed_form() -> None:
    """Card, 7.4: the mean over samples, and p_i (T_i - sum p T)."""
    costs = cost.of_options(SMALL, image=(3, 32, 32))
    mask = torch.from_numpy(SMALL.masks["layers"])
    alpha = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0)).double()
    alpha.requires_grad_()
    p = torch.softmax(alpha.masked_fill(~mask, -torch.inf), -1)
    expected = costs.expected(Gates.dense(SMALL, {"layers": p}), "macs")
    macs = torch.from_numpy(costs.macs["layers"])
    (found,) = torch.autograd.grad(expected, alpha)
    torch.testing.assert_close(found, p * (macs - (p * macs).sum(-1, keepdim=True)))
    drawn = torch.multinomial(
        p.detach(), 20_000, replacement=True, generator=torch.Generator().manual_seed(1)
    )
    totals = macs.gather(1, drawn).sum(0)
    error = 3 * float(totals.std()) / 20_000**0.5
    assert float(totals.mean()) == pytest.approx(float(expected.detach()), abs=error)


def test_an_identity_gives_its_input_and_drops_only_in_the_supernet() -> None:
    net, x = build(WIDE, TINY), torch.randn(64, 3, 4, 4)
    (identity,) = net.options("layer_2", IDENTITY)
    dropped = float((identity(x) == 0).float().mean())
    assert dropped == pytest.approx(0.1, abs=0.03)
    assert torch.equal(identity.eval()(x), x)
    alone = network(WIDE, WIDE.parse("UNAS_GPU"), TINY)
    assert type(alone.layers[2]) is nn.Identity
    assert type(build(SPACE, TINY).options("layer_2", IDENTITY)[0]) is nn.Identity


def test_only_what_keeps_its_shape_has_a_residual() -> None:
    net = network(SPACE, SPACE.parse("2" * 21), NetworkSpec(channels=32))
    kept = [block.residual for block in net.layers if isinstance(block, MBConv)]
    assert kept == [False, True, True, True] * 5 + [False]
    assert {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    x = torch.randn(2, 3, 64, 64)
    sides = []
    for layer in net.layers:
        layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    net(x)
    assert sides == [16] * 4 + [8] * 4 + [4] * 8 + [2] * 5


def test_weights_begin_as_the_authors_begin() -> None:
    torch.manual_seed(0)
    net = network(SPACE, SPACE.parse("6" * 21), NetworkSpec(channels=32))
    block = net.layers[19]
    assert block.expand[0].weight.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.02)
    wide = block.depthwise[0].weight.std().item()
    assert wide == pytest.approx((2 / (49 * 1152)) ** 0.5, rel=0.02)
    assert net.ends.classifier.bias is not None


# -- supernet and networks -------------------------------------------------------------------------


def test_a_path_of_the_supernet_is_the_network() -> None:
    arch = SMALL.parse("05316204112")
    torch.manual_seed(0)
    net, supernet = network(SMALL, arch, TINY), build(SMALL, TINY)
    net.ends.load_state_dict(supernet.ends.state_dict())
    for layer, options, choice in zip(net.layers, supernet.layers, SMALL.choices, strict=True):
        layer.load_state_dict(options[arch.one(choice.name)].state_dict())
    x = torch.randn(5, 1, 16, 16)
    path = Gates.of(SMALL, arch)
    soft = Gates(path.weights, path.live)  # the same path, and gates of one that are multiplied
    for gates in (path, soft):
        torch.testing.assert_close(supernet(x, gates), net(x), rtol=1e-5, atol=1e-5)
    net.eval(), supernet.eval()
    torch.testing.assert_close(supernet(x, path), net(x), rtol=1e-5, atol=1e-5)


def test_a_sampled_path_runs_and_keeps_a_path_only() -> None:
    """Card, 7.7 and 7.8: eleven calls, other options untouched, a third of the activations."""
    problem = tiny.problem(SMALL)
    sgd = SGD(lr=0.05, momentum=0.9, weight_decay=0.1)
    state = BilevelState.start(problem, sgd, Adam())
    batch = problem.batch("train")
    calls: list[str] = []
    for choice in SMALL.choices:
        for option in choice.options:
            (module,) = state.net.options(choice.name, option)
            module.register_forward_hook(lambda *_, name=option: calls.append(name))
    arch = SMALL.parse("63521604152")
    before = {k: v.clone() for k, v in state.net.state_dict().items()}
    weight_step(state, problem, batch, Gates.of(SMALL, arch), sgd, tiny.CLOCK)
    weight_step(state, problem, batch, Gates.of(SMALL, arch), sgd, tiny.CLOCK)
    assert calls == 2 * [arch.one(c.name) for c in SMALL.choices]
    live = {f"layers.{i}.{arch.one(c.name)}." for i, c in enumerate(SMALL.choices)}
    for name, value in state.net.state_dict().items():
        used = name.startswith("ends.") or any(name.startswith(part) for part in live)
        assert used != torch.equal(value, before[name]), name

    def saved(gates: Gates) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            output = state.net(torch.randn(32, 1, 16, 16), gates)
        weights = sum(p.untyped_storage().nbytes() for p in state.net.parameters())
        assert output.requires_grad
        return sum(sizes.values()) - weights * (len(gates.live["layers"][0]) > 1)

    mask = torch.from_numpy(SMALL.masks["layers"]).float()
    every = Gates.dense(SMALL, {"layers": mask / mask.sum(1, keepdim=True)})
    assert saved(every) > 3 * saved(Gates.of(SMALL, arch))
