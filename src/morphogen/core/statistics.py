"""Means with their uncertainty: no figure over seeds stands alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from morphogen.core.errors import ConfigError


def interval(values: Sequence[float]) -> dict[str, float]:
    """Mean with its 95 % interval by Student's t; for one value the interval is left out.

    Returns:
        `mean`, `n` and, from two values on, `low` and `high`.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return {"mean": mean, "n": count}
    variance = math.fsum((v - mean) ** 2 for v in values) / (count - 1)
    half = _quantile(count - 1) * math.sqrt(variance / count)
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": count}


class Contrast(NamedTuple):
    """The difference of two means, with its 95 % interval."""

    difference: float
    low: float | None
    high: float | None
    """None: of one seed, from which nothing is known of the next."""
    seeds: int


def contrast(values: Sequence[Sequence[float]], a: int, b: int) -> Contrast:
    """By how much one architecture's mean differs from another's, all trained with the same seeds.

    Seeds are blocks: what a seed does to every architecture alike (its split, its order of the
    data) cancels. The error is that of the two-way layout, architectures by seeds without
    interaction, and pooled over all rows: residuals r_ij = x_ij - x_i. - x_.j + x_.. have
    (k - 1)(S - 1) degrees of freedom, and the difference of two row means the variance
    2 s^2 / S. (Student's t; for two rows this is the paired t-test. R. A. Bailey, Design of
    Comparative Experiments, 2008, chapter 4.)

    Args:
        values: [k architectures, S seeds] of a metric, k at least 2.
        a: the row that is compared.
        b: the row that it is compared with.

    Raises:
        ConfigError: rows are of different lengths or empty, there is one alone, or a value is no
            finite number.
    """
    rows, seeds = len(values), len(values[0]) if values else 0
    if rows < 2 or not seeds or any(len(row) != seeds for row in values):
        raise ConfigError(
            f"values have {rows} rows of {', '.join(str(len(row)) for row in values) or 'no'} "
            "seeds; accepted: at least two rows, of the same seeds"
        )
    if not all(math.isfinite(value) for row in values for value in row):
        raise ConfigError("values hold one that is no finite number; accepted: finite numbers")
    means = [math.fsum(row) / seeds for row in values]
    difference = means[a] - means[b]
    if seeds < 2:
        return Contrast(difference, None, None, seeds)
    blocks = [math.fsum(column) / rows for column in zip(*values, strict=True)]
    grand = math.fsum(means) / rows
    freedom = (rows - 1) * (seeds - 1)
    residual = math.fsum(
        (value - means[i] - blocks[j] + grand) ** 2
        for i, row in enumerate(values)
        for j, value in enumerate(row)
    )
    half = _quantile(freedom) * math.sqrt(2 * residual / freedom / seeds)
    return Contrast(difference, difference - half, difference + half, seeds)


def crossed_contrast(
    values: Sequence[Sequence[Sequence[float]]], a: int, b: int, *, comparisons: int = 1
) -> Contrast:
    """By how much one architecture's mean differs, over other seeds and over other examples.

    All architectures are trained with the same seeds and measured on the same blocks of examples.
    Both are random: the layout is architectures by seeds by blocks, crossed, without replication.
    It holds as well where each seed has blocks of its own (cross-validation), whose interaction is
    then one with that of seeds and blocks. Of two seeds that differ much an interval of 95 % covers
    some 89 %.
    The variance of a difference is 2 (MS_as + MS_ab - MS_asb) / (S B) of the interactions' mean
    squares, at least that of seeds or of blocks alone, and its degrees of freedom are
    Satterthwaite's. (Dorfman, Berbaum, Metz. Receiver operating characteristic rating analysis,
    1992, has readers and cases for seeds and blocks.)

    Args:
        values: [k architectures, S seeds, B blocks of examples] of a metric, each at least 2.
        a: the row that is compared.
        b: the row that it is compared with.
        comparisons: differences that are looked at together, so that all of their intervals hold
            with 95 % (Bonferroni).

    Raises:
        ConfigError: there are fewer, or a value is no finite number.
    """
    import numpy as np  # late: lists of names need none of it

    table = np.array(values, dtype=np.float64)
    if table.ndim != 3 or min(table.shape) < 2 or not np.isfinite(table).all():
        raise ConfigError(
            f"values are of shape {table.shape}, finite: {bool(np.isfinite(table).all())}; "
            "accepted: finite numbers, at least two architectures, seeds and blocks"
        )
    rows, seeds, blocks = table.shape
    by_seed, by_block = table.mean(2), table.mean(1)
    mean, grand = table.mean((1, 2)), table.mean()
    of_seeds = by_seed - mean[:, None] - by_seed.mean(0) + grand
    of_blocks = by_block - mean[:, None] - by_block.mean(0) + grand
    both = table - by_seed[:, :, None] - by_block[:, None, :] - table.mean(0)
    both += mean[:, None, None] + table.mean((0, 2))[:, None] + table.mean((0, 1)) - grand
    freedom = [(rows - 1) * (n - 1) for n in (seeds, blocks)]
    freedom.append(freedom[0] * (blocks - 1))
    squares = [blocks * (of_seeds**2).sum(), seeds * (of_blocks**2).sum(), (both**2).sum()]
    ms = [float(s) / f for s, f in zip(squares, freedom, strict=True)]
    sizes = [
        (ms[0], float(freedom[0])),
        (ms[1], float(freedom[1])),
        (
            ms[0] + ms[1] - ms[2],
            (ms[0] + ms[1] - ms[2]) ** 2
            / max(sum(m**2 / f for m, f in zip(ms, freedom, strict=True)), 1e-300),
        ),
    ]
    variance, degrees = max(sizes)
    half = _quantile(max(degrees, 1.0), comparisons) * math.sqrt(2 * variance / (seeds * blocks))
    difference = float(mean[a] - mean[b])
    return Contrast(difference, difference - half, difference + half, seeds)


def _quantile(freedom: float, comparisons: int = 1) -> float:
    """Of Student's t, at 0.975, or further out for several comparisons together."""
    from scipy.stats import t  # late: it takes a second to import

    return float(t.ppf(1 - 0.025 / comparisons, freedom))


def proportion(hits: float, count: float) -> tuple[float, float]:
    """Ends of the 95 % interval of a share, as Wilson's score test gives them.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22
    (1927) 209-212. The ends stay between 0 and 1, also where none or all of few are hits.

    Args:
        hits: of the independent trials.
        count: how many trials there were, above 0.
    """
    z = NormalDist().inv_cdf(0.975)
    share, spread = hits / count, z * z / count
    middle = share + spread / 2
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    low, high = (middle - half) / (1 + spread), (middle + half) / (1 + spread)
    return low if hits else 0.0, high if hits < count else 1.0
