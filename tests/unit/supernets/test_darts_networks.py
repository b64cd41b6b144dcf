"""Networks of the DARTS space: published sizes, gates, and fused against plain execution."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from morphogen.core import ConfigError, DataError
from morphogen.spaces.darts import DARTS, gdas
from morphogen.spaces.darts_cells import CELLS, EDGES
from morphogen.spaces.robustdarts import s1, s3, s4
from morphogen.supernets import Gates, NetworkSpec, build, frozen_statistics, fused, network
from morphogen.supernets.darts import DARTSSupernet
from morphogen.supernets.darts_network import DARTSNetwork
from morphogen.supernets.fused import mixing, norms
from morphogen.supernets.operations import Noise, Pool

CIFAR = NetworkSpec(channels=36, depth=20)
SMALL = NetworkSpec(channels=4, depth=3)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def meta(arch_name: str, spec: NetworkSpec) -> nn.Module:
    """A published network without memory: sizes only."""
    space = DARTS()
    with torch.device("meta"):
        return network(space, space.parse(arch_name), spec)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def multiply_adds(net: nn.Module, side: int) -> int:
    """Of convolutions and linear layers, for one image."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            per_output = module.weight[0].numel()
        else:
            per_output = module.in_features
        total += per_output * output[0].numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    net.eval()
    net(torch.zeros(1, 3, side, side, device="meta"))
    return total


# -- published sizes -------------------------------------------------------------------------------


@pytest.fixture
def _no_init(monkeypatch):
    """Modules of which only sizes matter are built without drawing their weights: faster."""
    for kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d):
        monkeypatch.setattr(kind, "reset_parameters", lambda self: None)


@pytest.mark.usefixtures("_no_init")
def test_search_network_sizes():
    for classes, wanted in ((10, 1_930_618), (100, 1_953_748)):
        with torch.device("meta"):
            net = build(DARTS(), NetworkSpec(depth=8, classes=classes))
        assert parameters(net) == wanted


@pytest.mark.parametrize(
    ("name", "changes", "wanted"),
    [
        ("DARTS_V2", {}, 3_349_342),
        ("DARTS_V2", {"auxiliary": True}, 3_349_342 + 476_426),
        ("DARTS_V2", {"classes": 100}, 3_401_272),
        ("DARTS_V1", {}, 3_169_414),
        ("GDAS_V1", {}, 3_368_782),
        (
            "DARTS_V2",
            {"channels": 48, "depth": 14, "stem": "imagenet", "classes": 1000},
            4_718_752,
        ),
        (
            "GDAS_V1",
            {"channels": 50, "depth": 14, "stem": "imagenet", "classes": 1000},
            5_345_075,
        ),
    ],
)
@pytest.mark.usefixtures("_no_init")
def test_published_network_sizes(name, changes, wanted):
    spec = NetworkSpec(**{"channels": 36, "depth": 20, **changes})
    assert parameters(meta(name, spec)) == wanted


@pytest.mark.parametrize(
    ("name", "spec", "side", "wanted"),
    [
        ("DARTS_V2", CIFAR, 32, 528.36),
        (
            "DARTS_V2",
            NetworkSpec(channels=48, depth=14, stem="imagenet", classes=1000),
            224,
            529.91,
        ),
        (
            "GDAS_V1",
            NetworkSpec(channels=50, depth=14, stem="imagenet", classes=1000),
            224,
            581.0,
        ),
    ],
)
@pytest.mark.usefixtures("_no_init")
def test_published_multiply_adds(name, spec, side, wanted):
    digits = 2 if name == "DARTS_V2" else 1
    assert round(multiply_adds(meta(name, spec), side) / 1e6, digits) == wanted


@pytest.mark.slow
@pytest.mark.usefixtures("_no_init")
def test_shapes_of_the_search_network_per_cell():
    space = DARTS()
    with torch.device("meta"):
        net = build(space, NetworkSpec(depth=8, execution="plain"))
        x = torch.zeros(2, 3, 32, 32)
    found = []
    for cell in net.cells:
        cell.register_forward_hook(lambda m, i, o: found.append(tuple(o.shape[1:])))
    weights = {g: torch.full(m.shape, 1 / 8, device="meta") for g, m in space.masks.items()}
    assert net(x, Gates.dense(space, weights)).shape == (2, 10)
    assert found == [(64, 32, 32)] * 2 + [(128, 16, 16)] * 3 + [(256, 8, 8)] * 3


