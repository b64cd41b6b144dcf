"""Two processes, each with half of every batch, find what one finds with all of it: all methods.

In the slow tier because two processes take half a minute to start.
"""

from __future__ import annotations

import pytest
import torch

import pair
from morphogen.bilevel.optimisers import Adam
from morphogen.methods import find, methods

pytestmark = pytest.mark.slow

CASES = pair.cases()
PAIRS = list(CASES)
TRAINED = [key for key in PAIRS if not (key[0] in methods() and find(key[0]).black_box)]
ALPHAS = [key for key, (config, _) in CASES.items() if hasattr(config, "alpha")]
ADAM = [key for key in ALPHAS if isinstance(CASES[key][0].alpha, Adam)]
"""Those whose optimiser keeps a mean of gradients; of SGD the alphas themselves are compared."""

WEIGHTS = 2e-6
"""Largest difference of a weight or a running statistic: ten roundings of a float32 near 1."""

GRADIENTS = 2e-6
"""Largest difference of Adam's mean gradient of alpha (its entries are up to 0.06).

Alphas themselves are compared only where no gradient is near zero: Adam divides by its size, so an
entry of gradient 1e-9 moves as far as one of 1e-2, and its rounding with it.
"""


@pytest.mark.parametrize("key", [k for k in PAIRS if k[1] == "smooth"], ids=" on ".join)
def test_two_processes_find_what_one_finds_with_the_joint_batch(key):
    """On a module in which no layer mixes images; the tests below say how close."""
    one, two = pair.results()[key]
    assert two["text"] == one["text"]


@pytest.mark.parametrize("key", TRAINED, ids=" on ".join)
def test_weights_are_those_of_the_joint_batch(key):
    one, two = (result["state"]["state"] for result in pair.results()[key])
    # Of a method without a supernet: the network that it delivers.
    nets = [held["net"] if "net" in held else held["training"]["now"]["net"] for held in (one, two)]
    assert list(nets[0]) == list(nets[1])
    for name, weight in nets[0].items():
        torch.testing.assert_close(nets[1][name], weight, atol=WEIGHTS, rtol=0, msg=name)


@pytest.mark.parametrize("key", ADAM, ids=" on ".join)
def test_alpha_gradients_are_those_of_the_joint_batch(key):
    one, two = (result["state"]["state"] for result in pair.results()[key])
    for mine, theirs in zip(
        one["alpha_optimiser"]["state"].values(),
        two["alpha_optimiser"]["state"].values(),
        strict=True,
    ):
        torch.testing.assert_close(theirs["exp_avg"], mine["exp_avg"], atol=GRADIENTS, rtol=0)
        assert mine["exp_avg"].abs().max() > 20 * GRADIENTS


@pytest.mark.parametrize("key", [k for k in ALPHAS if k[0] != "gdas"], ids=" on ".join)
def test_alphas_are_those_of_the_joint_batch(key):
    one, two = (result["state"]["state"] for result in pair.results()[key])
    for mine, theirs in zip(one["alphas"], two["alphas"], strict=True):
        torch.testing.assert_close(theirs, mine, atol=2e-6, rtol=0)
    assert max(float(a.abs().max()) for a in one["alphas"]) > 0.01  # they have moved


@pytest.mark.parametrize("key", PAIRS, ids=" on ".join)
def test_metrics_are_those_of_the_joint_batch(key):
    one, two = (result["metrics"] for result in pair.results()[key])
    assert len(one) == len(two)
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        assert mine.get("images") == theirs.get("images")
        assert mine.get("architecture") == theirs.get("architecture")
        for name in ("train_loss", "valid_loss", "score"):
            assert theirs.get(name, 0) == pytest.approx(mine.get(name, 0), abs=1e-5)
