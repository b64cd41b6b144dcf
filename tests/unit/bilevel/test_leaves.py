"""Leaves share a supernet and nothing else: weights, optimisers and alphas are their own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import tiny
from morphogen import OneOf, spaces
from morphogen.bilevel.leaves import Leaves, left_out
from morphogen.bilevel.optimisers import SGD, Adam
from morphogen.bilevel.state import weight_step
from morphogen.core import CheckpointError
from morphogen.runs import checkpoint
from morphogen.spaces import SubspaceMask
from morphogen.supernets import Gates, build, space_of

SPACE = spaces.make("nasbench201")
EDGE = SPACE.choices[0].name
OPTIONS = SPACE.choices[0].options


def start(space=SPACE, **spec):
    problem = tiny.problem(space, **spec)
    return problem, Leaves(problem, problem.supernet(), SGD(lr=0.1), Adam(lr=0.01))


def exhaustive(leaves):
    return leaves.split(leaves.root, EDGE, [[o] for o in OPTIONS])


def train(problem, leaves, leaf, steps=2):
    """Steps of random paths; returns the losses."""
    leaves.attach(leaf)
    losses = []
    for _ in range(steps):
        path = leaf.mask.sample(problem.numpy_rng)
        gates = Gates.of(problem.space, path)
        batch = problem.batch("train")
        losses.append(weight_step(leaf, problem, batch, gates, SGD(lr=0.1), tiny.CLOCK))
    return losses


def contents(leaf):
    return {name: tensor.clone() for name, tensor in leaf.tensors.items()}


def test_a_leaf_has_the_numbers_of_its_options_and_no_others():
    """few-shot-nas 7.2: the full count less the removed operations of the edge over all cells."""
    _, leaves = start(channels=4)
    full = sum(p.numel() for p in leaves.net.parameters())
    widths = (4, 8, 16)
    of = {
        "nor_conv_1x1": sum(c * c for c in widths),
        "nor_conv_3x3": sum(9 * c * c for c in widths),
    }
    assert leaves.root.numbers == full
    for leaf, kept in zip(exhaustive(leaves), OPTIONS, strict=True):
        assert leaf.numbers == full - sum(n for name, n in of.items() if name != kept)
        ours = {
            id(p)
            for o in OPTIONS
            if o != kept
            for m in leaves.net.options(EDGE, o)
            for p in m.parameters()
        }
        names = {n for n, p in leaves.net.named_parameters() if id(p) in ours}
        assert not names & set(leaf.tensors)


@pytest.mark.parametrize("execution", ["fused", "plain"])
def test_a_leaf_begins_as_its_parent_and_learns_alone(execution):
    """few-shot-nas 7.4 and 7.5: equal logits after the transfer; then all of the path learns."""
    problem, leaves = start(execution=execution)
    train(problem, leaves, leaves.root, 3)
    children = exhaustive(leaves)
    x = problem.batch("valid").x
    for leaf in children:
        path = leaf.mask.sample(problem.numpy_rng)
        gates = Gates.of(SPACE, path)
        with torch.no_grad():
            one, two = (leaves.attach(which).net.eval()(x, gates) for which in (leaves.root, leaf))
        assert torch.equal(one, two)
    leaves.net.train()
    leaf, others = children[3], [leaves.root, *children[:3], children[4]]
    path = SPACE.parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
    )
    before, kept = contents(leaf), [contents(other) for other in others]
    leaves.attach(leaf)
    weight_step(
        leaf, problem, problem.batch("train"), Gates.of(SPACE, path), SGD(lr=0.1), tiny.CLOCK
    )
    leaves.attach(leaves.root)
    on_path = {
        id(p)
        for c in SPACE.choices
        for m in leaves.net.options(c.name, path.one(c.name))
        for p in m.parameters()
    }
    moved = {n for n, t in leaf.tensors.items() if not torch.equal(t, before[n])}
    assert {n for n, p in leaves.net.named_parameters() if id(p) in on_path} <= moved
    assert any(f"{EDGE}.nor_conv_3x3.conv" in name for name in moved)
    for other, old in zip(others, kept, strict=True):
        assert tiny.same(contents(other), old)


def test_what_a_leaf_learns_does_not_depend_on_whose_turn_it_was():
    runs = []
    for turns in ([0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]):
        problem, leaves = start()
        children = leaves.split(leaves.root, EDGE, [OPTIONS[:2], OPTIONS[2:]])
        batches = {
            0: [problem.batch("train") for _ in range(2)],
            1: [problem.batch("train") for _ in range(2)],
        }
        for turn in turns:
            leaf = leaves.attach(children[turn])
            gates = Gates.of(SPACE, SPACE.derive({"cell": leaf.option_masks[0].float().numpy()}))
            weight_step(leaf, problem, batches[turn].pop(0), gates, SGD(lr=0.1), tiny.CLOCK)
        leaves.attach(leaves.root)
        runs.append([contents(leaf) for leaf in (leaves.root, *children)])
    assert tiny.same(runs[0], runs[1])
    assert tiny.same(runs[0], runs[2])


def test_what_is_inherited_and_what_begins_anew():
    """gm-nas 7.10: without a restart weights, momentum and alphas come along; with one, none."""
    problem, leaves = start()
    root = leaves.root
    train(problem, leaves, root, 4)
    with torch.no_grad():
        root.alphas[0].add_(1.0)
    begun = {n: t.clone() for n, t in build_again(problem).items()}
    (heir, _) = leaves.split(root, EDGE, [OPTIONS[:2], OPTIONS[2:]], inherit=True)
    held = dict(leaves.net.named_parameters())
    assert torch.equal(heir.alphas[0], root.alphas[0])
    for name, parameter in held.items():
        theirs = root.weight_optimiser.state.get(parameter, {}).get("momentum_buffer")
        ours = heir.weight_optimiser.state.get(parameter, {}).get("momentum_buffer")
        if name in heir.tensors and theirs is not None:
            assert ours is not theirs
            assert torch.equal(ours, theirs)
        else:
            assert ours is None
    leaves.restart(heir)
    assert not heir.weight_optimiser.state
    assert float(heir.alphas[0].detach().abs().max()) < 0.1
    for name, tensor in heir.tensors.items():
        assert torch.equal(tensor, begun[name])


def build_again(problem):
    net = problem.supernet()
    return {**dict(net.named_parameters()), **dict(net.named_buffers())}


def test_a_checkpoint_holds_every_leaf_and_which_is_attached(tmp_path):
    def begin():
        problem, leaves = start()
        train(problem, leaves, leaves.root)
        return problem, leaves, exhaustive(leaves)

    problem, leaves, children = begin()
    train(problem, leaves, children[2])
    content = {
        "net": leaves.net.state_dict(),
        "leaves": leaves.state_dict(),
        "problem": problem.state_dict(),
    }
    checkpoint.write(tmp_path / "c.pt", content)
    assert (tmp_path / "c.pt").stat().st_size < 8 * 4 * sum(
        x.numbers for x in (leaves.root, *children)
    )
    again, restored = start()
    read = checkpoint.read(tmp_path / "c.pt")
    restored.net.load_state_dict(read["net"])
    restored.load_state_dict(read["leaves"])
    again.load_state_dict(read["problem"])
    assert tiny.same(restored.net.state_dict(), leaves.net.state_dict())
    for which in (2, 4):
        ours = train(again, restored, restored.leaves[which])
        assert (
            torch.stack(ours).tolist()
            == torch.stack(train(problem, leaves, children[which])).tolist()
        )
    one, two = leaves.state_dict(), restored.state_dict()
    assert tiny.same(one, two)
    del two["leaves"][0]["tensors"][next(iter(two["leaves"][0]["tensors"]))]
    with pytest.raises(CheckpointError, match="that its mask leaves"):
        start()[1].load_state_dict(two)


def test_every_architecture_has_its_leaf():
    _, leaves = start()
    children = exhaustive(leaves)
    for arch in SPACE.enumerate()[::601]:
        assert leaves.containing(arch) is children[OPTIONS.index(arch.one(EDGE))]


class Tied(nn.Module):
    """An option whose weight stands outside of it, too, and one that another choice has as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        shared = nn.Conv2d(4, 4, 1)
        self.first = OneOf(
            {"own": nn.Conv2d(4, 4, 1), "shared": shared, "skip": nn.Identity()}, name="first"
        )
        self.second = OneOf({"shared": shared, "own": nn.Conv2d(4, 4, 3, padding=1)}, name="second")
        self.outside = nn.Conv2d(4, 4, 1)
        self.outside.weight = self.first.option("own").weight
        self.head = nn.Linear(4, tiny.CLASSES)

    def forward(self, x):
        return self.head(self.outside(self.second(self.first(self.stem(x)))).mean((2, 3)))


def test_a_tensor_that_anything_else_holds_stays():
    net = build(space_of(Tied()), tiny.problem(space_of(Tied())).spec)
    mask = SubspaceMask.of(net.space, {"first": ["skip"]})
    gone = {name.removeprefix("module.") for name in left_out(net, mask)}
    assert gone == {"first.option_own.bias"}
    both = mask.restrict({"second": ["own"]})
    gone = {name.removeprefix("module.") for name in left_out(net, both)}
    assert gone == {
        "first.option_own.bias",
        "first.option_shared.weight",
        "first.option_shared.bias",
    }
