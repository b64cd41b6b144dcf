"""Traces against hand computations, and the invariances that make widths comparable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from morphogen.bilevel.optimisers import SGD
from morphogen.core import SpaceError
from morphogen.evaluators.short import ShortTraining
from morphogen.evaluators.traces import Recorder, gram, layers_of, milestones, train_traced
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec, network, space_of

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"


def training(space=None, text: str = CELL, *, sgd: SGD | None = None, seed: int = 0, **spec):
    space = space or make("nasbench201")
    problem = tiny.problem(space, seed=seed, **spec)
    arch = space.parse(text)
    return ShortTraining(
        problem, arch, epochs=2, batch_size=25, descent=sgd or SGD(lr=0.05, lr_end=0)
    )


def test_nothing_trained_is_nothing_changed():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for kind, tolerance in (("params", 0.0), ("features", 1e-12)):
        recorder = Recorder(net, kind, x)
        recorder.look()
        assert recorder.trace.shape == (0, 2)
        recorder.look()
        assert recorder.trace.shape == (1, 2)
        assert np.all(recorder.trace <= tolerance)


def test_params_is_the_step_over_the_weights_norm():
    """One step of plain SGD moves by lr x gradient: r = lr |g| / |W|, the bias left out."""
    net = nn.Linear(5, 3).double()
    x = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    recorder = Recorder(net, "params", layers={"only": [net]})
    recorder.look()
    net(x).square().mean().backward()
    slope, size = net.weight.grad.norm(), net.weight.detach().norm()
    torch.optim.SGD(net.parameters(), lr=0.3).step()
    recorder.look()
    assert recorder.trace[0, 0] == pytest.approx(float(0.3 * slope / size), rel=1e-9)


def test_change_is_from_the_look_before_and_a_layer_joins_its_modules():
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    recorder = Recorder(first, "params", layers={"both": [first, second], "none": []})
    for a, b in ((3.0, 4.0), (3.0, 0.0), (0.0, 0.0), (0.0, 1.0)):
        with torch.no_grad():
            first.weight.copy_(torch.eye(2) * a)
            second.weight.copy_(torch.eye(2) * b)
        recorder.look()
    assert recorder.trace[:2, 0].tolist() == pytest.approx([4 / 5, 1.0])
    assert recorder.trace[2, 0] > 1  # from zero weights: large and finite
    assert np.isfinite(recorder.trace).all()
    assert recorder.trace[:, 1].tolist() == [0, 0, 0]


def test_features_do_not_depend_on_order_or_scale_of_channels_and_are_symmetric():
    g = torch.Generator().manual_seed(2)
    one = torch.randn(12, 5, 4, 4, generator=g, dtype=torch.float64)
    two = torch.randn(12, 9, 2, 2, generator=g, dtype=torch.float64)  # another width

    def change(a, b):
        return 1 - float((gram(a) * gram(b)).sum())

    base = change(one, two)
    assert 0 < base < 1
    assert change(two, one) == pytest.approx(base, abs=1e-12)
    assert change(one[:, torch.randperm(5, generator=g)], two) == pytest.approx(base, abs=1e-9)
    assert change(-3.7 * one + 5, two) == pytest.approx(base, abs=1e-9)
    assert change(one, one) == pytest.approx(0, abs=1e-12)
    # Against the formula with H written out.
    h = torch.eye(12, dtype=torch.float64) - 1 / 12
    z = one.mean((2, 3))
    k = h @ z @ z.T @ h
    assert torch.allclose(gram(one), k / torch.linalg.matrix_norm(k))
    assert not gram(torch.ones(4, 3)).any()


def test_looking_leaves_the_network_as_it_is_and_ignores_its_mode():
    traced, plain = training(), training()
    traces = train_traced(traced, 4, ["params", "features"], checkpoints=2)
    plain.advance(4)
    assert tiny.same(traced.net.state_dict(), plain.net.state_dict())
    assert traced.score() == plain.score()
    assert traced.net.training
    assert tiny.same(traced.net.state_dict(), plain.net.state_dict())
    for trace in traces.values():
        assert trace.shape == (2, 3 * 6 + 3)
        assert np.isfinite(trace).all()
    assert (traces["features"] <= 1 + 1e-6).all()


def test_nasbench201_has_the_same_layers_for_every_cell_and_idle_ones_never_change():
    space = make("nasbench201")
    net = network(space, space.parse(CELL), NetworkSpec(channels=4, depth=2))
    layers = layers_of(net)
    edges = [f"edge_{s}_{t}" for s, t in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))]
    expected = ["stem"]
    for stage in (1, 2, 3):
        expected += [f"reduction_{stage}"] if stage > 1 else []
        expected += [f"stage_{stage}_{edge}" for edge in edges]
    assert list(layers) == expected
    assert [len(layers[f"stage_2_{e}"]) for e in edges] == [2, 0, 2, 2, 2, 0]
    run = training(depth=2)
    traces = train_traced(run, 3, ["params", "features"], checkpoints=1)
    rows = {kind: dict(zip(layers, t[0], strict=True)) for kind, t in traces.items()}
    assert rows["params"]["stage_1_edge_0_1"] > 0
    for stage in (1, 2, 3):
        assert rows["params"][f"stage_{stage}_edge_0_3"] == 0  # pooling has no weights
        assert rows["features"][f"stage_{stage}_edge_0_2"] == 0  # none
    assert rows["features"]["stage_2_edge_0_3"] > 0


def test_a_users_module_is_walked_and_a_layer_must_give_a_tensor():
    module = tiny.smooth()
    run = training(space_of(module), "block=conv;head=one", channels=2)
    assert len(layers_of(run.net)) == 3  # stem, block, head
    assert train_traced(run, 2, ["features"], checkpoints=1)["features"].shape == (1, 3)

    class Two(nn.Module):
        def forward(self, x):
            return x, x

    net = Two()
    with pytest.raises(SpaceError, match="accepted as a layer"):
        Recorder(net, "features", torch.ones(2, 3), layers={"two": [net]}).look()
    with pytest.raises(SpaceError, match="probe is None"):
        Recorder(net, "features")


def test_milestones_are_geometric():
    assert milestones(60) == [7, 20, 60]
    assert milestones(1) == [1]
    assert milestones(5, 2) == [2, 5]


def test_layers_of_one_name_start_equal_and_see_the_same_batches():
    space = make("nasbench201")
    one = training()
    two = training(text=space.format(space.parse(CELL).replace(edge_0_2=("nor_conv_3x3",))))
    ours, theirs = one.net.state_dict(), two.net.state_dict()
    shared = [k for k in ours if k in theirs]
    assert any(k.startswith("cells.0.operations.edge_0_1.conv") for k in shared)
    assert all(torch.equal(ours[k], theirs[k]) for k in shared)
    assert not torch.equal(
        theirs["cells.0.operations.edge_0_1.conv.weight"],
        theirs["cells.0.operations.edge_0_2.conv.weight"],
    )
    assert torch.equal(one._stream.next()[0], two._stream.next()[0])
    other = training(seed=1).net.state_dict()
    assert not torch.equal(ours["stem.0.weight"], other["stem.0.weight"])


def test_a_training_in_two_parts_equals_one():
    whole, parts = training(), training()
    whole.advance(whole.steps)
    parts.advance(1)
    before = parts.score()
    parts.advance(5)
    parts.advance(parts.steps)
    assert parts.steps == 8
    assert tiny.same(whole.net.state_dict(), parts.net.state_dict())
    assert 0 <= before <= 100
    with pytest.raises(Exception, match="accepted: 8 to 8 steps"):
        parts.advance(3)
