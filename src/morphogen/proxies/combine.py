"""Several proxies as one order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def rank_sum(columns: Sequence[Sequence[float] | NDArray[np.float64]]) -> NDArray[np.float64]:
    """Sum over proxies of the rank that each gives an architecture, higher is better.

    TE-NAS (arXiv 2102.11535) adds the ranks of `ntk` and `linear_regions` so; Abdelfattah et al.
    (arXiv 2101.08134) let synflow, jacob_cov and snip vote on pairs instead. An architecture's
    sum depends on which others there are.

    Args:
        columns: per proxy the scores of all architectures, higher is better, infinities included.

    Returns:
        [architectures]; equal scores share the mean of their ranks, the worst rank is 1.
    """
    from scipy.stats import rankdata  # late: it takes a second to import

    total: NDArray[np.float64] = np.sum([rankdata(column) for column in columns], axis=0)
    return total
