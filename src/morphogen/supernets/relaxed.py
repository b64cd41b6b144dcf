"""A supernet whose gates are made from its own parameters: a plain module for any trainer."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from morphogen.core import Architecture
from morphogen.supernets.base import Supernet
from morphogen.supernets.gates import Gates, all_live
from morphogen.supernets.relaxations import Relaxation, softmax


class Relaxed(nn.Module):
    """`forward(x) = supernet(x, relaxation(alpha))`: weights and architecture in one plain module.

    Drop it into any trainer (reinforcement learning, Hugging Face, Lightning); give `weights()` to
    one optimiser and `architecture_parameters()` to another, or all of it to a single one.

    Args:
        supernet: the supernet; it is held, not copied.
        generator: CPU generator from which alpha is drawn.
        relaxation: maps one group's alpha and mask to weights; it may draw (concrete samples).
        scale: standard deviation of the initial alpha, normal around 0 (DARTS: 1e-3).
    """

    def __init__(
        self,
        supernet: Supernet,
        *,
        generator: torch.Generator,
        relaxation: Relaxation = softmax,
        scale: float = 1e-3,
    ) -> None:
        super().__init__()
        self.supernet = supernet
        self.relaxation = relaxation
        self._live = all_live(supernet.space)
        first = next(supernet.parameters(), torch.empty(0))
        # One attribute per group, with a prefix: a ParameterDict refuses a group called "keys".
        for group, mask in supernet.space.masks.items():
            alpha = scale * torch.randn(mask.shape, generator=generator)
            self.register_parameter(f"alpha_{group}", nn.Parameter(alpha.to(first.device)))
            allowed = torch.from_numpy(mask.copy()).to(first.device)
            # Not in the state dict: it is a fact of the space, not of the training.
            self.register_buffer(f"mask_{group}", allowed, persistent=False)

    @property
    def alphas(self) -> dict[str, Tensor]:
        """Group name -> architecture parameters [choices, widest]."""
        # By getattr, so that torch.func.functional_call can put other tensors in their place.
        return {g: getattr(self, f"alpha_{g}") for g in self._live}

    def gates(self) -> Gates:
        """The gates of the present alpha: every option live; a new draw if the relaxation draws."""
        return Gates(
            {g: self.relaxation(a, getattr(self, f"mask_{g}")) for g, a in self.alphas.items()},
            self._live,
        )

    def forward(self, x: Tensor) -> Tensor:
        """The supernet's output for `x`, with the gates of the present alpha."""
        output: Tensor = self.supernet(x, self.gates())
        return output

    def weights(self) -> Iterator[nn.Parameter]:
        """The parameters of the supernet: all but alpha."""
        return self.supernet.parameters()

    def architecture_parameters(self) -> Iterator[nn.Parameter]:
        """Alpha, one matrix per group; no tensor is also in `weights()`."""
        return (getattr(self, f"alpha_{g}") for g in self._live)

    @torch.no_grad()
    def derive(self, relaxation: Relaxation | None = None) -> Architecture:
        """The architecture that the space's own rule finds in the relaxed alpha.

        Args:
            relaxation: used instead of the module's own; needed if that one draws at random, since
                what is derived should not.
        """
        relax = relaxation or self.relaxation
        scores = {g: relax(a, getattr(self, f"mask_{g}")) for g, a in self.alphas.items()}
        return self.supernet.space.derive({g: s.float().cpu().numpy() for g, s in scores.items()})
