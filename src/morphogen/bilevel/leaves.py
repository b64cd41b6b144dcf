"""Sub-supernets: masks on one supernet, each with weights and optimisers of its own.

A leaf is no network: one module runs them all, and to work on a leaf is to have its parameters
stand for the leaf's tensors (`Leaves.attach`). A leaf holds no tensor of an option that its mask
leaves out, and its steps execute none. Few-shot NAS (Zhao et al., ICML 2021, arXiv 2006.06863) and
GM-NAS (Hu et al., ICLR 2022, arXiv 2203.15207) split a supernet so.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from morphogen.bilevel.gates import Masks, start_alphas
from morphogen.bilevel.optimisers import Optimiser
from morphogen.bilevel.state import BilevelState
from morphogen.core import Architecture, CheckpointError
from morphogen.spaces import SubspaceMask
from morphogen.supernets import Supernet
from morphogen.supernets.gates import live_masks
from morphogen.tasks.problem import Problem, trainable


@dataclass(eq=False)
class Leaf(BilevelState):
    """What is learnt of one part of the space; the supernet is the one that all leaves share.

    A leaf's numbers are read and trained while it is attached.
    """

    mask: SubspaceMask
    tensors: dict[str, Tensor]
    """Parameters and buffers by name, all but those that belong to options left out alone."""

    @property
    def option_masks(self) -> Masks:
        """Masks of the options that the leaf has; None: all."""
        return self._masks

    @cached_property
    def _masks(self) -> Masks:
        whole = self.mask.space is self.mask.whole
        return None if whole else live_masks(self.mask.whole, self.mask.allowed)

    @property
    def numbers(self) -> int:
        """Trainable numbers of the leaf."""
        return sum(
            self.tensors[name].numel() for name in trainable(self.net) if name in self.tensors
        )


def places(net: nn.Module) -> dict[str, tuple[nn.Module, str]]:
    """Where each parameter and buffer of `net` stands, by its name, the first one of several."""
    found: dict[str, tuple[nn.Module, str]] = {}
    seen: set[int] = set()
    for path, module in net.named_modules():
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{path}.{name}" if path else name] = (module, name)
    return found


def left_out(net: Supernet, mask: SubspaceMask) -> set[str]:
    """Names of the parameters and buffers that belong to options outside of the mask alone."""
    dropped: set[int] = set()
    kept: set[int] = set()
    for choice in mask.whole.choices:
        for option in choice.options:
            parts = {id(p) for m in net.options(choice.name, option) for p in m.modules()}
            (kept if option in mask.allowed[choice.name] else dropped).update(parts)
    # A tensor stays if any module that stays holds it.
    holders: dict[int, list[bool]] = {}
    for module in net.modules():
        stays = id(module) in kept or id(module) not in dropped
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                holders.setdefault(id(tensor), []).append(stays)
    where = places(net)
    tensors = {name: getattr(module, own) for name, (module, own) in where.items()}
    return {name for name, tensor in tensors.items() if not any(holders[id(tensor)])}


class Leaves:
    """The sub-supernets of one supernet: its root, of all options, and those it is split into.

    Args:
        problem: space, device, and the stream from which alphas begin.
        net: the supernet; its parameters stand for the attached leaf's.
        weights: optimiser of a leaf's weights.
        alpha: optimiser of its alphas.
    """

    def __init__(
        self, problem: Problem, net: Supernet, weights: Optimiser, alpha: Optimiser
    ) -> None:
        self.net, self._problem, self._weights, self._alpha = net, problem, weights, alpha
        self._places = places(net)
        whole = SubspaceMask.of(problem.space)
        left_out(net, whole)  # it says so if the supernet does not know its options
        self.root = self._leaf(whole, self._present())
        """The supernet before any split: nothing that is done to a leaf changes it."""
        self.leaves: list[Leaf] = [self.root]
        """The present sub-supernets, whose masks make up the space."""
        self._attached = self.root

    # -- which one the supernet is -----------------------------------------------------------

    def attach(self, leaf: Leaf) -> Leaf:
        """Have the supernet be this leaf, to be stepped or measured; returns it.

        Parameters of options that the leaf has not are the root's; no step of the leaf uses them.
        """
        if leaf is not self._attached:
            self._collect()
            self._bind(leaf)
        return leaf

    def _bind(self, leaf: Leaf) -> None:
        for name, (module, own) in self._places.items():
            tensor = leaf.tensors.get(name, self.root.tensors[name])
            if own in module._parameters:
                module._parameters[own].data = tensor  # type: ignore[union-attr]
            else:
                module._buffers[own] = tensor
        self._attached = leaf

    def _collect(self) -> None:
        """A module may have put another tensor in the place of a buffer."""
        found = self._present()
        self._attached.tensors = {name: found[name] for name in self._attached.tensors}

    def _present(self) -> dict[str, Tensor]:
        return {name: getattr(module, own).data for name, (module, own) in self._places.items()}

    def containing(self, arch: Architecture) -> Leaf:
        """The leaf that has the architecture; the first of several, where an edge is dropped."""
        return next(leaf for leaf in self.leaves if arch in leaf.mask)

    # -- splitting ---------------------------------------------------------------------------

    def split(
        self,
        leaf: Leaf,
        choice: str,
        groups: Iterable[Collection[str]],
        *,
        inherit: bool = False,
    ) -> list[Leaf]:
        """Put one leaf for each group of the options of a choice in the place of `leaf`.

        A group of which the space has no architecture (an edge of the DARTS cell that is `none` and
        nothing else) gets no leaf. The others have its weights, and alphas that begin anew.

        Args:
            leaf: one of the leaves.
            choice: which is split.
            groups: a partition of the options that the leaf has.
            inherit: whether alphas and the state of both optimisers come along, too.
        """
        self.attach(leaf)
        self._collect()
        children = []
        for mask in leaf.mask.split(choice, groups):
            if mask.empty:
                continue
            outside = left_out(self.net, mask)
            tensors = {n: t.clone() for n, t in leaf.tensors.items() if n not in outside}
            child = self._leaf(mask, tensors)
            if inherit:
                self._take_over(child, leaf)
            children.append(child)
        at = next(i for i, present in enumerate(self.leaves) if present is leaf)
        self.leaves[at : at + 1] = children
        self._bind(self.root)
        return children

    def restart(self, leaf: Leaf) -> None:
        """Give a leaf the weights with which the search began, new alphas and new optimisers."""
        begun = self._problem.supernet()
        where = places(begun)
        for name, tensor in leaf.tensors.items():
            module, own = where[name]
            tensor.copy_(getattr(module, own).data)
        fresh = self._leaf(leaf.mask, leaf.tensors)
        leaf.alphas, leaf.alpha_optimiser = fresh.alphas, fresh.alpha_optimiser
        leaf.weight_optimiser = fresh.weight_optimiser

    def _leaf(
        self, mask: SubspaceMask, tensors: dict[str, Tensor], alphas: list[Tensor] | None = None
    ) -> Leaf:
        p = self._problem
        if alphas is None:
            alphas = start_alphas(p.space, p.search_rng, p.devices.device)
        weights = self._weights.make(trainable(self.net).values())
        return Leaf(self.net, weights, alphas, self._alpha.make(alphas), mask, tensors)

    def _take_over(self, child: Leaf, parent: Leaf) -> None:
        with torch.no_grad():
            for alpha, old in zip(child.alphas, parent.alphas, strict=True):
                alpha.copy_(old)
        for own, theirs in (
            (child.weight_optimiser, parent.weight_optimiser),
            (child.alpha_optimiser, parent.alpha_optimiser),
        ):
            own.load_state_dict(copy.deepcopy(theirs.state_dict()))
        names, parameters = zip(*trainable(self.net).items(), strict=True)
        for name, parameter in zip(names, parameters, strict=True):
            if name not in child.tensors:
                child.weight_optimiser.state.pop(parameter, None)

    # -- checkpoint --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Masks, weights and optimisers of the root and of all leaves, in plain values."""
        self._collect()
        return {
            "root": self._captured(self.root),
            "leaves": [self._captured(leaf) for leaf in self._split_off],
            "attached": [leaf is self._attached for leaf in (self.root, *self._split_off)],
        }

    @property
    def _split_off(self) -> list[Leaf]:
        return [leaf for leaf in self.leaves if leaf is not self.root]

    @staticmethod
    def _captured(leaf: Leaf) -> dict[str, Any]:
        return {
            "allowed": {name: list(options) for name, options in leaf.mask.allowed.items()},
            "tensors": dict(leaf.tensors),
            "weight_optimiser": leaf.weight_optimiser.state_dict(),
            "alphas": [alpha.detach() for alpha in leaf.alphas],
            "alpha_optimiser": leaf.alpha_optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state_dict` was taken."""
        self.root = self._read(state["root"])
        self.leaves = [self._read(held) for held in state["leaves"]] or [self.root]
        every = (self.root, *self._split_off)
        self._bind(every[list(state["attached"]).index(True)])

    def _read(self, held: Mapping[str, Any]) -> Leaf:
        mask = SubspaceMask.of(self._problem.space, held["allowed"])
        expected = set(self._places) - left_out(self.net, mask)
        if set(held["tensors"]) != expected:
            raise CheckpointError(
                f"a leaf of the checkpoint has {len(held['tensors'])} tensors; accepted: the "
                f"{len(expected)} that its mask leaves"
            )
        alphas = [alpha.clone().requires_grad_() for alpha in held["alphas"]]
        leaf = self._leaf(mask, {n: t.clone() for n, t in held["tensors"].items()}, alphas)
        leaf.weight_optimiser.load_state_dict(held["weight_optimiser"])
        leaf.alpha_optimiser.load_state_dict(held["alpha_optimiser"])
        return leaf
