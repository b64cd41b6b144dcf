"""OneOf, ModuleSpace, ModuleSupernet and the stand-alone networks of a user's own module."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

import morphogen
from morphogen.core import Architecture, SpaceError, UnknownNameError
from morphogen.spaces import (
    Differentiable,
    Discrete,
    Encodable,
    ModuleSpace,
    Restrictable,
    capabilities,
)
from morphogen.supernets import (
    Gates,
    ModuleSupernet,
    NetworkSpec,
    OneOf,
    build,
    frozen_statistics,
    inherit,
    network,
    reinitialise,
    space_of,
)
from morphogen.supernets.checks import check
from morphogen.testing.toys import OwnNetwork

SPEC = NetworkSpec()


class Counted(nn.Module):
    """Multiplies by a parameter and counts its calls."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.factor


class Toy(nn.Module):
    """One choice, and a nested one inside its first option."""

    def __init__(self) -> None:
        super().__init__()
        inner = OneOf({"two": Counted(2.0), "three": Counted(3.0)}, name="inner")
        self.outer = OneOf({"deep": nn.Sequential(inner), "five": Counted(5.0)}, name="outer")

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(x) + 1


class Shared(nn.Module):
    """Two places, one decision, weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = OneOf({"a": Counted(2.0), "b": Counted(3.0)}, name="both", shared=True)
        self.second = OneOf({"a": Counted(5.0), "b": Counted(7.0)}, name="both", shared=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


def own() -> OwnNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OwnNetwork()


def images(batch: int = 4) -> Tensor:
    return torch.randn(batch, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def soft(space: ModuleSpace, seed: int = 0, *, dtype: torch.dtype = torch.float32) -> Gates:
    rng = torch.Generator().manual_seed(seed)
    return Gates.dense(
        space,
        {
            g: torch.rand(m.shape, generator=rng).to(dtype).requires_grad_()
            for g, m in space.masks.items()
        },
    )


def calls(module: nn.Module) -> list[int]:
    return [m.calls for m in module.modules() if isinstance(m, Counted)]


# -- the space -----------------------------------------------------------------------------------


def test_space_is_found_by_walking() -> None:
    space = space_of(own())
    assert [(c.name, c.options, c.group) for c in space.choices] == [
        ("block1", ("conv3", "separable", "skip"), "block1"),
        ("block2", ("conv3", "separable", "skip"), "block2"),
        ("pool", ("average", "max"), "pool"),
    ]
    assert space.name == "own"
    assert space.size() == len(space.enumerate()) == 18
    assert {g: m.shape for g, m in space.masks.items()} == {
        "block1": (1, 3),
        "block2": (1, 3),
        "pool": (1, 2),
    }
    assert capabilities(space) == (Discrete, Differentiable, Encodable, Restrictable)
    text = "block1=skip;block2=conv3;pool=max"
    assert space.format(space.parse(text)) == text


def test_one_of_is_reached_from_the_top_package() -> None:
    assert morphogen.OneOf is OneOf
    assert morphogen.space_of is space_of
    assert "OneOf" in dir(morphogen)
    with pytest.raises(AttributeError, match="no attribute 'TwoOf'"):
        _ = morphogen.TwoOf


def test_the_top_package_does_not_import_torch() -> None:
    code = "import morphogen, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_equality_and_hash_leave_the_module_out() -> None:
    one, other = space_of(own()), space_of(own())
    bare = ModuleSpace("own", one.choices)
    assert one == other == bare
    assert len({one, other, bare}) == 1
    assert one != space_of(own(), name="mine")
    assert copy.deepcopy(one).module is one.module
    again = pickle.loads(pickle.dumps(one))  # spawned processes receive the module with the space
    assert again == one
    assert isinstance(again.module, OwnNetwork)
    with pytest.raises(SpaceError, match="no module to build networks from; find it with"):
        build(bare, SPEC)


def test_one_module_in_two_places_is_one_choice() -> None:
    block = OneOf({"a": Counted(2.0), "b": Counted(3.0)}, name="twice")
    net = nn.Sequential(block, block)
    space = space_of(net)
    assert [c.name for c in space.choices] == ["twice"]
    assert network(space, space.parse("twice=b"), SPEC)(torch.ones(1)).item() == 9
    assert build(space, SPEC)(torch.ones(1), Gates.of(space, space.parse("twice=a"))).item() == 4


def test_the_module_may_be_a_choice_itself() -> None:
    space = space_of(OneOf({"a": Counted(2.0), "b": Counted(3.0)}, name="all"))
    net = network(space, space.parse("all=b"), SPEC)
    assert type(net) is Counted
    assert net(torch.ones(1)).item() == 3


# -- forward -------------------------------------------------------------------------------------


def test_soft_forward_is_the_weighted_sum_written_by_hand() -> None:
    net, x = own().eval(), images()
    supernet = build(space_of(net), SPEC)
    gates = soft(supernet.space)
    w = gates.weights

    def mix(block: OneOf, h: Tensor) -> Tensor:
        return sum(w[block.name][0, i] * block.option(o)(h) for i, o in enumerate(block.options))

    h = mix(net.block1, net.stem(x))
    h = h + 0.1 * h.mean()
    h = mix(net.block2, net.down(h).relu())
    expected = net.classifier(mix(net.pool, h).flatten(1))
    torch.testing.assert_close(supernet(x, gates), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_one_hot_is_the_stand_alone_network_bit_for_bit(training: bool) -> None:
    space, x = space_of(own()), images()
    for arch in space.enumerate():
        net = network(space, arch, SPEC).train(training)
        scores = net(x)
        scores.square().sum().backward()
        path = Gates.of(space, arch)
        for gates in (path, Gates(path.weights, path.live)):  # without and with a multiplication
            supernet = build(space, SPEC).train(training)
            output = supernet(x, gates)
            output.square().sum().backward()
            assert torch.equal(output, scores), arch
            heir = inherit(supernet, arch).state_dict()  # batch norm statistics moved alike
            assert all(torch.equal(v, heir[k]) for k, v in net.state_dict().items())
            assert heir.keys() == net.state_dict().keys()
            live = [p.grad for p in supernet.parameters() if p.grad is not None]
            alone = [p.grad for p in net.parameters() if p.grad is not None]
            assert all(torch.equal(a, b) for a, b in zip(live, alone, strict=True))


def test_gradient_of_gates_equals_finite_differences() -> None:
    net = own().double().eval()
    supernet, x = build(space_of(net), SPEC), images(2).double()
    start = soft(supernet.space, dtype=torch.float64)
    names = list(start.weights)

    def loss(*matrices: Tensor) -> Tensor:
        gates = Gates(dict(zip(names, matrices, strict=True)), start.live)
        return supernet(x, gates).square().mean()

    values = [start.weights[n].detach().clone().requires_grad_() for n in names]
    grads = torch.autograd.grad(loss(*values), values)
    step = 1e-6
    for i, matrix in enumerate(values):
        for column in range(matrix.shape[1]):
            up, down = ([v.detach().clone() for v in values] for _ in range(2))
            up[i][0, column] += step
            down[i][0, column] -= step
            numeric = (loss(*up) - loss(*down)) / (2 * step)
            assert grads[i][0, column].item() == pytest.approx(numeric.item(), rel=1e-5, abs=1e-8)


def test_dead_options_are_not_executed_and_get_no_gradient() -> None:
    supernet = build(space_of(Toy()), SPEC)
    space = supernet.space
    y = supernet(torch.ones(1), Gates.of(space, space.parse("outer=five;inner=two")))
    y.sum().backward()
    assert y.item() == 6
    assert calls(supernet) == [0, 0, 1]  # two and three are nested in an option that is off
    grads = [p.grad for p in supernet.parameters()]
    assert grads[:2] == [None, None]
    assert grads[2] is not None


def test_a_masked_option_is_off_whatever_its_weight() -> None:
    supernet = build(space_of(Toy()), SPEC)
    weights = {"outer": torch.tensor([[0.5, 0.25]]), "inner": torch.tensor([[0.5, 9.0]])}
    gates = Gates(weights, {"outer": ((0, 1),), "inner": ((0,),)})
    assert supernet(torch.ones(1), gates).item() == 0.5 * 0.5 * 2 + 0.25 * 5 + 1
    assert calls(supernet) == [1, 0, 1]


def test_nested_choices_multiply_their_gates() -> None:
    supernet = build(space_of(Toy()), SPEC)
    assert [c.name for c in supernet.space.choices] == ["outer", "inner"]
    gates = soft(supernet.space)
    outer, inner = gates.weights["outer"][0], gates.weights["inner"][0]
    expected = outer[0] * (inner[0] * 2 + inner[1] * 3) + outer[1] * 5 + 1
    torch.testing.assert_close(supernet(torch.ones(1), gates), expected.reshape(1))


def test_choices_without_effect_are_remarked() -> None:
    space = space_of(Toy())
    assert space.remarks(space.parse("outer=deep;inner=two")) == ()
    assert space.remarks(space.parse("outer=five;inner=two")) == (
        "choice 'inner' has no effect: it is inside an option that is not taken",
    )


def test_shared_choices_are_one_decision() -> None:
    supernet = build(space_of(Shared()), SPEC)
    space = supernet.space
    assert space.size() == 2
    for option, value in (("a", 10), ("b", 21)):
        arch = space.parse(f"both={option}")
        assert supernet(torch.ones(1), Gates.of(space, arch)).item() == value
        assert network(space, arch, SPEC)(torch.ones(1)).item() == value
    gates = soft(space)
    a, b = gates.weights["both"][0]
    torch.testing.assert_close(
        supernet(torch.ones(1), gates), ((2 * a + 3 * b) * (5 * a + 7 * b)).reshape(1)
    )


def test_unit_gates_skip_the_multiplication_and_straight_through_does_not() -> None:
    supernet = build(space_of(Toy()), SPEC)
    space = supernet.space
    ones = Gates.of(space, space.parse("outer=five;inner=two"))
    poisoned = Gates({g: w * torch.nan for g, w in ones.weights.items()}, ones.live, unit=True)
    assert supernet(torch.ones(1), poisoned).item() == 6  # the weights are not even read
    alpha = torch.zeros(1, 2, requires_grad=True)
    probability = alpha.softmax(-1)
    hard = {**ones.weights, "outer": ones.weights["outer"] + probability - probability.detach()}
    y = supernet(torch.ones(1), Gates(hard, ones.live))
    assert y.item() == 6
    y.backward()
    assert alpha.grad is not None
    torch.testing.assert_close(alpha.grad, torch.tensor([[-1.25, 1.25]]))  # 5 * p * (1 - p)
    assert calls(supernet) == [0, 0, 2]


def test_unit_gates_with_several_live_options_sum_them() -> None:
    supernet = build(space_of(Shared()), SPEC)
    gates = Gates({"both": torch.full((1, 2), torch.nan)}, {"both": ((0, 1),)}, unit=True)
    assert supernet(torch.ones(1), gates).item() == (2 + 3) * (5 + 7)


def test_options_receive_all_arguments_and_may_return_anything_on_a_path() -> None:
    class Attend(nn.Module):
        def forward(self, q: Tensor, *, scale: float) -> tuple[Tensor, float]:
            return q * scale, scale

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = OneOf({"a": Attend(), "b": Attend()}, name="attend")

        def forward(self, x: Tensor) -> Tensor:
            return self.attend(x, scale=3.0)[0]

    supernet = build(space_of(Net()), SPEC)
    assert supernet(torch.ones(1), Gates.of(supernet.space, Architecture({"attend": "a"}))) == 3
    with pytest.raises(SpaceError) as error:
        supernet(torch.ones(1), soft(supernet.space))
    assert str(error.value) == (
        "option 'a' of choice 'attend' returns a tuple; accepted under soft gates: one tensor"
    )


def test_bfloat16_autocast_keeps_the_low_precision() -> None:
    supernet = build(space_of(own()), SPEC)
    seen: list[torch.dtype] = []
    supernet.module.block1.register_forward_hook(lambda m, i, out: seen.append(out.dtype))
    half = OneOf({"a": nn.Conv2d(3, 3, 1), "b": nn.Conv2d(3, 3, 1)}, name="c")
    pair = build(space_of(half), SPEC)
    with torch.autocast("cpu", torch.bfloat16):
        assert pair(images(), soft(pair.space)).dtype == torch.bfloat16
        assert supernet(images(), soft(supernet.space)).isfinite().all()


# -- gates are there for the length of one call ---------------------------------------------------


def outside(call: object) -> None:
    with pytest.raises(SpaceError, match=r"^OneOf '\w+' was called outside a supernet, where"):
        call()  # type: ignore[operator]


def test_called_outside_a_supernet_says_what_to_do() -> None:
    net = own()
    outside(lambda: net(images()))
    supernet = build(space_of(net), SPEC)
    supernet(images(), soft(supernet.space))
    outside(lambda: supernet.module(images()))
    with pytest.raises(SpaceError, match=r"supernets\.build.*supernets\.network"):
        net(images())


def test_gates_are_gone_after_an_error() -> None:
    supernet = build(space_of(own()), SPEC)
    with pytest.raises(RuntimeError):
        supernet(torch.ones(1, 5, 16, 16), soft(supernet.space))
    outside(lambda: supernet.module(images()))


def test_calls_may_nest() -> None:
    other = build(space_of(Shared()), SPEC)

    class Teacher(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + other(x, Gates.of(other.space, Architecture({"both": "b"})))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.teacher = Teacher()
            self.mine = OneOf({"a": Counted(1.0), "b": Counted(2.0)}, name="both")

        def forward(self, x: Tensor) -> Tensor:
            return self.mine(self.teacher(self.mine(x)))

    supernet = build(space_of(Net()), SPEC)
    y = supernet(torch.ones(1), Gates.of(supernet.space, Architecture({"both": "a"})))
    assert y.item() == 22  # the inner supernet took b, and the outer one goes on with a


MEET = threading.Barrier(3)


class Meet(nn.Module):
    """Lets nobody pass until three forward calls are inside."""

    def forward(self, x: Tensor) -> Tensor:
        MEET.wait(timeout=20)
        return x


def test_threads_see_their_own_gates() -> None:
    supernet = build(space_of(nn.Sequential(Meet(), toy := Toy(), Meet(), toy)), SPEC)
    space = supernet.space
    found: dict[str, float] = {}

    def work(text: str) -> None:
        found[text] = supernet(torch.ones(1), Gates.of(space, space.parse(text))).item()

    wanted = {"outer=deep;inner=two": 7, "outer=deep;inner=three": 13, "outer=five;inner=two": 31}
    threads = [threading.Thread(target=work, args=(text,)) for text in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


def test_a_checkpoint_around_a_choice_is_refused_and_one_inside_an_option_works() -> None:
    class Checkpointed(nn.Module):
        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, x: Tensor) -> Tensor:
            return torch.utils.checkpoint.checkpoint(self.inside, x, use_reentrant=False)

    x = torch.ones(1, requires_grad=True)
    inside = OneOf({"a": Checkpointed(nn.Tanh()), "b": nn.Tanh()}, name="c")
    supernet = build(space_of(inside), SPEC)
    supernet(x, soft(supernet.space)).backward()
    supernet = build(
        space_of(Checkpointed(OneOf({"a": nn.Tanh(), "b": nn.Tanh()}, name="c"))), SPEC
    )
    outside(lambda: supernet(x, soft(supernet.space)).backward())


# -- errors --------------------------------------------------------------------------------------


def message(call: object) -> str:
    with pytest.raises(SpaceError) as error:
        call()  # type: ignore[operator]
    return str(error.value)


def test_no_choice_in_the_module() -> None:
    assert message(lambda: space_of(nn.Linear(2, 2))) == (
        "module Linear has no choices; mark at least one with morphogen.OneOf({...}, name=...), "
        "registered as a submodule"
    )


def pair(name: str, *options: str, shared: bool = False) -> OneOf:
    return OneOf({o: nn.Identity() for o in options}, name=name, shared=shared)


def test_duplicate_names() -> None:
    net = nn.Sequential(pair("a", "x", "y"), nn.Sequential(pair("a", "x", "y", shared=True)))
    assert message(lambda: space_of(net)) == (
        "two OneOf are named 'a' (at '0' and '1.0'); name them differently, or give both "
        "shared=True if they are one decision"
    )


def test_shared_with_different_options() -> None:
    net = nn.Sequential(pair("a", "x", "y", shared=True), pair("a", "y", "x", shared=True))
    assert message(lambda: space_of(net)) == (
        "the shared OneOf 'a' has options x, y at '0' but y, x at '1'; accepted: the same options "
        "in the same order"
    )


def test_fewer_than_two_options() -> None:
    assert message(lambda: pair("a", "x")) == "choice 'a' has 1 option(s); accepted: two or more"
    assert message(lambda: OneOf({}, name="a")).startswith("choice 'a' has 0 option(s)")


def test_an_option_that_is_no_module() -> None:
    assert message(lambda: OneOf({"x": nn.Identity(), "y": nn.ReLU}, name="a")) == (  # type: ignore[dict-item]
        "option 'y' of choice 'a' is the class ReLU; accepted: an instance of torch.nn.Module"
    )


@pytest.mark.parametrize("bad", ["k=3", "a;b", "a+b", "a.b", "", " a", "a\n"])
def test_names_that_the_notation_cannot_hold(bad: str) -> None:
    rule = "cannot be used; accepted: a text without '=', ';', '+', '.' and without space around it"
    assert message(lambda: pair("a", "x", bad)) == f"option of choice 'a' {bad!r} {rule}"
    assert message(lambda: pair(bad, "x", "y")) == f"name of OneOf {bad!r} {rule}"


def test_names_may_be_those_of_torch_methods() -> None:
    net = nn.Sequential(pair("train", "half", "train", "forward", "keys", "3x3 conv"))
    space = space_of(net)
    arch = space.parse("train=3x3 conv")
    assert space.parse(space.format(arch)) == arch
    assert type(network(space, arch, SPEC)[0]) is nn.Identity
    assert net.half() is net


def test_unknown_option_in_an_architecture() -> None:
    space = space_of(own())
    with pytest.raises(UnknownNameError) as error:
        network(space, Architecture({"block1": "conv", "block2": "skip", "pool": "max"}), SPEC)
    assert str(error.value) == (
        "unknown option of choice 'block1' 'conv'; did you mean 'conv3'? "
        "known: conv3, separable, skip"
    )


def test_shapes_that_differ() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = OneOf({"conv": nn.Conv2d(3, 4, 1), "pool": nn.AvgPool2d(2)}, name="block")

        def forward(self, x: Tensor) -> Tensor:
            return self.block(x)

    net = Net()
    expected = (
        "options of choice 'block' return different shapes: 'conv' [4, 4, 16, 16], "
        "'pool' [4, 3, 8, 8]; accepted: equal shapes"
    )
    supernet = build(space_of(net), SPEC)
    assert message(lambda: supernet(images(), soft(supernet.space))) == expected
    assert message(lambda: check(net, images())) == expected
    # Broadcasting would have hidden this one.
    thin = OneOf({"a": nn.Identity(), "b": nn.AdaptiveAvgPool2d(1)}, name="thin")
    assert "[4, 3, 16, 16], 'b' [4, 3, 1, 1]" in message(lambda: check(thin, images()))


def test_check_passes_a_good_module_and_leaves_it_alone() -> None:
    net = own()
    before = copy.deepcopy(net.state_dict())
    assert check(net, images(1)).shape == (1, 10)
    assert net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_gates_of_another_space() -> None:
    supernet = build(space_of(own()), SPEC)
    other = space_of(Toy())
    assert message(lambda: supernet(images(), soft(other))) == (
        "gates hold nothing for choice 'block1'; accepted: weights of 3 options"
    )
    narrow = supernet.space.restrict({"block2": ["skip"]})
    assert message(lambda: supernet(images(), soft(narrow))) == (
        "gates hold weights [1, 1] for choice 'block2'; accepted: weights of 3 options"
    )


def test_no_live_option() -> None:
    supernet = build(space_of(Shared()), SPEC)
    gates = Gates({"both": torch.zeros(1, 2)}, {"both": ((),)})
    assert message(lambda: supernet(torch.ones(1), gates)) == (
        "choice 'both' has no live option; its gates need at least one"
    )


def test_a_choice_hidden_in_a_list() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = pair("seen", "x", "y")
            self.blocks = [pair("hidden", "x", "y")]

        def forward(self, x: Tensor) -> Tensor:
            return self.blocks[0](self.seen(x))

    supernet = build(space_of(Net()), SPEC)
    assert message(lambda: supernet(torch.ones(1), soft(supernet.space))) == (
        "OneOf 'hidden' was called but is no choice of the space (seen); make it a registered "
        "submodule of the searched module (in nn.ModuleList, not in a list)"
    )


# -- the user's object, copies, sub-spaces ---------------------------------------------------------


def test_the_users_module_is_never_changed() -> None:
    net = own()
    before = copy.deepcopy(net.state_dict())
    text = repr(net)
    space = space_of(net)
    supernet = build(space, SPEC)
    optimiser = torch.optim.SGD(supernet.parameters(), 0.1)
    supernet(images(), soft(space)).square().sum().backward()
    optimiser.step()
    narrow = space.restrict({"block1": ["skip"]})
    build(narrow, SPEC)
    network(space, space.enumerate()[0], SPEC)(images())
    assert repr(net) == text
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_the_stand_alone_network_is_plain_pytorch() -> None:
    space = space_of(own())
    for arch in space.enumerate():
        net = network(space, arch, SPEC)
        ours = {type(m).__module__ for m in net.modules()} - {OwnNetwork.__module__}
        assert not [module for module in ours if module.startswith("morphogen")]
        assert type(net) is OwnNetwork
        assert net(images()).shape == (4, 10)
    exported = torch.export.export(net.eval(), (images(),))
    torch.testing.assert_close(exported.module()(images()), net(images()))


def test_nested_choices_leave_no_trace_either() -> None:
    space = space_of(Toy())
    net = network(space, space.parse("outer=deep;inner=three"), SPEC)
    assert not [m for m in net.modules() if isinstance(m, OneOf)]
    assert net(torch.ones(1)).item() == 4
    # An option that is a choice itself, with nothing between.
    direct = OneOf(
        {"in": OneOf({"a": Counted(2.0), "b": Counted(3.0)}, name="i"), "out": Counted(5.0)},
        name="o",
    )
    space = space_of(direct)
    assert type(network(space, space.parse("o=in;i=b"), SPEC)) is Counted
    assert type(inherit(ModuleSupernet(space), space.parse("o=out;i=b"))) is Counted


def test_networks_start_from_the_users_weights_and_inherit_from_the_supernet() -> None:
    net = own()
    space = space_of(net)
    arch = space.parse("block1=separable;block2=skip;pool=max")
    supernet = build(space, SPEC)
    with torch.no_grad():
        for p in supernet.parameters():
            p.mul_(2)
    fresh, heir = network(space, arch, SPEC), inherit(supernet, arch)
    assert torch.equal(fresh.block1.depth.weight, net.block1.option("separable").depth.weight)
    assert torch.equal(heir.block1.depth.weight, 2 * net.block1.option("separable").depth.weight)
    with torch.no_grad():
        heir.block1.depth.weight.zero_()
    assert supernet.module.block1.option("separable").depth.weight.abs().sum() > 0


def test_reinitialise_draws_every_weight_anew() -> None:
    space = space_of(own())
    net = network(space, space.enumerate()[0], SPEC)
    before = copy.deepcopy(net.state_dict())
    net(images())
    with torch.random.fork_rng():
        torch.manual_seed(5)
        assert reinitialise(net) == ()
        torch.manual_seed(5)
        again = network(space, space.enumerate()[0], SPEC)
        reinitialise(again)
    for name, value in net.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])  # batch norm's statistics too
        if name.endswith(("conv.weight", "classifier.weight")):
            assert not torch.equal(value, before[name])


def test_reinitialise_names_what_it_could_not_draw() -> None:
    class Position(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Parameter(torch.zeros(3))
            self.attention = nn.MultiheadAttention(4, 2)

    class Whole(Position):
        def reset_parameters(self) -> None:
            nn.init.ones_(self.embedding)
            nn.init.ones_(self.attention.in_proj_weight)

    net = nn.Sequential(Position(), Whole())
    assert reinitialise(net) == ("0.embedding",)
    assert (net[1].attention.in_proj_weight == 1).all()  # the parent has the last word
    assert reinitialise(nn.Sequential(nn.ReLU())) == ()


def test_deepcopy_pickle_and_state_dict() -> None:
    supernet = build(space_of(own()), SPEC).eval()
    gates, x = Gates.dense(supernet.space, soft(supernet.space).detach().weights), images()
    other = build(supernet.space, SPEC).eval()
    with torch.no_grad():
        for p in supernet.parameters():
            p.add_(0.01)
    assert not torch.equal(other(x, gates), supernet(x, gates))
    other.load_state_dict(supernet.state_dict())
    for twin in (other, copy.deepcopy(supernet), pickle.loads(pickle.dumps(supernet))):
        assert torch.equal(twin(x, gates), supernet(x, gates))


def test_a_restricted_space_builds_a_smaller_supernet_with_the_same_names() -> None:
    space = space_of(own())
    narrow = space.restrict({"block1": ["skip", "conv3"], "pool": ["max"]})
    assert narrow != space
    assert narrow.size() == 6
    whole, part = build(space, SPEC).eval(), build(narrow, SPEC).eval()
    assert part.state_dict().keys() < whole.state_dict().keys()
    part.load_state_dict({k: whole.state_dict()[k] for k in part.state_dict()})
    arch = narrow.parse("block1=skip;block2=separable;pool=max")
    x = images()
    expected = whole(x, Gates.of(space, arch))
    assert torch.equal(part(x, Gates.of(narrow, arch)), expected)
    assert torch.equal(network(narrow, arch, SPEC).eval()(x), expected)
    assert part(x, soft(narrow)).shape == (4, 10)
    with pytest.raises(UnknownNameError, match="unknown option of choice 'pool' 'average'"):
        network(narrow, space.parse("block1=skip;block2=skip;pool=average"), SPEC)


def test_frozen_statistics_hold_in_the_users_batch_norms() -> None:
    supernet = build(space_of(own()), SPEC)
    x, gates = images(), soft(supernet.space)
    before = copy.deepcopy(dict(supernet.named_buffers()))
    twin = copy.deepcopy(supernet)
    with frozen_statistics(supernet):
        frozen = supernet(x, gates)
    assert all(torch.equal(v, before[k]) for k, v in supernet.named_buffers())
    assert torch.equal(frozen, twin(x, gates))  # batch statistics all the same
    assert not all(torch.equal(v, before[k]) for k, v in twin.named_buffers())


def test_scores_are_discretised_by_the_best_option() -> None:
    space = space_of(own())
    scores = {
        "block1": np.array([[0.1, 0.5, 0.4]]),
        "block2": np.array([[3.0, 1, 2]]),
        "pool": np.array([[0.0, 1]]),
    }
    assert space.format(space.derive(scores)) == "block1=separable;block2=conv3;pool=max"


def test_one_channel_images() -> None:
    space = space_of(OwnNetwork(in_channels=1, classes=3))
    supernet = build(space, SPEC)
    assert supernet(torch.rand(2, 1, 16, 16), soft(space)).shape == (2, 3)
