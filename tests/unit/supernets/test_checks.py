"""A user's module is tried before a search: what it raises, reaches, and learns."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from morphogen.core import ConfigError, SpaceError
from morphogen.supernets import NetworkSpec, OneOf, build, network, space_of
from morphogen.supernets.checks import is_lazy, materialised, try_module

X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def anything(output: object, x: Tensor) -> None:
    """Accepts every output."""


class Net(nn.Module):
    """A choice, and whatever `use` makes of it."""

    def __init__(self, use: Callable[[Net, Tensor], object]) -> None:
        super().__init__()
        self.use = use
        self.block = OneOf(
            {"3": nn.Conv2d(3, 4, 3, padding=1), "1": nn.Conv2d(3, 4, 1)}, name="block"
        )
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> object:
        return self.use(self, x)


def scores(net: Net, x: Tensor) -> Tensor:
    return net.head(net.block(x).mean((2, 3)))


def refusal(net: nn.Module, x: Tensor = X) -> str:
    with pytest.raises((SpaceError, ConfigError)) as error:
        try_module(space_of(net), x, anything)
    return str(error.value)


def without_gradient(net: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        return scores(net, x)


def changed_later(net: Net, x: Tensor) -> Tensor:
    z = net.block(x).tanh()
    y = z * z
    z.add_(1)
    return net.head(y.mean((2, 3)))


def own_error(net: Net, x: Tensor) -> Tensor:
    raise KeyError("boom")


def test_what_a_module_raises_is_named_with_its_place() -> None:
    wrong = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())
    net = nn.Sequential(OneOf({"a": wrong, "b": nn.Conv2d(3, 4, 1)}, name="k"), nn.Flatten())
    assert refusal(net).startswith(
        "your module fails on inputs [2, 3, 8, 8] in '0.a.0' (Conv2d): Given groups=1, weight of"
    )
    assert refusal(Net(own_error)) == (
        "your module fails on inputs [2, 3, 8, 8]: KeyError: 'boom'; accepted: one that takes them"
    )
    assert "the backward pass of your module fails on inputs [2, 3, 8, 8]: one of the vari" in (
        refusal(Net(changed_later))
    )
    with pytest.raises(SpaceError) as error:
        try_module(space_of(Net(own_error)), X, anything)
    assert isinstance(error.value.__cause__, KeyError)


def test_want_of_memory_is_not_the_modules_mistake() -> None:
    def full(net: Net, x: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        try_module(space_of(Net(full)), X, anything)


def test_a_module_without_a_gradient_is_refused() -> None:
    assert refusal(Net(without_gradient)).startswith(
        "the scores of your module have no gradient by any of its 6 weights, so that nothing can"
    )


def test_one_value_per_channel_is_refused() -> None:
    net = nn.Sequential(Net(scores), nn.BatchNorm1d(2))
    assert try_module(space_of(net), X, anything) == ()
    assert refusal(net, X[:1]) == (
        "a batch norm of the network has one value per channel in a batch of inputs [1, 3, 8, 8], "
        "and nothing to normalise by; accepted: a larger batch_size, or larger inputs"
    )


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (scores, None),
        (
            lambda net, x: net.head(x[:, :1].mean((2, 3)).expand(-1, 4)),
            "choice 'block' decides nothing: the forward pass of your module did not reach it, in "
            "train mode nor in evaluation mode",
        ),
        (
            lambda net, x: scores(net, x) if net.training else net.head(torch.zeros(len(x), 4)),
            "choice 'block' is reached in train mode only: in evaluation mode it decides nothing",
        ),
        (
            lambda net, x: net.head(torch.zeros(len(x), 4)) if net.training else scores(net, x),
            "choice 'block' is reached in evaluation mode only: in train mode it decides nothing",
        ),
    ],
)
def test_choices_that_are_not_reached_are_told(
    use: Callable[..., object], said: str | None
) -> None:
    assert try_module(space_of(Net(use)), X, anything) == (() if said is None else (said,))


def test_the_user_s_module_and_generator_stay_as_they_are() -> None:
    net = nn.Sequential(Net(scores), nn.BatchNorm1d(2), nn.Dropout())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    try_module(space_of(net), X, anything)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight.grad is None for weight in net.parameters())


def lazy() -> nn.Module:
    choice = OneOf({"3": nn.LazyConv2d(4, 3, padding=1), "1": nn.LazyConv2d(4, 1)}, name="k")
    return nn.Sequential(choice, nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))


def test_lazy_layers_take_their_sizes_from_the_images() -> None:
    net = lazy()
    space = space_of(net)
    assert is_lazy(space)
    known = materialised(space, X, seed=1)
    assert known == space
    assert not is_lazy(known)
    assert is_lazy(space)  # the user's own is as it was
    assert network(known, known.parse("k=3"), NetworkSpec())[0].weight.shape == (4, 3, 3, 3)
    supernet = build(known, NetworkSpec())
    assert supernet.module[3].in_features == 4 * 8 * 8
    assert supernet.module[1].num_batches_tracked.item() == 0
    again = build(materialised(space_of(lazy()), X, seed=1), NetworkSpec())
    other = build(materialised(space, X, seed=2), NetworkSpec())
    assert torch.equal(again.module[3].weight, supernet.module[3].weight)
    assert not torch.equal(other.module[3].weight, supernet.module[3].weight)
    assert materialised(known, X, seed=3) is known


def test_lazy_layers_out_of_reach_are_refused() -> None:
    net = Net(scores)
    net.aside = nn.LazyLinear(3)
    with pytest.raises(SpaceError, match=r"lazy layers that .* not reach \(aside.weight, aside.b"):
        materialised(space_of(net), X, seed=0)


class Locked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("net", "parts"),
    [
        (
            Net(scores).double(),
            ["weights of torch.float64 (block.option_3.weight)", "module.float"],
        ),
        (Net(scores).to("meta"), ["without values, on the device meta", "to_empty"]),
        (nn.Sequential(Net(scores), Locked()), ["Sequential cannot be copied", "lock", "deepcopy"]),
    ],
    ids=["double", "meta", "lock"],
)
def test_modules_of_another_kind_are_refused(net: nn.Module, parts: list[str]) -> None:
    text = refusal(net)
    assert all(part in text for part in parts), text


@pytest.mark.parametrize(
    ("thing", "parts"),
    [
        (
            lambda: Net,
            ["module is the class Net; accepted: an instance of torch.nn.Module", "Net(...)"],
        ),
        (lambda: int, ["module is the class int; accepted: an instance"]),
        (lambda: [Net(scores)], ["module is of type list; accepted: an instance"]),
        (lambda: None, ["module is of type NoneType"]),
        pytest.param(
            lambda: torch.compile(Net(scores), backend="eager"),
            ["compiled by torch.compile", "the module itself"],
            marks=pytest.mark.slow,  # importing the compiler takes long
        ),
        (
            lambda: nn.Sequential(
                OneOf({"a": torch.jit.script(nn.Linear(2, 2)), "b": nn.ReLU()}, name="k")
            ),
            ["0.option_a of the module is a torch.jit script"],
        ),
    ],
    ids=["class", "other-class", "list", "none", "compiled", "script"],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_is_no_searchable_module_is_refused(
    thing: Callable[[], nn.Module], parts: list[str]
) -> None:
    module = thing()
    with pytest.raises(SpaceError) as error:
        space_of(module)
    assert all(part in str(error.value) for part in parts), error.value


def test_options_without_names_are_refused() -> None:
    with pytest.raises(SpaceError) as error:
        OneOf([nn.ReLU(), nn.Tanh()], name="k")  # type: ignore[arg-type]
    assert str(error.value) == (
        "options of choice 'k' are a list; accepted: a dictionary from names to modules, "
        '{"conv": nn.Conv2d(...), "skip": nn.Identity()}'
    )
