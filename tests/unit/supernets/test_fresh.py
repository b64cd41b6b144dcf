"""What training from scratch draws anew, what it cannot, and what a user has frozen."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from morphogen.evaluators.recalibration import batch_statistics, recalibrate
from morphogen.supernets import frozen_norms, frozen_parts, reinitialise, train_mode


def drawn(net: nn.Module, seed: int = 3) -> tuple[str, ...]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return reinitialise(net)


class Table(nn.Module):
    """A learnt table, a drawn one that is not learnt, and indices."""

    def __init__(self) -> None:
        super().__init__()
        self.learnt = nn.Parameter(torch.randn(3))
        self.register_buffer("positions", torch.randn(3))
        self.register_buffer("index", torch.arange(3))


class OldStyle(nn.Module):
    """Draws by way of `.data`, and leaves its bias at the value that it has already."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))
        self.register_buffer("scale", torch.ones(1))

    def reset_parameters(self) -> None:
        self.weight.data.normal_()
        self.bias.data.zero_()
        self.scale = torch.full((1,), 2.0)


class Parent(nn.Module):
    """Its own `reset_parameters` reaches one of its two tables."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.missed = Table(), Table()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.seen.learnt)


def test_what_nobody_draws_is_named_and_keeps_its_values() -> None:
    net = nn.Sequential(
        Table(), OldStyle(), Parent(), weight_norm(nn.Linear(2, 2)), nn.BatchNorm1d(2)
    )
    before = copy.deepcopy(net.state_dict())
    left = drawn(net)
    weights = {name.replace("parametrizations.weight.original", "v") for name in left}
    assert weights == {
        *("0.learnt", "0.positions", "2.missed.learnt", "2.missed.positions", "2.seen.positions"),
        *("3.v0", "3.v1"),
    }
    state = net.state_dict()
    assert all(torch.equal(state[name], before[name]) for name in left)
    assert not torch.equal(state["1.weight"], before["1.weight"])
    assert state["1.scale"].item() == 2
    assert not torch.equal(state["3.bias"], before["3.bias"])
    assert all(value.isfinite().all() for value in state.values())


def test_a_spectral_norm_keeps_finite_statistics() -> None:
    net = nn.Sequential(spectral_norm(nn.Linear(3, 3)))
    assert drawn(net) == ("0.parametrizations.weight.original",)
    assert net(torch.ones(1, 3)).isfinite().all()


def backbone() -> nn.Sequential:
    """A frozen part with statistics, in front of one that is trained."""
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False)),
        nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)),
    )
    with torch.no_grad():
        for norm in (net[0][1], net[0][2]):
            norm.running_mean.fill_(0.5)
            norm.running_var.fill_(4.0)
            norm.num_batches_tracked.fill_(7)
    net[0].requires_grad_(False)
    return net


def images(seed: int = 0) -> Tensor:
    return torch.randn(8, 1, 3, 3, generator=torch.Generator().manual_seed(seed))


def test_a_frozen_part_keeps_weights_and_statistics() -> None:
    net = backbone()
    assert [name for name, _ in frozen_parts(net)] == ["0", "0.0", "0.1", "0.2"]
    assert frozen_norms(net) == [net[0][1], net[0][2]]
    before = copy.deepcopy(net.state_dict())
    assert drawn(net) == ()
    train_mode(net)(images())
    with batch_statistics(net):
        net(images())
    recalibrate(net, net, [images()])
    same = {name for name, value in net.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if name.startswith("0.")} | {"1.1.weight", "1.1.bias"}
    assert net[1][1].training
    # The frozen norm uses its own statistics, in training too: (x - 0.5) / 2.
    z = net[0][0](images())
    expected = (z - 0.5) / (4 + 1e-5) ** 0.5
    torch.testing.assert_close(net[0][1](z), expected)


def test_nothing_is_frozen_where_something_around_is_trained() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, affine=False))
    assert frozen_norms(net) == []
    net[0].bias.requires_grad_(False)
    assert list(frozen_parts(net)) == []
    bias = net[0].bias.clone()
    drawn(net)
    assert torch.equal(net[0].bias, bias)  # one frozen weight among others stays too
    assert frozen_norms(nn.BatchNorm2d(2, affine=False)) == []
