"""Reversible sequences against plain backpropagation, closed forms, finite differences, memory."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import scaled_dot_product_attention

import forked
from morphogen.core import CapabilityError, SpaceError
from morphogen.cost.saved import SavedForBackward
from morphogen.supernets import Gates, ReversibleSequence, weighted

B, T = 2, 5


class Option(nn.Module):
    """LN(h + W2 relu(W1 h)), with dropout."""

    def __init__(self, d: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.norm, self.drop = nn.LayerNorm(d), nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        return self.norm(h + self.drop(self.outer(self.inner(h).relu())))  # type: ignore[no-any-return]


class Node(nn.Module):
    """DARTSformer's G_k: the mean of the others, then options weighted by gates.

    Two of `Option`, attention to what an encoder gave, and the input itself if asked for.
    """

    def __init__(self, d: int, dropout: float = 0.0, identity: bool = False) -> None:
        super().__init__()
        self.options = nn.ModuleList(Option(d, dropout) for _ in range(2))
        self.keys, self.norm = nn.Linear(7, d), nn.LayerNorm(d)
        self.identity = identity
        self.unused = nn.Parameter(torch.ones(3))
        self.calls = 0

    def forward(self, others: tuple[Tensor, ...], side: dict[str, Any]) -> Tensor:
        self.calls += 1
        h = torch.stack(others).mean(0)
        keys = self.keys(side["encoder"])
        attended = scaled_dot_product_attention(h, keys, keys, side["mask"])
        terms = [*(option(h) for option in self.options), self.norm(h + attended)]
        if self.identity:
            terms.append(h)
        _, row = side["gates"].row("node", 0)
        return torch.stack([weighted(t, row[i]) for i, t in enumerate(terms)]).sum(0)


class Case:
    """A sequence with everything that may be beside the stream, and plain backpropagation of it."""

    def __init__(
        self,
        n: int,
        depth: int,
        d: int = 8,
        *,
        dropout: float = 0.0,
        identity: bool = False,
        dtype: torch.dtype = torch.float64,
        shared: bool = False,
        **options: Any,
    ) -> None:
        torch.manual_seed(n + depth)
        layers = [[Node(d, dropout, identity) for _ in range(n)] for _ in range(depth)]
        if shared:
            layers[-1][0] = layers[-1][1] = layers[0][1]
        self.net = ReversibleSequence(layers, **options).to(dtype)
        self.x = torch.randn(B, T, n * d, dtype=dtype, requires_grad=True)
        self.encoder = nn.Linear(3, 7).to(dtype)
        self.source = torch.randn(B, 4, 3, dtype=dtype)
        self.mask = torch.tensor([[[True, True, True, False]], [[True, True, False, False]]])
        self.alpha = (torch.randn(1, 3 + identity, dtype=dtype) / 3).requires_grad_()
        self.inputs = [self.x, self.alpha, *self.encoder.parameters(), *self.net.parameters()]

    def side(self) -> dict[str, Any]:
        live = {"node": (tuple(range(self.alpha.shape[1])),)}
        gates = Gates({"node": self.alpha.softmax(1)}, live)
        return {"encoder": self.encoder(self.source), "mask": self.mask, "gates": gates}

    def chunks(self) -> list[Tensor]:
        return list(self.x.chunk(self.net.splits, dim=-1))

    def outcome(self, run: Callable[..., Sequence[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """What comes out, and all gradients of a loss on it, with draws from seed 3."""
        torch.manual_seed(3)
        out = torch.cat(list(run(self.chunks(), self.side())), dim=-1)
        stood = torch.get_rng_state()
        loss = (out * torch.linspace(-1, 1, out.shape[-1], dtype=out.dtype)).square().mean()
        found = torch.autograd.grad(loss, self.inputs, materialize_grads=True)
        assert torch.equal(torch.get_rng_state(), stood)
        return out.detach(), list(found)

    def by_hand(self, stream: list[Tensor], side: dict[str, Any]) -> list[Tensor]:
        """The forward equation, by autograd: Y_k = X_k + G_k({X_i : i > k}, {Y_i : i < k})."""
        for layer in self.net.layers:
            for k, node in enumerate(layer):  # type: ignore[arg-type]
                stream = [
                    *stream[:k],
                    stream[k] + node((*stream[:k], *stream[k + 1 :]), side),
                    *stream[k + 1 :],
                ]
        return stream

    def error(self) -> tuple[bool, float]:
        """Whether outputs are the same bits; the largest relative error of a gradient."""
        (out, found), (plain, expected) = self.outcome(self.net), self.outcome(self.by_hand)
        return torch.equal(out, plain), worst(found, expected)


def worst(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).norm() / (b.norm() + 1e-30)) for a, b in pairs)


@pytest.mark.parametrize(("n", "dropout"), [(2, 0.0), (2, 0.3), (3, 0.3), (4, 0.3)])
def test_outputs_are_the_same_bits_and_gradients_those_of_plain_backpropagation(
    n: int, dropout: float
):
    case = Case(n, 3, dropout=dropout, shared=True)
    same, error = case.error()
    assert same
    assert error < 1e-9
    _, found = case.outcome(case.net)
    # Stream, alphas and the encoder behind the side input do get gradients.
    assert all(float(g.norm()) > 1e-6 for g in found[:3])
    case.net.plain = True
    assert worst(case.outcome(case.net)[1], case.outcome(case.by_hand)[1]) == 0


def test_gradients_of_linear_functions_are_the_closed_form():
    # Card of the algorithm: bar Y_k = dY_k + sum_{j>k} A_jk^T bar Y_j, and
    # dX_k = bar Y_k + sum_{j<k} A_jk^T bar Y_j, with G_j = sum_i A_ji (.).
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.ParameterList(torch.randn(4, 4, dtype=torch.float64) for _ in range(2))

        def forward(self, others: tuple[Tensor, ...]) -> Tensor:
            return others[0] @ self.maps[0].T + others[1] @ self.maps[1].T

    torch.manual_seed(0)
    nodes = [Linear() for _ in range(3)]
    x = [torch.randn(4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    d = [torch.randn(4, dtype=torch.float64) for _ in range(3)]
    found = torch.autograd.grad(ReversibleSequence([nodes])(x), x, d)

    def back(j: int, k: int) -> Tensor:
        return bars[j] @ nodes[j].maps[k if k < j else k - 1]

    bars: dict[int, Tensor] = {}
    for k in (2, 1, 0):
        bars[k] = d[k] + sum((back(j, k) for j in range(k + 1, 3)), torch.zeros(()))
    for k in range(3):
        expected = bars[k] + sum((back(j, k) for j in range(k)), torch.zeros(()))
        torch.testing.assert_close(found[k], expected, rtol=1e-12, atol=1e-12)


def test_gradients_agree_with_finite_differences():
    case = Case(2, 2, 3)

    def run(x: Tensor, weights: Tensor, encoder: Tensor) -> tuple[Tensor, ...]:
        gates = Gates({"node": weights}, {"node": ((0, 1, 2),)})
        side = {"encoder": encoder, "mask": case.mask, "gates": gates}
        return case.net(x.chunk(2, -1), side)  # type: ignore[no-any-return]

    inputs = (case.x, case.alpha, case.encoder(case.source).detach().requires_grad_())
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize(("depth", "identity", "most"), [(4, False, 1e-5), (6, True, 1e-4)])
def test_float32_is_near_plain_backpropagation(depth: int, identity: bool, most: float):
    case = Case(2, depth, 24, identity=identity, dtype=torch.float32)
    (out, found), (plain, expected) = case.outcome(case.net), case.outcome(case.by_hand)
    assert torch.equal(out, plain)
    # All as one vector: the gates' gradient alone is nearly cancelled by their softmax.
    assert worst(*([torch.cat([t.flatten() for t in some])] for some in (found, expected))) < most


def test_asking_for_gates_only_writes_no_gradient_and_can_be_repeated():
    case = Case(2, 2, dropout=0.5)
    loss = sum(t.square().sum() for t in case.net(case.chunks(), case.side()))
    found = [torch.autograd.grad(loss, [case.alpha], retain_graph=True)[0] for _ in range(2)]
    assert torch.equal(*found)
    assert all(t.grad is None for t in case.inputs)


def test_each_function_runs_twice_and_once_without_gradients():
    case = Case(2, 2)
    nodes = [m for m in case.net.modules() if isinstance(m, Node)]
    case.outcome(case.net)
    assert [node.calls for node in nodes] == [2] * 4
    with torch.no_grad():
        case.net(case.chunks(), case.side())
    assert [node.calls for node in nodes] == [3] * 4
    with torch.inference_mode():
        case.net(case.chunks(), case.side())
    assert [node.calls for node in nodes] == [4] * 4


def test_mixed_precision_is_that_of_plain_backpropagation():
    case = Case(2, 4, 16, dropout=0.1, dtype=torch.float32)

    def under(run: Callable[..., Sequence[Tensor]]) -> Callable[..., Sequence[Tensor]]:
        def cast(*args: Any) -> Sequence[Tensor]:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = run(*args)
            assert all(t.dtype == torch.float32 for t in out)
            return out

        return cast

    out, found = case.outcome(under(case.net))
    plain, expected = case.outcome(under(case.by_hand))
    assert torch.equal(out, plain)
    assert worst(found, expected) < 2e-2
    assert worst(found, case.outcome(case.by_hand)[1]) > 1e-4  # the casts were made


def test_gradients_reach_weights_that_are_put_in_place_of_the_modules():
    case = Case(2, 2)
    names = [name for name, _ in case.net.named_parameters()]

    def stepped(net: nn.Module) -> Callable[..., Any]:
        """With weights after half a step of decay: functions of the module's own."""
        own = dict(zip(names, case.inputs[-len(names) :], strict=True))
        return lambda *args: functional_call(net, {k: 0.5 * w for k, w in own.items()}, args)

    reference = ReversibleSequence(
        [list(layer) for layer in case.net.layers],  # type: ignore[arg-type]
        plain=True,
    )
    out, found = case.outcome(stepped(case.net))
    plain, expected = case.outcome(stepped(reference))
    assert torch.equal(out, plain)
    assert worst(found, expected) < 1e-9


