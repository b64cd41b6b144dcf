"""What every search space keeps; the suite that the spaces inside are held to."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from morphogen import spaces
from morphogen.core import Architecture
from morphogen.spaces import Differentiable, SearchSpace
from morphogen.supernets import Gates, NetworkSpec, Supernet, build, network
from morphogen.supernets.global_rng import forked_rng
from morphogen.supernets.nested import call
from morphogen.supernets.sequences import BEGIN, END, PAD
from morphogen.testing.checks import Checks, require

ENUMERATED = 20_000
"""Architectures of a space that is listed whole to count them."""

TOKENS = 12
"""Different ones of sources and of targets."""


class SpaceChecks(Checks):
    """The promises of one search space, and of its supernet if it has one.

    Args:
        space: a space, or a registered one's name.
        x: input of its networks, `[n, ...]`; by default two grey images of 16 x 16 pixels, of
            spaces of sequences ids of source and target.
        spec: size of its networks; by default the smallest, for four classes or 12 tokens.
        samples: architectures that each promise is tried on.
        supernet: whether the space has networks.
    """

    def __init__(
        self,
        space: SearchSpace | str,
        *,
        x: Any = None,
        spec: NetworkSpec | None = None,
        samples: int = 8,
        supernet: bool = True,
    ) -> None:
        self.space = spaces.make(space) if isinstance(space, str) else space
        tokens = self.space.spatial_dims == 0
        given: Any = (_ids() if tokens else _noise()) if x is None else x
        self.x = given
        if spec is None and tokens:
            spec = NetworkSpec(channels=48, depth=2, classes=TOKENS, in_channels=TOKENS)
        elif spec is None:
            spec = NetworkSpec(channels=4, depth=3, classes=4, in_channels=self.x.shape[1])
        self.spec = spec
        self.samples, self.has_supernet = samples, supernet

    @cached_property
    def archs(self) -> list[Architecture]:
        """Some architectures of the space."""
        rng = np.random.default_rng(0)
        return [self.space.sample(rng) for _ in range(self.samples)]

    # -- architectures -----------------------------------------------------------------------

    def check_samples_are_architectures_and_follow_the_seed(self) -> None:
        """`check` takes them as they are."""
        rng = np.random.default_rng(0)
        again = [self.space.sample(rng) for _ in range(self.samples)]
        require(again == self.archs, "the same seed gives other samples")
        for arch in self.archs:
            require(self.space.check(arch) == arch, f"{arch} is not as check has it")

    def check_text_is_read_as_it_was_written(self) -> None:
        """`parse(format(arch)) == arch`, and different ones have different texts."""
        for arch in self.archs:
            text = self.space.format(arch)
            require(self.space.parse(text) == arch, f"{text} is read as another")
        texts = {self.space.format(arch) for arch in self.archs}
        require(len(texts) == len(set(self.archs)), "two architectures have one text")

    def check_a_mutant_is_a_neighbour(self) -> None:
        """Of the one that it was made from, which stays as it is, and another than it."""
        if self.space.size() < 2:
            return
        rng = np.random.default_rng(1)
        for arch in self.archs:
            text = self.space.format(arch)
            mutant = self.space.mutate(arch, rng)
            require(mutant != arch, f"a mutant of {text} is {text}")
            require(mutant in self.space.neighbours(arch), f"{mutant} is no neighbour of {text}")
            require(self.space.check(mutant) == mutant, f"{mutant} is none of the space")
            require(self.space.format(arch) == text, f"mutate has changed {text}")

    def check_a_crossing_is_of_the_space(self) -> None:
        """Of two equal parents the child is their like."""
        rng = np.random.default_rng(2)
        for one, two in zip(self.archs, self.archs[1:], strict=False):
            child = self.space.crossover(one, two, rng)
            require(self.space.check(child) == child, f"{child} is none of the space")
            twin = self.space.crossover(one, one, rng)
            require(twin == one, f"{one} crossed with itself gives {twin}")

    def check_size_counts_the_architectures(self) -> None:
        """Of a space that is small enough to be listed."""
        if self.space.size() > ENUMERATED:
            return
        listed = self.space.enumerate()
        require(len(set(listed)) == len(listed), "an architecture is listed twice")
        size = self.space.size()
        require(len(listed) == size, f"{len(listed)} are listed, and the size is {size}")

    def check_encodings_have_one_length_and_tell_architectures_apart(self) -> None:
        """The one-hot encoding, of numbers."""
        rows = np.stack([self.space.encode(arch) for arch in self.archs])
        require(bool(np.isfinite(rows).all()), "an encoding is not finite")
        different = len({row.tobytes() for row in rows})
        require(different == len(set(self.archs)), "two architectures have one encoding")

    def check_derive_finds_what_the_scores_say(self) -> None:
        """Scores of 1 for what an architecture keeps, and 0 for the rest, give it back."""
        if not isinstance(self.space, Differentiable):
            return
        for arch in self.archs:
            found = self.space.derive(self.space.one_hot(arch))
            require(found == arch, f"the scores of {arch} give {found}")

    # -- sub-spaces and the record -----------------------------------------------------------

    def check_a_restricted_space_has_what_is_left(self) -> None:
        """The options that one architecture keeps, of choices that keep one option."""
        arch = self.archs[0]
        kept = {c.name: list(arch[c.name]) for c in self.space.choices if len(arch[c.name]) == 1}
        less, before = self.space.restrict(kept), self.space.choices
        for name, options in kept.items():
            require(less.choice(name).options == tuple(options), f"{name} has other options")
        require(self.space.choices == before, "restrict has changed the space")
        text = less.format(arch)
        require(less.parse(text) == arch, f"{text} is read otherwise in the restricted space")

    def check_it_survives_its_mapping(self) -> None:
        """What a run directory holds: plain values, from which an equal space is made."""
        written = json.loads(json.dumps(self.space.to_mapping()))
        if spaces.needs_code(written):
            return
        again = spaces.read(written)
        require(again == self.space, f"{self.space} is read as {again}")
        for arch in self.archs:
            text = self.space.format(arch)
            require(again.parse(text) == arch, f"{text} is read otherwise in the space read")

    # -- networks ----------------------------------------------------------------------------

    def _supernet(self) -> Supernet:
        with forked_rng(seed=0):
            return build(self.space, self.spec)

    def check_every_path_of_the_supernet_gives_scores(self) -> None:
        """`[n, classes]`, of a dense space `[n, classes, ...]`, finite, whichever architecture."""
        if not self.has_supernet:
            return
        net = self._supernet()
        for arch in self.archs:
            with torch.no_grad(), forked_rng(seed=0):
                self._require_scores(net(self.x, Gates.of(self.space, arch)), arch)

    def check_a_path_leaves_other_options_without_gradient(self) -> None:
        """What is not live is not executed: its parameters get none."""
        if not self.has_supernet:
            return
        net = self._supernet()
        for arch in self.archs[:3]:
            net.zero_grad(set_to_none=True)
            with forked_rng(seed=0):
                net(self.x, Gates.of(self.space, arch)).sum().backward()
            kept = {
                id(p)
                for choice in self.space.choices
                for option in arch[choice.name]
                for module in net.options(choice.name, option)
                for p in module.parameters()
            }
            for choice in self.space.choices:
                for option in set(choice.options) - set(arch[choice.name]):
                    for module in net.options(choice.name, option):
                        ran = [p for p in module.parameters() if p.grad is not None]
                        stray = [p for p in ran if id(p) not in kept]
                        require(not stray, f"{option} of {choice.name} ran in {arch}")

    def check_the_gradient_reaches_every_gate(self) -> None:
        """With all options live, and weights that are equal in each row; and it is finite."""
        if not self.has_supernet or not isinstance(self.space, Differentiable):
            return
        net = self._supernet()
        weights = {
            group: torch.from_numpy(mask / mask.sum(axis=1, keepdims=True)).float().requires_grad_()
            for group, mask in self.space.masks.items()
        }
        with forked_rng(seed=0):
            output = net(self.x, Gates.dense(self.space, weights))
        self._require_scores(output, "the supernet")
        found = torch.autograd.grad(output.square().sum(), list(weights.values()))
        for group, gradient in zip(weights, found, strict=True):
            mask = torch.from_numpy(self.space.masks[group])
            require(bool(gradient.isfinite().all()), f"a gradient of {group} is not finite")
            moved = gradient.masked_fill(~mask, 0).abs().sum(1) > 0
            require(bool(moved.all()), f"a row of {group} has no gradient")

    def check_networks_stand_alone(self) -> None:
        """Without gates; their weights follow torch's seed."""
        if not self.has_supernet:
            return
        for arch in self.archs[:3]:
            made = []
            for _ in range(2):
                with forked_rng(seed=0):
                    made.append(network(self.space, arch, self.spec))
            pairs = zip(made[0].parameters(), made[1].parameters(), strict=True)
            require(all(torch.equal(a, b) for a, b in pairs), "one seed gives other weights")
            with torch.no_grad(), forked_rng(seed=0):
                self._require_scores(call(made[0], self.x), arch)

    def _require_scores(self, scores: Tensor, of: object) -> None:
        if self.space.spatial_dims == 0:
            shape: tuple[int, ...] = (*self.x[1].shape, self.spec.classes)
        else:
            places = self.x.shape[2:] if self.space.dense else ()
            shape = (len(self.x), self.spec.classes, *places)
        require(tuple(scores.shape) == shape, f"{of} gives {tuple(scores.shape)}, not {shape}")
        require(bool(scores.isfinite().all()), f"{of} gives scores that are not finite")


def _noise() -> Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def _ids() -> tuple[Tensor, Tensor]:
    """Two sequences, one of them padded."""
    source = torch.tensor([[4, 5, 6, 7, END], [8, 9, END, PAD, PAD]])
    return source, torch.tensor([[BEGIN, 4, 5, 6], [BEGIN, 10, PAD, PAD]])
