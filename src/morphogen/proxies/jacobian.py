"""Proxies of the class scores' Jacobian by the images: jacob_cov and epe_nas."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from morphogen.proxies.shared import Forward

SMALL = 1e-5
"""k, added to eigenvalues and correlations before the logarithm."""

MANY_CLASSES = 100
"""Above this number of classes EPE-NAS compares classes instead of adding them up."""


def jacob_cov(net: nn.Module, x: Tensor, y: Tensor | None = None) -> float:
    """How little the images' Jacobians are correlated: -sum [log(v + k) + 1 / (v + k)].

    The first version of Mellor et al.: Neural Architecture Search without Training, arXiv
    2006.04647. v are the eigenvalues of the correlations between the rows of the Jacobian, in train
    mode, k = 1e-5. At most about -b for b images.

    Args:
        net: the network.
        x: images [b, channels, height, width].
        y: not used.

    Returns:
        The score; NaN if a row of the Jacobian is constant.
    """
    del y
    return jacob_cov_of(Forward(net, x, images=True))


def jacob_cov_of(f: Forward) -> float:
    """`jacob_cov` of a pass."""
    correlations = torch.corrcoef(f.jacobian.double())
    if not correlations.isfinite().all():
        return math.nan
    v = torch.linalg.eigvalsh(correlations).clamp_min(0) + SMALL
    return -float((v.log() + 1 / v).sum())


def epe_nas(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Correlations of the images' Jacobians within each class.

    Lopes, Alirezazadeh, Alexandre: EPE-NAS. ICANN 2021, arXiv 2102.08099. With C the correlations
    of one class's rows, e = sum of log(|C| + k); the score is the sum of |e| over classes. With
    more than 100 classes e is divided by the class's images, and the score is the sum of
    |e_c - e_d| over all pairs (c, d), divided by the classes present.

    Args:
        net: the network; as many classes as class scores.
        x: images [b, channels, height, width].
        y: labels int64 [b].

    Returns:
        The score; NaN if a row of the Jacobian is constant.
    """
    return epe_nas_of(Forward(net, x, images=True), y)


def epe_nas_of(f: Forward, y: Tensor) -> float:
    """`epe_nas` of a pass."""
    rows, many = f.jacobian.double(), f.scores.shape[1] > MANY_CLASSES
    values = []
    for label in torch.unique(y):
        of_class = rows[y == label]
        # One row alone: its correlation with itself, 1.
        c = torch.corrcoef(of_class) if len(of_class) > 1 else torch.ones(1, 1, dtype=torch.float64)
        e = float((c.abs() + SMALL).log().sum())
        values.append(e / len(of_class) if many else e)
    if not many:
        return sum(abs(e) for e in values)
    return sum(abs(a - b) for a in values for b in values) / len(values)
