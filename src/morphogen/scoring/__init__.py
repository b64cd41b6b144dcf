"""What an option is worth in a supernet, deciding one after the other; candidates untrained."""

from morphogen.scoring.decide import Decision, Order, decide_next, mean_margin
from morphogen.scoring.measures import inherited_score, minus_loss, zero_cost
from morphogen.scoring.perturbation import only, without, without_choice
from morphogen.scoring.projection import Projection
from morphogen.scoring.scores import (
    Discretised,
    Magnitude,
    Measure,
    OperationScore,
    Perturbed,
    RankedTogether,
    ScoringContext,
    best,
)

__all__ = [
    "Decision",
    "Discretised",
    "Magnitude",
    "Measure",
    "OperationScore",
    "Order",
    "Perturbed",
    "Projection",
    "RankedTogether",
    "ScoringContext",
    "best",
    "decide_next",
    "inherited_score",
    "mean_margin",
    "minus_loss",
    "only",
    "without",
    "without_choice",
    "zero_cost",
]
