"""Whether a network fits is judged by a lower bound, and only where it might not."""

from __future__ import annotations

import pytest
import torch

import tiny
from morphogen import cost
from morphogen.core import OutOfMemoryError, memory
from morphogen.spaces import make
from morphogen.supernets import NetworkSpec, build, space_of

IMAGE = (3, 64, 64)


def needed(free: int, monkeypatch, **given) -> str:
    monkeypatch.setattr(memory, "available", lambda: free)
    with pytest.raises(OutOfMemoryError) as caught:
        cost.require(make("nasbench201"), NetworkSpec(channels=16, depth=1), IMAGE, **given)
    return str(caught.value)


def test_a_supernet_needs_its_weights_thrice_and_an_architectures_maps(monkeypatch):
    space, spec = make("nasbench201"), NetworkSpec(channels=16, depth=1)
    with torch.random.fork_rng():
        weights = sum(p.numel() for p in build(space, spec).parameters())
    least = 3 * 4 * weights
    text = needed(least, monkeypatch, batch=64)
    assert text.startswith("the supernet with 64 inputs at a time needs at least ")
    assert text.endswith("accepted: a smaller batch_size, channels, depth or image_size")
    # The stem alone writes 16 maps of 64 x 64 for an image, twice: the convolution and the norm.
    assert needed(least + 64 * 2 * 4 * 16 * 64 * 64, monkeypatch, batch=64)


def test_without_a_supernet_one_network_is_judged(monkeypatch):
    """Also where memory is so scarce that it is counted."""
    space, spec = make("anynet"), NetworkSpec(channels=32)
    monkeypatch.setattr(memory, "available", lambda: 2**28)
    cost.require(space, spec, IMAGE, batch=4)
    monkeypatch.setattr(memory, "available", lambda: 2**16)
    with pytest.raises(OutOfMemoryError, match="the network with 4 inputs at a time needs"):
        cost.require(space, spec, IMAGE, batch=4)


def test_what_fits_passes_and_own_modules_are_not_judged(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 100 * 2**30)
    cost.require(make("nasbench201"), NetworkSpec(channels=16, depth=1), IMAGE, batch=64)
    monkeypatch.setattr(memory, "available", lambda: 1)
    cost.require(space_of(tiny.own()), NetworkSpec(), IMAGE, batch=64)
