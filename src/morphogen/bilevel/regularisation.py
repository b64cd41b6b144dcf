"""What keeps a gradient-based search from collapsing, whatever its method: one set of options.

    partial channels    operations see 1/K of the channels, edges are normalised   PC-DARTS
    perturbation        weights are trained under perturbed gates                  SDARTS
    stop by eigenvalue  the search ends where the loss grows sharp in alpha        DARTS-ES
    skip penalty        beta decay                                                 beta-DARTS
                        an auxiliary skip connection                               DARTS-
    alpha warm-up       weights alone are trained first                            PC-DARTS

A method declares which of them it takes (`takes` of its registration), and knows nothing of them:
they change the problem that it sees (`bilevel.regularised`), and a stopped search is the engine's.

Papers: PC-DARTS, Xu et al., ICLR 2020, arXiv 1907.05737. SDARTS, Chen and Hsieh, ICML 2020, arXiv
2002.05283. DARTS-ES, Zela et al., ICLR 2020, arXiv 1909.09656. beta-DARTS, Ye et al., CVPR 2022,
arXiv 2203.01665. DARTS-, Chu et al., ICLR 2021, arXiv 2009.01027.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from morphogen.core.config import Amount, Count, Few, Natural, Share, SomeImages, config

Regulariser = Literal[
    "partial_channels",
    "edge_normalisation",
    "perturb",
    "stop_by_eigenvalue",
    "skip_penalty",
    "alpha_warmup",
]
"""Fields of `Regularisation` by which each is switched on."""

EVERY: tuple[Regulariser, ...] = get_args(Regulariser)

NEEDS: dict[Regulariser, str] = {
    "partial_channels": "gates of an edge that sum to 1",
    "edge_normalisation": "gates and scores of a softmax over the options of an edge",
    "perturb": "weight steps of their own, under the gates of all options",
    "stop_by_eigenvalue": "alphas whose strongest options are the architecture at any time",
    "skip_penalty": "a softmax over the options of an edge",
    "alpha_warmup": "steps of alpha that can be left out",
}
"""What a method must have to take them."""


@config
class Regularisation:
    """Regularisation: what keeps a gradient method from collapsing; all off by default."""

    partial_channels: Annotated[int, Field(ge=1, le=64)] = 1
    """K, operations of the supernet run on 1/K of the channels, the others pass by (PC-DARTS: 4; on
    ImageNet 2); 1: on all"""
    edge_normalisation: Literal["auto", "on", "off"] = "auto"
    """edges into a node compete by parameters of their own, beta (PC-DARTS); auto: with partial
    channels, where the method takes it"""
    perturb: Literal["none", "random", "adversarial"] = "none"
    """gates are perturbed while weights are trained: at random (SDARTS-RS), or so that the training
    loss rises (SDARTS-ADV, which costs so many steps more as it climbs)"""
    perturb_epsilon: Amount = 0.3
    """how far a gate is moved at most in the last epoch; a tenth of it in the first (paper: 0.3)"""
    perturb_steps: Few = 7
    """steps by which the adversary climbs (paper: 7)"""
    stop_by_eigenvalue: bool = False
    """end the search when the dominant eigenvalue of the validation loss's Hessian in alpha has
    grown, with the architecture from before it did (DARTS-ES)"""
    eigenvalue_every: Count = 2
    """epochs between two measurements of the eigenvalue (authors' scripts: 2)"""
    eigenvalue_factor: Annotated[float, Field(gt=1, le=1e6)] = 1.3
    """ratio of its mean over five measurements to that of four measurements before, above which the
    search ends (authors' code: 1.3)"""
    eigenvalue_start: Natural = 10
    """epochs whose mean is not compared (authors' code: 10)"""
    eigenvalue_examples: SomeImages = 256
    """search-validation examples on which it is measured; 0: all (authors' code: 64)"""
    skip_penalty: Literal["none", "beta", "auxiliary"] = "none"
    """what keeps skip connections from winning: beta, alphas pay the logarithm of the sum of their
    exponentials (beta-DARTS); auxiliary, every edge has a further skip connection, which fades
    (DARTS-)"""
    skip_weight: Amount = 0.0
    """of beta, its weight after the last epoch, to which it grows from 0 (paper: 50); of auxiliary,
    that of the first epoch, from which it falls to 0 (paper: 1); 0: the paper's"""
    alpha_warmup: Share = 0.0
    """share of the epochs in which weights alone are trained (PC-DARTS: 0.3)"""

    @property
    def used(self) -> tuple[Regulariser, ...]:
        """Those that are switched on; `auto` of edges counts as off."""
        on = {
            "partial_channels": self.partial_channels > 1,
            "edge_normalisation": self.edge_normalisation == "on",
            "perturb": self.perturb != "none",
            "stop_by_eigenvalue": self.stop_by_eigenvalue,
            "skip_penalty": self.skip_penalty != "none",
            "alpha_warmup": self.alpha_warmup > 0,
        }
        return tuple(name for name in EVERY if on[name])