def test_reductions_and_preprocessing():
    net = build(DARTS(), NetworkSpec(channels=2, depth=8))
    assert [c.reduction for c in net.cells] == [i in (2, 5) for i in range(8)]
    firsts = [type(c.inputs.first).__name__ for c in net.cells]
    assert [f == "FactorizedReduce" for f in firsts] == [i in (3, 6) for i in range(8)]


def test_affine_flags():
    space = DARTS()
    net = build(space, SMALL)
    inside = [m for c in net.cells for m in c.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(m.affine for m in inside)
    assert net.stem.norm.affine
    assert all(m.norm is not None for m in net.modules() if isinstance(m, Pool))
    alone = network(space, space.parse("DARTS_V2"), SMALL)
    assert all(m.affine for m in alone.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(m.norm is None for m in alone.modules() if isinstance(m, Pool))


# -- the stand-alone network -----------------------------------------------------------------------


def test_auxiliary_scores_in_train_mode_only():
    space = DARTS()
    arch = space.parse("DARTS_V2")
    net = network(space, arch, NetworkSpec(channels=4, depth=3, auxiliary=True))
    assert isinstance(net, DARTSNetwork)
    x = torch.randn(2, 3, 32, 32)
    scores, auxiliary = net(x)
    assert scores.shape == auxiliary.shape == (2, 10)
    auxiliary.sum().backward()
    assert net.classifier.weight.grad is None
    net.eval()
    assert isinstance(net(x), torch.Tensor)
    with pytest.raises(DataError, match="auxiliary head"):
        net.train()(torch.randn(2, 3, 16, 16))


@pytest.mark.usefixtures("_no_init")
def test_auxiliary_head_on_imagenet():
    space = DARTS()
    spec = NetworkSpec(channels=48, depth=14, stem="imagenet", classes=1000, auxiliary=True)
    with torch.device("meta"):
        net = network(space, space.parse("DARTS_V2"), spec)
        scores, auxiliary = net(torch.zeros(2, 3, 224, 224))
    assert scores.shape == auxiliary.shape == (2, 1000)
    norms = [m for m in net.auxiliary.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 1


def test_drop_path_acts_in_train_mode_and_spares_identities():
    space = DARTS()
    node = "skip_connect~0 skip_connect~1"
    cell = " | ".join([node] * 4)
    conv = " | ".join(["sep_conv_3x3~0 sep_conv_3x3~1"] * 4)
    x = torch.randn(4, 3, 16, 16)

    def moves(text: str) -> bool:
        net = network(space, space.parse(text), NetworkSpec(channels=4, depth=2))
        net.drop_path = 0.5
        return not torch.equal(net(x), net(x))

    assert moves(f"normal: {conv} ; reduce: {conv}")
    # At depth 2 both cells reduce: skips are FactorizedReduce from 0 and 1, which are dropped too.
    assert moves(f"normal: {cell} ; reduce: {cell}")
    net = network(space, space.parse(f"normal: {cell} ; reduce: {conv}"), SMALL)
    first = net.cells[0]
    s = torch.randn(4, 12, 16, 16)
    assert torch.equal(first(s, s, 0.5), first(s, s, 0.5))  # a normal cell of identities
    net.drop_path = 0.5
    net.eval()
    assert torch.equal(net(x), net(x))


def test_bad_sizes_are_named():
    space = DARTS()
    with pytest.raises(ConfigError, match="channels 5"):
        build(space, NetworkSpec(channels=5, depth=8))
    with pytest.raises(ConfigError, match="depth 0"):
        build(space, NetworkSpec(channels=4, depth=0))
    net = network(space, space.parse("DARTS_V2"), NetworkSpec(channels=4, depth=4))
    with pytest.raises(DataError, match="multiples of 4"):
        net(torch.randn(2, 3, 30, 30))


def test_pairs_on_one_edge_become_two_operations():
    space = gdas()
    cell = " | ".join(["sep_conv_3x3~0 sep_conv_5x5~0"] * 4)
    net = network(space, space.parse(f"normal: {cell} ; reduce: {cell}"), SMALL)
    assert net.cells[0].wiring == [(0, t) for t in (2, 2, 3, 3, 4, 4, 5, 5)]
    assert net(torch.randn(2, 3, 16, 16)).shape == (2, 10)


# -- gates -----------------------------------------------------------------------------------------


def calls(net: DARTSSupernet) -> dict[str, int]:
    """Counts the executions of every option's module by its name, plain execution."""
    counted: dict[str, int] = {}
    for name, cell in enumerate(net.cells):
        for edge, options in cell.edges.items():
            for option, module in options.items():
                key = f"{name}.{edge}.{option}"
                counted[key] = 0

                def count(m, i, o, key=key):
                    counted[key] += 1

                module.register_forward_hook(count)
    return counted


@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_one_hot_gates_run_one_operation_per_edge_and_train_only_those(execution):
    # As GDAS samples: one live option on each of the 14 edges, whatever it is.
    space = DARTS()
    net = build(space, NetworkSpec(channels=4, depth=3, execution=execution))
    rng = np.random.default_rng(1)
    picks = {g: rng.integers(8, size=14) for g in CELLS}
    picks["normal"][3] = 0  # none: nothing runs on this edge
    weights = {g: torch.eye(8)[torch.from_numpy(p)].requires_grad_() for g, p in picks.items()}
    live = {g: tuple((int(i),) for i in p) for g, p in picks.items()}
    counted = calls(net)
    # Two of three cells are reduction cells at depth 3: at 1 and 2.
    net(torch.randn(2, 3, 16, 16), Gates(weights, live)).sum().backward()
    for number, cell in enumerate(net.cells):
        for row, choice in enumerate(space.groups[cell.kind]):
            for column, option in enumerate(choice.options):
                if option == "none":
                    assert option not in cell.edges[choice.name]
                    continue
                on = column == picks[cell.kind][row]
                if execution == "plain":
                    assert counted[f"{number}.{choice.name}.{option}"] == int(on)
                for parameter in cell.edges[choice.name][option].parameters():
                    assert (parameter.grad is not None) == on
    assert weights["normal"].grad[3].abs().sum() == 0


@pytest.mark.parametrize("execution", ["plain", "fused"])
def test_nothing_but_none_gives_the_bias_of_the_classifier(execution):
    space = DARTS()
    net = build(space, NetworkSpec(channels=4, depth=3, execution=execution))
    live = dict.fromkeys(CELLS, ((0,),) * 14)
    gates = Gates({g: torch.ones(14, 8) for g in CELLS}, live)
    scores = net(torch.randn(2, 3, 16, 16), gates)
    assert torch.equal(scores, net.classifier.bias.expand(2, -1))


def test_a_none_gate_has_no_effect_but_gradient_zero():
    space = s3()
    net = build(space, SMALL)
    x = torch.randn(2, 3, 16, 16)
    a = {g: torch.rand(14, 3) for g in CELLS}
    b = {g: w.clone() for g, w in a.items()}
    for w in b.values():
        w[:, 0] = 7.0
    assert torch.equal(net(x, Gates.dense(space, a)), net(x, Gates.dense(space, b)))


# -- a path of the supernet against the stand-alone network ----------------------------------------


def borrow(alone: DARTSNetwork, net: DARTSSupernet, arch) -> None:
    """Copy a path's weights into the stand-alone network; scale 1 and shift 0 stay as they are."""
    for name in ("stem", "classifier"):
        getattr(alone, name).load_state_dict(getattr(net, name).state_dict())
    for cell, mixed in zip(alone.cells, net.cells, strict=True):
        cell.inputs.load_state_dict(mixed.inputs.state_dict(), strict=False)
        position = 0
        for target in (2, 3, 4, 5):
            for source in range(target):
                edge = f"{mixed.kind}_{target}_{source}"
                for option in arch[edge]:
                    trained = mixed.edges[edge][option].state_dict()
                    cell.operations[position].load_state_dict(trained, strict=False)
                    position += 1


@pytest.mark.parametrize("execution", ["plain", "fused"])
@pytest.mark.parametrize("training", [True, False])
def test_path_equals_stand_alone_network_without_pools(execution, training):
    # Affine norms start as scale 1 and shift 0, so they agree with the supernet's plain ones.
    # Pools cannot agree: the supernet norms them, the stand-alone network does not.
    space = DARTS()
    cell = "sep_conv_3x3~0 sep_conv_5x5~1 | skip_connect~0 dil_conv_3x3~2 | {} | {}".format(
        "dil_conv_5x5~1 skip_connect~2", "sep_conv_3x3~3 skip_connect~4"
    )
    arch = space.parse(f"normal: {cell} ; reduce: {cell}")
    net = build(space, NetworkSpec(channels=4, depth=4, execution=execution))
    alone = network(space, arch, NetworkSpec(channels=4, depth=4))
    x = torch.randn(4, 3, 16, 16)
    net(x, Gates.of(space, arch))  # move the running statistics
    borrow(alone, net, arch)
    net.train(training)
    alone.train(training)
    assert torch.allclose(net(x, Gates.of(space, arch)), alone(x), atol=1e-5)


# -- fused against plain ---------------------------------------------------------------------------


def both(space, spec=SMALL, dtype=torch.float64):
    """Two supernets of the same weights."""
    quick = build(space, spec).to(dtype)
    slow = copy.deepcopy(quick)
    slow.execution = "plain"
    return quick, slow


def soft(space, dtype=torch.float64):
    return {
        g: torch.randn(m.shape, dtype=dtype).softmax(1).requires_grad_()
        for g, m in space.masks.items()
    }


def close(found, wanted, tolerance):
    for f, w in zip(found, wanted, strict=True):
        assert (f is None) == (w is None)
        if w is not None:
            scale = max(1.0, float(w.detach().abs().max()))
            assert float((f - w).detach().abs().max()) <= tolerance * scale


def measured(net, x, gates, weights, *, second=False):
    """Scores, gradients and, if asked for, a second derivative; noise is the same each time."""
    torch.manual_seed(5)
    scores = net(x, gates)
    wanted = [*net.parameters(), *weights.values()]
    loss = scores.square().sum()
    first = torch.autograd.grad(loss, wanted, create_graph=second, allow_unused=True)
    if not second:
        return [scores, *first]
    product = sum(
        (g * torch.linspace(-1, 1, g.numel(), dtype=g.dtype).view_as(g)).sum()
        for g in first
        if g is not None
    )
    return [scores, *first, *torch.autograd.grad(product, wanted, allow_unused=True)]


@pytest.mark.parametrize(
    ("make_space", "side"),
    # At 20 pixels the last cell has 5: odd, so no phases there.
    [(DARTS, 8), pytest.param(DARTS, 20, marks=pytest.mark.slow), (s1, 8), (s3, 8), (s4, 8)],
)
def test_fused_equals_plain(make_space, side):
    space = make_space()
    quick, slow = both(space)
    x = torch.randn(3, 3, side, side, dtype=torch.float64)
    weights = soft(space)
    gates = Gates.dense(space, weights)
    close(measured(quick, x, gates, weights), measured(slow, x, gates, weights), 1e-10)
    close(list(quick.buffers()), list(slow.buffers()), 1e-10)
    assert quick.state_dict().keys() == slow.state_dict().keys()
    quick.eval()
    slow.eval()
    close(measured(quick, x, gates, weights), measured(slow, x, gates, weights), 1e-10)


def test_fused_equals_plain_in_float32(monkeypatch):
    # Without kinks: a pre-activation within rounding error of 0 moves a gradient by 1e-3, between
    # any two orders of summation (the plain form differs so much from itself in float64).
    monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.softplus)
    space = DARTS()
    smooth = {c.name: [o for o in c.options if o != "max_pool_3x3"] for c in space.choices}
    space = space.restrict(smooth)
    quick, slow = both(space, NetworkSpec(channels=8, depth=3), torch.float32)
    x = torch.randn(8, 3, 16, 16)
    weights = soft(space, torch.float32)
    gates = Gates.dense(space, weights)
    close(measured(quick, x, gates, weights), measured(slow, x, gates, weights), 1e-5)
    close(list(quick.buffers()), list(slow.buffers()), 1e-5)


def test_fused_equals_plain_to_the_second_derivative():
    space = DARTS()
    quick, slow = both(space, NetworkSpec(channels=2, depth=2))
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    weights = soft(space)
    gates = Gates.dense(space, weights)
    found, wanted = (measured(net, x, gates, weights, second=True) for net in (quick, slow))
    close(found, wanted, 1e-9)


def test_fused_equals_plain_on_partly_live_gates():
    space = DARTS()
    quick, slow = both(space)
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    rng = np.random.default_rng(2)
    weights = soft(space)

    def live(counts):
        """So many options of each edge, in turn."""
        edges = [counts[i % len(counts)] for i in range(len(EDGES))]
        chosen = (sorted(rng.choice(8, count, replace=False).tolist()) for count in edges)
        return tuple(map(tuple, chosen))

    for counts in ((2,), (1, 0, 3)):
        gates = Gates(weights, {g: live(counts) for g in CELLS})
        assert not gates.path
        close(measured(quick, x, gates, weights), measured(slow, x, gates, weights), 1e-10)
    close(list(quick.buffers()), list(slow.buffers()), 1e-10)
    # In eval mode the norms of pools have statistics of their own, after different histories.
    quick.eval()
    slow.eval()
    close([quick(x, Gates.dense(space, weights))], [slow(x, Gates.dense(space, weights))], 1e-9)


def test_the_form_for_several_processes_is_the_same_function(monkeypatch, tmp_path):
    # A group of one process that believes to be several: every shared statistic takes that path.
    # That two real processes agree with one is tests/unit/supernets/test_fused.py.
    space = DARTS()
    quick, slow = both(space)
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    weights = soft(space)
    gates = Gates.dense(space, weights)
    wanted = measured(slow, x, gates, weights)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1
    )
    try:
        for place in (fused, norms, mixing):
            monkeypatch.setattr(place, "several_processes", lambda: True)
        close(measured(quick, x, gates, weights), wanted, 1e-10)
    finally:
        torch.distributed.destroy_process_group()
    close(list(quick.buffers()), list(slow.buffers()), 1e-10)


def test_frozen_statistics():
    space = DARTS()
    net = build(space, SMALL)
    before = [b.clone() for b in net.buffers()]
    weights = {g: w.detach() for g, w in soft(space, torch.float32).items()}
    x = torch.randn(2, 3, 16, 16)
    with frozen_statistics(net):
        net(x, Gates.dense(space, weights))
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), before, strict=True))
    net(x, Gates.dense(space, weights))
    moved = [not torch.equal(a, b) for a, b in zip(net.buffers(), before, strict=True)]
    assert all(moved)


