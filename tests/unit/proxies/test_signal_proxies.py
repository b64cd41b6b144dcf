"""Proxies of networks of signals: those of the same network on images of one row."""

import pytest
import torch
from torch import nn

from morphogen.proxies.registry import ALONE, FROM_PASS, score_many


def twins():
    """A network of signals, and the same with kernels of one row."""

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(tuple(range(2, x.dim())))

    torch.manual_seed(0)
    flat = nn.Sequential(
        *(nn.Conv1d(2, 4, 3, padding=1, bias=False), nn.BatchNorm1d(4), nn.ReLU()),
        *(nn.Conv1d(4, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm1d(4), nn.ReLU()),
        *(Mean(), nn.Linear(4, 3)),
    )
    rows = nn.Sequential(
        *(nn.Conv2d(2, 4, (1, 3), padding=(0, 1), bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Conv2d(4, 4, (1, 3), stride=(1, 2), padding=(0, 1), bias=False),
        *(nn.BatchNorm2d(4), nn.ReLU(), Mean(), nn.Linear(4, 3)),
    )
    shapes = {name: value.shape for name, value in rows.state_dict().items()}
    rows.load_state_dict({n: v.view(shapes[n]) for n, v in flat.state_dict().items()})
    return flat.double(), rows.double()


def test_every_proxy_reads_networks_of_signals():
    flat, rows = twins()
    x, y = torch.randn(16, 2, 12, dtype=torch.float64), torch.arange(16) % 3
    names = [*FROM_PASS, *ALONE]
    found = score_many(names, flat, x, y)
    wanted = score_many(names, rows, x.unsqueeze(2), y)
    for name in names:
        if name != "linear_regions":  # on tiny signals: other noise than on tiny images
            assert found[name] == pytest.approx(wanted[name], rel=1e-4), name
    assert 3 < found["linear_regions"] <= 3000
