"""Relaxations of a space's groups under masks of live options, and samples for each example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import tiny
from morphogen.bilevel.gates import (
    concrete_gates,
    probabilities,
    sampled_path,
    softmax_gates,
    start_alphas,
)
from morphogen.core import SpaceError
from morphogen.runs import checkpoint
from morphogen.spaces import make
from morphogen.supernets import Gates, NetworkSpec, build, live_masks, space_of

SPACE = make("nasbench201")
EDGE = SPACE.choices[0].name


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def alphas() -> list[torch.Tensor]:
    return start_alphas(SPACE, generator(), torch.device("cpu"), 1.0)


def without_convolutions() -> list[torch.Tensor]:
    kept = ("none", "skip_connect", "avg_pool_3x3")
    return live_masks(SPACE, {choice.name: kept for choice in SPACE.choices})


def test_masks_begin_with_what_the_space_has_and_keep_what_is_allowed() -> None:
    uneven = make("nasbench1shot1-s1")
    for has, mask in zip(uneven.masks.values(), live_masks(uneven), strict=True):
        assert mask.tolist() == has.tolist()
    (mask,) = live_masks(SPACE, {EDGE: ["nor_conv_3x3", "none"]})
    assert mask[0].tolist() == [o in ("nor_conv_3x3", "none") for o in SPACE.choices[0].options]
    assert mask[1:].all()


def test_a_masked_option_is_as_if_its_alpha_were_minus_infinity() -> None:
    live, a = without_convolutions(), alphas()
    gates = softmax_gates(SPACE, a, live)
    weights = gates.weights["cell"]
    wanted = torch.softmax(a[0].masked_fill(~live[0], -torch.inf), -1)
    torch.testing.assert_close(weights, wanted)
    assert gates.live["cell"] == tuple(tuple(r.nonzero().flatten().tolist()) for r in live[0])
    assert torch.equal(gates.mask("cell"), live[0])
    (slope,) = torch.autograd.grad((weights * torch.randn(6, 5)).sum(), a)
    assert (slope[~live[0]] == 0).all()
    assert (slope[live[0]] != 0).all()
    assert probabilities(SPACE, a, live)["cell"] == pytest.approx(wanted.detach().numpy())


def test_masked_options_are_not_executed_and_the_rest_is_the_restricted_space() -> None:
    net = build(SPACE, NetworkSpec(channels=2, depth=1, in_channels=1, execution="plain"))
    live, a, x = without_convolutions(), alphas(), torch.randn(4, 1, 8, 8, generator=generator())
    ran: list[str] = []
    for name, module in net.named_modules():
        if "nor_conv" in name:
            module.register_forward_hook(lambda *_, name=name: ran.append(name))
    out = net(x, softmax_gates(SPACE, a, live))
    assert not ran
    # The same weights in the supernet of the smaller space, alphas of what is left.
    part = SPACE.restrict({c.name: ("none", "skip_connect", "avg_pool_3x3") for c in SPACE.choices})
    small = build(part, NetworkSpec(channels=2, depth=1, in_channels=1, execution="plain"))
    small.load_state_dict({k: v for k, v in net.state_dict().items() if "nor_conv" not in k})
    left = [a[0][live[0]].reshape(6, 3)]
    torch.testing.assert_close(small(x, softmax_gates(part, left)), out)


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_paths_are_drawn_from_what_is_live(tau: float) -> None:
    live, a, g = without_convolutions(), alphas(), generator(1)
    live[0][5] = False  # an edge that has lost everything
    counts = torch.zeros(6, 5)
    for _ in range(300):
        gates = sampled_path(SPACE, a, tau, g, live)
        assert gates.live["cell"][5] == ()
        assert not gates.weights["cell"][5].any()
        for row, options in enumerate(gates.live["cell"][:5]):
            counts[row, options[0]] += 1
            assert gates.weights["cell"][row].detach().argmax() == options[0]
    wanted = torch.softmax(a[0].detach().masked_fill(~live[0], -torch.inf), -1)[:5]
    torch.testing.assert_close(counts[:5] / 300, wanted, atol=0.1, rtol=0)
    assert not counts[~live[0]].any()


def test_concrete_gates_without_masks_are_a_sample_of_all_options() -> None:
    gates = concrete_gates(SPACE, alphas(), 0.5, generator(2))
    torch.testing.assert_close(gates.weights["cell"].sum(-1), torch.ones(6))
    assert gates.live == softmax_gates(SPACE, alphas()).live
    each = concrete_gates(SPACE, alphas(), 0.5, generator(2), examples=7)
    assert each.examples == 7
    assert each.weights["cell"].shape == (7, 6, 5)
    assert len(each.weights["cell"].unique(dim=0)) == 7


def test_options_above_a_threshold_are_live() -> None:
    weights = torch.tensor([[[0.9, 0.06, 0.04]], [[0.02, 0.94, 0.04]]])
    assert Gates.above({"c": weights}, 0.05).live == {"c": ((0, 1),)}
    assert Gates.above({"c": weights[1]}, 0.05).live == {"c": ((1,),)}


SPACES = ("nasbench201", "darts", "nasbench1shot1-s1", "nasbench-macro", "shufflenet-small")


@pytest.mark.parametrize("name", [*SPACES, "own"])
def test_gates_of_each_example_are_a_loop_over_examples(name: str) -> None:
    space = space_of(tiny.smooth()) if name == "own" else make(name)
    sizes = {"channels": 4, "depth": 3 if name == "darts" else 1, "in_channels": 1, "classes": 3}
    net = build(space, NetworkSpec(**sizes)).double().eval()  # statistics of a batch join examples
    g = generator(3)
    x = torch.randn(3, 1, 16, 16, generator=g, dtype=torch.float64)
    a = [w.detach().double().requires_grad_() for w in start_alphas(space, g, x.device, 1.0)]
    gates = concrete_gates(space, a, 0.7, g, examples=3)
    together = net(x, gates)
    one_by_one = torch.cat(
        [
            net(x[i : i + 1], Gates({k: w[i] for k, w in gates.weights.items()}, gates.live))
            for i in range(3)
        ]
    )
    torch.testing.assert_close(together, one_by_one)
    probe = torch.randn(together.shape, generator=g, dtype=torch.float64)
    slopes = [
        torch.autograd.grad((out * probe).sum(), a, retain_graph=True)
        for out in (together, one_by_one)
    ]
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_examples_that_do_not_fit_are_one_sentence() -> None:
    net = build(SPACE, NetworkSpec(channels=2, depth=1, in_channels=1))
    gates = concrete_gates(SPACE, alphas(), 1.0, generator(), examples=3)
    with pytest.raises(SpaceError, match=r"^gates of 3 examples on an output \[2, 2, 8, 8\]"):
        net(torch.randn(2, 1, 8, 8), gates)
    with pytest.raises(SpaceError, match=r"^gates of (3 and no|no and 3) examples"):
        Gates({"a": torch.ones(3, 1, 2), "b": torch.ones(1, 2)}, {"a": ((0,),), "b": ((0,),)})
    with pytest.raises(SpaceError, match=r"^the mask of group 'cell' is \[2, 5\]; accepted: \[6"):
        Gates.dense(SPACE, {"cell": torch.ones(6, 5)}, [torch.ones(2, 5, dtype=torch.bool)])


@pytest.mark.parametrize("name", ["nasbench201", "darts", "signal-darts"])
def test_masked_gates_run_fused_as_option_after_option(name: str) -> None:
    """Any mask, edges that have lost everything among them."""
    space, g = make(name), generator(4)
    sizes = {"channels": 4, "depth": 1 if name == "nasbench201" else 3, "in_channels": 1}
    net = build(space, NetworkSpec(**sizes)).double()
    x = torch.randn(3, 1, *([32] if name.startswith("signal") else [8, 8]), generator=g).double()
    a = [w.detach().double().requires_grad_() for w in start_alphas(space, g, x.device, 1.0)]
    live = [mask & (torch.rand(mask.shape, generator=g) < 0.4) for mask in live_masks(space)]
    for mask in live:
        mask[1] = False
    found = []
    for execution in ("fused", "plain"):
        net.execution = execution
        out = net(x, softmax_gates(space, a, live))
        found.append([out, *torch.autograd.grad(out.square().sum(), a)])
    for fused, plain in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain)
    for mask, slope in zip(live, found[0][1:], strict=True):
        assert not slope[~mask].any()


def test_masks_go_through_a_checkpoint(tmp_path: Path) -> None:
    @dataclass
    class State:
        live: list[torch.Tensor]

    checkpoint.write(
        tmp_path / "state", {"state": checkpoint.capture(State(without_convolutions()))}
    )
    other = State(live_masks(SPACE))
    checkpoint.restore(other, checkpoint.read(tmp_path / "state")["state"])
    assert torch.equal(other.live[0], without_convolutions()[0])