def test_padded_rows_are_read_by_the_options_of_each_choice():
    space = DARTS().restrict({"normal_2_0": ["sep_conv_5x5", "skip_connect"]})
    assert space.masks["normal"].shape == (14, 8)
    quick, slow = both(space)
    assert sorted(quick.cells[0].edges["normal_2_0"]) == ["sep_conv_5x5", "skip_connect"]
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    weights = soft(space)
    gates = Gates.dense(space, weights)
    close(measured(quick, x, gates, weights), measured(slow, x, gates, weights), 1e-10)
    assert float(torch.autograd.grad(quick(x, gates).sum(), weights["normal"])[0][0, 2:].sum()) == 0


def test_s4_depends_on_torchs_generator_only():
    space = s4()
    net = build(space, SMALL)
    assert any(isinstance(m, Noise) for m in net.modules())
    x = torch.randn(2, 3, 16, 16)
    noise = Gates({g: torch.ones(14, 2) for g in CELLS}, dict.fromkeys(CELLS, ((0,),) * 14))
    torch.manual_seed(1)
    first = net(x, noise)
    torch.manual_seed(1)
    assert torch.equal(net(torch.zeros_like(x), noise), first)
    assert not torch.equal(net(x, noise), first)


def test_autocast_runs_in_bfloat16():
    space = DARTS()
    net = build(space, SMALL)
    weights = soft(space, torch.float32)
    x = torch.randn(4, 3, 16, 16)
    wanted = net(x, Gates.dense(space, weights))
    with torch.autocast("cpu", torch.bfloat16):
        scores = net(x, Gates.dense(space, weights))
    gradients = torch.autograd.grad(
        scores.float().sum(), [*net.parameters(), *weights.values()], allow_unused=True
    )
    assert all(g is None or bool(torch.isfinite(g).all()) for g in gradients)
    assert torch.allclose(scores.float(), wanted, atol=0.2)


def test_functional_call_swaps_the_weights():
    space = s3()
    net = build(space, SMALL)
    weights = {k: p.detach().clone().requires_grad_() for k, p in net.named_parameters()}
    gates = Gates.dense(space, soft(space, torch.float32))
    y = torch.func.functional_call(net, weights, (torch.randn(2, 3, 16, 16), gates))
    used = torch.autograd.grad(y.sum(), list(weights.values()), allow_unused=True)
    assert all(g is not None for g in used)


def test_imagenet_supernet():
    space = s3()
    net = build(space, NetworkSpec(channels=4, depth=3, stem="imagenet"))
    weights = soft(space, torch.float32)
    assert net(torch.randn(2, 3, 64, 64), Gates.dense(space, weights)).shape == (2, 10)
