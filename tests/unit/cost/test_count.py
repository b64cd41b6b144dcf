"""Counts against published figures, closed forms, torch's own counter, and sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from morphogen import cost, spaces
from morphogen.core import DataError
from morphogen.supernets import NetworkSpec, network, space_of
from morphogen.testing.toys import OwnNetwork

SPACE = spaces.make("nasbench201")


def uniform(operation: str) -> str:
    o = operation
    return f"|{o}~0|+|{o}~0|{o}~1|+|{o}~0|{o}~1|{o}~2|"


@pytest.mark.parametrize(
    ("operation", "params", "macs"),
    [
        # The logs that the authors published with the benchmark.
        ("nor_conv_3x3", 1_531_546, 220.12),
        ("nor_conv_1x1", 241_306, 31.38),
        ("skip_connect", 73_306, 7.783),
        ("avg_pool_3x3", 73_306, 7.783),
        ("none", 73_306, 7.783),
    ],
)
def test_nasbench201_as_published(operation: str, params: int, macs: float) -> None:
    found = cost.of(SPACE, SPACE.parse(uniform(operation)))
    assert found.params == params
    assert found.macs / 1e6 == pytest.approx(macs, abs=0.005)
    assert found.flops == 2 * found.macs


def test_nasbench201_on_other_data_as_published() -> None:
    arch = SPACE.parse(uniform("nor_conv_3x3"))
    imagenet = cost.of(SPACE, arch, NetworkSpec(classes=120), (3, 16, 16))
    assert imagenet.params == 1_538_696
    assert imagenet.macs / 1e6 == pytest.approx(55.04, abs=0.005)
    assert cost.of(SPACE, arch, NetworkSpec(classes=100)).params == 1_531_546 + 5_850


def test_nasbench201_by_the_closed_form() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        arch = SPACE.sample(rng)
        kernels = [{"nor_conv_3x3": 9, "nor_conv_1x1": 1}.get(arch.one(c), 0) for c in arch]
        params, macs = 73_306, 7_783_040
        for channels, side in ((16, 32), (32, 16), (64, 8)):
            for taps in kernels:
                macs += 5 * taps * (channels * side) ** 2
                params += 5 * (taps * channels**2 + 2 * channels * (taps > 0))
        found = cost.of(SPACE, arch)
        assert (found.params, found.macs) == (params, macs)


def test_darts_as_published() -> None:
    space = spaces.make("darts")
    found = cost.of(space, space.parse("DARTS_V2"))
    assert found.params == 3_349_342
    assert found.macs / 1e6 == pytest.approx(528.36, abs=0.005)


def test_own_module_as_torch_counts_it() -> None:
    space = space_of(OwnNetwork(1, 5))
    for arch in space.enumerate()[::7]:
        net = network(space, arch, NetworkSpec()).eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 1, 16, 16))
        found = cost.of(space, arch, image=(1, 16, 16))
        assert found.flops == counter.get_total_flops() > 0
        assert found.params == sum(p.numel() for p in net.parameters())


class Attention(nn.Module):
    """Pixels as tokens: matrix products that no convolution does."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.embed(x).flatten(2).transpose(1, 2)).mean(1)


def test_attention_by_hand() -> None:
    found = cost.count(Attention().train(), (3, 16, 16))
    tokens, width = 16, 8
    embed = tokens * 3 * 16 * width
    projections = tokens * width * (3 * width + width)
    attention = 2 * tokens * tokens * width
    mlp = 2 * tokens * width * 16
    assert found.macs == embed + projections + attention + mlp


def test_memory_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    found = cost.count(net, (2, 4, 4))
    image, maps, scores = 32, 64, 3
    conv = image + 2 * 4 * 9 + 4 + maps
    linear = maps + 64 * 3 + 3 + scores
    assert found.memory_access == 4 * (conv + 2 * maps + linear)
    assert found.activation_bytes == 4 * (maps + maps + scores)
    assert found.peak_bytes == 4 * (image + 2 * maps)  # the image is held by whoever passed it


def test_remembered_kernels_count_as_run_ones() -> None:
    arch = SPACE.sample(np.random.default_rng(2))
    spec = NetworkSpec(channels=4, depth=1)
    real = cost.count(network(SPACE, arch, spec), (3, 8, 8))
    assert cost.of(SPACE, arch, spec, (3, 8, 8)) == real
    assert cost.of(SPACE, arch, spec, (3, 8, 8)) == real


def test_counting_leaves_the_network_as_it_was() -> None:
    net = OwnNetwork()
    own = network(space_of(net), space_of(net).sample(np.random.default_rng(0)), NetworkSpec())
    own.stem.eval()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    draws = torch.get_rng_state()
    cost.count(own, (3, 16, 16))
    assert own.training
    assert not own.stem.training
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draws)


def test_an_image_that_does_not_fit_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"features of 13x13 pixels cannot be halved; accepted"):
        cost.of(spaces.make("darts"), spaces.make("darts").parse("DARTS_V2"), image=(3, 13, 13))


def test_latency_orders_what_differs_much() -> None:
    small, large = nn.Conv2d(3, 1, 1), nn.Sequential(*(nn.Conv2d(3, 3, 7) for _ in range(6)))
    quick, slow = cost.latency([small, large.train()], (3, 64, 64), batch=2, rounds=9, threads=1)
    assert quick.median < slow.median
    assert slow.low <= slow.median <= slow.high
    assert (slow.rounds, slow.batch, slow.threads, slow.device) == (9, 2, 1, "cpu")
    assert large.training