class Normed(nn.Module):
    """A function with buffers that move: running statistics, and a vector its output depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.linear = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
        self.drop = nn.Dropout(0.5)

    def forward(self, others: tuple[Tensor, ...]) -> Tensor:
        return self.drop(self.linear(self.norm(others[0])))  # type: ignore[no-any-return]


@pytest.mark.parametrize("training", [True, False])
def test_buffers_move_once_and_the_mode_is_that_of_the_forward_pass(training: bool):
    states, gradients = [], []
    for plain in (True, False):
        torch.manual_seed(0)
        tied = Normed()
        layers = [[tied, Normed()], [Normed(), tied]]
        net = ReversibleSequence(layers, plain=plain).double().train(training)
        x = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
        loss = sum(t.square().sum() for t in net(x.chunk(2, 1)))
        # A second pass moves the statistics before the first one's way back.
        if training:
            net(x.detach().chunk(2, 1))
        net.train(not training)
        gradients.append(torch.autograd.grad(loss, [x, *net.parameters()]))
        assert net.training is not training
        assert all(m.training is not training for m in net.modules())
        states.append(net.state_dict())
    assert worst(gradients[1], gradients[0]) < 1e-9
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name


def saved_bytes(depth: int, **options: Any) -> tuple[int, int]:
    """Bytes saved behind the forward pass, and the most at any time."""
    case = Case(2, depth, 16, dtype=torch.float32, **options)
    with SavedForBackward(without=case.inputs) as saved:
        out = torch.cat(list(case.net(case.chunks(), case.side())), dim=-1)
        after = saved.bytes
        out.square().sum().backward()
        assert saved.bytes == 0
    return after, saved.peak


def test_memory_is_flat_in_depth():
    (after, peak), (deep_after, deep_peak) = saved_bytes(6), saved_bytes(24)
    assert deep_after <= 1.05 * after
    assert deep_peak <= 1.1 * peak
    (plain, _), (deep_plain, _) = saved_bytes(6, plain=True), saved_bytes(24, plain=True)
    assert 3.5 < deep_plain / plain < 4.1
    assert deep_plain > 20 * deep_peak
    # Kept inputs are two tensors of the stream for each place where they are kept.
    kept, _ = saved_bytes(24, keep_every=6)
    assert kept - deep_after == 3 * 2 * (B * T * 16 * 4)
    # Draws add where the CPU's generator stood, about 5 kB for a function that draws.
    drawn, _ = saved_bytes(6, dropout=0.1)
    assert drawn - after == 6 * 2 * torch.get_rng_state().nbytes


def test_no_tensors_are_hidden_from_the_count():
    case = Case(2, 16, 16, dtype=torch.float32)
    chunks, side = case.chunks(), case.side()
    gc.collect()
    before = {id(o) for o in gc.get_objects()}
    out = case.net(chunks, side)
    new = [o for o in gc.get_objects() if type(o) is Tensor and id(o) not in before]
    assert {t.data_ptr() for t in new} == {t.data_ptr() for t in out}


def test_kept_inputs_mend_what_depth_loses():
    case = Case(2, 24, 24, identity=True, dtype=torch.float32)
    _, plain = case.outcome(case.by_hand)
    errors, drifts = [], []
    for every in (0, 6, 1):
        case.net.keep_every = every
        errors.append(worst(case.outcome(case.net)[1], plain))
        drifts.append(max(case.net.drift(case.chunks(), case.side())))
    assert errors[0] > 1e-3
    assert errors[1] < min(1e-2, errors[0] / 10)
    assert errors[2] < 1e-4
    assert drifts[0] > 10 * drifts[1] > 10 * drifts[2]


def test_drift_is_rounding_in_float64_and_asks_only():
    for n in (2, 4):
        case = Case(n, 24, dropout=0.3)
        stood = torch.get_rng_state()
        found = case.net.drift(case.chunks(), case.side())
        assert torch.equal(torch.get_rng_state(), stood)
        assert len(found) == 24
        assert 0 < max(found) < 1e-10
        # The inputs of the first layers have come the longest way.
        assert max(found[:6]) > max(found[-3:])
    torch.manual_seed(0)
    net = ReversibleSequence([[Normed(), Normed()]])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.drift(torch.randn(6, 8).chunk(2, 1))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Function(nn.Module):
    """A user's function that does `what` with the other tensor."""

    def __init__(self, what: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.what = what

    def forward(self, others: tuple[Tensor, ...], *side: Any) -> Tensor:
        return self.what(others[0])


def test_what_cannot_be_right_is_refused():
    hidden = torch.randn(4, requires_grad=True)
    x = torch.randn(3, 8, requires_grad=True)
    good = Function(torch.tanh)

    def run(what: Callable[[Tensor], Tensor], *side: Any, like: Tensor = x, n: int = 2) -> None:
        net = ReversibleSequence([[good, Function(what)]])
        torch.cat(net(like.chunk(n, 1), *side)).sum().backward()

    run(torch.tanh, None, 1, "a", {"b": (x, [x])})
    for message, call in {
        "wrote into its input": lambda: run(torch.Tensor.tanh_),
        r"gives \[3, 2\].*accepted: \[3, 4\]": lambda: run(lambda t: t[:, :2]),
        "reads a tensor .*neither its parameter nor an argument": lambda: run(lambda t: t * hidden),
        "a Function beside the stream": lambda: run(torch.tanh, good),
        "2 tensors of bfloat16; accepted: 2 of float32": lambda: run(torch.tanh, like=x.bfloat16()),
        "4 tensors of float32; accepted: 2": lambda: run(torch.tanh, n=4),
        r"have \[\] functions": lambda: ReversibleSequence([]),
        r"have \[1\] functions": lambda: ReversibleSequence([[good]]),
        r"have \[2, 3\] functions": lambda: ReversibleSequence([[good] * 2, [good] * 3]),
        "keep_every is -1": lambda: ReversibleSequence([[good] * 2], keep_every=-1),
    }.items():
        with pytest.raises(SpaceError, match=message):
            call()
    loss = torch.cat(ReversibleSequence([[good] * 2])(x.chunk(2, 1))).square().sum()
    with pytest.raises(CapabilityError, match=r"accepted: first derivatives, or .* plain=True"):
        torch.autograd.grad(loss, x, create_graph=True)


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init", rank=rank, world_size=2)
    case = Case(2, 2, shared=True)
    net = nn.parallel.DistributedDataParallel(Trained(case))
    net(rank).backward()
    found = {name: p.grad for name, p in net.module.named_parameters() if p.grad is not None}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


class Trained(nn.Module):
    """The loss of one of a case's two examples."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case, self.net, self.encoder = case, case.net, case.encoder
        for node in (m for m in case.net.modules() if isinstance(m, Node)):
            node.unused.requires_grad_(False)

    def forward(self, example: int) -> Tensor:
        side = self.case.side()
        one = slice(example, example + 1)
        side["encoder"], side["mask"] = side["encoder"][one], side["mask"][one]
        out = self.net([t[one] for t in self.case.chunks()], side)
        return torch.cat(out, dim=-1).square().mean()


@pytest.mark.slow
def test_two_processes_get_the_mean_of_their_gradients(tmp_path: Path):
    forked.two(worker, str(tmp_path))
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    trained = Trained(Case(2, 2, shared=True))
    ((trained(0) + trained(1)) / 2).backward()
    for (name, parameter), rank in itertools.product(trained.named_parameters(), ranks):
        if parameter.grad is not None:
            torch.testing.assert_close(rank[name], parameter.grad, rtol=1e-5, atol=1e-9)
