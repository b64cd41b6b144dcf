"""Options that work in place: every option reads the input as it came, and outputs are new."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from morphogen.core import Architecture, SpaceError
from morphogen.spaces import ModuleSpace
from morphogen.supernets import Gates, NetworkSpec, OneOf, build, space_of
from morphogen.supernets.checks import try_module

X = torch.linspace(-2, 3, 12).reshape(3, 4)


class Fn(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def add(x: Tensor) -> Tensor:
    x += 1
    return x


def past_the_count(x: Tensor) -> Tensor:
    x.data.mul_(3)
    return x


def half(space: ModuleSpace) -> Gates:
    return Gates.dense(space, {g: torch.full(m.shape, 0.5) for g, m in space.masks.items()})


WRITERS = {
    "relu": (nn.ReLU(inplace=True), torch.relu),
    "nested": (nn.Sequential(nn.Identity(), nn.Sequential(nn.SELU(inplace=True))), torch.selu),
    "add": (Fn(add), lambda x: x + 1),
    "method": (Fn(lambda x: x.mul_(2)), lambda x: x * 2),
    "part": (Fn(lambda x: x.clamp_(min=0) + 1), lambda x: x.clamp(min=0) + 1),
    "view": (Fn(lambda x: x.view(-1).neg_().view_as(x)), lambda x: -x),
    "data": (Fn(past_the_count), lambda x: x * 3),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("grad", [True, False])
def test_siblings_and_later_readers_see_the_input_as_it_came(name: str, grad: bool) -> None:
    writer, function = WRITERS[name]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))
            self.pick = OneOf({"in": writer, "skip": nn.Identity(), "again": writer}, name="pick")

        def forward(self, x: Tensor) -> Tensor:
            z = self.scale * x
            return self.pick(z) + z

    supernet = build(space_of(Net()), NetworkSpec())
    z = 2 * X
    for _ in range(2):  # learnt at the first call, known at the second
        with torch.set_grad_enabled(grad):
            out = supernet(X, half(supernet.space))
        torch.testing.assert_close(out, function(z) + 0.5 * z + z)
        if grad:
            out.sum().backward()
    with torch.inference_mode():
        torch.testing.assert_close(supernet(X, half(supernet.space)), function(z) + 1.5 * z)
    for option, value in (("in", function(z)), ("skip", z)):
        path = Gates.of(supernet.space, Architecture({"pick": option}))
        torch.testing.assert_close(supernet(X, path), value + z)


def test_dropout_in_place_works_in_train_mode_only() -> None:
    net = nn.Sequential(
        nn.Linear(4, 4),
        OneOf({"drop": nn.Dropout(0.5, inplace=True), "skip": nn.Identity()}, name="d"),
    )
    supernet = build(space_of(net), NetworkSpec())
    gates = half(supernet.space)
    with torch.no_grad():
        z = net[0](X)
        torch.testing.assert_close(supernet.eval()(X, gates), z)
        torch.manual_seed(0)
        dropped = nn.functional.dropout(z, 0.5)
        torch.manual_seed(0)
        torch.testing.assert_close(supernet.train()(X, gates), 0.5 * dropped + 0.5 * z)


def test_what_a_choice_returns_may_be_changed_in_place() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pick = OneOf(
                {"skip": nn.Identity(), "flat": nn.Flatten(), "t": nn.Tanh()}, name="p"
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.pick(x).mul_(10) + x

    supernet = build(space_of(Net()), NetworkSpec())
    for _ in range(2):
        for option in ("skip", "flat"):
            path = Gates.of(supernet.space, Architecture({"p": option}))
            torch.testing.assert_close(supernet(X.clone(), path), 11 * X)


def test_nobody_else_pays_for_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    net = OneOf({"skip": nn.Tanh(), "relu": nn.ReLU(inplace=True), "id": nn.Identity()}, name="p")
    supernet = build(space_of(net), NetworkSpec())
    supernet(X, half(supernet.space))
    copies: list[Tensor] = []
    clone = Tensor.clone
    monkeypatch.setattr(Tensor, "clone", lambda t: copies.append(t) or clone(t))
    supernet(X, half(supernet.space))
    assert len(copies) == 1


def test_who_begins_to_write_later_is_refused() -> None:
    def now_and_then(x: Tensor) -> Tensor:
        return x.add_(1) if x.sum() > 100 else x + 1

    supernet = build(
        space_of(OneOf({"odd": Fn(now_and_then), "skip": nn.Identity()}, name="p")), NetworkSpec()
    )
    supernet(X, half(supernet.space))
    with pytest.raises(SpaceError) as error:
        supernet(X + 100, half(supernet.space))
    assert str(error.value) == (
        "option 'odd' of choice 'p' changed its input in place, on this input but not on the first "
        "one; accepted: options that always do or never do (x = x + 1 instead of x += 1)"
    )


class Residual(nn.Module):
    """A block beside a way around it, and a classifier."""

    def __init__(self, first: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.pick = OneOf(
            {"pre": nn.Sequential(first, nn.Linear(4, 4)), "skip": nn.Identity()}, name="p"
        )
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        z = self.stem(x)
        return self.after(self.pick(z)) + z


@pytest.mark.parametrize(
    ("net", "path"),
    [
        (Residual(nn.ReLU(inplace=True), nn.Identity()), "p=pre"),
        (Residual(nn.ReLU(), nn.ReLU(inplace=True)), "p=skip"),
        (Residual(nn.ReLU(), nn.ReLU()), None),
    ],
)
def test_a_network_that_is_another_alone_than_in_the_supernet_is_refused(
    net: nn.Module, path: str | None
) -> None:
    def anything(output: object, x: Tensor) -> None:
        assert isinstance(output, Tensor)

    if path is None:
        assert try_module(space_of(net), X, anything) == ()
        return
    with pytest.raises(SpaceError) as error:
        try_module(space_of(net), X, anything)
    assert str(error.value).startswith(f"your module is not what it seems to be with {path}: ")
    # In place where nobody else reads is nobody's business.
    pick = OneOf({"r": nn.ReLU(inplace=True), "s": nn.Identity()}, name="p")
    chain = nn.Sequential(nn.Linear(4, 4), pick, nn.Linear(4, 4), nn.ReLU(inplace=True))
    assert try_module(space_of(chain), X, anything) == ()


def test_a_network_that_only_the_copies_of_the_supernet_could_train_is_refused() -> None:
    """The derivative of the sigmoid needs its output, into which the option writes."""
    net = nn.Sequential(
        nn.Linear(4, 4),
        nn.Sigmoid(),
        OneOf({"relu": nn.ReLU(inplace=True), "skip": nn.Identity()}, name="p"),
    )
    supernet = build(space_of(net), NetworkSpec())
    supernet(X, half(supernet.space)).sum().backward()
    with pytest.raises(SpaceError) as error:
        try_module(space_of(net), X, lambda output, x: None)
    text = str(error.value)
    assert text.startswith("your module with p=relu fails on inputs [3, 4]: one of the variables")
    assert "inplace operation" in text
