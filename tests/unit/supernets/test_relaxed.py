"""Relaxed: a supernet and its alpha as one plain module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from morphogen.supernets import (
    Gates,
    ModuleSupernet,
    OneOf,
    Relaxed,
    space_of,
)
from morphogen.supernets.relaxations import softmax
from morphogen.testing.toys import OwnNetwork


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relaxed(seed: int = 0, **more: object) -> Relaxed:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        supernet = ModuleSupernet(space_of(OwnNetwork(classes=4)))
    return Relaxed(supernet, generator=generator(seed), **more)  # type: ignore[arg-type]


def images(batch: int = 8) -> Tensor:
    return torch.randn(batch, 3, 16, 16, generator=generator(1))


def test_forward_is_the_supernet_under_softmax_gates() -> None:
    net, x = relaxed(scale=1.0).eval(), images()
    space = net.supernet.space
    gates = Gates.dense(space, {g: a.softmax(-1) for g, a in net.alphas.items()})
    assert torch.equal(net(x), net.supernet(x, gates))
    assert {g: w.shape for g, w in net.gates().weights.items()} == {
        "block1": (1, 3),
        "block2": (1, 3),
        "pool": (1, 2),
    }


def test_alpha_is_drawn_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    one = Relaxed(relaxed().supernet, generator=generator(3))
    two = Relaxed(relaxed().supernet, generator=generator(3))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(one.architecture_parameters(), two.architecture_parameters(), strict=True):
        assert torch.equal(a, b)
    alphas = torch.cat([a.flatten() for a in one.architecture_parameters()])
    assert 0 < alphas.abs().max() < 1e-2
    reference = generator(3)
    assert torch.equal(one.alphas["block1"], 1e-3 * torch.randn(1, 3, generator=reference))


def test_softmax_gives_absent_options_nothing() -> None:
    alpha = torch.zeros(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    weights = softmax(alpha, mask)
    torch.testing.assert_close(weights.detach(), torch.tensor([[1 / 3] * 3, [0.5, 0.5, 0.0]]))
    (weights * torch.arange(3.0)).sum().backward()
    assert alpha.grad is not None
    assert alpha.grad.isfinite().all()
    assert alpha.grad[1, 2] == 0


def test_weights_and_alphas_never_share_a_tensor() -> None:
    net = relaxed()
    weights = {id(p) for p in net.weights()}
    alphas = {id(p) for p in net.architecture_parameters()}
    assert len(alphas) == 3
    assert not weights & alphas
    assert weights | alphas == {id(p) for p in net.parameters()}
    assert all(isinstance(p, nn.Parameter) for p in net.architecture_parameters())


def test_functional_call_reads_the_tensors_it_is_given() -> None:
    net, x = relaxed().eval(), images()
    state = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    other = {**state, "alpha_pool": torch.tensor([[30.0, -30.0]])}
    out = functional_call(net, other, (x,))
    assert not torch.equal(out, net(x))
    expected = copy.deepcopy(net)
    expected.load_state_dict({"alpha_pool": other["alpha_pool"]}, strict=False)
    torch.testing.assert_close(out, expected(x))

    def loss(alpha: Tensor) -> Tensor:
        return functional_call(net, {**state, "alpha_block1": alpha}, (x,)).square().mean()

    by_transform = grad(loss)(net.alphas["block1"].detach())
    net(x).square().mean().backward()
    torch.testing.assert_close(by_transform, net.alphas["block1"].grad)


def test_state_dict_round_trip() -> None:
    one, two, x = relaxed(0).eval(), relaxed(1).eval(), images()
    assert not torch.equal(one(x), two(x))
    state = one.state_dict()
    assert [k for k in state if not k.startswith("supernet.")] == [
        "alpha_block1",
        "alpha_block2",
        "alpha_pool",
    ]
    two.load_state_dict(state)
    assert torch.equal(one(x), two(x))
    assert torch.equal(copy.deepcopy(one)(x), one(x))


def test_groups_may_have_the_names_of_torch_methods() -> None:
    module = OneOf({"a": nn.Identity(), "b": nn.Tanh()}, name="keys")
    net = Relaxed(ModuleSupernet(space_of(module)), generator=generator())
    assert net(torch.ones(2)).shape == (2,)


def test_other_dtypes_follow_the_module() -> None:
    net = relaxed().double().eval()
    assert net(images().double()).dtype == torch.float64
    assert net.alphas["pool"].dtype == torch.float64


def test_derive_follows_the_rule_of_the_space() -> None:
    net = relaxed()
    with torch.no_grad():
        net.alphas["block1"].copy_(torch.tensor([[0.0, 0.1, 0.2]]))
        net.alphas["block2"].copy_(torch.tensor([[0.3, 0.1, 0.2]]))
        net.alphas["pool"].copy_(torch.tensor([[-1.0, 1.0]]))
    space = net.supernet.space
    assert space.format(net.derive()) == "block1=skip;block2=conv3;pool=max"
    flipped = net.derive(lambda alpha, mask: softmax(-alpha, mask))
    assert space.format(flipped) == "block1=conv3;block2=separable;pool=average"


def test_a_relaxation_that_draws() -> None:
    noise = generator(9)

    def concrete(alpha: Tensor, mask: Tensor) -> Tensor:
        gumbel = -torch.empty_like(alpha).exponential_(generator=noise).log()
        return softmax(alpha + gumbel, mask)

    net, x = relaxed(relaxation=concrete).eval(), images()
    assert not torch.equal(net(x), net(x))
    assert net.derive(softmax) == net.derive(softmax)


def test_two_optimisers_learn_a_toy_problem() -> None:
    class Net(nn.Module):
        """Only `square` can fit; the scale before it is a weight."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(0.5))
            self.shape = OneOf(
                {"tanh": nn.Tanh(), "square": Square(), "id": nn.Identity()}, name="f"
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.shape(self.scale * x)

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x

    net = Relaxed(ModuleSupernet(space_of(Net())), generator=generator())
    inner = torch.optim.SGD(net.weights(), lr=0.02)
    outer = torch.optim.Adam(net.architecture_parameters(), lr=0.05)
    x = torch.linspace(-1, 1, 40)[:, None]
    train, valid = x[::2], x[1::2]

    def loss(batch: Tensor) -> Tensor:
        return (net(batch) - 2 * batch**2).square().mean()

    first = loss(x).item()
    for _ in range(200):
        before = [a.detach().clone() for a in net.architecture_parameters()]
        inner.zero_grad()
        loss(train).backward()
        inner.step()
        for a, b in zip(net.architecture_parameters(), before, strict=True):
            assert torch.equal(a, b)  # the weights' optimiser leaves alpha alone
        outer.zero_grad()
        loss(valid).backward()
        outer.step()
    assert loss(x).item() < 0.1 * first
    assert net.supernet.space.format(net.derive()) == "f=square"


@pytest.mark.parametrize("training", [True, False])
def test_every_alpha_gets_a_gradient(training: bool) -> None:
    net = relaxed().train(training)
    net(images()).square().sum().backward()
    for alpha in net.architecture_parameters():
        assert alpha.grad is not None
        assert alpha.grad.abs().sum() > 0
