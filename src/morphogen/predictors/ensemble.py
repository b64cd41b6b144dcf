"""Several predictors of one kind and different seeds: their mean, and how far they disagree."""

from __future__ import annotations

from typing import Self

import numpy as np

from morphogen.predictors.estimators import Inputs, PredictorSizes, Values, make


class Ensemble:
    """Members that differ in their seeds only; each is fitted to all of the data.

    Args:
        kind: of every member.
        seeds: one for each member.
        sizes: of every member.
    """

    def __init__(self, kind: str, seeds: list[int], sizes: PredictorSizes | None = None) -> None:
        self.members = [make(kind, seed, sizes) for seed in seeds]

    def fit(self, x: Inputs, y: Values) -> Self:
        """Fit every member to x [n, entries], y [n]."""
        for member in self.members:
            member.fit(x, y)
        return self

    def predict(self, x: Inputs) -> tuple[Values, Values]:
        """Mean and standard deviation [rows] over the members; the latter is 0 for one member."""
        each = np.stack([member.predict(x) for member in self.members])
        return each.mean(axis=0), each.std(axis=0)
