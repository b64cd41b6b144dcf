"""A call made again gives the same bits and leaves the surroundings alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from morphogen.supernets.replay import Call, Precision


def again(call: Call, x: Tensor) -> Tensor:
    made: Tensor = call.again((x,), call.parameters, call.buffers, call.draws)
    return made


def test_a_call_is_made_again_as_it_was():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    x = torch.randn(6, 4)
    call = Call(net)
    first = call.first(x)
    moved = {name: value.clone() for name, value in net.state_dict().items()}
    torch.randn(9)
    net.eval()
    assert torch.equal(again(call, x), first)
    assert torch.equal(again(call, x), first)
    assert not net.training
    assert not net[1].training
    assert all(torch.equal(value, moved[name]) for name, value in net.state_dict().items())
    # The statistics as the call found them: in evaluation mode the output depends on them.
    assert torch.equal(call.buffers["1.running_mean"], torch.zeros(4))
    assert call.buffers["1.num_batches_tracked"] == 0


def test_only_what_a_call_changed_is_kept_as_a_copy():
    net, x = nn.BatchNorm1d(4).eval(), torch.randn(6, 4)
    call = Call(net)
    call.first(x)
    assert call.buffers["running_mean"] is net.running_mean
    assert call.draws == []
    call.forget()
    assert [call.parameters, call.buffers, call.draws] == [{}, {}, []]


def test_other_weights_may_stand_in():
    net = nn.Linear(4, 2)
    call = Call(net)
    x = torch.randn(3, 4)
    first = call.first(x)
    leaves = {name: w.detach().requires_grad_() for name, w in call.parameters.items()}
    with torch.no_grad():
        net.weight.zero_()
    made = call.again((x,), {**leaves, "weight": torch.ones(2, 4)}, {}, [])
    torch.testing.assert_close(made, x.sum(1, keepdim=True) + leaves["bias"])
    assert first.shape == made.shape
    assert not net.weight.any()


def test_precision_comes_back_without_shared_casts():
    layer = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = Precision(torch.device("cpu"))
        expected = layer(x)
    full = Precision()
    with half():
        with torch.no_grad():
            layer(x)
        # A cast made without gradients, had it been kept, would cut this one off.
        found = layer(x)
        assert not torch.is_autocast_cache_enabled()
        with full():
            assert layer(x).dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(found, expected)
    found.float().sum().backward()
    assert layer.weight.grad is not None
